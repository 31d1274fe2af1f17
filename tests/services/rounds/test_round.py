"""What to do next: every row of the transition table, for the first aggregator and for the stand-by."""

from dataclasses import replace
from typing import Any

import pytest

from campaigns.harness.consortium import (
    AUDITOR,
    DATASET,
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITALS,
    LAB,
    PHASE_MS,
    STAND_BY,
    TERMS,
    artefact,
    digest,
)
from contracts import rounds
from contracts.lineage import Ballot, Version, VersionStatus
from contracts.rounds import Progress, Round, Seat, Task
from services.rounds.round import ON_PHASE, Command, Observation, Phase, next_command, phase_of, to_vote_on

OPENED = 1_000_000
RESERVE_BY, COMMIT_BY, PUBLISH_BY = OPENED + PHASE_MS, OPENED + 2 * PHASE_MS, OPENED + 3 * PHASE_MS
CLOSED = OPENED + 5_000
TURNS_OVER = CLOSED + 2 * PHASE_MS
WAIT, OPEN, CLOSE, PROPOSE, STOP = Command.WAIT, Command.OPEN, Command.CLOSE, Command.PROPOSE, Command.STOP


def seats(*progress: Progress) -> tuple[Seat, ...]:
    return tuple(Seat(hospital.name, DATASET, 1024, step) for hospital, step in zip(HOSPITALS, progress, strict=False))


ALL_PUBLISHED = seats(*[Progress.PUBLISHED] * 4)


def last_round(status: rounds.RoundStatus = rounds.RoundStatus.OPEN, **changes: Any) -> Round:
    closed_at = 0 if status is rounds.RoundStatus.OPEN else CLOSED
    plain = Round(0, status, OPENED, RESERVE_BY, COMMIT_BY, PUBLISH_BY, closed_at, ALL_PUBLISHED)
    return replace(plain, **changes)


def version(proposer: str = LAB.name, status: VersionStatus = VersionStatus.PROPOSED, **changes: Any) -> Version:
    plain = Version(artefact("v"), 1, 0, 90, 100, (), digest("candidate"), proposer, 5, (), status)
    return replace(plain, **changes)


def seen(
    last: Round | None,
    now: int,
    *versions: Version,
    by: str = LAB.name,
    number: int = 1,
    opened: int = OPENED,
) -> Observation:
    task = Task(digest("terms"), (1,) * 8, 7, 0, number if last else 0, ())
    return Observation(by, now, TERMS, task, last, dict(enumerate(versions, 1)), opened)


def commands(last: Round | None, now: int, *versions: Version, **others: Any) -> tuple[Command, Command]:
    """What the first aggregator and the stand-by do."""
    return (
        next_command(seen(last, now, *versions, by=LAB.name, **others)),
        next_command(seen(last, now, *versions, by=STAND_BY.name, **others)),
    )


def test_without_a_round_the_first_aggregator_opens_one_and_the_stand_by_waits_a_window() -> None:
    assert commands(None, OPENED) == (OPEN, WAIT)
    assert commands(None, OPENED + PHASE_MS - 1) == (OPEN, WAIT)
    assert commands(None, OPENED + PHASE_MS) == (OPEN, OPEN)


@pytest.mark.parametrize("status", [rounds.RoundStatus.DECIDED, rounds.RoundStatus.VOID])
def test_after_a_decided_or_void_round_the_next_one_is_opened(status: rounds.RoundStatus) -> None:
    last = last_round(status)
    assert commands(last, CLOSED + 1) == (OPEN, WAIT)


@pytest.mark.parametrize("closed_at", [0, CLOSED], ids=["voided while open", "voided after closing"])
def test_a_stand_by_opens_the_next_round_once_the_first_aggregator_has_let_every_turn_and_its_own_pass(
    closed_at: int,
) -> None:
    last = last_round(rounds.RoundStatus.VOID, closed_at=closed_at)
    due = PUBLISH_BY + 3 * PHASE_MS
    assert commands(last, due - 1) == (OPEN, WAIT)
    assert commands(last, due) == (OPEN, OPEN)


@pytest.mark.parametrize("status", [rounds.RoundStatus.DECIDED, rounds.RoundStatus.VOID])
def test_a_task_that_had_all_its_rounds_stops_everybody(status: rounds.RoundStatus) -> None:
    over = last_round(status)
    assert commands(over, CLOSED + 1, number=TERMS.max_rounds) == (STOP, STOP)
    assert commands(over, CLOSED + 1, number=TERMS.max_rounds - 1) == (OPEN, WAIT)


def test_a_last_round_that_nobody_proposed_for_stops_everybody_once_all_turns_are_over() -> None:
    last = last_round(rounds.RoundStatus.CLOSED)
    assert commands(last, TURNS_OVER, number=TERMS.max_rounds) == (STOP, STOP)
    assert commands(last, TURNS_OVER - 1, number=TERMS.max_rounds) == (PROPOSE, PROPOSE)


@pytest.mark.parametrize(
    ("step", "deadline"),
    [(Progress.INVITED, RESERVE_BY), (Progress.RESERVED, COMMIT_BY), (Progress.COMMITTED, PUBLISH_BY)],
)
def test_an_open_round_is_waited_for_until_the_slowest_seat_s_deadline(step: Progress, deadline: int) -> None:
    last = last_round(seats=seats(Progress.PUBLISHED, step, Progress.PUBLISHED, Progress.PUBLISHED))
    assert commands(last, deadline - 1) == (WAIT, WAIT)
    assert commands(last, deadline)[0] is CLOSE


