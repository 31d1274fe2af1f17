"""One demo run: start the network, form the consortium, train, let things go wrong, and report.

Everything goes through the public SDK; the numbers are whatever the run gives.
"""

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from client_sdk.payloads.store import StoreKind
from client_sdk.training.task import open_task
from contracts.kernel import renyi
from contracts.promises import Promise
from contracts.registry import RULES
from contracts.terms import Terms, price_of
from devnet import lifecycle
from devnet.layout import Layout, shipped_manifest
from devnet.manifest import Manifest, load_manifest
from examples.demo import consortium as forming
from examples.demo.consortium import DELTA_INVERSE, Consortium
from examples.demo.data import DataMissing, Deal, deal
from examples.demo.incidents import Incidents, Plan, Planted, explained
from examples.demo.pooled import pooled_accuracy
from examples.demo.processes import Workers
from examples.demo.summary import Summary, summarise
from examples.demo.task import prepare
from examples.demo.view import View
from examples.demo.watch import NANO, Watcher

LIMIT = 8 * NANO  # ε that the records of an ordinary hospital are promised.


@dataclass(frozen=True)
class Options:
    """What the person asked for."""

    dataset: str
    seed: int
    store: StoreKind
    keep: bool
    home: Path | None


async def run(options: Options, view: View) -> Summary:
    """One run, from an empty folder to its summary. With ``keep`` the network is left running. Raises DataMissing."""
    dealt = await asyncio.to_thread(deal, options.dataset, 6, options.seed)
    if len(dealt.widths) > 2 and find_spec("torch") is None:
        raise DataMissing(f"{options.dataset} trains a network, which takes PyTorch (4.6 GB): run `make train-deps`")
    manifest = load_manifest(shipped_manifest()).varied(store=options.store)
    async with _network(options, manifest, view) as home:
        return await _in_network(options, home, manifest, dealt, view)


async def _in_network(options: Options, home: Path, manifest: Manifest, dealt: Deal, view: View) -> Summary:
    names = [member.name for member in manifest.organisations]
    hospitals = forming.hospitals(manifest)
    datasets = {name: f"{options.dataset}-{name[-1]}" for name in hospitals}
    plan = Plan.for_dataset(options.dataset)
    async with forming.sessions(home, names) as members:
        club = Consortium(home, members)
        prepared = prepare(options.dataset, dealt, initial_seed=options.seed, verifiers=forming.verifiers(manifest))
        await _form(club, manifest, datasets, prepared.terms, plan, options.dataset, view)
        for content in prepared.data.values():
            await members["lab-1"].store.put(content)
        task = await open_task(members["auditor"].client, members["auditor"].store, options.dataset)
        watcher = Watcher(members["auditor"], task, dealt.test, view)
        watching = asyncio.create_task(watcher.run(await _height(club)))
        try:
            await _train(options, home, manifest, datasets, dealt, club, watcher, plan, view)
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        pooled = await asyncio.to_thread(pooled_accuracy, dealt, prepared.terms, len(watcher.rows))
        return await summarise(club, watcher, datasets, pooled, keep=options.keep)


async def _form(
    club: Consortium,
    manifest: Manifest,
    datasets: dict[str, str],
    terms: Terms,
    plan: Plan,
    data_class: str,
    view: View,
) -> None:
    view.stage("forming the consortium")
    exhausted, rounds = plan.exhausted
    caps = {exhausted: _promise_of(terms, rounds)}
    await forming.admit(club, manifest, caps)
    founders = ", ".join(member.name for member in manifest.founders)
    view.tell(f"{len(manifest.organisations)} members: founders {founders} admitted the others by vote", "good")
    ordinary = replace(_promise_of(terms, plan.last), epsilon=LIMIT)
    await forming.register(club, datasets, data_class, {name: caps.get(name, ordinary) for name in datasets})
    await forming.open_task(club, manifest, terms, datasets)
    view.tell(f"task {terms.task}: terms passed by vote, {len(datasets)} hospitals consented with human keys", "good")


