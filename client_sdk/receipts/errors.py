"""What can be wrong with a receipt. Each says which part differs; the three kinds are never mixed up.

``ReceiptUnreadable``: the bytes are no receipt. ``ReceiptInvalid``: it is one, and its parts contradict each other.
``ReceiptNotTrusted``: it is sound in itself, and does not lead back to what the verifier trusts.
"""

from enum import StrEnum

from ..errors import Kind, SdkError


class Part(StrEnum):
    """What a receipt is made of, as refusals call it."""

    FILE = "file"
    STATEMENT = "statement"
    CLAIMS = "claims"
    INCLUSION = "inclusion proof"
    RESULT = "result"
    VALUE = "value"
    HEADER = "header"
    COMMIT = "commit"
    VALIDATORS = "validators"
    CHAIN = "chain"
    TRUST = "trust"


class ReceiptError(SdkError):
    """Root of the refusals of a receipt."""

    kind = Kind.REFUSED

    def __init__(self, part: Part, why: str) -> None:
        super().__init__(f"{part}: {why}")
        self.part = part
        self.why = why

    @property
    def facts(self) -> dict[str, str]:
        """The part that differs, for programs."""
        return {"part": self.part.value}


class ReceiptUnreadable(ReceiptError):
    """The bytes are not the one form of a receipt."""

    exit_status = 7
    hint = "Compare the file with the one that was issued; it may be cut short, or no receipt at all."


class ReceiptInvalid(ReceiptError):
    """A part of the receipt contradicts the others: it was changed, or never true."""

    exit_status = 6
    hint = "Do not rely on it. Ask whoever gave it to you for the original, or export it again."


class ReceiptNotTrusted(ReceiptError):
    """The receipt is sound in itself, but nothing leads from what you trust to the validators who signed it."""

    exit_status = 8
    hint = "Check that the genesis or checkpoint is of this ledger, and from a member you trust."


class NoReceipt(SdkError):
    """There is nothing to give a receipt for: not decided, refused, or not there."""

    kind = Kind.REFUSED
    hint = (
        "Only what the ledger accepted has a receipt: look with 'fedledger tx show', 'round list' or 'model history'."
    )
