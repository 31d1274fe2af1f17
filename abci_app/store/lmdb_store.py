"""The store of a node: LMDB in one file, one durable transaction for each block.

Five databases share that file: ``state`` (paths and values), ``previous`` (what the last commit overwrote),
``notes``, ``meta`` (the two versions) and ``history`` (records by height). Reads are snapshots: a walk over
everything does not hold up a commit.

LMDB believes what it reads, so the structure of the file is checked before LMDB sees it (``pages``).

The map's size bounds the database. It is address space, not disk, so it is made to grow long before it is
needed; at its limit, or when the disk is full, the commit fails whole and the node halts on the version
before.
"""

import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, Self

import lmdb

from . import pages
from .files import StoreFiles, whole
from .interface import (
    EMPTY,
    HISTORY_KEPT,
    Recorded,
    Snapshot,
    Store,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreWriteFailed,
    Version,
)

MAP_BYTES: Final = 2**30
MAP_BYTES_MAX: Final = 2**40
_PAGE_BYTES: Final = 4096
_PAGES_PER_WRITE: Final = 8  # Copied branches of two trees and their free list: three times what was seen.
_SPARE_PAGES: Final = 256
_READERS_MAX: Final = 126
DATABASES: Final = (b"state", b"previous", b"notes", b"meta", b"history")
_VERSION: Final = struct.Struct(">QQ")  # Height, app version; the app hash is the rest.
_HEIGHT: Final = struct.Struct(">Q")
_ABSENT, _PRESENT = b"\x00", b"\x01"


