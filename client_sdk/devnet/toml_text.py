"""Writes TOML 1.0: what the standard library only reads. For values this package makes, not for editing by hand."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any


def render(document: Mapping[str, Any], comment: str = "") -> str:
    """The document as text: its own keys, then its tables, then its arrays of tables; ``comment`` goes on top.

    A value is a string without surrogates, an int, a bool, a Decimal, or a sequence of those; tables do not nest;
    the comment has no control characters but line breaks. Raises TypeError for anything else.
    """
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    lines += [_pair(name, value) for name, value in document.items() if not _tables(value)]
    for name, value in document.items():
        heading = f"[{_key(name)}]" if isinstance(value, Mapping) else f"[[{_key(name)}]]"
        for table in _tables(value):
            lines += ["", heading, *(_pair(*pair) for pair in table.items())]
    return "\n".join(lines) + "\n"


def _tables(value: object) -> list[Mapping[str, Any]]:
    """The table, or the array of them, that a value is; empty for any other value."""
    if isinstance(value, Mapping):
        return [value]
    if isinstance(value, Sequence) and value and all(isinstance(item, Mapping) for item in value):
        return list(value)
    return []


def _pair(name: str, value: object) -> str:
    return f"{_key(name)} = {_value(value)}"


def _key(name: str) -> str:
    is_bare = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return name if is_bare else _value(name)


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            # JSON's escapes are TOML's too; JSON leaves DEL as it is, TOML does not allow that.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case int():
            return str(value)
        case Decimal():
            text = format(value, "f")
            return text if "." in text else f"{text}.0"
        case Sequence():
            return f"[{', '.join(_value(item) for item in value)}]"
        case _:
            raise TypeError(f"TOML has no {type(value).__name__} here")
