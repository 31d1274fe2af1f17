"""The state after one block, for the ledger's own functions to run on: what they ask for is fetched, and proved.

A rule of the ledger reads through a ``View`` and knows of no network. Here it runs on what was fetched so far; what it
asked for and was not there is fetched, all of it at the same height, and the rule runs again, until nothing is missing.
So a quote is computed by the very function that will decide, on one state and not on five.

A node keeps the last two versions of the state. When the height is gone before everything was read, all of it is read
again at a newer one, unless something was answered already: then it is an error, because two answers of one view are
of one state. Ask in one function what belongs together.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, TypeVar

from contracts.kernel import Map, View
from contracts.kernel.state import Key

from ..light import CannotVerify
from .queries import Entry, Moment, NotKept, Point, Reader

R = TypeVar("R")
T = TypeVar("T")
# How often a rule runs at most; each run but the last finds at least one path. A walk along the longest line of
# versions finds 240 of them one by one; lists ask with ``every``.
RUNS: Final = 512
PATHS: Final = 4_096
_AT_ONCE: Final = 8
_MOVES: Final = 8  # How often all is read again because its height is gone.


class LedgerView:
    """One state of the ledger. Made by ``LedgerClient.at``."""

    def __init__(self, reader: Reader, point: Point) -> None:
        self._reader = reader
        self._point = point
        self._entries: dict[bytes, Entry] = {}
        self._answered = False
        self._one_at_a_time = asyncio.Lock()  # One run may move the height under what another one is fetching.

    @property
    def height(self) -> int:
        """After which block the state is."""
        return self._point.height

    @property
    def time_ms(self) -> int:
        """The block time at which rules judge it: that of the next block, whose header proves it."""
        return self._point.time_ms

    @property
    def now(self) -> Moment:
        """The next block, proved by its header: what has ended by its time and height, no act in it can change."""
        return self._point.judged_at

    @property
    def entries(self) -> Mapping[bytes, Entry]:
        """Everything that was read, by path, each with its proof."""
        return self._entries

    async def run(self, rule: Callable[[View], T]) -> T:
        """What a function of the ledger answers on this state: pure, for it runs more than once, and no generator.

        Raises what the rule raises, CannotVerify when it asks for too much, or for more when the height is gone, and
        what the reader raises.
        """
        async with self._one_at_a_time:
            for _ in range(RUNS):
                known = _Known(self._entries)
                try:
                    answer = rule(known)
                except Exception:
                    if not known.missing:  # Else it judged what was not there yet.
                        self._answered = True  # A refusal is an answer too.
                        raise
                else:
                    if not known.missing:
                        self._answered = True
                        return answer
                finally:
                    known.ended = True
                await self._fetch(known.missing)
        raise CannotVerify(f"the state after block {self.height}", f"a rule asked for more paths {RUNS} times")

    async def get(self, state: Map[R], key: Key = ()) -> R | None:
        """The record at a key, or None when it is proved that there is none."""
        return await self.run(lambda view: state.get(view, key))

    async def _fetch(self, missing: Iterable[bytes]) -> None:
        wanted = list(missing)
        if len(self._entries) + len(wanted) > PATHS:
            raise CannotVerify(f"the state after block {self.height}", f"a rule asked for more than {PATHS} paths")
        for _ in range(_MOVES):
            try:
                found = await _each(wanted, lambda path: self._reader.read(path, at=self.height))
            except NotKept as error:
                if self._answered:
                    why = "it is not kept any more, and something was answered on it; ask for everything at once"
                    raise CannotVerify(f"the state after block {self.height}", why) from error
                wanted = [*self._entries, *wanted]
                self._entries.clear()
                self._point = await self._reader.newest(self.height + 1)
            else:
                self._entries.update((entry.path, entry) for entry in found)
                return
        raise CannotVerify("the newest state", f"blocks come faster than {len(wanted)} paths are read")


def every(state: Map[R], view: View, keys: Iterable[Key]) -> list[R]:
    """The records at keys that the rules guarantee to exist, as ``state.at`` gives one.

    All are asked for before one is missed: a loop over ``at`` ends each run at its first path, so that what could be
    fetched in one go is fetched one by one, and a long list not at all.
    """
    wanted = list(keys)
    found = [state.get(view, key) for key in wanted]
    return [state.at(view, key) if one is None else one for key, one in zip(wanted, found, strict=True)]


class _Known:
    """What was fetched so far, as a view. A path that was not is remembered, and read as if nothing were there."""

    def __init__(self, entries: Mapping[bytes, Entry]) -> None:
        self._entries = entries
        self.missing: dict[bytes, None] = {}
        self.ended = False

    def get(self, path: bytes) -> bytes | None:
        entry = self._entries.get(path)
        if entry is not None:
            return entry.body
        if self.ended:
            raise RuntimeError(f"{path!r} was asked for after the rule had answered: a rule reads before it returns")
        if len(self._entries) + len(self.missing) > PATHS:
            raise RuntimeError("too many paths")  # Ends a rule that goes on and on; ``_fetch`` says it to the caller.
        self.missing[path] = None
        return None


async def _each(paths: list[bytes], read: Callable[[bytes], Awaitable[Entry]]) -> list[Entry]:
    """One read for each path, a few at a time; the first failure ends them all."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(path: bytes) -> Entry:
        async with turns:
            return await read(path)

    reads = [asyncio.ensure_future(one(path)) for path in paths]
    try:
        return await asyncio.gather(*reads)
    except BaseException:
        for each in reads:
            each.cancel()
        await asyncio.gather(*reads, return_exceptions=True)
        raise
