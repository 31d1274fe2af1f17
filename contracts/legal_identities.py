"""Legal identities: under which one name each of them is, or was, a member.

Part of the contract ``identity``, which takes one with each admission. None is ever given back, also not when its
organisation is removed: a second name would refill the cap on its privacy loss.
"""

from .kernel import Map, Record, Rejected, View, Write, crypto
from .kernel.types import LegalId, OrgId


class LegalIdentity(Record):
    """The one name under which a legal identity is, or was, a member."""

    organisation: OrgId


LEGAL_IDENTITIES = Map("identity/legal", LegalIdentity, "SHA-256 of the legal id")


class LegalIdentityKnown(
    Rejected, code=120, hint="Act under that name: a second one would refill the cap on its privacy loss."
):
    """This legal identity is, or was, a member under another name."""


def taken(view: View, legal_id: LegalId, by: OrgId) -> Write:
    """Describe taking a legal identity for a name. Rejects: LegalIdentityKnown."""
    digest = crypto.sha256(legal_id.encode("ascii"))
    known = LEGAL_IDENTITIES.get(view, digest)
    if known is not None:
        raise LegalIdentityKnown(legal_id=legal_id, organisation=known.organisation)
    return LEGAL_IDENTITIES.put(digest, LegalIdentity(by))
