"""The supervisor's socket: one request per connection, one line of JSON each way.

``{"do": "kill", "name": "validator-2", "signal": 9}``, ``{"do": "restart", "name": …}`` or ``{"do": "stop"}``; the
answer is ``{}``, or ``{"error": …, "hint": …}``. The socket is in a folder for its owner only: whoever reaches it may
steer.
"""

import asyncio
import json
import signal
import socket
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

from .errors import DevnetError, NotRunning, SupervisorFailed

_LINE_BYTES_MAX: Final = 4_096
_READ_SECONDS: Final = 5.0


class Steered(Protocol):
    """What requests act on."""

    def kill(self, name: str, number: signal.Signals) -> Awaitable[None]:
        """Send a signal."""
        ...

    def restart(self, name: str) -> Awaitable[None]:
        """Stop and start."""
        ...

    def stop(self) -> Awaitable[None]:
        """Stop everything."""
        ...


class Server:
    """Answers requests until it is closed."""

    def __init__(self, path: Path, network: Steered) -> None:
        self._path = path
        self._network = network
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen. Raises OSError."""
        self._path.unlink(missing_ok=True)  # Left behind by a supervisor that was killed; we hold its lock.
        self._server = await asyncio.start_unix_server(self._answer, self._path, limit=_LINE_BYTES_MAX)

    def close(self) -> None:
        """Take no more requests. One that is being answered is: it may be the one that stops the network."""
        if self._server is not None:
            self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_READ_SECONDS):
                request = json.loads(await reader.readline())
            await self._act(request)
            answer = {}
        except DevnetError as error:
            answer = {"error": str(error), "hint": error.hint}
        except (ValueError, KeyError, TypeError, OSError) as error:
            answer = {"error": f"bad request: {error!r}", "hint": "Steer a devnet with 'fedledger devnet'."}
        with suppress(OSError):
            writer.write(json.dumps(answer).encode("utf-8") + b"\n")
            await writer.drain()
        writer.close()

    async def _act(self, request: dict[str, Any]) -> None:
        match request["do"]:
            case "kill":
                await self._network.kill(str(request["name"]), signal.Signals(request["signal"]))
            case "restart":
                await self._network.restart(str(request["name"]))
            case "stop":
                await self._network.stop()
            case other:
                raise ValueError(f"unknown request {str(other)[:40]!r}")


async def serve(path: Path, network: Steered) -> Server:
    """Listen at ``path`` for requests to a network. Raises OSError."""
    server = Server(path, network)
    await server.open()
    return server


def ask(path: Path, request: dict[str, str | int], seconds: float) -> None:
    """Have the supervisor do something and wait until it is done.

    Raises NotRunning when nobody listens, SupervisorFailed with the supervisor's own words.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        try:
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode("utf-8") + b"\n")
            with connection.makefile("rb") as reader:
                line = reader.readline()
        except TimeoutError:
            hint = "See what it does with 'fedledger devnet status'."
            raise SupervisorFailed(f"the supervisor did not answer within {seconds:g} s", hint) from None
        except OSError as error:
            raise NotRunning(f"no supervisor answers at {path} ({error.strerror})") from error
    if not line:
        raise NotRunning(f"the supervisor at {path} went away before it answered")
    answer = json.loads(line)
    if "error" in answer:
        raise SupervisorFailed(answer["error"], answer["hint"])
