"""Tasks: their terms, who joined under them, and who may take part.

A task's terms are fixed when governance opens it; their price is computed once, then. Joining is a human key's
signature over the digest of the terms and a dataset: consent, without which nothing can be reserved. An organisation
has one number in a task, and so at most one seat in a round, however many of its datasets have joined. Every eligible
participant may take its seat, because a draw that nobody can grind is not built yet, and a public participant list
voids amplification by client sampling anyway.

Part of the contract ``rounds``, which opens the rounds of a task.
"""

from dataclasses import replace
from typing import Annotated

from . import identity, reputation
from .kernel import (
    Context,
    Event,
    Lane,
    Map,
    Message,
    Outcome,
    Record,
    Rejected,
    View,
    bitmap,
    crypto,
    found,
    limits,
    renyi,
    require,
)
from .kernel.renyi import Curve
from .kernel.types import (
    DatasetId,
    Digest,
    Height,
    Items,
    NanoEpsilon,
    OrgId,
    Purpose,
    Range,
    Role,
    RoundNumber,
    SeatNumber,
    Seats,
    TaskId,
    TimeMs,
    VersionNumber,
)
from .terms import Terms, price_of, require_consistent


class Participation(Record):
    """An organisation's part in a task: its seat number for good, and the datasets it consented to."""

    number: SeatNumber
    datasets: Annotated[tuple[DatasetId, ...], Items(1, limits.DATASETS_PER_ORGANISATION)]
    from_round: RoundNumber  # The first round it may reserve in.
    left: bool


class Roster(Record):
    """The organisations that ever joined a task, by seat number."""

    organisations: Annotated[tuple[OrgId, ...], Items(0, limits.SEATS_PER_ROUND)]


class Task(Record):
    """A task under way: the digest of its terms, its price, and the version its next round starts from."""

    terms_digest: Digest
    price: Curve
    opened_at: Height
    base: VersionNumber
    rounds: Annotated[int, Range(0, limits.ROUNDS_PER_TASK)]  # Opened so far: the number of the newest.
    trained: Annotated[int, Range(0, limits.ROUNDS_PER_TASK)]  # Those of them in which training started.
    participants: Annotated[int, Range(0, limits.SEATS_PER_ROUND)]  # Who have joined and not left.


TERMS = Map("rounds/terms", Terms, "task")
TASKS = Map("rounds/tasks", Task, "task")
ROSTERS = Map("rounds/rosters", Roster, "task")
PARTICIPATIONS = Map("rounds/participations", Participation, "task", "organisation")


class JoinTask(Message, purpose=Purpose.HUMAN, role=Role.DATA_OWNER, lane=Lane.GOVERNANCE):
    """Consent: the sender's organisation lets this dataset be used under exactly these terms."""

    task: TaskId
    dataset: DatasetId
    terms_digest: Digest


class LeaveTask(Message, purpose=Purpose.HUMAN, role=Role.DATA_OWNER, lane=Lane.SAFETY):
    """Withdraw consent for all datasets of the sender's organisation: it reserves no more."""

    task: TaskId


class TaskOpened(Event):
    """A task was opened under fixed terms."""

    task: TaskId
    terms_digest: Digest
    epsilon_per_round: NanoEpsilon  # At δ = 10⁻⁵; rounds compose, their ε do not add.


class TaskJoined(Event):
    """A dataset joined a task."""

    task: TaskId
    organisation: OrgId
    dataset: DatasetId


class TaskLeft(Event):
    """An organisation left a task."""

    task: TaskId
    organisation: OrgId


class UnknownTask(Rejected, code=603, hint="Check the name: `fedledger task show` lists the open tasks."):
    """No task of this name was opened."""


class TaskExists(Rejected, code=604, hint="Choose another name for the task."):
    """A task of this name was opened already."""


class TermsDiffer(Rejected, code=605, hint="Read the current terms with `fedledger task show`, then join again."):
    """The digest is not that of the task's terms: consent is to exact terms only."""


class AlreadyJoined(Rejected, code=606, hint="Nothing to do: the dataset takes part from the next round on."):
    """The dataset has joined this task."""


class WrongDataClass(Rejected, code=607, hint="Join with a dataset of the class that the terms name."):
    """The dataset's class is not the one the terms admit."""


class NotJoined(Rejected, code=608, hint="Join the task with a human key first: `fedledger task join`."):
    """The organisation has not joined the task with this dataset, or has left it."""


class NotYourTask(Rejected, code=609, hint="Only an aggregator that the terms name may do this."):
    """The terms do not name the organisation as an aggregator of this task."""


class NoMoreRounds(Rejected, code=611, hint="Open a new task: consent was for this many rounds."):
    """The terms allow no further round."""


class MissingMandate(Rejected, code=618, hint="Name an organisation that was admitted with this role."):
    """The terms give an organisation a part that its roles do not cover."""


class TooLittleReputation(Rejected, code=619, hint="It halves its way back to neutral: `fedledger org show`."):
    """The organisation's reputation is below what the terms ask for."""


