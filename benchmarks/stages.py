"""Processor time of a node's application by stage, and where it goes: ``python -m benchmarks stages``.

Real transactions in real blocks over the real store, in one process: each call from the bytes of its request to the
bytes of its answer. Then the same under the profiler, whose own cost is why its times are shares, not measurements.
"""

import argparse
import cProfile
import gc
import pstats
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.load import contributions, recipients
from benchmarks.load.network import Member, manifest, members_of
from benchmarks.load.point import MEMBERS, Workload
from benchmarks.load.process import Node
from benchmarks.load.steps import Step
from benchmarks.measuring import record
from devnet.layout import Layout
from devnet.manifest import Application, Timeouts

NAME = "stages"
BLOCK_TXS = 256
QUERIES = 500
TOP = 25


def main() -> int:
    """Measure every workload. Returns the exit status."""
    options = _parser().parse_args()
    results: dict[str, Any] = {}
    for workload in Workload:
        for seats in options.seats if workload is Workload.CONTRIBUTION else (0,):
            name = f"{workload}, {seats} seats" if seats else str(workload)
            results[name] = measured(workload, seats, options.blocks)
            print(name, {stage: row["cpu_us"] for stage, row in results[name]["stages"].items()}, flush=True)
    record.save(options.output, {"at": record.now(), "revision": record.revision(), "workloads": results})
    return 0


def measured(workload: Workload, seats: int, blocks: int) -> dict[str, Any]:
    """Time by stage, and the profile of a second run."""
    stages = run(workload, seats, blocks, lambda work: work())
    profile = cProfile.Profile()
    run(workload, seats, blocks, profile.runcall)
    return {"block_transactions": BLOCK_TXS, "stages": stages, "profile": top_of(profile)}


def run(workload: Workload, seats: int, blocks: int, under: Callable[[Callable[[], None]], Any]) -> dict[str, Any]:
    """Set a chain up, then pass ``blocks`` blocks through it, ``under`` calling what is measured."""
    described = manifest(Application.FEDLEDGER, 1, Timeouts.FAST, MEMBERS[workload])
    with tempfile.TemporaryDirectory(prefix="fedledger-bench-") as folder, Node.of(Path(folder), described) as node:
        members = members_of(Layout(Path(folder) / "net"), described)
        batches = [node.sign(steps) for steps in _batches(workload, node, members, seats, blocks)]
        node.spent.clear()  # The genesis is no stage of a transaction.
        gc.collect()
        under(lambda: _pass(node, batches))
        transactions = sum(map(len, batches))
        return {
            stage: {
                "cpu_us": round(spent.cpu / spent.transactions * 1e6, 1),
                "wall_us": round(spent.wall / spent.transactions * 1e6, 1),
                "calls_for": spent.transactions,
            }
            for stage, spent in node.spent.items()
        } | {"transactions": {"cpu_us": _total(node), "wall_us": 0.0, "calls_for": transactions}}


def top_of(profile: cProfile.Profile, count: int = TOP) -> dict[str, list[dict[str, Any]]]:
    """The functions with the largest share of the profiled time: themselves, and with all they call."""
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    total = sum(own for _, _, own, _, _ in stats.values())
    rows = [
        {"function": _named(where), "calls": calls, "own_share": own / total, "share": whole / total}
        for where, (_, calls, own, whole, _) in stats.items()
    ]
    return {
        key: [
            {**row, "own_share": round(row["own_share"], 4), "share": round(row["share"], 4)}
            for row in sorted(rows, key=lambda row: -row[key])[:count]
        ]
        for key in ("own_share", "share")
    }


def _total(node: Node) -> float:
    """Of one transaction that is checked on entry, rechecked once, proposed here and executed."""
    stages = ("CheckTx", "recheck", "PrepareProposal", "ProcessProposal", "FinalizeBlock", "Commit")
    return round(sum(node.spent[stage].cpu / node.spent[stage].transactions for stage in stages) * 1e6, 1)


def _pass(node: Node, batches: Sequence[Sequence[bytes]]) -> None:
    """Every batch enters a block early, so that it waits through one block and is rechecked once."""
    node.enter(batches[0])
    for number, batch in enumerate(batches):
        following = batches[number + 1] if number + 1 < len(batches) else ()
        node.enter(following)
        node.block(batch)
        node.recheck(following)
    with node.store.snapshot() as snapshot:
        paths = [path for path, _ in snapshot.scan(b"", limit=QUERIES)]
    node.block(())
    for path in paths:
        contract, _, key = path.partition(b"/")
        node.query(contract.decode("ascii"), key)


def _batches(
    workload: Workload, node: Node, members: Sequence[Member], seats: int, blocks: int
) -> Iterator[Sequence[Step]]:
    """The steps of each block: what a block holds does not need what the block just before holds."""
    if workload is Workload.CHEAPEST:
        steps = list(recipients.changes(members, blocks * BLOCK_TXS))
        yield from (steps[start : start + BLOCK_TXS] for start in range(0, blocks * BLOCK_TXS, BLOCK_TXS))
        return
    each = BLOCK_TXS // seats  # Tasks that fill a block; two such groups take turns.
    pairs = -(-blocks // 6)  # Each pair of groups gives six blocks: reserve, commit and publish of both.
    tasks = 2 * each * pairs
    for wave in contributions.set_up(members, seats, tasks):
        node.decide(wave)
    for pair in range(pairs):
        first = 2 * each * pair
        groups = (range(first, first + each), range(first + each, first + 2 * each))
        for phase in range(3):
            for group in groups:
                yield [
                    member.step(contributions.contribution(task, 1)[phase])
                    for task in group
                    for member in contributions.seated(task, members, seats)
                ]


def _named(where: tuple[str, int, str]) -> str:
    path, line, name = where
    for root in (str(record.ROOT), sys.prefix, sys.base_prefix):
        path = path.removeprefix(f"{root}/")
    return name if path == "~" else f"{path}:{line} {name}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks stages", description=__doc__.partition("\n")[0])
    parser.add_argument("--blocks", type=int, default=24, help="of each workload")
    parser.add_argument("--seats", type=lambda text: [int(part) for part in text.split(",")], default=[64, 8])
    parser.add_argument("--output", type=Path, default=record.path_of(NAME))
    return parser


if __name__ == "__main__":
    sys.exit(main())
