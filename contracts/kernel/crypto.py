"""Hashing, signatures and key identifiers: the one place where the core touches cryptography.

Signatures are Ed25519 (RFC 8032) as libsodium verifies them: cofactorless, S < L, canonical A and R of large order.
Libraries disagree on the edge cases, so one library serves every replica and a self-test refuses to start on another
verdict. Every signed or hashed statement begins with a versioned domain tag.
"""

import hashlib
from functools import lru_cache
from typing import ClassVar

from nacl import bindings
from nacl.exceptions import CryptoError

from .speccheck import CASES

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_ED25519_MULTICODEC = b"\xed\x01"
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
DID_KEY_CHARS = 56


class SelfTestFailed(RuntimeError):
    """An installed library gives other verdicts than the ledger's rule: starting would risk a fork."""

    kind: ClassVar[str] = "environment"


def sha256(data: bytes) -> bytes:
    """SHA-256, 32 bytes."""
    return hashlib.sha256(data).digest()


def tagged(domain: str, statement: bytes) -> bytes:
    """Bytes that mean ``statement`` in one domain only: ``fedledger/<domain>/v1`` NUL, then its digest."""
    return f"fedledger/{domain}/v1\0".encode("ascii") + sha256(statement)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether an Ed25519 signature holds. Wrong lengths are False, never an exception."""
    if len(public) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        bindings.crypto_sign_open(signature + message, public)
    except (CryptoError, ValueError):
        return False
    return True


def sign(seed: bytes, message: bytes) -> bytes:
    """The 64-byte Ed25519 signature by a 32-byte seed. For clients and tests: no rule signs."""
    _, secret = bindings.crypto_sign_seed_keypair(seed)
    return bindings.crypto_sign(message, secret)[:SIGNATURE_BYTES]


def public_key(seed: bytes) -> bytes:
    """The public key of a 32-byte seed."""
    public, _ = bindings.crypto_sign_seed_keypair(seed)
    return public


def is_enrollable(public: bytes) -> bool:
    """Whether a key is a canonical point of prime order: the only kind that may be enrolled."""
    return len(public) == PUBLIC_KEY_BYTES and bool(bindings.crypto_core_ed25519_is_valid_point(public))


@lru_cache(maxsize=4096)
def did_key(public: bytes) -> str:
    """The ``did:key`` identifier of an Ed25519 key (W3C did:key; multicodec 0xed, base58btc): 56 characters."""
    return "did:key:z" + _base58(_ED25519_MULTICODEC + public)


def public_key_of(did: str) -> bytes:
    """The Ed25519 key in a did:key identifier. Raises ValueError when it is anything else."""
    prefix, _, encoded = did.partition(":z")
    number = 0
    if prefix != "did:key" or not encoded or len(encoded) > 64:
        raise ValueError("not a did:key identifier")
    for character in encoded:
        digit = _BASE58.find(character)
        if digit < 0:
            raise ValueError("not base58btc")
        number = number * 58 + digit
    raw = number.to_bytes(50, "big").lstrip(b"\0")
    if not raw.startswith(_ED25519_MULTICODEC) or len(raw) != 2 + PUBLIC_KEY_BYTES or did_key(raw[2:]) != did:
        raise ValueError("not the did:key of an Ed25519 key")
    return raw[2:]


def self_test() -> None:
    """Hold the library to the twelve public edge cases of Ed25519 verification ("Taming the many EdDSAs")."""
    for number, case in enumerate(CASES):
        if verify(case.public, case.message, case.signature) is not case.accepted:
            raise SelfTestFailed(f"Ed25519 edge case {number}: the verdict must be {case.accepted}")


def _base58(raw: bytes) -> str:
    number, digits = int.from_bytes(raw, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = _BASE58[digit] + digits
    return digits
