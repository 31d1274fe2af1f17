"""The store of a node: LMDB in one file, one durable transaction for each block.

Four databases share that file: ``state`` (paths and values), ``previous`` (what the last commit overwrote),
``notes`` and ``meta`` (the two versions). Reads are snapshots: a walk over everything does not hold up a
commit.

The map's size bounds the database. It is address space, not disk, so it is made to grow long before it is
needed; at its limit, or when the disk is full, the commit fails whole and the node halts on the version
before.
"""

import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import lmdb

from .store import EMPTY, Snapshot, Store, StoreDamaged, StoreFull, StoreWriteFailed, Version
from .store_files import StoreFiles

MAP_BYTES: Final = 2**30
MAP_BYTES_MAX: Final = 2**40
_PAGE_BYTES: Final = 4096
_PAGES_PER_WRITE: Final = 8  # Copied branches of two trees and their free list: three times what was seen.
_SPARE_PAGES: Final = 256
_READERS_MAX: Final = 126
_DATABASES: Final = (b"state", b"previous", b"notes", b"meta")
_VERSION: Final = struct.Struct(">QQ")  # Height, app version; the app hash is the rest.
_ABSENT, _PRESENT = b"\x00", b"\x01"


class LmdbStore(Store):
    """A store in a folder of its own, held by one process at a time. Make one with ``open``."""

    def __init__(self, files: StoreFiles, env: lmdb.Environment, map_bytes: int, map_bytes_max: int) -> None:
        self._files, self._env = files, env
        self._map_bytes, self._map_bytes_max = map_bytes, map_bytes_max
        self._readers, self._gate = 0, threading.Lock()
        made = files.data_bytes == 0
        self._state, self._previous, self._notes, self._meta = (env.open_db(name, create=made) for name in _DATABASES)
        with self.snapshot() as snapshot:
            self.version = snapshot.version

    @classmethod
    def open(cls, folder: Path, map_bytes: int = MAP_BYTES, map_bytes_max: int = MAP_BYTES_MAX) -> Self:
        """Open the store in a folder, or make one there.

        ``map_bytes`` is the room a new store starts with, ``map_bytes_max`` the most it may grow to. Raises
        StoreLocked, StoreFormatUnknown, StoreDamaged.
        """
        files = StoreFiles.own(folder)
        env: lmdb.Environment | None = None
        size = _whole_pages(max(map_bytes, files.data_bytes))
        try:
            env = lmdb.open(str(folder), map_size=size, max_dbs=len(_DATABASES), max_readers=_READERS_MAX, mode=0o600)
            env.reader_check()
            store = cls(files, env, size, max(_whole_pages(map_bytes_max), size))
            if files.data_bytes < size:
                files.extend(size)
        except (lmdb.Error, StoreDamaged) as error:
            if env is not None:
                env.close()
            files.close()
            if isinstance(error, StoreDamaged):
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
                yield _LmdbSnapshot(txn, self._state, self._previous, self._notes, self._meta)
        except lmdb.Error as error:
            raise StoreDamaged(f"{self._files.folder}: {error}") from error
        finally:
            with self._gate:
                self._readers -= 1

    def close(self) -> None:
        """Let go of the files."""
        self._env.close()
        self._files.close()

    def _write(self, version: Version, writes: Mapping[bytes, bytes | None], notes: Mapping[bytes, bytes]) -> None:
        paths = sorted(writes)
        with self.snapshot() as snapshot:
            old = [snapshot.get(path) for path in paths]
        self._make_room(writes, old, notes)
        try:
            with self._env.begin(write=True) as txn:
                txn.put(b"previous", _packed(self.version), db=self._meta)
                txn.put(b"current", _packed(version), db=self._meta)
                txn.drop(self._notes, delete=False)
                for name, note in notes.items():
                    txn.put(name, note, db=self._notes)
                txn.drop(self._previous, delete=False)
                for path, was in zip(paths, old, strict=True):
                    delta = _ABSENT if was is None else _PRESENT + was
                    txn.put(path, delta, db=self._previous, append=True)
                    value = writes[path]
                    if value is not None:
                        txn.put(path, value, db=self._state)
                    elif was is not None:
                        txn.delete(path, db=self._state)
        except lmdb.MapFullError as error:
            raise StoreFull(self._map_bytes) from error
        except lmdb.Error as error:
            raise StoreWriteFailed(f"{self._files.folder}: {error}") from error

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
        with self._gate:
            if self._readers:
                return
            try:
                self._files.extend(size)
            except OSError as error:
                raise StoreWriteFailed(f"{self._files.folder}: {error.strerror}") from error
            self._env.set_mapsize(size)
            self._map_bytes = size


class _LmdbSnapshot(Snapshot):
    def __init__(
        self,
        txn: "lmdb.Transaction[bytes]",
        state: "lmdb._Database",
        previous: "lmdb._Database",
        notes: "lmdb._Database",
        meta: "lmdb._Database",
    ) -> None:
        self._txn, self._state, self._previous, self._notes = txn, state, previous, notes
        self.version = _unpacked(txn.get(b"current", db=meta))
        self.previous = _unpacked(txn.get(b"previous", db=meta))

    def get(self, path: bytes) -> bytes | None:
        return self._txn.get(path, db=self._state)

    def get_previous(self, path: bytes) -> bytes | None:
        delta = self._txn.get(path, db=self._previous)
        return self.get(path) if delta is None else _before(delta)

    def scan(
        self, prefix: bytes, after: bytes | None = None, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        left = limit if limit is not None else -1
        with self._txn.cursor(db=self._state) as cursor:
            if not cursor.set_range(max(prefix, after or b"")):
                return
            for path, value in cursor.iternext():
                if left == 0 or not path.startswith(prefix):
                    return
                if path != after:
                    yield path, value
                    left -= 1

    def undo(self) -> Iterator[tuple[bytes, bytes | None]]:
        with self._txn.cursor(db=self._previous) as cursor:
            for path, delta in cursor:
                yield path, _before(delta)

    def note(self, name: bytes) -> bytes | None:
        return self._txn.get(name, db=self._notes)


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
