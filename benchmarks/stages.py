"""Processor time of a node's application by stage, and where it goes: ``python -m benchmarks stages``.

Real transactions in real blocks over the real store, in one process: each call from the bytes of its request to the
bytes of its answer. Machines differ in how fast they run Python, so between the blocks the same signatures are verified
alone: one verification is the unit that the aims are stated in. Once as with a short pool, where CheckTx tries what
enters, and once as under pressure, where it does not. Then the first under the profiler, whose own cost is why
its times are shares, not measurements.
"""

import argparse
import cProfile
import gc
import pstats
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from unittest.mock import patch

from abci_app.pool import door
from benchmarks.load import contributions, recipients
from benchmarks.load.network import Member, manifest, members_of
from benchmarks.load.point import MEMBERS, SEATS, Workload
from benchmarks.load.process import Node, Spent
from benchmarks.load.steps import Step
from benchmarks.measuring import record
from contracts.transition import Transaction
from devnet.layout import Layout
from devnet.manifest import Application, Timeouts

NAME = "stages"
BLOCK_TXS = 256
QUERIES = 500
TOP = 25
STAGES = ("CheckTx", "recheck", "PrepareProposal", "ProcessProposal", "FinalizeBlock", "Commit")


def main() -> int:
    """Measure every workload. Returns the exit status."""
    options = _parser().parse_args()
    results: dict[str, Any] = {}
    for workload in Workload:
        results[workload.value] = measured(workload, options.blocks)
        verifications = {kind: row["verifications"] for kind, row in results[workload.value]["kinds"].items()}
        print(workload, results[workload.value]["verification_us"], verifications, flush=True)
        record.save(options.output, {"at": record.now(), "revision": record.revision(), "workloads": results})
    return 0


def measured(workload: Workload, blocks: int) -> dict[str, Any]:
    """Time by kind of transaction and stage, and the profile of a second run."""
    found, pressed = (run(workload, blocks, lambda work: work(), pressed=under) for under in (False, True))
    profile = cProfile.Profile()
    run(workload, blocks, profile.runcall)
    return {"block_transactions": BLOCK_TXS, **found, "pressed": pressed, "profile": top_of(profile)}


class Batch(NamedTuple):
    """The transactions of one block, all of one kind."""

    kind: str
    txs: Sequence[bytes]


@dataclass
class Clock:
    """What each kind of transaction took at each stage, and what one verification of a signature takes meanwhile."""

    spent: dict[str, dict[str, Spent]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(Spent)))
    verification: list[float] = field(default_factory=list)
    """Seconds, one value for each block."""

    def verify(self, txs: Sequence[bytes]) -> None:
        """Take the time of verifying these signatures and of nothing else. Raises ValueError for a wrong one."""
        read = [Transaction(raw) for raw in txs]
        for transaction in read:
            _ = transaction.envelope
        began = time.process_time()
        good = all([transaction.is_authentic for transaction in read])  # noqa: C419 - all of them, also after a bad one.
        self.verification.append((time.process_time() - began) / len(read))
        if not good:
            raise ValueError("a signature of the workload does not hold")


def run(
    workload: Workload, blocks: int, under: Callable[[Callable[[], None]], Any], *, pressed: bool = False
) -> dict[str, Any]:
    """Set a chain up, then pass ``blocks`` blocks through it, ``under`` calling what is measured."""
    described = manifest(Application.FEDLEDGER, 1, Timeouts.FAST, MEMBERS[workload])
    with tempfile.TemporaryDirectory(prefix="fedledger-bench-") as folder, Node.of(Path(folder), described) as node:
        members = members_of(Layout(Path(folder) / "net"), described)
        batches = [Batch(kind, node.sign(steps)) for kind, steps in _batches(workload, node, members, blocks)]
        clock = Clock()
        gc.collect()
        gc.freeze()  # What the set-up left here is no part of a node: no collection shall look through it.
        with patch.object(door, "PRESSED", 0) if pressed else nullcontext():
            under(lambda: _pass(node, batches, clock))
        gc.unfreeze()
        return summary(clock, [batch.kind for batch in batches])


