"""What an aggregator or a verifier does next: pure functions from what the ledger shows to one command.

Everything is derived from committed state, and from which payloads are held, so a restart in the middle of a round
loses nothing and repeats nothing: the same state gives the same command, and the ledger refuses a second one. Time is
block time.

==============================================  =========================================
what the ledger shows                           what an aggregator does
==============================================  =========================================
no round yet, or the last one decided or void   open the next round
fewer have joined than a round needs            wait
a phase that is under way                       wait
a phase that is over                            advance: write it down
all rounds decided or void                      stop
==============================================  =========================================

==============================================  =========================================
what the ledger shows                           what a verifier does
==============================================  =========================================
attesting, some payload not held                fetch
attesting, everything held, or half of it over  attest what is held
sealing, the whole set held                     recompute and seal a ballot
sealing, a payload of mine that others wait for share a copy
sealing, a payload of the set not held          fetch, from its owner or from who shares it
opening, my ballot is sealed                    open it
a phase that is over                            advance, if nobody else does
==============================================  =========================================

The first aggregator of the terms acts at once. Each stand-by, and after these each verifier, waits a grace longer than
the one before it, so that no organisation's absence stops a task.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from contracts import rounds
from contracts.ballot_box import Attestation, Ballot
from contracts.kernel import bitmap
from contracts.kernel.types import OrgId, Seats
from contracts.rounds import Round
from contracts.tasks import Task
from contracts.terms import Phase, Terms, needed_seats

LONGEST_GRACE_MS: Final = 60_000


class Command(StrEnum):
    """What to do next."""

    WAIT = "wait"
    OPEN = "open"
    ADVANCE = "advance"
    STOP = "stop"
    FETCH = "fetch"
    ATTEST = "attest"
    SHARE = "share"
    SEAL = "seal"
    OPEN_BALLOT = "open-ballot"


@dataclass(frozen=True)
class Observation:
    """What committed state and block time show about a task."""

    organisation: OrgId
    now: int  # Time of the newest block, ms.
    height: int  # Of the newest block.
    terms: Terms
    task: Task
    last: Round | None
    opened: int  # Block time of the task's opening, ms; asked for only while there is no round.
    attested: tuple[Attestation, ...] = ()  # Read while it matters: until ballots are opened.
    box: tuple[Ballot, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether the next block will find the last round's phase over."""
        return self.last is not None and rounds.is_over(self.last, self.now, self.height + 1)


@dataclass(frozen=True)
class Holding:
    """What this verifier has of a round past its barrier."""

    held: Seats = bitmap.NOTHING  # Seats whose payloads match what was committed.
    shared: Seats = bitmap.NOTHING  # Of these, what it serves a copy of.
    owners: Mapping[int, OrgId] = field(default_factory=dict)  # By seat number.


def to_lead(seen: Observation) -> Command:
    """The next step of an aggregator that the terms name."""
    place = seen.terms.aggregators.index(seen.organisation)
    if seen.last is not None and seen.last.phase not in rounds.OVER:
        return _advance(seen, seen.last, place)
    if seen.task.trained >= seen.terms.max_rounds:
        return Command.STOP
    if seen.task.participants < needed_seats(seen.terms):
        return Command.WAIT
    idle_since = seen.opened if seen.last is None else seen.last.until
    is_mine = place == 0 or seen.now >= idle_since + place * grace_ms(seen.terms)
    return Command.OPEN if is_mine else Command.WAIT


def to_verify(seen: Observation, mine: Holding) -> Command:
    """The next step of a verifier that the terms name."""
    last = seen.last
    if last is None or last.phase in rounds.OVER:
        return Command.WAIT
    if seen.is_over:
        return _advance(seen, last, len(seen.terms.aggregators) + seen.terms.verifiers.index(seen.organisation))
    match last.phase:
        case Phase.ATTESTING:
            return _attesting(seen, last, mine)
        case Phase.SEALING:
            return _sealing(seen, last, mine)
        case Phase.OPENING:
            ballot = ballot_of(seen)
            return Command.OPEN_BALLOT if ballot is not None and ballot.opened is None else Command.WAIT
        case _:
            return Command.WAIT


def to_share(seen: Observation, mine: Holding) -> tuple[int, ...]:
    """The seats of the agreed set that this verifier owes the others a copy of.

    The first f_v + 1 who attested a payload share it, if somebody attested without it and has sealed nothing yet: one
    of them is honest, and who seals in a hurry, without any payload, costs nobody a copy. Who did not attest at all
    finds what the others keep under its first address.
    """
    if seen.last is None:
        return ()
    wanted = (seat for seat in bitmap.numbers(seen.last.agreed) if not bitmap.has(mine.shared, seat))
    return tuple(seat for seat in wanted if _owes(seen, mine, seat))


def ballot_of(seen: Observation) -> Ballot | None:
    """This verifier's sealed ballot."""
    return next((ballot for ballot in seen.box if ballot.organisation == seen.organisation), None)


def grace_ms(terms: Terms) -> int:
    """How much longer than the one before it an organisation waits for others to act: as long as the shortest phase."""
    phases = terms.phases
    shortest = min(phases.reserve_ms, phases.commit_ms, phases.attest_ms, phases.seal_ms, phases.open_ms)
    return min(shortest, LONGEST_GRACE_MS)


def attest_by(terms: Terms, last: Round) -> int:
    """The block time, ms, from which on a verifier attests what it holds, whatever is missing."""
    return last.began_at + terms.phases.attest_ms // 2  # An idle chain makes a block in two seconds: late is too late.


def _advance(seen: Observation, last: Round, place: int) -> Command:
    due = seen.is_over and seen.now >= last.until + place * grace_ms(seen.terms)
    return Command.ADVANCE if due else Command.WAIT


def _attesting(seen: Observation, last: Round, mine: Holding) -> Command:
    if any(row.organisation == seen.organisation for row in seen.attested):
        return Command.WAIT
    everything = bitmap.is_within(last.committed, mine.held)
    return Command.ATTEST if everything or seen.now >= attest_by(seen.terms, last) else Command.FETCH


def _sealing(seen: Observation, last: Round, mine: Holding) -> Command:
    ballot = ballot_of(seen)
    if ballot is None and bitmap.is_within(last.agreed, mine.held):
        return Command.SEAL
    if to_share(seen, mine):
        return Command.SHARE
    return Command.FETCH if ballot is None else Command.WAIT


def _owes(seen: Observation, mine: Holding, seat: int) -> bool:
    others = [row for row in seen.attested if row.organisation != mine.owners.get(seat)]
    holders = [row.organisation for row in others if bitmap.has(row.held, seat)]
    sealed = [ballot.organisation for ballot in seen.box]
    waiting = [row for row in others if row.organisation not in (*holders, *sealed)]
    first = holders[: seen.terms.verifier_faults + 1]
    return bool(waiting) and bitmap.has(mine.held, seat) and seen.organisation in first
