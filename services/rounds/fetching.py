"""Fetching in the background, a task for each seat: one address that does not answer keeps nobody else waiting."""

import asyncio
import logging
from collections.abc import Iterable

from client_sdk.light import CannotVerify, VerificationFailed
from client_sdk.rpc import AnswerMalformed, RpcError
from contracts.kernel import Rejected

from .gather import Gatherer

_log = logging.getLogger(__name__)


class Fetching:
    """What a verifier is fetching. Made and used on one loop; ``close`` it."""

    def __init__(self, gatherer: Gatherer) -> None:
        self._gatherer = gatherer
        self._tasks: dict[tuple[int, int], asyncio.Task[None]] = {}  # By round and seat.

    async def go_on(self, number: int, seats: Iterable[int], *, copies: bool, beyond: int) -> None:
        """See to it that these seats are being fetched; return when all have ended, or a block later.

        ``beyond`` is the height of the newest block.
        """
        for ended in (task for task in self._tasks.values() if task.done()):
            ended.result()  # A bug of ours must be heard of.
        running = {key: task for key, task in self._tasks.items() if not task.done()}
        for key in running.keys() - {(number, seat) for seat in seats}:
            running.pop(key).cancel()  # Of a round before.
        for seat in seats:
            if (number, seat) not in running:
                running[number, seat] = asyncio.create_task(self._fetch(number, seat, copies))
        self._tasks = running
        if running:
            await self._ended_or_block(beyond)

    async def close(self) -> None:
        """Stop fetching."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks = {}

    async def _ended_or_block(self, height: int) -> None:
        heads, loop = self._gatherer.client.rpc.heads, asyncio.get_running_loop()
        ended = asyncio.ensure_future(asyncio.wait(self._tasks.values()))
        block = asyncio.ensure_future(heads.beyond(height, loop.time() + self._gatherer.client.rpc.patience.outage))
        try:
            await asyncio.wait({ended, block}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()  # The waiting only: what is being fetched goes on.
            block.cancel()

    async def _fetch(self, number: int, seat: int, copies: bool) -> None:
        try:
            await self._gatherer.fetch(number, seat, copies=copies)
        except (Rejected, RpcError, AnswerMalformed, VerificationFailed, CannotVerify) as error:
            _log.info("seat %d of round %d is fetched again later: %s", seat, number, error)
