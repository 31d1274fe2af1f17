"""The files of a store around its database: who owns it, which format it has, how long it must be.

LMDB reads its file through a memory map and has no checksums: reading a page behind the end of a file that
was cut short kills the process without a word. So the data file is extended, sparsely, to the size of its
map before anything is committed, ``store.json`` records that size, and a shorter file is refused before LMDB
sees it.
"""

import contextlib
import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .interface import StoreDamaged, StoreFormatUnknown, StoreLocked

FORMAT: Final = 2
_KIND: Final = "fedledger store"
_HEADER_BYTES_MAX: Final = 4096
_DATA, _HEADER = "data.mdb", "store.json"


@dataclass(slots=True)
class StoreFiles:
    """An owned folder. ``close`` gives it back."""

    folder: Path
    data_bytes: int
    """Least size of the data file, in bytes; 0 until the store has been made."""
    _lock: int

    @classmethod
    def own(cls, folder: Path) -> "StoreFiles":
        """Take a folder for this process, and see whether it holds a whole store.

        Raises StoreLocked, StoreFormatUnknown, StoreDamaged.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _lock(folder)
        try:
            files = cls(folder, 0, lock)
            files._inspect()
        except BaseException:
            os.close(lock)
            raise
        return files

    @property
    def data(self) -> Path:
        """The database, named as LMDB names it."""
        return self.folder / _DATA

    @property
    def header(self) -> Path:
        """The format and size of the store."""
        return self.folder / _HEADER

    def extend(self, size: int) -> None:
        """Make the data file ``size`` bytes long, without taking that much of the disk, and remember it."""
        with self.data.open("r+b") as file:
            if os.fstat(file.fileno()).st_size < size:
                file.truncate(size)
            os.fsync(file.fileno())
        self._record(size)

    def close(self) -> None:
        """Let another process have the folder."""
        os.close(self._lock)

    def _inspect(self) -> None:
        if not self.header.exists() and not self.data.exists():
            self._record(0)
            return
        self.data_bytes = whole(self.folder)
        if self.data_bytes == 0:  # The node died while making the store: nothing was committed yet.
            self.data.unlink(missing_ok=True)

    def _record(self, data_bytes: int) -> None:
        """Replace the header: the old or the new one survives a crash, never half of each."""
        text = json.dumps({"kind": _KIND, "format": FORMAT, "data_bytes": data_bytes})
        fresh = self.header.with_suffix(".new")
        with fresh.open("w", encoding="ascii") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.header)
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self.data_bytes = data_bytes


def whole(folder: Path) -> int:
    """The size that the data file must have at least, which it has; 0 for a store that was never finished.

    Changes nothing and takes no lock. Raises StoreFormatUnknown, StoreDamaged.
    """
    header, data = folder / _HEADER, folder / _DATA
    if not header.exists():
        raise StoreDamaged(f"{folder}: there is {'data, and' if data.exists() else 'no store:'} store.json is missing")
    size = _read_header(header)
    if size and not data.exists():
        raise StoreDamaged(f"{folder}: data.mdb is missing")
    if size and data.stat().st_size < size:
        raise StoreDamaged(f"{data} is cut short: {data.stat().st_size} bytes of {size}")
    return size


def _read_header(path: Path) -> int:
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(_HEADER_BYTES_MAX))
        kind, found, size = header["kind"], header["format"], header["data_bytes"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreDamaged(f"{path} is not readable: {error}") from error
    if kind != _KIND or type(size) is not int or size < 0:
        raise StoreDamaged(f"{path} does not describe a store")
    if found != FORMAT:
        raise StoreFormatUnknown(str(path.parent), found, FORMAT)
    return size


def _lock(folder: Path) -> int:
    """A descriptor that holds the folder until it is closed, or the process dies."""
    descriptor = os.open(folder / "owner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.read(descriptor, 32).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise StoreLocked(str(folder), owner or "unknown") from error
    with contextlib.suppress(OSError):  # Only the message of a later StoreLocked needs it.
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode("ascii"))
    return descriptor
