"""A small secret under a passphrase: age v1 files with a fixed scrypt cost.

``open_sealed`` is pyrage's. ``seal`` is written here, because pyrage chooses the cost of each file by a measurement
of a millisecond, and offers no setting: on one machine it chose 2**16 and 2**20 within the hour. The latter takes
1 GiB of memory and 3 s to open, in each process of an organisation, and pyrage refuses it as excessive when it is
opened while the machine is busy. The cost here is 2**17 (128 MiB, about 0.4 s), which OWASP recommends for scrypt.

Only writing is done here: it parses nothing, and every file it writes must open in pyrage (a test) and in any other
age program. Source: the age file format, age-encryption.org/v1, sections "scrypt recipient stanza", "Header MAC",
"Payload"; HKDF is RFC 5869 with SHA-256.
"""

import base64
import hashlib
import hmac
import re
import secrets
import time
from typing import Final

import pyrage
from nacl import bindings
from pyrage import passphrase as age

WORK_FACTOR: Final = 17  # log2 of scrypt's N; r = 8, p = 1: N * 1024 bytes of memory.
WORK_FACTOR_RANDOM: Final = 10  # For passphrases that no work makes harder to guess: 2 ms and 1 MB.
WORK_FACTOR_MAX: Final = 20  # What is opened: a larger one asks for gigabytes.
RANDOM_BYTES: Final = 32
CONTENT_BYTES_MAX: Final = 1 << 16  # One piece of age's payload.
_VERSION_LINE: Final = b"age-encryption.org/v1\n"
_STANZA: Final = re.compile(rb"age-encryption\.org/v1\n-> scrypt [A-Za-z0-9+/]{22} ([1-9][0-9]?)\n")
_SCRYPT_LABEL: Final = b"age-encryption.org/v1/scrypt"
_LAST_PIECE_NONCE: Final = bytes(11) + b"\x01"
_ATTEMPTS: Final = 5
_PAUSE_SECONDS: Final = 0.05


class CannotOpen(Exception):
    """Root of why a file does not open."""


class WrongPassphrase(CannotOpen):
    """The file is sealed with another passphrase."""


class Damaged(CannotOpen):
    """Not an age file under a passphrase, one that was changed, or one whose cost is out of bounds."""


def new_passphrase() -> str:
    """256 random bits as text, for passphrases that programs keep: the kind that ``is_random`` means."""
    return secrets.token_urlsafe(RANDOM_BYTES)


def seal(content: bytes, passphrase: str, *, is_random: bool = False) -> bytes:
    """Encrypt at most 64 KiB under a passphrase. Each call gives another file.

    ``is_random`` says that the passphrase is a program's, from ``new_passphrase``: the file then opens in
    milliseconds. Raises ValueError over 64 KiB, or for a passphrase too short to be random.
    """
    if len(content) > CONTENT_BYTES_MAX:
        raise ValueError(f"{len(content)} bytes, at most {CONTENT_BYTES_MAX} fit one piece")
    if is_random and len(passphrase) < len(new_passphrase()):
        raise ValueError("this passphrase is too short to be 256 random bits: it needs the full work")
    work_factor = WORK_FACTOR_RANDOM if is_random else WORK_FACTOR
    file_key, salt, nonce = secrets.token_bytes(16), secrets.token_bytes(16), secrets.token_bytes(16)
    wrapped = _encrypt(_wrapping_key(passphrase, salt, work_factor), bytes(12), file_key)
    header = (
        _VERSION_LINE
        + b"-> scrypt %s %d\n" % (_base64(salt), work_factor)
        + _base64(wrapped)  # 32 bytes: one line shorter than 64 characters, which ends the stanza.
        + b"\n---"
    )
    mac = hmac.digest(_hkdf(file_key, b"", b"header"), header, "sha256")
    payload = _encrypt(_hkdf(file_key, nonce, b"payload"), _LAST_PIECE_NONCE, content)
    return header + b" " + _base64(mac) + b"\n" + nonce + payload


def open_sealed(sealed: bytes, passphrase: str) -> bytes:
    """Decrypt a file. Blocks for the time of its cost. Raises WrongPassphrase, Damaged."""
    stanza = _STANZA.match(sealed)
    if stanza is None:
        raise Damaged("not an age file under a passphrase")
    if int(stanza[1]) > WORK_FACTOR_MAX:
        raise Damaged(f"asks for a scrypt cost of 2**{int(stanza[1])}, at most 2**{WORK_FACTOR_MAX} is opened")
    reason = ""
    for attempt in range(_ATTEMPTS):
        time.sleep(_PAUSE_SECONDS * attempt)
        try:
            return age.decrypt(sealed, passphrase)
        except pyrage.DecryptError as error:
            reason = str(error).splitlines()[0]
        if reason == "Decryption failed":
            raise WrongPassphrase("sealed with another passphrase")
        # pyrage judges the cost by a measurement of a millisecond, which a busy machine spoils. We have judged it.
        if not reason.startswith("Excessive work"):
            break
    raise Damaged(reason)


def _wrapping_key(passphrase: str, salt: bytes, work_factor: int) -> bytes:
    return hashlib.scrypt(
        passphrase.encode("utf-8"),
        salt=_SCRYPT_LABEL + salt,
        n=1 << work_factor,
        r=8,
        p=1,
        maxmem=(1 << work_factor) * 1024 + (1 << 20),
        dklen=32,
    )


def _hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA-256 of 32 bytes: one block of the expansion."""
    extracted = hmac.digest(salt or bytes(32), key, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def _encrypt(key: bytes, nonce: bytes, message: bytes) -> bytes:
    return bindings.crypto_aead_chacha20poly1305_ietf_encrypt(message, None, nonce, key)


def _base64(raw: bytes) -> bytes:
    return base64.b64encode(raw).rstrip(b"=")
