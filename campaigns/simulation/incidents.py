"""What goes wrong in a consortium's life: revoked keys, alarms, rollbacks, departures; each by those who may do it.

An incident is a handful of transactions for one block. Whether the ledger accepts them depends on where its life is.
"""

from collections.abc import Callable
from random import Random
from typing import TypeAlias

from contracts import contributions, identity, lineage, origin, rounds, tasks
from contracts.governance import Propose, RollBackModel
from contracts.identity import AddKey, RevokeKey
from contracts.kernel import Message, Place, View
from contracts.kernel.types import Purpose
from contracts.models import RaiseAlarm
from contracts.tasks import LeaveTask
from contracts.terms import Phase, Terms
from contracts.thefts import ReportStolenKey

from ..harness.chain import Member, Signer
from ..harness.consortium import digest
from .acts import BY_NAME
from .lifecycle import Lifecycle
from .members import CONTRIBUTORS, EVERYBODY, VERIFIERS

Signed: TypeAlias = list[tuple[Member | Signer, Message]]
Incident: TypeAlias = Callable[[Random, Lifecycle, View, int], Signed]
CHANCE = 0.25  # In a block.


def incident(rng: Random, life: Lifecycle, view: View, height: int) -> Signed:
    """Something, or nothing, that happens in the next block."""
    if rng.random() >= CHANCE:
        return []
    return rng.choice(INCIDENTS)(rng, life, view, height)


def revoked(rng: Random, life: Lifecycle, _view: View, _height: int) -> Signed:
    """A member retires its workload key; what that key signs in the same block comes too late."""
    member = rng.choice(EVERYBODY)
    return [(member, RevokeKey(life.worker(member).public))]


def stolen(rng: Random, life: Lifecycle, view: View, height: int) -> Signed:
    """A member finds that its key was not its own for some blocks, a current one or one it has retired.

    While a commitment can still be disowned, now and then that is what is found.
    """
    member = rng.choice(CONTRIBUTORS)
    key, back = member.key(Purpose.WORKLOAD, rng.randint(0, life.workers[member])), rng.randint(0, 25)
    committed = _committed(life, view)
    if committed and back % 4 == 1:
        return [committed[back % len(committed)]]
    return [(member, ReportStolenKey(key.public, Place(max(0, height - back), 0)))]


def human_key_replaced(rng: Random, _life: Lifecycle, view: View, _height: int) -> Signed:
    """A second human key is enrolled; when it is there, the two try to revoke each other."""
    member = rng.choice(EVERYBODY)
    second = member.key(Purpose.HUMAN, 1)
    if identity.KEYS.get(view, second.public) is None:
        return [(member, AddKey(second.enrolment(origin.genesis_of(view))))]
    return [(member, RevokeKey(second.public)), (second, RevokeKey(member.human.public))]


def alarm(rng: Random, life: Lifecycle, view: View, _height: int) -> Signed:
    """The verifiers find a promoted version unfit, most of the time enough of them."""
    found = _promoted(rng, life, view)
    if found is None:
        return []
    terms, number = found
    reporters = rng.sample(terms.verifiers, min(len(terms.verifiers), rng.choice((2, 4, 5))))
    return [(BY_NAME[one], RaiseAlarm(terms.model, number, digest("evidence"), "found unfit")) for one in reporters]


def roll_back(rng: Random, life: Lifecycle, view: View, _height: int) -> Signed:
    """A member asks for an earlier version; whether it was ever promoted is for the ledger to say."""
    found = _promoted(rng, life, view)
    if found is None:
        return []
    terms, number = found
    target = rng.randint(0, number + 1)
    return [(rng.choice(VERIFIERS), Propose(RollBackModel(terms.model, target, "worse in the clinic")))]


def departure(rng: Random, life: Lifecycle, _view: View, _height: int) -> Signed:
    """A contributor withdraws its consent, whatever phase a round is in."""
    return [(rng.choice(CONTRIBUTORS), LeaveTask(rng.choice(life.tasks).task))]


INCIDENTS: tuple[Incident, ...] = (revoked, stolen, human_key_replaced, alarm, alarm, roll_back, roll_back, departure)


def _committed(life: Lifecycle, view: View) -> Signed:
    """A report of each commitment to a round in which others may still commit."""
    found: Signed = []
    for terms in life.tasks:
        task = tasks.TASKS.get(view, terms.task)
        current = rounds.ROUNDS.get(view, (terms.task, task.rounds)) if task is not None and task.rounds else None
        if task is None or current is None or current.phase is not Phase.COMMITTING:
            continue
        for owner in tasks.organisations_of(view, terms.task, current.committed):
            made = contributions.SEATS.at(view, (terms.task, task.rounds, owner)).commitment
            found += [] if made is None else [(BY_NAME[owner], ReportStolenKey(made.signer, made.place))]
    return found


def _promoted(rng: Random, life: Lifecycle, view: View) -> tuple[Terms, int] | None:
    """A model with a version beyond its first, and mostly the current one."""
    terms = rng.choice(life.tasks)
    model = lineage.MODELS.get(view, terms.model)
    if model is None or model.current == 0:
        return None
    return terms, model.current if rng.random() < 0.8 else rng.randint(1, model.latest)
