"""Where the boxes of a layered picture stand: layers by longest path, few crossings, no arrow through a box.

After Sugiyama, Tagawa, Toda, IEEE Trans. SMC 11(2), 1981: an arrow over several layers gets a lane of its own in each
of those between. Numbers only; leaves to ``picture`` what a box looks like.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

Edge = tuple[str, str]

LANE: Final = 14.0
"""Width of the place that an arrow gets in a layer that it passes."""
_SWEEPS: Final = 12


@dataclass(frozen=True)
class Layout:
    """Boxes and lanes of each layer from left to right, the lowest layer first, and the middle of each, from the left.

    ``ways`` are the stops of each edge: a box, lanes, a box.
    """

    layers: Sequence[Sequence[str]]
    middle: Mapping[str, float]
    ways: Mapping[Edge, tuple[str, ...]]


def without_detours(edges: Collection[Edge]) -> list[Edge]:
    """The edges that no longer way implies. There must be no circle."""
    return [
        (source, target)
        for source, target in edges
        if not any(_reaches(other, target, edges) for start, other in edges if start == source and other != target)
    ]


def lay_out(
    names: Sequence[str], edges: Sequence[Edge], widths: Mapping[str, float], gap: float, room: float
) -> Layout:
    """Place boxes of these widths above what they point to, in a picture as wide as ``room``.

    ``names`` is in an order in which edges lead to earlier ones.
    """
    level: dict[str, int] = {}
    for name in names:
        level[name] = max((level[target] + 1 for source, target in edges if source == name), default=0)
    layers = [[name for name in names if level[name] == at] for at in range(max(level.values(), default=-1) + 1)]
    ways = {}
    for source, target in edges:
        lanes = [f"{source}>{target}@{at}" for at in range(level[source] - 1, level[target], -1)]
        for at, lane in enumerate(reversed(lanes), start=level[target] + 1):
            layers[at].append(lane)
        ways[source, target] = (source, *lanes, target)
    links: dict[str, list[str]] = {stop: [] for layer in layers for stop in layer}
    for way in ways.values():
        for upper, lower in pairwise(way):
            links[upper].append(lower)
            links[lower].append(upper)
    wide = {stop: widths.get(stop, LANE) for stop in links}
    middle: dict[str, float] = {}
    for layer in layers:
        middle |= _packed(layer, dict.fromkeys(layer, room / 2), wide, gap, room)
    for sweep in range(_SWEEPS):
        for layer in layers if sweep % 2 else layers[::-1]:
            wanted = {stop: _mean((middle[each] for each in links[stop]), middle[stop]) for stop in layer}
            if sweep < _SWEEPS // 2:  # First who stands left of whom, then how far.
                layer.sort(key=wanted.__getitem__)
            middle |= _packed(layer, wanted, wide, gap, room)
    return Layout(layers, middle, ways)


def _reaches(start: str, target: str, edges: Collection[Edge]) -> bool:
    """Whether a way leads from one to the other."""
    seen, waiting = {start}, [start]
    while waiting:
        name = waiting.pop()
        following = {after for before, after in edges if before == name} - seen
        seen |= following
        waiting += following
    return target in seen


def _packed(
    layer: Sequence[str], wanted: Mapping[str, float], wide: Mapping[str, float], gap: float, room: float
) -> dict[str, float]:
    """The middles, in this order, apart and inside: halfway between packing to the right and packing to the left."""
    right = _pushed(layer, wanted, wide, gap, room)
    mirrored = _pushed(layer[::-1], {stop: room - wanted[stop] for stop in layer}, wide, gap, room)
    return {stop: (right[stop] + room - mirrored[stop]) / 2 for stop in layer}


def _pushed(
    layer: Sequence[str], wanted: Mapping[str, float], wide: Mapping[str, float], gap: float, room: float
) -> dict[str, float]:
    """Each as far right as the ones before it demand, then back as far as the edge demands."""
    middle: dict[str, float] = {}
    edge = 0.0
    for stop in layer:
        middle[stop] = max(wanted[stop], edge + wide[stop] / 2)
        edge = middle[stop] + wide[stop] / 2 + gap
    edge = room
    for stop in reversed(layer):
        middle[stop] = min(middle[stop], edge - wide[stop] / 2)
        edge = middle[stop] - wide[stop] / 2 - gap
    return middle


def _mean(values: Iterable[float], otherwise: float) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else otherwise
