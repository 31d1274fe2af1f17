"""Tasks and rounds: consent to exact terms, phases by block time, and rounds that end without a version."""

from dataclasses import replace

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import BLOCK_MS, Chain
from campaigns.harness.consortium import (
    DATASET,
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITAL_C,
    HOSPITAL_D,
    HOSPITALS,
    LAB,
    MEMBERS,
    PHASE_MS,
    STAND_BY,
    TASK,
    TERMS,
    commit,
    digest,
    join,
    pass_proposal,
    publish,
    register_dataset,
    reserve,
    round_of,
    run_round,
)
from contracts import reputation, rounds
from contracts.governance import OpenTask, Propose
from contracts.kernel import limits
from contracts.kernel.types import Role
from contracts.lineage import VersionStatus
from contracts.reputation import SCORES, Score
from contracts.rounds import (
    TASKS,
    AlreadyJoined,
    CloseRound,
    DeadlinePassed,
    JoinTask,
    MissingMandate,
    NoMoreRounds,
    NotSelected,
    NotYourTask,
    OpenRound,
    Participant,
    Progress,
    RoundClosed,
    RoundNotOpen,
    RoundOpened,
    RoundStatus,
    RoundStillMoving,
    RoundUnderway,
    RoundVoided,
    TaskExists,
    TaskFull,
    TaskJoined,
    TaskOpened,
    TermsDiffer,
    TooFewEligible,
    UnknownRound,
    UnknownTask,
    WrongDataClass,
)
from tests.vectors_io import VectorWriter


def seats_of(chain: Chain, number: int) -> list[str]:
    return [seat.organisation for seat in round_of(chain, number).seats]


# --- opening a task ---


@pytest.mark.vectors
def test_a_quorum_opens_a_task_and_fixes_its_price(vector: VectorWriter) -> None:
    """The terms, their digest and the price of a round are fixed by the vote that settles the proposal."""
    chain = consortium.equipped()
    pass_proposal(chain, OpenTask(TERMS), MEMBERS[:4])
    events = vector.accepted(chain, MEMBERS[4], consortium.Vote(1, approve=True))
    assert TaskOpened(TASK, rounds.terms_digest(TERMS), 2_165_878_326) in events
    assert rounds.TERMS.at(chain.view, TASK) == TERMS


@pytest.mark.vectors
def test_a_task_opened_twice(vector: VectorWriter) -> None:
    """Consent was to the first terms: a task's name cannot be given to others."""
    facts = vector.refused(consortium.task_open(), TaskExists, HOSPITAL_A, Propose(OpenTask(TERMS)))
    assert facts == {"task": TASK}


@pytest.mark.vectors
def test_terms_that_give_a_part_to_an_organisation_without_the_role(vector: VectorWriter) -> None:
    """An auditor cannot verify: naming it in the terms does not admit it to the role."""
    verifiers, recipients = (*TERMS.verifiers, "auditor"), (*TERMS.recipients, "auditor")
    terms = replace(TERMS, verifiers=verifiers, recipients=recipients)
    facts = vector.refused(consortium.equipped(), MissingMandate, HOSPITAL_A, Propose(OpenTask(terms)))
    assert facts == {"organisation": "auditor", "role": Role.VERIFIER}


# --- joining ---


@pytest.mark.vectors
def test_a_human_key_consents_to_the_digest_of_the_terms(vector: VectorWriter) -> None:
    """Consent names the task, the dataset and the digest of exactly these terms."""
    chain = consortium.task_open()
    assert vector.accepted(chain, HOSPITAL_A, join()) == (TaskJoined(TASK, "hospital-a", DATASET),)
    assert TASKS.at(chain.view, TASK).participants == (Participant("hospital-a", DATASET),)


@pytest.mark.vectors
def test_consent_to_other_terms(vector: VectorWriter) -> None:
    """A digest of other terms is no consent to these."""
    message = JoinTask(TASK, DATASET, digest("terms as shown by somebody else"))
    facts = vector.refused(consortium.task_open(), TermsDiffer, HOSPITAL_A, message)
    assert facts == {"wanted": rounds.terms_digest(TERMS)}


@pytest.mark.vectors
def test_a_task_nobody_opened(vector: VectorWriter) -> None:
    """A task exists from the vote that opened it."""
    vector.refused(consortium.equipped(), UnknownTask, HOSPITAL_A, join())


@pytest.mark.vectors
def test_a_dataset_that_joins_twice(vector: VectorWriter) -> None:
    """A dataset takes part once: a second seat would count its records twice."""
    assert vector.refused(consortium.joined(), AlreadyJoined, HOSPITAL_A, join()) == {"dataset": DATASET}


