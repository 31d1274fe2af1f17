"""One member floods a real network of four validators, others revoke keys: how many blocks does a revocation wait?

    python -m campaigns.flood --seconds 20 --report docs/data/flood.json

The flooding member sends through all four nodes at once, as fast as it can, what the rules accept at the moment: it
opens rounds of its own tasks, contributes to them and lets them end, and proposes. Every second a revocation goes to
one node: of another member's key, or of the flooding member's own. A revocation that CheckTx accepted when height h was
committed and that height H includes waited H - h blocks: 1 is the next block, 2 the first still to be proposed when
h + 1 was on its way.

The same is measured first without a flood. Every process and file belongs to this run and is gone after it.
"""

import argparse
import asyncio
import itertools
import json
import multiprocessing
import os
import platform
import re
import secrets
import statistics
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Event
from pathlib import Path

from abci_app.pool.door import ACCEPTED_AT
from abci_app.pool.shares import POOL_SHARE_FULL
from client_sdk.client import LedgerClient, Signed
from client_sdk.payloads.store import StoreKind
from client_sdk.reads import queries
from client_sdk.rpc import FoundTx, RpcClient, RpcError, TxInCache
from client_sdk.secrets.keys import SigningKey, new_signing_key
from client_sdk.session import open_client, unlock
from client_sdk.session.opening import ledger_id
from client_sdk.session.profile import find_profile
from contracts import rounds, tasks
from contracts.ballots import AdvanceRound
from contracts.contributions import Reserve
from contracts.governance import OpenTask, Propose, Proposed, Vote
from contracts.identity import AddKey, RegisterDataset, RevokeKey
from contracts.kernel import Message, codec, crypto, envelope, limits
from contracts.kernel.envelope import LedgerId
from contracts.kernel.types import Purpose, Role
from contracts.rounds import OpenRound, Round
from contracts.tasks import JoinTask
from contracts.terms import CommitTiming, Estimator, EstimatorKind, Phase, Phases, Terms
from contracts.transition import Replayed
from devnet import lifecycle
from devnet.manifest import Application, Manifest, Organisation, Timeouts

from .harness import consortium

OPERATORS = ("hospital-a", "hospital-b", "lab-1", "lab-2")
FLOODER = "flooder"
REVOKERS = ("hospital-a", FLOODER, "hospital-b")
DATA, DOCS = (Path(__file__).resolve().parents[1] / "docs" / name for name in ("data/flood.json", "operations.md"))
CONNECTIONS_PER_NODE = 12
TASKS = 8
AFTER_MS, _LONG_MS = limits.PHASE_MS_MIN, 600_000
HANG_SECONDS = 240.0  # It catches a flood that hangs, nothing else.


def manifest(timeouts: Timeouts) -> Manifest:
    """Four validators and a fifth member that runs none."""
    roles = (Role.DATA_OWNER, Role.VERIFIER, Role.OPERATOR)
    members = [Organisation(name, roles, 10 * 10**9, is_founder=True) for name in OPERATORS]
    flooder = Organisation(FLOODER, (Role.DATA_OWNER, Role.AGGREGATOR, Role.VERIFIER), 10 * 10**9, is_founder=True)
    return Manifest("flood", Application.FEDLEDGER, timeouts, StoreKind.LOCAL, 0, OPERATORS, (*members, flooder))


def terms(number: int) -> Terms:
    """A task that needs one participant; nobody attests, so a round is void half a second after its barrier."""
    return replace(
        consortium.TERMS,
        task=f"flood-{number}",
        model=f"flood-{number}",
        mechanism=replace(consortium.MECHANISM, noise_milli=100_000),
        estimator=Estimator(EstimatorKind.MEAN, byzantine=0, minimum=1),
        aggregators=(FLOODER,),
        verifiers=(*OPERATORS, FLOODER),
        recipients=(*OPERATORS, FLOODER),
        phases=Phases(_LONG_MS, _LONG_MS, AFTER_MS, _LONG_MS, _LONG_MS, blocks=1, commits=CommitTiming.WHEN_READY),
        max_rounds=limits.ROUNDS_PER_TASK,
    )


