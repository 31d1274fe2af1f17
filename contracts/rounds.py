"""Tasks and rounds: who joined under which terms, and which phase a round is in.

A task's terms are fixed when governance opens it; their price is computed once, then. Joining is a human key's
signature over the digest of the terms and a dataset: consent, without which nothing can be reserved. Every eligible
participant is selected, because a draw that nobody can grind is not built yet, and a public participant list voids
amplification by client sampling anyway.

A round moves by block time and by what its seats have done::

    open ── close ──► closed ── a version was promoted or failed its canary ──► decided
      └── too few published ──► void ◄── nobody proposed in time ── closed

``contributions`` advances the seats and ``models`` decides the round, both through the effect builders here.
"""

from dataclasses import replace
from enum import StrEnum
from typing import Annotated

from . import identity, privacy_budget, reputation
from .kernel import (
    Context,
    Contract,
    Event,
    Lane,
    Map,
    Message,
    Outcome,
    Record,
    Rejected,
    View,
    Write,
    crypto,
    found,
    limits,
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
    Positive,
    Purpose,
    Range,
    Reason,
    Role,
    RoundNumber,
    TaskId,
    TimeMs,
    VersionNumber,
)
from .terms import Terms, price_of, require_consistent


class Participant(Record):
    """A dataset whose owner accepted the terms."""

    organisation: OrgId
    dataset: DatasetId


class Task(Record):
    """A task under way: the digest of its terms, its price, who joined, and the version its next round starts from."""

    terms_digest: Digest
    price: Curve
    opened_at: Height
    base: VersionNumber
    rounds: Annotated[int, Range(0, limits.ROUNDS_PER_TASK)]
    participants: Annotated[tuple[Participant, ...], Items(0, limits.SEATS_PER_ROUND)]


class Progress(StrEnum):
    """How far a seat has come in its round."""

    INVITED = "invited"
    RESERVED = "reserved"
    COMMITTED = "committed"
    PUBLISHED = "published"


class Seat(Record):
    """A participant's place in one round, with its weight as of the opening."""

    organisation: OrgId
    dataset: DatasetId
    weight: Annotated[int, Range(reputation.WEIGHT_FLOOR, reputation.WEIGHT_CAP)]
    progress: Progress


class RoundStatus(StrEnum):
    """Where a round stands."""

    OPEN = "open"
    CLOSED = "closed"
    DECIDED = "decided"
    VOID = "void"


class Round(Record):
    """One round. Its deadlines are block times; the last block before a deadline is the last that counts."""

    base: VersionNumber
    status: RoundStatus
    opened_at: TimeMs
    reserve_by: TimeMs
    commit_by: TimeMs
    publish_by: TimeMs
    closed_at: TimeMs  # 0 while open. The aggregators' turns are counted from here.
    seats: Annotated[tuple[Seat, ...], Items(1, limits.SEATS_PER_ROUND)]


TERMS = Map("rounds/terms", Terms, "task")
TASKS = Map("rounds/tasks", Task, "task")
ROUNDS = Map("rounds/rounds", Round, "task", "round")


class JoinTask(Message, purpose=Purpose.HUMAN, role=Role.DATA_OWNER, lane=Lane.GOVERNANCE):
    """Consent: the sender's organisation lets this dataset be used under exactly these terms."""

    task: TaskId
    dataset: DatasetId
    terms_digest: Digest


class OpenRound(Message, purpose=Purpose.WORKLOAD, role=Role.AGGREGATOR, lane=Lane.ROUND):
    """Open the next round from the task's current base version."""

    task: TaskId


class CloseRound(Message, purpose=Purpose.WORKLOAD, role=Role.AGGREGATOR, lane=Lane.ROUND):
    """Close a round whose seats have all published or missed a deadline; too few void it."""

    task: TaskId
    round: RoundNumber


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


class RoundOpened(Event):
    """A round was opened."""

    task: TaskId
    round: RoundNumber
    base: VersionNumber
    seats: Positive
    reserve_by: TimeMs
    commit_by: TimeMs


class RoundClosed(Event):
    """A round was closed and waits for a proposal."""

    task: TaskId
    round: RoundNumber
    published: Annotated[int, Range(0, limits.SEATS_PER_ROUND)]


