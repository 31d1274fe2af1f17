"""The simulation from the command line: one seed in full, or many with a report::

    python -m campaigns.simulation --seed 17
    python -m campaigns.simulation --seeds 10000 --jobs 2 --planted --report simulation.json

A seed that fails says how to see it again, and does so in the same way.
"""

import argparse
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from . import planted
from .checkers import CHECKERS
from .plant import ANOTHER_INTERPRETER, Plant
from .seeds import REPLICAS, Report, SeedFailed, simulate

PROGRESS_SECONDS = 5.0
CHUNK = 8  # Seeds that a worker takes at once.


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for. Returns the exit status: 1 when a seed failed."""
    options = _parser().parse_args(arguments)
    logging.getLogger("abci_app").setLevel(logging.ERROR)  # Rejecting a Byzantine proposal is a warning.
    with planted.PLANTS[options.plant].installed() if options.plant else nullcontext():
        return _one(options) if options.seed is not None else _many(options)


def _one(options: argparse.Namespace) -> int:
    """A seed in full: its log, then its digest, the same in every interpreter."""
    try:
        report = simulate(options.seed, options.replicas, options.blocks)
    except SeedFailed as failed:
        print(f"FAILED seed {failed.seed}: {failed}", file=sys.stderr)
        return 1
    for line in report.log:
        print(line)
    print(report.digest)
    return 0


def _many(options: argparse.Namespace) -> int:
    """Many seeds on some processes, with progress on standard error and a summary on standard output."""
    began = shown = time.monotonic()
    totals: Counter[str] = Counter()
    failures: list[dict[str, Any]] = []
    done = blocks = 0
    for outcome in _outcomes(options):
        done += 1
        if isinstance(outcome, SeedFailed):
            failures.append({"seed": outcome.seed, "why": outcome.why})
            print(f"FAILED seed {outcome.seed}: {outcome}", file=sys.stderr)
        else:
            blocks += outcome.blocks
            totals.update(outcome.counts)
        if time.monotonic() - shown >= PROGRESS_SECONDS:
            shown = time.monotonic()
            print(f"{done} of {options.seeds} seeds, {blocks} blocks, {len(failures)} failed", file=sys.stderr)
    summary = {
        "seeds": {"first": options.first, "count": done, "failed": failures},
        "replicas": options.replicas,
        "blocks": blocks,
        "crashes": _group(totals, "crashes: "),
        "transactions": {"offered": _group(totals, "offered: "), "decided": _group(totals, "result: ")},
        "events": _group(totals, "event: "),
        "byzantine proposals": _group(totals, "byzantine proposals: "),
        "invariants": [checker.__name__.replace("_", " ") for checker in CHECKERS],
        "counts": {name: count for name, count in sorted(totals.items()) if ": " not in name},
        "seconds": round(time.monotonic() - began, 1),
    }
    if options.planted:
        summary["planted"] = {name: _first_to_notice(plant, options) for name, plant in planted.PLANTS.items()}
    text = json.dumps(summary, indent=2)
    print(text)
    if options.report:
        options.report.write_text(text + "\n", encoding="utf-8")
    return 1 if failures else 0


def _first_to_notice(plant: Plant, options: argparse.Namespace) -> dict[str, Any]:
    """The first seed that fails with a bug in it; none for a bug that one interpreter alone cannot notice."""
    found = {"what": plant.what, "noticed by": plant.noticed_by, "seed": None}
    if plant.noticed_by == ANOTHER_INTERPRETER:
        return found
    with plant.installed():
        for seed in range(options.first, options.first + options.seeds):
            if isinstance(_attempt((seed, options.replicas, options.blocks)), SeedFailed):
                return {**found, "seed": seed}
    raise SystemExit(f"no seed noticed: {plant.what}")


def _group(totals: Counter[str], prefix: str) -> dict[str, int]:
    """The counts whose names begin like this, without that, the largest first."""
    return {name.removeprefix(prefix): count for name, count in totals.most_common() if name.startswith(prefix)}


def _outcomes(options: argparse.Namespace) -> Iterator[Report | SeedFailed]:
    seeds = range(options.first, options.first + options.seeds)
    work = [(seed, options.replicas, options.blocks) for seed in seeds]
    if options.jobs == 1:
        yield from map(_attempt, work)
        return
    with ProcessPoolExecutor(options.jobs) as pool:
        yield from pool.map(_attempt, work, chunksize=CHUNK)


def _attempt(work: tuple[int, int, int | None]) -> Report | SeedFailed:
    """A seed's outcome as a value, so that one failure does not hide the others."""
    try:
        return simulate(*work)
    except SeedFailed as failed:
        return failed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m campaigns.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one seed and print its log")
    parser.add_argument("--seeds", type=int, default=200, help="run this many seeds (default %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes to run them on (default %(default)s)")
    parser.add_argument("--replicas", type=int, default=REPLICAS, help="replicas in a cluster (default %(default)s)")
    parser.add_argument("--blocks", type=int, help="heights in a run (default: the seed's choice)")
    parser.add_argument("--report", type=Path, help="also write the summary to this file")
    parser.add_argument("--planted", action="store_true", help="report also which seed notices each planted bug first")
    parser.add_argument("--plant", choices=tuple(planted.PLANTS), help="plant this bug first")
    return parser


if __name__ == "__main__":
    sys.exit(main())