@dataclass(frozen=True)
class Plan:
    """How long, and with how much prepared."""

    quiet_seconds: float
    flood_seconds: float
    tasks: int
    timeouts: Timeouts = Timeouts.CONSORTIUM

    @property
    def keys(self) -> int:
        """To revoke, for each revoker: one a second in turn."""
        return int((self.quiet_seconds + self.flood_seconds) / len(REVOKERS)) + 2


# The network --------------------------------------------------------------------------------------


class Stage:
    """A running network with everybody's clients: what both measurements need."""

    def __init__(self, home: Path, plan: Plan) -> None:
        self.home, self.plan = home, plan
        self.spare: dict[str, list[bytes]] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Stage":
        status = await asyncio.to_thread(lifecycle.up, self.home, manifest(self.plan.timeouts))
        self._stack.push_async_callback(asyncio.to_thread, lifecycle.down, self.home, delete=True)
        try:
            self.addresses = [one.record.rpc for one in status.validators]
            self.nodes = [await self._stack.enter_async_context(RpcClient([each])) for each in self.addresses]
            self.profiles = {name: find_profile(str(self.home), name) for name in (*OPERATORS, FLOODER)}
            self.rings = {name: unlock(profile) for name, profile in self.profiles.items()}
            self.ledger = ledger_id(self.profiles[FLOODER])
            self.clients = {name: await self._client(name) for name in self.profiles}
            await self._prepare()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _client(self, name: str) -> LedgerClient:
        human = self.rings[name].signing("human")
        return await self._stack.enter_async_context(open_client(self.profiles[name], human))

    async def _prepare(self) -> None:
        """Keys to revoke, and tasks in whose rounds the flooding member is alone."""
        flooder, worker = self.clients[FLOODER], self.rings[FLOODER].signing("worker")
        dataset = RegisterDataset(consortium.DATASET, consortium.DATA_CLASS, 10 * 10**9, consortium.DELTA_INVERSE)
        await asyncio.gather(
            flooder.submit(AddKey(worker.enrolment(self.ledger.genesis, FLOODER))),
            flooder.submit(dataset),
            *(self._enrol(name) for name in REVOKERS),
        )
        await asyncio.gather(*(self._open(terms(number)) for number in range(self.plan.tasks)))

    async def _enrol(self, name: str) -> None:
        count = min(self.plan.keys, limits.KEYS_PER_ORGANISATION - 3)
        spare = [new_signing_key("spare", Purpose.WORKLOAD) for _ in range(count)]
        self.spare[name] = [key.public for key in spare]
        await asyncio.gather(
            *(self.clients[name].submit(AddKey(key.enrolment(self.ledger.genesis, name))) for key in spare)
        )

    async def _open(self, agreed: Terms) -> None:
        opened = await self.clients[FLOODER].submit(Propose(OpenTask(agreed)))
        vote = Vote(opened.event(Proposed).proposal, approve=True)
        voted = [self.clients[name].submit(vote, at_least=opened.height) for name in OPERATORS[:3]]
        decided = max(one.height for one in await asyncio.gather(*voted))
        joining = JoinTask(agreed.task, consortium.DATASET, tasks.terms_digest(agreed))
        await self.clients[FLOODER].submit(joining, at_least=decided)


# The flood ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Order:
    """What the flooding process is told."""

    ledger: LedgerId
    addresses: tuple[str, ...]
    human: SigningKey
    worker: SigningKey
    tasks: int


def flood(order: Order, full, stop, report) -> None:
    """The flooding process: says when a share is full; goes on until told to stop, then says what it was answered."""
    report.put(asyncio.run(Flood(order, full, stop).run()))


