"""What became of a transaction that was honestly meant: decided, refused, or expired; and its sender learns which.

That CheckTx accepts a transaction promises no block. A revocation that comes into an earlier block makes every
node drop what the key had signed at its recheck, and tells nobody. So a sender does as
``client_sdk.client.LedgerClient.send`` does: what is not decided it offers again, here after each block, and a
refusal then is what became of it. The refusal must be the one that the rules give on the state of that height, and
what a node had let in must have had to leave: ``Follower`` knows both.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from abci_app.pool.shares import POOL_SHARE_FULL
from client_sdk.rpc import Checked, RpcClient, TxInCache
from contracts.transition import Expired, Transaction

from .follower import Follower
from .siege import Tally


class End(StrEnum):
    """How a transaction ends."""

    DECIDED = "decided"
    """A block holds it, accepted or refused."""
    REFUSED = "refused"
    """No block will hold it, for a reason that was told: at the door, or dropped while it waited."""
    EXPIRED = "expired"
    """No block held it while it was valid."""


@dataclass(frozen=True)
class Fate:
    """What became of a transaction, and its code."""

    end: End
    code: int


@dataclass
class Senders:
    """Honest members at one node, the one that ``follower`` follows."""

    node: RpcClient
    follower: Follower
    tally: Tally

    async def send(self, transactions: Iterable[bytes]) -> dict[bytes, Fate]:
        """Offer these until each has a fate. Raises TimeoutError when the network hangs."""
        waiting, entered, fates = list(dict.fromkeys(transactions)), set[bytes](), dict[bytes, Fate]()
        self.follower.watch(waiting)
        while waiting:
            asked_at = self.follower.height
            answers = await asyncio.gather(*map(self._offer, waiting))
            await self.follower.beyond(asked_at)
            for raw, answer in zip(waiting, answers, strict=True):
                fate = self._fate(raw, answer, asked_at, entered)
                if fate is not None:
                    fates[raw] = fate
            self.follower.forget(raw for raw in waiting if raw in fates)
            waiting = [raw for raw in waiting if raw not in fates]
        return fates

    async def _offer(self, raw: bytes) -> Checked | None:
        """What a node answers; None when it has seen the bytes and asks nobody."""
        try:
            return await self.node.broadcast_tx_sync(raw)
        except TxInCache:
            return None

    def _fate(self, raw: bytes, answer: Checked | None, asked_at: int, entered: set[bytes]) -> Fate | None:
        """By an answer that was given on the state of a height from ``asked_at`` to the follower's."""
        if raw in self.follower.included:
            return Fate(End.DECIDED, self.follower.included[raw])
        if answer is not None and answer.code not in (0, POOL_SHARE_FULL):
            self._hold_refusal(raw, answer, asked_at, raw in entered)
            return Fate(End.EXPIRED if answer.code == Expired.code else End.REFUSED, answer.code)
        if answer is not None and answer.code == 0:
            if raw in entered:
                self.tally.fault(f"height {asked_at}: the pool had lost a transaction: {raw.hex()[:400]}")
            entered.add(raw)
        if self.follower.height > Transaction(raw).envelope.valid_until:
            return Fate(End.EXPIRED, Expired.code)
        return None

    def _hold_refusal(self, raw: bytes, answer: Checked, asked_at: int, had_entered: bool) -> None:
        """A refusal must be foreseen; of what had entered also that it was dropped."""
        said = [(one.checked.code, one.checked.data) for one in self.follower.foreseen(raw, asked_at)]
        if (answer.code, answer.data) not in said:
            by_the_rules = sorted({code for code, _ in said})
            self.tally.fault(
                f"height {asked_at}: an honest transaction is refused with {answer.code} {answer.log},"
                f" by the rules {by_the_rules}"
            )
        if had_entered and all(one.stays for one in self.follower.foreseen(raw, 0)):
            self.tally.fault(f"height {asked_at}: what might have waited was dropped, then refused with {answer.log}")
