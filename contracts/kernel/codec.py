"""Strict canonical bytes for records: DAG-CBOR out, and back in only what we would have written ourselves.

A record is a map from field name to value; every field is present. ``cbrrr`` refuses everything that is not
canonical (duplicate or unsorted keys, long forms, indefinite lengths, trailing bytes, foreign tags); this module
adds what a format cannot know: exact types, bounds, unknown fields, and no floats at all. The walk over decoded data
is directed by the record's own type, so its depth is the depth of our declarations and never the sender's choice.

A field that came with a later version of the rules (``since``) has a default, and is absent exactly where it has that
value. So bytes from before still decode, and a record that does not use the field has the bytes it always had. Under
older rules the field does not exist: whoever reads what a *sender* wrote names the version.
"""

import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import Enum, StrEnum
from functools import cache
from typing import Annotated, Any, ClassVar, NamedTuple, TypeVar, Union, get_args, get_origin

import cbrrr

from .cborcheck import CANONICAL, NOT_CANONICAL
from .crypto import SelfTestFailed
from .types import Items, Length, Packed, Range, Text

Plain = dict[str, Any]
_TAGGED = dict.fromkeys(("kind", "value"))
_SINCE = "since"
_EVERY = 2**31  # A version after all others: every field exists.
_ABSENT = object()
R = TypeVar("R")


class Fault(StrEnum):
    """What is wrong with a part. These words are facts of a refusal, and so part of the rules; prose is not."""

    ENCODING = "encoding"  # Not canonical DAG-CBOR.
    TEMPLATE = "template"  # Not the envelope's fixed form.
    TYPE = "type"
    RANGE = "range"
    LENGTH = "length"
    FORM = "form"  # Text of another alphabet or shape.
    CHOICE = "choice"
    MISSING = "missing"
    UNKNOWN = "unknown"
    DEFAULT = "default"  # Written where it has its default: there it is left out.


class Malformed(ValueError):
    """Bytes or values that are not the canonical form of what they claim to be: which part, and what is wrong with it.

    ``fault`` is the word for programs and for the ledger, ``why`` the sentence for people.
    """

    kind: ClassVar[str] = "usage"
    hint: ClassVar[str] = "Correct the named field; a name has lower-case letters, digits and hyphens."

    def __init__(self, field: str, why: str, fault: Fault = Fault.FORM) -> None:
        super().__init__(f"{field or 'value'}: {why}")
        self.field = field
        self.why = why
        self.fault = fault
        self.add_note(f"What to do: {self.hint}")

    def within(self, name: str) -> "Malformed":
        """The same fault, seen from what holds the value: ``within("terms")`` of ``clip`` is ``terms.clip``."""
        dot = "." if name and self.field and not self.field.startswith("[") else ""
        return Malformed(f"{name}{dot}{self.field}", self.why, self.fault)


@dataclass(frozen=True)
class Shape:
    """How one declared type is checked and turned into plain data, and back.

    The two conversions name a fault from their own value on; whoever calls one for a part puts the part's name before
    it, so that a path is only built when there is something to say. What ``to_plain`` gives is shared with the record
    it came from: look at it, do not change it.
    """

    to_plain: Callable[[Any], Any]
    of_plain: Callable[[Any], Any]
    description: str

    def pack(self, value: Any, field: str) -> Any:
        """The plain data of a value, the caller's own. Raises Malformed, its path beginning with ``field``."""
        try:
            return cbrrr.decode_dag_cbor(cbrrr.encode_dag_cbor(self.to_plain(value)))  # A copy, and a quick one.
        except Malformed as error:
            raise error.within(field) from None

    def unpack(self, value: Any, field: str) -> Any:
        """The value that plain data stands for. Raises Malformed, its path beginning with ``field``."""
        try:
            return self.of_plain(value)
        except Malformed as error:
            raise error.within(field) from None


def encode(record: object) -> bytes:
    """Canonical DAG-CBOR of a record. Raises Malformed when a field breaks its declared bounds."""
    return cbrrr.encode_dag_cbor(shape_of(type(record)).to_plain(record))


