"""TOML that somebody else wrote, read with bounds: the standard library's reader has none.

It recurses into nested values, and its time grows with the square of a dotted key's parts: 120 kB of ``a.a.a…`` take
most of a minute. So size and length of lines are bounded first, and every failure becomes one typed refusal. What the
fields must be is the caller's question.
"""

import tomllib
from collections.abc import Callable
from typing import Any, Final

LINE_CHARS_MAX: Final = 2_048
BYTES_MAX: Final = 64 << 10


class TomlInvalid(ValueError):
    """The bytes are no TOML document within the bounds. The message says why, to follow the file's name."""


def parse(document: bytes | str, *, parse_float: Callable[[str], Any] = float) -> dict[str, Any]:
    """A document of at most 64 KiB. Raises TomlInvalid."""
    if len(document) > BYTES_MAX:
        raise TomlInvalid(f"has more than {BYTES_MAX} bytes")
    try:
        text = document.decode("utf-8") if isinstance(document, bytes) else document
    except UnicodeDecodeError as error:
        raise TomlInvalid("is not UTF-8 text") from error
    if any(len(line) > LINE_CHARS_MAX for line in text.splitlines()):
        raise TomlInvalid(f"has a line of more than {LINE_CHARS_MAX} characters")
    try:
        return tomllib.loads(text, parse_float=parse_float)
    except RecursionError:
        raise TomlInvalid("is nested too deeply") from None
    except ValueError as error:  # Also integers with thousands of digits.
        raise TomlInvalid(f"is not TOML: {error}") from error
