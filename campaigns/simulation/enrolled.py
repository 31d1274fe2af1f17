"""Who is enrolled, kept a second time, and how that decides on bytes whose header is all that can be read.

Left to others: which messages enrol and revoke (``books``).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from contracts import identity, transition
from contracts.kernel import Place, Rejected
from contracts.kernel.envelope import LedgerId


@dataclass
class Enrolled:
    """A key: whose it is, where it was enrolled and by which key, and from which place it counts for nothing."""

    organisation: str
    enrolled_at: Place
    enrolled_by: bytes | None = None
    revoked_from: Place | None = None


def unreadable(raw: bytes, ledger: LedgerId, keys: Mapping[bytes, Enrolled]) -> type[Rejected]:
    """How bytes that are no envelope are refused: a header that can be read is judged, and the
    signature verified, before the rest is read."""
    transaction = transition.Transaction(raw)
    try:
        sealed = transaction.sealed
    except Rejected:
        return transition.MalformedTransaction
    if sealed.ledger != ledger:
        return transition.WrongChain
    known = keys.get(sealed.key)
    if known is None:
        return identity.UnknownKey
    if known.revoked_from is not None:
        return identity.KeyIsRevoked
    return transition.MalformedTransaction if transaction.is_authentic else transition.BadSignature