@pytest.mark.vectors
def test_a_dataset_of_another_class(vector: VectorWriter) -> None:
    """Terms are about one class of data."""
    chain = consortium.task_open()
    chain.submit(HOSPITAL_A, replace(register_dataset("x-rays"), data_class="radiology"))
    facts = vector.refused(chain, WrongDataClass, HOSPITAL_A, join("x-rays"))
    assert facts == {"data_class": "radiology", "wanted": consortium.DATA_CLASS}


@pytest.mark.vectors
def test_one_participant_more_than_a_round_has_seats(vector: VectorWriter) -> None:
    """Every eligible participant is selected, so a task takes as many as a round can seat."""
    chain = consortium.task_open()
    crowd = tuple(Participant(f"hospital-{i}", DATASET) for i in range(limits.SEATS_PER_ROUND))
    chain.given(TASKS.put(TASK, replace(TASKS.at(chain.view, TASK), participants=crowd)))
    assert vector.refused(chain, TaskFull, HOSPITAL_A, join()) == {"limit": limits.SEATS_PER_ROUND}


def test_a_late_joiner_is_seated_from_the_next_round_on() -> None:
    chain = consortium.task_open()
    consortium.succeed(chain, *((hospital, join()) for hospital in HOSPITALS[:3]))
    chain.submit(LAB, OpenRound(TASK))
    chain.submit(HOSPITAL_D, join())
    chain.refused(NotSelected, HOSPITAL_D, reserve())
    consortium.close(chain, 1, waiting=True)
    chain.submit(LAB, OpenRound(TASK))
    assert seats_of(chain, 2) == [hospital.name for hospital in HOSPITALS]
    chain.submit(HOSPITAL_D, reserve(2))


# --- opening a round ---


@pytest.mark.vectors
def test_an_aggregator_opens_a_round_for_every_eligible_participant(vector: VectorWriter) -> None:
    """Everybody who joined and is in good standing has a seat, with its weight as of now."""
    chain = consortium.joined()
    now = chain.next_block().time_ms
    events = vector.accepted(chain, LAB, OpenRound(TASK))
    assert events == (RoundOpened(TASK, 1, 0, 4, now + PHASE_MS, now + 2 * PHASE_MS),)
    assert {seat.progress for seat in round_of(chain).seats} == {Progress.INVITED}


def test_any_aggregator_of_the_terms_may_open_and_close_rounds() -> None:
    chain = consortium.joined()
    chain.submit(STAND_BY, OpenRound(TASK))
    chain.advance(3 * PHASE_MS)
    chain.submit(STAND_BY, CloseRound(TASK, 1))


@pytest.mark.vectors
def test_an_aggregator_that_the_terms_do_not_name(vector: VectorWriter) -> None:
    """The role alone is not enough: the terms name who aggregates this task."""
    chain = consortium.equipped()
    pass_proposal(chain, OpenTask(replace(TERMS, aggregators=("lab",))))
    facts = vector.refused(chain, NotYourTask, STAND_BY, OpenRound(TASK))
    assert facts == {"task": TASK, "organisation": "stand-by-lab"}
    chain.refused(NotYourTask, STAND_BY, CloseRound(TASK, 1))


def test_a_round_of_a_task_nobody_opened_can_be_neither_opened_nor_closed() -> None:
    chain = consortium.round_open()
    chain.refused(UnknownTask, LAB, OpenRound("another"))
    chain.refused(UnknownTask, LAB, CloseRound("another", 1))


@pytest.mark.vectors
def test_a_round_while_another_is_under_way(vector: VectorWriter) -> None:
    """A task has one round at a time."""
    facts = vector.refused(consortium.round_open(), RoundUnderway, LAB, OpenRound(TASK))
    assert facts == {"round": 1, "status": "open"}


def test_a_closed_round_is_under_way_until_every_aggregator_had_its_turn() -> None:
    chain = consortium.closed()
    chain.advance(2 * PHASE_MS - 2 * BLOCK_MS)
    chain.refused(RoundUnderway, LAB, OpenRound(TASK))
    events = chain.submit(LAB, OpenRound(TASK))
    assert events[0] == RoundVoided(TASK, 1, "nobody proposed in time")
    assert (round_of(chain, 1).status, round_of(chain, 2).status) == (RoundStatus.VOID, RoundStatus.OPEN)


