"""Two nodes are compared down to the first key."""

import pytest

from abci_app.inspection.diff_state import KeyDifference, NoCommonHeight, Since, compare
from abci_app.inspection.sources import FolderSource, opened_folder
from abci_app.store import recovery
from abci_app.store.history import record_of
from abci_app.store.interface import Version
from abci_app.store.lmdb_store import LmdbStore
from abci_app.store.memory_store import MemoryStore
from contracts.kernel import codec, replay
from contracts.kernel.state_tree import StateTree
from contracts.registry import RULES
from contracts.transition import BlockContext

VERSION = RULES.newest.version
CHAIN = "diff-test"


class Node:
    """A store that takes blocks of writes, as an application would."""

    def __init__(self, store=None, chain=CHAIN, history_kept=1_000):
        self.store = store or MemoryStore(history_kept)
        self.tree, self.chain = StateTree(RULES.newest.stores), chain

    def block(self, writes=None):
        version = self.tree.stage(writes or {})
        changed = version.root != self.store.app_hash
        committed = Version(version.version, version.root, VERSION)
        notes = recovery.notes_of(BlockContext(self.chain, committed.height, 1), committed)
        record = record_of(committed.height, VERSION, version.store_roots()) if changed else None
        self.store.commit(
            committed.height,
            committed.app_hash,
            writes or {},
            app_version=VERSION,
            notes=notes,
            record=record,
        )
        self.tree.adopt(version)

    def source(self, name="A"):
        with self.store.snapshot() as snapshot:
            return FolderSource(name, snapshot)


def pair(blocks, parted=()):
    """Two nodes with the same blocks, and then each its own."""
    a, b = Node(), Node()
    for writes in blocks:
        a.block(writes)
        b.block(writes)
    for ours, theirs in parted:
        a.block(ours)
        b.block(theirs)
    return a, b


def compared(a, b):
    return compare(a.source("A"), b.source("B"))


COMMON = [{b"identity/a": b"1", b"rounds/a": b"1"}, None, {b"rounds/b": b"1"}, None, None]


def test_two_nodes_that_made_the_same_blocks_are_the_same():
    found = compared(*pair(COMMON))
    assert found.same
    assert found.height == 5


def test_the_first_height_the_contract_and_the_first_key_are_named_with_both_values():
    parted = [(None, None), ({b"rounds/b": b"2"}, {b"rounds/b": b"3"}), (None, None), ({b"models/x": b"1"}, None)]
    found = compared(*pair(COMMON, parted))
    assert not found.same
    assert found.since == [Since("rounds", 7, known=True), Since("models", 9, known=True)]
    assert found.first == KeyDifference(b"models/x", b"1", None)
    assert (found.changed, found.only_a, found.only_b) == (1, 1, 0)


def test_the_values_of_the_first_key_are_records_where_they_decode():
    path = replay.SEEN.path((50, bytes(32)))
    a, b = pair(COMMON, [({path: codec.encode(replay.Mark(6))}, {path: b"\xff"})])
    assert compared(a, b).first == KeyDifference(path, replay.Mark(6), b"\xff")


@pytest.mark.parametrize("ahead", [0, 1])
def test_nodes_one_block_apart_are_compared_at_the_height_that_both_keep(ahead):
    a, b = pair(COMMON, [({b"rounds/c": b"2"}, {b"rounds/d": b"3"})])
    for node in (a, b)[:ahead]:
        node.block({b"identity/a": b"9"})
    found = compared(a, b)
    assert found.height == 6
    assert (found.only_a, found.only_b, found.changed) == (1, 1, 0)
    assert found.first == KeyDifference(b"rounds/c", b"2", None)


def test_a_node_far_ahead_shows_the_contract_and_the_height_and_says_why_no_key():
    a, b = pair(COMMON, [({b"rounds/c": b"2"}, None)])
    for _ in range(5):
        a.block({b"identity/a": b"9"})
        a.block({b"identity/a": b"8"})
    found = compared(a, b)
    assert (found.height, found.since, found.first) == (6, [Since("rounds", 6, known=True)], None)
    assert "A keeps the heights 15 and 16" in found.not_compared


def test_equal_hashes_speak_for_entries_that_cannot_be_compared_only_if_they_are_of_them():
    a, b = pair(COMMON)
    for _ in range(3):
        a.block()
    found = compared(a, b)
    assert found.same
    assert "A keeps the heights 7 and 8" in found.not_compared
    b.store._current.state[b"rounds/b"] = b"bad"
    with pytest.raises(recovery.Damaged, match="its contents hash to"):
        compared(a, b)


def test_equal_hashes_over_other_entries_are_a_difference():
    """The hashes are records: damage to the entries of one node does not show in them."""
    a, b = pair(COMMON)
    b.store._current.state[b"rounds/b"] = b"bad"
    found = compared(a, b)
    assert (found.same, found.since) == (False, [])
    assert found.first == KeyDifference(b"rounds/b", b"1", b"bad")


def test_history_that_was_dropped_makes_the_height_a_bound():
    blocks = [{b"rounds/a": b"%d" % height} for height in range(1, 9)]
    a, b = Node(history_kept=3), Node()
    for height, writes in enumerate(blocks, 1):
        a.block(writes)
        b.block(writes if height != 2 else {b"models/a": b"1"})
    assert compared(a, b).since == [Since("models", 6, known=False)]


def test_nodes_of_two_chains_or_without_a_common_height_cannot_be_compared():
    a, _ = pair(COMMON)
    other = Node(chain="other")
    other.block({b"identity/a": b"1"})
    with pytest.raises(NoCommonHeight, match="A is of the chain 'diff-test', B of 'other'"):
        compared(a, other)
    with pytest.raises(NoCommonHeight, match="at height 5, B at 0"):
        compare(a.source("A"), NamedEmpty())
    late = Node(history_kept=1)
    for height in range(1, 9):
        late.block({b"rounds/a": b"%d" % height})
    with pytest.raises(NoCommonHeight, match="has not recorded height 5"):
        compared(a, late)


class NamedEmpty(FolderSource):
    """A node that has committed nothing."""

    def __init__(self):
        with MemoryStore().snapshot() as snapshot:
            super().__init__("B", snapshot)


# Folders ----------------------------------------------------------------------------------------


def test_a_data_folder_is_compared_with_another_source(tmp_path):
    a, b = Node(LmdbStore.open(tmp_path / "ledger", 2**22)), Node()
    for node in (a, b):
        for writes in COMMON:
            node.block(writes)
    b.block({b"models/x": b"1"})
    a.block()
    a.store.close()
    with opened_folder(str(tmp_path)) as ours:
        found = compare(ours, b.source("B"))
    assert (found.since, found.first) == ([Since("models", 6, known=True)], KeyDifference(b"models/x", None, b"1"))
