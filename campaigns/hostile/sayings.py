"""What attackers say under a right signature: messages that are well formed, and some that no state ever allows."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from contracts.contributions import Publish, Reserve
from contracts.governance import AdmitOrganisation, Propose, RollBackModel, Vote
from contracts.identity import AddKey, ChangeRecipient, RegisterDataset, RevokeKey
from contracts.kernel import Message, limits
from contracts.kernel.types import Purpose, Role
from contracts.models import RaiseAlarm, ReportStolenKey, VoteVersion
from contracts.rounds import CloseRound, JoinTask, OpenRound

from ..harness import consortium
from ..harness.chain import Member, Signer
from ..harness.consortium import DATA_CLASS, DELTA_INVERSE, LAB, LIMIT, RECIPIENT, STAND_BY, digest
from ..simulation.hostile import STRANGER
from ..simulation.members import CHAIN_ID, EVERYBODY, FOUNDERS, HOSPITALS, LABS


@dataclass(frozen=True)
class Wrong:
    """A message that no state allows, and who may sign it."""

    message: Message
    members: tuple[Member, ...] = EVERYBODY


def messages(rng: Random, human: Signer, worker: Signer | None) -> list[Message]:
    """One of every message that a human key signs, and with a worker also of those that workers sign."""
    task, model, dataset = consortium.TASK, consortium.MODEL, consortium.DATASET
    spoken: list[Message] = [
        AddKey(Signer(human.organisation, Purpose.WORKLOAD, 50 + rng.randrange(50)).enrolment(CHAIN_ID)),
        RevokeKey(human.public),
        ChangeRecipient(RECIPIENT),
        RegisterDataset(f"extra-{rng.randrange(1_000)}", DATA_CLASS, LIMIT, DELTA_INVERSE),
        Propose(RollBackModel(model, rng.randrange(9), "because")),
        Vote(rng.randint(1, 9), approve=True),
        JoinTask(task, dataset, digest("terms")),
        ReportStolenKey(human.public, 1),
    ]
    if worker is not None:
        number = rng.randint(1, 9)
        spoken += [
            OpenRound(task),
            CloseRound(task, number),
            Reserve(task, number, dataset),
            consortium.commit(number),
            Publish(task, number, dataset),
            VoteVersion(model, number, digest("version")),
            RaiseAlarm(model, number, digest("evidence"), "unfit"),
        ]
    return spoken


def _never(task: str = "no-such-task", model: str = "no-such-model") -> Iterator[Wrong]:
    dataset = consortium.DATASET
    stranger, lab = STRANGER.worker, LAB.worker
    others = tuple(member for member in EVERYBODY if member is not LAB)
    yield Wrong(RevokeKey(stranger.public))
    yield Wrong(RevokeKey(LAB.human.public), others)
    yield Wrong(ReportStolenKey(stranger.public, 1))
    yield Wrong(ReportStolenKey(LAB.human.public, 1), others)
    yield Wrong(AddKey(stranger.enrolment(CHAIN_ID)))
    yield Wrong(AddKey(stranger.enrolment("another-chain", owner=LAB.name)), (LAB,))
    yield Wrong(AddKey(LAB.human.enrolment(CHAIN_ID)))
    yield Wrong(RegisterDataset("too-much", DATA_CLASS, limits.EPSILON_NANO_MAX, DELTA_INVERSE), HOSPITALS)
    yield Wrong(Vote(10**9, approve=True))
    yield Wrong(Propose(RollBackModel(model, 1, "because")))
    guest = consortium.as_member(STRANGER, (Role.AUDITOR,), 0, CHAIN_ID)
    yield Wrong(Propose(AdmitOrganisation(replace(guest, organisation=LAB.name))))
    yield Wrong(Propose(AdmitOrganisation(replace(guest, legal_id=consortium.legal_id(LAB.name)))))
    yield Wrong(JoinTask(task, dataset, digest("terms")), HOSPITALS)
    yield Wrong(JoinTask(consortium.TASK, dataset, digest("other terms")), HOSPITALS)
    yield Wrong(JoinTask(consortium.TASK, "no-such-dataset", digest("terms")), HOSPITALS)
    yield Wrong(OpenRound(task), LABS)
    yield Wrong(CloseRound(task, 1), LABS)
    yield Wrong(CloseRound(consortium.TASK, limits.ROUNDS_PER_TASK), (LAB, STAND_BY))
    yield Wrong(Reserve(task, 1, dataset), HOSPITALS)
    yield Wrong(Reserve(consortium.TASK, limits.ROUNDS_PER_TASK, dataset), HOSPITALS)
    yield Wrong(consortium.commit(limits.ROUNDS_PER_TASK), HOSPITALS)
    yield Wrong(Publish(task, 1, dataset), HOSPITALS)
    yield Wrong(VoteVersion(model, 1, digest("version")), (*FOUNDERS[:3], *LABS))
    yield Wrong(RaiseAlarm(model, 1, digest("evidence"), "unfit"), (*FOUNDERS[:3], *LABS))
    yield Wrong(RevokeKey(lab.public[:31] + b"\x00"))


WRONG: Final = tuple(_never())
