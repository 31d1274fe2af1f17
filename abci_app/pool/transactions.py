"""Transactions that this node has verified, so that each is parsed and verified once and not five times.

Kept is what follows from the bytes alone: the parsed envelope, its message, and that its signature holds under the key
it names. Whether that key may act is state, and is read from state every time. Only what CheckTx has accepted is kept,
so a stranger cannot fill the memory. Bounded in bytes; the least recently used goes first.
"""

from collections import OrderedDict

from contracts.kernel import crypto
from contracts.transition import Transaction

BYTES = 64 * 2**20
_ENTRY_BYTES, _BYTES_PER_BYTE = 2_048, 12  # What a kept transaction occupies at most: measured, and held by a test.


class VerifiedTransactions:
    """Reads bytes into transactions, and knows those again that it was told to keep."""

    def __init__(self, most_bytes: int = BYTES) -> None:
        self._most_bytes = most_bytes
        self._held_bytes = 0
        self._known: OrderedDict[bytes, Transaction] = OrderedDict()

    @property
    def held_bytes(self) -> int:
        """What the kept transactions are counted as."""
        return self._held_bytes

    def read(self, raw: bytes) -> Transaction:
        """The transaction, verified before or still to be."""
        return self._find(raw) or Transaction(raw)

    def trust(self, raw: bytes) -> Transaction:
        """The same for bytes from the node's own pool: what got in there was verified, also if it was forgotten."""
        return self._find(raw) or _Trusted(raw)

    def keep(self, transaction: Transaction) -> None:
        """Remember a transaction that was accepted, and so verified."""
        if transaction.hash in self._known:
            return
        self._known[transaction.hash] = transaction
        self._held_bytes += footprint(transaction.raw)
        while self._held_bytes > self._most_bytes:
            _, dropped = self._known.popitem(last=False)
            self._held_bytes -= footprint(dropped.raw)

    def _find(self, raw: bytes) -> Transaction | None:
        name = crypto.sha256(raw)
        known = self._known.get(name)
        if known is not None:
            self._known.move_to_end(name)
        return known


class _Trusted(Transaction):
    """A transaction whose signature is not looked at. Never kept."""

    is_authentic = True


def footprint(raw: bytes) -> int:
    """The bytes of memory that a kept transaction is counted as."""
    return _ENTRY_BYTES + _BYTES_PER_BYTE * len(raw)
