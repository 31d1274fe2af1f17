"""Which transactions go into a block, and what a block from another proposer must look like.

Both sides share one rule, so an honest proposer's block is always acceptable (ABCI requirement 3): every
transaction can be read, lanes do not go backwards, and no organisation fills more than its quota. Choosing
may drop more than checking refuses; nothing here runs a handler or verifies a signature, so a check costs
microseconds per transaction.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from contracts import identity, transition
from contracts.kernel import Lane, Message, Rejected, View, limits
from contracts.kernel.envelope import Envelope
from contracts.transition import BlockContext

from .framing import field_size


def choose(view: View, block: BlockContext, waiting: Iterable[bytes], room: int) -> list[bytes]:
    """The transactions of a proposal: live ones, by lane, within ``room`` bytes and each organisation's quota."""
    readable: list[tuple[Lane, bytes, bytes | str]] = []
    for raw in waiting:
        try:
            signed, key = transition.authenticate(view, raw, block, verify=_verified_on_entry)
        except Rejected:
            continue  # Expired, decided already or revoked meanwhile: it would only take up room.
        readable.append((lane_of(signed), raw, key.organisation))
    readable.sort(key=lambda entry: entry[0])  # Stable: within a lane, first come first served.
    chosen: list[bytes] = []
    taken: Counter[bytes | str] = Counter()
    for _, raw, organisation in readable:
        size = field_size(len(raw))
        if size > room or taken[organisation] >= limits.BLOCK_TXS_PER_ORGANISATION:
            continue
        room -= size
        taken[organisation] += 1
        chosen.append(raw)
    return chosen


def fault(view: View, txs: Sequence[bytes]) -> str | None:
    """Why a proposed block is unacceptable, or None. A function of the block and committed state alone."""
    lane = Lane.SAFETY
    taken: Counter[bytes | str] = Counter()
    for number, raw in enumerate(txs):
        try:
            signed = transition.parse(raw)
        except Rejected as refusal:
            return f"transaction {number} cannot be read: {refusal}"
        if lane_of(signed) < lane:
            return f"transaction {number} of lane {lane_of(signed).name} comes after lane {lane.name}"
        lane = lane_of(signed)
        key = identity.KEYS.get(view, signed.key)
        sender = signed.key if key is None else key.organisation
        taken[sender] += 1
        if taken[sender] > limits.BLOCK_TXS_PER_ORGANISATION:
            return f"transaction {number} exceeds its sender's quota of {limits.BLOCK_TXS_PER_ORGANISATION}"
    return None


def lane_of(signed: Envelope) -> Lane:
    """The lane that a message declares; what nobody knows goes last."""
    kind = Message.by_tag.get(signed.tag)
    return Lane.CONTRIBUTION if kind is None else kind.lane


def _verified_on_entry(_key: bytes, _message: bytes, _signature: bytes) -> bool:
    """CheckTx verified what is in the mempool, and FinalizeBlock will again decide by signature."""
    return True