def join_task(view: View, msg: JoinTask, ctx: Context) -> Outcome:
    """Record consent to the terms; the first dataset of an organisation gets it its number.

    Rejects: UnknownTask, TermsDiffer, UnknownDataset, WrongDataClass, NoMoreRounds, AlreadyJoined.
    """
    task = require_task(view, msg.task)
    terms = TERMS.at(view, msg.task)
    require_rounds_left(task, terms)
    require(msg.terms_digest == task.terms_digest, lambda: TermsDiffer(wanted=task.terms_digest))
    dataset = identity.require_dataset(view, ctx.organisation, msg.dataset)
    require(
        dataset.data_class == terms.data_class,
        lambda: WrongDataClass(data_class=dataset.data_class, wanted=terms.data_class),
    )
    before = PARTICIPATIONS.get(view, (msg.task, ctx.organisation))
    present = before is not None and not before.left
    if before is not None and present:
        require(msg.dataset not in before.datasets, lambda: AlreadyJoined(dataset=msg.dataset))
        joined, roster = replace(before, datasets=(*before.datasets, msg.dataset)), Outcome()
    elif before is not None:
        joined, roster = Participation(before.number, (msg.dataset,), task.rounds + 1, left=False), Outcome()
    else:
        known = ROSTERS.at(view, msg.task).organisations
        joined = Participation(len(known), (msg.dataset,), task.rounds + 1, left=False)
        roster = Outcome((ROSTERS.put(msg.task, Roster((*known, ctx.organisation))),))
    counted = replace(task, participants=task.participants + (not present))
    return roster + Outcome(
        (PARTICIPATIONS.put((msg.task, ctx.organisation), joined), TASKS.put(msg.task, counted)),
        (TaskJoined(msg.task, ctx.organisation, msg.dataset),),
    )


def participants_of(view: View, name: TaskId) -> Seats:
    """Who can take part in a round that is opened now: who joined, has not left, and is an active member."""
    names = ROSTERS.at(view, name).organisations
    parts = ((number, who, PARTICIPATIONS.at(view, (name, who))) for number, who in enumerate(names))
    return bitmap.of(number for number, who, part in parts if not part.left and identity.is_active(view, who))


def require_rounds_left(task: Task, terms: Terms) -> None:
    """The terms allow another round. One that ended before training started counts for none. Rejects: NoMoreRounds."""
    left = task.trained < terms.max_rounds and task.rounds < limits.ROUNDS_PER_TASK
    require(left, lambda: NoMoreRounds(limit=terms.max_rounds))


def leave_task(view: View, msg: LeaveTask, ctx: Context) -> Outcome:
    """Record that consent is withdrawn; a seat that was reserved keeps its course. Rejects: UnknownTask, NotJoined."""
    task = require_task(view, msg.task)
    part = require_participation(view, msg.task, ctx.organisation)
    return Outcome(
        (
            PARTICIPATIONS.put((msg.task, ctx.organisation), replace(part, left=True)),
            TASKS.put(msg.task, replace(task, participants=task.participants - 1)),
        ),
        (TaskLeft(msg.task, ctx.organisation),),
    )


def open_task(view: View, terms: Terms, ctx: Context) -> Outcome:
    """Fix a task's terms and compute its price. For governance. Rejects: as ``require_openable``."""
    require_openable(view, terms)
    price = price_of(terms.mechanism)
    digest = terms_digest(terms)
    task = Task(digest, price, ctx.height, base=0, rounds=0, trained=0, participants=0)
    epsilon = min(renyi.least_epsilon(price, limits.DELTA_INVERSE_MIN)[0], limits.EPSILON_NANO_MAX)
    return Outcome(
        (TERMS.put(terms.task, terms), TASKS.put(terms.task, task), ROSTERS.put(terms.task, Roster(()))),
        (TaskOpened(terms.task, digest, epsilon),),
    )


def require_openable(view: View, terms: Terms) -> None:
    """Terms that could be opened now, checked without computing their price, which is the costly part.

    Rejects: TaskExists, UnknownOrganisation, MemberInactive, MissingMandate, BreakdownPoint, TermsInconsistent.
    """
    require(TASKS.get(view, terms.task) is None, lambda: TaskExists(task=terms.task))
    require_consistent(terms)
    for role, names in ((Role.AGGREGATOR, terms.aggregators), (Role.VERIFIER, terms.verifiers)):
        for name in names:
            roles = identity.require_active(view, name).roles
            if role not in roles:
                raise MissingMandate(organisation=name, role=role)
    for name in terms.recipients:
        identity.require_active(view, name)


def require_task(view: View, name: TaskId) -> Task:
    """The task of this name. Rejects: UnknownTask."""
    return found(TASKS, view, name, lambda: UnknownTask(task=name))


def require_terms(view: View, name: TaskId) -> Terms:
    """The terms of the task of this name. Rejects: UnknownTask."""
    return found(TERMS, view, name, lambda: UnknownTask(task=name))


def require_participation(view: View, task: TaskId, organisation: OrgId) -> Participation:
    """The organisation's part in a task, which it has not left. Rejects: NotJoined."""
    part = PARTICIPATIONS.get(view, (task, organisation))
    if part is None or part.left:
        raise NotJoined(task=task, organisation=organisation)
    return part


def require_aggregator(terms: Terms, organisation: OrgId) -> None:
    """The terms name the organisation as an aggregator. Rejects: NotYourTask."""
    require(organisation in terms.aggregators, lambda: NotYourTask(task=terms.task, organisation=organisation))


def require_reputation(view: View, terms: Terms, organisation: OrgId, now: TimeMs) -> reputation.Score:
    """The organisation's score at a block time, which the terms are content with. Rejects: TooLittleReputation."""
    score = reputation.at(view, organisation, now)
    require(
        score.deviation >= terms.minimum_reputation,
        lambda: TooLittleReputation(reputation=score.deviation, minimum=terms.minimum_reputation),
    )
    return score


def organisations_of(view: View, task: TaskId, seats: Seats) -> tuple[OrgId, ...]:
    """The organisations of a set of seats, in the order of their numbers."""
    roster = ROSTERS.at(view, task).organisations
    return tuple(roster[number] for number in bitmap.numbers(seats))


def terms_digest(terms: Terms) -> Digest:
    """What a data owner consents to: SHA-256 of the terms' canonical bytes."""
    return crypto.sha256(terms.encode())
