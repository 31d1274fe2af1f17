"""The one follower of the chain: new heights as they are committed, none left out, for however many wait for them.

CometBFT drops events without a word when a subscriber is slow, so its event socket is a bell and nothing more: it says
that there may be something new. What is new is asked for: the application's last height, once per ring and at least
once in ``Patience.poll``. Everything that waits for blocks waits here: one subscription and one question a block,
whether one coroutine waits or twenty. Following begins with the first who waits and ends with ``close``.
"""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, Protocol

from ..documents.strict_json import AnswerMalformed, parse
from ..unreachable import why
from .answers import ApplicationInfo
from .errors import NodeError, NodeUnavailable, RpcError
from .transport import Transport

_BACK_OFF: Final = (0.2, 0.5, 1.0, 2.0, 5.0)  # As parts of ``Patience.poll``.
# The header alone, unlike "NewBlock", stays small; both are sent once a block's results and state are stored.
_SUBSCRIBE: Final = {"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": {"query": "tm.event='NewBlockHeader'"}}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things are waited for, in seconds: one record for everything that waits on one ledger."""

    poll: float = 1.0
    """Between two questions for the newest height when no event rings."""
    header: float = 10.0
    """For a header that the node asked does not have yet."""
    state: float = 30.0
    """For a state as new as asked for, with its proof."""
    outage: float = 30.0
    """How long a transaction outlasts nodes that do not answer, or cannot prove what they say."""
    resend: float = 2.0
    """Between two offers of the same transaction."""
    payload: float = 0.5
    """Between two looks for a payload that should be there."""


class Followed(Protocol):
    """What is asked for new heights: an ``RpcClient``."""

    transport: Transport

    async def abci_info(self) -> ApplicationInfo:
        """The application and its last committed height."""


class Heads:
    """The heights of one ledger, by its nodes' word. One object serves one asyncio loop."""

    def __init__(self, rpc: Followed, patience: Patience) -> None:
        self._rpc = rpc
        self._poll = patience.poll
        self._height = 0
        self._moved = asyncio.Condition()
        self._following: asyncio.Task[None] | None = None

    @property
    def height(self) -> int:
        """The height that was told last; 0 as long as nobody has waited. A lower one heals what a node made up."""
        return self._height

    async def after(self, height: int | None = None) -> AsyncGenerator[int, None]:
        """Every height above this one, in order and without a gap, as blocks are committed; never ends.

        None begins after the newest. Goes on through restarts of nodes. Stop by leaving the loop, best within
        ``contextlib.aclosing``.
        """
        done = await self.newest() if height is None else height
        while True:
            while self._height <= done:
                await self.beyond(done, math.inf)
            done += 1
            yield done

    async def latest(self) -> AsyncGenerator[int, None]:
        """The newest height, and again whenever another is told; what lies between is left out. Never ends.

        For who looks at the newest state only: a height that a node makes up costs one look, and not one for every
        height up to it. Stop as ``after``.
        """
        told = 0

        def is_another() -> bool:
            return self._height != told

        while True:
            while not is_another():
                await self._until(is_another, self._poll)
            told = self._height
            yield told

    async def newest(self) -> int:
        """The newest height, waited for until a node has told one."""
        while not self._height:
            await self.beyond(0, math.inf)
        return self._height

    async def beyond(self, height: int, until: float) -> bool:
        """Wait for a height above this one, a poll's length at most; whether there is time left to ask again.

        ``until`` is a time of the running loop. For loops that ask a node until it says what they want: a new block
        may change its answer, and so may a node that comes back.
        """
        self._follow()
        left = until - asyncio.get_running_loop().time()
        if left <= 0:
            return False
        await self._until(lambda: self._height > height, min(left, self._poll))
        return True

    async def close(self) -> None:
        """Stop following."""
        if self._following is not None:
            following, self._following = self._following, None
            following.cancel()
            await asyncio.wait([following])

    async def _until(self, is_so: Callable[[], bool], seconds: float) -> None:
        self._follow()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._moved:
                await self._moved.wait_for(is_so)

    def _follow(self) -> None:
        if self._following is None:
            self._following = asyncio.create_task(self._run(), name="heads")
        elif self._following.done():
            self._following.result()  # A bug of ours: whoever waits must hear of it.

    async def _run(self) -> None:
        async with _bell(self._rpc.transport, self._poll) as bell:
            failures = 0
            while True:
                bell.clear()  # Before asking: a ring during the question is heard after it.
                try:
                    # Status counts a block before it is executed; results and state of this one can be asked for.
                    newest = (await self._rpc.abci_info()).height
                except (RpcError, AnswerMalformed) as error:
                    _log.warning("cannot ask for new blocks, trying again: %s", error)
                    await asyncio.sleep(_back_off(failures, self._poll))
                    failures += 1
                    continue
                failures = 0
                if newest != self._height:
                    async with self._moved:
                        self._height = newest
                        self._moved.notify_all()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._poll):  # wait_for may swallow a cancellation (before Python 3.12).
                        await bell.wait()


@asynccontextmanager
async def _bell(transport: Transport, poll: float) -> AsyncIterator[asyncio.Event]:
    bell = asyncio.Event()
    ringer = asyncio.create_task(_ring(transport, bell, poll))
    try:
        yield bell
    finally:
        ringer.cancel()
        await asyncio.wait([ringer])


async def _ring(transport: Transport, bell: asyncio.Event, poll: float) -> None:
    """Ring at every message of a subscription, and subscribe again for as long as it takes."""
    failures = 0
    while True:
        try:
            async for _ in _messages(transport):
                failures = 0
                bell.set()
            reason = "the socket was closed"
        except (RpcError, AnswerMalformed, OSError) as error:
            reason = why(error)
        _log.debug("no event socket, polling until there is: %s", reason)
        await asyncio.sleep(_back_off(failures, poll))
        failures += 1


async def _messages(transport: Transport) -> AsyncIterator[None]:
    """One item per message of the subscription, its confirmation included. Raises NodeUnavailable, NodeError."""
    async with transport.websocket() as socket:
        await socket.send_json(_SUBSCRIBE)
        async for message in socket:
            if not isinstance(message.data, str):
                raise NodeUnavailable([str(socket.get_extra_info("peername"))], [f"the socket failed: {message.data}"])
            if parse(message.data.encode("utf-8"), "event").get("error") is not None:
                raise NodeError(0, "the subscription was refused")  # Too many subscribers, for example.
            yield None


def _back_off(failures: int, poll: float) -> float:
    return poll * _BACK_OFF[min(failures, len(_BACK_OFF) - 1)]
