"""Rounds: which phase a round is in, how phases end, and who pays.

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

from . import identity
from .electorate import Standing
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
    limits,
    require,
)
from .kernel.types import (
    AgeRecipient,
    Count,
    Height,
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
from .tasks import (
    PARTICIPATIONS,
    ROSTERS,
    TASKS,
    TERMS,
    JoinTask,
    LeaveTask,
    Task,
    join_task,
    leave_task,
    participants_of,
    require_aggregator,
    require_reputation,
    require_rounds_left,
    require_task,
)
from .terms import Phase, Terms, needed_seats, needed_votes, phase_ms


class Charged(StrEnum):
    """Who pays for a round that is past the phase in which prices are held."""

    NOBODY = "nobody"
    ABSENT = "absent"  # Who reserved and did not commit: its absence could depend on its data.
    ALL = "all"  # Everybody who reserved: the barrier was reached.


class Void(StrEnum):
    """Why a round ended without a version."""

    TOO_FEW_RESERVED = "too-few-reserved"
    TOO_FEW_READERS = "too-few-readers"  # Verifiers that can decrypt what would be committed.
    TOO_FEW_COMMITTED = "too-few-committed"
    TOO_FEW_AVAILABLE = "too-few-available"  # Payloads, as attested.
    TOO_FEW_UNTAINTED = "too-few-untainted"  # What stolen keys had committed was taken out.
    TOO_FEW_BALLOTS = "too-few-ballots"  # Sealed.
    NO_QUORUM = "no-quorum"  # Of opened ballots that agree.
    NO_CANDIDATE = "no-candidate"  # A quorum found that nothing follows from the set.
    BASE_FELL = "base-fell"


class Round(Record):
    """One round: its phase, and which seats have come how far. It does not grow with what seats hold."""

    base: VersionNumber
    phase: Phase
    opened_at: Height
    began_at: TimeMs  # The phase: block time.
    until: TimeMs  # The phase's end by time; the last block before it is the last that counts.
    until_height: Height  # And by blocks: the first height after those that must be made in it.
    invited: Seats  # Who had joined, and was active, when it was opened.
    needed: Annotated[int, Range(1, limits.SEATS_PER_ROUND)]  # Minimum + f.
    reserved: Seats
    committed: Seats
    agreed: Seats  # What was available, once the verifiers have attested.
    charged: Charged
    void: Void | None  # None unless it ended so.


ROUNDS = Map("rounds/rounds", Round, "task", "round")


class OpenRound(Message, purpose=Purpose.WORKLOAD, role=Role.AGGREGATOR, lane=Lane.ROUND):
    """Open the next round from the task's current base version."""

    task: TaskId


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
    reason: Void
    charged: Charged


class RoundUnderway(Rejected, code=610, hint="Wait until the current round is decided or void."):
    """The task's last round is neither decided nor void."""


class TooFewParticipants(Rejected, code=612, hint="More organisations must join."):
    """Fewer have joined than must reserve: the estimator's minimum and its f."""


class TooFewVerifiers(Rejected, code=621, hint="Reinstate some, or open a new task with others; else try again."):
    """Too few verifiers of the terms are active, and have kept their recipient: nothing could come of a round."""


class UnknownRound(Rejected, code=613, hint="`fedledger round list TASK` shows the rounds of a task."):
    """The task has no round of this number."""


class WrongPhase(Rejected, code=614, hint="Wait for the phase in which this is done: `fedledger round watch TASK`."):
    """The round is in another phase."""


class PhaseOver(Rejected, code=615, hint="Nothing is lost but this round; take part in the next one."):
    """The phase has ended: its time and blocks have passed, or everybody has acted."""


class PhaseNotOver(Rejected, code=616, hint="Nothing to do yet: the phase ends when all have acted, or by time."):
    """Nothing is due: the phase's time or blocks have not passed."""


class RoundEnded(Rejected, code=620, hint="Nothing to do: the next round is open, or can be opened."):
    """The round is decided or void: it has no phase that could end."""


class JoinedTooLate(Rejected, code=617, hint="Nothing to do: it takes part from the next round on."):
    """The organisation joined when the round was open already."""


def open_round(view: View, msg: OpenRound, ctx: Context) -> Outcome:
    """Open the next round for everybody who has joined.

    Rejects: UnknownTask, NotYourTask, TooLittleReputation, RoundUnderway, NoMoreRounds, TooFewParticipants,
    TooFewVerifiers.
    """
    task = require_task(view, msg.task)
    terms = TERMS.at(view, msg.task)
    require_aggregator(terms, ctx.organisation)
    require_reputation(view, terms, ctx.organisation, ctx.time_ms)
    abandoned = _require_last_round_over(view, msg.task, task, terms, ctx)
    require_rounds_left(task, terms)
    needed, invited = needed_seats(terms), participants_of(view, msg.task)
    joined = bitmap.count(invited)
    require(joined >= needed, lambda: TooFewParticipants(joined=joined, needed=needed))
    readers, votes = readers_of(view, terms, ctx.height), needed_votes(terms)
    require(readers >= votes, lambda: TooFewVerifiers(readers=readers, needed=votes))
    number = task.rounds + 1
    blank = Round(
        base=task.base,
        phase=Phase.RESERVING,
        opened_at=ctx.height,
        began_at=0,
        until=0,
        until_height=0,
        invited=invited,
        needed=needed,
        reserved=bitmap.NOTHING,
        committed=bitmap.NOTHING,
        agreed=bitmap.NOTHING,
        charged=Charged.NOBODY,
        void=None,
    )
    opened = begun(msg.task, number, blank, terms, Phase.RESERVING, ctx)
    return abandoned + Outcome(
        (put(msg.task, number, opened.round), TASKS.put(msg.task, replace(task, rounds=number))),
        (RoundOpened(msg.task, number, task.base, joined), *opened.outcome.events),
    )


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