class RoundVoided(Event):
    """A round ended without a version."""

    task: TaskId
    round: RoundNumber
    reason: Reason


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


class TaskFull(Rejected, code=608, hint="The task takes no further participant."):
    """As many datasets have joined the task as a round has seats."""


class NotYourTask(Rejected, code=609, hint="Only an aggregator that the terms name may do this."):
    """The terms do not name the organisation as an aggregator of this task."""


class RoundUnderway(Rejected, code=610, hint="Wait until the current round is decided or void."):
    """The task's last round is neither decided nor void."""


class NoMoreRounds(Rejected, code=611, hint="Open a new task: consent was for this many rounds."):
    """The terms allow no further round."""


class TooFewEligible(Rejected, code=612, hint="More participants must join, or regain reputation."):
    """Fewer participants are eligible than the estimator's minimum."""


class UnknownRound(Rejected, code=613, hint="`fedledger round list TASK` shows the rounds of a task."):
    """The task has no round of this number."""


class RoundNotOpen(Rejected, code=614, hint="Wait for the next round: `fedledger round watch TASK`."):
    """The round is not open."""


class RoundStillMoving(Rejected, code=615, hint="Wait until every seat has published or its deadline has passed."):
    """A seat of the round may still move."""


class DeadlinePassed(Rejected, code=616, hint="Nothing is lost but this round; reserve in the next one."):
    """Block time is at or past the deadline of this step."""


class NotSelected(Rejected, code=617, hint="Join the task before the round opens; check your reputation."):
    """The organisation's dataset has no seat in this round."""


class MissingMandate(Rejected, code=618, hint="Name an organisation that was admitted with this role."):
    """The terms give an organisation a part that its roles do not cover."""


def join_task(view: View, msg: JoinTask, ctx: Context) -> Outcome:
    """Record consent to the terms.

    Rejects: UnknownTask, TermsDiffer, UnknownDataset, WrongDataClass, AlreadyJoined, TaskFull.
    """
    task = require_task(view, msg.task)
    terms = TERMS.at(view, msg.task)
    require(msg.terms_digest == task.terms_digest, lambda: TermsDiffer(wanted=task.terms_digest))
    dataset = identity.require_dataset(view, ctx.organisation, msg.dataset)
    require(
        dataset.data_class == terms.data_class,
        lambda: WrongDataClass(data_class=dataset.data_class, wanted=terms.data_class),
    )
    participant = Participant(ctx.organisation, msg.dataset)
    require(participant not in task.participants, lambda: AlreadyJoined(dataset=msg.dataset))
    require(len(task.participants) < limits.SEATS_PER_ROUND, lambda: TaskFull(limit=limits.SEATS_PER_ROUND))
    joined = replace(task, participants=(*task.participants, participant))
    return Outcome((TASKS.put(msg.task, joined),), (TaskJoined(msg.task, ctx.organisation, msg.dataset),))


def open_round(view: View, msg: OpenRound, ctx: Context) -> Outcome:
    """Open the next round and snapshot its seats and weights.

    Rejects: UnknownTask, NotYourTask, RoundUnderway, NoMoreRounds, TooFewEligible.
    """
    task = require_task(view, msg.task)
    terms = TERMS.at(view, msg.task)
    require_aggregator(terms, ctx.organisation)
    abandoned = _require_last_round_over(view, msg.task, task, terms, ctx.time_ms)
    require(task.rounds < terms.max_rounds, lambda: NoMoreRounds(limit=terms.max_rounds))
    seats = _eligible_seats(view, task, terms, ctx.time_ms)
    minimum = terms.estimator.minimum
    require(len(seats) >= minimum, lambda: TooFewEligible(eligible=len(seats), minimum=minimum))
    number, now, phases = task.rounds + 1, ctx.time_ms, terms.deadlines
    reserve_by = now + phases.reserve_ms
    commit_by = reserve_by + phases.commit_ms
    opened = Round(task.base, RoundStatus.OPEN, now, reserve_by, commit_by, commit_by + phases.publish_ms, 0, seats)
    return abandoned + Outcome(
        (ROUNDS.put((msg.task, number), opened), TASKS.put(msg.task, replace(task, rounds=number))),
        (RoundOpened(msg.task, number, task.base, len(seats), reserve_by, commit_by),),
    )


