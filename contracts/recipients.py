"""Recipients: whose payloads are encrypted to which age recipient, each to one organisation's.

Part of the contract ``identity``, which says when an organisation takes one. Whether text is a recipient at all is
decided in ``kernel.recipient``.
"""

from .kernel import Map, Record, Rejected, View, Write, require
from .kernel.recipient import fault_of
from .kernel.types import AgeRecipient, OrgId


class RecipientOwner(Record):
    """Who reads what is encrypted to a recipient."""

    organisation: OrgId


RECIPIENTS = Map("identity/recipients", RecipientOwner, "recipient")


class SameRecipient(Rejected, code=116, hint="Nothing to do, or name the new recipient."):
    """Payloads are encrypted to this recipient already."""


class BadRecipient(Rejected, code=117, hint="Take the recipient that `fedledger key show` prints, unchanged."):
    """The text is no age X25519 recipient that somebody could decrypt with."""


class RecipientTaken(Rejected, code=118, hint="Create an encryption key of your own: `fedledger key create`."):
    """Another organisation's payloads are encrypted to this recipient."""


def taken(view: View, text: AgeRecipient, by: OrgId) -> Write:
    """Describe taking a recipient, which is one and nobody's. Rejects: BadRecipient, RecipientTaken."""
    fault = fault_of(text)
    require(fault is None, lambda: BadRecipient(recipient=text, fault=str(fault)))
    require(RECIPIENTS.get(view, text) is None, lambda: RecipientTaken(recipient=text))
    return RECIPIENTS.put(text, RecipientOwner(by))