def decode(kind: type[R], raw: bytes, *, most: int) -> R:
    """Read a record from at most ``most`` bytes. Raises Malformed for anything ``encode`` would not have written."""
    record: R = shape_of(kind).of_plain(decode_plain(raw, most=most))
    return record


def decode_plain(raw: bytes, *, most: int) -> Any:
    """Read any DAG-CBOR value; the caller checks what it holds before it looks inside."""
    if len(raw) > most:
        raise Malformed("", f"{len(raw)} bytes, at most {most} are allowed", Fault.LENGTH)
    try:
        return cbrrr.decode_dag_cbor(bytes(raw))
    except (cbrrr.CbrrrDecodeError, ValueError) as error:
        raise Malformed("", "not canonical DAG-CBOR", Fault.ENCODING) from error


def encode_plain(value: Any) -> bytes:
    """Canonical DAG-CBOR of plain data that was already checked."""
    return cbrrr.encode_dag_cbor(value)


def self_test() -> None:
    """Hold the library to what it must write, what it must read, and what it must refuse. Raises SelfTestFailed."""
    for raw, value in CANONICAL:
        if cbrrr.encode_dag_cbor(value) != raw or cbrrr.decode_dag_cbor(raw) != value:
            raise SelfTestFailed(f"DAG-CBOR: {raw.hex()} must be what {value!r} is written as, and read as")
    for raw, sin in NOT_CANONICAL:
        try:
            decode_plain(raw, most=len(raw))
        except Malformed:
            continue
        raise SelfTestFailed(f"DAG-CBOR: {raw.hex()} must be refused: {sin}")


def since(version: int, *, default: Any) -> Any:
    """Declare a field that a record has from a version of the rules on; ``default`` is what its absence means.

    Such fields come last. ``licence: Label = since(2, default="")``.
    """
    return field(default=default, metadata={_SINCE: version})


def since_of(kind: type) -> dict[str, int]:
    """The fields of a record that came with a later version of the rules, and with which."""
    return {each.name: each.metadata[_SINCE] for each in fields(kind) if _SINCE in each.metadata}


def shape_of(annotation: Any, version: int = _EVERY) -> Shape:
    """The shape of a declared type, made once. Raises TypeError for a type without bounds.

    With ``version``, what is read may use only fields that exist under the rules of that version.
    """
    return _shape_of(annotation, version)


@cache
def _shape_of(annotation: Any, version: int) -> Shape:
    origin = get_origin(annotation)
    if origin is Annotated:
        kind, bound = get_args(annotation)
        return _bounded(kind, bound, version)
    if origin in (Union, types.UnionType):
        return _union(get_args(annotation), version)
    if annotation is bool:
        return Shape(*(_exactly(bool),) * 2, "bool")
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _enum(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Packed):
        return _packed(annotation)
    if isinstance(annotation, type) and hasattr(annotation, "__dataclass_fields__"):
        return _record(annotation, version)
    raise TypeError(f"{annotation!r} has no declared bounds and cannot be part of a record")


