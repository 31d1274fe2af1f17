"""Wall time of the demo, part by part: ``python -m benchmarks demo``.

The demo is run as a program and read line by line; a part begins with its headline and ends with the next one, or with
the summary. Within the training the ends of rounds are noted too.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measuring import record

NAME = "demo"
LIMIT_SECONDS = 900
START, END = "start of the program", "end of the program"


def main() -> int:
    """Run the demo as often as asked. Returns the exit status."""
    options = _parser().parse_args()
    runs: list[dict[str, Any]] = []
    for number in range(options.runs):
        runs.append(run(["--dataset", options.dataset, "--store", options.store, "--seeds", str(number + 1)]))
        print({part["name"]: part["seconds"] for part in runs[-1]["parts"]}, runs[-1]["seconds"], flush=True)
        names = [part["name"] for part in runs[0]["parts"]]
        medians = {name: round(median(seconds_of(name, runs)), 2) for name in names}
        result = {"dataset": options.dataset, "store": options.store, "median_seconds": medians, "runs": runs}
        record.save(options.output, {"at": record.now(), "revision": record.revision(), **result})
    return 0


def run(arguments: list[str]) -> dict[str, Any]:
    """One run of the demo. Raises subprocess.CalledProcessError when it fails."""
    command = [sys.executable, "-m", "examples.demo", "--format", "jsonl", *arguments]
    began = time.monotonic()
    with subprocess.Popen(command, cwd=record.ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            lines = [(time.monotonic() - began, json.loads(line)) for line in process.stdout]
            code = process.wait(timeout=LIMIT_SECONDS)
        except BaseException:
            process.terminate()  # It stops its network before it ends.
            raise
    if code:
        raise subprocess.CalledProcessError(code, command)
    return {"arguments": arguments, **parts_of(lines, time.monotonic() - began)}


def parts_of(lines: Iterable[tuple[float, dict[str, Any]]], whole: float) -> dict[str, Any]:
    """The parts of a run and when each round ended, from its lines with the time at which each was read."""
    parts: list[dict[str, Any]] = []
    rounds: list[dict[str, Any]] = []
    name, since = START, 0.0
    for at, line in lines:
        if line["type"] == "round":
            rounds.append({"round": line["round"], "outcome": line["outcome"], "at": round(at, 2)})
        if line["type"] in {"stage", "summary"}:
            parts.append({"name": name, "seconds": round(at - since, 2)})
            name, since = line.get("text", END), at
    parts.append({"name": name, "seconds": round(whole - since, 2)})
    return {"seconds": round(whole, 2), "parts": parts, "rounds": rounds}


def seconds_of(name: str, runs: Iterable[dict[str, Any]]) -> list[float]:
    """How long the part of a name took in each run that had it."""
    return [part["seconds"] for run_ in runs for part in run_["parts"] if part["name"] == name]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks demo", description=__doc__.partition("\n")[0])
    parser.add_argument("--dataset", default="breast-cancer")
    parser.add_argument("--store", default="kubo")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--output", type=Path, default=record.path_of(NAME))
    return parser


if __name__ == "__main__":
    sys.exit(main())
