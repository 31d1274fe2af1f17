"""One run of one point: a fresh chain, its set-up, a closed loop, then an open one, and everything counted."""

import asyncio
import contextlib
import gc
import os
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from benchmarks.load import contributions, recipients
from benchmarks.load.driver import CONNECTIONS, Driver
from benchmarks.load.network import manifest, members_of
from benchmarks.load.steps import Step, key_value, sign_all
from benchmarks.measuring import figures, processes, record
from devnet.manifest import Application, Timeouts
from devnet.process import ProcessKind
from devnet.supervisor import Devnet

WARM_SECONDS: Final = 2.0
SET_UP_WINDOW: Final = 256  # Few, because some of the set-up comes from few organisations.
_SIZES_SEEN: Final = 3_000


class Workload(StrEnum):
    """What is sent."""

    CHEAPEST = "cheapest"  # Another recipient: the cheapest transaction that is accepted without end.
    CONTRIBUTION = "contribution, 64 seats"  # Reserve and commit.
    CROWDED = "contribution, 256 seats"


SEATS: Final = {Workload.CONTRIBUTION: 64, Workload.CROWDED: 256}  # Of a round.
MEMBERS: Final = {Workload.CHEAPEST: recipients.MEMBERS, **dict.fromkeys(SEATS, contributions.MEMBERS)}
MOST_PER_SECOND: Final = {Workload.CHEAPEST: 4_500, **dict.fromkeys(SEATS, 3_000)}  # What fedledger is offered at most.
KVSTORE_MOST_PER_SECOND: Final = 16_000


@dataclass(frozen=True, slots=True)
class Point:
    """What distinguishes one run from another."""

    application: Application
    workload: Workload
    validators: int
    profile: Timeouts
    connections: int = CONNECTIONS
    """CometBFT's socket client flushes every 20 ms, so few of them can starve an application."""

    def __str__(self) -> str:
        chain = f"{self.validators} validator(s), {self.profile}"
        return f"{self.application}, {self.workload}, {chain}, {self.connections} connections"


@dataclass(frozen=True, slots=True)
class Pressure:
    """How a chain is loaded. ``window``: the most transactions that are sent and not yet in a block."""

    seconds: float = 20.0
    latency_seconds: float = 20.0
    per_second: float = 20.0
    window: int = 1_800
    tasks: int | None = None  # On the contribution path; None for as many as keep every organisation busy.


async def run(point: Point, pressure: Pressure, sizes: list[int]) -> dict[str, Any]:
    """Measure one point. kvstore sends transactions of ``sizes``, in turn; fedledger writes there what it sent."""
    began = time.monotonic()
    before = record.load_average()
    async with _network(point) as (net, driver):
        started = time.monotonic()
        make = _fedledger if point.application is Application.FEDLEDGER else _kvstore
        steps = await make(point, pressure, driver, net, sizes)
        await sign_all(steps, driver.valid_until)
        gc.collect()
        gc.freeze()  # Tens of thousands of objects that stay: nothing to look through while the clock runs.
        ready = time.monotonic()
        closed = await _closed_loop(driver, net, pressure, steps)
        latency = await _open_loop(driver, pressure)
        gc.unfreeze()
    if point.application is Application.FEDLEDGER:
        sizes[:] = [step.size for step in steps if step.height][:_SIZES_SEEN]
    sent = [step.size for step in steps if step.height] or [0]
    return {
        "application": point.application.value,
        "workload": point.workload.value,
        "validators": point.validators,
        "profile": point.profile.value,
        "at": record.now(),
        "revision": record.revision(),
        "load_average_before": before,
        "pressure": {**asdict(pressure), "connections": point.connections},
        "seconds": {"network": round(started - began, 1), "set_up": round(ready - started, 1)},
        "tx_bytes": {"mean": round(sum(sent) / len(sent)), "least": min(sent), "most": max(sent)},
        **closed,
        "latency": latency,
    }


@contextlib.asynccontextmanager
async def _network(point: Point) -> AsyncIterator[tuple[Devnet, Driver]]:
    with tempfile.TemporaryDirectory(prefix="fedledger-bench-") as folder:
        described = manifest(point.application, point.validators, point.profile, MEMBERS[point.workload])
        async with Devnet(described, Path(folder) / "net") as net:
            addresses = [validator.rpc for validator in net.validators]
            async with Driver(addresses, SET_UP_WINDOW, point.connections) as driver:
                yield net, driver


