"""The chain as it must be: every committed block decided again in this process, by ``contracts.transition`` alone.

A ``Follower`` holds a node to it: the same results, and in the next header the application hash that they lead to. Of
the transactions that it watches it also foresees, at every height, what a node must say of them. What became of a
transaction is ``fates``' question.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from client_sdk.rpc import RpcClient
from contracts import transition
from contracts.transition import BlockContext, Genesis, Result, Transaction

from ..harness.chain import Chain
from .siege import Tally

HANG_SECONDS = 240.0  # Without a block, on a machine that may be busy: it catches a network that hangs, nothing else.
_POLL_SECONDS = 0.02
_NANOSECONDS = 1_000_000  # In a millisecond.


@dataclass(frozen=True)
class Foreseen:
    """What a node says of a transaction on the state of a height."""

    checked: Result
    """To whoever offers it."""
    stays: bool
    """Whether a recheck lets it go on waiting."""


@dataclass
class Follower:
    """A replica that follows one node. ``rpc`` asks that node and no other."""

    genesis: Genesis
    rpc: RpcClient
    tally: Tally
    poll_seconds: float = _POLL_SECONDS
    """Between two questions for the newest height."""
    chain: Chain = field(init=False)
    accepted: set[bytes] = field(default_factory=set)
    refused: Counter[int] = field(default_factory=Counter)
    included: dict[bytes, int] = field(default_factory=dict)
    """The code with which each transaction in a block was decided."""
    _watched: dict[bytes, dict[int, Foreseen]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chain = Chain(self.genesis)

    @property
    def height(self) -> int:
        """Of the newest block that was decided again."""
        return self.chain.height

    async def follow(self) -> None:
        """Decide what has been committed since."""
        newest = (await self.rpc.abci_info()).height
        for height in range(self.height + 1, newest + 1):
            block, results = await asyncio.gather(self.rpc.block(height), self.rpc.block_results(height))
            if block.header.app_hash != self.chain.root:
                self.tally.fault(f"block {height} names another application hash than the rules lead to")
            self.chain.advance(block.header.time_ns // _NANOSECONDS - self.chain.next_block().time_ms)
            decided = self.chain.block(*block.txs)
            for raw, ours, theirs in zip(block.txs, decided, results, strict=True):
                if (ours.code, ours.data) != (theirs.code, theirs.data):
                    self.tally.fault(f"block {height}: code {theirs.code}, by the rules {ours.code} {ours.log}")
                self.included[raw] = ours.code
                if ours.code == 0:
                    self.accepted.add(raw)
                else:
                    self.refused[ours.code] += 1
            for raw, foreseen in self._watched.items():
                foreseen[height] = self._foresee(raw)

    async def beyond(self, height: int) -> None:
        """Wait for a block after this height. Raises TimeoutError when the network hangs."""
        async with asyncio.timeout(HANG_SECONDS):
            while self.height <= height:
                await asyncio.sleep(self.poll_seconds)
                await self.follow()

    def watch(self, transactions: Iterable[bytes]) -> None:
        """Foresee from now on what a node says of these."""
        for raw in transactions:
            self._watched[raw] = {self.height: self._foresee(raw)}

    def forget(self, transactions: Iterable[bytes]) -> None:
        """Watch these no longer."""
        for raw in transactions:
            self._watched.pop(raw, None)

    def foreseen(self, raw: bytes, since: int) -> list[Foreseen]:
        """What a node could say of a watched transaction on the state of any height since one."""
        return [one for height, one in self._watched[raw].items() if height >= since]

    def _foresee(self, raw: bytes) -> Foreseen:
        """On the state of now, by the time of its last block, as an application judges what is offered to it."""
        chain, transaction = self.chain, Transaction(raw)
        following = BlockContext(chain.chain_id, chain.height + 1, chain.time_ms)
        checked = transition.apply_tx(chain.rules, chain.view, transaction, following)
        return Foreseen(checked, transition.may_wait(chain.rules, chain.view, transaction, following).code == 0)
