"""Plain data made wrong in one place: the part of a mutation that knows what values mean.

``changed`` takes what a CBOR or JSON document holds and gives a copy in which one value was replaced, dropped, doubled
or moved. What no reader may take is written as a ``Nested`` or a ``Claimed``: the writers (``dialects``) spell it out.
"""

from dataclasses import dataclass
from random import Random
from typing import Any

INTEGERS = (
    *(0, 1, -1, 23, 24, 127, 128, 255, 256, 65_535, 65_536, 2**31 - 1, 2**31, -(2**31), 2**32 - 1, 2**32),
    *(2**53, 2**53 + 1, 2**62, 2**62 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, 10**19, 10**400),
)
TEXTS = (
    *("", "x", "0", "-0", "1e9", "a" * 300, "b" * 60, "../../etc/passwd", "x:00", "%s%n", "\0", "\r\n", "null", "True"),
    *("é", "ı", "ſ", "\u202e", "\ud800", "\U0001f600", "１", "self", "__class__", "kind", "value"),
)
DEPTHS = (2, 16, 200, 1_000, 5_000, 40_000)


@dataclass(frozen=True)
class Nested:
    """Lists, or maps with one key, within each other."""

    depth: int
    in_maps: bool


@dataclass(frozen=True)
class Claimed:
    """A string, list or map that says it has ``length`` parts, of which none follow."""

    major: int
    length: int


@dataclass(frozen=True)
class Tagged:
    """A value under a CBOR tag."""

    number: int
    value: Any


class Undefined:
    """CBOR's other nothing."""


def stranger(rng: Random) -> Any:
    """A value of some kind, at some edge of it."""
    kind = rng.randrange(14)
    if kind < 4:
        return rng.choice(INTEGERS)
    if kind < 6:
        return rng.choice(TEXTS)
    if kind == 6:
        return rng.randbytes(rng.choice((0, 1, 16, 31, 32, 33, 63, 64, 65, 300)))
    if kind == 7:
        return rng.choice((None, True, False, Undefined()))
    if kind == 8:
        return rng.choice((0.0, -0.0, 1.5, 1e300, float("inf"), float("nan")))
    if kind == 9:
        return rng.choice(([], {}, [[]], {"": None}, [0] * 300, {str(n): n for n in range(40)}))
    if kind == 10:
        return Nested(rng.choice(DEPTHS), in_maps=rng.random() < 0.3)
    if kind == 11:
        return Claimed(rng.choice((2, 3, 4, 5)), rng.choice((1, 2**16, 2**31, 2**32 - 1, 2**63, 2**64 - 1)))
    if kind == 12:
        return Tagged(
            rng.choice((0, 2, 18, 25, 28, 29, 42, 55799)), rng.choice((0, b"\0" * 37, "x", [b"", {}, b"", b""]))
        )
    return rng.randrange(-(2**40), 2**40)


def changed(rng: Random, tree: Any) -> Any:
    """A copy with one change somewhere. The tree's own values are not touched."""
    copy = _copied(tree)
    places = _places(copy)
    if not places:
        return stranger(rng)
    holder, key = rng.choice(places)
    action = rng.randrange(9)
    if action < 3:
        holder[key] = stranger(rng)
    elif action == 3:
        del holder[key]
    elif action == 4:
        other, where = rng.choice(places)
        holder[key] = _copied(other[where])
    elif action == 5:
        holder[key] = _near(rng, holder[key])
    elif isinstance(holder, list):
        holder.insert(key, _copied(holder[key]) if action < 8 else stranger(rng))
    elif action == 6:
        holder[rng.choice(TEXTS)] = stranger(rng)
    else:
        holder[rng.choice(TEXTS) if action == 7 else f"{key}x"] = holder.pop(key)
    return copy


def _near(rng: Random, value: Any) -> Any:
    """A value of the same kind that is a little off."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int):
        return value + rng.choice((-1, 1, 2**32, 2**64))
    if isinstance(value, str):
        at = rng.randint(0, len(value))
        return rng.choice((value[:at], value.upper(), f"{value[:at]}{rng.choice(TEXTS)}{value[at:]}", value * 2))
    if isinstance(value, bytes):
        at = rng.randint(0, len(value))
        return rng.choice((value[:at], value + b"\0", value[:at] + rng.randbytes(1) + value[at + 1 :], value * 2))
    if isinstance(value, list):
        return rng.choice((value[::-1], value * 2, value[1:], {str(n): item for n, item in enumerate(value)}))
    if isinstance(value, dict):
        return rng.choice((list(value), list(value.values()), dict(reversed(value.items()))))
    return stranger(rng)


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every value in the tree, as what holds it and under which key or index."""
    places: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            places.append((holder, key))
            waiting.append(holder[key])
        if isinstance(holder, Tagged):
            waiting.append(holder.value)
    return places


def _copied(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _copied(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_copied(value) for value in tree]
    return Tagged(tree.number, _copied(tree.value)) if isinstance(tree, Tagged) else tree
