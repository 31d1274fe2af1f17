"""Typed paths into the ledger's state, and descriptions of writes.

A path is readable text (``contributions/commitments/breast-cancer/0000000003/hospital-a/wdbc``); its first part names
the contract that owns it. Handlers read through a ``View`` and return ``Write``s; nothing here mutates anything. The
same path is the query path and the row in ``docs/protocol.md``.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Final, Generic, NamedTuple, Protocol, TypeVar

from . import codec, limits

R = TypeVar("R")
KeyPart = str | int | bytes
Key = KeyPart | tuple[KeyPart, ...]
_REMEMBERED_BYTES: Final = 2**20  # Of one map's records: keys, organisations and rounds are read again and again.


class View(Protocol):
    """Committed state, possibly under the writes of earlier transactions of the same block."""

    def get(self, path: bytes) -> bytes | None:
        """The record's bytes at a path, or None."""


class ScanView(View, Protocol):
    """A view that can also be walked in order of paths."""

    def scan(self, prefix: bytes, after: bytes | None = None, limit: int = 100) -> Iterator[tuple[bytes, bytes]]:
        """Up to ``limit`` entries under a prefix, strictly after a path, in byte order."""


class Write(NamedTuple):
    """One described change: the record's bytes to store at a path, or None to remove it."""

    path: bytes
    body: bytes | None


class ReadFailed(RuntimeError):
    """A view could not read what it holds: this machine's fault, so it must stop rather than decide differently."""

    kind: ClassVar[str] = "environment"


class InvariantBroken(RuntimeError):
    """State is not what the rules guarantee: our fault, never the sender's."""

    kind: ClassVar[str] = "bug"


class Overlay:
    """Writes on top of a view, as the transactions of a block see each other."""

    def __init__(self, base: View) -> None:
        self._base = base
        self._writes: dict[bytes, bytes | None] = {}

    def get(self, path: bytes) -> bytes | None:
        """The pending value at a path, or the base's."""
        if path in self._writes:
            return self._writes[path]
        return self._base.get(path)

    def apply(self, writes: tuple[Write, ...]) -> None:
        """Put the writes of one transaction on top."""
        for path, body in writes:
            self._writes[path] = body

    @property
    def writes(self) -> Mapping[bytes, bytes | None]:
        """Every path written so far, with its last value."""
        return self._writes


class ScanOverlay(Overlay):
    """The same over a view that can be walked, and it can be walked, too."""

    def __init__(self, base: ScanView) -> None:
        super().__init__(base)
        self._walked = base

    def scan(self, prefix: bytes, after: bytes | None = None, limit: int = 100) -> Iterator[tuple[bytes, bytes]]:
        """As ``ScanView``: what is written stands in the place of what was there."""
        start = after or b""
        written = {path: body for path, body in self._writes.items() if path.startswith(prefix) and path > start}
        kept = (entry for entry in self._walked.scan(prefix, after, limit + len(written)) if entry[0] not in written)
        yield from sorted((*kept, *((path, body) for path, body in written.items() if body is not None)))[:limit]


class Map(Generic[R]):
    """A family of records of one type under one path, told apart by a key of fixed arity."""

    def __init__(self, path: str, record: type[R], *key: str) -> None:
        self.prefix = path
        self.record = record
        self.key_names = key
        self._arity = len(key)
        self._start = path + "/" if key else path
        self._remembered: dict[bytes, R] = {}
        self._remembered_bytes = 0

    def path(self, key: Key = ()) -> bytes:
        """The full path of a key. Raises InvariantBroken when our own code builds one that cannot be stored."""
        parts = key if isinstance(key, tuple) else (key,)
        if len(parts) != self._arity:
            raise InvariantBroken(f"{self.prefix} takes the key {self.key_names}, got {len(parts)} parts")
        text = _part(parts[0]) if self._arity == 1 else "/".join([_part(part) for part in parts])
        path = (self._start + text).encode("ascii")
        if len(path) > limits.PATH_BYTES:
            raise InvariantBroken(f"{self.prefix}: a path of {len(path)} bytes exceeds {limits.PATH_BYTES}")
        return path

    def get(self, view: View, key: Key = ()) -> R | None:
        """The record at a key, or None."""
        raw = view.get(self.path(key))
        return None if raw is None else self.read(raw)

    def at(self, view: View, key: Key = ()) -> R:
        """The record at a key that the rules guarantee to exist; its absence is our bug."""
        record = self.get(view, key)
        if record is None:
            raise InvariantBroken(f"nothing at {self.path(key)!r}")
        return record

    def put(self, key: Key, record: R) -> Write:
        """Describe storing a record."""
        body = codec.encode(record)
        if len(body) > limits.VALUE_BYTES:
            raise InvariantBroken(f"{self.prefix}: a record of {len(body)} bytes exceeds {limits.VALUE_BYTES}")
        self._remember(body, record)
        return Write(self.path(key), body)

    def remove(self, key: Key) -> Write:
        """Describe removing a record."""
        return Write(self.path(key), None)

    def read(self, raw: bytes) -> R:
        """Decode stored bytes. Stored bytes are ours, so a failure is a broken invariant."""
        known = self._remembered.get(raw)
        if known is not None:
            return known
        try:
            record = codec.decode(self.record, raw, most=limits.VALUE_BYTES)
        except codec.Malformed as error:
            raise InvariantBroken(f"{self.prefix}: stored record does not decode: {error}") from error
        self._remember(raw, record)
        return record

    def _remember(self, raw: bytes, record: R) -> None:
        """Keep what bytes decode to. They decode to nothing else and records never change: no result can depend on it.

        When there is no room for more, all is forgotten at once: that needs no order, and no lock between threads.
        """
        if self._remembered_bytes + len(raw) > _REMEMBERED_BYTES:
            self._remembered, self._remembered_bytes = {}, 0
        if raw not in self._remembered:
            self._remembered_bytes += len(raw)
            self._remembered[raw] = record

    def key_of(self, path: bytes) -> tuple[str, ...]:
        """The text parts of the key in a full path of this map."""
        return tuple(path.decode("ascii")[len(self.prefix) + 1 :].split("/"))


class Item(Map[R]):
    """A single record with a path of its own."""

    def __init__(self, path: str, record: type[R]) -> None:
        super().__init__(path, record)

    def set(self, record: R) -> Write:
        """Describe storing the record."""
        return self.put((), record)


def _part(part: KeyPart) -> str:
    if isinstance(part, str):
        return part
    return part.hex() if isinstance(part, bytes) else f"{part:010d}"  # Zero-padded: paths sort as numbers do.