def as_of_now(view: View, task: TaskId, number: RoundNumber, current: Round, terms: Terms, ctx: Context) -> Moved:
    """The round with the end of its first two phases drawn: what any act finds, whoever comes first."""
    if not is_over(current, ctx.time_ms, ctx.height):
        return Moved(current)
    match current.phase:
        case Phase.RESERVING:
            return after_reserving(view, task, number, current, terms, ctx)
        case Phase.COMMITTING:
            return after_committing(task, number, current, terms, ctx)
        case _:
            return Moved(current)


def after_reserving(view: View, task: TaskId, number: RoundNumber, current: Round, terms: Terms, ctx: Context) -> Moved:
    """Training starts; or too few reserved, or too few could read what comes of it, and nobody pays."""
    if bitmap.count(current.reserved) < current.needed:
        return voided(task, number, current, Void.TOO_FEW_RESERVED, Charged.NOBODY)
    if readers_of(view, terms, current.opened_at) < needed_votes(terms):
        return voided(task, number, current, Void.TOO_FEW_READERS, Charged.NOBODY)
    before = TASKS.at(view, task)
    counted = Outcome((TASKS.put(task, replace(before, trained=before.trained + 1)),))
    return Moved(current, counted) | begun(task, number, current, terms, Phase.COMMITTING, ctx)


def after_committing(task: TaskId, number: RoundNumber, current: Round, terms: Terms, ctx: Context) -> Moved:
    """The barrier: every price is spent and serving starts; or too few committed, and who did not pays."""
    if bitmap.count(current.committed) < current.needed:
        return voided(task, number, current, Void.TOO_FEW_COMMITTED, Charged.ABSENT)
    return begun(task, number, replace(current, charged=Charged.ALL), terms, Phase.ATTESTING, ctx)


def begun(task: TaskId, number: RoundNumber, current: Round, terms: Terms, phase: Phase, ctx: Context) -> Moved:
    """Describe a phase that begins in this block: its time and blocks are counted from here."""
    until, until_height = ctx.time_ms + phase_ms(terms, phase), ctx.height + terms.phases.blocks + 1
    moved = replace(current, phase=phase, began_at=ctx.time_ms, until=until, until_height=until_height)
    return Moved(moved, Outcome((), (PhaseBegan(task, number, phase, until, until_height),)))


def voided(task: TaskId, number: RoundNumber, current: Round, reason: Void, charged: Charged) -> Moved:
    """Describe that a round ends without a version, and who pays for it."""
    over = replace(current, phase=Phase.VOID, charged=charged, void=reason)
    return Moved(over, Outcome((), (RoundVoided(task, number, reason, charged),)))


def rebased(view: View, name: TaskId, base: VersionNumber, ctx: Context) -> Outcome:
    """Describe that the next round starts from another version; a round under way on the old base is void.

    For models, when a version is quarantined or rolled back. Before the barrier nothing was revealed: nobody pays.
    """
    task = TASKS.at(view, name)
    moved = Outcome((TASKS.put(name, replace(task, base=base)),))
    last = ROUNDS.get(view, (name, task.rounds)) if task.rounds else None
    if last is None or last.phase in OVER or last.base == base:
        return moved
    charged = charged_of(last, ctx.time_ms, ctx.height) or Charged.NOBODY
    void = voided(name, task.rounds, last, Void.BASE_FELL, charged)
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


def recipients_of(view: View, terms: Terms, current: Round) -> tuple[AgeRecipient, ...]:
    """To whom a round's payloads are encrypted: the recipients of the terms, frozen when the round was opened.

    From then on one can be taken out: by a change of its key or of its member's standing, or by a report that the key
    which named it is stolen. None can come in, so that nobody who steals a key while a round is open reads what is
    contributed to it.
    """
    members = [identity.require_member(view, name) for name in terms.recipients]
    return tuple(member.recipient for member in members if _reads(view, member, current.opened_at))


def readers_of(view: View, terms: Terms, opened_at: Height) -> int:
    """How many verifiers can decrypt what is committed to a round that was opened at a height."""
    members = [identity.require_member(view, name) for name in terms.verifiers]
    return sum(_reads(view, member, opened_at) for member in members)


def _reads(view: View, member: identity.Organisation, opened_at: Height) -> bool:
    may = member.recipient_since < opened_at and member.standing is Standing.ACTIVE
    return may and identity.has_recipient(view, member)


def require_round(view: View, task: TaskId, number: RoundNumber) -> Round:
    """The round of this number. Rejects: UnknownTask, UnknownRound."""
    current = ROUNDS.get(view, (task, number))
    if current is None:
        require_task(view, task)
        raise UnknownRound(task=task, round=number)
    return current


def require_phase(current: Round, wanted: Phase, ctx: Context) -> None:
    """The round is in a phase, and that is not over. Rejects: WrongPhase, PhaseOver."""
    require(current.phase is wanted, lambda: WrongPhase(phase=current.phase, wanted=wanted))
    over = is_over(current, ctx.time_ms, ctx.height)
    require(not over, lambda: PhaseOver(phase=current.phase, until=current.until, now=ctx.time_ms))


def _require_last_round_over(view: View, name: TaskId, task: Task, terms: Terms, ctx: Context) -> Outcome:
    """Nothing is under way. A round that ended before its barrier is voided here, if that is where it is first read."""
    if task.rounds == 0:
        return Outcome()
    stored = ROUNDS.at(view, (name, task.rounds))
    last = as_of_now(view, name, task.rounds, stored, terms, ctx)
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
    modules=("contracts.terms", "contracts.tasks", __name__),
)