async def _fedledger(point: Point, pressure: Pressure, driver: Driver, net: Devnet, _sizes: list[int]) -> list[Step]:
    members = await asyncio.to_thread(members_of, net.layout, net.manifest)
    wanted = _wanted(MOST_PER_SECOND[point.workload], pressure)
    if point.workload is Workload.CHEAPEST:
        return list(recipients.changes(members, wanted))
    seats = SEATS[point.workload]
    tasks = pressure.tasks or contributions.tasks_of(seats)
    for wave in contributions.set_up(members, seats, tasks):
        driver.offer(wave)
        await driver.finish()
    each = tasks * (2 * seats + 2)
    return contributions.contributions(members, seats, -(-wanted // each), range(tasks))


async def _kvstore(_point: Point, pressure: Pressure, _driver: Driver, _net: Devnet, sizes: list[int]) -> list[Step]:
    if not sizes:
        raise ValueError("measure fedledger first: kvstore is given transactions of the same sizes")
    return [key_value(sizes[number % len(sizes)]) for number in range(_wanted(KVSTORE_MOST_PER_SECOND, pressure))]


def _wanted(most_per_second: int, pressure: Pressure) -> int:
    """Transactions for both loops, however fast the chain is."""
    closed = most_per_second * (WARM_SECONDS + pressure.seconds)
    return int(closed + pressure.per_second * pressure.latency_seconds)


async def _closed_loop(driver: Driver, net: Devnet, pressure: Pressure, steps: list[Step]) -> dict[str, Any]:
    pids: dict[str, list[int]] = {"application": [], "node": [], "generator": [os.getpid()]}
    for process in net.state.processes:
        if process.pid is not None:
            pids["application" if process.kind is ProcessKind.APPLICATION else "node"].append(process.pid)
    driver.window = pressure.window
    driver.offer(steps)
    await driver.push(WARM_SECONDS)
    cpu, first, began = processes.cpu_by_kind(pids), driver.watch.height, time.perf_counter()
    refused, full, late = driver.refused.copy(), driver.full, driver.late_signed
    await driver.push(pressure.seconds)
    after, last, wall = processes.cpu_by_kind(pids), driver.watch.height, time.perf_counter() - began
    left = sum(1 for step in steps if not step.sent)
    if left < pressure.per_second * pressure.latency_seconds:
        raise ValueError("every transaction was sent before the time was over: raise what is offered")
    await driver.settle()
    await driver.watch.wait_height(last + 1)
    headers = {height: (at, txs) for height, at, txs in await driver.watch.headers(first + 1, last + 1)}
    codes = [
        code for height in range(first + 1, last + 1) if headers[height][1] for code in await driver.watch.codes(height)
    ]
    included = sum(headers[height][1] for height in range(first + 1, last + 1))
    if len(codes) != included:
        raise ValueError(f"{included} transactions in blocks, {len(codes)} results")
    seconds = headers[last + 1][0] - headers[first + 1][0]
    accepted = codes.count(0)
    intervals = [headers[height + 1][0] - headers[height][0] for height in range(first + 1, last + 1)]
    spent = {kind: after[kind] - cpu[kind] for kind in pids}
    return {
        "throughput": {
            "per_second": round(accepted / seconds, 1),
            "accepted": accepted,
            "refused_in_blocks": included - accepted,
            "seconds": round(seconds, 3),
            "blocks": last - first,
            "interval_p50_ms": round(figures.percentile(intervals, 50) * 1000, 1),
            "refused_on_entry": dict(driver.refused - refused),
            "pool_full": driver.full - full,
            "signed_late": driver.late_signed - late,
            "left": left,
        },
        "cpu_us_per_transaction": figures.per(spent, accepted),
        "cpu_cores": {kind: round(value / wall, 3) for kind, value in spent.items()},
    }


async def _open_loop(driver: Driver, pressure: Pressure) -> dict[str, Any]:
    """Goes on with what the closed loop left."""
    sent = await driver.pace(pressure.per_second, pressure.latency_seconds)
    announced = driver.watch.announced
    seen = [announced[step.node][step.height] - step.sent for step in sent if step.height]
    return {
        "per_second": pressure.per_second,
        **figures.summary_ms(seen),
        "unseen": len(sent) - len(seen),
        "not_sent": int(pressure.per_second * pressure.latency_seconds) - len(sent),
    }
