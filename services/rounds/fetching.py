"""Fetching in the background, a task for each source of a seat: one that does not answer keeps nobody else waiting."""

import asyncio
import logging
from collections.abc import Iterable

from client_sdk.light import CannotVerify, VerificationFailed
from client_sdk.rpc import AnswerMalformed, RpcError
from contracts.kernel import Rejected

from .gather import Gatherer, Source

_PASSING = (Rejected, RpcError, AnswerMalformed, VerificationFailed, CannotVerify)
_log = logging.getLogger(__name__)


class Fetching:
    """What a verifier is fetching. Made and used on one loop; ``close`` it."""

    def __init__(self, gatherer: Gatherer) -> None:
        self._gatherer = gatherer
        self._tasks: dict[tuple[int, int, Source], asyncio.Task[None]] = {}  # By round, seat and source.

    async def go_on(self, number: int, seats: Iterable[int], *, copies: bool, beyond: int) -> None:
        """See to it that these seats are being fetched from all their sources; return when one is, or a block later.

        ``beyond`` is the height of the newest block.
        """
        for ended in (task for task in self._tasks.values() if task.done()):
            ended.result()  # A bug of ours must be heard of.
        running = {key: task for key, task in self._tasks.items() if not task.done()}
        wanted = await self._wanted(number, seats, copies)
        for key in running.keys() - wanted.keys():
            running.pop(key).cancel()  # Of a round before, or of a seat that is held.
        for key in wanted.keys() - running.keys():
            running[key] = asyncio.create_task(self._fetch(*key))
        self._tasks = running
        if running:
            await self._one_held_or_block(number, beyond)

    async def close(self) -> None:
        """Stop fetching."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks = {}

    async def _wanted(self, number: int, seats: Iterable[int], copies: bool) -> dict[tuple[int, int, Source], None]:
        wanted: dict[tuple[int, int, Source], None] = {}
        for seat in seats:
            try:
                sources = await self._gatherer.sources(number, seat, copies=copies)
            except _PASSING as error:
                _log.info("seat %d of round %d is asked for again later: %s", seat, number, error)
                continue
            wanted |= dict.fromkeys((number, seat, source) for source in sources)
        return wanted

    async def _one_held_or_block(self, number: int, height: int) -> None:
        """Wait until another seat is held or nothing is being fetched any more; a block at most."""
        heads, loop = self._gatherer.client.rpc.heads, asyncio.get_running_loop()
        held = self._gatherer.held(number)
        block = asyncio.ensure_future(heads.beyond(height, loop.time() + self._gatherer.client.rpc.patience.outage))
        try:
            left = set(self._tasks.values())
            while left and not block.done() and self._gatherer.held(number) == held:
                ended, _ = await asyncio.wait({*left, block}, return_when=asyncio.FIRST_COMPLETED)
                left -= ended
        finally:
            block.cancel()

    async def _fetch(self, number: int, seat: int, source: Source) -> None:
        try:
            await self._gatherer.fetch_from(number, seat, source)
        except _PASSING as error:
            _log.info("seat %d of round %d is fetched again later: %s", seat, number, error)