def test_a_round_is_closed_as_soon_as_everybody_has_published_and_by_the_stand_by_after_a_window() -> None:
    assert commands(last_round(), OPENED + 1) == (CLOSE, WAIT)
    assert commands(last_round(), PUBLISH_BY + PHASE_MS - 1) == (CLOSE, WAIT)
    assert commands(last_round(), PUBLISH_BY + PHASE_MS) == (CLOSE, CLOSE)


def test_each_aggregator_proposes_from_its_own_turn_on() -> None:
    last = last_round(rounds.RoundStatus.CLOSED)
    assert commands(last, CLOSED) == (PROPOSE, WAIT)
    assert commands(last, CLOSED + PHASE_MS - 1) == (PROPOSE, WAIT)
    assert commands(last, CLOSED + PHASE_MS) == (PROPOSE, PROPOSE)
    assert commands(last, TURNS_OVER - 1) == (PROPOSE, PROPOSE)


def test_while_a_proposal_waits_for_votes_nobody_proposes() -> None:
    last = last_round(rounds.RoundStatus.CLOSED)
    for now in (CLOSED, CLOSED + PHASE_MS, TURNS_OVER - 1):
        assert commands(last, now, version(LAB.name)) == (WAIT, WAIT)
        assert commands(last, now, version(STAND_BY.name)) == (WAIT, WAIT)


def test_after_a_refused_proposal_the_stand_by_proposes_in_its_turn_and_the_first_one_never_again() -> None:
    last, refused = last_round(rounds.RoundStatus.CLOSED), version(LAB.name, VersionStatus.REFUSED)
    assert commands(last, CLOSED + 1, refused) == (WAIT, WAIT)
    assert commands(last, CLOSED + PHASE_MS, refused) == (WAIT, PROPOSE)


def test_a_proposal_that_fell_to_a_stolen_key_is_made_again() -> None:
    last = last_round(rounds.RoundStatus.CLOSED)
    assert commands(last, CLOSED + 1, version(LAB.name, VersionStatus.QUARANTINED)) == (PROPOSE, WAIT)


def test_once_all_turns_are_over_the_next_round_is_opened_by_the_first_and_a_window_later_by_the_stand_by() -> None:
    last = last_round(rounds.RoundStatus.CLOSED)
    assert commands(last, TURNS_OVER) == (OPEN, WAIT)
    due = max(CLOSED, PUBLISH_BY) + 3 * PHASE_MS
    assert commands(last, due - 1) == (OPEN, WAIT)
    assert commands(last, due) == (OPEN, OPEN)


def test_a_proposal_that_nobody_votes_on_does_not_hold_the_task_up_for_ever() -> None:
    last = last_round(rounds.RoundStatus.CLOSED)
    assert commands(last, TURNS_OVER, version(LAB.name))[0] is OPEN


def test_every_phase_has_a_command_and_every_command_but_voting_a_phase() -> None:
    assert set(ON_PHASE) == set(Phase)
    assert set(ON_PHASE.values()) == set(Command) - {Command.VOTE}


def test_an_observation_made_anew_gives_the_same_command() -> None:
    """A restart knows nothing but what the ledger shows."""
    before, after = (seen(last_round(rounds.RoundStatus.CLOSED), CLOSED + 7) for _ in range(2))
    assert phase_of(before) is phase_of(after) is Phase.MY_TURN
    assert next_command(before) is next_command(after) is PROPOSE


@pytest.mark.parametrize(
    ("voter", "versions", "due"),
    [
        (HOSPITAL_A, [version()], [1]),
        (STAND_BY, [version(LAB.name), version(STAND_BY.name)], [1]),
        (HOSPITAL_A, [version(ballots=(Ballot(HOSPITAL_A.name, digest("x")),))], []),
        (HOSPITAL_B, [version(ballots=(Ballot(HOSPITAL_A.name, digest("x")),))], [1]),
        (HOSPITAL_A, [version(status=VersionStatus.REFUSED), version(STAND_BY.name)], [2]),
        (HOSPITAL_A, [version(status=VersionStatus.PROMOTED)], []),
        (AUDITOR, [], []),
    ],
    ids=["new", "not one's own", "voted", "voted by another", "refused before", "decided", "nothing"],
)
def test_a_verifier_votes_once_on_what_others_propose(voter: Any, versions: list[Version], due: list[int]) -> None:
    assert to_vote_on(seen(last_round(rounds.RoundStatus.CLOSED), CLOSED, *versions, by=voter.name)) == due


@pytest.mark.parametrize("status", [rounds.RoundStatus.OPEN, rounds.RoundStatus.DECIDED, rounds.RoundStatus.VOID])
def test_nobody_votes_on_a_round_that_is_not_closed(status: rounds.RoundStatus) -> None:
    assert to_vote_on(seen(last_round(status), CLOSED, version(), by=HOSPITAL_A.name)) == []


def test_nobody_votes_before_the_first_round() -> None:
    assert to_vote_on(seen(None, OPENED, by=HOSPITAL_A.name)) == []
