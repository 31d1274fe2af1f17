"""Reading JSON that somebody else wrote: every field is checked before it is used, and a refusal names it.

``parse`` turns bytes into an ``Answer``; an ``Answer`` knows where it stands (``commit.signatures[3].timestamp``), so
whoever reads it writes what it wants and nothing else. CometBFT writes 64-bit integers as decimal text, hashes in
hexadecimal, other bytes in base64, and times as RFC 3339 in UTC with up to nine decimals.
"""

import binascii
import json
import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn

from ..errors import Kind, SdkError

_SECOND_NS: Final = 10**9
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,19}")
_TIME: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?Z")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_SHOWN_CHARS: Final = 80

INT32_MAX: Final = 2**31 - 1
UINT32_MAX: Final = 2**32 - 1
INT64_MAX: Final = 2**63 - 1


class AnswerMalformed(SdkError):
    """A node's answer is not what CometBFT answers. ``field`` is where."""

    kind = Kind.REFUSED
    hint = (
        "Check that the address is a CometBFT node's RPC address, of a version this SDK supports (`fedledger doctor`)."
    )

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why


class Answer:
    """A value somewhere in a JSON document. Every method raises AnswerMalformed for what is not as asked."""

    __slots__ = ("_field", "_value")

    def __init__(self, value: object, field: str) -> None:
        self._value = value
        self._field = field

    def __getitem__(self, name: str) -> "Answer":
        """The member of an object."""
        found = self.get(name)
        if found is None:
            raise AnswerMalformed(f"{self._field}.{name}", "it is missing")
        return found

    def get(self, name: str) -> "Answer | None":
        """The member of an object; None when it is missing or null."""
        value = self.members().get(name)
        return None if value is None else Answer(value, f"{self._field}.{name}")

    def members(self) -> dict[str, object]:
        """The object itself."""
        if not isinstance(self._value, dict):
            self._refuse("expected is an object")
        return self._value

    def items(self, most: int) -> list["Answer"]:
        """The items of a list of at most ``most``."""
        if not isinstance(self._value, list) or len(self._value) > most:
            self._refuse(f"expected is a list of at most {most}")
        return [Answer(item, f"{self._field}[{index}]") for index, item in enumerate(self._value)]

    def integer(self, least: int, most: int) -> int:
        """An integer within bounds, as a number or as decimal text."""
        value = self._value
        if isinstance(value, str) and _INTEGER.fullmatch(value):
            value = int(value)
        if type(value) is not int or not least <= value <= most:
            self._refuse(f"expected is an integer from {least} to {most}")
        return value

    def flag(self) -> bool:
        """True or false."""
        if not isinstance(self._value, bool):
            self._refuse("expected is true or false")
        return self._value

    def text(self, most: int) -> str:
        """Text of at most ``most`` characters."""
        if not isinstance(self._value, str) or len(self._value) > most:
            self._refuse(f"expected is text of at most {most} characters")
        if not self._value.isascii() and _SURROGATE.search(self._value):  # JSON can spell them, UTF-8 cannot.
            self._refuse("expected is text that UTF-8 can write")
        return self._value

    def hexadecimal(self, lengths: Collection[int]) -> bytes:
        """Bytes in hexadecimal; ``lengths`` are the numbers of bytes allowed, a few."""
        value = self.any_hexadecimal(max(lengths))
        if len(value) not in lengths:
            self._refuse(f"expected are {' or '.join(map(str, sorted(lengths)))} bytes, it has {len(value)}")
        return value

    def any_hexadecimal(self, most: int) -> bytes:
        """At most ``most`` bytes in hexadecimal."""
        try:
            return binascii.unhexlify(self.text(2 * most))
        except ValueError:
            self._refuse("expected is hexadecimal")

    def base64(self, most: int) -> bytes:
        """At most ``most`` bytes in base64, with padding and nothing else around or within."""
        try:
            value = binascii.a2b_base64(self.text(4 * (most // 3 + 1)), strict_mode=True)
        except ValueError:
            self._refuse("expected is base64")
        if len(value) > most:
            self._refuse(f"expected are at most {most} bytes, it has {len(value)}")
        return value

    def time_ns(self) -> int:
        """A time in UTC as nanoseconds since the epoch; negative before it."""
        match = _TIME.fullmatch(self.text(40))
        if match is None:
            self._refuse("expected is a time like 2026-11-23T04:05:06.789Z")
        try:
            whole = datetime.fromisoformat(f"{match[1]}+00:00")
        except ValueError:
            self._refuse("there is no such time")
        return (whole - _EPOCH) // timedelta(seconds=1) * _SECOND_NS + int((match[2] or "0").ljust(9, "0"))

    def _refuse(self, why: str) -> NoReturn:
        kind = type(self._value)
        shown = "an object" if kind is dict else "a list" if kind is list else ascii(self._value)
        cut = shown if len(shown) <= _SHOWN_CHARS else f"{shown[:_SHOWN_CHARS]}…"
        raise AnswerMalformed(self._field, f"{why}, it is {cut}")


def parse(document: bytes, name: str) -> Answer:
    """A whole JSON document, called ``name`` in refusals. Raises AnswerMalformed. The caller bounds its size."""
    try:
        return Answer(json.loads(document, parse_constant=_refuse_constant), name)
    except RecursionError:
        raise AnswerMalformed(name, "it is nested too deeply") from None
    except ValueError as error:  # Also bytes that are not UTF-8, and numbers with thousands of digits.
        raise AnswerMalformed(name, f"it is not JSON: {str(error)[:_SHOWN_CHARS]}") from None


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
