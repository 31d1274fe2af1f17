"""Everybody but hospital-a: a network, a consortium with a task on digits, three more hospitals, two labs, an auditor.

    python -m examples.torch_participant.others

When all of it waits for hospital-a, it says which command takes part as hospital-a, and stays until the task has had
its rounds. It is made of the demo's parts; nothing goes wrong on purpose here.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from client_sdk.payloads.store import StoreKind
from client_sdk.session.homes import default_home
from contracts import rounds
from contracts.promises import promised
from contracts.terms import CommitTiming, Estimator, EstimatorKind, Phases, Terms
from devnet import lifecycle
from devnet.layout import Layout, shipped_manifest
from devnet.manifest import Manifest, load_manifest
from examples.demo import consortium as forming
from examples.demo.consortium import Consortium
from examples.demo.data import deal
from examples.demo.processes import Workers
from examples.demo.run import LIMIT, write_records
from examples.demo.task import Prepared, prepare

TASK = "digits"
HOSPITALS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
YOURS = HOSPITALS[0]
# A round waits ten minutes for you to reserve. A phase ends as soon as everybody has acted.
PHASES = Phases(
    reserve_ms=600_000,
    commit_ms=60_000,
    attest_ms=30_000,
    seal_ms=30_000,
    open_ms=30_000,
    blocks=3,
    commits=CommitTiming.WHEN_READY,
)


async def main() -> int:
    """Run until the task is finished, or a signal. Returns the exit status."""
    options = _parser().parse_args()
    whole = asyncio.current_task()
    if whole is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, whole.cancel)
    manifest = load_manifest(shipped_manifest()).varied(store=StoreKind.LOCAL)
    home = default_home()
    dealt = await asyncio.to_thread(deal, TASK, len(HOSPITALS), options.seed)
    prepared = prepare(TASK, dealt, initial_seed=options.seed, verifiers=forming.verifiers(manifest))
    terms = _terms(prepared, options.rounds)
    print("starting four validators", flush=True)
    await asyncio.to_thread(lifecycle.up, home, manifest, reset=True)
    try:
        records = write_records(home, list(HOSPITALS), dealt)
        async with forming.sessions(home, [member.name for member in manifest.organisations]) as members:
            club = Consortium(home, members)
            await _form(club, manifest, terms, prepared)
            await _take_part(club, home, manifest, terms, records)
    finally:
        await asyncio.to_thread(lifecycle.down, home)
    return 0


def _terms(prepared: Prepared, count: int) -> Terms:
    """The demo's terms for four hospitals, all of which must reserve and commit: fewer rounds, more patience."""
    estimator = Estimator(EstimatorKind.TRIMMED_MEAN, byzantine=1, minimum=len(HOSPITALS) - 1)
    return replace(prepared.terms, estimator=estimator, phases=PHASES, max_rounds=count)


async def _form(club: Consortium, manifest: Manifest, terms: Terms, prepared: Prepared) -> None:
    """Admit the members, register four datasets, pass the terms, consent, and serve what the terms name."""
    datasets = {name: _dataset(name) for name in HOSPITALS}
    await forming.admit(club, manifest, {})
    await forming.register(club, datasets, TASK, dict.fromkeys(HOSPITALS, promised(LIMIT, forming.DELTA_INVERSE, None)))
    await forming.open_task(club, manifest, terms, datasets)
    for content in prepared.data.values():
        await club.members["lab-1"].store.put(content)


async def _take_part(club: Consortium, home: Path, manifest: Manifest, terms: Terms, records: dict[str, Path]) -> None:
    """Start the others' processes, say what hospital-a can do now, and wait for the end of the task's last round."""
    workers = Workers(Layout(home).logs, _hear)
    where = ["--home", str(home), "--task", TASK]
    try:
        for name in forming.verifiers(manifest):
            await workers.start(f"services-{name}", "examples.demo.lab", *where, "--organisation", name)
        for name in HOSPITALS:
            if name != YOURS:
                mine = ["--organisation", name, "--dataset", _dataset(name), "--records", str(records[name])]
                await workers.start(name, "examples.demo.hospital", *where, *mine)
        await workers.ready()
        print(f"ready: take part as {YOURS} with\n  {_command(records[YOURS])}", flush=True)
        await _until_over(club, terms)
    finally:
        await workers.stop()


async def _until_over(club: Consortium, terms: Terms) -> None:
    """Wait until the task's last round is over; say how each one ended."""
    client, number = club.members["auditor"].client, 1
    async with contextlib.aclosing(client.rpc.heads.latest()) as heights:
        async for _ in heights:
            last = await client.peek(rounds.ROUNDS, (TASK, number))
            if last is not None and last.phase in rounds.OVER:
                print(f"round {number} is {last.phase}", flush=True)
                number += 1
            if number > terms.max_rounds:
                return


def _dataset(hospital: str) -> str:
    return f"{TASK}-{hospital[-1]}"


def _command(records: Path) -> str:
    return f"{Path(sys.executable)} {Path(__file__).with_name('governed.py')} {records}"


def _hear(name: str, said: dict[str, Any]) -> None:
    if said["event"] in ("contributed", "came to nothing", "refused", "died"):
        print(f"{name}: {said['event']}" + (f" in round {said['round']}" if "round" in said else ""), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.torch_participant.others", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1, help="split and initialisation; never noise or sampling")
    return parser


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(asyncio.run(main()))
