"""Which transactions go into a block, and what a block from another proposer must look like.

Both sides share one rule, so an honest proposer's block is always acceptable (ABCI requirement 3): every transaction
can be read, lanes do not go backwards, no organisation fills more than its quota, and all of it fits a block. Choosing
may drop more than checking refuses; nothing here runs a handler or verifies a signature, and each key is read once, so
a check costs microseconds per transaction.

A lane is not had for the asking: a transaction counts for the lane of its message only if the message is well formed
and its key is live, has the purpose that the message asks for, and belongs to an organisation with the role; by
committed state. Everything else goes last.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

from contracts import identity, transition
from contracts.kernel import Lane, Place, Rejected, View
from contracts.rulebook import Rules
from contracts.transition import Transaction

from ..protocol.framing import field_size


class Standing(NamedTuple):
    """Where a transaction comes in a block, and whose quota it takes from: an unknown key stands for itself."""

    lane: Lane
    sender: bytes | str


class _Signer(NamedTuple):
    sender: bytes | str
    entitled: tuple[identity.Key, identity.Organisation] | None  # None for one that may sign nothing now.


class Standings:
    """The standing of transactions in the block of a height, by committed state. Remembers the keys it has read."""

    def __init__(self, rules: Rules, view: View, height: int) -> None:
        self._rules, self._view, self._height = rules, view, height
        self._signers: dict[bytes, _Signer] = {}

    def of(self, transaction: Transaction) -> Standing:
        """One transaction's. Rejects: MalformedTransaction, for bytes whose header is no envelope's."""
        key = transaction.sealed.key
        signer = self._signers.get(key)
        if signer is None:
            signer = self._signers[key] = self._signer(key)
        return Standing(_lane(self._rules, transaction, signer), signer.sender)

    def _signer(self, public: bytes) -> _Signer:
        key = identity.KEYS.get(self._view, public)
        if key is None:
            return _Signer(public, None)
        if not identity.is_good(key, Place(self._height, 0)):
            return _Signer(key.organisation, None)
        return _Signer(key.organisation, (key, identity.ORGANISATIONS.at(self._view, key.organisation)))


def _lane(rules: Rules, transaction: Transaction, signer: _Signer) -> Lane:
    if signer.entitled is None or not transaction.is_authentic:  # Before anything is decoded: it may be a forgery.
        return max(Lane)
    try:
        kind = type(transaction.message(rules))
        transition.require_entitled(kind, *signer.entitled)
    except Rejected:
        return max(Lane)
    return kind.lane


def choose(
    rules: Rules,
    view: View,
    height: int,
    waiting: Iterable[Transaction],
    room: int,
    is_due: Callable[[Transaction], bool],
) -> list[bytes]:
    """The transactions of a proposal: due ones, by lane, within ``room`` bytes and each organisation's quota.

    ``waiting`` is what CheckTx has accepted, oldest first; what is not due would only take up room.
    """
    standings = Standings(rules, view, height)
    readable: list[tuple[Standing, Transaction]] = []
    for transaction in waiting:
        try:
            readable.append((standings.of(transaction), transaction))
        except Rejected:
            continue
    readable.sort(key=lambda entry: entry[0].lane)  # Stable: within a lane, first come first served.
    room = min(room, rules.limits.block_bytes)
    chosen: list[bytes] = []
    taken: Counter[bytes | str] = Counter()
    for (_, sender), transaction in readable:
        size = field_size(len(transaction.raw))
        if size > room or taken[sender] >= rules.limits.block_txs_per_organisation:
            continue
        if not is_due(transaction):
            continue
        room -= size
        taken[sender] += 1
        chosen.append(transaction.raw)
    return chosen


def fault(rules: Rules, view: View, height: int, txs: Iterable[Transaction]) -> str | None:
    """Why a proposed block is unacceptable, or None. A function of the block and committed state alone."""
    bounds, standings = rules.limits, Standings(rules, view, height)
    last, size = min(Lane), 0
    taken: Counter[bytes | str] = Counter()
    for number, transaction in enumerate(txs):
        size += field_size(len(transaction.raw))
        if size > bounds.block_bytes:
            return f"transaction {number} exceeds the {bounds.block_bytes} bytes of a block"
        try:
            lane, sender = standings.of(transaction)
        except Rejected as refusal:
            return f"transaction {number} cannot be read: {refusal}"
        if lane < last:
            return f"transaction {number} of lane {lane.name} comes after lane {last.name}"
        last = lane
        taken[sender] += 1
        if taken[sender] > bounds.block_txs_per_organisation:
            return f"transaction {number} exceeds its sender's quota of {bounds.block_txs_per_organisation}"
    return None
