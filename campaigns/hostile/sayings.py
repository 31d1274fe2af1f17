"""What attackers say under a right signature: messages that are well formed, and some that no state ever allows."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from random import Random

from contracts.ballots import AdvanceRound, Attest, OpenBallot, Seal, Share
from contracts.contributions import Reserve, Withdraw
from contracts.governance import AdmitOrganisation, Propose, RollBackModel, Vote
from contracts.identity import AddKey, ChangeRecipient, RegisterDataset, RevokeKey
from contracts.kernel import Message, Place, bitmap, limits
from contracts.kernel.types import Purpose, Role
from contracts.lineage import Candidate
from contracts.membership import CancelRecovery, CompleteRecovery
from contracts.models import RaiseAlarm
from contracts.rounds import OpenRound
from contracts.tasks import JoinTask, LeaveTask
from contracts.thefts import ReportStolenKey

from ..harness import consortium
from ..harness.chain import Member, Signer
from ..harness.consortium import (
    DATA_CLASS,
    DATASET,
    DELTA_INVERSE,
    LAB,
    LIMIT,
    MODEL,
    TASK,
    artefact,
    cid,
    digest,
)
from ..harness.recipients import recipient_of
from ..simulation.hostile import STRANGER
from ..simulation.members import CONTRIBUTORS, EVERYBODY, LABS, VERIFIERS

_NO_TASK, _NO_MODEL = "no-such-task", "no-such-model"
_NO_ROUND = limits.ROUNDS_PER_TASK  # No consortium of ours opens so many.


@dataclass(frozen=True)
class Wrong:
    """A message that no state allows, and who may sign it."""

    message: Message
    members: tuple[Member, ...] = EVERYBODY


def messages(rng: Random, human: Signer, worker: Signer | None, genesis: bytes) -> list[Message]:
    """One of every message that a human key signs, and with a worker also of those that workers sign."""
    spoken: list[Message] = [
        AddKey(Signer(human.organisation, Purpose.WORKLOAD, 50 + rng.randrange(50)).enrolment(genesis)),
        RevokeKey(human.public),
        ChangeRecipient(recipient_of(f"{human.organisation} {rng.randrange(9)}")),
        RegisterDataset(f"extra-{rng.randrange(1_000)}", DATA_CLASS, LIMIT, DELTA_INVERSE),
        Propose(RollBackModel(MODEL, rng.randrange(9), "because")),
        Vote(rng.randint(1, 9), approve=True),
        JoinTask(TASK, DATASET, digest("terms")),
        LeaveTask(TASK),
        ReportStolenKey(human.public, Place(1, 0)),
        CancelRecovery(),
        CompleteRecovery(rng.choice(CONTRIBUTORS).name),
    ]
    if worker is not None:
        number = rng.randint(1, 9)
        seats = bitmap.of(rng.sample(range(5), rng.randint(1, 5)))
        named = Candidate(TASK, number, number - 1, seats, bytes(bitmap.count(seats)), artefact("version"))
        spoken += [
            OpenRound(TASK),
            Reserve(TASK, number, DATASET),
            Withdraw(TASK, number),
            consortium.commit(number),
            Attest(TASK, number, seats),
            Share(TASK, number, rng.choice(CONTRIBUTORS).name, cid("copy"), 1_000),
            Seal(TASK, number, seats, digest("ballot")),
            OpenBallot(TASK, number, digest("salt"), rng.choice((named, replace(named, artefact=None))), 0),
            AdvanceRound(TASK, number),
            RaiseAlarm(MODEL, number, digest("evidence"), "unfit"),
        ]
    return spoken


def _never(genesis: bytes) -> Iterator[Wrong]:
    yield from _never_of_members(genesis)
    yield Wrong(CancelRecovery())  # Nobody has lost a key.
    yield Wrong(CompleteRecovery(LAB.name))
    yield from _never_in_a_round(_NO_TASK, 1)
    yield from _never_in_a_round(TASK, _NO_ROUND)
    yield Wrong(OpenRound(_NO_TASK), LABS)
    yield Wrong(LeaveTask(_NO_TASK), CONTRIBUTORS)
    yield Wrong(JoinTask(_NO_TASK, DATASET, digest("terms")), CONTRIBUTORS)
    yield Wrong(JoinTask(TASK, DATASET, digest("other terms")), CONTRIBUTORS)
    yield Wrong(JoinTask(TASK, "no-such-dataset", digest("terms")), CONTRIBUTORS)
    yield Wrong(Reserve(TASK, 1, "no-such-dataset"), CONTRIBUTORS)
    yield Wrong(consortium.commit(size=10**9), CONTRIBUTORS)
    yield Wrong(consortium.commit(base=10**5), CONTRIBUTORS)
    yield Wrong(Attest(TASK, 1, bitmap.of([200])), VERIFIERS)  # More than have joined.
    yield Wrong(Attest(TASK, 1, b"\1\0"), VERIFIERS)  # Another spelling of a set.
    yield Wrong(Share(TASK, 1, "nobody", cid("copy"), 1_000), VERIFIERS)
    yield Wrong(
        OpenBallot(TASK, 1, digest("another salt"), Candidate(TASK, 1, 0, bitmap.of([0]), b"\0", None), 0), VERIFIERS
    )
    yield Wrong(RaiseAlarm(_NO_MODEL, 1, digest("evidence"), "unfit"), VERIFIERS)
    yield Wrong(RaiseAlarm(MODEL, 0, digest("evidence"), "unfit"), VERIFIERS)  # There is nothing to go back to.


def _never_of_members(genesis: bytes) -> Iterator[Wrong]:
    stranger, lab = STRANGER.worker, LAB.worker
    others = tuple(member for member in EVERYBODY if member is not LAB)
    yield Wrong(RevokeKey(stranger.public))
    yield Wrong(RevokeKey(LAB.human.public), others)
    yield Wrong(RevokeKey(lab.public[:31] + b"\x00"))
    yield Wrong(ReportStolenKey(stranger.public, Place(1, 0)))
    yield Wrong(ReportStolenKey(LAB.human.public, Place(1, 0)), others)
    yield Wrong(AddKey(stranger.enrolment(genesis)))
    yield Wrong(AddKey(stranger.enrolment(digest("another genesis"), owner=LAB.name)), (LAB,))
    yield Wrong(AddKey(LAB.human.enrolment(genesis)))
    yield Wrong(ChangeRecipient(recipient_of(LAB.name)))  # It is the lab's already.
    yield Wrong(RegisterDataset("too-much", DATA_CLASS, limits.EPSILON_NANO_MAX, DELTA_INVERSE), CONTRIBUTORS)
    yield Wrong(Vote(10**9, approve=True))
    yield Wrong(Propose(RollBackModel(_NO_MODEL, 1, "because")))
    guest = consortium.as_member(STRANGER, (Role.AUDITOR,), 0, genesis)
    yield Wrong(Propose(AdmitOrganisation(replace(guest, organisation=LAB.name))))
    yield Wrong(Propose(AdmitOrganisation(replace(guest, legal_id=consortium.legal_id(LAB.name)))))


def _never_in_a_round(task: str, number: int) -> Iterator[Wrong]:
    """Of a round that is not there."""
    named = Candidate(task, number, 0, bitmap.of([0]), b"\0", artefact("version"))
    yield Wrong(Reserve(task, number, DATASET), CONTRIBUTORS)
    yield Wrong(Withdraw(task, number), CONTRIBUTORS)
    yield Wrong(consortium.commit(number, task=task), CONTRIBUTORS)
    yield Wrong(Attest(task, number, bitmap.of([0])), VERIFIERS)
    yield Wrong(Share(task, number, LAB.name, cid("copy"), 1_000), VERIFIERS)
    yield Wrong(Seal(task, number, bitmap.of([0]), digest("ballot")), VERIFIERS)
    yield Wrong(OpenBallot(task, number, digest("salt"), named, 0), VERIFIERS)
    yield Wrong(AdvanceRound(task, number))


@cache
def wrong(genesis: bytes) -> tuple[Wrong, ...]:
    """Messages that no state of the ledger of this genesis allows."""
    return tuple(_never(genesis))
