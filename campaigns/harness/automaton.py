"""Regular grammars as finite automata: pieces put together as ABNF writes them, and one walk along them.

A piece has one way in and one way out. ``Automaton`` keeps every state that the calls so far can have led to; a
sequence is a legal beginning as long as one is left.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise


@dataclass
class State:
    """A state: where each terminal leads, and where one may go without any."""

    on: "list[tuple[str, State]]" = field(default_factory=list)
    free: "list[State]" = field(default_factory=list)


@dataclass(frozen=True)
class Part:
    """A piece of grammar with one way in and one way out."""

    enter: State
    leave: State


def terminal(method: str) -> Part:
    """One terminal."""
    enter, leave = State(), State()
    enter.on.append((method, leave))
    return Part(enter, leave)


def seq(*parts: Part) -> Part:
    """One after the other."""
    for one, other in pairwise(parts):
        one.leave.free.append(other.enter)
    return Part(parts[0].enter, parts[-1].leave)


def either(*parts: Part) -> Part:
    """One of them: ``x / y``."""
    enter, leave = State(), State()
    enter.free += [part.enter for part in parts]
    for part in parts:
        part.leave.free.append(leave)
    return Part(enter, leave)


def many(part: Part) -> Part:
    """None or more: ``*x``."""
    enter, leave = State(), State()
    enter.free += [part.enter, leave]
    part.leave.free += [part.enter, leave]
    return Part(enter, leave)


def maybe(part: Part) -> Part:
    """None or one: ``[x]``."""
    part.enter.free.append(part.leave)
    return part


class Automaton:
    """Follows one run from a production on. ``take`` raises ValueError for a terminal that cannot come now."""

    def __init__(self, *starts: State) -> None:
        self._nodes = _closure(starts)

    @property
    def expected(self) -> tuple[str, ...]:
        """The terminals that may come now, in alphabetical order."""
        return tuple(sorted({method for node in self._nodes for method, _ in node.on}))

    def take(self, method: str) -> None:
        """Go on by one terminal."""
        after = [target for node in self._nodes for name, target in node.on if name == method]
        if not after:
            raise ValueError(f"expected one of {', '.join(self.expected)}")
        self._nodes = _closure(after)


def _closure(nodes: Iterable[State]) -> list[State]:
    found: dict[int, State] = {}
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if id(node) not in found:
            found[id(node)] = node
            waiting += node.free
    return list(found.values())
