"""What a client of the ledger has seen: every committed block, at the moment any node first shows it.

A transaction seen in one is acknowledged: its sender was told that it is decided. Nothing that happens afterwards may
take it back, so ``acknowledged`` is what the audit holds every node to.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise

from client_sdk.documents.strict_json import AnswerMalformed
from client_sdk.light.headers import Header, TxResult
from client_sdk.rpc import Block, RpcClient
from client_sdk.rpc.errors import RpcError

POLL_SECONDS = 0.04
CALL_SECONDS = 3.0
_RETRY_SECONDS = 0.1


@dataclass(frozen=True)
class Decided:
    """What became of a transaction."""

    height: int
    code: int
    data: bytes


@dataclass
class Seen:
    """A block as it was first shown. ``results`` come a moment later."""

    header: Header
    txs: tuple[bytes, ...]
    at: float
    """When, on this process's monotonic clock."""
    by: str
    results: tuple[TxResult, ...] | None = None


@dataclass
class Witness:
    """Looks at all nodes at once. Use as an async context: it watches within it."""

    addresses: Mapping[str, str]
    blocks: dict[int, Seen] = field(default_factory=dict)
    heights: dict[str, int] = field(default_factory=dict)
    """The newest block that each node said it has."""
    included: dict[bytes, int] = field(default_factory=dict)
    """The height of every acknowledged transaction."""
    decided: dict[bytes, Decided] = field(default_factory=dict)
    height: int = 0
    """The newest block that is known with its results; all before it are."""
    twice: list[str] = field(default_factory=list)
    """Transactions that were decided at two heights."""
    codes: Counter[int] = field(default_factory=Counter)
    _waiting: dict[bytes, asyncio.Future[Decided]] = field(default_factory=dict)
    _grown: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _taking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __aenter__(self) -> "Witness":
        self._tasks = [asyncio.create_task(self._watch(*named)) for named in self.addresses.items()]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def beyond(self, height: int) -> None:
        """Wait for a block after this height."""
        while self.height <= height:
            self._grown.clear()
            await self._grown.wait()

    def outcome(self, digest: bytes) -> asyncio.Future[Decided]:
        """What is going to become of a transaction."""
        return self._waiting.setdefault(digest, asyncio.get_running_loop().create_future())

    def forget(self, digest: bytes) -> None:
        """Wait for it no longer."""
        self._waiting.pop(digest, None)

    def interval(self) -> float:
        """Seconds between two of the last blocks, the middle one of ten."""
        recent = [seen.at for _, seen in sorted(self.blocks.items())][-11:]
        gaps = sorted(later - earlier for earlier, later in pairwise(recent))
        return gaps[len(gaps) // 2] if gaps else 0.3

    def longest_gap(self, since: float, until: float) -> float:
        """The longest time without a new block, in seconds, within a span of the monotonic clock."""
        inside = [seen.at for seen in self.blocks.values() if since < seen.at < until]
        marks = [since, *sorted(inside), until]
        return max(later - earlier for earlier, later in pairwise(marks))

    async def _watch(self, name: str, address: str) -> None:
        """Follow one node for ever, dead or alive."""
        async with RpcClient((address,), call_seconds=CALL_SECONDS) as rpc:
            while True:
                try:
                    self.heights[name] = (await rpc.status()).height
                    async with self._taking:  # Two nodes that show the same block: one is enough.
                        await self._take(name, rpc)
                except (RpcError, AnswerMalformed):
                    await asyncio.sleep(_RETRY_SECONDS)
                await asyncio.sleep(POLL_SECONDS)

    async def _take(self, name: str, rpc: RpcClient) -> None:
        """Take in what this node has and nobody has shown yet."""
        for height in range(self.height + 1, self.heights[name] + 1):
            if height not in self.blocks:
                self._see(name, await rpc.block(height))
            self._know(height, await rpc.block_results(height))

    def _see(self, name: str, block: Block) -> None:
        height = block.header.height
        self.blocks[height] = Seen(block.header, block.txs, time.monotonic(), name)
        for tx in block.txs:
            digest = sha256(tx).digest()
            before = self.included.setdefault(digest, height)
            if before != height:
                self.twice.append(f"{digest.hex()} at {before} and {height}")

    def _know(self, height: int, results: tuple[TxResult, ...]) -> None:
        seen = self.blocks[height]
        seen.results, self.height = results, height
        for tx, result in zip(seen.txs, results, strict=True):
            digest, outcome = sha256(tx).digest(), Decided(height, result.code, result.data)
            self.decided.setdefault(digest, outcome)
            self.codes[result.code] += 1
            waiting = self._waiting.pop(digest, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(outcome)
        self._grown.set()
