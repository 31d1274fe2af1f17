"""Formats that the mutator speaks well enough to be wrong in them: CBOR, JSON, protobuf and text.

Each takes bytes of its format and gives bytes that say something else, or the same in another spelling: maps out of
order, keys twice, numbers in a longer form, lengths without contents, values within values within values. None of the
writers keeps to its format's rules; that is their purpose. Raises Unreadable for bytes of no such format.
"""

import json
import struct
from collections.abc import Callable
from random import Random
from typing import Any

import cbor2

from .trees import DEPTHS, INTEGERS, TEXTS, Claimed, Nested, Tagged, Undefined, changed

Dialect = Callable[[Random, bytes], bytes]
_WILD = 0.02  # How often a part is spelled in a way that nobody should read.
_PARSED_BYTES_MAX = 1 << 18
_DEPTH_MAX = 40  # So that it is never the interpreter whose limit decides what a case is.


class Unreadable(ValueError):
    """Bytes that are not of a format, and so cannot be changed in it."""


def cbor(rng: Random, raw: bytes) -> bytes:
    """CBOR, also within byte strings: an envelope's payload is changed as often as the envelope."""
    return _cbor(rng, _changed_cbor(rng, _cbor_tree(raw)), rng.choice((0, 0, _WILD)))


def spelled(rng: Random, value: Any) -> bytes:
    """Plain data in CBOR that says the same in another way, most of the time."""
    return _cbor(rng, value, 0.1)


def json_(rng: Random, raw: bytes) -> bytes:
    """JSON."""
    if len(raw) > _PARSED_BYTES_MAX:
        raise Unreadable
    try:
        tree = _shallow(json.loads(raw))
    except (ValueError, RecursionError) as error:
        raise Unreadable from error
    return _json(rng, changed(rng, tree), rng.choice((0, 0, _WILD))).encode("utf-8", "surrogatepass")


def safetensors(rng: Random, raw: bytes) -> bytes:
    """A JSON header behind its length, then data."""
    size = int.from_bytes(raw[:8], "little")
    if len(raw) < 8 + size:
        raise Unreadable
    header = json_(rng, raw[8 : 8 + size])
    stated = len(header) if rng.random() < 0.8 else rng.choice((0, 1, len(header) + 1, 2**31, 2**63, 2**64 - 1))
    return stated.to_bytes(8, "little") + header + raw[8 + size :]


def protobuf(rng: Random, raw: bytes) -> bytes:
    """Protobuf's wire format, whatever the message."""
    return _write_fields(rng, _changed_fields(rng, _fields(raw)))


def text(rng: Random, raw: bytes) -> bytes:
    """Text in UTF-8: words and lines in other places."""
    try:
        written = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable from error
    parts = rng.choice((written.split("\n"), written.split(" "), list(written) or [""]))
    joint = "\n" if "\n".join(parts) == written else " " if " ".join(parts) == written else ""
    at = rng.randrange(len(parts))
    match rng.randrange(6):
        case 0:
            del parts[at]
        case 1:
            parts.insert(at, parts[at])
        case 2:
            parts[at] = parts[rng.randrange(len(parts))]
        case 3:
            parts[at] = rng.choice(TEXTS)
        case 4:
            parts[at] = str(rng.choice(INTEGERS))
        case _:
            depth = rng.choice(DEPTHS)
            parts[at] = f"x = {'[' * depth}{']' * depth}" if rng.random() < 0.5 else f"{'a.' * depth}b = 1"
    return joint.join(parts).encode("utf-8", "surrogatepass")


def _shallow(tree: Any) -> Any:
    """The tree, unless it is deep already. Raises Unreadable."""
    level = [tree]
    for _ in range(_DEPTH_MAX):
        level = [part for value in level for part in _parts(value)]
        if not level:
            return tree
    raise Unreadable


