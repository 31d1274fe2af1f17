"""Unsigned LEB128 integers, as protobuf and CAR use them: shortest form only, value and length capped.

Source: multiformats unsigned-varint specification; protobuf encoding guide, "Base 128 Varints".
"""

from typing import Final

BITS: Final = 63  # The multiformats bound: nine bytes.
_BYTES_MAX: Final = BITS // 7


class BadVarint(ValueError):
    """Bytes that are no canonical varint within the bound."""


class Truncated(BadVarint):
    """The bytes end inside a varint: more input may complete it."""


def encode(value: int) -> bytes:
    """The shortest form of an integer in [0, 2**63). Raises ValueError outside."""
    if not 0 <= value < 1 << BITS:
        raise ValueError(f"varint value {value} is outside 0..2**{BITS}-1")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode(raw: bytes | bytearray | memoryview, at: int, *, bytes_max: int = _BYTES_MAX) -> tuple[int, int]:
    """The value that starts at ``at`` and the offset after it. Raises Truncated or BadVarint."""
    value = 0
    for index in range(bytes_max):
        if at + index >= len(raw):
            raise Truncated(f"ends after {index} of at most {bytes_max} bytes")
        byte = raw[at + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if byte == 0 and index > 0:
                raise BadVarint("not the shortest form")
            return value, at + index + 1
    raise BadVarint(f"longer than {bytes_max} bytes")
