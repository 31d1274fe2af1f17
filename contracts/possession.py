"""Possession: a key that is to be enrolled, with its holder's proof that it holds it.

Part of the contract ``identity``, which enrols keys; nodes prove theirs in ``validators``, under a domain of its own.
"""

from .kernel import Record, Rejected, crypto, require
from .kernel.types import Digest, Label, OrgId, PublicKey, Purpose, Signature

POSSESSION_DOMAIN = "key-possession"


class NewKey(Record):
    """A key to enrol, with its holder's proof of possession."""

    public: PublicKey
    purpose: Purpose
    label: Label
    possession: Signature


class WeakKey(Rejected, code=106, hint="Create a new key with `fedledger key create`."):
    """The key is not a canonical Ed25519 point of prime order."""


class NotInPossession(Rejected, code=107, hint="Sign the possession statement with the new key itself."):
    """The proof that the organisation holds the new key does not verify."""


def require_possession(genesis: Digest, organisation: OrgId, key: NewKey) -> None:
    """A sound key that its organisation holds. Rejects: WeakKey, NotInPossession."""
    require(crypto.is_enrollable(key.public), lambda: WeakKey(key=key.public))
    statement = possession_statement(genesis, organisation, key.public, key.purpose)
    require(crypto.verify(key.public, statement, key.possession), lambda: NotInPossession(key=key.public))


def possession_statement(genesis: Digest, organisation: OrgId, public: PublicKey, purpose: Purpose) -> bytes:
    """What a new key signs to show that its organisation holds it, on the ledger that began with this genesis."""
    return crypto.tagged(
        POSSESSION_DOMAIN, f"{genesis.hex()}\0{organisation}\0{public.hex()}\0{purpose}".encode("ascii")
    )
