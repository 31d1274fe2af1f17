"""Seals a keyring under a random passphrase with little work: an age file that opens in milliseconds.

scrypt's work makes passphrases of people hard to guess. A devnet's passphrase is 256 random bits, which no work
makes harder, while age's libraries spend a second or two and 512 MB on each file, for the ten members here and again
for every process that opens one. The work factor is theirs to choose when writing, so it is written here.

Source: the age file format, age-encryption.org/v1 (C2SP), with one scrypt stanza. ``keys.open_keyring`` reads it.
"""

import base64
import hashlib
import hmac
import secrets
from typing import Final

from nacl.bindings import crypto_aead_chacha20poly1305_ietf_encrypt

PASSPHRASE_BYTES: Final = 32
PLAINTEXT_BYTES_MAX: Final = 64 << 10  # One piece of the payload, the last one.
_WORK_LOG2: Final = 10  # 2 ms and 1 MB.
_VERSION: Final = b"age-encryption.org/v1\n"
_LAST_PIECE_NONCE: Final = bytes(11) + b"\x01"


def new_passphrase() -> str:
    """256 random bits as text. Only such a passphrase may be given to ``seal``."""
    return secrets.token_urlsafe(PASSPHRASE_BYTES)


def seal(plaintext: bytes, passphrase: str) -> bytes:
    """An age file. Raises ValueError for a passphrase too short to be random, or more than one piece."""
    if len(passphrase) < len(secrets.token_urlsafe(PASSPHRASE_BYTES)):
        raise ValueError("this passphrase needs more scrypt work than is done here: use keys.create_keyring")
    if len(plaintext) > PLAINTEXT_BYTES_MAX:
        raise ValueError(f"{len(plaintext)} bytes, at most {PLAINTEXT_BYTES_MAX} are sealed")
    file_key, salt, nonce = secrets.token_bytes(16), secrets.token_bytes(16), secrets.token_bytes(16)
    wrapping = hashlib.scrypt(
        passphrase.encode("utf-8"), salt=b"age-encryption.org/v1/scrypt" + salt, n=1 << _WORK_LOG2, r=8, p=1, dklen=32
    )
    wrapped = crypto_aead_chacha20poly1305_ietf_encrypt(file_key, None, bytes(12), wrapping)
    stanza = b"-> scrypt %s %d\n%s\n" % (_base64(salt), _WORK_LOG2, _base64(wrapped))
    header = _VERSION + stanza + b"---"
    mac = hmac.digest(_hkdf(file_key, b"", b"header"), header, "sha256")
    payload_key = _hkdf(file_key, nonce, b"payload")
    piece = crypto_aead_chacha20poly1305_ietf_encrypt(plaintext, None, _LAST_PIECE_NONCE, payload_key)
    return header + b" " + _base64(mac) + b"\n" + nonce + piece


def _hkdf(secret: bytes, salt: bytes, purpose: bytes) -> bytes:
    """HKDF-SHA-256 (RFC 5869), one block."""
    extracted = hmac.digest(salt or bytes(32), secret, "sha256")
    return hmac.digest(extracted, purpose + b"\x01", "sha256")


def _base64(raw: bytes) -> bytes:
    return base64.b64encode(raw).rstrip(b"=")
