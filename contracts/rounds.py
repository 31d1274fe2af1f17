"""Tasks and rounds: who joined under which terms, and which phase a round is in.

A task's terms are fixed when governance opens it; their price is computed once, then. Joining is a human key's
signature over the digest of the terms and a dataset: consent, without which nothing can be reserved. An organisation
has one number in a task, and so at most one seat in a round, however many of its datasets have joined. Every eligible
participant may take its seat, because a draw that nobody can grind is not built yet, and a public participant list
voids amplification by client sampling anyway.

A round moves through its phases (``terms.Phase``); here are the first two and both ends::

    reserving ── minimum + f reserved ──► committing ── minimum + f committed ──► attesting ─ ─ ► decided
        └── too few: nobody pays ──► void ◄── too few: who did not commit pays ──┘       └ ─ ─ ► void

A phase ends when all have acted, in the transaction of the last one; otherwise once its time has passed and its blocks
were made, which is read lazily: the next act finds it over, and begins the next phase at its own block. So nothing
is swept, and nobody's clock runs while no transaction can get in.

The end of ``committing`` is the *barrier*: no seat can commit any more, every price is spent, payloads may be served.
``bill_of`` says who pays, at any moment, from the round alone. ``contributions`` moves the first two phases and
``ballots`` the others, both through the effect builders here.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated

from . import identity, reputation
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
    bitmap,
    crypto,
    found,
    limits,
    renyi,
    require,
)
from .kernel.types import (
    Count,
    DatasetId,
    Digest,
    Height,
    Items,
    NanoEpsilon,
    OrgId,
    Purpose,
    Range,
    Reason,
    Role,
    RoundNumber,
    SeatNumber,
    Seats,
    TaskId,
    TimeMs,
    VersionNumber,
)
from .terms import Curve, Phase, Terms, needed_seats, phase_ms, price_of, require_consistent


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
    rounds: Annotated[int, Range(0, limits.ROUNDS_PER_TASK)]
    participants: Annotated[int, Range(0, limits.SEATS_PER_ROUND)]  # Who have joined and not left.


class Charged(StrEnum):
    """Who pays for a round that is past the phase in which prices are held."""

    NOBODY = "nobody"
    ABSENT = "absent"  # Who reserved and did not commit: its absence could depend on its data.
    ALL = "all"  # Everybody who reserved: the barrier was reached.


class Round(Record):
    """One round: its phase, and which seats have come how far. It does not grow with what seats hold."""

    base: VersionNumber
    phase: Phase
    opened_at: Height
    began_at: TimeMs  # The phase: block time.
    until: TimeMs  # The phase's end by time; the last block before it is the last that counts.
    until_height: Height  # And by blocks: the first height after those that must be made in it.
    invited: Annotated[int, Range(0, limits.SEATS_PER_ROUND)]  # Who had joined when it was opened.
    needed: Annotated[int, Range(1, limits.SEATS_PER_ROUND)]  # Minimum + f.
    reserved: Seats
    committed: Seats
    agreed: Seats  # What was available, once the verifiers have attested.
    charged: Charged


TERMS = Map("rounds/terms", Terms, "task")
TASKS = Map("rounds/tasks", Task, "task")
ROSTERS = Map("rounds/rosters", Roster, "task")
PARTICIPATIONS = Map("rounds/participations", Participation, "task", "organisation")
ROUNDS = Map("rounds/rounds", Round, "task", "round")


class JoinTask(Message, purpose=Purpose.HUMAN, role=Role.DATA_OWNER, lane=Lane.GOVERNANCE):
    """Consent: the sender's organisation lets this dataset be used under exactly these terms."""

    task: TaskId
    dataset: DatasetId
    terms_digest: Digest


class LeaveTask(Message, purpose=Purpose.HUMAN, role=Role.DATA_OWNER, lane=Lane.SAFETY):
    """Withdraw consent for all datasets of the sender's organisation: it reserves no more."""

    task: TaskId


class OpenRound(Message, purpose=Purpose.WORKLOAD, role=Role.AGGREGATOR, lane=Lane.ROUND):
    """Open the next round from the task's current base version."""

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


