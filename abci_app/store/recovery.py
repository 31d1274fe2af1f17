"""What a node starts from: its last block and its trees, rebuilt from what is stored and held to what was committed.

LMDB has no checksums. ``pages`` checks the structure of the file; here its contents are: the state and the one
before it by their roots, everything that no root covers by a seal over it. Whatever is wrong halts the node: it would
decide differently from its peers.
"""

from collections.abc import Mapping
from typing import Final

from contracts.kernel import crypto
from contracts.kernel.state_tree import StateTree
from contracts.transition import STORES, BlockContext

from ..protocol.application import Halt
from .history import app_hash_of
from .interface import EMPTY, Snapshot, StoreDamaged, Version

_CHAIN, _TIME, _SEAL = b"chain-id", b"time-ms", b"seal"
RESTORE: Final = (
    "Do not go on with it: move the folder of the store away and start again, CometBFT then replays its blocks into "
    "a new one; where it has pruned them, copy the data of a stopped peer"
)


class Damaged(Halt):
    """What is stored is not what was committed. ``what`` says how."""

    kind = "environment"  # The disk's doing, unlike what else halts a node.
    hint = "'fedledger node fsck --home DIR' names everything that is wrong."

    def __init__(self, what: str) -> None:
        super().__init__(f"the store is damaged: {what}. {RESTORE}")
        self.what = what


def notes_of(block: BlockContext, version: Version) -> dict[bytes, bytes]:
    """What a commit notes of its block, sealed together with its version."""
    notes = {_CHAIN: block.chain_id.encode("ascii"), _TIME: str(block.time_ms).encode("ascii")}
    return notes | {_SEAL: _seal(version, notes)}


def last_block(snapshot: Snapshot) -> BlockContext | None:
    """The block that made a version; None before any. Raises Damaged."""
    version, notes = snapshot.version, snapshot.notes()
    if version.height == 0:
        return None
    seal = notes.pop(_SEAL, None)
    if seal is None or not notes.keys() >= {_CHAIN, _TIME}:
        raise Damaged("there is no note of its chain, so it was not written by this application")
    if seal != _seal(version, notes):
        raise Damaged("its chain, height, time and app hash are not of one commit")
    return BlockContext(notes[_CHAIN].decode("ascii"), version.height, int(notes[_TIME]))


def rebuilt_tree(snapshot: Snapshot) -> StateTree:
    """The tree over the last two stored versions, held to the stored app hashes. Raises Damaged."""
    version, previous = snapshot.version, snapshot.previous
    if version.height == 0:
        if version != EMPTY or any(snapshot.scan(b"", limit=1)):
            raise Damaged("it is at height 0 and not empty")
        return StateTree(STORES)
    if previous != EMPTY and previous.height != version.height - 1:
        raise Damaged(f"the version before height {version.height} is of height {previous.height}")
    undo, entries = dict(snapshot.undo()), dict(snapshot.scan(b""))
    forward = {path: entries.get(path) for path in undo}
    for path, body in undo.items():
        if body is None:
            entries.pop(path, None)
        else:
            entries[path] = body
    try:
        tree = StateTree(STORES, version.height - 1, entries.items())
        if previous.height > 0:  # Before the first block there was no committed version.
            _require_root(tree, previous)
        tree.apply(forward)
    except ValueError as error:  # A path or a body that no block could have written.
        raise Damaged(str(error)) from error
    _require_root(tree, version)
    _require_record(snapshot)
    return tree


def _require_root(tree: StateTree, version: Version) -> None:
    if tree.root != version.app_hash:
        committed = f"height {version.height} was committed as {version.app_hash.hex()}"
        raise Damaged(f"its contents hash to {tree.root.hex()}, {committed}")


def _require_record(snapshot: Snapshot) -> None:
    """The newest of the records, which queries answer from. The older ones are left to fsck."""
    recorded = snapshot.recorded(snapshot.version.height)
    if recorded is None:
        raise Damaged("no hashes of contracts are recorded")
    try:
        found = app_hash_of(recorded)
    except StoreDamaged as error:
        raise Damaged(str(error)) from error
    if found != snapshot.version.app_hash:
        raise Damaged(f"the recorded hashes of its contracts lead to {found.hex()}, not to its app hash")


def _seal(version: Version, notes: Mapping[bytes, bytes]) -> bytes:
    """What ties together the facts of a commit that no other hash covers."""
    facts = (str(version.height).encode(), str(version.app_version).encode(), version.app_hash.hex().encode())
    named = (name + b"=" + note for name, note in sorted(notes.items()))
    return crypto.sha256(b"\0".join((*facts, *named)))
