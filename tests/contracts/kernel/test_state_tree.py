"""The state tree against one that is rebuilt from scratch, recursively, from a plain dictionary."""

import hashlib
import tracemalloc
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from contracts.kernel.merkle import bucket_of, climb, verify
from contracts.kernel.state_tree import PathAbsent, StaleStage, StateTree, VersionNotKept
from tests import effort

STORES = ("identity", "rounds", "models")


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def grind_paths() -> list[bytes]:
    """Paths that crowd the fullest buckets of two stores, and a few that stand alone."""
    paths = [b"identity/a", b"models/b", b"models/a/b"]
    for name in STORES[1:]:
        buckets: dict[int, list[bytes]] = {}
        for number in range(40_000):
            path = f"{name}/{number}".encode()
            buckets.setdefault(bucket_of(path), []).append(path)
        for crowd in sorted(buckets.values(), key=len)[-3:]:
            paths += crowd
    return paths


PATHS = grind_paths()
bodies = st.binary(min_size=1, max_size=40)
batches = st.dictionaries(st.sampled_from(PATHS), st.none() | bodies, max_size=8)
states = st.dictionaries(st.sampled_from(PATHS), bodies, max_size=30)


# The independent construction -------------------------------------------------------------------


def naive_leaf(key: bytes, value: bytes) -> bytes:
    assert len(key) < 128
    return sha(b"\x00" + bytes([len(key)]) + key + b"\x20" + sha(value))


def naive_root(leaves: list[bytes]) -> bytes:
    if len(leaves) < 2:
        return leaves[0] if leaves else sha(b"")
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha(b"\x01" + naive_root(leaves[:split]) + naive_root(leaves[split:]))


EMPTY_BELOW = [naive_leaf(b"", sha(b""))]  # Root over 2^n empty buckets.
for _ in range(16):
    EMPTY_BELOW.append(sha(b"\x01" + EMPTY_BELOW[-1] * 2))


def naive_buckets(filled: Mapping[int, bytes], low: int, levels: int) -> bytes:
    if not filled:
        return EMPTY_BELOW[levels]
    if levels == 0:
        return naive_leaf(b"", filled[low])
    middle = low + (1 << levels - 1)
    left = {bucket: root for bucket, root in filled.items() if bucket < middle}
    right = {bucket: root for bucket, root in filled.items() if bucket >= middle}
    return sha(b"\x01" + naive_buckets(left, low, levels - 1) + naive_buckets(right, middle, levels - 1))


def naive_store_root(name: str, state: Mapping[bytes, bytes]) -> bytes:
    buckets: dict[int, list[tuple[bytes, bytes]]] = {}
    for path, body in state.items():
        store, _, key = path.partition(b"/")
        if store == name.encode():
            leaf = naive_leaf(key, sha(path) + body)
            buckets.setdefault(int(sha(path).hex()[:4], 16), []).append((key, leaf))
    roots = {bucket: naive_root([leaf for _, leaf in sorted(found)]) for bucket, found in buckets.items()}
    return naive_buckets(roots, 0, 16)


def naive_state_root(state: Mapping[bytes, bytes]) -> bytes:
    return naive_root([naive_leaf(name.encode(), naive_store_root(name, state)) for name in STORES])


