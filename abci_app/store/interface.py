"""What a node keeps between blocks: the committed state, and what undoes its last block.

A ``Store`` holds the newest version whole, and the one before it as a delta. A proof for height H is
verified against header H+1, so a node has to answer for the previous version too. ``commit`` moves from one
version to the next in one durable transaction: state, delta, height and app hash change together or not at
all. A ``Snapshot`` is one version, which stays what it is while later ones are committed.

Of older versions a store keeps one small record for each block that changed the state (``history``: the
hashes of the contracts), and of those the newest ``HISTORY_KEPT``.

Two stores obey this contract and one test suite: ``lmdb_store.LmdbStore``, and ``memory_store.MemoryStore``
for tests and simulations. Nothing here hashes: the Merkle map over this state is
``contracts.kernel.merkle``, rebuilt from ``scan(b"")``.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from heapq import merge
from itertools import islice
from typing import ClassVar, NamedTuple

from contracts.kernel.limits import PATH_BYTES, VALUE_BYTES

APP_HASH_BYTES_MAX = 64
NOTE_NAME_BYTES_MAX = 32
HEIGHT_MAX = 2**63 - 1  # A block's height is an int64 on the wire.
RECORD_BYTES_MAX = 2_048
HISTORY_KEPT = 1_000_000
"""Records of older versions. With ten stores one takes about 380 bytes of disk: at most 380 MB, for three and a half
days in which every block of 300 ms changes the state; an empty block, or one that changes nothing, records nothing."""


class StoreError(Exception):
    """The store cannot do what was asked. In a consensus call this halts the node: see ``dispatch``."""

    kind: ClassVar[str] = "environment"


class StoreLocked(StoreError):
    """Another process has the store open."""

    def __init__(self, path: str, owner: str) -> None:
        super().__init__(f"{path} is open in process {owner}: a store has one node, stop that one first")
        self.path, self.owner = path, owner


class StoreFormatUnknown(StoreError):
    """The store was written in a format that this version does not read."""

    def __init__(self, path: str, found: object, known: int) -> None:
        super().__init__(
            f"{path} has format {found}, this version reads format {known} only: move the folder away and start "
            "again, the blocks are then replayed into a new one"
        )
        self.found, self.known = found, known


class StoreDamaged(StoreError):
    """The store's files are not what was written: a part is missing, cut short or overwritten."""


class StoreFull(StoreError):
    """A commit does not fit the map. The last committed version is untouched."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the store's map of {limit} bytes is full: raise its limit and start again")
        self.limit = limit


class StoreWriteFailed(StoreError):
    """The disk refused a commit. The last committed version is untouched."""


class CommitRefused(StoreError, ValueError):
    """A commit that breaks the contract of the store: our own mistake, never a member's."""

    kind = "bug"


class Version(NamedTuple):
    """One committed version of the state."""

    height: int
    """Of the block that made it; 0 before any block."""
    app_hash: bytes
    """Empty before any block."""
    app_version: int
    """Of the rules that it is a state of, and that decide the next block; 0 before any block."""


EMPTY = Version(0, b"", 0)


class Recorded(NamedTuple):
    """What was recorded with a version. It holds until the next record."""

    height: int
    record: bytes


