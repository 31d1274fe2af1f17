"""Proofs of absence: every absent path has one, no present path has any, whatever a node builds from true hashes.

A liar here knows the whole tree, so it shows true entries with true siblings. What it may choose is which, and how many
entries it claims: it cannot find another preimage of a hash.
"""

import hashlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.kernel import codec
from contracts.kernel.absence import OPERATOR, AbsenceProof, Gap, Neighbour, verify_absence
from contracts.kernel.merkle import (
    BUCKETS,
    EMPTY_ROOT,
    Proof,
    ProofInvalid,
    ProofOp,
    Step,
    bucket_of,
    climb,
    commit_value,
    hashed_leaf,
    leaf_hash,
    split_path,
    tree_aunts,
    tree_root,
)
from contracts.kernel.state_tree import PathPresent, StateTree
from tests import vectors_io

STORES = ("identity", "rounds", "models")
BODY = b"the record"


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def crowded(bucket: int, store: str = "models") -> list[bytes]:
    """Paths of a store that fall into one bucket, in order."""
    numbered = (f"{store}/{number}".encode() for number in range(700_000))
    return sorted(path for path in numbered if int.from_bytes(sha(path)[:2], "big") == bucket)


BUCKET = 7
FIRST, *MIDDLE, LAST = CROWD = crowded(BUCKET)
HELD = [path for path in CROWD if path not in (FIRST, MIDDLE[2], LAST)]  # What the state below has in that bucket.
ENTRIES = dict.fromkeys(HELD, BODY) | {b"identity/a": BODY, b"rounds/b": BODY}
assert len(HELD) > 5


@pytest.fixture(scope="module")
def tree() -> StateTree:
    return StateTree(STORES, 41, ENTRIES.items())


def proved(tree: StateTree, path: bytes) -> AbsenceProof:
    return tree.latest.prove_absence(path, ENTRIES.get)


# Acceptance: one published vector for each kind of proof ----------------------------------------


@pytest.fixture
def published(request: pytest.FixtureRequest) -> Callable[[bytes, bytes, Sequence[ProofOp]], None]:
    """Verify a proof as anybody would, and record it with the verdict; the test must be marked `vectors`."""
    function = request.function
    name = function.__name__.removeprefix("test_")
    write = bool(request.config.getoption("--write-vectors"))

    def record(root: bytes, path: bytes, operators: Sequence[ProofOp]) -> None:
        try:
            verify_absence(root, STORES, path, AbsenceProof.decode(operators))
            verdict = "absent"
        except ProofInvalid as error:
            verdict = f"refused: {error.what}"
        content: dict[str, Any] = {
            "why": " ".join((inspect.getdoc(function) or "").split()),
            "stores": STORES,
            "root": root.hex(),
            "path": path.decode(),
            "operators": [{"type": op.type, "key": op.key.hex(), "data": op.data.hex()} for op in operators],
            "verdict": verdict,
        }
        vectors_io.settle(vectors_io.FOLDER / vectors_io.ABSENCE / f"{name}.json", content, write=write)
        assert (verdict == "absent") == function.__name__.startswith("test_absence_")

    return record


@pytest.mark.vectors
def test_absence_between_two_neighbours(tree, published):
    """Two entries of the bucket, one after the other in its tree, with the absent key between theirs."""
    gap = proved(tree, MIDDLE[2]).gap
    assert gap.below is not None
    assert gap.above is not None
    assert (b"models/" + gap.below.key, b"models/" + gap.above.key) == (MIDDLE[1], MIDDLE[3])
    published(tree.root, MIDDLE[2], proved(tree, MIDDLE[2]).encode())


@pytest.mark.vectors
def test_absence_before_the_first_entry(tree, published):
    """The first entry of the bucket comes after the absent key."""
    gap = proved(tree, FIRST).gap
    assert (gap.at, gap.below, gap.above is not None) == (0, None, True)
    published(tree.root, FIRST, proved(tree, FIRST).encode())


@pytest.mark.vectors
def test_absence_after_the_last_entry(tree, published):
    """The last entry of the bucket comes before the absent key."""
    gap = proved(tree, LAST).gap
    assert (gap.at, gap.above, gap.below is not None) == (gap.total, None, True)
    published(tree.root, LAST, proved(tree, LAST).encode())


