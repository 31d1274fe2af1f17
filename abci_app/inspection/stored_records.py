"""What the entries of a state are: the map that a path belongs to, its record, and whether both are canonical."""

import re
from typing import Final

from contracts.kernel import Record, codec, replay
from contracts.kernel.state import InvariantBroken
from contracts.rulebook import Rules

_PART: Final = re.compile(r"[!-.0-~]+", re.ASCII)  # Of a key: printable, without a slash or a space.


def fault_of(rules: Rules, path: bytes, body: bytes, height: int) -> str | None:
    """Why no block up to a height could have left this entry to these rules, or None."""
    kind = rules.map_of(path)
    if kind is None:
        return "no contract declares this path"
    key = kind.key_of(path) if kind.key_names and path.isascii() else ()
    if len(key) != len(kind.key_names) or not all(map(_PART.fullmatch, key)) or kind.path(key) != path:
        return f"not a path of {kind.prefix}, whose key is ({', '.join(kind.key_names)})"
    try:
        record = kind.read(body)
    except InvariantBroken as error:
        return str(error)
    if codec.encode(record) != body:
        return f"not the canonical bytes of a {kind.record.__name__}"
    if kind is replay.SEEN:
        return _mark_fault(key, record, height, rules.limits.tx_validity_blocks)
    return None


def decoded(rules: Rules, path: bytes, body: bytes | None) -> Record | bytes | None:
    """The record of an entry; the bytes themselves where they are none; None for nothing."""
    kind = rules.map_of(path)
    if kind is None or body is None:
        return body
    try:
        record: Record = kind.read(body)
    except InvariantBroken:
        return body
    return record


def _mark_fault(key: tuple[str, ...], mark: replay.Mark, height: int, validity: int) -> str | None:
    valid_until, transaction = key
    if not re.fullmatch(r"[0-9]{10}", valid_until) or not re.fullmatch(r"[0-9a-f]{64}", transaction):
        return "a replay mark is kept under a height and the hash of a transaction"
    if not 0 < mark.height <= height:
        return f"it was seen in block {mark.height}, the newest is {height}"
    if not mark.height <= int(valid_until) <= mark.height + validity:
        return f"it was seen in block {mark.height}, too far from {int(valid_until)}, up to which it was valid"
    return None
