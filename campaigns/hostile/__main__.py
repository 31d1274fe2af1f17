"""Sieges from the command line: of a real network, or of one application in this process::

    python -m campaigns.hostile --count 10000 --seed 1 --report docs/data/hostile_network.json
    python -m campaigns.hostile --in-process --count 1000000 --jobs 2 --report docs/data/hostile_application.json

Exit status 1 when something was held against the ledger.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from . import in_process, real_node
from .siege import Tally

PORTION = 10_000  # Attacks of one seed in this process.


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for. Returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.in_process:
        report = application(options.seed, options.count, options.jobs)
    else:
        report = asyncio.run(real_node.besiege(options.seed, options.count))
    text = json.dumps(report, indent=1)
    print(text)
    if options.report:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        options.report.write_text(text + "\n", encoding="utf-8")
    return 1 if report["faults"] else 0


def application(seed: int, count: int, jobs: int) -> dict[str, Any]:
    """Sieges of applications, each with its own seed, on some processes. Raises Halt when an attack stops one."""
    began, tally, counts = time.monotonic(), Tally(), Counter[str]()
    portions = [min(PORTION, count - start) for start in range(0, count, PORTION)]
    with ProcessPoolExecutor(jobs) as pool:
        running = [pool.submit(in_process.besiege, seed + number, size) for number, size in enumerate(portions)]
        for done, siege in enumerate(as_completed(running), 1):
            part, counted = siege.result()
            tally.add(part)
            counts.update(counted)
            print(f"{done} of {len(running)} sieges, {len(tally.faults)} faults", file=sys.stderr)
    return {
        "seeds": {"first": seed, "count": len(portions)},
        "seconds": round(time.monotonic() - began, 1),
        **tally.described(),
        "counts": dict(sorted(counts.items())),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m campaigns.hostile", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=500, help="attacks (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="default %(default)s")
    parser.add_argument("--in-process", action="store_true", help="one application in this process, no network")
    parser.add_argument("--jobs", type=int, default=1, help="processes, with --in-process (default %(default)s)")
    parser.add_argument("--report", type=Path, help="also write the report to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