@pytest.mark.vectors
def test_absence_beside_the_only_entry(published):
    """A bucket with one entry: it is the first and the last, and its leaf is the bucket's root."""
    tree = StateTree(STORES, 0, [(MIDDLE[0], BODY)])
    proof = tree.latest.prove_absence(MIDDLE[1], {MIDDLE[0]: BODY}.get)
    assert (proof.gap.total, proof.gap.at, proof.gap.above) == (1, 1, None)
    published(tree.root, MIDDLE[1], proof.encode())


@pytest.mark.vectors
def test_absence_in_an_empty_bucket(tree, published):
    """Nothing is in the bucket at all: its root is the hash of no bytes."""
    path = b"models/nothing-like-it"
    proof = proved(tree, path)
    assert proof.gap == Gap(0, 0, None, None)
    published(tree.root, path, proof.encode())


def test_a_path_with_an_entry_gets_no_proof_of_absence(tree):
    with pytest.raises(PathPresent):
        proved(tree, HELD[0])


# Refusal: the forgeries that a verifier must know ------------------------------------------------


def entry(tree: StateTree, path: bytes) -> Neighbour:
    """A true entry of the tree, with its true siblings."""
    step = tree.prove(path).steps[0]
    return Neighbour(step.key, sha(commit_value(path, ENTRIES[path])), step.aunts)


def claimed(tree: StateTree, path: bytes, gap: Gap) -> AbsenceProof:
    """A proof for a path with any gap, under the true steps of the path's bucket."""
    _, bucket, store = tree.prove(HELD[0]).steps
    return AbsenceProof(split_path(path)[1], gap, bucket, store)


@pytest.mark.vectors
def test_an_entry_hidden_between_two_others(tree, published):
    """Both entries shown are true and on the right sides, but there is a third one between them."""
    left, hidden, right = HELD[:3]
    lie = Gap(len(HELD), 1, entry(tree, left), entry(tree, right))
    published(tree.root, hidden, claimed(tree, hidden, lie).encode())


@pytest.mark.vectors
def test_a_bucket_cut_short(tree, published):
    """The bucket is said to end before the entry that it holds further back."""
    hidden = HELD[4]
    lie = Gap(4, 4, entry(tree, HELD[3]), None)
    published(tree.root, hidden, claimed(tree, hidden, lie).encode())


@pytest.mark.vectors
def test_a_bucket_that_begins_late(tree, published):
    """A later entry is said to be the first one."""
    lie = Gap(len(HELD) - 1, 0, None, entry(tree, HELD[1]))
    published(tree.root, HELD[0], claimed(tree, HELD[0], lie).encode())


@pytest.mark.vectors
def test_a_bucket_said_to_be_empty(tree, published):
    """The bucket has entries, so its root is not the hash of no bytes, and no step leads from there to the root."""
    _, bucket, store = tree.prove(HELD[0]).steps
    empty = replace(bucket, leaf=leaf_hash(b"", EMPTY_ROOT))
    lie = AbsenceProof(split_path(HELD[0])[1], Gap(0, 0, None, None), empty, store)
    published(tree.root, HELD[0], lie.encode())


@pytest.mark.vectors
def test_an_empty_bucket_of_another_number(tree, published):
    """A true proof that another bucket is empty says nothing about this path."""
    empty = proved(tree, b"models/nothing-like-it")
    published(tree.root, HELD[0], replace(empty, key=split_path(HELD[0])[1]).encode())


@pytest.mark.vectors
def test_the_same_bucket_of_another_store(tree, published):
    """The bucket of this number is empty in another store."""
    other = next(path for path in crowded(BUCKET, "rounds") if path not in ENTRIES)
    empty = proved(tree, other)
    assert empty.gap.total == 0
    published(tree.root, HELD[0], replace(empty, key=split_path(HELD[0])[1]).encode())


@pytest.mark.vectors
def test_a_true_proof_of_another_height(tree, published):
    """Before the entry was written there was nothing: true then, refused under the later root."""
    after = tree.stage({MIDDLE[2]: BODY})
    published(after.root, MIDDLE[2], proved(tree, MIDDLE[2]).encode())


@pytest.mark.vectors
def test_a_true_proof_for_another_key(tree, published):
    """The proof answers for the key that it names, not for the one that was asked for."""
    published(tree.root, HELD[0], proved(tree, MIDDLE[2]).encode())