class RoundOpened(Event):
    """A round was opened."""

    task: TaskId
    round: RoundNumber
    base: VersionNumber
    invited: Count


class PhaseBegan(Event):
    """A round went on to its next phase."""

    task: TaskId
    round: RoundNumber
    phase: Phase
    until: TimeMs
    until_height: Height


class RoundVoided(Event):
    """A round ended without a version."""

    task: TaskId
    round: RoundNumber
    reason: Reason
    charged: Charged


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


class RoundUnderway(Rejected, code=610, hint="Wait until the current round is decided or void."):
    """The task's last round is neither decided nor void."""


class NoMoreRounds(Rejected, code=611, hint="Open a new task: consent was for this many rounds."):
    """The terms allow no further round."""


class TooFewParticipants(Rejected, code=612, hint="More organisations must join."):
    """Fewer have joined than must reserve: the estimator's minimum and its f."""


class UnknownRound(Rejected, code=613, hint="`fedledger round list TASK` shows the rounds of a task."):
    """The task has no round of this number."""


class WrongPhase(Rejected, code=614, hint="Wait for the phase in which this is done: `fedledger round watch TASK`."):
    """The round is in another phase."""


class PhaseOver(Rejected, code=615, hint="Nothing is lost but this round; take part in the next one."):
    """The phase has ended: its time and blocks have passed, or everybody has acted."""


class PhaseNotOver(Rejected, code=616, hint="Nothing to do yet: the phase ends when all have acted, or by time."):
    """Nothing is due: the phase's time or blocks have not passed."""


class JoinedTooLate(Rejected, code=617, hint="Nothing to do: it takes part from the next round on."):
    """The organisation joined when the round was open already."""


class MissingMandate(Rejected, code=618, hint="Name an organisation that was admitted with this role."):
    """The terms give an organisation a part that its roles do not cover."""


class TooLittleReputation(Rejected, code=619, hint="It halves its way back to neutral: `fedledger org show`."):
    """The organisation's reputation is below what the terms ask for."""


def join_task(view: View, msg: JoinTask, ctx: Context) -> Outcome:
    """Record consent to the terms; the first dataset of an organisation gets it its number.

    Rejects: UnknownTask, TermsDiffer, UnknownDataset, WrongDataClass, AlreadyJoined.
    """
    task = require_task(view, msg.task)
    terms = TERMS.at(view, msg.task)
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


def open_round(view: View, msg: OpenRound, ctx: Context) -> Outcome:
    """Open the next round for everybody who has joined.

    Rejects: UnknownTask, NotYourTask, TooLittleReputation, RoundUnderway, NoMoreRounds, TooFewParticipants.
    """
    task = require_task(view, msg.task)
    terms = TERMS.at(view, msg.task)
    require_aggregator(terms, ctx.organisation)
    require_reputation(view, terms, ctx.organisation, ctx.time_ms)
    abandoned = _require_last_round_over(view, msg.task, task, terms, ctx)
    require(task.rounds < terms.max_rounds, lambda: NoMoreRounds(limit=terms.max_rounds))
    needed, joined = needed_seats(terms), task.participants
    require(joined >= needed, lambda: TooFewParticipants(joined=joined, needed=needed))
    number = task.rounds + 1
    blank = Round(
        base=task.base,
        phase=Phase.RESERVING,
        opened_at=ctx.height,
        began_at=0,
        until=0,
        until_height=0,
        invited=joined,
        needed=needed,
        reserved=bitmap.NOTHING,
        committed=bitmap.NOTHING,
        agreed=bitmap.NOTHING,
        charged=Charged.NOBODY,
    )
    opened = begun(msg.task, number, blank, terms, Phase.RESERVING, ctx)
    return abandoned + Outcome(
        (put(msg.task, number, opened.round), TASKS.put(msg.task, replace(task, rounds=number))),
        (RoundOpened(msg.task, number, task.base, joined), *opened.outcome.events),
    )


