"""Age recipients: whether text names an X25519 key that somebody can decrypt with, decided in integers.

A recipient is Bech32 (BIP-173) of ``age`` and 32 bytes (C2SP age, "The X25519 recipient type"): one spelling only, in
lower case. Libraries differ in what they take and in what they do with a bad one (some panic), so the ledger takes
none that could matter: the bytes are the canonical form of a u-coordinate (RFC 7748 section 5 would read others modulo
p), and no point of small order, with which every shared secret is zero (RFC 7748 section 6.1; Cremers and Jackson,
"Prime, Order Please!", 2019, table of small-order points). Nothing here encrypts.
"""

from enum import StrEnum
from functools import reduce
from operator import xor
from typing import Final

_PREFIX: Final = "age"
ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_NO_DIGIT: Final = 32
_DIGITS: Final = bytes(ALPHABET.index(chr(code)) if chr(code) in ALPHABET else _NO_DIGIT for code in range(256))
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
# What the five bits that leave the checksum's top put back into it: the sum of their generators.
_FED_BACK: Final = tuple(
    reduce(xor, [generator for bit, generator in enumerate(_GENERATOR) if top >> bit & 1], 0) for top in range(32)
)
_CHECKSUM_CHARS: Final = 6
_KEY_BYTES: Final = 32
_DATA_CHARS: Final = 52  # 32 bytes in groups of five bits, the last padded with zeros.
CHARS: Final = len(_PREFIX) + 1 + _DATA_CHARS + _CHECKSUM_CHARS

_P: Final = 2**255 - 19
# Of order 2, 4, 8 and 8 on the curve, and 4 on its twist. The list of Cremers and Jackson has, beyond these, the same
# numbers plus p and 2p: they are not canonical, and refused as such.
SMALL_ORDER: Final = (
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    _P - 1,
)


class Fault(StrEnum):
    """Why a text is no recipient. These words are facts of a refusal, and so part of the rules."""

    FORM = "form"  # Not ``age1`` and 58 characters of Bech32's alphabet, in lower case.
    CHECKSUM = "checksum"
    PADDING = "padding"  # The bits left over after 32 bytes are not zero.
    NOT_CANONICAL = "not-canonical"
    SMALL_ORDER = "small-order"


def fault_of(text: str) -> Fault | None:
    """What keeps a text from being a recipient, or None."""
    if len(text) != CHARS or not text.startswith(f"{_PREFIX}1"):
        return Fault.FORM
    if not text.isascii():
        return Fault.FORM
    data = text[len(_PREFIX) + 1 :].encode("ascii").translate(_DIGITS)
    if _NO_DIGIT in data:
        return Fault.FORM
    if polymod([*_EXPANDED, *data]) != 1:
        return Fault.CHECKSUM
    number = 0
    for value in data[:_DATA_CHARS]:
        number = number << 5 | value
    spare = 5 * _DATA_CHARS - 8 * _KEY_BYTES
    if number & ((1 << spare) - 1):
        return Fault.PADDING
    u = int.from_bytes((number >> spare).to_bytes(_KEY_BYTES, "big"), "little")
    if u >= _P:
        return Fault.NOT_CANONICAL
    return Fault.SMALL_ORDER if u in SMALL_ORDER else None


def polymod(values: list[int]) -> int:
    """The checksum of BIP-173 over groups of five bits: 1 for what is whole."""
    check = 1
    for value in values:
        check = (check & 0x1FFFFFF) << 5 ^ value ^ _FED_BACK[check >> 25]
    return check


def expanded(prefix: str) -> list[int]:
    """The human-readable part as it enters the checksum (BIP-173)."""
    return [*(ord(character) >> 5 for character in prefix), 0, *(ord(character) & 31 for character in prefix)]


_EXPANDED: Final = tuple(expanded(_PREFIX))