def _exactly(kind: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if type(value) is not kind:
            raise Malformed("", f"must be {kind.__name__}", Fault.TYPE)
        return value

    return check


def _bounded(kind: Any, bound: object, version: int) -> Shape:
    if kind is int and isinstance(bound, Range):
        return _integer(bound)
    if kind is str and isinstance(bound, Text):
        return _text(bound)
    if kind is bytes and isinstance(bound, Length):
        return _bytes(bound)
    if get_origin(kind) is tuple and isinstance(bound, Items):
        return _tuple(get_args(kind)[0], bound, version)
    raise TypeError(f"{kind!r} cannot be bounded by {bound!r}")


def _integer(bound: Range) -> Shape:
    low, high = bound.low, bound.high

    def check(value: Any) -> int:
        if type(value) is not int:
            raise Malformed("", "must be an integer", Fault.TYPE)
        if not low <= value <= high:
            raise Malformed("", f"must be between {low} and {high}", Fault.RANGE)
        return value

    return Shape(check, check, f"int {low}..{high}")


def _text(bound: Text) -> Shape:
    longest, fullmatch = bound.longest, bound.pattern.fullmatch

    def check(value: Any) -> str:
        if not isinstance(value, str):
            raise Malformed("", "must be text", Fault.TYPE)
        if len(value) > longest:
            raise Malformed("", f"must have at most {longest} characters", Fault.LENGTH)
        if fullmatch(value) is None:
            raise Malformed("", f"must match {bound.pattern.pattern}", Fault.FORM)
        return value

    return Shape(check, check, f"text, at most {longest}")


def _bytes(bound: Length) -> Shape:
    low, high = bound.low, bound.high

    def check(value: Any) -> bytes:
        if type(value) is not bytes:
            raise Malformed("", "must be bytes", Fault.TYPE)
        if not low <= len(value) <= high:
            raise Malformed("", f"must have {low} to {high} bytes", Fault.LENGTH)
        return value

    size = str(low) if low == high else f"{low}..{high}"
    return Shape(check, check, f"bytes {size}")


def _packed(kind: type[Packed]) -> Shape:
    as_bytes = _bytes(Length(kind.SIZE, kind.SIZE))

    def to_plain(value: Any) -> bytes:
        if type(value) is not kind:
            raise Malformed("", f"must be a {kind.__name__}", Fault.TYPE)
        return bytes(value)

    def of_plain(value: Any) -> Packed:
        raw = as_bytes.of_plain(value)
        try:
            return kind.of_bytes(raw)
        except ValueError as error:
            raise Malformed("", str(error), Fault.RANGE) from error

    return Shape(to_plain, of_plain, f"{kebab(kind.__name__)}, {as_bytes.description}")


def _tuple(of: Any, bound: Items, version: int) -> Shape:
    item = shape_of(of, version)

    def each(convert: Callable[[Any], Any], value: Any, kind: type[list[Any]] | type[tuple[Any, ...]]) -> list[Any]:
        if not isinstance(value, kind):
            raise Malformed("", "must be a list", Fault.TYPE)
        if not bound.low <= len(value) <= bound.high:
            raise Malformed("", f"must have {bound.low} to {bound.high} items", Fault.LENGTH)
        converted: list[Any] = []
        try:
            for entry in value:
                converted.append(convert(entry))  # noqa: PERF401 - the length says which item was at fault.
        except Malformed as error:
            raise error.within(f"[{len(converted)}]") from None
        return converted

    def to_plain(value: Any) -> list[Any]:
        return each(item.to_plain, value, tuple)

    def of_plain(value: Any) -> tuple[Any, ...]:
        return tuple(each(item.of_plain, value, list))

    return Shape(to_plain, of_plain, f"list of {item.description}, {bound.low}..{bound.high}")


def _enum(kind: type[Enum]) -> Shape:
    members = {member.value: member for member in kind}

    def to_plain(value: Any) -> Any:
        if not isinstance(value, kind):
            raise Malformed("", f"must be one of {', '.join(members)}", Fault.CHOICE)
        return value.value

    def of_plain(value: Any) -> Enum:
        if type(value) is not str or value not in members:
            raise Malformed("", f"must be one of {', '.join(members)}", Fault.CHOICE)
        return members[value]

    return Shape(to_plain, of_plain, " / ".join(members))


def _union(options: tuple[Any, ...], version: int) -> Shape:
    if types.NoneType in options:
        rest = tuple(option for option in options if option is not types.NoneType)
        return _optional(shape_of(rest[0], version) if len(rest) == 1 else _tagged(rest, version))
    return _tagged(options, version)


def _optional(inner: Shape) -> Shape:
    def to_plain(value: Any) -> Any:
        return None if value is None else inner.to_plain(value)

    def of_plain(value: Any) -> Any:
        return None if value is None else inner.of_plain(value)

    return Shape(to_plain, of_plain, f"{inner.description}, or null")


def _tagged(options: tuple[type, ...], version: int) -> Shape:
    """A closed choice of records, written as ``{"kind": tag, "value": record}``."""
    by_tag = {kebab(option.__name__): option for option in options}
    shapes = {tag: shape_of(option, version) for tag, option in by_tag.items()}
    tags = {option: tag for tag, option in by_tag.items()}

    def to_plain(value: Any) -> Plain:
        if type(value) not in tags:
            raise Malformed("", f"must be one of {', '.join(by_tag)}", Fault.TYPE)
        tag = tags[type(value)]
        return {"kind": tag, "value": shapes[tag].pack(value, tag)}

    def of_plain(value: Any) -> Any:
        if not isinstance(value, dict) or value.keys() != _TAGGED.keys():
            raise Malformed("", "must be a map of kind and value", Fault.TYPE)
        tag = value["kind"]
        if type(tag) is not str or tag not in shapes:
            raise Malformed("kind", f"must be one of {', '.join(by_tag)}", Fault.CHOICE)
        return shapes[tag].unpack(value["value"], tag)

    return Shape(to_plain, of_plain, " / ".join(by_tag))


class _Fields(NamedTuple):
    """The fields of a record: how each is written, how each that a version knows is read, and what may be absent."""

    writers: list[tuple[str, Callable[[Any], Any], Any]]
    readers: list[tuple[str, Callable[[Any], Any]]]
    known: dict[str, None]
    always: dict[str, None]
    defaults: Plain

    @classmethod
    def of(cls, kind: type, version: int) -> "_Fields":
        hints = typing.get_type_hints(kind, include_extras=True)
        shapes = {each.name: shape_of(hints[each.name], version) for each in fields(kind)}
        later = since_of(kind)
        defaults = {each.name: each.default for each in fields(kind) if each.name in later}
        known = dict.fromkeys(name for name in shapes if later.get(name, 0) <= version)
        return cls(
            [(name, shape.to_plain, defaults.get(name, _ABSENT)) for name, shape in shapes.items()],
            [(name, shapes[name].of_plain) for name in known],
            known,
            dict.fromkeys(name for name in known if name not in later),
            defaults,
        )


def _record(kind: type, version: int) -> Shape:
    declared = _Fields.of(kind, version)
    return Shape(_writing(kind, declared), _reading(kind, declared), kind.__name__)


def _writing(kind: type, declared: _Fields) -> Callable[[Any], Plain]:
    writers = declared.writers

    def to_plain(value: Any) -> Plain:
        if type(value) is not kind:
            raise Malformed("", f"must be a {kind.__name__}", Fault.TYPE)
        plain: Plain = {}
        name = ""
        try:
            for name, convert, default in writers:
                held = getattr(value, name)
                if default is _ABSENT or held != default:
                    plain[name] = convert(held)
        except Malformed as error:
            raise error.within(name) from None
        return plain

    return to_plain


def _reading(kind: type, declared: _Fields) -> Callable[[Any], Any]:
    _, readers, known, always, defaults = declared

    def of_plain(value: Any) -> Any:
        if not isinstance(value, dict):
            raise Malformed("", f"must be a map of {kind.__name__}", Fault.TYPE)
        if value.keys() == known.keys():
            present = readers
        else:
            _require_names(value, always, known)
            present = [(name, convert) for name, convert in readers if name in value]
        values: Plain = {}
        name = ""
        try:
            for name, convert in present:
                values[name] = convert(value[name])
        except Malformed as error:
            raise error.within(name) from None
        if defaults:
            _require_no_default(values, defaults)
        return kind(**values)

    return of_plain


def _require_names(value: Plain, always: dict[str, None], known: dict[str, None]) -> None:
    """A map has every field that is always there, and none that is not known."""
    missing = sorted(name for name in always if name not in value)
    if missing:
        raise Malformed(missing[0], "is missing", Fault.MISSING)
    if not value.keys() <= known.keys():
        raise Malformed("*", "unknown field", Fault.UNKNOWN)


def _require_no_default(values: Plain, defaults: Plain) -> None:
    """Absence is the one way to write a default: one record has one form."""
    for name, value in values.items():
        if value == defaults.get(name, _ABSENT):
            raise Malformed(name, "is left out where it has its default", Fault.DEFAULT)


def kebab(name: str) -> str:
    """``OpenTask`` → ``open-task``: how classes are named on the wire."""
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")