class LmdbStore(Store):
    """A store in a folder of its own, held by one process at a time. Make one with ``open``."""

    def __init__(
        self, files: StoreFiles, env: lmdb.Environment, map_bytes: int, map_bytes_max: int, history_kept: int
    ) -> None:
        self._files, self._env = files, env
        self._map_bytes, self._map_bytes_max, self._history_kept = map_bytes, map_bytes_max, history_kept
        self._readers, self._gate = 0, threading.Lock()
        made = files.data_bytes == 0
        self._databases = _Databases(*(env.open_db(name, create=made) for name in DATABASES))
        with self.snapshot() as snapshot:
            self.version = snapshot.version

    @classmethod
    def open(
        cls,
        folder: Path,
        map_bytes: int = MAP_BYTES,
        map_bytes_max: int = MAP_BYTES_MAX,
        history_kept: int = HISTORY_KEPT,
    ) -> Self:
        """Open the store in a folder, or make one there.

        ``map_bytes`` is the room a new store starts with, ``map_bytes_max`` the most it may grow to,
        ``history_kept`` the number of records it keeps. Raises StoreLocked, StoreFormatUnknown, StoreDamaged.
        """
        files = StoreFiles.own(folder)
        env: lmdb.Environment | None = None
        size = _whole_pages(max(map_bytes, files.data_bytes))
        try:
            if files.data_bytes:
                _require_sound_pages(folder)
            env = lmdb.open(str(folder), map_size=size, max_dbs=len(DATABASES), max_readers=_READERS_MAX, mode=0o600)
            env.reader_check()
            store = cls(files, env, size, max(_whole_pages(map_bytes_max), size), history_kept)
            if files.data_bytes < size:
                files.extend(size)
        except (lmdb.Error, StoreError) as error:
            if env is not None:
                env.close()
            files.close()
            if isinstance(error, StoreError):
                raise
            raise StoreDamaged(f"{folder}: {error}") from error
        return store

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """The newest version, held fast for as long as the context is open."""
        with self._gate:
            self._readers += 1
        try:
            with self._env.begin() as txn:
                yield _LmdbSnapshot(txn, self._databases)
        except lmdb.Error as error:
            raise StoreDamaged(f"{self._files.folder}: {error}") from error
        finally:
            with self._gate:
                self._readers -= 1

    def close(self) -> None:
        """Let go of the files."""
        self._env.close()
        self._files.close()

    def _write(
        self,
        version: Version,
        writes: Mapping[bytes, bytes | None],
        notes: Mapping[bytes, bytes],
        record: bytes | None,
    ) -> None:
        paths = sorted(writes)
        with self.snapshot() as snapshot:
            old = [snapshot.get(path) for path in paths]
        self._make_room(writes, old, notes)
        to = self._databases
        try:
            with self._env.begin(write=True) as txn:
                txn.put(b"previous", _packed(self.version), db=to.meta)
                txn.put(b"current", _packed(version), db=to.meta)
                txn.drop(to.notes, delete=False)
                for name, note in notes.items():
                    txn.put(name, note, db=to.notes)
                txn.drop(to.previous, delete=False)
                for path, was in zip(paths, old, strict=True):
                    delta = _ABSENT if was is None else _PRESENT + was
                    txn.put(path, delta, db=to.previous, append=True)
                    value = writes[path]
                    if value is not None:
                        txn.put(path, value, db=to.state)
                    elif was is not None:
                        txn.delete(path, db=to.state)
                if record is not None:
                    self._remember(txn, version.height, record)
        except lmdb.MapFullError as error:
            raise StoreFull(self._map_bytes) from error
        except lmdb.Error as error:
            raise StoreWriteFailed(f"{self._files.folder}: {error}") from error

    def _remember(self, txn: "lmdb.Transaction[bytes]", height: int, record: bytes) -> None:
        """Keep a record, and drop the oldest beyond what is kept."""
        history = self._databases.history
        txn.put(_HEIGHT.pack(height), record, db=history, append=True)
        with txn.cursor(db=history) as cursor:
            while txn.stat(history)["entries"] > self._history_kept and cursor.first():
                cursor.delete()

    def _make_room(
        self, writes: Mapping[bytes, bytes | None], old: list[bytes | None], notes: Mapping[bytes, bytes]
    ) -> None:
        """Grow the map long before this commit could fill it. At the limit, LMDB says whether it is full.

        LMDB cannot move its map under a reader. With one open, the growth is left to a later commit: the
        estimate is so generous that this one still has room.
        """
        held = sum(len(value or b"") for values in (writes.values(), old, notes.values()) for value in values)
        changed = len(writes) + len(notes)
        used = (self._env.info()["last_pgno"] + 1) * _PAGE_BYTES
        wanted = used + held + (_PAGES_PER_WRITE * changed + _SPARE_PAGES) * _PAGE_BYTES
        size = min(max(2 * self._map_bytes, _whole_pages(wanted)), self._map_bytes_max)
        if wanted <= self._map_bytes or size == self._map_bytes:
            return
        self._env.reader_check()  # A reader that was killed would keep its pages from being used again.
        with self._gate:
            if self._readers:
                return
            try:
                self._files.extend(size)
            except OSError as error:
                raise StoreWriteFailed(f"{self._files.folder}: {error.strerror}") from error
            self._env.set_mapsize(size)
            self._map_bytes = size


class _Databases(NamedTuple):
    """In the order of DATABASES."""

    state: "lmdb._Database"
    previous: "lmdb._Database"
    notes: "lmdb._Database"
    meta: "lmdb._Database"
    history: "lmdb._Database"