class StagedAndAdopted(RuleBasedStateMachine):
    """Random batches of writes and removals, some staged and dropped, beside a dictionary per version."""

    def __init__(self) -> None:
        super().__init__()
        self.tree = StateTree(STORES, version=10)
        self.states: list[dict[bytes, bytes]] = [{}]

    @rule(writes=batches)
    def adopt(self, writes: dict[bytes, bytes | None]) -> None:
        staged = self.tree.stage(writes)
        after = {path: body for path, body in (self.states[-1] | writes).items() if body is not None}
        assert staged.root == naive_state_root(after)
        self.tree.adopt(staged)
        self.states.append(after)

    @rule(writes=batches)
    def stage_and_drop(self, writes: dict[bytes, bytes | None]) -> None:
        self.tree.stage(writes)

    @precondition(lambda self: len(self.states) > 1)
    @rule(data=st.data())
    def prove_in_both_versions(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(PATHS))
        for version, state in ((self.tree.version, self.states[-1]), (self.tree.version - 1, self.states[-2])):
            if path in state:
                proof = self.tree.prove(path, version)
                verify(self.tree.at(version).root, STORES, path, state[path], proof)
            else:
                with pytest.raises(PathAbsent):
                    self.tree.prove(path, version)

    @invariant()
    def both_versions_have_the_roots_of_their_states(self) -> None:
        assert self.tree.version == 10 + len(self.states) - 1
        for back, state in enumerate(reversed(self.states[-2:])):
            held = self.tree.at(self.tree.version - back)
            assert held.root == naive_state_root(state)
            assert held.store_roots() == {name: naive_store_root(name, state) for name in STORES}

    @invariant()
    def a_rebuilt_tree_is_the_same(self) -> None:
        rebuilt = StateTree(STORES, self.tree.version, self.states[-1].items())
        assert (rebuilt.root, rebuilt.version) == (self.tree.root, self.tree.version)


TestStagedAndAdopted = StagedAndAdopted.TestCase
TestStagedAndAdopted.settings = settings(max_examples=effort.examples(60), stateful_step_count=15, deadline=None)


# Single claims ----------------------------------------------------------------------------------


def test_the_root_is_that_of_65536_leaves_hashed_one_by_one() -> None:
    """No shortcut for empty buckets on the other side here."""
    state = {path: b"body of " + path for path in PATHS}
    tree = StateTree(STORES, 0, state.items())
    for name in STORES:
        buckets: list[list[tuple[bytes, bytes]]] = [[] for _ in range(1 << 16)]
        for path, body in state.items():
            store, _, key = path.partition(b"/")
            if store == name.encode():
                buckets[bucket_of(path)].append((key, naive_leaf(key, sha(path) + body)))
        leaves = [naive_leaf(b"", naive_root([leaf for _, leaf in sorted(bucket)])) for bucket in buckets]
        assert tree.latest.store_roots()[name] == naive_root(leaves)


@settings(deadline=None)
@given(states, st.randoms(use_true_random=False))
def test_the_order_and_the_batching_of_writes_do_not_matter(state, random) -> None:
    entries = list(state.items())
    at_once = StateTree(STORES, 0, entries).root
    random.shuffle(entries)
    one_by_one = StateTree(STORES)
    for path, body in entries:
        one_by_one.apply({path: body})
    assert one_by_one.root == at_once


@settings(deadline=None)
@given(states, batches)
def test_undoing_a_batch_gives_the_root_before_it(state, batch) -> None:
    tree = StateTree(STORES, 0, state.items())
    before = tree.root
    tree.apply(batch)
    tree.apply({path: state.get(path) for path in batch})
    assert tree.root == before


def test_an_empty_batch_and_a_removal_of_nothing_leave_the_root_alone() -> None:
    tree = StateTree(STORES, 0, [(b"models/a", b"1")])
    for writes in ({}, {b"models/zz": None}, {b"identity/zz": None}, {b"models/a": b"1"}):
        assert tree.stage(writes).root == tree.root


def test_staging_changes_nothing_until_it_is_adopted() -> None:
    tree = StateTree(STORES, 7, [(b"models/a", b"1")])
    before = tree.root
    staged = tree.stage({b"models/a": b"2"})
    assert (tree.root, tree.version) == (before, 7)
    verify(before, STORES, b"models/a", b"1", tree.prove(b"models/a"))
    tree.adopt(staged)
    assert (tree.root, tree.version) == (staged.root, 8)
    verify(tree.root, STORES, b"models/a", b"2", tree.prove(b"models/a"))
    verify(before, STORES, b"models/a", b"1", tree.prove(b"models/a", 7))


