"""The real client over the in-memory chain: no sockets, no consensus, no waiting, the same rules and bytes.

``LocalNode`` is what ``RpcClient`` is to a program: a transaction that passes CheckTx becomes a block of its own, at
once. ``LocalReader`` is its reader; proofs have tests of their own. So everything above the RPC runs as it
does against CometBFT::

    node = LocalNode(chain)
    client = node.client(HOSPITAL_A.worker)
    receipt = await client.submit(message)
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from campaigns.harness.chain import BLOCK_MS, BlockStep, Chain
from client_sdk.client import LedgerClient, Signer
from client_sdk.light.headers import TxResult
from client_sdk.reads.queries import DecidedTx, Entry, NotKept, Point
from client_sdk.rpc import Checked, FoundTx, HeightPruned, NodeStatus, Patience, TxInCache
from contracts import transition
from contracts.kernel import crypto
from contracts.transition import Result, Transaction

NO_PATIENCE = Patience(poll=0.001, header=0.0, state=0.0, outage=5.0, resend=0.0, payload=0.0)


@dataclass
class LocalNode:
    """One node's RPC. ``sent`` keeps every transaction that was offered, in order."""

    chain: Chain
    sent: list[bytes] = field(default_factory=list)
    patience: Patience = NO_PATIENCE
    _found: dict[bytes, FoundTx] = field(default_factory=dict)
    _results: dict[int, tuple[TxResult, ...]] = field(default_factory=dict)

    @property
    def heads(self) -> "LocalHeads":
        """Who follows the chain."""
        return LocalHeads(self)

    def client(self, signer: Signer | None = None) -> LedgerClient:
        """A client of this node that signs with a key, or only reads."""
        return LedgerClient(self, LocalReader(self), self.chain.ledger, signer)  # type: ignore[arg-type]

    def let_pass(self, milliseconds: int) -> None:
        """An empty block, this much later than the last one."""
        self.chain.advance(milliseconds - BLOCK_MS)
        self.chain.block()

    async def status(self) -> NodeStatus:
        return NodeStatus(
            chain_id=self.chain.chain_id,
            node_id="local",
            moniker="local",
            version="0",
            height=self.chain.height,
            time_ns=self.chain.time_ms * 1_000_000,
            block_hash=b"",
            app_hash=self.chain.root,
            earliest_height=1,
            catching_up=False,
            validator_address=b"",
            voting_power=1,
        )

    async def broadcast_tx_sync(self, raw: bytes) -> Checked:
        """CheckTx as the application does it, at the last block's time; then a block."""
        self.sent.append(raw)
        digest = crypto.sha256(raw)
        if digest in self._found:
            raise TxInCache(-32603, "Internal error", "tx already exists in cache")
        chain = self.chain
        following = transition.BlockContext(chain.chain_id, chain.height + 1, chain.time_ms)
        checked = transition.apply_tx(chain.rules, chain.view, Transaction(raw), following)
        if checked.code == 0:
            (result,) = chain.block(raw)
            self._found[digest] = FoundTx(digest, chain.height, 0, raw, _proven(result), None)
            self._results[chain.height] = (_proven(result),)
        return Checked(checked.code, checked.data, checked.log, digest)

    async def tx(self, digest: bytes, *, prove: bool = False) -> FoundTx | None:
        return self._found.get(digest)

    async def block_results(self, height: int) -> tuple[TxResult, ...]:
        return self._results.get(height, ())

    async def commit(self, height: int) -> Any:
        """Of the header only height and time. Blocks before the chain's last fork are pruned."""
        for step in self.chain.steps:
            if isinstance(step, BlockStep) and step.height == height:
                return SimpleNamespace(header=SimpleNamespace(height=height, time_ns=step.time_ms * 1_000_000))
        raise HeightPruned(-32603, "Internal error", f"height {height} is not available")

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class LocalHeads:
    """The heights of the node's chain."""

    node: LocalNode

    @property
    def height(self) -> int:
        return self.node.chain.height

    async def after(self, height: int | None = None) -> AsyncIterator[int]:
        done = self.height if height is None else height
        while True:
            while done >= self.height:  # noqa: ASYNC110 - a chain in memory rings no bell.
                await asyncio.sleep(self.node.patience.poll)
            done += 1
            yield done

    async def latest(self) -> AsyncIterator[int]:
        told = -1
        while True:
            while told == self.height:  # noqa: ASYNC110 - as above.
                await asyncio.sleep(self.node.patience.poll)
            told = self.height
            yield told

    async def newest(self) -> int:
        return self.height

    async def beyond(self, height: int, until: float) -> bool:
        await asyncio.sleep(0)
        return asyncio.get_running_loop().time() < until


@dataclass
class LocalReader:
    """Committed state and decided transactions as they are."""

    node: LocalNode

    @property
    def chain(self) -> Chain:
        """The node's chain."""
        return self.node.chain

    async def newest(self, at_least: int = 0) -> Point:
        assert at_least <= self.chain.height, "a state that is not there yet would be waited for"
        return Point(self.chain.height, self.chain.time_ms)

    async def read(self, path: bytes, *, at_least: int = 0, at: int = 0) -> Entry:
        assert at_least <= self.chain.height, "a state that is not there yet would be waited for"
        if at not in (0, self.chain.height):
            raise NotKept(3, f"height {at} is not kept")
        return Entry(path, self.chain.view.get(path), self.chain.height)

    async def unverified(self, path: bytes) -> bytes | None:
        return self.chain.view.get(path)

    async def scan(self, prefix: bytes, after: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        return list(self.chain.view.scan(prefix, after, limit))

    async def results(self, height: int) -> tuple[TxResult, ...]:
        return await self.node.block_results(height)

    async def transaction(self, digest: bytes) -> DecidedTx | None:
        found = await self.node.tx(digest)
        return None if found is None else DecidedTx(found.raw, found.height, found.index, found.result)


def _proven(result: Result) -> TxResult:
    return TxResult(code=result.code, data=result.data, gas_wanted=0, gas_used=0, log=result.log)
