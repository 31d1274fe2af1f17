"""One ABCI connection as CometBFT's socket client keeps it, and a record of everything that went over it.

Answers come strictly in order and must be of the kind asked for. What would make CometBFT stop its node
raises ``NodeHalted`` here. Source: CometBFT v0.39, ``abci/client/socket_client.go``.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from abci_app.protocol import messages as m
from abci_app.protocol.framing import FrameReader, frame

ANSWER_SECONDS = 240.0  # A test hangs no longer than this.
_ANSWER_BYTES_MAX = 2**31 - 1
_READ_BYTES = 2**16


class NodeHalted(Exception):
    """A real node would have stopped here, for this reason."""


@dataclass
class Call:
    """One request, in the order in which requests were sent over all connections, and its answer."""

    connection: str
    method: str
    request: Any
    answer: Any = None


@dataclass
class Recorder:
    """Every call of a node's life. ``connected`` and ``disconnected`` stand in the list as calls of their own."""

    calls: list[Call] = field(default_factory=list)

    def methods(self, *connections: str) -> list[str]:
        """The methods called, on the named connections or on all, without the flushes."""
        return [
            call.method
            for call in self.calls
            if call.method != "flush" and (not connections or call.connection in connections)
        ]

    def of(self, method: str) -> Iterator[Call]:
        """The calls of one method."""
        return (call for call in self.calls if call.method == method)


class AbciConnection:
    """A pipelined client. Make one with ``open``."""

    def __init__(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, recorder: Recorder
    ) -> None:
        self.name = name
        self.writer = writer
        self._recorder = recorder
        self._waiting: deque[tuple[Call, asyncio.Future[Any]]] = deque()
        self._failure: NodeHalted | None = None
        self._receiving = asyncio.create_task(self._receive(reader))
        self._note("connected")

    @classmethod
    async def open(cls, address: str, name: str = "test", recorder: Recorder | None = None) -> "AbciConnection":
        scheme, _, place = address.partition("://")
        if scheme == "unix":
            reader, writer = await asyncio.open_unix_connection(place)
        else:
            host, _, port = place.rpartition(":")
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        return cls(name, reader, writer, recorder or Recorder())

    def send(self, method: str, request: Any) -> "asyncio.Future[Any]":
        """Put a request on the wire; the future is its answer."""
        if self._failure is not None:
            raise self._failure
        call, answer = Call(self.name, method, request), asyncio.get_running_loop().create_future()
        self._recorder.calls.append(call)
        self._waiting.append((call, answer))
        self.writer.write(frame(m.Request(**{method: request}).SerializeToString()))
        return answer

    async def call(self, method: str, request: Any) -> Any:
        """Send a request and a Flush, and wait for both answers."""
        answer = self.send(method, request)
        flushed = self.send("flush", m.RequestFlush())
        async with asyncio.timeout(ANSWER_SECONDS):
            await asyncio.gather(answer, flushed)
        return answer.result()

    async def flush(self) -> None:
        """Wait until everything sent has been answered."""
        async with asyncio.timeout(ANSWER_SECONDS):
            await self.send("flush", m.RequestFlush())

    async def drained(self) -> None:
        """Wait until the server has read most of what was sent."""
        await self.writer.drain()

    async def close(self) -> None:
        """Hang up."""
        self._receiving.cancel()
        self._fail(NodeHalted(f"the {self.name} connection was closed by the test"))
        self.writer.close()
        await asyncio.gather(self._receiving, self.writer.wait_closed(), return_exceptions=True)
        self._note("disconnected")

    async def ended(self) -> NodeHalted:
        """Wait for the server to end the connection; the reason a node would log."""
        async with asyncio.timeout(ANSWER_SECONDS):
            await self._receiving
        assert self._failure is not None
        return self._failure

    def _note(self, what: str) -> None:
        self._recorder.calls.append(Call(self.name, what, None))

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        frames = FrameReader(_ANSWER_BYTES_MAX)
        try:
            while data := await reader.read(_READ_BYTES):
                frames.feed(data)
                while (body := frames.next()) is not None:
                    self._deliver(m.Response.FromString(body))
                frames.compact()
            raise NodeHalted(f"the {self.name} connection was closed by the application")
        except NodeHalted as error:
            self._fail(error)
        except OSError as error:
            self._fail(NodeHalted(f"the {self.name} connection broke: {error}"))

    def _deliver(self, response: m.Response) -> None:
        kind = response.WhichOneof("value")
        if kind == "exception":
            raise NodeHalted(f"the application answered an exception: {response.exception.error}")
        if not self._waiting:
            raise NodeHalted(f"an answer of kind {kind} came unasked")
        call, answer = self._waiting.popleft()
        if kind != call.method:
            raise NodeHalted(f"unexpected response {kind} to {call.method}")
        call.answer = getattr(response, kind)
        if not answer.done():
            answer.set_result(call.answer)

    def _fail(self, error: NodeHalted) -> None:
        self._failure = self._failure or error
        while self._waiting:
            _, answer = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(self._failure)
                answer.exception()  # Whoever awaits it sees it; nobody has to.