class Snapshot(ABC):
    """One version, and the way back to the one before it."""

    @property
    @abstractmethod
    def version(self) -> Version:
        """Which one it is."""

    @property
    @abstractmethod
    def previous(self) -> Version:
        """The one before it."""

    @abstractmethod
    def get(self, path: bytes) -> bytes | None:
        """The value at a path, or None."""

    @abstractmethod
    def get_previous(self, path: bytes) -> bytes | None:
        """The value that the path had in ``previous``, or None."""

    @abstractmethod
    def scan(
        self, prefix: bytes, after: bytes | None = None, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Paths under a prefix with their values, in byte order, behind ``after``. All, without a ``limit``."""

    @abstractmethod
    def undo(self) -> Iterator[tuple[bytes, bytes | None]]:
        """What turns ``version`` into ``previous``: each path of the last commit with its earlier value."""

    @abstractmethod
    def notes(self) -> dict[bytes, bytes]:
        """The notes of ``version`` (see ``Store.commit``)."""

    @abstractmethod
    def recorded(self, height: int) -> Recorded | None:
        """The newest record at or before a height, or None."""

    @abstractmethod
    def history(self) -> Iterator[Recorded]:
        """Every record that is kept, oldest first."""

    def scan_previous(
        self, prefix: bytes, after: bytes | None = None, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """As ``scan``, of ``previous``."""
        undone = {path: value for path, value in self.undo() if path.startswith(prefix)}
        restored = [(path, value) for path, value in undone.items() if value is not None]
        behind = [entry for entry in restored if after is None or entry[0] > after]
        kept = (entry for entry in self.scan(prefix, after) if entry[0] not in undone)
        return islice(merge(kept, behind), limit)


class Store(ABC):
    """A sequence of versions, of which the last two can be read."""

    version: Version

    @property
    def height(self) -> int:
        """Height of the newest version; 0 before any block."""
        return self.version.height

    @property
    def app_hash(self) -> bytes:
        """App hash of the newest version; empty before any block."""
        return self.version.app_hash

    @property
    def app_version(self) -> int:
        """Version of the rules that the newest version is a state of."""
        return self.version.app_version

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """The newest version, held fast for as long as the context is open. Keep it short: it holds space."""

    def get(self, path: bytes) -> bytes | None:
        """The newest value at a path, or None."""
        with self.snapshot() as snapshot:
            return snapshot.get(path)

    def get_previous(self, path: bytes) -> bytes | None:
        """The value at a path in the version before the newest, or None."""
        with self.snapshot() as snapshot:
            return snapshot.get_previous(path)

    def scan(
        self, prefix: bytes, after: bytes | None = None, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """As ``Snapshot.scan``; the whole walk sees the version it started on."""
        with self.snapshot() as snapshot:
            yield from snapshot.scan(prefix, after, limit)

    def note(self, name: bytes) -> bytes | None:
        """A note of the newest version, or None."""
        with self.snapshot() as snapshot:
            return snapshot.notes().get(name)

    def commit(
        self,
        height: int,
        app_hash: bytes,
        writes: Mapping[bytes, bytes | None],
        *,
        app_version: int,
        notes: Mapping[bytes, bytes] | None = None,
        record: bytes | None = None,
    ) -> None:
        """Make the next version: durable, or refused without a trace.

        ``writes`` maps paths to values, None removes. ``notes`` replaces the facts that the shell needs
        after a restart and no hash covers, such as the block's time. ``record`` is kept under this height,
        also when later versions follow; None keeps the last one valid. Only the first commit may skip heights,
        since a chain may start at any. Raises CommitRefused, StoreFull, StoreWriteFailed.
        """
        notes = notes or {}
        self._check(height, app_hash, app_version, writes, notes)
        if record is not None:
            _bound("the record", len(record), 1, RECORD_BYTES_MAX)
        version = Version(height, app_hash, app_version)
        self._write(version, writes, notes, record)
        self.version = version

    @abstractmethod
    def close(self) -> None:
        """Let go of the files. Nothing is pending: every commit was durable."""

    @abstractmethod
    def _write(
        self,
        version: Version,
        writes: Mapping[bytes, bytes | None],
        notes: Mapping[bytes, bytes],
        record: bytes | None,
    ) -> None:
        """Make all of it durable at once."""

    def _check(
        self,
        height: int,
        app_hash: bytes,
        app_version: int,
        writes: Mapping[bytes, bytes | None],
        notes: Mapping[bytes, bytes],
    ) -> None:
        if not 0 < height <= HEIGHT_MAX or (self.height and height != self.height + 1):
            raise CommitRefused(f"height {height} does not follow height {self.height}")
        _bound("app_hash", len(app_hash), 1, APP_HASH_BYTES_MAX)
        _bound("app_version", app_version, 0, 2**64 - 1)
        for path, value in writes.items():
            _bound(f"the path {path[:32]!r}…", len(path), 1, PATH_BYTES)
            _bound(f"the value at {path!r}", len(value or b""), 0, VALUE_BYTES)
        for name, value in notes.items():
            _bound(f"the name of note {name!r}", len(name), 1, NOTE_NAME_BYTES_MAX)
            _bound(f"note {name!r}", len(value), 0, VALUE_BYTES)


def _bound(what: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise CommitRefused(f"{what}: {value} is outside {least} to {most}")