@pytest.mark.vectors
def test_one_round_more_than_the_terms_allow(vector: VectorWriter) -> None:
    """Consent was for max_rounds rounds; void ones count."""
    chain = consortium.equipped()
    terms = replace(TERMS, max_rounds=1)
    pass_proposal(chain, OpenTask(terms))
    consortium.succeed(chain, *((hospital, join(terms=terms)) for hospital in HOSPITALS))
    chain.submit(LAB, OpenRound(TASK))
    consortium.close(chain, 1, waiting=True)
    assert vector.refused(chain, NoMoreRounds, LAB, OpenRound(TASK)) == {"limit": 1}


@pytest.mark.vectors
def test_too_few_eligible_participants(vector: VectorWriter) -> None:
    """Below the estimator's minimum no round opens, so no budget is held for a round that must be void."""
    chain = consortium.task_open()
    consortium.succeed(chain, *((hospital, join()) for hospital in HOSPITALS[:2]))
    assert vector.refused(chain, TooFewEligible, LAB, OpenRound(TASK)) == {"eligible": 2, "minimum": 3}


def test_the_minimum_reputation_itself_is_enough() -> None:
    chain = consortium.joined()
    at_the_minimum = Score(TERMS.minimum_reputation, chain.next_block().time_ms, 0)
    chain.given(SCORES.put("hospital-c", at_the_minimum))
    chain.given(SCORES.put("hospital-d", replace(at_the_minimum, deviation=TERMS.minimum_reputation - 1)))
    chain.submit(LAB, OpenRound(TASK))
    assert seats_of(chain, 1) == ["hospital-a", "hospital-b", "hospital-c"]


def test_a_participant_below_the_minimum_reputation_has_no_seat_until_it_recovered() -> None:
    chain = consortium.joined()
    chain.given(SCORES.put("hospital-d", Score(reputation.LOWEST, chain.time_ms, 0)))
    chain.submit(LAB, OpenRound(TASK))
    assert seats_of(chain, 1) == ["hospital-a", "hospital-b", "hospital-c"]
    chain.refused(NotSelected, HOSPITAL_D, reserve())
    consortium.close(chain, 1, waiting=True)
    chain.advance(reputation.HALF_LIFE_MS)
    chain.submit(LAB, OpenRound(TASK))
    assert "hospital-d" in seats_of(chain, 2)


# --- deadlines ---


@pytest.mark.vectors
def test_a_step_after_its_deadline(vector: VectorWriter) -> None:
    """Deadlines are block times: the block at the deadline is the first that is late."""
    chain = consortium.round_open()
    deadline = round_of(chain).reserve_by
    chain.advance(deadline - chain.next_block().time_ms)
    facts = vector.refused(chain, DeadlinePassed, HOSPITAL_A, reserve())
    assert facts == {"deadline": deadline, "now": deadline}


@pytest.mark.parametrize(
    ("situation", "deadline", "message"),
    [
        (consortium.round_open, "reserve_by", reserve()),
        (consortium.reserved, "commit_by", commit()),
        (consortium.committed, "publish_by", publish()),
    ],
    ids=["reserve", "commit", "publish"],
)
def test_the_last_millisecond_before_a_deadline_still_counts(situation, deadline, message) -> None:
    chain = situation()
    late = chain.fork()
    chain.advance(getattr(round_of(chain), deadline) - chain.next_block().time_ms - 1)
    chain.submit(HOSPITAL_A, message)
    late.advance(getattr(round_of(late), deadline) - late.next_block().time_ms)
    late.refused(DeadlinePassed, HOSPITAL_A, message)


@pytest.mark.vectors
def test_a_dataset_without_a_seat(vector: VectorWriter) -> None:
    """Only a dataset that joined before the round opened has a seat in it."""
    chain = consortium.round_open()
    chain.submit(HOSPITAL_A, register_dataset("second"))
    facts = vector.refused(chain, NotSelected, HOSPITAL_A, reserve(dataset="second"))
    assert facts == {"organisation": "hospital-a", "dataset": "second"}


# --- closing a round ---


@pytest.mark.vectors
def test_a_round_closes_as_soon_as_everybody_has_published(vector: VectorWriter) -> None:
    """Nobody waits for a deadline that no seat needs any more."""
    chain = consortium.published()
    assert vector.accepted(chain, LAB, CloseRound(TASK, 1)) == (RoundClosed(TASK, 1, 4),)
    assert round_of(chain).closed_at == chain.time_ms


