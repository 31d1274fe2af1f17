"""Payloads that only named recipients can read: age files to X25519 recipients.

A round's terms name the recipients; the participant encrypts to them and commits to the CID of the
ciphertext. Each recipient decrypts with an identity of its own. Encryption is randomised: encrypting twice
gives two CIDs, so journal the ciphertext's CID (or the ciphertext) before it is first sent. age authenticates
the bytes, not the author: who sent a payload is what the signed commitment says.

No recipient has a veto: one that cannot be encrypted to is left out, with a warning. The library is Rust, whose panics
arrive as no ``Exception`` (an all-zero recipient raises one): they are contained here.

Source: the age file format, age-encryption.org/v1. Sizes: 2.8 MB to 8 recipients grow by 1.6 kB, of which up to 265
bytes are drawn at random by the library (a stanza of grease): a size says how many recipients there are, and nothing
of what is inside.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
_log = logging.getLogger(__name__)


class NotARecipient(PayloadError):
    """The payload is not encrypted to this identity."""

    hint = "Check that the round's terms name your recipient ('fedledger task show'), and that this is its identity."

    def __init__(self) -> None:
        super().__init__("the payload is not encrypted to this identity")


class InvalidRecipient(PayloadError, ValueError):
    """A recipient or identity that is not age X25519 text."""

    hint = "A recipient begins with 'age1', an identity with 'AGE-SECRET-KEY-1'; 'fedledger key show' prints yours."


class _Panicked(Exception):
    """The library gave up in the middle of its work."""


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
    """Encrypt to those of up to 64 recipients that can be encrypted to, each able to decrypt alone.

    Who is named twice is encrypted to once; who cannot be encrypted to is left out, and the log says so.
    Raises InvalidRecipient when none is left, or more than 64.
    """
    named = list(dict.fromkeys(recipients))
    if len(named) > RECIPIENTS_MAX:
        raise InvalidRecipient(f"{len(named)} recipients, must be 1 to {RECIPIENTS_MAX}")
    usable = [recipient for text in named if (recipient := _usable(text)) is not None]
    if not usable:
        raise InvalidRecipient(f"none of the {len(named)} recipients can be encrypted to")
    return pyrage.encrypt(payload, usable)


def decrypt(ciphertext: bytes, *identities: str, max_bytes: int) -> bytes:
    """Decrypt with whichever identity fits, to at most ``max_bytes`` bytes.

    Raises NotARecipient, CiphertextCorrupt, PlaintextTooLarge, InvalidRecipient (an identity is not one).
    """
    keys = [_identity(identity) for identity in identities]
    size = plaintext_bytes(ciphertext)
    if size > max_bytes:
        raise PlaintextTooLarge(size, max_bytes)
    try:
        with _contained():
            return pyrage.decrypt(ciphertext, keys)
    except pyrage.DecryptError as error:
        if str(error) == "No matching keys found":
            raise NotARecipient from None
        raise CiphertextCorrupt(str(error).splitlines()[0]) from error
    except _Panicked as error:
        raise CiphertextCorrupt(f"reading it ends in a panic: {error}") from error


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


def _usable(text: str) -> x25519.Recipient | None:
    """The recipient, which has been encrypted to for a try; None, and a word in the log, if that does not work."""
    try:
        with _contained():
            recipient = x25519.Recipient.from_str(text)
            pyrage.encrypt(b"", [recipient])
    except (pyrage.RecipientError, pyrage.EncryptError, _Panicked) as error:
        _log.warning("a recipient is left out, for nothing can be encrypted to it (%s): %.80r", error, text)
        return None
    return recipient


@contextmanager
def _contained() -> Iterator[None]:
    """Turn a panic into an exception that handlers see. Raises _Panicked."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # pyo3 makes the class anew, and tells nobody where.
            raise
        raise _Panicked(str(error)) from error