def open_task(view: View, terms: Terms, ctx: Context) -> Outcome:
    """Fix a task's terms and compute its price. For governance. Rejects: as ``require_openable``."""
    require_openable(view, terms)
    price = price_of(terms.mechanism)
    digest = terms_digest(terms)
    task = Task(digest, price, ctx.height, base=0, rounds=0, participants=0)
    epsilon = min(renyi.epsilon_nano(price, limits.DELTA_INVERSE_MIN)[0], limits.EPSILON_NANO_MAX)
    return Outcome(
        (TERMS.put(terms.task, terms), TASKS.put(terms.task, task), ROSTERS.put(terms.task, Roster(()))),
        (TaskOpened(terms.task, digest, epsilon),),
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


@dataclass(frozen=True)
class Moved:
    """A round as of now, not written yet, and what came of its moving besides."""

    round: Round
    outcome: Outcome = field(default_factory=Outcome)

    def __or__(self, then: "Moved") -> "Moved":
        """What came of it so far, and the round as it is then."""
        return Moved(then.round, self.outcome + then.outcome)


def put(task: TaskId, number: RoundNumber, current: Round) -> Write:
    """Describe storing a round."""
    return ROUNDS.put((task, number), current)


def as_of_now(task: TaskId, number: RoundNumber, current: Round, terms: Terms, ctx: Context) -> Moved:
    """The round with the end of its first two phases drawn: what any act finds, whoever comes first."""
    if not is_over(current, ctx.time_ms, ctx.height):
        return Moved(current)
    match current.phase:
        case Phase.RESERVING:
            return after_reserving(task, number, current, terms, ctx)
        case Phase.COMMITTING:
            return after_committing(task, number, current, terms, ctx)
        case _:
            return Moved(current)


def after_reserving(task: TaskId, number: RoundNumber, current: Round, terms: Terms, ctx: Context) -> Moved:
    """Training starts, or too few reserved and nobody pays."""
    if bitmap.count(current.reserved) < current.needed:
        return voided(task, number, current, "too few reserved", Charged.NOBODY)
    return begun(task, number, current, terms, Phase.COMMITTING, ctx)


def after_committing(task: TaskId, number: RoundNumber, current: Round, terms: Terms, ctx: Context) -> Moved:
    """The barrier: every price is spent and serving starts; or too few committed, and who did not pays."""
    if bitmap.count(current.committed) < current.needed:
        return voided(task, number, current, "too few committed", Charged.ABSENT)
    return begun(task, number, replace(current, charged=Charged.ALL), terms, Phase.ATTESTING, ctx)


def begun(task: TaskId, number: RoundNumber, current: Round, terms: Terms, phase: Phase, ctx: Context) -> Moved:
    """Describe a phase that begins in this block: its time and blocks are counted from here."""
    until, until_height = ctx.time_ms + phase_ms(terms, phase), ctx.height + terms.phases.blocks + 1
    moved = replace(current, phase=phase, began_at=ctx.time_ms, until=until, until_height=until_height)
    return Moved(moved, Outcome((), (PhaseBegan(task, number, phase, until, until_height),)))


def voided(task: TaskId, number: RoundNumber, current: Round, reason: Reason, charged: Charged) -> Moved:
    """Describe that a round ends without a version, and who pays for it."""
    over = replace(current, phase=Phase.VOID, charged=charged)
    return Moved(over, Outcome((), (RoundVoided(task, number, reason, charged),)))


def rebased(view: View, name: TaskId, base: VersionNumber, reason: Reason, ctx: Context) -> Outcome:
    """Describe that the next round starts from another version; a round under way on the old base is void.

    For models, when a version is quarantined or rolled back. Before the barrier nothing was revealed: nobody pays.
    """
    task = TASKS.at(view, name)
    moved = Outcome((TASKS.put(name, replace(task, base=base)),))
    last = ROUNDS.get(view, (name, task.rounds)) if task.rounds else None
    if last is None or last.phase in OVER or last.base == base:
        return moved
    charged = charged_of(last, ctx.time_ms, ctx.height) or Charged.NOBODY
    void = voided(name, task.rounds, last, reason, charged)
    return moved + void.outcome + Outcome((put(name, task.rounds, void.round),))


OVER = (Phase.DECIDED, Phase.VOID)


class Bill(StrEnum):
    """What a round means for a price that one of its seats holds back."""

    HELD = "held"
    SPENT = "spent"
    FREE = "free"


def bill_of(current: Round, seat: SeatNumber, now: TimeMs, height: Height) -> Bill:
    """Whether a seat that reserved has paid, at a block: before anybody has written that a phase is over."""
    match charged_of(current, now, height):
        case None:
            return Bill.HELD
        case Charged.NOBODY:
            return Bill.FREE
        case Charged.ABSENT:
            return Bill.FREE if bitmap.has(current.committed, seat) else Bill.SPENT
        case Charged.ALL:
            return Bill.SPENT


def charged_of(current: Round, now: TimeMs, height: Height) -> Charged | None:
    """Who pays for a round, at a block; None while that is open. Once it is known it stays."""
    if current.phase not in (Phase.RESERVING, Phase.COMMITTING):
        return current.charged
    if not is_over(current, now, height):
        return None
    if current.phase is Phase.RESERVING:
        return None if bitmap.count(current.reserved) >= current.needed else Charged.NOBODY
    return Charged.ALL if bitmap.count(current.committed) >= current.needed else Charged.ABSENT


def is_over(current: Round, now: TimeMs, height: Height) -> bool:
    """Whether the phase's time has passed and its blocks were made. Anybody can tell from a verified header."""
    return current.phase not in OVER and now >= current.until and height >= current.until_height


def require_task(view: View, name: TaskId) -> Task:
    """The task of this name. Rejects: UnknownTask."""
    return found(TASKS, view, name, lambda: UnknownTask(task=name))


def require_terms(view: View, name: TaskId) -> Terms:
    """The terms of the task of this name. Rejects: UnknownTask."""
    return found(TERMS, view, name, lambda: UnknownTask(task=name))


def require_round(view: View, task: TaskId, number: RoundNumber) -> Round:
    """The round of this number. Rejects: UnknownTask, UnknownRound."""
    current = ROUNDS.get(view, (task, number))
    if current is None:
        require_task(view, task)
        raise UnknownRound(task=task, round=number)
    return current


def require_participation(view: View, task: TaskId, organisation: OrgId) -> Participation:
    """The organisation's part in a task, which it has not left. Rejects: NotJoined."""
    part = PARTICIPATIONS.get(view, (task, organisation))
    if part is None or part.left:
        raise NotJoined(task=task, organisation=organisation)
    return part


def require_phase(current: Round, wanted: Phase, ctx: Context) -> None:
    """The round is in a phase, and that is not over. Rejects: WrongPhase, PhaseOver."""
    require(current.phase is wanted, lambda: WrongPhase(phase=current.phase, wanted=wanted))
    over = is_over(current, ctx.time_ms, ctx.height)
    require(not over, lambda: PhaseOver(phase=current.phase, until=current.until, now=ctx.time_ms))


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


def _require_last_round_over(view: View, name: TaskId, task: Task, terms: Terms, ctx: Context) -> Outcome:
    """Nothing is under way. A round that ended before its barrier is voided here, if that is where it is first read."""
    if task.rounds == 0:
        return Outcome()
    stored = ROUNDS.at(view, (name, task.rounds))
    last = as_of_now(name, task.rounds, stored, terms, ctx)
    over = last.round.phase in OVER
    require(over, lambda: RoundUnderway(round=task.rounds, phase=last.round.phase))
    if last.round is stored:
        return Outcome()
    return last.outcome + Outcome((put(name, task.rounds, last.round),))


CONTRACT = Contract(
    name="rounds",
    number=6,
    state=(TERMS, TASKS, ROSTERS, PARTICIPATIONS, ROUNDS),
    handlers={JoinTask: join_task, LeaveTask: leave_task, OpenRound: open_round},
    modules=("contracts.terms", __name__),
)
