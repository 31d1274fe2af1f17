"""What a node starts from: its last block and its trees, rebuilt from what is stored and held to what was committed.

LMDB has no checksums. ``pages`` checks the structure of the file; here its contents are: the state and the one
before it by their roots, everything that no root covers by a seal over it. Whatever is wrong halts the node: it would
decide differently from its peers. Each stored version has the stores of its own rules; where this program does not
know them it does not start either, and says what to install.
"""

from collections.abc import Mapping
from typing import Final

from contracts import upgrades
from contracts.kernel import crypto
from contracts.kernel.state_tree import StateTree
from contracts.rulebook import Rulebook, Rules, UnknownRules
from contracts.transition import BlockContext

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


class NewerRules(Halt):
    """The chain's rules are, or in the next block will be, of a version that this program does not know."""

    kind = "environment"
    hint = UnknownRules.hint

    def __init__(self, where: str, unknown: UnknownRules) -> None:
        super().__init__(f"{where}: {unknown}")


def rules_of(book: Rulebook, version: Version) -> Rules:
    """The rules of a stored version; before any block, the newest: the genesis says which. Raises NewerRules."""
    try:
        return book.of(version.app_version) if version.height else book.newest
    except UnknownRules as unknown:
        raise NewerRules(f"the store is at height {version.height}", unknown) from unknown


def rules_to_go_on(book: Rulebook, snapshot: Snapshot) -> Rules:
    """The rules that decide the next block. Raises NewerRules.

    Also where that block will lead over to rules that this program does not know: it could only stop there.
    """
    rules, height = rules_of(book, snapshot.version), snapshot.version.height
    coming = upgrades.due(snapshot, height + 1) if height else None
    try:
        if coming is not None:
            book.of(coming.version)
    except UnknownRules as unknown:
        raise NewerRules(f"the block after height {height} leads over", unknown) from unknown
    return rules


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


def rebuilt_tree(book: Rulebook, snapshot: Snapshot) -> StateTree:
    """The tree over the last two stored versions, held to the stored app hashes. Raises Damaged, NewerRules."""
    version, previous = snapshot.version, snapshot.previous
    if version.height == 0:
        if version != EMPTY or any(snapshot.scan(b"", limit=1)):
            raise Damaged("it is at height 0 and not empty")
        return StateTree(rules_of(book, version).stores)
    if previous != EMPTY and previous.height != version.height - 1:
        raise Damaged(f"the version before height {version.height} is of height {previous.height}")
    undo, entries = dict(snapshot.undo()), dict(snapshot.scan(b""))
    forward = {path: entries.get(path) for path in undo}
    for path, body in undo.items():
        if body is None:
            entries.pop(path, None)
        else:
            entries[path] = body
    after = rules_of(book, version).stores
    if previous.height > 0 and previous.app_version not in book.known:
        raise Damaged(f"the version before is of rules {previous.app_version}, which this program never had")
    before = rules_of(book, previous).stores if previous.height > 0 else after
    try:
        tree = StateTree(before, version.height - 1, entries.items())
        if previous.height > 0:  # Before the first block there was no committed version.
            _require_root(tree, previous)
        tree.apply(forward, after)
    except ValueError as error:  # A path or a body that no block could have written.
        raise Damaged(str(error)) from error
    _require_root(tree, version)
    _require_record(book, snapshot)
    return tree


def _require_root(tree: StateTree, version: Version) -> None:
    if tree.root != version.app_hash:
        committed = f"height {version.height} was committed as {version.app_hash.hex()}"
        raise Damaged(f"its contents hash to {tree.root.hex()}, {committed}")


def _require_record(book: Rulebook, snapshot: Snapshot) -> None:
    """The newest of the records, which queries answer from. The older ones are left to fsck."""
    recorded = snapshot.recorded(snapshot.version.height)
    if recorded is None:
        raise Damaged("no hashes of contracts are recorded")
    try:
        found = app_hash_of(book, recorded)
    except StoreDamaged as error:
        raise Damaged(str(error)) from error
    if found != snapshot.version.app_hash:
        raise Damaged(f"the recorded hashes of its contracts lead to {found.hex()}, not to its app hash")


def _seal(version: Version, notes: Mapping[bytes, bytes]) -> bytes:
    """What ties together the facts of a commit that no other hash covers."""
    facts = (str(version.height).encode(), str(version.app_version).encode(), version.app_hash.hex().encode())
    named = (name + b"=" + note for name, note in sorted(notes.items()))
    return crypto.sha256(b"\0".join((*facts, *named)))
