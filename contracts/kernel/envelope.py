"""The signed envelope: one fixed COSE_Sign1 shape (RFC 9052), read by exact template.

    18([ protected, {}, payload, signature ])
    protected = {1: -8, 3: CONTENT_TYPE, 4: key, 15: {1: did:key of the key, 2: chain id, -65537: genesis}}
    payload   = DAG-CBOR {"body": …, "nonce": 16 bytes, "type": tag, "valid_until": height}

The protected header carries the claims that a signed statement needs (RFC 9943, CWT claims of RFC 9597); nothing is
unprotected. The genesis is the SHA-256 of the ledger's genesis, a claim for private use (RFC 8392): two ledgers that
bear one name share no signature. There is no general CBOR parser here on purpose: an envelope either has these bytes
in this order or is refused. The signature covers ``Signature1`` with a domain tag as external data, so it cannot be
taken for anything else signed by the same key. A transaction's identity is the hash of that signed structure: the
envelope's own bytes also hold the signature, and one structure may be signed more than once.

Reading has two steps, because anybody can send 48 KiB: ``unwrap`` looks at the template and at the header, which names
the key, and decodes and hashes nothing; ``Sealed.opened`` reads the rest, once the key is known.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol

from . import codec, crypto, limits
from .codec import Fault, Malformed
from .types import ChainId, Digest, Height, Nonce

CONTENT_TYPE = "application/vnd.fedledger.tx+dag-cbor"
_EXTERNAL_AAD = b"fedledger/tx/v1"
_GENESIS_CLAIM = b"\x3a\x00\x01\x00\x00"  # The integer -65537, the first one for private use.
_HEADERS_KNOWN = 4096  # As many as members may have keys; each has at most some 250 bytes, whoever sends it.
_FIELDS = dict.fromkeys(("body", "nonce", "type", "valid_until"))
_CHAIN, _DIGEST = codec.shape_of(ChainId), codec.shape_of(Digest)
_NONCE, _HEIGHT = codec.shape_of(Nonce), codec.shape_of(Height)


class Signer(Protocol):
    """What signs for an organisation: a key in memory, an agent, a token, a hardware module. Its secret stays there."""

    @property
    def public(self) -> bytes:
        """The Ed25519 public key, 32 bytes."""

    def sign(self, statement: bytes, /) -> bytes:
        """The 64-byte signature (RFC 8032) over a statement, which begins with its domain tag. May block."""


@dataclass(frozen=True)
class LedgerId:
    """Which ledger a signature is for: its chain id, and the SHA-256 of the genesis it began with."""

    chain_id: str
    genesis: bytes


@dataclass(frozen=True)
class Sealed:
    """An envelope whose header was read and whose payload was not. The key it names may be anybody's."""

    ledger: LedgerId
    key: bytes
    issuer: bytes
    protected: bytes
    payload: bytes
    signature: bytes

    @cached_property
    def signed(self) -> bytes:
        """The bytes under the signature: RFC 9052's Sig_structure."""
        return signed_structure(self.protected, self.payload)

    def opened(self) -> "Envelope":
        """Read the rest. Raises Malformed naming the part that differs from the template."""
        if self.issuer != crypto.did_key(self.key).encode():
            raise Malformed("issuer", "must be the did:key of the key", Fault.FORM)
        content = codec.decode_plain(self.payload, most=limits.TX_BYTES)
        if not isinstance(content, dict) or content.keys() != _FIELDS.keys():
            raise Malformed("payload", "must be a map of body, nonce, type and valid_until", Fault.TYPE)
        if type(content["type"]) is not str:
            raise Malformed("type", "must be text", Fault.TYPE)
        return Envelope(
            ledger=self.ledger,
            key=self.key,
            nonce=_NONCE.unpack(content["nonce"], "nonce"),
            valid_until=_HEIGHT.unpack(content["valid_until"], "valid_until"),
            tag=content["type"],
            body=content["body"],
            protected=self.protected,
            payload=self.payload,
            signature=self.signature,
            signed=self.signed,
        )


@dataclass(frozen=True)
class Envelope:
    """A parsed envelope. Parsing proves its form; it does not verify the signature."""

    ledger: LedgerId
    key: bytes
    nonce: bytes
    valid_until: int
    tag: str
    body: Any
    protected: bytes
    payload: bytes
    signature: bytes
    signed: bytes
    """The bytes under the signature: RFC 9052's Sig_structure."""

    @cached_property
    def identity(self) -> bytes:
        """The transaction's identity for replay protection: SHA-256 of the signed structure."""
        return crypto.sha256(self.signed)


def parse(raw: bytes) -> Envelope:
    """Read an envelope. Raises Malformed naming the part that differs from the template."""
    return unwrap(raw).opened()


def unwrap(raw: bytes) -> Sealed:
    """Read an envelope's header. Raises Malformed naming the part that differs from the template."""
    if len(raw) > limits.TX_BYTES:
        raise Malformed("envelope", f"{len(raw)} bytes, at most {limits.TX_BYTES} are allowed", Fault.LENGTH)
    reader = _Reader(raw)
    reader.expect(b"\xd2\x84", "tag and array")
    protected = reader.string(2, "protected")
    reader.expect(b"\xa0", "unprotected")
    payload = reader.string(2, "payload")
    signature = reader.string(2, "signature")
    reader.finish()
    if len(signature) != crypto.SIGNATURE_BYTES:
        raise Malformed("signature", f"must have {crypto.SIGNATURE_BYTES} bytes", Fault.LENGTH)
    key, issuer, ledger = _parse_protected(protected)
    return Sealed(ledger, key, issuer, protected, payload, signature)


