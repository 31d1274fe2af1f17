"""How fast: a closed loop over many connections, or so many transactions in a second.

Both take the steps that are ready, oldest first. What the node has no room for is sent again a little later, and so is
what the application refuses, a few times: another node may be a block behind the one that told us. Both are counted.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterable
from typing import Final

from benchmarks.load.chain import ChainWatch
from benchmarks.load.connections import Answer, Connection
from benchmarks.load.steps import Step
from contracts.kernel import limits

CONNECTIONS: Final = 64
_AGAIN_SECONDS: Final = 0.02
_TRIES: Final = 100
_TICK_SECONDS: Final = 0.01


class LoadFailed(Exception):
    """The load cannot go on: a node is gone, or refuses what it should accept."""


class Driver:
    """Sends steps to all nodes of a chain. An async context manager; it holds its own watch over the chain."""

    def __init__(self, addresses: Iterable[str], window: int, connections: int = CONNECTIONS) -> None:
        self.watch = ChainWatch(tuple(addresses), self._in_block)
        self.connections = connections
        self.window = window  # The most transactions that are sent and not yet seen in a block.
        self.refused: Counter[str] = Counter()
        self.full = 0  # Answers that the mempool is full.
        self.late_signed = 0  # Steps that had to be signed while the clock ran.
        self.outstanding = 0
        self.committed = 0
        self._ready: deque[Step] = deque()
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._waiting: dict[str, Step] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._is_pushing = self._is_closing = False
        self._failure: BaseException | None = None

    async def __aenter__(self) -> "Driver":
        await self.watch.__aenter__()
        for number in range(self.connections):
            await self._open(number % len(self.watch.addresses))
        return self

    async def __aexit__(self, *error: object) -> None:
        self._is_closing = True
        for connection in self._all:
            connection.close()
        await self.watch.__aexit__(*error)

    def valid_until(self) -> int:
        """The furthest height at which a transaction signed now may be valid."""
        return self.watch.height + limits.TX_VALIDITY_BLOCKS

    def offer(self, steps: Iterable[Step]) -> None:
        """Add steps; those that need no other are ready at once."""
        self._ready.extend(step for step in steps if step.needs == 0)

    async def push(self, seconds: float) -> None:
        """The closed loop: every connection sends its next step when its last one was answered."""
        self._is_pushing = True
        self._pump()
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            await asyncio.sleep(min(_TICK_SECONDS * 10, max(0.0, until - time.perf_counter())))
            self._check()
        self._is_pushing = False

    async def finish(self, seconds: float = 120.0) -> None:
        """The closed loop until nothing is left to send or to wait for. Raises LoadFailed when it takes too long."""
        self._is_pushing = True
        self._pump()
        until = time.perf_counter() + seconds
        while self._ready or self.outstanding:
            await asyncio.sleep(_TICK_SECONDS)
            self._check()
            if time.perf_counter() > until:
                raise LoadFailed(f"{len(self._ready)} unsent, {self.outstanding} unseen; refused {dict(self.refused)}")
        self._is_pushing = False

    async def settle(self, seconds: float = 120.0) -> None:
        """Until what was sent is in blocks; what is not by then counts as unseen."""
        until = time.perf_counter() + seconds
        while self.outstanding and time.perf_counter() < until:
            await asyncio.sleep(_TICK_SECONDS)
            self._check()

    async def pace(self, per_second: float, seconds: float) -> list[Step]:
        """The open loop: a step at every tick, whether or not earlier ones were answered. Returns what was sent.

        A tick at which no step was ready passes without one: the caller sees it by the number of steps.
        """
        sent: list[Step] = []
        begin = time.perf_counter()
        for number in range(int(per_second * seconds)):
            await asyncio.sleep(max(0.0, begin + number / per_second - time.perf_counter()))
            self._check()
            if not self._ready or not self._idle:
                continue
            step = self._ready.popleft()
            step.sign(self.valid_until())
            self._send(self._idle.pop(0), step)  # The one that waited longest: all nodes in turn.
            sent.append(step)
        await self.settle()
        return sent

    async def _open(self, node: int) -> None:
        host, port = self.watch.addresses[node].removeprefix("http://").split(":")
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(node, self._answered, self._lost), host, int(port)
            )
        except OSError as error:
            self._failure = LoadFailed(f"node {node} does not answer: {error}")
            return
        self._all.add(connection)
        self._idle.append(connection)
        self._pump()

    def _lost(self, connection: Connection, step: Step | None) -> None:
        if self._is_closing:
            return
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if step is not None:
            self._later(step, Answer(-1, error="the connection was lost"))
        task = asyncio.get_running_loop().create_task(self._open(connection.node))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def _pump(self) -> None:
        while self._is_pushing and self._idle and self._ready and self.outstanding < self.window:
            self._send(self._idle.pop(), self._ready.popleft())

    def _send(self, connection: Connection, step: Step) -> None:
        if not step.request:
            step.sign(self.valid_until())
            self.late_signed += 1
        self._waiting[step.encoded] = step
        self.outstanding += 1
        step.node = connection.node
        step.sent = time.perf_counter()
        connection.send(step)

    def _answered(self, connection: Connection, step: Step, answer: Answer) -> None:
        self._idle.append(connection)
        if answer.code != 0:
            self._later(step, answer)
        self._pump()

    def _later(self, step: Step, answer: Answer) -> None:
        if self._waiting.pop(step.encoded, None) is None:
            return  # It is in a block: another node had passed it on.
        self.outstanding -= 1
        if answer.is_full:
            self.full += 1
        else:
            self.refused[f"{answer.code} {answer.error.partition('(')[0]}"] += 1
            step.tries += 1
        if step.tries > _TRIES:
            self._failure = LoadFailed(f"refused {step.tries} times: code {answer.code}, {answer.error}")
            return
        asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self._add, step)

    def _add(self, step: Step) -> None:
        self._ready.append(step)
        self._pump()

    def _in_block(self, height: int, txs: list[str]) -> None:
        loop = asyncio.get_running_loop()
        for encoded in txs:
            step = self._waiting.pop(encoded, None)
            if step is None:
                continue
            step.height = height
            self.outstanding -= 1
            self.committed += 1
            for following in step.reached():
                if following.pause:
                    loop.call_later(following.pause, self._add, following)
                else:
                    self._ready.append(following)
        self._pump()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        self.watch.raise_if_failed()
