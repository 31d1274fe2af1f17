"""Content identifiers: CIDv1 of a SHA-256 digest, as binary (36 bytes) and as base32 text (59 characters).

The profile has exactly one spelling of each identifier, so comparing text, bytes or objects is the same
question: CIDv0, other hashes, other codecs, other multibases, upper case and non-canonical base32 are all
refused. Source: multiformats CID specification, section "CIDv1"; RFC 4648 section 6 (base32).
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from .errors import InvalidCid

DIGEST_BYTES: Final = 32
MULTIHASH_PREFIX: Final = b"\x12\x20"  # sha2-256, 32 bytes.
CID_BYTES: Final = 2 + len(MULTIHASH_PREFIX) + DIGEST_BYTES
CID_CHARS: Final = 59  # Multibase letter 'b', then 36 bytes in base32 without padding.
_VERSION: Final = 0x01


class Codec(IntEnum):
    """How a block's bytes are read (multicodec table)."""

    RAW = 0x55  # The bytes are the data.
    DAG_PB = 0x70  # A protobuf node that links to other blocks.


@dataclass(frozen=True, slots=True)
class Cid:
    """The name of a block, and of the payload below it when it is a root.

    ``str`` gives text, ``bytes`` binary.
    """

    codec: Codec
    digest: bytes

    def __post_init__(self) -> None:
        if len(self.digest) != DIGEST_BYTES:
            raise InvalidCid(self.digest.hex(), f"the digest must have {DIGEST_BYTES} bytes")

    @classmethod
    def of(cls, codec: Codec, block: bytes | memoryview) -> Self:
        """The CID of a block: one SHA-256 over its bytes."""
        return cls(codec, hashlib.sha256(block).digest())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text form. Raises InvalidCid for anything ``str`` would not have written."""
        if len(text) != CID_CHARS or not text.startswith("b") or text != text.lower():
            raise InvalidCid(text, f"must be 'b' and {CID_CHARS - 1} lower-case base32 characters")
        padding = "=" * (-(CID_CHARS - 1) % 8)
        try:
            cid = cls.from_bytes(base64.b32decode(text[1:].upper() + padding))
        except (binascii.Error, ValueError) as error:
            raise InvalidCid(text, str(getattr(error, "why", "not base32"))) from error
        if str(cid) != text:  # The last character holds two bits that no byte covers.
            raise InvalidCid(text, "base32 is not canonical")
        return cid

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Read the binary form, exactly 36 bytes. Raises InvalidCid."""
        if len(raw) != CID_BYTES:
            raise InvalidCid(raw.hex(), f"{len(raw)} bytes, must be {CID_BYTES}")
        if raw[0] != _VERSION or raw[2:4] != MULTIHASH_PREFIX:
            raise InvalidCid(raw.hex(), "must be CIDv1 with sha2-256")
        try:
            codec = Codec(raw[1])
        except ValueError as error:
            raise InvalidCid(raw.hex(), f"codec 0x{raw[1]:02x} is neither raw nor dag-pb") from error
        return cls(codec, raw[4:])

    def names(self, block: bytes | memoryview) -> bool:
        """Whether these are the bytes that this CID names."""
        return hashlib.sha256(block).digest() == self.digest

    @property
    def multihash(self) -> bytes:
        """The self-describing digest (34 bytes): what a block store files the block under."""
        return MULTIHASH_PREFIX + self.digest

    def __bytes__(self) -> bytes:
        return bytes((_VERSION, self.codec)) + self.multihash

    def __str__(self) -> str:
        return "b" + base64.b32encode(bytes(self)).decode("ascii").rstrip("=").lower()
