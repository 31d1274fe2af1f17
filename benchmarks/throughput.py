"""Throughput and commit latency beside CometBFT's Go kvstore: ``python -m benchmarks throughput``.

Pairs of runs, fedledger then kvstore, on the same node configuration and with transactions of the same sizes, so that
whatever else the machine does hits both. Each run is a fresh chain: a closed loop of so many connections with at most
``--window`` transactions on their way to a block, then 20 transactions a second. Results are kept after every run;
called again, only what is missing is measured.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.load.driver import CONNECTIONS, LoadFailed
from benchmarks.load.point import Point, Pressure, Workload, run
from benchmarks.measuring import record
from devnet.errors import DevnetError
from devnet.manifest import Application, Timeouts

NAME = "throughput"
RUN_SECONDS = 300.0  # No run takes longer: a chain that stands still is a failed run.


def main() -> int:
    """Measure what is missing. Returns the exit status: 1 when a run failed."""
    options = _parser().parse_args()
    results = {} if options.again else record.load(options.output)
    runs: list[dict[str, Any]] = results.get("runs", [])
    failed = 0
    for point, pair in planned(options):
        if any(is_of(done, point) and done["pair"] == pair for done in runs):
            continue
        print(f"{point}, pair {pair}: ", end="", flush=True)
        sizes = sizes_for(point, runs)
        try:
            measured = {"pair": pair, **asyncio.run(_in_time(run(point, _pressure(options), sizes)))}
        except (LoadFailed, DevnetError, OSError, ValueError) as error:
            print(f"failed, to be measured by the next call: {type(error).__name__}: {error}")
            failed += 1
            continue
        runs.append({**measured, "sizes": compact(sizes)} if point.application is Application.FEDLEDGER else measured)
        record.save(options.output, {"runs": runs})
        throughput, latency = measured["throughput"], measured["latency"]
        print(f"{throughput['per_second']} tx/s, p50 {latency.get('p50_ms')} ms, {measured['cpu_us_per_transaction']}")
    return 1 if failed else 0


async def _in_time(measuring: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    async with asyncio.timeout(RUN_SECONDS):
        return await measuring


def planned(options: argparse.Namespace) -> list[tuple[Point, int]]:
    """The runs in their order: the two applications side by side, pair after pair."""
    return [
        (Point(application, workload, validators, profile, connections), pair)
        for pair in range(1, options.pairs + 1)
        for workload in options.workloads
        for validators in options.validators
        for profile in options.profiles
        for connections in options.connections
        for application in (Application.FEDLEDGER, Application.KVSTORE)
    ]


def is_of(done: dict[str, Any], point: Point) -> bool:
    """Whether a result is of this point."""
    chain = (done["application"], done["workload"], done["validators"], done["profile"])
    same = chain == (point.application, point.workload, point.validators, point.profile)
    return same and bool(done["pressure"]["connections"] == point.connections)


def sizes_for(point: Point, runs: list[dict[str, Any]]) -> list[int]:
    """The sizes of fedledger's transactions in its last run of the same point."""
    ours = replace(point, application=Application.FEDLEDGER)
    found = [done["sizes"] for done in runs if is_of(done, ours)]
    return [size for size, count in found[-1] for _ in range(count)] if found else []


def compact(sizes: list[int]) -> list[tuple[int, int]]:
    """Sizes with how often each occurred: their order does not matter for a node."""
    return [(size, sizes.count(size)) for size in sorted(set(sizes))]


def _pressure(options: argparse.Namespace) -> Pressure:
    return Pressure(
        seconds=options.seconds,
        latency_seconds=options.latency_seconds,
        window=options.window,
    )


def _parser() -> argparse.ArgumentParser:
    usual = Pressure()
    parser = argparse.ArgumentParser(prog="python -m benchmarks throughput", description=__doc__.partition("\n")[0])
    parser.add_argument("--validators", type=_list_of(int), default=[1, 4])
    parser.add_argument("--profiles", type=_list_of(Timeouts), default=[Timeouts.FAST, Timeouts.CONSORTIUM])
    parser.add_argument("--workloads", type=_list_of(Workload, ";"), default=list(Workload))
    parser.add_argument("--pairs", type=int, default=2, help="how often each point is measured for each application")
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="of the closed loop, after its warm-up")
    parser.add_argument("--latency-seconds", type=float, default=usual.latency_seconds, help="of the open loop")
    parser.add_argument("--window", type=int, default=usual.window, help="most transactions on their way to a block")
    parser.add_argument("--connections", type=_list_of(int), default=[CONNECTIONS], help="of the generator")
    parser.add_argument("--output", type=Path, default=record.path_of(NAME))
    parser.add_argument("--again", action="store_true", help="measure everything anew")
    return parser


def _list_of(kind: Any, separator: str = ",") -> Any:
    def read(text: str) -> list[Any]:
        return [kind(part.strip()) for part in text.split(separator)]

    return read


if __name__ == "__main__":
    sys.exit(main())
