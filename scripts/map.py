"""Draws the structure: packages, rooms, arrows, circles, large modules; as text, as figures, as a picture.

    python -m scripts.map                 the text
    python -m scripts.map --json          the same for a program
    python -m scripts.map --svg map.svg   the picture, too
    python -m scripts.map --root DIR      of another checkout

What the documents show of it is written by ``make docs``. Exits 1 when packages import against the arrows, or when
packages, rooms or modules import each other in a circle.
"""

import argparse
import json
import sys
from pathlib import Path

from scripts.structure import picture, report
from scripts.structure.shape import Shape
from scripts.structure.sources import read

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Print the map, and write the picture where one is asked for."""
    parser = argparse.ArgumentParser(prog="python -m scripts.map", description="Draw the structure of the repository.")
    parser.add_argument("--json", action="store_true", help="print figures for a program")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to read; this one by default")
    parser.add_argument("--svg", type=Path, help="write the picture to this file")
    given = parser.parse_args()
    shape = Shape(read(given.root))
    sys.stdout.write(json.dumps(report.figures(shape), indent=2) + "\n" if given.json else report.text(shape))
    if given.svg:
        given.svg.write_text(picture.svg(shape), encoding="utf-8")
    return 1 if shape.forbidden() or shape.package_circles() or shape.room_circles() or shape.loading_circles() else 0


if __name__ == "__main__":
    sys.exit(main())