def due(number: int, last: int, current: Round | None) -> Message:
    """What takes a task on: its last round from phase to phase, or the next one. The flooding member is alone in it."""
    agreed = terms(number)
    if current is None or current.phase in rounds.OVER:
        return OpenRound(agreed.task)
    match current.phase:
        case Phase.RESERVING:
            return Reserve(agreed.task, last, consortium.DATASET)
        case Phase.COMMITTING:
            return consortium.commit(last, task=agreed.task, base=current.base, mechanism=agreed.mechanism)
        case _:
            return AdvanceRound(agreed.task, last)


class Flood:
    """Sends what is accepted: what takes its tasks on, again and again until a node says that it did, and proposals."""

    def __init__(self, order: Order, full, stop) -> None:
        self.order, self.full, self.stop = order, full, stop
        self.codes: Counter[str] = Counter()
        self.height = 1
        self.due = [due(number, 0, None) for number in range(order.tasks)]

    async def run(self) -> dict[str, int]:
        """Until told to stop: how often which code was answered, or which error met."""
        async with AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(RpcClient([each])) for each in self.order.addresses]
            senders = [self.send(node, first) for node in nodes for first in range(CONNECTIONS_PER_NODE)]
            await asyncio.gather(self.watch(nodes[0]), *senders)
        return dict(self.codes)

    async def watch(self, rpc: RpcClient) -> None:
        """The height, and what is due in each task, by what a node says."""
        while not self.stop.is_set():
            with suppress(RpcError):
                self.height = (await rpc.abci_info()).height
                for number in range(self.order.tasks):
                    self.due[number] = await self.look(rpc, number)
            await asyncio.sleep(0.1)

    async def look(self, rpc: RpcClient, number: int) -> Message:
        """What is due in a task."""
        name = terms(number).task
        last = tasks.TASKS.read(await queries.newest(rpc, tasks.TASKS.path(name))).rounds
        if last == 0:
            return due(number, 0, None)
        return due(number, last, rounds.ROUNDS.read(await queries.newest(rpc, rounds.ROUNDS.path((name, last)))))

    async def send(self, rpc: RpcClient, first: int) -> None:
        """One connection: one transaction after the other."""
        for count in itertools.count(first):
            if self.stop.is_set():
                return
            acceptable_at_any_time = Propose(OpenTask(terms(9_999)))
            await self.offer(rpc, acceptable_at_any_time if count % 2 else self.due[count // 2 % self.order.tasks])

    async def offer(self, rpc: RpcClient, message: Message) -> int:
        """The code that a node answered; -1 for an error."""
        raw = envelope.seal(
            self.order.human if message.purpose is Purpose.HUMAN else self.order.worker,
            self.order.ledger,
            tag=message.tag,
            body=codec.shape_of(type(message)).pack(message, ""),
            nonce=secrets.token_bytes(limits.NONCE_BYTES),
            valid_until=self.height + 100,
        )
        try:
            code = (await rpc.broadcast_tx_sync(raw)).code
        except RpcError as error:
            self.codes[type(error).__name__] += 1
            return -1
        self.codes[str(code)] += 1
        if code == POOL_SHARE_FULL:
            self.full.set()
        return code


# The measurement ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wait:
    """One revocation: the height that any node had committed when CheckTx accepted it, and the one that includes it.

    A node that lags behind the others accepts on an older state: that is no fault of the flood.
    """

    organisation: str
    node: int
    accepted: int
    included: int
    seconds: float

    @property
    def blocks(self) -> int:
        """From acceptance to inclusion."""
        return self.included - self.accepted


async def revocations(stage: Stage, seconds: float) -> tuple[list[Wait], list[int], int]:
    """Revoke a key every second. The waits, the transactions in the nodes' pools meanwhile, and the blocks made."""
    waits: list[asyncio.Task[Wait]] = []
    pools: list[int] = []
    began, first = time.monotonic(), (await stage.nodes[0].abci_info()).height
    for number in itertools.count():
        if number >= seconds:
            break
        name = REVOKERS[number % len(REVOKERS)]
        if stage.spare[name]:
            waits.append(asyncio.create_task(_revoke(stage, name, number % len(stage.nodes), stage.spare[name].pop())))
        for node in stage.nodes:
            with suppress(RpcError):
                answer = await node.transport.call("num_unconfirmed_txs", {})
                pools.append(answer["n_txs"].integer(0, 10**6))
        await asyncio.sleep(max(0.0, began + number + 1 - time.monotonic()))
    done = await asyncio.gather(*waits)
    return list(done), pools, (await stage.nodes[0].abci_info()).height - first


async def _revoke(stage: Stage, name: str, place: int, public: bytes) -> Wait:
    node, signed = stage.nodes[place], await stage.clients[name].sign(RevokeKey(public))
    known = await asyncio.gather(*(each.abci_info() for each in stage.nodes))
    began = time.monotonic()
    checked = await node.broadcast_tx_sync(signed.raw)
    if checked.code:
        raise AssertionError(f"a revocation was refused with code {checked.code}: {checked.log}")
    found = await _decided(node, signed)
    if found.code:
        raise AssertionError(f"a revocation was decided with code {found.code}")
    accepted = max(int(checked.log.removeprefix(ACCEPTED_AT)), *(each.height for each in known))
    return Wait(name, place, accepted, found.height, time.monotonic() - began)


async def _decided(node: RpcClient, signed: Signed) -> FoundTx:
    """What became of a transaction that was accepted. Offered again after each block: a pool must not lose it.

    Raises AssertionError with the reason when it was lost, or has expired.
    """
    digest, asked_at = crypto.sha256(signed.raw), 0
    while (found := await node.tx(digest)) is None:
        height = (await node.abci_info()).height
        if height > asked_at:
            asked_at = height
            code = await _offered_again(node, signed.raw)
            if code not in (None, Replayed.code) and await node.tx(digest) is None:
                raise AssertionError(f"a revocation was lost while it waited; offered again it has code {code}")
        await asyncio.sleep(0.02)
    return found


async def _offered_again(node: RpcClient, raw: bytes) -> int | None:
    """The code of CheckTx; None while the node has the bytes and asks nobody. 0 is of what it had lost."""
    try:
        return (await node.broadcast_tx_sync(raw)).code
    except TxInCache:
        return None


def _filled(full: Event, process: SpawnProcess) -> bool:
    """Whether the flood fills a share, looked at as long as its process lives."""
    until = time.monotonic() + HANG_SECONDS
    while process.is_alive() and time.monotonic() < until:
        if full.wait(0.5):
            return True
    return full.is_set()


def _ended(process: SpawnProcess) -> None:
    process.join(HANG_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()


async def measure(home: Path, plan: Plan) -> dict[str, object]:
    """Both measurements on one network."""
    async with Stage(home, plan) as stage:
        quiet = await revocations(stage, plan.quiet_seconds) if plan.quiet_seconds else None
        spawn = multiprocessing.get_context("spawn")
        full, stop, report = spawn.Event(), spawn.Event(), spawn.Queue()
        ring = stage.rings[FLOODER]
        signers = ring.signing("human"), ring.signing("worker")
        order = Order(stage.ledger, tuple(stage.addresses), *signers, plan.tasks)
        process = spawn.Process(target=flood, args=(order, full, stop, report), daemon=True)
        process.start()
        started = time.monotonic()
        try:
            if not await asyncio.to_thread(_filled, full, process):
                raise AssertionError(f"the flood did not fill a share; exit code of its process: {process.exitcode}")
            began = time.monotonic()
            flooded = await revocations(stage, plan.flood_seconds)
            lasted, offering = time.monotonic() - began, time.monotonic() - started
            stop.set()
            codes = await asyncio.to_thread(report.get, timeout=HANG_SECONDS)
        finally:
            stop.set()
            await asyncio.to_thread(_ended, process)
        failures = await asyncio.to_thread(_failures, home)
    return {
        "machine": {"processors": os.cpu_count(), "python": platform.python_version(), "system": platform.system()},
        "validators": len(OPERATORS),
        "timeouts": plan.timeouts.value,
        "quiet": _summary(quiet, plan.quiet_seconds) if quiet else {},
        "flood": {
            **_summary(flooded, lasted),
            "connections": CONNECTIONS_PER_NODE * len(OPERATORS),
            "offered": sum(codes.values()),
            "offered_per_second": round(sum(codes.values()) / offering),
            "answers": dict(sorted(codes.items())),
        },
        "failures_in_logs": failures,
    }


def _failures(home: Path) -> int:
    """Failures that the applications' logs tell of, and rechecks that the nodes did not finish in time."""
    texts = [(home / record.log).read_text(encoding="utf-8") for record in lifecycle.status(home).processes]
    return sum(text.count(" failed (time ") + text.count("timed out waiting for recheck") for text in texts)


def _summary(measured: tuple[list[Wait], list[int], int], seconds: float) -> dict[str, object]:
    waits, pools, blocks = measured
    return {
        "seconds": round(seconds, 1),
        "blocks": blocks,
        "revocations": len(waits),
        "own_revocations": sum(wait.organisation == FLOODER for wait in waits),
        "blocks_waited": dict(sorted(Counter(str(wait.blocks) for wait in waits).items())),
        "blocks_waited_most": max(wait.blocks for wait in waits),
        "seconds_waited_median": round(statistics.median(wait.seconds for wait in waits), 3),
        "seconds_waited_most": round(max(wait.seconds for wait in waits), 3),
        "pool_median": round(statistics.median(pools)),
        "pool_most": max(pools),
    }


def table(result: dict[str, object]) -> str:
    """The result as a table."""
    rows = [
        ("revocations", "revocations"),
        ("of the flooding member's own keys", "own_revocations"),
        ("blocks from acceptance to inclusion, and how often", "blocks_waited"),
        ("longest wait, blocks", "blocks_waited_most"),
        ("median wait, seconds", "seconds_waited_median"),
        ("longest wait, seconds", "seconds_waited_most"),
        ("blocks made", "blocks"),
        ("transactions in a node's pool, median", "pool_median"),
        ("transactions in a node's pool, most", "pool_most"),
        ("transactions offered by the flood, per second", "offered_per_second"),
    ]
    lines = ["| | quiet | flood |", "|---|---|---|"]
    for label, name in rows:
        cells = [_cell(result[part].get(name, "")) for part in ("quiet", "flood")]  # type: ignore[attr-defined]
        lines.append(f"| {label} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def documented(text: str, result: dict[str, object]) -> str:
    """The page with the result's table in its place."""
    return re.sub(r"(<!-- measured: flood -->\n).*?(<!-- end -->)", rf"\g<1>{table(result)}\n\2", text, flags=re.DOTALL)


def _cell(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {count}×" for name, count in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="how long the flood lasts (default 20)")
    parser.add_argument("--quiet", type=float, default=8.0, help="how long is measured without it (default 8)")
    parser.add_argument("--timeouts", choices=[each.value for each in Timeouts], default="consortium")
    parser.add_argument("--report", type=Path, help="also write the result to this file")
    options = parser.parse_args()
    plan = Plan(options.quiet, options.seconds, tasks=TASKS, timeouts=Timeouts(options.timeouts))
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(measure(Path(folder) / "net", plan))
    if options.report:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        options.report.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        if options.report.resolve() == DATA:
            DOCS.write_text(documented(DOCS.read_text(encoding="utf-8"), result), encoding="utf-8")
    sys.stdout.write(table(result) + "\n" + json.dumps(result, indent=2) + "\n")
    return 0 if result["flood"]["blocks_waited_most"] <= 2 else 1  # type: ignore[index]


if __name__ == "__main__":
    sys.exit(main())
