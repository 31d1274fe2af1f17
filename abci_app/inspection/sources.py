"""Where two nodes' states are read for comparison: the questions that a source answers, and a data folder as one.

They are: which heights it has, the recorded hashes of the contracts at a height, and the entries of the two versions
that are kept. Left to others: a running node as a source, which whoever compares brings along (``cli.node_source``).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

from contracts.registry import RULES
from contracts.rulebook import Rulebook, Rules

from ..store import lmdb_store, recovery
from ..store.history import roots_of
from ..store.interface import Snapshot
from .fsck import store_folder


class SourceFailed(Exception):
    """A node cannot be read."""

    kind: ClassVar[str] = "access"
    hint = "Look at it with 'fedledger node fsck', or ask another node."


class HeightNotKept(Exception):
    """A node does not have the version of this height any more."""

    kind: ClassVar[str] = "refused"


class Roots(NamedTuple):
    """The hashes of all contracts after a block."""

    roots: dict[str, bytes]
    oldest: int
    """The oldest height whose hashes are known."""


class Source(Protocol):
    """One node. ``name`` is how the user called it."""

    name: str
    chain_id: str
    newest: int
    rules: Rules
    """Of the newest state."""
    whole: bool
    """Whether reading every entry is cheap."""

    def roots(self, height: int) -> Roots:
        """The hashes at a height. Raises SourceFailed, HeightNotKept."""

    def entries(self, height: int, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The entries under a prefix in a version, in byte order. Raises SourceFailed, HeightNotKept."""

    def require_sound(self) -> None:
        """Hold the entries to the hashes, where they can be read. Raises recovery.Damaged."""


@contextmanager
def opened_folder(name: str, book: Rulebook = RULES) -> Iterator["FolderSource"]:
    """A data folder by its name. Raises StoreError, recovery.Damaged, recovery.NewerRules."""
    with lmdb_store.read_only(store_folder(Path(name))) as snapshot:
        yield FolderSource(name, snapshot, book)


class FolderSource:
    """A data folder. Its node may be running: one version is read, which it leaves alone meanwhile."""

    whole = True

    def __init__(self, name: str, snapshot: Snapshot, book: Rulebook = RULES) -> None:
        block = recovery.last_block(snapshot)
        self.name, self._snapshot, self._book = name, snapshot, book
        self.rules = recovery.rules_of(book, snapshot.version)
        self.chain_id, self.newest = (block.chain_id, block.height) if block else ("", 0)

    def roots(self, height: int) -> Roots:
        """The hashes at a height. Raises StoreDamaged, HeightNotKept."""
        oldest, found = next(self._snapshot.history(), None), self._snapshot.recorded(height)
        if oldest is None or found is None:
            raise HeightNotKept(f"{self.name} has not recorded height {height}")
        return Roots(roots_of(self._book, found), oldest.height)

    def entries(self, height: int, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The entries of a version. Raises HeightNotKept."""
        if height == self.newest:
            return self._snapshot.scan(prefix)
        if height == self._snapshot.previous.height:
            return self._snapshot.scan_previous(prefix)
        raise HeightNotKept(f"{self.name} keeps the heights {self._snapshot.previous.height} and {self.newest}")

    def require_sound(self) -> None:
        """As a node does when it starts. Raises recovery.Damaged."""
        recovery.rebuilt_tree(self._book, self._snapshot)
