"""What an aggregator or a verifier does next: a pure function from what the ledger shows to one command.

Everything is derived from committed state, so a restart in the middle of a round loses nothing and repeats nothing:
the same state gives the same command, and the ledger refuses a second one. Time is block time.

==============================================  =========================================
what the ledger shows                           what the aggregator whose turn it is does
==============================================  =========================================
no round yet, or the last one decided or void   open the next round
round open, a seat may still move               wait
round open, no seat may move                    close it
round closed, my turn, nothing proposed by me   propose the recomputed candidate
round closed, not my turn yet                   wait
round closed, all turns over                    open the next round, which voids this one
the terms allow no further round                stop
==============================================  =========================================

The first aggregator of the terms opens and closes. Each stand-by does so too once the ones before it have let a
window of ``propose_ms`` pass each, so no organisation's absence stops a task.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from contracts import rounds
from contracts.lineage import Version, VersionStatus
from contracts.rounds import Round, Task
from contracts.terms import Terms


class Command(StrEnum):
    """What to do next."""

    WAIT = "wait"
    OPEN = "open"
    CLOSE = "close"
    PROPOSE = "propose"
    VOTE = "vote"
    STOP = "stop"


class Phase(StrEnum):
    """Where a task's last round stands, for this aggregator, at a block time."""

    BETWEEN = "between"  # No round is under way.
    FINISHED = "finished"  # And there will be none.
    MOVING = "moving"
    SETTLED = "settled"  # Open, but no seat may move any more.
    BEFORE_MY_TURN = "before-my-turn"
    MY_TURN = "my-turn"
    PROPOSED = "proposed"  # By me: the verifiers have the word.
    PASSED = "passed"  # Every aggregator's turn is over.


@dataclass(frozen=True)
class Observation:
    """What committed state and block time show about a task."""

    organisation: str
    now: int  # Block time, ms.
    terms: Terms
    task: Task
    last: Round | None
    versions: Mapping[int, Version]  # Of the last round, by number.
    opened: int  # Block time of the task's opening, ms; asked for only while there is no round.


ON_PHASE: Mapping[Phase, Command] = {
    Phase.BETWEEN: Command.OPEN,
    Phase.FINISHED: Command.STOP,
    Phase.MOVING: Command.WAIT,
    Phase.SETTLED: Command.CLOSE,
    Phase.BEFORE_MY_TURN: Command.WAIT,
    Phase.MY_TURN: Command.PROPOSE,
    Phase.PROPOSED: Command.WAIT,
    Phase.PASSED: Command.OPEN,
}


def next_command(seen: Observation) -> Command:
    """The next step of an aggregator that the terms name."""
    phase = phase_of(seen)
    command = ON_PHASE[phase]
    if command in (Command.OPEN, Command.CLOSE) and not _leads(seen, phase):
        return Command.WAIT
    return command


def phase_of(seen: Observation) -> Phase:
    """Where the last round stands for this organisation."""
    last = seen.last
    if last is None or last.status in (rounds.RoundStatus.DECIDED, rounds.RoundStatus.VOID):
        return Phase.FINISHED if seen.task.rounds >= seen.terms.max_rounds else Phase.BETWEEN
    if last.status is rounds.RoundStatus.OPEN:
        moving = any(rounds.may_move(seat, last, seen.now) for seat in last.seats)
        return Phase.MOVING if moving else Phase.SETTLED
    return _closed_phase(seen, last)


def _closed_phase(seen: Observation, last: Round) -> Phase:
    turn = rounds.turn_of(seen.terms, last, seen.now)
    if turn >= len(seen.terms.aggregators):
        return Phase.PASSED if seen.task.rounds < seen.terms.max_rounds else Phase.FINISHED
    mine = [version for version in seen.versions.values() if version.proposer == seen.organisation]
    if any(version.status is not VersionStatus.QUARANTINED for version in mine):
        return Phase.PROPOSED
    waiting = any(version.status is VersionStatus.PROPOSED for version in seen.versions.values())
    if turn < seen.terms.aggregators.index(seen.organisation) or waiting:
        return Phase.BEFORE_MY_TURN
    return Phase.MY_TURN


def to_vote_on(seen: Observation) -> list[int]:
    """The proposals of the last round that this verifier has not voted on and did not make itself."""
    if seen.last is None or seen.last.status is not rounds.RoundStatus.CLOSED:
        return []
    return [
        number
        for number, version in sorted(seen.versions.items())
        if version.status is VersionStatus.PROPOSED
        and version.proposer != seen.organisation
        and all(ballot.organisation != seen.organisation for ballot in version.ballots)
    ]


def _leads(seen: Observation, phase: Phase) -> bool:
    """Whether this aggregator is the one to open and close: the first, or the next when it has been idle."""
    place = seen.terms.aggregators.index(seen.organisation)
    return place == 0 or seen.now >= _idle_since(seen, phase) + place * seen.terms.deadlines.propose_ms


def _idle_since(seen: Observation, phase: Phase) -> int:
    last = seen.last
    if last is None:
        return seen.opened
    if phase is Phase.SETTLED:
        return last.publish_by
    return max(last.closed_at, last.publish_by) + len(seen.terms.aggregators) * seen.terms.deadlines.propose_ms
