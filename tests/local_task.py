"""A task whose artefacts and payloads are real bytes, over the in-memory chain: four hospitals train a tiny model.

The organisations, names and phases are those of ``campaigns.harness.consortium``, so its messages fit; what differs is
that every organisation has an age identity, and that model, input transforms and canary set exist. ``opened`` is built
once and handed out as forks. Whoever takes part waits for the round's phases, so block time must pass: ``World.run``
lets it, whenever nobody is at work::

    world = local_task.opened(tmp_path)
    world.open_round()
    (contribution, *_) = world.run(*(world.contribution(hospital) for hospital in HOSPITALS))
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from campaigns.harness import consortium, founding
from campaigns.harness.chain import Chain, Member
from campaigns.harness.consortium import DATASET, HOSPITALS, LAB, MEMBERS, ROLES, TASK
from client_sdk.client import LedgerClient
from client_sdk.payloads.block_folder import BlockFolder
from client_sdk.payloads.cid import Cid
from client_sdk.payloads.store import PayloadStore
from client_sdk.secrets import age_identity
from client_sdk.training import artefacts
from client_sdk.training.journal import Journal
from client_sdk.training.outcomes import Contribution
from client_sdk.training.participant import Participant, Tamper
from client_sdk.training.task import TaskView
from client_sdk.training.trainer import Trainer
from contracts import tasks
from contracts.governance import OpenTask
from contracts.identity import AddKey
from contracts.rounds import OpenRound
from contracts.terms import Terms, Update
from learning.entropy import EntropySource
from learning.inputs import Standardisation
from learning.local_training import LocalUpdate
from learning.tensors import Int32
from services.rounds.ballot_journal import BallotJournal
from services.rounds.gather import Gatherer
from tests.local_ledger import LocalNode

FEATURES = 4
SCALE_BITS = 16
STILL = 4  # So many looks without anybody at work make a second of block time pass.
PATIENCE_MS = 1_800_000  # Of block time: whatever a test waits for comes sooner, or not at all.
Job = Coroutine[Any, Any, Any]


@dataclass(frozen=True)
class Artefacts:
    """The public bytes that the terms name, and the terms."""

    terms: Terms
    data: dict[str, bytes]

    @property
    def view(self) -> TaskView:
        return TaskView(self.terms, artefacts.decode_inputs(self.data["inputs"]))


@cache
def identities() -> dict[str, str]:
    """Every organisation's age identity, new in each test session."""
    return {member.name: age_identity.new_identity() for member in MEMBERS}


def records(seed: int, count: int = 40) -> tuple[Any, Any]:
    """Records that a line separates, with some noise: inputs (n, 4), classes (n,)."""
    generator = np.random.Generator(np.random.PCG64(seed))
    inputs = generator.normal(size=(count, FEATURES))
    return inputs, (inputs[:, 0] + 0.3 * inputs[:, 1] > 0).astype(np.int64)


@cache
def prepared() -> Artefacts:
    """The task of ``campaigns.harness.consortium`` with artefacts that exist."""
    transform = Standardisation.uniform(FEATURES, 0.0, 1.0)
    inputs = artefacts.encode_inputs((FEATURES, 2), ("benign", "malignant"), transform)
    layout = artefacts.decode_inputs(inputs).layout
    manifest = artefacts.model_manifest(TASK, 0, None, SCALE_BITS)
    data = {
        "inputs": inputs,
        "initial": artefacts.encode_model(np.zeros(layout.size, np.int32), manifest, layout),
        "canary": artefacts.encode_canary(*records(99)),
    }
    named = {name: artefacts.describe(content) for name, content in data.items()}
    update = Update(SCALE_BITS, max_norm_milli=10_000, max_bytes=10_000)
    terms = replace(consortium.TERMS, update=update, canary_margin_ppm=1_000_000, canary_records=40, **named)
    return Artefacts(terms, data)


@cache
def _opened() -> Chain:
    terms = prepared().terms
    founders = tuple(
        replace(
            consortium.as_member(member, ROLES[member]),
            recipient=age_identity.recipient_of(identities()[member.name]),
        )
        for member in MEMBERS
    )
    chain = Chain(founding.genesis(*founders, operators=consortium.OPERATORS))
    consortium.succeed(chain, *((member, AddKey(member.worker.enrolment(chain.ledger.genesis))) for member in MEMBERS))
    consortium.succeed(chain, *((hospital, consortium.register_dataset()) for hospital in HOSPITALS))
    consortium.pass_proposal(chain, OpenTask(terms))
    consortium.succeed(chain, *((hospital, consortium.join(terms=terms)) for hospital in HOSPITALS))
    return chain


@dataclass
class Clock:
    """Makes an empty block, a second later than the last, whenever nobody is at work and no block is made."""

    node: LocalNode
    busy: int = 0

    @contextmanager
    def working(self) -> Iterator[None]:
        """The clock stands still."""
        self.busy += 1
        try:
            yield
        finally:
            self.busy -= 1

    def watched(self, program: Any, *methods: str) -> Any:
        """The clock stands still while the program is in one of these methods."""
        for method in methods:
            setattr(program, method, self._watching(getattr(program, method)))
        return program

    async def run(self, over: Callable[[], bool]) -> None:
        """Tick until it is over."""
        chain, last, still = self.node.chain, self.node.chain.height, 0
        deadline = chain.time_ms + PATIENCE_MS
        while not over():
            await asyncio.sleep(0.005)
            still = 0 if self.busy or chain.height != last else still + 1
            if still == STILL:
                self.node.let_pass(1_000)
                still = 0
            last = chain.height
            assert chain.time_ms < deadline, "nothing more happens"

    def _watching(self, original: Callable[..., Any]) -> Callable[..., Any]:
        async def working(*arguments: Any, **options: Any) -> Any:
            with self.working():
                return await original(*arguments, **options)

        return working