async def _train(
    options: Options,
    home: Path,
    manifest: Manifest,
    datasets: dict[str, str],
    dealt: Deal,
    club: Consortium,
    watcher: Watcher,
    plan: Plan,
    view: View,
) -> None:
    view.stage("training under the ledger")
    layout, hold = Layout(home), home / "hold"
    records = await asyncio.to_thread(write_records, home, list(datasets), dealt)
    planted: dict[int, Planted] = {}
    workers = Workers(layout.logs, _hear(view, planted))
    hold.touch()

    async def hospital(name: str, key: str) -> None:
        # Who trains with another key is somewhere else than the process whose key was stolen.
        apart = [] if key == "worker" else ["--apart", str(layout.member(name) / f"journal-{key}")]
        flags = [*plan.flags(name), "--seed", str(options.seed), *apart]
        arguments = ["--home", str(home), "--organisation", name, "--key", key, "--task", options.dataset]
        arguments += ["--dataset", datasets[name], "--records", str(records[name]), *flags]
        await workers.start(name if key == "worker" else f"{name}-{key}", "examples.demo.hospital", *arguments)

    async def newcomer(name: str, key: str) -> None:
        await hospital(name, key)
        await workers.ready()

    try:
        for name in forming.verifiers(manifest):
            arguments = ["--home", str(home), "--organisation", name, "--task", options.dataset, "--hold", str(hold)]
            arguments += plan.service_flags(name)
            await workers.start(f"services-{name}", "examples.demo.lab", *arguments)
        for name in datasets:
            await hospital(name, "worker")
        await workers.ready()
        view.tell(
            f"{len(datasets)} hospitals and {len(forming.verifiers(manifest))} verifiers run as processes", "good"
        )
        hold.unlink(missing_ok=True)
        await Incidents(plan, home, hold, club, watcher, view, newcomer, planted).run()
    finally:
        await workers.stop()


@asynccontextmanager
async def _network(options: Options, manifest: Manifest, view: View) -> AsyncIterator[Path]:
    """A devnet that runs detached, so that the CLI can look at it meanwhile; stopped and removed unless kept."""
    temporary = options.home is None and not options.keep
    home = options.home or (Path(tempfile.mkdtemp(prefix="fedledger-")) / "devnet" if temporary else _kept_home())
    view.stage("starting four validators" + (" and two IPFS nodes" if manifest.kubo_nodes else ""))
    began = time.monotonic()
    await asyncio.to_thread(lifecycle.up, home, manifest, reset=True)
    view.tell(f"every node answers after {time.monotonic() - began:.1f} s", "good", home=str(home))
    finished = False
    try:
        yield home
        finished = True
    finally:
        if not (options.keep and finished):
            view.stage("stopping the network")
            await asyncio.to_thread(lifecycle.down, home)
            if temporary:
                shutil.rmtree(home.parent, ignore_errors=True)


def _kept_home() -> Path:
    from client_sdk.session.homes import default_home

    return default_home()


def _promise_of(terms: Terms, rounds: int) -> Promise:
    """An ε that this many rounds fit under and one more does not, held at the order that is best for so many."""
    price = price_of(terms.mechanism)
    total = price
    for _ in range(rounds - 1):
        total += price
    _, order = renyi.least_epsilon(total, DELTA_INVERSE)
    enough, too_much = (renyi.epsilon_at(curve, order, DELTA_INVERSE) for curve in (total, total + price))
    return Promise((enough + too_much) // 2, DELTA_INVERSE, order)


def write_records(home: Path, hospitals: list[str], dealt: Deal) -> dict[str, Path]:
    """Each hospital's private records, in its own folder."""
    paths = {}
    for name, (inputs, targets) in zip(hospitals, dealt.shards, strict=True):
        paths[name] = Layout(home).member(name) / "records.safetensors"
        tensors = {"inputs": np.ascontiguousarray(inputs, np.float64), "targets": np.ascontiguousarray(targets)}
        safetensors.numpy.save_file(tensors, paths[name])
    return paths


def _hear(view: View, planted: dict[int, Planted]) -> Any:
    """Put what worker processes say into the story; the ledger's own events tell the rest.

    What an attacker admits to having planted is kept by round, for the harness alone.
    """

    def hear(name: str, said: dict[str, Any]) -> None:
        match said["event"]:
            case "refused":
                view.tell(f"{name} in round {said['round']}: {_refusal(said)}", "good", **said)
            case "copied":
                view.tell(said["text"], "bad", round=said["round"])
            case "came to nothing":
                view.tell(f"{name}: {said['text']}", "odd", round=said["round"])
            case "planted":
                planted[said["round"]] = found = Planted(tuple(said["pixels"]), said["grey"], said["target"])
                view.tell(f"{name} hides a backdoor in round {said['round']} where its noise should be: {found}", "bad")
            case "died":
                view.tell(f"{name} ended with code {said['code']}: see {said['log']}", "bad")
            case "did" if said["text"].startswith("raised"):
                view.tell(f"{name.removeprefix('services-')}: {said['text']}", "odd")
            case _:
                pass

    return hear


def _refusal(said: dict[str, Any]) -> str:
    return explained(RULES.refusals[said["code"]](**said["facts"]))


async def _height(club: Consortium) -> int:
    return (await club.members["auditor"].client.rpc.status()).height


def with_seed(options: Options, seed: int) -> Options:
    """The same run with another seed."""
    return replace(options, seed=seed)