def _parts(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else (value.value,) if isinstance(value, Tagged) else ()


# CBOR -------------------------------------------------------------------------------------------


def _cbor_tree(raw: bytes) -> Any:
    if len(raw) > _PARSED_BYTES_MAX:
        raise Unreadable
    try:
        return _shallow(_plain(cbor2.loads(raw)))
    except (cbor2.CBORDecodeError, ValueError, RecursionError, OverflowError) as error:
        raise Unreadable from error


def _plain(value: Any) -> Any:
    if isinstance(value, cbor2.CBORTag):
        return Tagged(value.tag, _plain(value.value))
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return Undefined() if value is cbor2.undefined else value


def _changed_cbor(rng: Random, tree: Any) -> Any:
    """One change in the tree, or in a document that one of its byte strings holds."""
    within = [(holder, key) for holder, key in _strings(tree) if len(holder[key]) > 2]
    if within and rng.random() < 0.7:
        holder, key = rng.choice(within)
        try:
            inner = _changed_cbor(rng, _cbor_tree(holder[key]))
        except Unreadable:
            return changed(rng, tree)
        holder[key] = _cbor(rng, inner, 0)
        return tree
    return changed(rng, tree)


def _strings(tree: Any) -> list[tuple[Any, Any]]:
    if isinstance(tree, Tagged):
        return _strings(tree.value)
    keys = range(len(tree)) if isinstance(tree, list) else list(tree) if isinstance(tree, dict) else ()
    return [(tree, key) for key in keys if isinstance(tree[key], bytes)]


def _cbor(rng: Random, value: Any, wild: float) -> bytes:
    """Any value; maps are canonical unless ``wild`` strikes."""
    match value:
        case bytes():
            return _head(rng, 2, len(value), wild) + value
        case str():
            raw = value.encode("utf-8", "surrogatepass")
            return _head(rng, 3, len(raw), wild) + raw
        case list():
            return _head(rng, 4, len(value), wild) + b"".join(_cbor(rng, item, wild) for item in value)
        case dict():
            return _cbor_map(rng, value, wild)
        case Tagged(number, inner):
            return _head(rng, 6, number, wild) + _cbor(rng, inner, wild)
        case Claimed(major, length):
            return _long_head(major, length, 8)
        case Nested(depth, in_maps):
            return (b"\xa1\x60" if in_maps else b"\x81") * depth + b"\x00"
    return _cbor_scalar(rng, value, wild)


def _cbor_scalar(rng: Random, value: Any, wild: float) -> bytes:
    match value:
        case bool() | None:
            return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[value]
        case int() if -(2**64) <= value < 2**64:
            return _head(rng, 1, -1 - value, wild) if value < 0 else _head(rng, 0, value, wild)
        case int():
            raw = abs(value).to_bytes((abs(value).bit_length() + 7) // 8, "big")
            return b"\xc2" + _head(rng, 2, len(raw), 0) + raw
        case float():
            return b"\xfb" + struct.pack(">d", value)
    return b"\xf7"


def _cbor_map(rng: Random, value: dict[Any, Any], wild: float) -> bytes:
    pairs = sorted((_cbor(rng, key, wild), _cbor(rng, item, wild)) for key, item in value.items())
    pairs.sort(key=lambda pair: (len(pair[0]), pair[0]))
    if pairs and rng.random() < wild:
        pairs.append(rng.choice(pairs))
    if rng.random() < wild:
        rng.shuffle(pairs)
    return _head(rng, 5, len(pairs), wild) + b"".join(key + item for key, item in pairs)


def _head(rng: Random, major: int, number: int, wild: float) -> bytes:
    widths = [width for width in (1, 2, 4, 8) if number < 1 << 8 * width]
    if rng.random() < wild:
        return _long_head(major, number, rng.choice(widths if number < 24 else widths[1:] or widths))
    return bytes((major << 5 | number,)) if number < 24 else _long_head(major, number, widths[0])


def _long_head(major: int, number: int, width: int) -> bytes:
    code = {1: 24, 2: 25, 4: 26, 8: 27}[width]
    return bytes((major << 5 | code,)) + (number & (1 << 8 * width) - 1).to_bytes(width, "big")


# JSON -------------------------------------------------------------------------------------------


def _json(rng: Random, value: Any, wild: float) -> str:
    match value:
        case list():
            return f"[{','.join(_json(rng, item, wild) for item in value)}]"
        case dict():
            members = [f"{json.dumps(str(key))}:{_json(rng, item, wild)}" for key, item in value.items()]
            if members and rng.random() < wild:
                members.append(rng.choice(members))
            return f"{{{','.join(members)}}}"
        case Nested(depth, in_maps):
            return ('{"a":' if in_maps else "[") * depth + "1" + ("}" if in_maps else "]") * depth
        case Claimed():
            return '"' + "A" * 5_000
        case Tagged():
            return rng.choice(("tru", "'x'", "1.", "-", "0x10", "01", "[1,]", "/**/1"))
        case bytes():
            return json.dumps(value.hex())
        case Undefined():
            return rng.choice(("undefined", "NaN", "-Infinity"))
        case int() if abs(value) > 10**300:
            return "9" * rng.choice((400, 4_000, 5_000))
    return json.dumps(value)


# Protobuf ---------------------------------------------------------------------------------------

_Field = list[Any]  # Number, wire type, value: an integer, bytes, or fields of a message.


def _fields(raw: bytes, depth: int = 0) -> list[_Field]:
    if depth == _DEPTH_MAX:
        raise Unreadable
    found: list[_Field] = []
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(raw, at)
            found.append([number, wire, value])
        elif wire == 2:
            size, at = _varint(raw, at)
            content = raw[at : at + size]
            if len(content) != size:
                raise Unreadable
            at += size
            found.append([number, wire, _nested_fields(content, depth + 1)])
        elif wire in (1, 5):
            width = 8 if wire == 1 else 4
            found.append([number, wire, raw[at : at + width]])
            at += width
        else:
            raise Unreadable
    return found


def _nested_fields(content: bytes, depth: int) -> Any:
    """A message, if it reads as one: nothing in the format tells it from bytes."""
    try:
        return _fields(content, depth) or content
    except Unreadable:
        return content


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(raw):
            raise Unreadable
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise Unreadable


def _changed_fields(rng: Random, fields: list[_Field]) -> list[_Field]:
    fields = [list(one) for one in fields]
    if not fields:
        return [[rng.randint(1, 20), 2, rng.randbytes(rng.randint(0, 9))]]
    at = rng.randrange(len(fields))
    chosen = fields[at]
    if isinstance(chosen[2], list) and rng.random() < 0.7:
        chosen[2] = _changed_fields(rng, chosen[2])
        return fields
    match rng.randrange(8):
        case 0:
            del fields[at]
        case 1:
            fields.insert(rng.randint(0, len(fields)), list(chosen))
        case 2:
            chosen[0] = rng.choice((0, 1, 2, 3, 4, 5, 8, 15, 16, 2**29 - 1))
        case 3:
            chosen[:] = [chosen[0], 0, rng.choice(INTEGERS[:-1]) & 2**64 - 1]
        case 4:
            chosen[:] = [chosen[0], 2, rng.choice((b"", b"\0" * 40, rng.randbytes(rng.randint(1, 64)), b"\xff" * 33))]
        case 5:
            rng.shuffle(fields)
        case 6:
            chosen[1] = rng.randrange(8)
        case _:
            fields += [list(one) for one in fields] * rng.choice((1, 8))
    return fields


def _write_fields(rng: Random, fields: list[_Field]) -> bytes:
    parts = []
    for number, wire, value in fields:
        content = _write_fields(rng, value) if isinstance(value, list) else value
        parts.append(_write_varint(number << 3 | wire))
        if isinstance(content, int):
            parts.append(_write_varint(content))
            continue
        size = len(content) if rng.random() >= _WILD / 2 else rng.choice((0, len(content) + 1, 2**31, 2**63))
        parts.append((_write_varint(size) if wire == 2 else b"") + content)
    return b"".join(parts)


def _write_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