def test_a_stage_over_a_version_that_is_no_longer_the_latest_is_refused() -> None:
    tree = StateTree(STORES)
    late, twice = tree.stage({b"models/a": b"1"}), tree.stage({b"models/a": b"2"})
    tree.adopt(twice)
    for stale in (late, twice):
        with pytest.raises(StaleStage, match="version 1"):
            tree.adopt(stale)
    other = StateTree(STORES, 1, [(b"models/a", b"3")])
    with pytest.raises(StaleStage, match="version 2"):
        tree.adopt(other.stage({}))


def test_the_two_newest_versions_are_kept_and_no_others() -> None:
    tree = StateTree(STORES, 5)
    for _ in range(3):
        tree.apply({})
    assert [tree.at(version).version for version in (7, 8)] == [7, 8]
    for version in (4, 6, 9):
        with pytest.raises(VersionNotKept, match=f"version {version} is not in 7..8"):
            tree.at(version)


def test_a_path_outside_the_stores_or_an_empty_body_is_refused() -> None:
    tree = StateTree(STORES)
    with pytest.raises(ValueError, match="none of the stores"):
        tree.stage({b"nowhere/a": b"1"})
    with pytest.raises(ValueError, match="none of the stores"):
        tree.prove(b"nowhere/a")
    with pytest.raises(ValueError, match="empty body"):
        tree.stage({b"models/a": b""})
    with pytest.raises(ValueError, match="x:"):
        tree.stage({b"models/x:00": b"1"})


@pytest.mark.parametrize("stores", [(), ("a", "a"), ("a/b",), ("",), ("é",)])
def test_stores_that_cannot_begin_a_path_are_refused(stores: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"store|path"):
        StateTree(stores)


def test_neighbouring_leaves_of_a_bucket_are_neighbours_in_key_order() -> None:
    """What a proof of absence will rest on: same tree, adjacent places, keys on both sides of the absent one."""
    fullest = bucket_of(PATHS[-1])
    shared = sorted(path for path in PATHS if path.startswith(b"models/") and bucket_of(path) == fullest)
    assert len(shared) > 3
    absent = shared.pop(1)
    tree = StateTree(STORES, 0, [(path, b"x") for path in shared])
    below, above = tree.prove(shared[0]).steps[0], tree.prove(shared[1]).steps[0]
    assert below.key < absent.partition(b"/")[2] < above.key
    assert (above.index, above.total) == (below.index + 1, below.total)
    assert climb(below.total, below.index, below.leaf, below.aunts) == climb(
        above.total, above.index, above.leaf, above.aunts
    )


def test_a_version_costs_kilobytes_however_large_the_state_is() -> None:
    """Copying the whole state per block would be an outage at a million entries."""
    tree = StateTree(STORES, 0, [(b"models/%d" % number, b"x") for number in range(5_000)])
    tracemalloc.start()
    try:
        staged = tree.stage({b"models/17": b"y"})
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert staged.root != tree.root
    assert kept < 16 * 1024


def test_a_version_with_more_stores_is_what_a_tree_of_all_its_entries_would_be() -> None:
    tree = StateTree(STORES, 7, [(b"models/a", b"1")])
    before = tree.latest
    tree.apply({b"audits/a": b"2"}, (*STORES, "audits"))
    entries = [(b"models/a", b"1"), (b"audits/a", b"2")]
    assert tree.root == StateTree((*STORES, "audits"), 8, entries).root
    verify(tree.root, (*STORES, "audits"), b"audits/a", b"2", tree.prove(b"audits/a"))
    verify(tree.root, (*STORES, "audits"), b"models/a", b"1", tree.prove(b"models/a"))
    verify(before.root, STORES, b"models/a", b"1", tree.prove(b"models/a", 7))
    assert (before.stores, tree.latest.stores) == (STORES, (*STORES, "audits"))


def test_a_new_store_changes_the_root_also_while_it_is_empty() -> None:
    tree = StateTree(STORES)
    assert tree.stage({}, (*STORES, "audits")).root != tree.root == tree.stage({}, STORES).root


@pytest.mark.parametrize("stores", [STORES[:2], STORES[::-1], ("audits", *STORES), (*STORES, "models")])
def test_stores_are_neither_dropped_nor_moved_nor_repeated(stores: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="stores"):
        StateTree(STORES).stage({}, stores)