@dataclass
class World:
    """One chain, one payload store, and whoever acts on them."""

    node: LocalNode
    store: PayloadStore
    folder: Path
    clock: Clock
    task: TaskView = field(default_factory=lambda: prepared().view)

    @property
    def chain(self) -> Chain:
        return self.node.chain

    def open_round(self) -> int:
        """Open the next round; its number."""
        self.chain.submit(LAB, OpenRound(TASK))
        return tasks.TASKS.at(self.chain.view, TASK).rounds

    def client(self, member: Member) -> LedgerClient:
        """A client that signs with a member's workload key."""
        client: LedgerClient = self.clock.watched(self.node.client(member.worker), "sign")
        return client

    def participant(self, member: Member, store: PayloadStore | None = None) -> Participant:
        """A hospital's participant, as a new process would make it: nothing but its journal is shared."""
        journal = Journal(self.folder / member.name / "journal")
        made = Participant(self.client(member), store or self.store, journal, member.name, DATASET, self.task)
        watched: Participant = self.clock.watched(made, "train")
        return watched

    def gatherer(self, member: Member, store: PayloadStore | None = None) -> Gatherer:
        """What an aggregator or a verifier fetches and recomputes with."""
        made = Gatherer(self.client(member), store or self.store, self.task, (identities()[member.name],))
        watched: Gatherer = self.clock.watched(made, "answer")
        return watched

    def ballots(self, member: Member) -> BallotJournal:
        """Where a verifier keeps what it has sealed."""
        return BallotJournal(self.folder / member.name / "ballots")

    def trainer(self, member: Member, entropy: EntropySource | None = None) -> "CountingTrainer":
        """A hospital's trainer on its own records."""
        return CountingTrainer(
            None, None, records(HOSPITALS.index(member)), self.task.inputs, *([entropy] if entropy else [])
        )

    async def contribution(self, member: Member, number: int = 1, tamper: Tamper | None = None) -> Contribution:
        """A hospital's whole contribution: it waits for the others', and for block time to pass."""
        return await self.participant(member).contribute(number, self.trainer(member), tamper)

    async def contribute(self, number: int, members: Iterable[Member] = HOSPITALS) -> list[Contribution]:
        """Whole contributions of members at once; time passes when all of them wait."""
        return await self.course(*(self.contribution(member, number) for member in members))

    async def course(self, *jobs: Job) -> list[Any]:
        """Run jobs to their end, and let block time pass; what they came to. The first that fails ends all."""
        tasks = [asyncio.ensure_future(job) for job in jobs]
        try:
            await self.clock.run(lambda: _are_done(tasks))
        finally:
            await _cancelled(tasks)
        return [task.result() for task in tasks]

    async def until(self, over: Callable[[], bool], *jobs: Job) -> None:
        """Run jobs, and let block time pass, until something is true; then end the jobs."""
        tasks = [asyncio.ensure_future(job) for job in jobs]
        try:
            await self.clock.run(lambda: over() if not _are_failed(tasks) else True)
        finally:
            await _cancelled(tasks)

    def run(self, *jobs: Job) -> list[Any]:
        """``course`` on a loop of its own."""
        return asyncio.run(self.course(*jobs))


class Watched:
    """A payload store in front of another one; the clock stands still while that works."""

    def __init__(self, inner: PayloadStore, clock: Clock) -> None:
        self.inner = inner
        self.clock = clock

    async def put(self, data: bytes) -> Cid:
        with self.clock.working():
            return await self.inner.put(data)

    async def get(self, cid: Cid, max_bytes: int) -> bytes:
        with self.clock.working():
            return await self.inner.get(cid, max_bytes)

    async def has(self, cid: Cid) -> bool:
        with self.clock.working():
            return await self.inner.has(cid)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def _are_done(tasks: list["asyncio.Future[Any]"]) -> bool:
    return _are_failed(tasks) or all(task.done() for task in tasks)


def _are_failed(tasks: list["asyncio.Future[Any]"]) -> bool:
    return any(task.done() and not task.cancelled() and task.exception() is not None for task in tasks)


async def _cancelled(tasks: list["asyncio.Future[Any]"]) -> None:
    """End what still runs; raise what failed."""
    for task in tasks:
        if task.done():
            task.result()
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task


class CountingTrainer(Trainer):
    """The real trainer, which remembers how often it trained."""

    trained = 0

    def update(self, terms: Terms, base: Int32) -> LocalUpdate:
        self.trained += 1
        return super().update(terms, base)


def opened(folder: Path) -> World:
    """Four hospitals have joined, nothing has been trained; the artefacts are in the store."""
    store, node = BlockFolder(folder / "store"), LocalNode(_opened().fork())
    clock = Clock(node)

    async def serve() -> None:
        for content in prepared().data.values():
            await store.put(content)

    asyncio.run(serve())
    return World(node, Watched(store, clock), folder, clock)  # type: ignore[arg-type]
