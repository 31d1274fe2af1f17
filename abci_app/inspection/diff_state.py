"""Where the states of two nodes differ: since which height, in which contracts, and at which keys.

The recorded hashes tell the height, by bisection: it supposes that contracts which differ go on to differ, as hashes of
states that have parted do. The entries tell the keys, where both nodes still have the version of a common height.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby
from typing import ClassVar, NamedTuple

from contracts.kernel import Record

from .sources import HeightNotKept, Source
from .stored_records import decoded


class NoCommonHeight(Exception):
    """There is no height at which both nodes can be compared."""

    kind: ClassVar[str] = "refused"
    hint = "Compare nodes of one chain that have both committed blocks, and have kept the hashes of the same ones."


@dataclass(frozen=True, slots=True)
class Since:
    """A contract whose hashes differ, and the first height at which they do."""

    contract: str
    height: int
    known: bool
    """False when they differ already at the oldest height that both have recorded."""


class KeyDifference(NamedTuple):
    """A key with its values: records, or bytes that are none; None where a node has nothing."""

    path: bytes
    a: Record | bytes | None
    b: Record | bytes | None


@dataclass(slots=True)
class Difference:
    """What the comparison found. ``first`` is the first differing key in byte order."""

    height: int
    since: list[Since] = field(default_factory=list)
    first: KeyDifference | None = None
    only_a: int = 0
    only_b: int = 0
    changed: int = 0
    not_compared: str = ""
    """Why no keys were compared, where the hashes alone speak."""

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.since and self.first is None


def compare(a: Source, b: Source) -> Difference:
    """Compare two nodes at the newest height that both have. Raises NoCommonHeight, SourceFailed, Damaged."""
    height = min(a.newest, b.newest)
    if height == 0:
        raise NoCommonHeight(f"{a.name} is at height {a.newest}, {b.name} at {b.newest}")
    if a.chain_id != b.chain_id:
        raise NoCommonHeight(f"{a.name} is of the chain {a.chain_id!r}, {b.name} of {b.chain_id!r}")
    found = Difference(height)
    found.since = _since(a, b, height)
    if a.whole and b.whole:
        _compare_entries(found, a, b, [b""])  # Also where the hashes agree: they are records, not the state.
    else:
        _compare_entries(found, a, b, [f"{one.contract}/".encode("ascii") for one in found.since])
    if found.not_compared and not found.since:
        for source in (a, b):  # The hashes agree: they speak for the entries of a node only if they are of them.
            source.require_sound()
    return found


def _since(a: Source, b: Source, height: int) -> list[Since]:
    try:
        ours, theirs = a.roots(height), b.roots(height)
    except HeightNotKept as error:
        raise NoCommonHeight(str(error)) from error
    oldest = max(ours.oldest, theirs.oldest)
    if oldest > height:
        raise NoCommonHeight(f"the oldest height that both have recorded is {oldest}, the newest {height}")
    return [_bisected(a, b, name, oldest, height) for name in _differing(ours.roots, theirs.roots)]


def _bisected(a: Source, b: Source, contract: str, oldest: int, newest: int) -> Since:
    """The first height at which a contract differs that differs at the newest."""

    def differs(height: int) -> bool:
        return a.roots(height).roots.get(contract) != b.roots(height).roots.get(contract)

    if differs(oldest):
        return Since(contract, oldest, known=oldest == 1)
    same = oldest
    while newest - same > 1:
        middle = (same + newest) // 2
        same, newest = (same, middle) if differs(middle) else (middle, newest)
    return Since(contract, newest, known=True)


def _differing(ours: dict[str, bytes], theirs: dict[str, bytes]) -> list[str]:
    names = dict.fromkeys((*ours, *theirs))
    return [name for name in names if ours.get(name) != theirs.get(name)]


def _compare_entries(found: Difference, a: Source, b: Source, prefixes: list[bytes]) -> None:
    try:
        for prefix in prefixes:
            pairs = _paired(a.entries(found.height, prefix), b.entries(found.height, prefix))
            for path, ours, theirs in pairs:
                if ours == theirs:
                    continue
                found.only_a += theirs is None
                found.only_b += ours is None
                found.changed += ours is not None and theirs is not None
                if found.first is None or path < found.first.path:
                    found.first = KeyDifference(path, decoded(a.rules, path, ours), decoded(b.rules, path, theirs))
    except HeightNotKept as error:
        found.not_compared = f"{error}, and the keys are compared at {found.height}"


def _paired(
    ours: Iterator[tuple[bytes, bytes]], theirs: Iterator[tuple[bytes, bytes]]
) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
    """Every path of either, with its two values."""
    both = merge(((path, 0, body) for path, body in ours), ((path, 1, body) for path, body in theirs))
    for path, group in groupby(both, key=lambda one: one[0]):
        values = {side: body for _, side, body in group}
        yield path, values.get(0), values.get(1)
