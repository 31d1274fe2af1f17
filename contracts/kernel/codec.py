"""Strict canonical bytes for records: DAG-CBOR out, and back in only what we would have written ourselves.

A record is a map from field name to value; every field is present. ``cbrrr`` refuses everything that is not
canonical (duplicate or unsorted keys, long forms, indefinite lengths, trailing bytes, foreign tags); this module
adds what a format cannot know: exact types, bounds, unknown fields, and no floats at all. The walk over decoded data
is directed by the record's own type, so its depth is the depth of our declarations and never the sender's choice.
"""

import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import Enum
from functools import cache
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import cbrrr

from .types import Items, Length, Range, Text

Plain = dict[str, Any]
_TAGGED = dict.fromkeys(("kind", "value"))
R = TypeVar("R")


class Malformed(ValueError):
    """Bytes or values that are not the canonical form of what they claim to be."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field or 'value'}: {why}")
        self.field = field
        self.why = why


@dataclass(frozen=True)
class Shape:
    """How one declared type is checked and turned into plain data, and back."""

    pack: Callable[[Any, str], Any]
    unpack: Callable[[Any, str], Any]
    description: str


def encode(record: object) -> bytes:
    """Canonical DAG-CBOR of a record. Raises Malformed when a field breaks its declared bounds."""
    return cbrrr.encode_dag_cbor(shape_of(type(record)).pack(record, ""))


def decode(kind: type[R], raw: bytes, *, most: int) -> R:
    """Read a record from at most ``most`` bytes. Raises Malformed for anything ``encode`` would not have written."""
    record: R = shape_of(kind).unpack(decode_plain(raw, most=most), "")
    return record


def decode_plain(raw: bytes, *, most: int) -> Any:
    """Read any DAG-CBOR value; the caller checks what it holds before it looks inside."""
    if len(raw) > most:
        raise Malformed("", f"{len(raw)} bytes, at most {most} are allowed")
    try:
        return cbrrr.decode_dag_cbor(bytes(raw))
    except (cbrrr.CbrrrDecodeError, ValueError) as error:
        raise Malformed("", "not canonical DAG-CBOR") from error


def encode_plain(value: Any) -> bytes:
    """Canonical DAG-CBOR of plain data that was already checked."""
    return cbrrr.encode_dag_cbor(value)


def shape_of(annotation: Any) -> Shape:
    """The shape of a declared type, made once. Raises TypeError for a type without bounds."""
    return _shape_of(annotation)


@cache
def _shape_of(annotation: Any) -> Shape:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _bounded(*get_args(annotation))
    if origin in (Union, types.UnionType):
        return _union(get_args(annotation))
    if annotation is bool:
        return Shape(*(_exactly(bool),) * 2, "bool")
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _enum(annotation)
    if isinstance(annotation, type) and hasattr(annotation, "__dataclass_fields__"):
        return _record(annotation)
    raise TypeError(f"{annotation!r} has no declared bounds and cannot be part of a record")


def _exactly(kind: type) -> Callable[[Any, str], Any]:
    def check(value: Any, field: str) -> Any:
        if type(value) is not kind:
            raise Malformed(field, f"must be {kind.__name__}")
        return value

    return check


def _bounded(kind: Any, bound: object) -> Shape:
    if kind is int and isinstance(bound, Range):
        return _integer(bound)
    if kind is str and isinstance(bound, Text):
        return _text(bound)
    if kind is bytes and isinstance(bound, Length):
        return _bytes(bound)
    if get_origin(kind) is tuple and isinstance(bound, Items):
        return _tuple(shape_of(get_args(kind)[0]), bound)
    raise TypeError(f"{kind!r} cannot be bounded by {bound!r}")


def _integer(bound: Range) -> Shape:
    def check(value: Any, field: str) -> int:
        if type(value) is not int:
            raise Malformed(field, "must be an integer")
        if not bound.low <= value <= bound.high:
            raise Malformed(field, f"must be between {bound.low} and {bound.high}")
        return value

    return Shape(check, check, f"int {bound.low}..{bound.high}")


def _text(bound: Text) -> Shape:
    def check(value: Any, field: str) -> str:
        if not isinstance(value, str):
            raise Malformed(field, "must be text")
        if len(value) > bound.longest:
            raise Malformed(field, f"must have at most {bound.longest} characters")
        if bound.pattern.fullmatch(value) is None:
            raise Malformed(field, f"must match {bound.pattern.pattern}")
        return value

    return Shape(check, check, f"text, at most {bound.longest}")


def _bytes(bound: Length) -> Shape:
    def check(value: Any, field: str) -> bytes:
        if type(value) is not bytes:
            raise Malformed(field, "must be bytes")
        if not bound.low <= len(value) <= bound.high:
            raise Malformed(field, f"must have {bound.low} to {bound.high} bytes")
        return value

    size = str(bound.low) if bound.low == bound.high else f"{bound.low}..{bound.high}"
    return Shape(check, check, f"bytes {size}")


def _tuple(item: Shape, bound: Items) -> Shape:
    def sized(value: Any, kind: type[list[Any]] | type[tuple[Any, ...]], field: str) -> Any:
        if not isinstance(value, kind):
            raise Malformed(field, "must be a list")
        if not bound.low <= len(value) <= bound.high:
            raise Malformed(field, f"must have {bound.low} to {bound.high} items")
        return value

    def pack(value: Any, field: str) -> list[Any]:
        return [item.pack(entry, f"{field}[{i}]") for i, entry in enumerate(sized(value, tuple, field))]

    def unpack(value: Any, field: str) -> tuple[Any, ...]:
        return tuple(item.unpack(entry, f"{field}[{i}]") for i, entry in enumerate(sized(value, list, field)))

    return Shape(pack, unpack, f"list of {item.description}, {bound.low}..{bound.high}")


def _enum(kind: type[Enum]) -> Shape:
    members = {member.value: member for member in kind}

    def pack(value: Any, field: str) -> Any:
        if not isinstance(value, kind):
            raise Malformed(field, f"must be one of {', '.join(members)}")
        return value.value

    def unpack(value: Any, field: str) -> Enum:
        if type(value) is not str or value not in members:
            raise Malformed(field, f"must be one of {', '.join(members)}")
        return members[value]

    return Shape(pack, unpack, " / ".join(members))


def _union(options: tuple[Any, ...]) -> Shape:
    if types.NoneType in options:
        rest = tuple(option for option in options if option is not types.NoneType)
        return _optional(shape_of(rest[0]) if len(rest) == 1 else _tagged(rest))
    return _tagged(options)


def _optional(inner: Shape) -> Shape:
    def pack(value: Any, field: str) -> Any:
        return None if value is None else inner.pack(value, field)

    def unpack(value: Any, field: str) -> Any:
        return None if value is None else inner.unpack(value, field)

    return Shape(pack, unpack, f"{inner.description}, or null")


def _tagged(options: tuple[type, ...]) -> Shape:
    """A closed choice of records, written as ``{"kind": tag, "value": record}``."""
    by_tag = {kebab(option.__name__): option for option in options}
    shapes = {tag: shape_of(option) for tag, option in by_tag.items()}
    tags = {option: tag for tag, option in by_tag.items()}

    def pack(value: Any, field: str) -> Plain:
        if type(value) not in tags:
            raise Malformed(field, f"must be one of {', '.join(by_tag)}")
        tag = tags[type(value)]
        return {"kind": tag, "value": shapes[tag].pack(value, f"{field}.{tag}")}

    def unpack(value: Any, field: str) -> Any:
        if not isinstance(value, dict) or value.keys() != _TAGGED.keys():
            raise Malformed(field, "must be a map of kind and value")
        tag = value["kind"]
        if type(tag) is not str or tag not in shapes:
            raise Malformed(f"{field}.kind", f"must be one of {', '.join(by_tag)}")
        return shapes[tag].unpack(value["value"], f"{field}.{tag}")

    return Shape(pack, unpack, " / ".join(by_tag))


def _record(kind: type) -> Shape:
    hints = typing.get_type_hints(kind, include_extras=True)
    names = [field.name for field in fields(kind)]
    shapes = [(name, shape_of(hints[name])) for name in names]
    expected = dict.fromkeys(names)

    def pack(value: Any, field: str) -> Plain:
        if type(value) is not kind:
            raise Malformed(field, f"must be a {kind.__name__}")
        prefix = f"{field}." if field else ""
        return {name: shape.pack(getattr(value, name), prefix + name) for name, shape in shapes}

    def unpack(value: Any, field: str) -> Any:
        if not isinstance(value, dict):
            raise Malformed(field, f"must be a map of {kind.__name__}")
        prefix = f"{field}." if field else ""
        if value.keys() != expected.keys():
            missing = sorted(name for name in names if name not in value)
            raise Malformed(prefix + (missing[0] if missing else "*"), "is missing" if missing else "unknown field")
        return kind(**{name: shape.unpack(value[name], prefix + name) for name, shape in shapes})

    return Shape(pack, unpack, kind.__name__)


def kebab(name: str) -> str:
    """``OpenTask`` → ``open-task``: how classes are named on the wire."""
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")
