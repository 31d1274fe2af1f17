"""A task whose artefacts and payloads are real bytes, over the in-memory chain: four hospitals train a tiny model.

The organisations, names and phases are those of ``campaigns.harness.consortium``, so its messages fit; what differs is
that every organisation has an age identity, and that model, input transforms and canary set exist. ``opened`` is built
once and handed out as forks::

    world = local_task.opened(tmp_path)
    world.open_round()
    contribution = await world.participant(HOSPITAL_A).contribute(1, world.trainer(HOSPITAL_A))
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from campaigns.harness import consortium
from campaigns.harness.chain import Chain, Member
from campaigns.harness.consortium import DATASET, HOSPITALS, LAB, MEMBERS, ROLES, TASK
from client_sdk.payloads.block_folder import BlockFolder
from client_sdk.payloads.store import PayloadStore
from client_sdk.secrets import age_identity
from client_sdk.training import artefacts
from client_sdk.training.journal import Journal
from client_sdk.training.participant import Participant
from client_sdk.training.task import TaskView
from client_sdk.training.trainer import Trainer
from contracts import rounds
from contracts.governance import OpenTask
from contracts.identity import AddKey
from contracts.rounds import OpenRound
from contracts.terms import Terms, Update
from learning.entropy import EntropySource
from learning.inputs import Standardisation
from learning.local_training import LocalUpdate
from learning.tensors import Int32
from services.rounds.gather import Gatherer
from tests.local_ledger import LocalNode

FEATURES = 4
SCALE_BITS = 16


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
    return Artefacts(replace(consortium.TERMS, update=update, canary_margin_ppm=1_000_000, **named), data)


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
    chain = Chain(consortium.genesis(*founders, operators=consortium.OPERATORS))
    consortium.succeed(chain, *((member, AddKey(member.worker.enrolment())) for member in MEMBERS))
    consortium.succeed(chain, *((hospital, consortium.register_dataset()) for hospital in HOSPITALS))
    consortium.pass_proposal(chain, OpenTask(terms))
    consortium.succeed(chain, *((hospital, consortium.join(terms=terms)) for hospital in HOSPITALS))
    return chain


@dataclass
class World:
    """One chain, one payload store, and whoever acts on them."""

    node: LocalNode
    store: PayloadStore
    folder: Path
    task: TaskView = field(default_factory=lambda: prepared().view)

    @property
    def chain(self) -> Chain:
        return self.node.chain

    def open_round(self) -> int:
        """Open the next round; its number."""
        self.chain.submit(LAB, OpenRound(TASK))
        return rounds.TASKS.at(self.chain.view, TASK).rounds

    def participant(self, member: Member, store: PayloadStore | None = None) -> Participant:
        """A hospital's participant, as a new process would make it: nothing but its journal is shared."""
        journal = Journal(self.folder / member.name / "journal")
        return Participant(
            self.node.client(member.worker), store or self.store, journal, member.name, DATASET, self.task
        )

    def gatherer(self, member: Member, store: PayloadStore | None = None) -> Gatherer:
        """What an aggregator or a verifier recomputes with."""
        return Gatherer(self.node.client(member.worker), store or self.store, self.task, (identities()[member.name],))

    def trainer(self, member: Member, entropy: EntropySource | None = None) -> "CountingTrainer":
        """A hospital's trainer on its own records."""
        return CountingTrainer(
            None, None, records(HOSPITALS.index(member)), self.task.inputs, *([entropy] if entropy else [])
        )

    async def contribute(self, number: int, members: Iterable[Member] = HOSPITALS) -> None:
        """Whole contributions, one after the other."""
        for member in members:
            await self.participant(member).contribute(number, self.trainer(member))


class CountingTrainer(Trainer):
    """The real trainer, which remembers how often it trained."""

    trained = 0

    def update(self, terms: Terms, base: Int32) -> LocalUpdate:
        self.trained += 1
        return super().update(terms, base)


def opened(folder: Path) -> World:
    """Four hospitals have joined, nothing has been trained; the artefacts are in the store."""
    store = BlockFolder(folder / "store")

    async def serve() -> None:
        for content in prepared().data.values():
            await store.put(content)

    asyncio.run(serve())
    return World(LocalNode(_opened().fork()), store, folder)
