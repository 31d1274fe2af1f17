"""A store that forgets: the contract of ``store`` on dictionaries, for tests and simulations."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from .store import EMPTY, Snapshot, Store, Version


class MemoryStore(Store):
    """Keeps both versions in memory. A commit copies the table of contents: snapshots stay what they are."""

    def __init__(self) -> None:
        self.version = EMPTY
        self._current = _MemorySnapshot(EMPTY, EMPTY, {}, {}, {})

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """The newest version."""
        yield self._current

    def close(self) -> None:
        """Nothing to let go of."""

    def _write(self, version: Version, writes: Mapping[bytes, bytes | None], notes: Mapping[bytes, bytes]) -> None:
        old = self._current.state
        state = old | {path: value for path, value in writes.items() if value is not None}
        for path, value in writes.items():
            if value is None:
                state.pop(path, None)
        delta = {path: old.get(path) for path in writes}
        self._current = _MemorySnapshot(version, self.version, state, delta, dict(notes))


class _MemorySnapshot(Snapshot):
    def __init__(
        self,
        version: Version,
        previous: Version,
        state: dict[bytes, bytes],
        delta: dict[bytes, bytes | None],
        notes: dict[bytes, bytes],
    ) -> None:
        self.version, self.previous, self.state = version, previous, state
        self._delta, self._notes = delta, notes
        self._paths: list[bytes] | None = None

    def get(self, path: bytes) -> bytes | None:
        return self.state.get(path)

    def get_previous(self, path: bytes) -> bytes | None:
        return self._delta[path] if path in self._delta else self.state.get(path)

    def scan(
        self, prefix: bytes, after: bytes | None = None, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        if self._paths is None:
            self._paths = sorted(self.state)
        start = bisect_left(self._paths, prefix)
        if after is not None:
            start = max(start, bisect_right(self._paths, after))
        stop = len(self._paths) if limit is None else min(len(self._paths), start + limit)
        for path in self._paths[start:stop]:
            if not path.startswith(prefix):
                return
            yield path, self.state[path]

    def undo(self) -> Iterator[tuple[bytes, bytes | None]]:
        yield from sorted(self._delta.items())

    def note(self, name: bytes) -> bytes | None:
        return self._notes.get(name)
