"""The refusals that belong to no contract: what ``transition`` says before a handler is asked. Codes 2 to 10."""

from .rules import Rejected


class MalformedTransaction(
    Rejected, code=2, hint="Build transactions with the SDK, or follow docs/protocol.md exactly."
):
    """The bytes are not the canonical form of a transaction."""


class WrongChain(Rejected, code=3, hint="Check which ledger your profile names: `fedledger doctor`."):
    """The transaction was signed for another ledger: one of another name, or of the same name and another genesis."""


class BadSignature(Rejected, code=4, hint="The bytes changed after signing, or another key signed them."):
    """The signature does not verify."""


class Expired(Rejected, code=5, hint="Sign it again with a later height."):
    """The transaction was valid only up to an earlier height."""


class ValidTooLong(Rejected, code=6, hint="Sign it again with a nearer height."):
    """The transaction would stay valid further ahead than replay protection remembers."""


class Replayed(Rejected, code=7, hint="Nothing to do: the first one was decided; look it up with `fedledger tx show`."):
    """This transaction was decided already."""


class UnknownMessage(Rejected, code=8, hint="Check the versions of SDK and ledger: `fedledger doctor`."):
    """The ledger knows no message of this type."""


class WrongPurpose(Rejected, code=9, hint="Human keys consent, govern and revoke; workload keys train and vote."):
    """A key of this purpose may not sign this message."""


class MissingRole(Rejected, code=10, hint="The members decide on roles: `fedledger org show`."):
    """The organisation was not admitted with the role that this message needs."""
