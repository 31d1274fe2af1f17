"""The picture of the structure, ``docs/images/map.svg``: packages as boxes, their rooms inside, arrows downwards.

Only arrows that no longer way implies are drawn; the table beside the picture has them all. It stands on a ground of
its own, so it reads the same on a light and on a dark page. Equal structures give equal bytes. Lines are rounded as in
the table (``report.about``).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from scripts.structure.arrows import ARROWS, OURS, SHIPPED
from scripts.structure.layers import Layout, lay_out, without_detours
from scripts.structure.report import about
from scripts.structure.shape import Arrow, Package, Shape

WIDTH: Final = 900
_MARGIN: Final = 28.0
_GAP: Final = 26.0  # Between boxes of a layer.
_DROP: Final = 36.0  # Between layers.
_HEAD: Final = 46.0  # Name and size of a package.
_PAD: Final = 12.0
_CHIP: Final = 22.0
_CHIP_GAP: Final = 6.0
_CHIPS_IN_A_ROW: Final = 6
_LETTER: Final = 6.63  # Width of a letter of the fixed font at 11 px.
_TOP: Final = 66.0
_FOOT: Final = 46.0

_FONT: Final = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
_STYLE: Final = f"""text{{font-family:{_FONT};font-size:11px;fill:#44505c}}
.name{{font-size:15px;font-weight:700;fill:#16202a}}
.room{{fill:#24313d}}
.pure,.ships,.stays{{stroke-width:1.5}}
.ground{{fill:#fbfaf6;stroke:#d9d5c9}}
.pure{{fill:#dcebe3;stroke:#3f7d5e}}
.ships{{fill:#dfe8f4;stroke:#4a6f9e}}
.stays{{fill:#efece3;stroke:#9a927c;stroke-dasharray:5 3}}
.chip{{fill:#ffffff;fill-opacity:.75;stroke:none}}
.arrow{{fill:none;stroke:#5a6672;stroke-width:1.6}}
.lazy{{stroke-dasharray:2 4}}
.wrong{{stroke:#c0272d;stroke-width:2.4}}"""


@dataclass(frozen=True)
class _Box:
    """A package as it is drawn: how many of its rooms stand side by side, and how large that makes it."""

    package: Package
    columns: int
    width: float
    height: float

    @property
    def cell(self) -> float:
        """Width of one room."""
        return max((len(room.name) for room in self.package.rooms), default=0) * _LETTER + 14

    @property
    def size(self) -> str:
        """What stands below the name."""
        return f"about {about(self.package.lines):,} lines"


def svg(shape: Shape) -> str:
    """The picture."""
    boxes = {package.name: _box(package) for package in shape.packages()}
    down = [each for each in shape.arrows() if OURS.index(each.source) > OURS.index(each.target)]
    up = [each for each in shape.arrows() if each not in down]
    shown = without_detours([(each.source, each.target) for each in down])
    forbidden = [(each.source, each.target) for each in shape.forbidden()]
    shown += [
        edge for edge in forbidden if edge not in shown and any(edge == (each.source, each.target) for each in down)
    ]
    widths = {name: box.width for name, box in boxes.items()}
    layout = lay_out(list(boxes), shown, widths, _GAP, WIDTH - 2 * _MARGIN)
    tops = _tops(layout, boxes)
    height = max((tops[name] + boxes[name].height for name in boxes), default=_TOP) + _FOOT
    drawn = [each for each in down if (each.source, each.target) in layout.ways]
    parts = [
        *(_downward(each, layout, boxes, tops) for each in drawn),
        *(_upward(each, layout, boxes, tops) for each in up),
        *(_drawn(box, layout.middle[name] + _MARGIN, tops[name]) for name, box in boxes.items()),
    ]
    return _framed(shape, parts, height)


def _box(package: Package) -> _Box:
    rooms = len(package.rooms)
    rows = -(-rooms // _CHIPS_IN_A_ROW)
    columns = -(-rooms // rows) if rooms else 0
    box = _Box(package, columns, 0, 0)
    inside = max(columns * (box.cell + _CHIP_GAP) - _CHIP_GAP, len(package.name) * 9.1, len(box.size) * _LETTER)
    return _Box(package, columns, inside + 2 * _PAD, _HEAD + rows * (_CHIP + _CHIP_GAP) + (6 if rows else 4))


def _tops(layout: Layout, boxes: dict[str, _Box]) -> dict[str, float]:
    """The upper edge of each stop; the highest layer first. Boxes of a layer stand on one line."""
    tops: dict[str, float] = {}
    at = _TOP
    for layer in reversed(layout.layers):
        tall = max(boxes[stop].height for stop in layer if stop in boxes)
        for stop in layer:
            tops[stop] = at + (tall - boxes[stop].height) / 2 if stop in boxes else at
        at += tall + _DROP
    return tops


# Parts ------------------------------------------------------------------------------------------


def _drawn(box: _Box, middle: float, top: float) -> str:
    package = box.package
    left = middle - box.width / 2
    lines = [
        f"<g><title>{escape(_told(package))}</title>",
        f'<rect class="{_kind(package.name)}" {_at(left, top)} {_sized(box.width, box.height)} rx="8"/>',
        f'<text class="name" {_at(left + _PAD, top + 22)}>{escape(package.name)}</text>',
        f"<text {_at(left + _PAD, top + 38)}>{box.size}</text>",
    ]
    for place, room in enumerate(package.rooms):
        x = left + _PAD + place % box.columns * (box.cell + _CHIP_GAP)
        y = top + _HEAD + 2 + place // box.columns * (_CHIP + _CHIP_GAP)
        lines += [
            f'<rect class="chip" {_at(x, y)} {_sized(box.cell, _CHIP)} rx="4"/>',
            f'<text class="room" {_at(x + 7, y + 15)}>{escape(room.name)}</text>',
        ]
    return "\n".join([*lines, "</g>"])


def _downward(arrow: Arrow, layout: Layout, boxes: dict[str, _Box], tops: dict[str, float]) -> str:
    way = layout.ways[arrow.source, arrow.target]
    levels = {stop: number for number, layer in enumerate(layout.layers) for stop in layer}
    x = _port(arrow.source, way[1], layout, boxes, upper=True)
    y = tops[arrow.source] + boxes[arrow.source].height
    path = [f"M{_n(x)} {_n(y)}"]
    for stop in way[1:]:
        last = stop in boxes
        to_x = _port(arrow.target, way[-2], layout, boxes, upper=False) if last else layout.middle[stop] + _MARGIN
        to_y = tops[stop] - 7 if last else tops[stop]
        half = (y + to_y) / 2
        path.append(f"C{_n(x)} {_n(half)} {_n(to_x)} {_n(half)} {_n(to_x)} {_n(to_y)}")
        x, y = to_x, to_y
        if not last:
            tall = max(boxes[each].height for each in layout.layers[levels[stop]] if each in boxes)
            y += tall
            path.append(f"V{_n(y)}")
    return _line(arrow, " ".join(path))


def _upward(arrow: Arrow, layout: Layout, boxes: dict[str, _Box], tops: dict[str, float]) -> str:
    """An arrow against the order of the table: from side to side, along the right margin."""
    ends = [
        (layout.middle[name] + _MARGIN + boxes[name].width / 2, tops[name] + boxes[name].height / 2)
        for name in (arrow.source, arrow.target)
    ]
    (x, y), (to_x, to_y) = ends
    out = min(max(x, to_x) + 60, WIDTH - 8)
    return _line(arrow, f"M{_n(x)} {_n(y)} C{_n(out)} {_n(y)} {_n(out)} {_n(to_y)} {_n(to_x + 7)} {_n(to_y)}")


def _port(name: str, other: str, layout: Layout, boxes: dict[str, _Box], *, upper: bool) -> float:
    """Where on a box's edge an arrow begins or ends: side by side, in the order of the stops that they lead to."""
    near = [way[1] if upper else way[-2] for way in layout.ways.values() if way[0 if upper else -1] == name]
    near.sort(key=lambda stop: layout.middle[stop])
    place = near.index(other) + 1
    width = boxes[name].width
    left = layout.middle[name] + _MARGIN - width / 2
    return left + width * place / (len(near) + 1)


def _line(arrow: Arrow, path: str) -> str:
    wrong = arrow.source in ARROWS and arrow.target not in ARROWS[arrow.source]
    lazy = " lazy" if arrow.lazy == arrow.statements else ""
    tip = "tip-wrong" if wrong else "tip"
    told = escape(f"{arrow.source} imports {arrow.target}")
    css = f"arrow{lazy}{' wrong' if wrong else ''}"
    return f'<path class="{css}" marker-end="url(#{tip})" d="{path}"><title>{told}</title></path>'


def _framed(shape: Shape, parts: Sequence[str], height: float) -> str:
    packages = shape.packages()
    described = "; ".join(f"{package.name} imports {_listed(_targets(shape, package.name))}" for package in packages)
    markers = "".join(
        f'<marker id="{name}" viewBox="0 0 8 8" refX="1" refY="4" markerWidth="8" markerHeight="8" orient="auto" '
        f'markerUnits="userSpaceOnUse"><path d="M0 0 8 4 0 8z" fill="{colour}"/></marker>'
        for name, colour in (("tip", "#5a6672"), ("tip-wrong", "#c0272d"))
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {_n(height)}" {_sized(WIDTH, height)} '
        'role="img" aria-labelledby="map-title map-desc">'
    )
    foot = "An arrow that other arrows imply is left out. Dotted: only imported inside functions, or for types."
    if shape.forbidden():
        foot += " Red: not allowed."
    lines = [
        head,
        '<title id="map-title">The packages of fedledger and who imports whom</title>',
        f'<desc id="map-desc">{escape(described)}.</desc>',
        f"<style>{_STYLE}</style>",
        f"<defs>{markers}</defs>",
        f'<rect class="ground" {_at(0.5, 0.5)} {_sized(WIDTH - 1, height - 1)} rx="10"/>',
        *_legend(),
        *parts,
        f"<text {_at(_MARGIN, height - 18)}>{foot}</text>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _legend() -> list[str]:
    lines = []
    x = _MARGIN
    for kind, meaning in (
        ("pure", "pure core: imports nothing of ours"),
        ("ships", "shell: ships in the distribution"),
        ("stays", "stays in the repository"),
    ):
        lines += [
            f'<rect class="{kind}" {_at(x, 24)} {_sized(16, 16)} rx="3"/>',
            f"<text {_at(x + 23, 36)}>{meaning}</text>",
        ]
        x += len(meaning) * _LETTER + 52
    return lines


# Small things -----------------------------------------------------------------------------------


def _kind(name: str) -> str:
    if name not in SHIPPED:
        return "stays"
    return "ships" if ARROWS[name] else "pure"


def _told(package: Package) -> str:
    return f"{package.name}: {package.modules} modules; rooms: {_listed(room.name for room in package.rooms)}"


def _targets(shape: Shape, name: str) -> list[str]:
    return [arrow.target for arrow in shape.arrows() if arrow.source == name]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _at(x: float, y: float) -> str:
    return f'x="{_n(x)}" y="{_n(y)}"'


def _sized(width: float, height: float) -> str:
    return f'width="{_n(width)}" height="{_n(height)}"'


def _n(value: float) -> str:
    """A number as short as it can be, with one decimal."""
    return f"{value:.1f}".removesuffix(".0")
