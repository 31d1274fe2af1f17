"""Serves an application to CometBFT over its socket protocol: connections, fairness, an orderly end.

CometBFT opens four connections (query, snapshot, mempool, consensus) and pipelines requests on each; answers
go back in order. One thread serves them all. A connection is served a slice at a time, so consensus never
waits behind thousands of queued CheckTx: after ``slice_requests`` requests or ``slice_seconds`` the others
get their turn. What a slice answered leaves in one write.

What ends what: malformed bytes or a lost client end that connection; a ``Halt`` ends the process, on purpose.
"""

import asyncio
import logging
import signal
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Self, cast

from .address import AddressRefused, listen
from .application import Application, Halt
from .dispatch import Dispatcher
from .framing import FrameReader, ProtocolError

_log = logging.getLogger(__name__)

EXIT_HALTED = 70  # EX_SOFTWARE of sysexits.h
EXIT_REFUSED = 78  # EX_CONFIG
_CLOSING_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may ask of the server, and how long it may keep it from the others."""

    request_bytes: int = 64 * 2**20
    """The longest request: a block of ``block.max_bytes`` must fit, and InitChain with the genesis state."""
    backlog_bytes: int = 4 * 2**20
    """Once this much waits unanswered on a connection, it is not read any further."""
    connections: int = 32
    """CometBFT needs four."""
    slice_requests: int = 64
    """Requests answered on one connection before the others get their turn."""
    slice_seconds: float = 0.002
    """The same in time; a single request is never interrupted."""


class Server:
    """An application at an address. An async context manager: ``await server.wait()`` inside."""

    def __init__(self, application: Application, address: str, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.dispatcher = Dispatcher(application)
        self._wanted_address = address
        self._connections: set[_Connection] = set()
        self._ended = asyncio.Event()
        self._halt: Halt | None = None
        self._opened = 0

    async def start(self) -> None:
        """Listen. Raises ``address.AddressRefused`` or ``AddressInUse``."""
        self._listening = listen(self._wanted_address)
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._accept, sock=self._listening.socket)
        _log.info("serving ABCI at %s", self.address)

    async def wait(self) -> None:
        """Until ``stop`` is called. Raises Halt when the node must stop instead."""
        await self._ended.wait()
        if self._halt is not None:
            raise self._halt

    def stop(self) -> None:
        """Let ``wait`` return."""
        self._ended.set()

    async def close(self) -> None:
        """Stop listening, send what is answered, drop what is not, remove the socket file."""
        self.stop()
        self._listening.remove_file()
        self._listener.close()
        waiting = [connection.close() for connection in self._connections]
        if waiting:
            await asyncio.wait(waiting, timeout=_CLOSING_SECONDS)
        for connection in tuple(self._connections):
            connection.abort()
        _log.info("stopped serving ABCI at %s", self.address)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def address(self) -> str:
        """Where it listens."""
        return self._listening.address

    @property
    def waiting_bytes(self) -> int:
        """Bytes received on all connections and not yet answered."""
        return sum(connection.waiting_bytes for connection in self._connections)

    @property
    def ended(self) -> bool:
        """Whether nothing may be answered any more."""
        return self._ended.is_set()

    def halt(self, halt: Halt) -> None:
        """Answer nothing more on any connection, and make ``wait`` raise."""
        if self._halt is None:
            _log.critical("HALT: %s", halt, exc_info=halt)
            self._halt = halt
        for connection in tuple(self._connections):
            connection.abort()
        self._ended.set()

    def admit(self, connection: "_Connection") -> bool:
        """Count a new connection; False when there are too many."""
        if len(self._connections) >= self.limits.connections:
            _log.error("refusing a connection: %d are open", len(self._connections))
            return False
        self._connections.add(connection)
        return True

    def forget(self, connection: "_Connection") -> None:
        """Drop a connection that is gone."""
        self._connections.discard(connection)

    def _accept(self) -> "_Connection":
        self._opened += 1
        return _Connection(self, self._opened)


class _Connection(asyncio.Protocol):
    """One client: cuts its bytes into requests, and answers them in order, a slice at a time."""

    def __init__(self, server: Server, number: int) -> None:
        self._server = server
        self._number = number
        self._reader = FrameReader(server.limits.request_bytes)
        self._closed = asyncio.get_running_loop().create_future()
        self._scheduled = False
        self._writable = True
        self._reading = True

    @property
    def waiting_bytes(self) -> int:
        return self._reader.held

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._server.ended or not self._server.admit(self):
            self._transport.abort()
            return
        _log.info("connection %d opened", self._number)

    def connection_lost(self, error: Exception | None) -> None:
        self._server.forget(self)
        if not self._closed.done():
            self._closed.set_result(None)
        why = f": {error}" if error else ""
        _log.info("connection %d closed, %d bytes unanswered%s", self._number, self._reader.held, why)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        if not self._scheduled:
            self._work()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._schedule()

    def close(self) -> "asyncio.Future[None]":
        """Send what is answered, then close. The future is done when that has happened."""
        self._transport.close()
        return self._closed

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._work)

    def _work(self) -> None:
        """Answer one slice, and come back for the next one after the other connections had theirs."""
        self._scheduled = False
        if self._server.ended or self._transport.is_closing():
            return
        answers: list[bytes] = []
        try:
            more = self._slice(answers)
        except ProtocolError as error:
            self._transport.write(b"".join(answers))
            _log.error("closing connection %d: %s: %s", self._number, type(error).__name__, error)
            self._transport.close()
            return
        except Halt as halt:
            self._server.halt(halt)
            return
        except Exception as error:  # Ours: left alone, the connection would be silent for ever.
            self._server.halt(Halt(f"the server itself failed: {type(error).__name__}: {error}"))
            raise
        self._transport.write(b"".join(answers))
        self._reader.compact()
        if more and self._writable:
            self._schedule()
        self._throttle(waiting=more)

    def _slice(self, answers: list[bytes]) -> bool:
        """Collect answers for one slice. Whether requests may be left."""
        limits, dispatcher = self._server.limits, self._server.dispatcher
        until = monotonic() + limits.slice_seconds
        for _ in range(limits.slice_requests):
            request = self._reader.next()
            if request is None:
                return False
            answers.append(dispatcher.answer(request))
            if monotonic() >= until:
                break
        return True

    def _throttle(self, *, waiting: bool) -> None:
        """Read on unless whole requests pile up. A single large one arriving is no pile."""
        read = not waiting or self._reader.held <= self._server.limits.backlog_bytes
        if read == self._reading:
            return
        self._reading = read
        if read:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()


async def serve(application: Application, address: str, limits: Limits | None = None) -> None:
    """Serve until SIGTERM or SIGINT. Raises Halt when the node must stop, AddressRefused at the start."""
    async with Server(application, address, limits) as server:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.stop)
        await server.wait()


def run(application: Application, address: str, limits: Limits | None = None) -> int:
    """``serve`` as a process. The exit status is 0 after a signal, 70 after a Halt, 78 for a bad address."""
    try:
        asyncio.run(serve(application, address, limits))
    except AddressRefused as error:
        _log.critical("cannot serve: %s", error)
        return EXIT_REFUSED
    except Halt:
        return EXIT_HALTED
    return 0
