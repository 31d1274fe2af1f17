"""Payloads that only named recipients can read: age files to X25519 recipients.

A round's terms name the recipients; the participant encrypts to them and commits to the CID of the
ciphertext. Each recipient decrypts with an identity of its own. Encryption is randomised: encrypting twice
gives two CIDs, so journal the ciphertext's CID (or the ciphertext) before it is first sent. age authenticates
the bytes, not the author: who sent a payload is what the signed commitment says.

Source: the age file format, age-encryption.org/v1. Sizes: 2.8 MB to 8 recipients grow by 1.6 kB.
"""

import re
from collections.abc import Sequence
from typing import Final

import pyrage
from pyrage import x25519

from ..secrets.age_identity import NotAnIdentity, read_identity
from .errors import PayloadError, PayloadMalformed, PayloadOverLimit

RECIPIENTS_MAX: Final = 64
_HEADER_BYTES_MAX: Final = 16_384  # A stanza per recipient takes about 100 bytes, a grease stanza up to 265.
_PIECE_BYTES: Final = 1 << 16  # age seals pieces of 64 KiB, with 16 bytes of tag each.
_TAG_BYTES: Final = 16
_NONCE_BYTES: Final = 16
_HEADER_LINE: Final = b"age-encryption.org/v1\n"
_MAC_LINE: Final = re.compile(rb"\n--- [A-Za-z0-9+/]{43}\n")


class NotARecipient(PayloadError):
    """The payload is not encrypted to this identity."""

    hint = "Check that the round's terms name your recipient ('fedledger task show'), and that this is its identity."

    def __init__(self) -> None:
        super().__init__("the payload is not encrypted to this identity")


class InvalidRecipient(PayloadError, ValueError):
    """A recipient or identity that is not age X25519 text."""

    hint = "A recipient begins with 'age1', an identity with 'AGE-SECRET-KEY-1'; 'fedledger key show' prints yours."


class CiphertextCorrupt(PayloadMalformed):
    """Not an age file, or one that was changed. Its CID was verified before, so its publisher is to blame."""

    hint = "Fetching again will not help if the CID was verified: whoever published it published a broken file."

    def __init__(self, why: str) -> None:
        super().__init__("(ciphertext)", why)


class PlaintextTooLarge(PayloadOverLimit):
    """The payload decrypts to more than was declared. It was not decrypted."""

    def __init__(self, size: int, max_bytes: int) -> None:
        super().__init__("(plaintext)", size, max_bytes)


def encrypt(payload: bytes, recipients: Sequence[str]) -> bytes:
    """Encrypt to 1 to 64 recipients, each able to decrypt alone. Raises InvalidRecipient."""
    if not 1 <= len(recipients) <= RECIPIENTS_MAX:
        raise InvalidRecipient(f"{len(recipients)} recipients, must be 1 to {RECIPIENTS_MAX}")
    if len(set(recipients)) != len(recipients):
        raise InvalidRecipient("a recipient is named twice")
    keys = [_recipient(text) for text in recipients]
    try:
        return pyrage.encrypt(payload, keys)
    except BaseException as error:
        if not is_panic(error):
            raise
        raise InvalidRecipient("a recipient cannot be encrypted to: the library gave up") from error


def decrypt(ciphertext: bytes, *identities: str, max_bytes: int) -> bytes:
    """Decrypt with whichever identity fits, to at most ``max_bytes`` bytes.

    Raises NotARecipient, CiphertextCorrupt, PlaintextTooLarge, InvalidRecipient (an identity is not one).
    """
    keys = [_identity(identity) for identity in identities]
    size = plaintext_bytes(ciphertext)
    if size > max_bytes:
        raise PlaintextTooLarge(size, max_bytes)
    try:
        return pyrage.decrypt(ciphertext, keys)
    except pyrage.DecryptError as error:
        if str(error) == "No matching keys found":
            raise NotARecipient from None
        raise CiphertextCorrupt(str(error).splitlines()[0]) from error
    except BaseException as error:
        if not is_panic(error):
            raise
        raise CiphertextCorrupt("the library gave up on it") from error


def is_panic(error: BaseException) -> bool:
    """Whether a library written in Rust panicked. Its class is no Exception, and has no module to be imported from."""
    return type(error).__name__ == "PanicException" and not isinstance(error, Exception)


def plaintext_bytes(ciphertext: bytes) -> int:
    """How many bytes a file decrypts to, from its length alone: age does not compress.

    Raises CiphertextCorrupt.
    """
    if not ciphertext.startswith(_HEADER_LINE):
        raise CiphertextCorrupt("it does not begin as an age file")
    mac = _MAC_LINE.search(ciphertext, 0, _HEADER_BYTES_MAX)
    if mac is None:
        raise CiphertextCorrupt(f"no end of its header within {_HEADER_BYTES_MAX} bytes")
    sealed = len(ciphertext) - mac.end() - _NONCE_BYTES
    pieces = -(-sealed // (_PIECE_BYTES + _TAG_BYTES))
    size = sealed - pieces * _TAG_BYTES
    if pieces < 1 or size < 0:
        raise CiphertextCorrupt("it breaks off")
    return size


def _identity(text: str) -> x25519.Identity:
    try:
        return read_identity(text)
    except NotAnIdentity as error:
        raise InvalidRecipient(str(error)) from None


def _recipient(text: str) -> x25519.Recipient:
    try:
        return x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise InvalidRecipient(f"not an age X25519 recipient ({error}): {text[:80]!r}") from error
