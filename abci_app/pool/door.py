"""The node's door: what it lets into the pool, and how little it does twice.

Every transaction passes here up to five times: CheckTx, its rechecks, a proposal made or judged, its block. The first
time it is read, held to its sender's share of the pool, verified and tried on committed state; from then on the node
knows it again by the hash of its bytes. Nothing here changes what a block decides.
"""

from collections.abc import Iterable
from typing import Final

from contracts import transition
from contracts.kernel import View
from contracts.rulebook import Rules
from contracts.transition import BlockContext, Result, Transaction

from .shares import Pool, Share, ShareFull
from .transactions import VerifiedTransactions

ACCEPTED_AT: Final = "accepted on the state of height "
PRESSED: Final = 512  # Waiting transactions, eight members' quota of a block: from here on only safety is tried here.


class Door:
    """One node's. ``pool`` is the account of what waits."""

    def __init__(self) -> None:
        self.pool = Pool()
        self._verified = VerifiedTransactions()

    def read(self, raw: bytes) -> Transaction:
        """A transaction from anybody."""
        return self._verified.read(raw)

    def trust(self, raw: bytes) -> Transaction:
        """A transaction from the node's own pool, whose signature was verified on entry."""
        return self._verified.trust(raw)

    def admit(self, rules: Rules, view: View, raw: bytes, block: BlockContext) -> Result | ShareFull:
        """Judge a new transaction as if it came in ``block``, the one after the committed height.

        Under pressure a transaction is held to who signed it only, and the rest is left to its block: to try everything
        twice would halve what a node can take in, and against a state that will be long gone it is tried in vain. What
        is for safety is always tried, so that the few places of a key hold only what rules accept.
        """
        transaction = self.read(raw)
        full = self.pool.refusal(rules, view, transaction)
        if full is not None:
            return full
        judge = transition.may_wait if self._is_left_to_its_block(rules, view, transaction) else transition.apply_tx
        result = judge(rules, view, transaction, block)
        if result.code:
            return result
        self._verified.keep(transaction)
        self.pool.admit(rules, view, transaction, block.height - 1)
        return Result(0, result.data, f"{ACCEPTED_AT}{block.height - 1}", result.writes, result.events)

    def recheck(self, rules: Rules, view: View, raw: bytes, block: BlockContext) -> Result:
        """Judge again what waits: no signature is verified, no rule is run."""
        transaction = self.trust(raw)
        result = transition.may_wait(rules, view, transaction, block)
        if result.code == 0:
            self.pool.admit(rules, view, transaction, block.height - 1)
        else:
            self.pool.release(transaction.hash)
        return result

    def is_due(self, rules: Rules, view: View, block: BlockContext, transaction: Transaction) -> bool:
        """Whether a waiting transaction may go into ``block``: not expired, decided or revoked meanwhile.

        What was accepted on the very state that the block comes after is not asked again.
        """
        return self.pool.accepted_at(transaction) == block.height - 1 or not (
            transition.may_wait(rules, view, transaction, block).code
        )

    def committed(self, names: Iterable[bytes], height: int) -> None:
        """Take the transactions of a committed block, by their hashes, out of the account."""
        for name in names:
            self.pool.release(name)
        self.pool.sweep(height)

    def _is_left_to_its_block(self, rules: Rules, view: View, transaction: Transaction) -> bool:
        return len(self.pool) >= PRESSED and self.pool.share_of(rules, view, transaction) is not Share.SAFETY
