"""A store that forgets: the contract of ``store`` on dictionaries, for tests and simulations."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from .interface import EMPTY, HISTORY_KEPT, Recorded, Snapshot, Store, Version


class MemoryStore(Store):
    """Keeps both versions in memory. A commit copies the table of contents: snapshots stay what they are."""

    def __init__(self, history_kept: int = HISTORY_KEPT) -> None:
        self.version = EMPTY
        self._history_kept = history_kept
        self._current = _MemorySnapshot(EMPTY, EMPTY, {}, {}, {}, ())

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """The newest version."""
        yield self._current

    def close(self) -> None:
        """Nothing to let go of."""

    def _write(
        self,
        version: Version,
        writes: Mapping[bytes, bytes | None],
        notes: Mapping[bytes, bytes],
        record: bytes | None,
    ) -> None:
        old = self._current.state
        state = old | {path: value for path, value in writes.items() if value is not None}
        for path, value in writes.items():
            if value is None:
                state.pop(path, None)
        delta = {path: old.get(path) for path in writes}
        history = self._current.records
        if record is not None:
            history = (*history, Recorded(version.height, record))[-self._history_kept :]
        self._current = _MemorySnapshot(version, self.version, state, delta, dict(notes), history)


class _MemorySnapshot(Snapshot):
    def __init__(
        self,
        version: Version,
        previous: Version,
        state: dict[bytes, bytes],
        delta: dict[bytes, bytes | None],
        notes: dict[bytes, bytes],
        records: tuple[Recorded, ...],
    ) -> None:
        self._version, self._previous, self.state, self.records = version, previous, state, records
        self._delta, self._notes = delta, notes
        self._paths: list[bytes] | None = None

    @property
    def version(self) -> Version:
        return self._version

    @property
    def previous(self) -> Version:
        return self._previous

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

    def notes(self) -> dict[bytes, bytes]:
        return dict(self._notes)

    def recorded(self, height: int) -> Recorded | None:
        place = bisect_right(self.records, height, key=lambda one: one.height)
        return self.records[place - 1] if place else None

    def history(self) -> Iterator[Recorded]:
        yield from self.records