def close_round(view: View, msg: CloseRound, ctx: Context) -> Outcome:
    """Close a round that can move no further; fewer than the estimator's minimum void it.

    Rejects: UnknownTask, UnknownRound, NotYourTask, RoundNotOpen, RoundStillMoving.
    """
    require_task(view, msg.task)
    terms = TERMS.at(view, msg.task)
    require_aggregator(terms, ctx.organisation)
    current = require_open(view, msg.task, msg.round)
    moving = sum(1 for seat in current.seats if may_move(seat, current, ctx.time_ms))
    require(moving == 0, lambda: RoundStillMoving(seats=moving))
    published = sum(1 for seat in current.seats if seat.progress is Progress.PUBLISHED)
    if published < terms.estimator.minimum:
        return void(msg.task, msg.round, current, "too few contributions")
    closed = replace(current, status=RoundStatus.CLOSED, closed_at=ctx.time_ms)
    return Outcome((ROUNDS.put((msg.task, msg.round), closed),), (RoundClosed(msg.task, msg.round, published),))


def open_task(view: View, terms: Terms, ctx: Context) -> Outcome:
    """Fix a task's terms and compute its price. For governance. Rejects: as ``require_openable``."""
    require_openable(view, terms)
    price = price_of(terms.mechanism)
    digest = terms_digest(terms)
    task = Task(digest, price, ctx.height, base=0, rounds=0, participants=())
    epsilon = privacy_budget.least_epsilon_of(price, limits.DELTA_INVERSE_MIN)
    return Outcome(
        (TERMS.put(terms.task, terms), TASKS.put(terms.task, task)), (TaskOpened(terms.task, digest, epsilon),)
    )


def require_openable(view: View, terms: Terms) -> None:
    """Terms that could be opened now, checked without computing their price, which is the costly part.

    Rejects: TaskExists, UnknownOrganisation, MissingMandate, BreakdownPoint, TermsInconsistent.
    """
    require(TASKS.get(view, terms.task) is None, lambda: TaskExists(task=terms.task))
    require_consistent(terms)
    for role, names in ((Role.AGGREGATOR, terms.aggregators), (Role.VERIFIER, terms.verifiers)):
        for name in names:
            roles = identity.require_member(view, name).roles
            if role not in roles:
                raise MissingMandate(organisation=name, role=role)
    for name in terms.recipients:
        identity.require_member(view, name)


def advance(
    task: TaskId, number: RoundNumber, current: Round, organisation: OrgId, dataset: DatasetId, to: Progress
) -> Write:
    """Describe a seat's next step. For contributions, which has checked that it is due."""
    seats = tuple(
        replace(seat, progress=to) if (seat.organisation, seat.dataset) == (organisation, dataset) else seat
        for seat in current.seats
    )
    return ROUNDS.put((task, number), replace(current, seats=seats))


def decide(view: View, name: TaskId, number: RoundNumber, base: VersionNumber) -> Outcome:
    """Describe that a round has its decision, and which version the next one starts from. For models."""
    decided = replace(ROUNDS.at(view, (name, number)), status=RoundStatus.DECIDED)
    task = replace(TASKS.at(view, name), base=base)
    return Outcome((ROUNDS.put((name, number), decided), TASKS.put(name, task)))


def rebase(view: View, name: TaskId, base: VersionNumber, reason: Reason) -> Outcome:
    """Describe that the next round starts from another version; a round under way on the old base is void.

    For models, when a version is quarantined or rolled back.
    """
    task = TASKS.at(view, name)
    moved = Outcome((TASKS.put(name, replace(task, base=base)),))
    last = ROUNDS.get(view, (name, task.rounds)) if task.rounds else None
    if last is None or last.status not in (RoundStatus.OPEN, RoundStatus.CLOSED) or last.base == base:
        return moved
    return moved + void(name, task.rounds, last, reason)


