"""How a simulated process dies: where, and what its disk holds afterwards.

A ``Fuse`` is set to one point of a height; whoever passes that point calls ``reach`` and dies there. The points inside
Commit and inside a read are reached through ``FaultyStore``, which stands between the application and its real store,
so that the application needs no hook. A ``Disk`` is what survives: the next process opens it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from abci_app.store.interface import Recorded, Snapshot, Store, Version
from abci_app.store.lmdb_store import LmdbStore
from abci_app.store.memory_store import MemoryStore

_MAP_BYTES = 4 * 2**20


class CrashPoint(StrEnum):
    """The moments at which a process dies, in the order in which a node comes by them."""

    STARTING = "starting"  # The store is open, the application is not built yet.
    HANDSHAKING = "handshaking"  # Info is answered.
    INITIALISED = "initialised"  # InitChain is answered.
    PREPARED = "prepared"  # PrepareProposal is answered, and nobody has seen the proposal.
    VOTED = "voted"  # ProcessProposal is answered.
    DECIDED = "decided"  # The block is in CometBFT's store, FinalizeBlock has not been called.
    EXECUTING = "executing"  # In the middle of FinalizeBlock, at a read.
    EXECUTED = "executed"  # Between FinalizeBlock and Commit.
    COMMITTING = "committing"  # Inside Commit, before the durable transaction.
    TORN = "torn"  # Inside the durable transaction, after some of its writes.
    DURABLE = "durable"  # Inside Commit, after the durable transaction.
    COMMITTED = "committed"  # Commit is answered, CometBFT has not saved that.
    RECHECKING = "rechecking"  # In the recheck of the mempool.


IN_A_HEIGHT = tuple(CrashPoint)[3:]
IN_A_REPLAY = tuple(point for point in CrashPoint if point not in (CrashPoint.PREPARED, CrashPoint.VOTED))
IN_THE_APPLICATION = (
    CrashPoint.STARTING,
    CrashPoint.EXECUTING,
    CrashPoint.COMMITTING,
    CrashPoint.TORN,
    CrashPoint.DURABLE,
)
"""Points at which the application itself is running: it cannot outlive its CometBFT there."""


class Crash(SystemExit):
    """The process dies here. A SystemExit, because nothing in a node may survive one by catching it."""

    def __init__(self, point: CrashPoint) -> None:
        super().__init__(f"died at {point}")
        self.point = point


@dataclass
class Fuse:
    """The point at which a process is going to die, if any. ``countdown`` steps inside a point come first."""

    point: CrashPoint | None = None
    countdown: int = 0
    executing: bool = False
    """Whether FinalizeBlock is under way: reads on behalf of others pass no point."""

    def set(self, point: CrashPoint, countdown: int = 0) -> None:
        """Die at this point, once."""
        self.point, self.countdown = point, countdown

    def clear(self) -> None:
        """Die nowhere."""
        self.point = None

    def reach(self, point: CrashPoint) -> None:
        """Pass a point. Raises Crash when it is the one."""
        if self.point is not point:
            return
        if self.countdown > 0:
            self.countdown -= 1
            return
        self.point = None
        raise Crash(point)


class FaultyStore(Store):
    """A real store behind a fuse."""

    def __init__(self, inner: Store, fuse: Fuse) -> None:
        self.inner, self._fuse = inner, fuse

    @property
    def version(self) -> Version:  # type: ignore[override]
        """The newest version of the store behind."""
        return self.inner.version

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """The newest version; in FinalizeBlock, every read of it passes the point EXECUTING."""
        with self.inner.snapshot() as snapshot:
            dying = self._fuse.executing and self._fuse.point is CrashPoint.EXECUTING
            yield _FaultySnapshot(snapshot, self._fuse) if dying else snapshot

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
        """Commit to the store behind, unless the fuse says otherwise."""
        self._fuse.reach(CrashPoint.COMMITTING)
        if self._fuse.point is CrashPoint.TORN:
            writes = _TornWrites(writes, self._fuse)
        self.inner.commit(height, app_hash, writes, app_version=app_version, notes=notes, record=record)
        self._fuse.reach(CrashPoint.DURABLE)

    def close(self) -> None:
        """Close the store behind."""
        self.inner.close()

    def _write(
        self,
        version: Version,
        writes: Mapping[bytes, bytes | None],
        notes: Mapping[bytes, bytes],
        record: bytes | None,
    ) -> None:
        self.inner._write(version, writes, notes, record)


class _FaultySnapshot(Snapshot):
    """One version, of which the fuse allows so many reads."""

    def __init__(self, inner: Snapshot, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    @property
    def version(self) -> Version:
        return self._inner.version

    @property
    def previous(self) -> Version:
        return self._inner.previous

    def get(self, path: bytes) -> bytes | None:
        self._fuse.reach(CrashPoint.EXECUTING)
        return self._inner.get(path)

    def get_previous(self, path: bytes) -> bytes | None:
        return self._inner.get_previous(path)

    def scan(
        self, prefix: bytes, after: bytes | None = None, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        self._fuse.reach(CrashPoint.EXECUTING)
        return self._inner.scan(prefix, after, limit)

    def undo(self) -> Iterator[tuple[bytes, bytes | None]]:
        return self._inner.undo()

    def notes(self) -> dict[bytes, bytes]:
        return self._inner.notes()

    def recorded(self, height: int) -> Recorded | None:
        return self._inner.recorded(height)

    def history(self) -> Iterator[Recorded]:
        return self._inner.history()


class _TornWrites(dict[bytes, bytes | None]):
    """Writes whose reader dies on the way: LmdbStore reads them one by one inside its transaction."""

    def __init__(self, writes: Mapping[bytes, bytes | None], fuse: Fuse) -> None:
        super().__init__(writes)
        self._fuse = fuse

    def __getitem__(self, path: bytes) -> bytes | None:
        self._fuse.reach(CrashPoint.TORN)
        return super().__getitem__(path)


class Disk(Protocol):
    """What outlives a process."""

    torn: bool
    """Whether a commit has an inside at which a process can die."""

    def open(self) -> Store:
        """The store as the last durable commit left it."""


class MemoryDisk:
    """The last committed version of a MemoryStore: versions are immutable, so handing it on is a copy."""

    torn = False

    def __init__(self) -> None:
        self._store = MemoryStore()

    def open(self) -> Store:
        fresh = MemoryStore()
        fresh.version, fresh._current = self._store.version, self._store._current
        self._store = fresh
        return fresh


class LmdbDisk:
    """A folder with a real LMDB database in it."""

    torn = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self) -> Store:
        return LmdbStore.open(self._folder, map_bytes=_MAP_BYTES)