class _LmdbSnapshot(Snapshot):
    def __init__(self, txn: "lmdb.Transaction[bytes]", databases: _Databases) -> None:
        self._txn, self._in = txn, databases

    @property
    def version(self) -> Version:
        return _unpacked(self._txn.get(b"current", db=self._in.meta))

    @property
    def previous(self) -> Version:
        return _unpacked(self._txn.get(b"previous", db=self._in.meta))

    def get(self, path: bytes) -> bytes | None:
        return self._txn.get(path, db=self._in.state)

    def get_previous(self, path: bytes) -> bytes | None:
        delta = self._txn.get(path, db=self._in.previous)
        return self.get(path) if delta is None else _before(delta)

    def scan(
        self, prefix: bytes, after: bytes | None = None, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        left = limit if limit is not None else -1
        with self._txn.cursor(db=self._in.state) as cursor:
            if not cursor.set_range(max(prefix, after or b"")):
                return
            for path, value in cursor.iternext():
                if left == 0 or not path.startswith(prefix):
                    return
                if path != after:
                    yield path, value
                    left -= 1

    def undo(self) -> Iterator[tuple[bytes, bytes | None]]:
        with self._txn.cursor(db=self._in.previous) as cursor:
            for path, delta in cursor:
                yield path, _before(delta)

    def notes(self) -> dict[bytes, bytes]:
        with self._txn.cursor(db=self._in.notes) as cursor:
            return dict(cursor)

    def recorded(self, height: int) -> Recorded | None:
        with self._txn.cursor(db=self._in.history) as cursor:
            found = cursor.prev() if cursor.set_range(_HEIGHT.pack(height + 1)) else cursor.last()
            return _recorded(cursor.key(), cursor.value()) if found else None

    def history(self) -> Iterator[Recorded]:
        with self._txn.cursor(db=self._in.history) as cursor:
            for key, record in cursor:
                yield _recorded(key, record)


def _recorded(key: bytes, record: bytes) -> Recorded:
    if len(key) != _HEIGHT.size:
        raise StoreDamaged(f"a record is kept under a key of {len(key)} bytes")
    return Recorded(_HEIGHT.unpack(key)[0], record)


@contextmanager
def inspect(folder: Path) -> Iterator[tuple[pages.Pages, Snapshot | None]]:
    """The newest version of a store, whether or not a node has it open; None when its pages are at fault.

    LMDB leaves the pages of a version alone as long as somebody reads it, so the node goes on meanwhile and its file
    may grow. The structure of that version is checked before anything is read through LMDB. Raises
    StoreFormatUnknown, StoreDamaged.
    """
    if whole(folder) == 0:
        raise StoreDamaged(f"{folder} was never finished: the node makes it anew when it starts")
    try:
        with (
            lmdb.open(str(folder), readonly=True, max_dbs=len(DATABASES), max_readers=_READERS_MAX) as env,
            _checked(folder, env) as (found, txn),
        ):
            if found.faults:
                yield found, None
            else:
                opened = (env.open_db(name, txn=txn, create=False) for name in DATABASES)
                yield found, _LmdbSnapshot(txn, _Databases(*opened))
    except lmdb.Error as error:
        faults = _pages(folder, None).faults
        raise StoreDamaged(f"{folder}: {error}{f', {faults[0]}' if faults else ''}") from error


@contextmanager
def _checked(folder: Path, env: lmdb.Environment) -> "Iterator[tuple[pages.Pages, lmdb.Transaction[bytes]]]":
    """The pages of the newest version, and the transaction that holds them."""
    while True:
        with env.begin() as txn:
            try:
                found = _pages(folder, txn.id())
            except pages.Overtaken:
                continue
            yield found, txn
            return


@contextmanager
def read_only(folder: Path) -> Iterator[Snapshot]:
    """As ``inspect``, where faulty pages are StoreDamaged too."""
    with inspect(folder) as (found, snapshot):
        if snapshot is None:
            raise _faulty(folder, found.faults)
        yield snapshot


def _require_sound_pages(folder: Path) -> None:
    faults = _pages(folder, None).faults
    if faults:
        raise _faulty(folder, faults)


def _faulty(folder: Path, faults: Sequence[pages.Fault]) -> StoreDamaged:
    more = f", and {len(faults) - 1} faults more" if len(faults) > 1 else ""
    return StoreDamaged(f"{folder / 'data.mdb'}: {faults[0]}{more}")


def _pages(folder: Path, transaction: int | None) -> pages.Pages:
    data = folder / "data.mdb"
    try:
        with data.open("rb", buffering=0) as file:
            return pages.examine(file.fileno(), DATABASES, transaction)
    except OSError as error:
        raise StoreDamaged(f"{data} cannot be read: {error.strerror}") from error


def _before(delta: bytes) -> bytes | None:
    return None if delta == _ABSENT else delta[1:]


def _packed(version: Version) -> bytes:
    return _VERSION.pack(version.height, version.app_version) + version.app_hash


def _unpacked(record: bytes | None) -> Version:
    if record is None:
        return EMPTY
    try:
        height, app_version = _VERSION.unpack_from(record)
    except struct.error as error:
        raise StoreDamaged(f"the record of a version has {len(record)} bytes") from error
    return Version(height, record[_VERSION.size :], app_version)


def _whole_pages(size: int) -> int:
    return -(-size // _PAGE_BYTES) * _PAGE_BYTES