@pytest.mark.vectors
def test_neighbours_on_the_wrong_sides(tree, published):
    """The entry after the gap is shown before it, and the other way round."""
    proof = proved(tree, MIDDLE[2])
    gap = replace(proof.gap, below=proof.gap.above, above=proof.gap.below)
    published(tree.root, MIDDLE[2], replace(proof, gap=gap).encode())


@pytest.mark.vectors
def test_a_neighbour_that_was_never_written(tree, published):
    """An extra entry with a key of the liar's choice is no leaf of the tree."""
    hidden = HELD[1]
    made_up = replace(entry(tree, HELD[1]), key=split_path(hidden)[1] + b"0")
    lie = Gap(len(HELD), 1, entry(tree, HELD[0]), made_up)
    published(tree.root, hidden, claimed(tree, hidden, lie).encode())


@pytest.mark.vectors
def test_an_operator_below_the_gap(tree, published):
    """A proof has three operators, so nothing can be put before the gap."""
    first, *rest = proved(tree, MIDDLE[2]).encode()
    published(tree.root, MIDDLE[2], (first, first, *rest))


def test_the_only_entry_at_the_path_itself_is_no_neighbour(tree):
    for gap in (Gap(1, 1, entry(tree, HELD[0]), None), Gap(1, 0, None, entry(tree, HELD[0]))):
        with pytest.raises(ProofInvalid, match=r"does not come (before|after)"):
            verify_absence(tree.root, STORES, HELD[0], claimed(tree, HELD[0], gap))


def test_a_gap_shows_exactly_the_neighbours_that_its_place_has(tree):
    one = entry(tree, HELD[0])
    for total, at, below, above in product(range(4), range(5), (None, one), (None, one)):
        if at > total or (below is None) != (at == 0) or (above is None) != (at == total):
            with pytest.raises(ProofInvalid, match=r"neighbours|place"):
                Gap(total, at, below, above).root_around(b"~")


def test_another_root_store_or_list_of_stores_is_refused(tree):
    proof = proved(tree, MIDDLE[2])
    for what, root, stores, path in (
        ("root", bytes(32), STORES, MIDDLE[2]),
        ("root", b"", STORES, MIDDLE[2]),
        ("store", tree.root, STORES, b"nowhere/1"),
        ("store place", tree.root, STORES[::-1], MIDDLE[2]),
        ("store place", tree.root, (*STORES, "governance"), MIDDLE[2]),
        ("key", tree.root, STORES, MIDDLE[3]),
    ):
        with pytest.raises(ProofInvalid) as refusal:
            verify_absence(root, stores, path, proof)
        assert refusal.value.what == what
    for path in (b"models/", b"models", b"models/x:00"):
        with pytest.raises(ValueError, match=r"path|store"):
            verify_absence(tree.root, STORES, path, proof)


@pytest.mark.parametrize(
    ("step", "change"),
    [
        ("bucket", {"index": BUCKET + 1}),
        ("bucket", {"total": 2 * BUCKETS}),
        ("bucket", {"key": b"7"}),
        ("store", {"key": b"rounds"}),
        ("store", {"index": 1}),
        ("store", {"total": 4}),
    ],
)
def test_a_step_at_another_place_or_under_another_key_is_refused(tree, step, change):
    proof = proved(tree, MIDDLE[2])
    with pytest.raises(ProofInvalid, match=rf"{step} (place|key)"):
        verify_absence(tree.root, STORES, MIDDLE[2], replace(proof, **{step: replace(getattr(proof, step), **change)}))


# Every proof that a node could build -------------------------------------------------------------