def seal(signer: Signer, ledger: LedgerId, *, tag: str, body: Any, nonce: bytes, valid_until: int) -> bytes:
    """Sign a message's plain body into envelope bytes. For clients and tests. Raises Malformed on a bad part."""
    content = {
        "body": body,
        "nonce": _NONCE.pack(nonce, "nonce"),
        "type": tag,
        "valid_until": _HEIGHT.pack(valid_until, "valid_until"),
    }
    protected = _protected(
        signer.public,
        LedgerId(_CHAIN.pack(ledger.chain_id, "chain_id"), _DIGEST.pack(ledger.genesis, "genesis")),
    )
    payload = codec.encode_plain(content)
    signature = signer.sign(signed_structure(protected, payload))
    raw = b"\xd2\x84" + _head(2, protected) + b"\xa0" + _head(2, payload) + _head(2, signature)
    if len(raw) > limits.TX_BYTES:
        raise Malformed("envelope", f"{len(raw)} bytes, at most {limits.TX_BYTES} are allowed", Fault.LENGTH)
    return raw


def signed_structure(protected: bytes, payload: bytes) -> bytes:
    """``["Signature1", protected, external data, payload]`` (RFC 9052 section 4.4)."""
    return b"\x84\x6aSignature1" + _head(2, protected) + _head(2, _EXTERNAL_AAD) + _head(2, payload)


def _protected(key: bytes, ledger: LedgerId) -> bytes:
    return b"".join((
        b"\xa4\x01\x27\x03", _head(3, CONTENT_TYPE.encode()),
        b"\x04", _head(2, key),
        b"\x0f\xa3\x01", _head(3, crypto.did_key(key).encode()),
        b"\x02", _head(3, ledger.chain_id.encode("ascii")),
        _GENESIS_CLAIM, _head(2, ledger.genesis),
    ))  # fmt: skip


_BEFORE_KEY = b"\xa4\x01\x27\x03" + bytes([0x78, len(CONTENT_TYPE)]) + CONTENT_TYPE.encode() + b"\x04"


@lru_cache(maxsize=_HEADERS_KNOWN)
def _parse_protected(protected: bytes) -> tuple[bytes, bytes, LedgerId]:
    """The key, the issuer and the ledger that a header names. A signer's headers for one ledger are all the same."""
    reader = _Reader(protected)
    reader.expect(_BEFORE_KEY, "protected header")
    key = reader.string(2, "key")
    if len(key) != crypto.PUBLIC_KEY_BYTES:
        raise Malformed("key", f"must have {crypto.PUBLIC_KEY_BYTES} bytes", Fault.LENGTH)
    reader.expect(b"\x0f\xa3\x01", "claims")
    issuer = reader.string(3, "issuer")
    if len(issuer) != crypto.DID_KEY_CHARS:
        raise Malformed("issuer", "must be the did:key of the key", Fault.FORM)
    reader.expect(b"\x02", "claims")
    chain_id = reader.string(3, "chain_id")
    reader.expect(_GENESIS_CLAIM, "claims")
    genesis = _DIGEST.unpack(reader.string(2, "genesis"), "genesis")
    reader.finish()
    if not chain_id.isascii():
        raise Malformed("chain_id", "must be ASCII", Fault.FORM)
    return key, issuer, LedgerId(_CHAIN.unpack(chain_id.decode("ascii"), "chain_id"), genesis)


def _head(major: int, content: bytes) -> bytes:
    """CBOR head of a byte (2) or text (3) string in its shortest form, then the string."""
    size, kind = len(content), major << 5
    if size < 24:
        return bytes([kind | size]) + content
    if size < 0x100:
        return bytes([kind | 24, size]) + content
    return bytes([kind | 25]) + size.to_bytes(2, "big") + content


class _Reader:
    """Walks the template over the bytes; every step names what it expected."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def expect(self, literal: bytes, field: str) -> None:
        if self._raw[self._at : self._at + len(literal)] != literal:
            raise Malformed(field, "differs from the envelope's fixed form", Fault.TEMPLATE)
        self._at += len(literal)

    def string(self, major: int, field: str) -> bytes:
        head = self._raw[self._at : self._at + 3]
        size, width = _string_size(head, major, field)
        start = self._at + width
        content = self._raw[start : start + size]
        if len(content) != size:
            raise Malformed(field, "is cut short", Fault.TEMPLATE)
        self._at = start + size
        return content

    def finish(self) -> None:
        if self._at != len(self._raw):
            raise Malformed("envelope", "has trailing bytes", Fault.TEMPLATE)


def _string_size(head: bytes, major: int, field: str) -> tuple[int, int]:
    """Length and head width of a string; only the shortest head is read."""
    kind = major << 5
    if not head:
        raise Malformed(field, "is cut short", Fault.TEMPLATE)
    if kind <= head[0] < kind | 24:
        return head[0] - kind, 1
    if head[0] == kind | 24 and len(head) > 1 and head[1] >= 24:
        return head[1], 2
    if head[0] == kind | 25 and len(head) > 2 and head[1] > 0:
        return int.from_bytes(head[1:3], "big"), 3
    raise Malformed(field, "differs from the envelope's fixed form", Fault.TEMPLATE)
