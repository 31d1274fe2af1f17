"""The CBOR that receipts are made of: integers, strings, arrays, null, in their shortest form (RFC 8949, 4.2.1).

There is no general parser here: whoever reads says what must come next, so everything has one spelling and nesting is
never the sender's choice. Maps and tags have fixed bytes in this profile (``CborReader.literal``). A refusal names the
part that was being read. ``cbor2`` is the second opinion in tests.
"""

from collections.abc import Callable, Iterable
from typing import Final, NoReturn, TypeVar

from .errors import Part, ReceiptUnreadable

T = TypeVar("T")
NULL: Final = b"\xf6"
_UNSIGNED, _OCTETS, _TEXT, _ARRAY = 0, 2, 3, 4  # Major types.


def uint(number: int) -> bytes:
    """An integer from 0 to 2^64 - 1."""
    return _head(_UNSIGNED, number)


def octets(content: bytes) -> bytes:
    """A byte string."""
    return _head(_OCTETS, len(content)) + content


def text(content: str) -> bytes:
    """A text string, of ASCII."""
    return _head(_TEXT, len(content)) + content.encode("ascii")


def array(items: Iterable[bytes]) -> bytes:
    """An array of encoded items."""
    listed = tuple(items)
    return _head(_ARRAY, len(listed)) + b"".join(listed)


class CborReader:
    """Walks over bytes; every step says what must come. Raises ReceiptUnreadable, naming ``part``."""

    def __init__(self, raw: bytes, part: Part) -> None:
        self._raw = raw
        self._at = 0
        self.part = part

    def literal(self, expected: bytes) -> None:
        """Exactly these bytes."""
        if not self.skips(expected):
            self.refuse(f"byte {self._at} is not the profile's fixed form")

    def skips(self, expected: bytes) -> bool:
        """Step over these bytes if they come next."""
        comes = self._raw.startswith(expected, self._at)
        self._at += len(expected) if comes else 0
        return comes

    def uint(self, most: int, least: int = 0) -> int:
        """An integer within bounds."""
        number = self._number(_UNSIGNED)
        if not least <= number <= most:
            self.refuse(f"{number} before byte {self._at}, allowed are {least} to {most}")
        return number

    def octets(self, most: int, least: int = 0) -> bytes:
        """A byte string of a length within bounds."""
        return self._string(_OCTETS, most, least)

    def text(self, most: int) -> str:
        """Text of ASCII characters."""
        content = self._string(_TEXT, most, 0)
        if not content.isascii():
            self.refuse(f"the text before byte {self._at} is not ASCII")
        return content.decode("ascii")

    def array(self, most: int, least: int = 0) -> int:
        """The head of an array: how many items follow."""
        count = self._number(_ARRAY)
        if not least <= count <= most:
            self.refuse(f"{count} items at byte {self._at}, allowed are {least} to {most}")
        return count

    def items(self, read: Callable[["CborReader"], T], most: int, least: int = 0) -> tuple[T, ...]:
        """An array of alike items."""
        return tuple(read(self) for _ in range(self.array(most, least)))

    def within(self, part: Part, most: int) -> "CborReader":
        """A byte string that holds encoded CBOR, to be read, and finished, as another part."""
        return CborReader(self.octets(most), part)

    def finish(self) -> None:
        """Nothing may be left."""
        if self._at != len(self._raw):
            self.refuse(f"{len(self._raw) - self._at} bytes follow its end")

    def refuse(self, why: str) -> NoReturn:
        """Say that these bytes are no receipt."""
        raise ReceiptUnreadable(self.part, why)

    def _string(self, major: int, most: int, least: int) -> bytes:
        size = self._number(major)
        if not least <= size <= most:
            self.refuse(f"{size} bytes at byte {self._at}, allowed are {least} to {most}")
        return self._take(size)

    def _number(self, major: int) -> int:
        """The number in a head of this major type; only the shortest head is read."""
        start = self._at
        first = self._take(1)[0]
        number = extra = first & 0x1F
        if extra >= 24 and first >> 5 == major and extra <= 27:
            number = int.from_bytes(self._take(1 << (extra - 24)), "big")
        if self._raw[start : self._at] != _head(major, number):
            self.refuse(f"byte {start} is not the profile's form")
        return number

    def _take(self, count: int) -> bytes:
        taken = self._raw[self._at : self._at + count]
        if len(taken) != count:
            self.refuse("it is cut short")
        self._at += count
        return taken


def _head(major: int, number: int) -> bytes:
    kind = major << 5
    if number < 24:
        return bytes((kind | number,))
    for extra in range(4):
        if number < 1 << (8 << extra):
            return bytes((kind | 24 + extra,)) + number.to_bytes(1 << extra, "big")
    raise ValueError(f"{number} does not fit 64 bits")