def void(task: TaskId, number: RoundNumber, current: Round, reason: Reason) -> Outcome:
    """Describe that a round ends without a version. What was spent stays spent; holds lapse by themselves."""
    return Outcome(
        (ROUNDS.put((task, number), replace(current, status=RoundStatus.VOID)),), (RoundVoided(task, number, reason),)
    )


def require_task(view: View, name: TaskId) -> Task:
    """The task of this name. Rejects: UnknownTask."""
    return found(TASKS, view, name, lambda: UnknownTask(task=name))


def require_terms(view: View, name: TaskId) -> Terms:
    """The terms of the task of this name. Rejects: UnknownTask."""
    return found(TERMS, view, name, lambda: UnknownTask(task=name))


def require_round(view: View, task: TaskId, number: RoundNumber) -> Round:
    """The round of this number. Rejects: UnknownTask, UnknownRound."""
    require_task(view, task)
    return found(ROUNDS, view, (task, number), lambda: UnknownRound(task=task, round=number))


def require_open(view: View, task: TaskId, number: RoundNumber) -> Round:
    """The round, which is open. Rejects: UnknownTask, UnknownRound, RoundNotOpen."""
    current = require_round(view, task, number)
    require(current.status is RoundStatus.OPEN, lambda: RoundNotOpen(round=number, status=current.status))
    return current


def require_seat(current: Round, organisation: OrgId, dataset: DatasetId) -> Seat:
    """The dataset's seat in a round. Rejects: NotSelected."""
    for seat in current.seats:
        if (seat.organisation, seat.dataset) == (organisation, dataset):
            return seat
    raise NotSelected(organisation=organisation, dataset=dataset)


def require_before(deadline: TimeMs, now: TimeMs) -> None:
    """Block time has not reached a deadline. Rejects: DeadlinePassed."""
    require(now < deadline, lambda: DeadlinePassed(deadline=deadline, now=now))


def require_aggregator(terms: Terms, organisation: OrgId) -> None:
    """The terms name the organisation as an aggregator. Rejects: NotYourTask."""
    require(organisation in terms.aggregators, lambda: NotYourTask(task=terms.task, organisation=organisation))


def may_move(seat: Seat, current: Round, now: TimeMs) -> bool:
    """Whether a seat's next step is still ahead of its deadline."""
    deadline = {
        Progress.INVITED: current.reserve_by,
        Progress.RESERVED: current.commit_by,
        Progress.COMMITTED: current.publish_by,
        Progress.PUBLISHED: 0,
    }[seat.progress]
    return now < deadline


def turn_of(terms: Terms, current: Round, now: TimeMs) -> int:
    """Whose turn it is to propose: an index into the aggregators, past the last one when all had theirs."""
    return (now - current.closed_at) // terms.deadlines.propose_ms


def terms_digest(terms: Terms) -> Digest:
    """What a data owner consents to: SHA-256 of the terms' canonical bytes."""
    return crypto.sha256(terms.encode())


def _require_last_round_over(view: View, name: TaskId, task: Task, terms: Terms, now: TimeMs) -> Outcome:
    """Nothing is under way. A closed round that every aggregator let pass is voided here, where that is first read."""
    if task.rounds == 0:
        return Outcome()
    last = ROUNDS.at(view, (name, task.rounds))
    if last.status in (RoundStatus.DECIDED, RoundStatus.VOID):
        return Outcome()
    passed = last.status is RoundStatus.CLOSED and turn_of(terms, last, now) >= len(terms.aggregators)
    require(passed, lambda: RoundUnderway(round=task.rounds, status=last.status))
    return void(name, task.rounds, last, "nobody proposed in time")


def _eligible_seats(view: View, task: Task, terms: Terms, now: TimeMs) -> tuple[Seat, ...]:
    seats = []
    for participant in task.participants:
        score = reputation.at(view, participant.organisation, now)
        if score.deviation >= terms.minimum_reputation:
            weight = reputation.weight(score)
            seats.append(Seat(participant.organisation, participant.dataset, weight, Progress.INVITED))
    return tuple(seats)


CONTRACT = Contract(
    name="rounds",
    number=6,
    state=(TERMS, TASKS, ROUNDS),
    handlers={JoinTask: join_task, OpenRound: open_round, CloseRound: close_round},
    modules=("contracts.terms", __name__),
)
