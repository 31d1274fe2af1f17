"""When a process is ready: when it has answered a request. An open port proves nothing.

Also what a node says of itself when it is asked.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from client_sdk.payloads.errors import StoreUnavailable
from client_sdk.payloads.kubo_rpc import KuboRpc

from .process import Child, exit_text

_POLL_SECONDS: Final = 0.05
_ANSWER_SECONDS: Final = 2.0
_ANSWER_BYTES_MAX: Final = 1 << 20

# ABCI 2.0 over a socket: each message is preceded by its length. Echo is field 1 of a request and 2 of a response,
# Flush is field 2 of a request; answers come when a Flush has been read.
_ECHO_AND_FLUSH: Final = b"\x09\x0a\x07\x0a\x05ready" + b"\x02\x12\x00"
_ECHOED: Final = b"\x09\x12\x07\x0a\x05ready"


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """What a CometBFT node says of itself. ``app_hash`` is the one after the block before ``height``."""

    height: int
    app_hash: str
    block_time: str
    catching_up: bool
    peers: int


async def until_ready(child: Child, probe: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Wait until a probe of the process succeeds.

    Raises ProcessFailed with the end of its log when the process ends, or has not answered in time.
    """
    try:
        async with asyncio.timeout(seconds):
            while not await probe():
                if not child.is_alive:
                    raise child.failed(f"{exit_text(child.exit_code or 0)} while it was started")
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise child.failed(f"was not ready within {seconds:g} s") from None
    child.answered()


async def application_answers(socket: Path) -> bool:
    """Whether an ABCI server echoes."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(str(socket))
            try:
                writer.write(_ECHO_AND_FLUSH)
                return await reader.readexactly(len(_ECHOED)) == _ECHOED
            finally:
                writer.close()
    except (OSError, EOFError):  # TimeoutError is an OSError.
        return False


async def kubo_answers(url: str) -> bool:
    """Whether a Kubo node's RPC answers."""
    async with KuboRpc(url, answer_seconds=_ANSWER_SECONDS) as rpc:
        try:
            await rpc.call("id")
        except StoreUnavailable:
            return False
    return True


async def node_health(session: aiohttp.ClientSession, url: str) -> NodeHealth | None:
    """What the node at an RPC address says of itself; None when it gives no proper answer in time."""
    try:
        status, network = await asyncio.gather(_get(session, f"{url}/status"), _get(session, f"{url}/net_info"))
        sync = status["sync_info"]
        return NodeHealth(
            height=int(sync["latest_block_height"]),
            app_hash=str(sync["latest_app_hash"]).lower(),
            block_time=str(sync["latest_block_time"]),
            catching_up=sync["catching_up"] is True,
            peers=int(network["n_peers"]),
        )
    except (aiohttp.ClientError, OSError, ValueError, KeyError, TypeError):
        return None


async def _get(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
    async with session.get(url, timeout=timeout) as answer:
        if (answer.content_length or 0) > _ANSWER_BYTES_MAX:
            raise ValueError("the answer is too long")
        document: dict[str, Any] = await answer.json(content_type=None)
        result: dict[str, Any] = document["result"]
        return result