class Bucket:
    """The tree of one bucket, alone, and whatever a node that knows all of it could show."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self.keys = sorted(keys)
        leaves = b"".join(hashed_leaf(key, sha(key)) for key in self.keys)
        self.root = tree_root(leaves)
        self.entries = [Neighbour(key, sha(key), tree_aunts(leaves, at)) for at, key in enumerate(self.keys)]

    def gaps(self) -> Iterator[Gap]:
        """All claims with true entries: any of them on any side, in any place of any number of entries."""
        shown: list[Neighbour | None] = [None, *self.entries]
        for total in range(2 * len(self.keys) + 3):
            for at in range(total + 1):
                for below, above in product(shown, shown):
                    yield Gap(total, at, below, above)

    def accepts(self, gap: Gap, key: bytes) -> bool:
        try:
            return gap.root_around(key) == self.root
        except ProofInvalid:
            return False


alphabet = st.sampled_from([b"a", b"b", b"c", b"aa", b"ab", b"b\x00", b"b\xff", b"cc", b"\x00", b"\xff\xff"])


@settings(max_examples=30)
@given(st.sets(alphabet, max_size=6), alphabet | st.binary(min_size=1, max_size=3))
def test_a_key_is_provably_absent_exactly_when_it_is_absent(keys: set[bytes], asked: bytes) -> None:
    bucket = Bucket(sorted(keys))
    accepted = [gap for gap in bucket.gaps() if bucket.accepts(gap, asked)]
    assert bool(accepted) == (asked not in keys)
    for gap in accepted:  # Other places with the same turns may be claimed; never other neighbours.
        below = max((key for key in keys if key < asked), default=None)
        above = min((key for key in keys if key > asked), default=None)
        assert (gap.below and gap.below.key, gap.above and gap.above.key) == (below, above)


def test_places_with_the_same_turns_are_the_same_statement_and_the_last_of_them_is_still_the_last():
    """Leaf 2 of 3 and leaf 1 of 2 turn alike: the claimed size says nothing, the turns do."""
    bucket = Bucket([b"a", b"b", b"c"])
    *_, last = bucket.entries
    assert bucket.accepts(Gap(3, 3, last, None), b"d")
    assert bucket.accepts(Gap(2, 2, last, None), b"d")
    assert bucket.accepts(Gap(5, 5, last, None), b"d")
    assert not bucket.accepts(Gap(4, 4, last, None), b"d"), "the last of four turns right twice"
    first, middle, _ = bucket.entries
    for total in range(9):
        for wrong, at, key in ((middle, total, b"c"), (first, total, b"b")):
            assert not bucket.accepts(Gap(total, at, wrong, None), key)


def turns(index: int, total: int) -> str:
    """From the root of RFC 6962's tree down to a leaf: left or right at each node, by its recursive definition."""
    if total == 1:
        return ""
    split = 1 << (total - 1).bit_length() - 1
    return "L" + turns(index, split) if index < split else "R" + turns(index - split, total - split)


def test_neighbours_part_once_and_turn_only_towards_each_other_below():
    """The argument in the module's docstring, on the turns themselves."""
    for total in range(1, 70):
        ways = [turns(index, total) for index in range(total)]
        assert set(ways[0]) <= {"L"}
        assert set(ways[-1]) <= {"R"}
        for left, right in pairwise(ways):
            parting = next(at for at, (one, other) in enumerate(zip(left, right, strict=False)) if one != other)
            assert (left[parting], right[parting]) == ("L", "R")
            assert set(left[parting + 1 :]) <= {"R"}
            assert set(right[parting + 1 :]) <= {"L"}


@given(st.integers(1, 200), st.data())
def test_a_climb_reads_nothing_of_a_place_but_its_turns(total: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, total - 1))
    way = turns(index, total)
    aunts = tuple(sha(bytes([level])) for level in range(len(way)))
    digest = bytes(32)
    for side, aunt in zip(reversed(way), aunts, strict=True):
        digest = sha(b"\x01" + (digest + aunt if side == "L" else aunt + digest))
    assert climb(total, index, bytes(32), aunts) == digest


states = st.dictionaries(st.sampled_from(CROWD) | st.just(b"models/elsewhere"), st.binary(min_size=1), max_size=8)


@settings(max_examples=40)
@given(states)
def test_in_a_whole_state_every_path_is_proved_present_or_absent_and_never_both(state: dict[bytes, bytes]) -> None:
    tree = StateTree(STORES, 0, state.items())
    for path in [*CROWD, b"models/elsewhere", b"rounds/elsewhere"]:
        if path in state:
            steps = tree.prove(path).steps
            with pytest.raises(PathPresent):
                tree.latest.prove_absence(path, state.get)
            # The strongest lie left: all other true entries of the bucket, under the true upper steps.
            others = {other: tree.prove(other).steps[0] for other in state if bucket_of(other) == bucket_of(path)}
            shown = [None] + [
                Neighbour(step.key, sha(commit_value(other, state[other])), step.aunts)
                for other, step in others.items()
            ]
            for total, below, above in product(range(len(others) + 2), shown, shown):
                for at in range(total + 1):
                    lie = AbsenceProof(split_path(path)[1], Gap(total, at, below, above), *steps[1:])
                    with pytest.raises(ProofInvalid):
                        verify_absence(tree.root, STORES, path, lie)
        else:
            proof = tree.latest.prove_absence(path, state.get)
            verify_absence(tree.root, STORES, path, AbsenceProof.decode(proof.encode()))


