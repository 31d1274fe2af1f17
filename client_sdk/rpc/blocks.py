"""New heights as they are committed, none left out.

CometBFT drops events without a word when a subscriber is slow, so its event socket is a bell and nothing more: it says
that there may be something new. What is new is asked for: the application's last height, once per ring and at least
once a second. Between two answers every height is yielded.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from ..documents.strict_json import AnswerMalformed, parse
from .errors import NodeError, NodeUnavailable, RpcError

if TYPE_CHECKING:
    from .client import RpcClient
    from .transport import Transport

POLL_SECONDS: Final = 1.0
_BACK_OFF_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
# The header alone, unlike "NewBlock", stays small; both are sent once a block's results and state are stored.
_SUBSCRIBE: Final = {"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": {"query": "tm.event='NewBlockHeader'"}}
_log = logging.getLogger(__name__)


async def new_blocks(rpc: "RpcClient", after: int | None) -> AsyncGenerator[int, None]:
    """See ``RpcClient.new_blocks``."""
    async with _bell(rpc.transport) as bell:
        done, failures = after, 0
        while True:
            bell.clear()  # Before asking: a ring during the question is heard after it.
            try:
                newest = await _newest(rpc)
            except (RpcError, AnswerMalformed) as error:
                _log.warning("cannot ask for new blocks, trying again: %s", error)
                await asyncio.sleep(_back_off(failures))
                failures += 1
                continue
            failures = 0
            if done is None:
                done = newest
            for height in range(done + 1, newest + 1):
                yield height
                done = height
            with suppress(TimeoutError):
                await asyncio.wait_for(bell.wait(), POLL_SECONDS)


async def _newest(rpc: "RpcClient") -> int:
    """The last height whose results and state can be asked for: status counts a block before it is executed."""
    return (await rpc.abci_info()).height


@asynccontextmanager
async def _bell(transport: "Transport") -> AsyncIterator[asyncio.Event]:
    bell = asyncio.Event()
    ringer = asyncio.create_task(_ring(transport, bell))
    try:
        yield bell
    finally:
        ringer.cancel()
        await asyncio.wait([ringer])


async def _ring(transport: "Transport", bell: asyncio.Event) -> None:
    """Ring at every message of a subscription, and subscribe again for as long as it takes."""
    failures = 0
    while True:
        try:
            async for _ in _messages(transport):
                failures = 0
                bell.set()
            reason = "the socket was closed"
        except (RpcError, AnswerMalformed, OSError) as error:
            reason = str(error)
        _log.debug("no event socket, polling until there is: %s", reason)
        await asyncio.sleep(_back_off(failures))
        failures += 1


async def _messages(transport: "Transport") -> AsyncIterator[None]:
    """One item per message of the subscription, its confirmation included. Raises NodeUnavailable, NodeError."""
    async with transport.websocket() as socket:
        await socket.send_json(_SUBSCRIBE)
        async for message in socket:
            if not isinstance(message.data, str):
                raise NodeUnavailable([str(socket.get_extra_info("peername"))], [f"the socket failed: {message.data}"])
            if parse(message.data.encode("utf-8"), "event").get("error") is not None:
                raise NodeError(0, "the subscription was refused")  # Too many subscribers, for example.
            yield None


def _back_off(failures: int) -> float:
    return _BACK_OFF_SECONDS[min(failures, len(_BACK_OFF_SECONDS) - 1)]
