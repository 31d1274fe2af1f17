"""Unsigned varints as protobuf writes them: base 128, lowest digits first, up to 64 bits.

For the bytes that CometBFT hashes, signs and sends: proofs here, frames in ``abci_app``, headers in ``client_sdk``.
Payloads follow another specification (multiformats: 63 bits, the shortest form only) and have a module of their own,
``client_sdk.payloads.varint``.

Source: protobuf encoding guide, "Base 128 Varints".
"""

from typing import Final

BITS: Final = 64
BYTES_MAX: Final = 10


class BadVarint(ValueError):
    """Bytes that end inside a varint, or a varint of more than 64 bits."""


def uvarint(number: int) -> bytes:
    """The shortest form of a number in [0, 2**64); the upper bound is the caller's. Raises ValueError below it."""
    if number < 0x80:  # Nearly all that are written, and without a loop.
        return bytes((number,))
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def read_uvarint(message: bytes, at: int) -> tuple[int, int]:
    """The number that starts at an offset, in any form protobuf allows, and the offset after it. Raises BadVarint."""
    number = 0
    for place, byte in enumerate(message[at : at + BYTES_MAX]):
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            if number >> BITS:
                raise BadVarint(f"a number exceeds {BITS} bits")
            return number, at + place + 1
    raise BadVarint(f"the bytes end inside a number, or it is longer than {BYTES_MAX} bytes")
