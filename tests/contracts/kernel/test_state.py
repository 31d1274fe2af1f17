"""State: readable paths that sort as they should, and writes that are only described."""

from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.harness.chain import Committed
from contracts.kernel import InvariantBroken, Item, Map, Record, Write, limits, state
from contracts.kernel.state import Overlay, ScanOverlay
from contracts.kernel.types import Count, Length, OrgId


class Box(Record):
    amount: Count


class Large(Record):
    content: Annotated[bytes, Length(0, 2**20)]


BOXES = Map("shop/boxes", Box, "owner", "number")
TILL = Item("shop/till", Box)
numbers = st.integers(0, 10**10 - 1)
names = st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True)


def view(*writes: Write) -> Committed:
    committed = Committed()
    committed.apply(dict(writes))
    return committed


def test_a_path_is_readable_text_with_padded_integers_and_hexadecimal_bytes() -> None:
    assert BOXES.path(("hospital-a", 7)) == b"shop/boxes/hospital-a/0000000007"
    assert Map("shop/keys", Box, "key").path(b"\x00\xff") == b"shop/keys/00ff"
    assert TILL.path() == b"shop/till"


@given(names, numbers, numbers)
def test_paths_sort_as_their_numbers_do(owner: str, one: int, other: int) -> None:
    assert (BOXES.path((owner, one)) < BOXES.path((owner, other))) is (one < other)


@given(st.lists(st.tuples(names, numbers), unique=True, max_size=20))
def test_different_keys_have_different_paths(keys: list[tuple[str, int]]) -> None:
    assert len({BOXES.path(key) for key in keys}) == len(keys)


@given(names, numbers)
def test_a_key_can_be_read_back_from_its_path(owner: str, number: int) -> None:
    assert BOXES.key_of(BOXES.path((owner, number))) == (owner, f"{number:010d}")


def test_what_was_put_is_what_is_read() -> None:
    state = view(BOXES.put(("a", 1), Box(5)), TILL.set(Box(9)))
    assert BOXES.at(state, ("a", 1)) == BOXES.get(state, ("a", 1)) == Box(5)
    assert TILL.at(state) == Box(9)


def test_absence_is_none_to_get_and_a_broken_invariant_to_at() -> None:
    assert BOXES.get(view(), ("a", 1)) is None
    with pytest.raises(InvariantBroken, match="nothing at"):
        BOXES.at(view(), ("a", 1))


def test_removing_is_a_write_of_nothing() -> None:
    assert BOXES.remove(("a", 1)) == Write(b"shop/boxes/a/0000000001", None)


@pytest.mark.parametrize("key", ["a", ("a",), ("a", 1, 2), ()])
def test_a_key_of_another_arity_is_our_bug(key: object) -> None:
    with pytest.raises(InvariantBroken, match="takes the key"):
        BOXES.path(key)  # type: ignore[arg-type]


def test_a_path_that_the_store_could_not_hold_is_our_bug() -> None:
    boxes = Map("shop/names", Box, "name")
    boxes.path("x" * (limits.PATH_BYTES - len("shop/names/")))
    with pytest.raises(InvariantBroken, match=str(limits.PATH_BYTES)):
        boxes.path("x" * (limits.PATH_BYTES - len("shop/names/") + 1))


def test_a_record_that_the_store_could_not_hold_is_our_bug() -> None:
    with pytest.raises(InvariantBroken, match=str(limits.VALUE_BYTES)):
        Item("shop/large", Large).set(Large(bytes(limits.VALUE_BYTES)))
    room = limits.VALUE_BYTES - len(Large(bytes(60_000)).encode()) + 60_000
    assert len(Item("shop/large", Large).set(Large(bytes(room))).body or b"") == limits.VALUE_BYTES


def test_stored_bytes_that_do_not_decode_are_a_broken_invariant() -> None:
    with pytest.raises(InvariantBroken, match="does not decode"):
        TILL.at(view(Write(b"shop/till", b"\xff")))


def test_an_overlay_shows_its_writes_and_leaves_its_base_alone() -> None:
    base = view(TILL.set(Box(1)), BOXES.put(("a", 1), Box(2)))
    overlay = Overlay(base)
    overlay.apply((TILL.set(Box(3)), BOXES.remove(("a", 1))))
    assert TILL.at(overlay) == Box(3)
    assert BOXES.get(overlay, ("a", 1)) is None
    assert TILL.at(base) == Box(1)
    assert dict(overlay.writes) == {b"shop/till": Box(3).encode(), b"shop/boxes/a/0000000001": None}


def test_of_two_writes_to_one_path_the_later_transaction_s_counts() -> None:
    overlay = Overlay(view())
    overlay.apply((TILL.set(Box(1)),))
    overlay.apply((TILL.set(Box(2)),))
    assert TILL.at(overlay) == Box(2)


def test_a_name_with_a_slash_cannot_reach_a_path() -> None:
    """Names are slugs, so no key part can pretend to be two."""

    class Owned(Record):
        owner: OrgId

    with pytest.raises(ValueError, match="must match"):
        Owned("a/b").encode()


# What a map remembers ---------------------------------------------------------------------------


@given(names, numbers)
def test_a_record_that_was_put_reads_back_as_the_one_that_its_bytes_decode_to(owner: str, amount: int) -> None:
    """What a node remembers must be what another one reads after a restart, down to the types."""
    writer, restarted = (Map("shop/boxes", Box, "owner", "number") for _ in range(2))
    body = writer.put((owner, 1), Box(amount)).body
    assert body is not None
    remembered, decoded = writer.read(body), restarted.read(body)
    assert remembered == decoded == Box(amount)
    assert type(remembered.amount) is type(decoded.amount)


def test_what_a_map_remembers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_REMEMBERED_BYTES", 64)
    boxes = Map("shop/boxes", Box, "owner", "number")
    for amount in range(1_000):
        body = boxes.put(("a", 1), Box(amount)).body
        assert body is not None
        assert boxes.read(body) == Box(amount)
        assert sum(map(len, boxes._remembered)) <= 64


def test_a_walk_over_pending_writes_finds_what_a_walk_over_the_outcome_would() -> None:
    """In the order of paths, with what was written in the place of what was there, and in pages."""
    base = Committed()
    base.apply({b"a/%d" % number: b"old" for number in range(6)} | {b"b/1": b"old"})
    overlay = ScanOverlay(base)
    overlay.apply((Write(b"a/1", None), Write(b"a/2", b"new"), Write(b"a/25", b"new"), Write(b"c/1", b"new")))
    applied = Committed(dict(base.entries))
    applied.apply(dict(overlay.writes))
    for prefix in (b"", b"a/", b"b/", b"c/", b"d/"):
        assert list(overlay.scan(prefix)) == list(applied.scan(prefix))
        for limit in (1, 2, 3):
            assert list(overlay.scan(prefix, None, limit)) == list(applied.scan(prefix, None, limit))
            assert list(overlay.scan(prefix, b"a/2", limit)) == list(applied.scan(prefix, b"a/2", limit))
