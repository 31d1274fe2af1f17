"""The grammar of the rules: Record, Message, Event, Rejected, Context, Outcome, Contract.

Everything is declared once, as a typed object beside the rule that uses it; tags, codes and event attributes are
derived from the declaration. A handler is ``f(view, message, context) -> Outcome``: checks first, effect last, no
mutation, no I/O. What it may know arrives in ``context``: nothing is ambient.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, ClassVar, TypeVar, dataclass_transform

from . import codec
from .state import Item, Key, Map, View, Write
from .types import Count, Height, Purpose, Role

R = TypeVar("R")
Fact = int | str | bytes

# Everything that was ever declared, under any rules: a tag or a code means one thing for good. What is in force is the
# business of ``contracts.rulebook``.
_MESSAGES: dict[str, type["Message"]] = {}
_EVENTS: dict[str, type["Event"]] = {}
_REFUSALS: dict[int, type["Rejected"]] = {}


@dataclass_transform(frozen_default=True, field_specifiers=(codec.since,))
class Record:
    """Frozen typed data with one canonical encoding. Subclasses need no decorator."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        dataclass(frozen=True)(cls)

    def encode(self) -> bytes:
        """Canonical DAG-CBOR. Raises Malformed when a field breaks its declared bounds."""
        return codec.encode(self)


class Place(Record):
    """Where a transaction stands in the ledger: the height of its block, and its index in it, from 0."""

    height: Height
    index: Count

    def precedes(self, other: "Place") -> bool:
        """Whether this comes first. Nothing comes before itself."""
        return (self.height, self.index) < (other.height, other.index)


class Lane(IntEnum):
    """The order in which a proposer includes waiting transactions: lower first."""

    SAFETY = 0  # Revocation and quarantine.
    GOVERNANCE = 1
    ROUND = 2
    CONTRIBUTION = 3


class Message(Record):
    """A record somebody signs. The key's purpose and the organisation's role are checked before its handler runs."""

    tag: ClassVar[str]
    purpose: ClassVar[Purpose]
    role: ClassVar[Role | None]
    lane: ClassVar[Lane]
    while_suspended: ClassVar[bool]  # Whether a suspended member may send it, too: what keeps harm from others.

    def __init_subclass__(
        cls, *, purpose: Purpose, role: Role | None = None, lane: Lane, while_suspended: bool = False, **options: Any
    ) -> None:
        super().__init_subclass__(**options)
        cls.tag = _own_tag(cls, _MESSAGES)
        cls.purpose, cls.role, cls.lane, cls.while_suspended = purpose, role, lane, while_suspended


class Event(Record):
    """What happened. Its ABCI type and attributes are derived from its name and fields."""

    tag: ClassVar[str]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.tag = _own_tag(cls, _EVENTS)

    def attributes(self) -> tuple[tuple[str, str], ...]:
        """Names and texts of the fields, for the node's index: bytes as hex."""
        return tuple((field.name, text(getattr(self, field.name))) for field in fields(self))


class Rejected(Exception):
    """A refusal: a fixed code that is never reused, what it means, what to do next, and the facts.

    The first line of a subclass's docstring is its row in the documentation; ``hint`` tells the sender what to do, and
    stands in every traceback.
    """

    kind: ClassVar[str] = "refused"
    code: ClassVar[int]
    hint: ClassVar[str]

    def __init_subclass__(cls, *, code: int, hint: str, **options: Any) -> None:
        super().__init_subclass__(**options)
        if code in _REFUSALS:
            raise TypeError(f"code {code} is taken by {_REFUSALS[code].__name__}")
        if not cls.__doc__:
            raise TypeError(f"{cls.__name__} has no docstring: it is the code's line in the documentation")
        cls.code, cls.hint = code, hint
        _REFUSALS[code] = cls

    def __init__(self, **facts: Fact) -> None:
        super().__init__(facts)
        self.facts = facts
        self.add_note(f"What to do: {self.hint}")

    def __str__(self) -> str:
        facts = ", ".join(f"{name}={text(value)}" for name, value in self.facts.items())
        return f"{self.name}({facts})"

    @property
    def name(self) -> str:
        """The refusal as people see it: ``BUDGET_EXCEEDED``."""
        return name_of(type(self))

    @classmethod
    def meaning(cls) -> str:
        """The first line of the docstring."""
        return (inspect.getdoc(cls) or "").splitlines()[0]


