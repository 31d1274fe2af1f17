"""Writes TOML 1.0: what the standard library only reads. For values this package makes, not for editing by hand."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TypeAlias

Scalar: TypeAlias = str | int | bool | Decimal
Table: TypeAlias = Mapping[str, "Scalar | Sequence[str]"]
Document: TypeAlias = Mapping[str, "Scalar | Sequence[str] | Table | Sequence[Table]"]


def render(document: Document, comment: str = "") -> str:
    """The document as text: its own keys, then its tables, then its arrays of tables; ``comment`` goes on top.

    Text must be free of surrogates. Raises TypeError for a value of another kind.
    """
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    plain = {name: value for name, value in document.items() if not _holds_tables(value)}
    lines += _pairs(plain)
    for name, value in document.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{_key(name)}]", *_pairs(value)]
        elif _holds_tables(value) and isinstance(value, Sequence):
            for table in value:
                lines += ["", f"[[{_key(name)}]]", *_pairs(table)]
    return "\n".join(lines) + "\n"


def _holds_tables(value: object) -> bool:
    if isinstance(value, Mapping):
        return True
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return is_list and len(value) > 0 and all(isinstance(item, Mapping) for item in value)


def _pairs(table: Mapping[str, object]) -> list[str]:
    return [f"{_key(name)} = {_value(value)}" for name, value in table.items()]


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
