"""Envelopes that ``envelope.seal`` does not make: of any payload, under any header, with signatures of several kinds.

For attackers who hold keys. The shape is that of ``contracts.kernel.envelope`` unless a part says otherwise.
"""

import hashlib
from typing import Any

from nacl import bindings

from contracts.kernel import codec, crypto, envelope
from contracts.kernel.envelope import LedgerId

ORDER = 2**252 + 27_742_317_777_372_353_535_851_937_790_883_648_493  # Of Ed25519's group.
TEMPLATE = b"\xd2\x84", b"\xa0"


def header(seed: bytes, ledger: LedgerId) -> bytes:
    """The protected header of a key on a ledger."""
    return envelope._protected(crypto.public_key(seed), ledger)


def content(tag: Any, body: Any, nonce: Any, valid_until: Any) -> dict[str, Any]:
    """What a payload holds."""
    return {"body": body, "nonce": nonce, "type": tag, "valid_until": valid_until}


def signed(seed: bytes, protected: bytes, payload: bytes) -> bytes:
    """An envelope with a right signature over whatever it holds."""
    return assembled(protected, payload, crypto.sign(seed, envelope.signed_structure(protected, payload)))


def assembled(protected: bytes, payload: bytes, signature: bytes, unprotected: bytes = TEMPLATE[1]) -> bytes:
    """An envelope of given parts."""
    head = envelope._head
    return TEMPLATE[0] + head(2, protected) + unprotected + head(2, payload) + head(2, signature)


def signed_again(seed: bytes, raw: bytes, salt: bytes) -> bytes:
    """The same statement under another valid signature: whoever holds the key can make any number of them.

    RFC 8032 derives the secret scalar of a signature from the message; here it follows from the salt.
    """
    said = envelope.parse(raw)
    digest = hashlib.sha512(seed).digest()
    secret = int.from_bytes(digest[:32], "little") & (1 << 254) - 8 | 1 << 254
    fresh = int.from_bytes(hashlib.sha512(salt + digest[32:]).digest(), "little") % ORDER
    point = bindings.crypto_scalarmult_ed25519_base_noclamp(fresh.to_bytes(32, "little"))
    challenge = int.from_bytes(hashlib.sha512(point + said.key + said.signed).digest(), "little") % ORDER
    scalar = (fresh + challenge * secret) % ORDER
    return assembled(said.protected, said.payload, point + scalar.to_bytes(32, "little"))


def malleated(raw: bytes) -> bytes:
    """The same signature with its scalar one group order higher, which careless libraries accept."""
    said = envelope.parse(raw)
    scalar = int.from_bytes(said.signature[32:], "little") + ORDER
    return assembled(said.protected, said.payload, said.signature[:32] + scalar.to_bytes(32, "little"))


def out_of_context(seed: bytes, raw: bytes) -> bytes:
    """The same parts, signed by the right key as something else: without the domain of transactions."""
    said = envelope.parse(raw)
    head = envelope._head
    structure = b"\x84\x6aSignature1" + head(2, said.protected) + b"\x40" + head(2, said.payload)
    return assembled(said.protected, said.payload, crypto.sign(seed, structure))


def plain(value: Any) -> bytes:
    """Canonical bytes of plain data, floats and all."""
    return codec.encode_plain(value)
