"""The structure as text, as figures for a program, and as the table of ``docs/architecture.md``.

The table rounds lines, so that it changes when the structure does and not with every edit; ``make map`` is exact.
"""

from collections.abc import Iterable
from typing import Any, Final

from scripts.structure.shape import LARGE, Arrow, Circle, Package, Shape

_SDK: Final = "client_sdk"


def text(shape: Shape) -> str:
    """Everything, for a terminal."""
    parts = [
        f"{_count(len(shape.packages()), 'package')}, {_count(len(shape.modules), 'module')}, {shape.lines:,} lines",
        _section("packages and their rooms (modules, lines)", _package_lines(shape.packages())),
        _section("arrows (importing statements; lazy: in a function, or for types only)", _arrow_lines(shape.arrows())),
        _section("imported and not allowed (scripts/structure/arrows.py)", map(_ends, shape.forbidden())),
        _section("allowed and not imported", [f"{source} -> {target}" for source, target in shape.unused()]),
        *_circle_sections(shape),
        _section(f"modules over {LARGE} lines", (f"{module.lines:5} {module.path}" for module in shape.large())),
        _section(f"top-level names of {_SDK}", shape.top_level(_SDK)),
    ]
    return "\n\n".join(parts) + "\n"


def figures(shape: Shape) -> dict[str, Any]:
    """Everything, for a program."""
    return {
        "modules": len(shape.modules),
        "lines": shape.lines,
        "packages": [
            {
                "name": package.name,
                "modules": package.modules,
                "lines": package.lines,
                "rooms": [{"name": room.name, "modules": room.modules, "lines": room.lines} for room in package.rooms],
            }
            for package in shape.packages()
        ],
        "arrows": [
            {"from": arrow.source, "to": arrow.target, "statements": arrow.statements, "lazy": arrow.lazy}
            for arrow in shape.arrows()
        ],
        "forbidden": [[arrow.source, arrow.target] for arrow in shape.forbidden()],
        "unused": [list(pair) for pair in shape.unused()],
        "circles": {
            "packages": _circle_figures(shape.package_circles()),
            "rooms": _circle_figures(shape.room_circles()),
            "modules_when_loaded": _circle_figures(shape.loading_circles()),
            "modules": _circle_figures(shape.module_circles()),
        },
        "large": {module.path: module.lines for module in shape.large()},
        f"{_SDK}_names": shape.top_level(_SDK),
    }


def blocks(shape: Shape) -> dict[str, str]:
    """The generated blocks of ``docs/architecture.md``."""
    arrows = shape.arrows()
    rows = [
        (
            f"`{package.name}`",
            f"{package.modules}",
            f"{about(package.lines):,}",
            ", ".join(f"`{room.name}`" for room in package.rooms),
            ", ".join(_target(arrow) for arrow in arrows if arrow.source == package.name) or "nothing of ours",
        )
        for package in shape.packages()
    ]
    lines = [("package", "modules", "lines, about", "rooms", "imports"), ("---",) * 5, *rows]
    return {"structure": "\n".join("| " + " | ".join(row) + " |" for row in lines)}


def about(lines: int) -> int:
    """A number of lines to two digits, and never closer than 50."""
    step = max(50, int(f"1{'0' * (len(str(lines)) - 2)}"))
    return max(1, (lines + step // 2) // step) * step


# Parts of the text ------------------------------------------------------------------------------


def _section(title: str, lines: Iterable[str]) -> str:
    return "\n".join([title, *(f"  {line}" for line in list(lines) or ["none"])])


def _package_lines(packages: list[Package]) -> list[str]:
    lines = []
    for package in packages:
        lines.append(f"{package.name:<22}{package.modules:5}{package.lines:8,}")
        lines += [f"  {room.name:<20}{room.modules:5}{room.lines:8,}" for room in package.rooms]
    return lines


def _arrow_lines(arrows: list[Arrow]) -> list[str]:
    return [f"{_ends(arrow):<26}{arrow.statements:5}{f'{arrow.lazy:5} lazy' if arrow.lazy else ''}" for arrow in arrows]


def _circle_sections(shape: Shape) -> list[str]:
    kinds = {
        "circles among packages": shape.package_circles(),
        "circles among rooms and modules of a package": shape.room_circles(),
        "circles among modules when they are loaded": shape.loading_circles(),
        "circles among modules by any import": shape.module_circles(),
    }
    return [
        _section(title, [line for circle in found for line in _circle_lines(circle)]) for title, found in kinds.items()
    ]


def _circle_lines(circle: Circle) -> list[str]:
    return [
        " <-> ".join(circle.names),
        *(
            f"  {each.source}:{each.line} imports {each.target}{' (lazy)' if each.lazy else ''}"
            for each in circle.imports
        ),
    ]


def _circle_figures(circles: list[Circle]) -> list[list[str]]:
    return [list(circle.names) for circle in circles]


def _ends(arrow: Arrow) -> str:
    return f"{arrow.source} -> {arrow.target}"


def _target(arrow: Arrow) -> str:
    return f"`{arrow.target}`" + (" (lazily)" if arrow.lazy == arrow.statements else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
