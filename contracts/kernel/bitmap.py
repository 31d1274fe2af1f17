"""Sets of small numbers as bytes: bit n of the little-endian number stands for n, and no byte at the end is zero.

So a set has one form only. What the numbers are is the caller's matter: here, seats of a task.
"""

from collections.abc import Iterable

from .codec import Malformed

NOTHING = b""


def of(numbers: Iterable[int]) -> bytes:
    """The set of these numbers, each at least 0."""
    bits = 0
    for number in numbers:
        bits |= 1 << number
    return _packed(bits)


def numbers(bitmap: bytes) -> tuple[int, ...]:
    """The members, in ascending order."""
    bits = _bits(bitmap)
    return tuple(number for number in range(bits.bit_length()) if bits >> number & 1)


def count(bitmap: bytes) -> int:
    """How many members there are."""
    return _bits(bitmap).bit_count()


def has(bitmap: bytes, number: int) -> bool:
    """Whether a number is a member."""
    return bool(_bits(bitmap) >> number & 1)


def plus(bitmap: bytes, number: int) -> bytes:
    """The set with this number."""
    return _packed(_bits(bitmap) | 1 << number)


def minus(bitmap: bytes, number: int) -> bytes:
    """The set without this number."""
    return _packed(_bits(bitmap) & ~(1 << number))


def is_within(bitmap: bytes, whole: bytes) -> bool:
    """Whether every member is one of the whole's."""
    return not _bits(bitmap) & ~_bits(whole)


def require_canonical(bitmap: bytes, field: str) -> None:
    """The set in its only form. Raises Malformed naming the field."""
    if bitmap.endswith(b"\0"):
        raise Malformed(field, "ends with a zero byte")


def _bits(bitmap: bytes) -> int:
    return int.from_bytes(bitmap, "little")


def _packed(bits: int) -> bytes:
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")
