"""age X25519 identities: the secret that reads what was encrypted to its recipient.

Leaves to others: keeping them (``keys``), and encrypting payloads to recipients (``payloads.confidential``).
"""

import pyrage
from pyrage import x25519

from ..errors import Kind, SdkError


class NotAnIdentity(SdkError, ValueError):
    """Text that is no age X25519 identity. It is never repeated: it may be a secret with a typing error."""

    kind = Kind.USAGE
    hint = "An identity begins with AGE-SECRET-KEY-1: copy it whole."

    def __init__(self) -> None:
        super().__init__("not an age X25519 identity")


def new_identity() -> str:
    """A fresh identity, ``AGE-SECRET-KEY-1…``, from the operating system's entropy."""
    return str(x25519.Identity.generate())


def recipient_of(identity: str) -> str:
    """The public recipient, ``age1…``, of an identity. Raises NotAnIdentity."""
    return str(read_identity(identity).to_public())


def read_identity(text: str) -> x25519.Identity:
    """The identity that a text is. Raises NotAnIdentity."""
    try:
        return x25519.Identity.from_str(text)
    except pyrage.IdentityError:
        raise NotAnIdentity from None
