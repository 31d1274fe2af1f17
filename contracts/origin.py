"""The origin: the genesis that this ledger began with, which every signature on it is bound to.

Part of the contract ``identity``. A chain id is a name, and two ledgers can bear one; the SHA-256 of the genesis is
nobody else's. Proofs of possession that stand in a genesis cannot cover its hash, so they cover that of the same
genesis with zeros in their places.
"""

from .kernel import Item, Record, View
from .kernel.types import Digest


class Origin(Record):
    """The SHA-256 of the canonical genesis."""

    genesis: Digest


ORIGIN = Item("identity/origin", Origin)
NO_PROOF = bytes(64)
"""In the place of a proof of possession while the genesis is hashed that it is to cover."""


def genesis_of(view: View) -> Digest:
    """What signatures on this ledger are bound to."""
    return ORIGIN.at(view).genesis