# Encoding ----------------------------------------------------------------------------------------


def test_any_flipped_bit_is_refused_or_spells_the_same_statement(tree):
    path = MIDDLE[2]
    proof = proved(tree, path)
    operators = proof.encode()
    for number, operator in enumerate(operators):
        for field in ("key", "data"):
            content = getattr(operator, field)
            for bit in range(8 * len(content)):
                flipped = bytearray(content)
                flipped[bit >> 3] ^= 1 << (bit & 7)
                forged = list(operators)
                forged[number] = operator._replace(**{field: bytes(flipped)})
                try:
                    survivor = AbsenceProof.decode(forged)
                    verify_absence(tree.root, STORES, path, survivor)
                except ProofInvalid:
                    continue
                place = {"total": proof.gap.total, "at": proof.gap.at}
                assert replace(survivor, gap=replace(survivor.gap, **place)) == proof


digests = st.binary(min_size=32, max_size=32)
neighbours = st.builds(
    Neighbour,
    key=st.binary(min_size=1, max_size=255),
    value_hash=digests,
    aunts=st.lists(digests, max_size=32).map(tuple),
)
gaps = st.builds(
    Gap, st.integers(0, 2**32), st.integers(0, 2**32), below=st.none() | neighbours, above=st.none() | neighbours
)


@given(st.binary(max_size=255), gaps)
def test_every_gap_within_its_bounds_survives_encoding(key: bytes, gap: Gap) -> None:
    step = Step(b"", BUCKETS, 3, bytes(32), ())
    proof = AbsenceProof(key, gap, step, step)
    assert AbsenceProof.decode(proof.encode()) == proof


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused_as_a_gap_never_with_another_error(data: bytes) -> None:
    with pytest.raises(ProofInvalid, match=r"gap|operator"):
        AbsenceProof.decode([ProofOp(OPERATOR, b"k", data)] * 3)


def test_a_gap_out_of_its_bounds_is_refused_unread(tree):
    first, *rest = proved(tree, MIDDLE[2]).encode()
    long_key = {"key": b"k" * 256, "aunts": [], "value_hash": bytes(32)}
    wordy = {"key": b"k", "aunts": [bytes(32)] * 33, "value_hash": bytes(32)}
    with pytest.raises(ProofInvalid, match=r"gap: .*at most 4096 are allowed"):
        AbsenceProof.decode([first._replace(data=bytes(4_097)), *rest])
    for data in (
        codec.encode_plain({"at": 0, "total": 0, "below": None}),
        codec.encode_plain({"at": -1, "total": 0, "below": None, "above": None}),
        codec.encode_plain({"at": 0, "total": 2**32 + 1, "below": None, "above": None}),
        codec.encode_plain({"at": 1, "total": 1, "below": long_key, "above": None}),
        codec.encode_plain({"at": 1, "total": 1, "below": wordy, "above": None}),
        codec.encode_plain({"at": 1, "total": 1, "below": {**long_key, "key": b""}, "above": None}),
    ):
        with pytest.raises(ProofInvalid, match="gap"):
            AbsenceProof.decode([first._replace(data=data), *rest])


def test_a_proof_of_a_value_is_none_of_absence_and_the_other_way_round(tree):
    value, absence = tree.prove(HELD[0]).encode(), proved(tree, MIDDLE[2]).encode()
    with pytest.raises(ProofInvalid, match="type"):
        AbsenceProof.decode(value)
    with pytest.raises(ProofInvalid, match="type"):
        Proof.decode(absence)


def test_there_are_exactly_three_operators(tree):
    for count in (0, 1, 2, 4, 64):
        with pytest.raises(ProofInvalid, match="operators"):
            AbsenceProof.decode((proved(tree, MIDDLE[2]).encode() * 22)[:count])


def test_a_proof_stays_small_however_full_a_ground_bucket_is():
    most = Neighbour(bytes(255), bytes(32), (bytes(32),) * 32)
    assert len(codec.encode(Gap(2**32, 2**31, most, most))) < 3_000
