"""Stands between a real node and its application, passes every byte on, and reads along.

It is how a kill is aimed: a trap springs while the message it waits for is held here, so that "FinalizeBlock is
answered and the node does not know it" is a place one can hit. It is also how the calls of a real node are recorded
for the grammar of ABCI. It keeps of a message only what the grammar looks at.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from abci_app.protocol import messages as m
from abci_app.protocol.framing import FrameReader

from ..harness.abci_client import Call
from ..harness.grammar import CONNECTION_OF, CONSENSUS

_Stream: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
FRAME_BYTES_MAX = 2**31 - 1
_READ_BYTES = 2**16


class Moment(NamedTuple):
    """A consensus call that is asked, or answered; the message has not been passed on yet."""

    method: str
    answered: bool


@dataclass
class Trap:
    """What to do at a moment: once, as soon as it comes. An answer that springs it never arrives."""

    moment: Moment
    spring: Callable[[], None]


@dataclass
class Relay:
    """One node's way to its application: ``front`` is where the node connects, ``back`` where the application is."""

    front: Path
    back: Path
    calls: list[Call] = field(default_factory=list)
    took: dict[str, float] = field(default_factory=dict)
    """Seconds that the last call of each method took."""
    misbehaviour: list[str] = field(default_factory=list)
    """Who signed twice, as the node told its application."""
    last: Moment | None = None
    """The last thing heard on the consensus connection, without its flushes."""
    trap: Trap | None = None
    _server: asyncio.Server | None = None
    _open: int = 0
    _connections: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def serves(self) -> bool:
        """Whether nodes can connect."""
        return self._server is not None

    async def serve(self) -> None:
        """Listen for the node."""
        self._server = await asyncio.start_unix_server(self._connected, self.front)

    async def close(self) -> None:
        """Hang up on both sides."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            application = await asyncio.open_unix_connection(str(self.back))
        except OSError:  # There is none: the node is to find that out.
            writer.close()
        else:
            await self._relayed((reader, writer), application)
        finally:
            self._connections.discard(task)

    async def _relayed(self, node: _Stream, application: _Stream) -> None:
        """Pass everything on in both directions until one side is gone; then so is the other."""
        line = _Line(self)
        self._note_run()
        pumps = [
            asyncio.ensure_future(_pump(node[0], application[1], line.asked)),
            asyncio.ensure_future(_pump(application[0], node[1], line.answered)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            node[1].close()
            application[1].close()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._open -= 1

    def _note_run(self) -> None:
        """The first of a node's four connections begins a run; the others may be accepted after its first call."""
        if self._open == 0:
            self.calls.append(Call("", "connected", None))
        self._open += 1

    def heard(self, method: str, *, answered: bool) -> bool:
        """Note a moment, and spring the trap that is set for it. Whether the message is to be passed on."""
        self.last = Moment(method, answered)
        if self.trap is None or self.trap.moment != self.last:
            return True
        trap, self.trap = self.trap, None
        trap.spring()
        return not answered


class _Line:
    """One of the node's connections. Which one it is shows at its first call that is for one only."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._name = ""
        self._asked, self._answered = FrameReader(FRAME_BYTES_MAX), FrameReader(FRAME_BYTES_MAX)
        self._waiting: deque[tuple[Call, float]] = deque()

    def asked(self, data: bytes) -> bool:
        """Read requests, which the application has not seen yet. Whether they are to be passed on."""
        pass_on = True
        self._asked.feed(data)
        while (body := self._asked.next()) is not None:
            request = m.Request.FromString(body)
            method = request.WhichOneof("value")
            self._name = self._name or CONNECTION_OF.get(method, "")
            content = getattr(request, method)
            call = Call(self._name, method, _of_interest(method, content))
            self._relay.calls.append(call)
            self._waiting.append((call, time.monotonic()))
            if method == "finalize_block":
                self._relay.misbehaviour += [f"{one.validator.address.hex()}" for one in content.misbehavior]
            if CONNECTION_OF.get(method) == CONSENSUS:
                pass_on &= self._relay.heard(method, answered=False)
        self._asked.compact()
        return pass_on

    def answered(self, data: bytes) -> bool:
        """Read answers, which the node has not seen yet. Whether they are to be passed on."""
        pass_on = True
        self._answered.feed(data)
        while (body := self._answered.next()) is not None:
            response = m.Response.FromString(body)
            call, began = self._waiting.popleft()
            call.answer = _told(response)
            self._relay.took[call.method] = time.monotonic() - began
            if CONNECTION_OF.get(call.method) == CONSENSUS:
                pass_on &= self._relay.heard(call.method, answered=True)
        self._answered.compact()
        return pass_on


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, see: Callable[[bytes], bool]) -> None:
    """Pass bytes on until either side is gone, or what was seen is not to arrive."""
    with contextlib.suppress(OSError):
        while (data := await reader.read(_READ_BYTES)) and see(data):
            writer.write(data)
            await writer.drain()


def _of_interest(method: str, request: Any) -> Any:
    """A request without what the grammar does not look at. Transactions become one hash over them all."""
    match method:
        case "init_chain":
            return m.RequestInitChain(initial_height=request.initial_height, validators=request.validators)
        case "prepare_proposal" | "process_proposal":
            return type(request)(height=request.height)
        case "finalize_block":
            digest = sha256(b"".join(sha256(tx).digest() for tx in request.txs)).digest()
            return m.RequestFinalizeBlock(height=request.height, hash=request.hash, time=request.time, txs=(digest,))
        case _:
            return None


def _told(response: m.Response) -> Any:
    """An answer without what the grammar does not look at; of most, that there was one."""
    match kind := response.WhichOneof("value"):
        case "info" | "init_chain":
            return getattr(response, kind)
        case "finalize_block":
            return m.ResponseFinalizeBlock(validator_updates=response.finalize_block.validator_updates)
        case _:
            return kind
