"""Replay marks: kept as long as a transaction could come again, and no longer."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from campaigns.harness.chain import Committed
from contracts.kernel import limits, replay

identities = st.binary(min_size=32, max_size=32)
marks = st.dictionaries(identities, st.integers(0, 3_000), max_size=30)


def remembered(entries: dict[bytes, int]) -> Committed:
    state = Committed()
    state.apply(dict(replay.mark(valid_until, identity, 1) for identity, valid_until in entries.items()))
    return state


@given(marks, identities, st.integers(0, 3_000))
def test_exactly_what_was_marked_is_seen(entries: dict[bytes, int], identity: bytes, valid_until: int) -> None:
    state = remembered(entries)
    assert all(replay.is_seen(state, until, known) for known, until in entries.items())
    assert replay.is_seen(state, valid_until, identity) is (entries.get(identity) == valid_until)


@given(marks, st.integers(0, 3_000))
def test_pruning_drops_exactly_what_can_no_longer_be_included(entries: dict[bytes, int], height: int) -> None:
    state = remembered(entries)
    state.apply(dict(replay.prune(state, height)))
    kept = {identity for identity, until in entries.items() if replay.is_seen(state, until, identity)}
    assert kept == {identity for identity, until in entries.items() if until >= height}


def test_where_nothing_expired_one_mark_is_read() -> None:
    """Or every block would walk over thousands of marks that it has to keep."""
    read = []

    class Counting(Committed):
        def scan(self, prefix: bytes, after: bytes | None = None, limit: int = 100) -> Iterator[tuple[bytes, bytes]]:
            for entry in super().scan(prefix, after, limit):
                read.append(entry)
                yield entry

    state = Counting(remembered({i.to_bytes(32, "big"): 50 + i for i in range(100)}).entries)
    assert (replay.prune(state, 50), len(read)) == ((), 1)
    assert len(replay.prune(state, 53)) == 3
    assert len(read) == 1 + 4


def test_pruning_looks_at_replay_marks_only() -> None:
    state = Committed({b"replay/other": b"x", b"replay/seen!": b"x", b"a/b": b"x"})
    assert replay.prune(state, 10**6) == ()


def test_pruning_takes_the_oldest_first_and_at_most_so_many() -> None:
    entries = {i.to_bytes(32, "big"): i % 7 for i in range(limits.REPLAY_PRUNED_PER_BLOCK + 700)}
    state = remembered(entries)
    dropped = [path for path, _ in replay.prune(state, 1_000)]
    assert len(dropped) == limits.REPLAY_PRUNED_PER_BLOCK
    assert dropped == sorted(dropped)
    assert dropped[0].startswith(b"replay/seen/0000000000/")


def test_the_window_is_what_a_mark_must_outlast() -> None:
    """A transaction may be included up to its last height, and that lies within the window."""
    state = remembered({bytes(32): 5 + limits.TX_VALIDITY_BLOCKS})
    assert replay.prune(state, 5 + limits.TX_VALIDITY_BLOCKS) == ()
    assert len(replay.prune(state, 6 + limits.TX_VALIDITY_BLOCKS)) == 1