@dataclass(frozen=True)
class Context:
    """All a handler may know besides state and message. ``genesis`` is what proofs of possession are bound to."""

    genesis: bytes
    height: int
    index: int
    time_ms: int
    sender: bytes
    organisation: str
    roles: tuple[Role, ...]

    @property
    def place(self) -> Place:
        """Where the transaction stands that is being decided."""
        return Place(self.height, self.index)


@dataclass(frozen=True)
class Outcome:
    """What a handler wants written and announced. Outcomes add up; their paths must not overlap."""

    writes: tuple[Write, ...] = ()
    events: tuple[Event, ...] = ()

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(self.writes + other.writes, self.events + other.events)


Handler = Callable[[View, Any, Context], Outcome]


@dataclass(frozen=True)
class Contract:
    """One contract: its place in the order, what it stores and what it handles."""

    name: str
    number: int  # Codes of its refusals are number * 100 + 1, 2, 3, …
    state: tuple[Map[Any], ...]
    handlers: Mapping[type[Message], Handler]
    modules: tuple[str, ...]  # Where its messages, refusals and events are declared.

    def refusals(self) -> tuple[type[Rejected], ...]:
        """The refusals that this contract declares, by code."""
        return refusals_of(*self.modules)

    def messages(self) -> tuple[type[Message], ...]:
        """The messages that this contract declares, by tag."""
        mine = (message for message in _MESSAGES.values() if message.__module__ in self.modules)
        return tuple(sorted(mine, key=lambda message: message.tag))

    def events(self) -> tuple[type[Event], ...]:
        """The events that this contract declares, by tag."""
        mine = (event for event in _EVENTS.values() if event.__module__ in self.modules)
        return tuple(sorted(mine, key=lambda event: event.tag))


def refusals_of(*modules: str) -> tuple[type[Rejected], ...]:
    """The refusals that modules declare, by code."""
    mine = (refusal for refusal in _REFUSALS.values() if refusal.__module__ in modules)
    return tuple(sorted(mine, key=lambda refusal: refusal.code))


def require(condition: bool, refusal: Callable[[], Rejected]) -> None:
    """Raise the refusal unless the condition holds; the facts are only gathered when they are needed."""
    if not condition:
        raise refusal()


def found(item: Map[R], view: View, key: Key, refusal: Callable[[], Rejected]) -> R:
    """The record at a key the sender named, or the refusal."""
    record = item.get(view, key)
    if record is None:
        raise refusal()
    return record


def name_of(refusal: type[Rejected]) -> str:
    """``BudgetExceeded`` → ``BUDGET_EXCEEDED``."""
    return codec.kebab(refusal.__name__).replace("-", "_").upper()


def text(value: Any) -> str:
    """How a fact or an attribute reads: bytes as hex, lists by commas."""
    return ",".join(map(_word, value)) if isinstance(value, tuple) else _word(value)


def _word(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _own_tag(cls: type, taken: dict[str, Any]) -> str:
    tag = f"{cls.__module__.rsplit('.', 1)[-1]}/{codec.kebab(cls.__name__)}"
    if tag in taken:
        raise TypeError(f"the tag {tag} is taken")
    taken[tag] = cls
    return tag


__all__ = [
    "Context", "Contract", "Event", "Fact", "Handler", "Item", "Lane", "Map", "Message", "Outcome", "Place",
    "Record", "Rejected", "found", "name_of", "refusals_of", "require", "text",
]  # fmt: skip