def test_a_round_with_a_drop_out_closes_with_the_others_after_the_deadline() -> None:
    chain = consortium.reserved()
    consortium.succeed(chain, *((hospital, commit()) for hospital in HOSPITALS[1:]))
    consortium.succeed(chain, *((hospital, publish()) for hospital in HOSPITALS[1:]))
    chain.refused(RoundStillMoving, LAB, CloseRound(TASK, 1))
    chain.advance(2 * PHASE_MS)
    assert chain.submit(LAB, CloseRound(TASK, 1)) == (RoundClosed(TASK, 1, 3),)


@pytest.mark.vectors
def test_a_round_that_can_still_move(vector: VectorWriter) -> None:
    """A seat that may yet publish in time cannot be closed out."""
    chain = consortium.committed()
    consortium.succeed(chain, *((hospital, publish()) for hospital in HOSPITALS[:3]))
    assert vector.refused(chain, RoundStillMoving, LAB, CloseRound(TASK, 1)) == {"seats": 1}


@pytest.mark.parametrize(
    ("situation", "deadline"),
    [
        (consortium.round_open, "reserve_by"),
        (consortium.reserved, "commit_by"),
        (consortium.committed, "publish_by"),
    ],
    ids=["invited", "reserved", "committed"],
)
def test_a_seat_moves_until_the_deadline_of_its_own_next_step(situation, deadline) -> None:
    chain = situation()
    late = chain.fork()
    chain.advance(getattr(round_of(chain), deadline) - chain.next_block().time_ms - 1)
    chain.refused(RoundStillMoving, LAB, CloseRound(TASK, 1))
    late.advance(getattr(round_of(late), deadline) - late.next_block().time_ms)
    late.submit(LAB, CloseRound(TASK, 1))


@pytest.mark.vectors
def test_too_few_contributions_void_the_round(vector: VectorWriter) -> None:
    """Below its breakdown point an estimator protects nobody, so the round ends without a version."""
    chain = consortium.joined()
    chain.submit(LAB, OpenRound(TASK))
    consortium.contribute(chain, 1, HOSPITALS[:2])
    chain.advance(3 * PHASE_MS)
    events = vector.accepted(chain, LAB, CloseRound(TASK, 1))
    assert events == (RoundVoided(TASK, 1, "too few contributions"),)
    assert round_of(chain).status is RoundStatus.VOID


@pytest.mark.vectors
def test_a_round_that_is_not_there(vector: VectorWriter) -> None:
    """Rounds are numbered from 1, in the order of their opening."""
    facts = vector.refused(consortium.round_open(), UnknownRound, LAB, CloseRound(TASK, 2))
    assert facts == {"task": TASK, "round": 2}


@pytest.mark.vectors
def test_a_round_closed_twice(vector: VectorWriter) -> None:
    """A closed round takes no further step of its participants, nor another closing."""
    facts = vector.refused(consortium.closed(), RoundNotOpen, LAB, CloseRound(TASK, 1))
    assert facts == {"round": 1, "status": "closed"}


def test_no_step_of_a_participant_is_taken_once_the_round_is_not_open() -> None:
    chain = consortium.closed()
    for message in (reserve(), commit(), publish()):
        chain.refused(RoundNotOpen, HOSPITAL_A, message)


# --- from round to round ---


def test_a_task_s_next_round_starts_from_the_promoted_version() -> None:
    chain = consortium.promoted()
    (opened,) = chain.submit(LAB, OpenRound(TASK))
    assert opened.base == 1
    consortium.contribute(chain, 2)


def test_a_void_round_leaves_the_base_as_it_was() -> None:
    chain = consortium.promoted()
    chain.submit(LAB, OpenRound(TASK))
    consortium.close(chain, 2, waiting=True)
    (opened,) = chain.submit(LAB, OpenRound(TASK))
    assert (opened.round, opened.base) == (3, 1)


def test_a_version_that_fails_its_canary_decides_the_round_without_moving_the_base() -> None:
    chain = consortium.promoted()
    version = run_round(chain, canary_correct=50)
    assert consortium.status_of(chain, version) is VersionStatus.FAILED_CANARY
    assert round_of(chain, 2).status is RoundStatus.DECIDED
    assert TASKS.at(chain.view, TASK).base == 1


def test_hospitals_of_one_consortium_may_differ_in_progress() -> None:
    chain = consortium.round_open()
    chain.submit(HOSPITAL_A, reserve())
    consortium.succeed(chain, (HOSPITAL_B, reserve()), (HOSPITAL_B, commit()))
    consortium.succeed(chain, (HOSPITAL_C, reserve()), (HOSPITAL_C, commit()), (HOSPITAL_C, publish()))
    assert [seat.progress for seat in round_of(chain).seats] == [*list(Progress)[1:], Progress.INVITED]