def summary(clock: Clock, kinds: Sequence[str]) -> dict[str, Any]:
    """What each kind took, stage by stage and in all; of several kinds also the mean of their sums."""
    verification = median(clock.verification)
    found: dict[str, Any] = {}
    for kind in dict.fromkeys(kinds):
        stages = {
            stage: {
                "cpu_us": round(spent.cpu / spent.transactions * 1e6, 1),
                "wall_us": round(spent.wall / spent.transactions * 1e6, 1),
                "calls_for": spent.transactions,
            }
            for stage, spent in clock.spent[kind].items()
        }
        total = sum(clock.spent[kind][stage].cpu / clock.spent[kind][stage].transactions for stage in STAGES)
        found[kind] = {
            "stages": stages,
            "total_us": round(total * 1e6, 1),
            "verifications": round(total / verification, 2),
        }
    return {"verification_us": round(verification * 1e6, 1), "kinds": found}


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


def _pass(node: Node, batches: Sequence[Batch], clock: Clock) -> None:
    """Every batch enters a block early, so that it waits through one block and is rechecked once."""
    _under(node, clock, batches[0], node.enter)
    for number, batch in enumerate(batches):
        following = batches[number + 1] if number + 1 < len(batches) else None
        if following:
            _under(node, clock, following, node.enter)
        _under(node, clock, batch, node.block)
        if following:
            _under(node, clock, following, node.recheck)
        clock.verify(batch.txs)
    with node.store.snapshot() as snapshot:
        paths = [path for path, _ in snapshot.scan(b"", limit=QUERIES)]
    node.spent = clock.spent[batches[0].kind]
    for path in paths:
        contract, _, key = path.partition(b"/")
        node.query(contract.decode("ascii"), key)


def _under(node: Node, clock: Clock, batch: Batch, act: Callable[[Sequence[bytes]], None]) -> None:
    """Put what an act takes down to the batch's kind."""
    node.spent = clock.spent[batch.kind]
    act(batch.txs)


def _batches(
    workload: Workload, node: Node, members: Sequence[Member], blocks: int
) -> Iterator[tuple[str, Sequence[Step]]]:
    """The steps of each block, all of one kind: what a block holds does not need what the block just before holds."""
    if workload is Workload.CHEAPEST:
        steps = list(recipients.changes(members, blocks * BLOCK_TXS))
        for start in range(0, blocks * BLOCK_TXS, BLOCK_TXS):
            yield "recipient", steps[start : start + BLOCK_TXS]
        return
    seats = SEATS[workload]
    each = max(1, BLOCK_TXS // seats)  # Tasks that fill a block; two such groups take turns.
    pairs = -(-blocks // 4)  # Each pair of groups gives four blocks: reserve and commit of both.
    for wave in contributions.set_up(members, seats, 2 * each * pairs):
        node.decide(wave)
    for pair in range(pairs):
        first = 2 * each * pair
        groups = (range(first, first + each), range(first + each, first + 2 * each))
        for phase, kind in enumerate(("reserve", "commit")):
            for group in groups:
                yield (
                    kind,
                    [
                        member.step(contributions.contribution(task, 1)[phase])
                        for task in group
                        for member in contributions.seated(task, members, seats)
                    ],
                )


def _named(where: tuple[str, int, str]) -> str:
    path, line, name = where
    for root in (str(record.ROOT), sys.prefix, sys.base_prefix):
        path = path.removeprefix(f"{root}/")
    return name if path == "~" else f"{path}:{line} {name}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks stages", description=__doc__.partition("\n")[0])
    parser.add_argument("--blocks", type=int, default=24, help="of each workload")
    parser.add_argument("--output", type=Path, default=record.path_of(NAME))
    return parser


if __name__ == "__main__":
    sys.exit(main())
