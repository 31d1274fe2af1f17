"""What a participant does next about its seat: a pure function from proved state and its journal to one step.

========================  ==============================================  =============
the round is, proved      the seat and the journal say                    the next step
========================  ==============================================  =============
reserving                 (a seat is held)                                wait
reserving, over           enough have reserved                            advance
committing                nothing was trained                             train
committing                training was started and not finished           interrupted
committing                trained, and the time to commit has come        commit
committing                trained, and it has not; or committed           wait
past the barrier          committed, the journal has the payload          serve
past the barrier          committed, the journal has nothing              read back
past the barrier          not committed                                   missed
void before the barrier   anything                                        void
anywhere                  committed before, and the journal lost it       lost
========================  ==============================================  =============

Before the barrier a commitment by a key that is reported stolen is taken out, and the seat commits anew, to what was
trained already. Past the barrier nobody can, and what was committed is served.

Nothing is trained before the phase that is for it, and nothing is served before the barrier, whatever a node says: the
state and the block that it is judged at are proved (``LedgerView.now``).
"""

from dataclasses import dataclass
from enum import StrEnum

from contracts import rounds
from contracts.contributions import Seat
from contracts.kernel import bitmap
from contracts.rounds import Charged, Round, Void
from contracts.terms import CommitTiming, Phase, Terms

from ..reads.queries import Moment
from .journal import Entry


class Step(StrEnum):
    """What to do next."""

    WAIT = "wait"
    ADVANCE = "advance"  # Write down that the phase is over, so that the next one begins.
    TRAIN = "train"
    COMMIT = "commit"
    SERVE = "serve"
    READ_BACK = "read-back"
    VOID = "void"
    MISSED = "missed"
    LOST = "lost"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Seen:
    """A round and this organisation's seat in it, proved, and the block they are judged at."""

    terms: Terms
    current: Round
    seat: Seat
    now: Moment

    @property
    def charged(self) -> Charged | None:
        """Who pays for the round; None while that is open."""
        return rounds.charged_of(self.current, self.now.time_ms, self.now.height)

    @property
    def is_over(self) -> bool:
        """Whether nobody can act in the phase any more."""
        return rounds.is_over(self.current, self.now.time_ms, self.now.height)

    @property
    def pays(self) -> bool:
        """Whether the seat's price is spent."""
        bill = rounds.bill_of(self.current, self.seat.number, self.now.time_ms, self.now.height)
        return bill is rounds.Bill.SPENT

    @property
    def has_committed(self) -> bool:
        """Whether the seat has a commitment. Before the barrier it stands, or a report would have taken it out."""
        return self.seat.commitment is not None


def next_step(seen: Seen, entry: Entry | None) -> Step:
    """The next step of whoever holds this seat."""
    if seen.charged is not None:
        return _after(seen, seen.charged, entry)
    if seen.has_committed:
        return Step.WAIT if entry is not None and entry.is_trained else Step.LOST
    if seen.current.phase is Phase.RESERVING:
        return Step.ADVANCE if seen.is_over else Step.WAIT
    if entry is None:
        return Step.TRAIN
    if not entry.is_trained:
        return Step.INTERRUPTED
    return Step.COMMIT if seen.now.time_ms >= commit_at(seen.terms, seen.current) else Step.WAIT


def commit_at(terms: Terms, current: Round) -> int:
    """From which block time, ms, on a commitment leaves its house, in the phase that is for it."""
    match terms.phases.commits:
        case CommitTiming.WHEN_READY:
            return current.began_at
        case CommitTiming.AT_INSTANT:
            return current.began_at + terms.phases.commit_ms // 2


def why_void(current: Round) -> str:
    """What kept a round from its barrier, also before anybody has written that."""
    if current.void is Void.BASE_FELL:
        return "the version that it started from fell"
    if current.void is Void.TOO_FEW_READERS:
        return "too few verifiers could have read what would be committed"
    for what, seats in (("reserved", current.reserved), ("committed", current.committed)):
        there = bitmap.count(seats)
        if there < current.needed:
            return f"{there} have {what}, {current.needed} were needed"
    raise AssertionError(f"nothing kept this round from its barrier: {current}")


def _after(seen: Seen, charged: Charged, entry: Entry | None) -> Step:
    """Once it is known who pays."""
    if charged is not Charged.ALL:
        return Step.VOID
    if not seen.has_committed:
        return Step.MISSED
    if entry is not None and entry.is_trained:
        return Step.SERVE
    return Step.READ_BACK
