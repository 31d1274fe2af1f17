"""Tasks and rounds: consent to exact terms, phases by time and blocks, and rounds that end without a version."""

from dataclasses import replace

import pytest

from campaigns.harness import consortium
from campaigns.harness.consortium import (
    AUDITOR,
    HOSPITAL_A,
    HOSPITAL_C,
    HOSPITAL_D,
    HOSPITALS,
    LAB,
    PHASE_BLOCKS,
    PHASE_MS,
    STAND_BY,
    TASK,
    TERMS,
    attest,
    commit,
    join,
    pass_proposal,
    register_dataset,
    reserve,
    round_of,
    run_round,
)
from campaigns.harness.recipients import recipient_of
from contracts import reputation, rounds
from contracts.ballots import AdvanceRound
from contracts.contributions import Withdraw
from contracts.governance import OpenTask, ReinstateMember, SuspendMember
from contracts.identity import ChangeRecipient
from contracts.kernel import bitmap, limits
from contracts.lineage import VersionStatus
from contracts.reputation import SCORES, Score
from contracts.rounds import (
    Charged,
    JoinedTooLate,
    OpenRound,
    PhaseBegan,
    PhaseNotOver,
    PhaseOver,
    RoundEnded,
    RoundOpened,
    RoundUnderway,
    RoundVoided,
    TooFewParticipants,
    TooFewVerifiers,
    UnknownRound,
    Void,
    WrongPhase,
)
from contracts.tasks import (
    TASKS,
    NoMoreRounds,
    NotJoined,
    NotYourTask,
    TooLittleReputation,
    UnknownTask,
)
from contracts.terms import Phase
from tests.vectors_io import VectorWriter

# --- opening a round ---


@pytest.mark.vectors
def test_an_aggregator_opens_a_round_for_every_participant(vector: VectorWriter) -> None:
    """Everybody who has joined may reserve until the phase ends: by time and blocks, or when all have reserved."""
    chain = consortium.joined()
    now, height = chain.next_block().time_ms, chain.next_block().height
    events = vector.accepted(chain, LAB, OpenRound(TASK))
    assert events == (
        RoundOpened(TASK, 1, 0, 4),
        PhaseBegan(TASK, 1, Phase.RESERVING, now + PHASE_MS, height + PHASE_BLOCKS + 1),
    )
    assert (bitmap.count(round_of(chain).invited), round_of(chain).needed) == (4, 4)


def test_any_aggregator_of_the_terms_may_open_rounds() -> None:
    consortium.joined().submit(STAND_BY, OpenRound(TASK))


@pytest.mark.vectors
def test_an_aggregator_that_the_terms_do_not_name(vector: VectorWriter) -> None:
    """The role alone is not enough: the terms name who aggregates this task."""
    chain = consortium.equipped()
    pass_proposal(chain, OpenTask(replace(TERMS, aggregators=("lab",))))
    facts = vector.refused(chain, NotYourTask, STAND_BY, OpenRound(TASK))
    assert facts == {"task": TASK, "organisation": "stand-by-lab"}


def test_an_aggregator_below_the_minimum_reputation_opens_no_round() -> None:
    chain = consortium.joined()
    chain.given(SCORES.put("lab", Score(TERMS.minimum_reputation - 1, chain.next_block().time_ms, 0)))
    chain.refused(TooLittleReputation, LAB, OpenRound(TASK))
    chain.submit(STAND_BY, OpenRound(TASK))


def test_a_round_of_a_task_nobody_opened_cannot_be_opened() -> None:
    consortium.round_open().refused(UnknownTask, LAB, OpenRound("another"))


@pytest.mark.vectors
def test_a_round_while_another_is_under_way(vector: VectorWriter) -> None:
    """A task has one round at a time."""
    facts = vector.refused(consortium.round_open(), RoundUnderway, LAB, OpenRound(TASK))
    assert facts == {"round": 1, "phase": "reserving"}


def test_a_round_that_nobody_may_go_on_with_is_void_where_the_next_one_is_opened() -> None:
    chain = consortium.round_open()
    consortium.let_pass(chain)
    events = chain.submit(LAB, OpenRound(TASK))
    assert events[0] == RoundVoided(TASK, 1, Void.TOO_FEW_RESERVED, Charged.NOBODY)
    assert (round_of(chain, 1).phase, round_of(chain, 2).phase) == (Phase.VOID, Phase.RESERVING)


@pytest.mark.vectors
def test_one_round_more_than_the_terms_allow(vector: VectorWriter) -> None:
    """Consent was for max_rounds rounds; void ones count."""
    chain = consortium.equipped()
    terms = replace(TERMS, max_rounds=1)
    pass_proposal(chain, OpenTask(terms))
    consortium.succeed(chain, *((hospital, join(terms=terms)) for hospital in HOSPITALS))
    chain.submit(LAB, OpenRound(TASK))
    consortium.succeed(chain, *((hospital, reserve()) for hospital in HOSPITALS))
    consortium.pass_phase(chain)
    assert vector.refused(chain, NoMoreRounds, LAB, OpenRound(TASK)) == {"limit": 1}
    assert chain.refused(NoMoreRounds, LAB, join(terms=terms)) == {"limit": 1}


@pytest.mark.vectors
def test_fewer_participants_than_must_reserve(vector: VectorWriter) -> None:
    """Where the minimum and f cannot be met no round opens, so no budget is held for a round that must be void."""
    chain = consortium.task_open()
    consortium.succeed(chain, *((hospital, join()) for hospital in HOSPITALS[:3]))
    assert vector.refused(chain, TooFewParticipants, LAB, OpenRound(TASK)) == {"joined": 3, "needed": 4}


def test_members_that_may_not_act_are_no_participants_of_a_round_that_is_opened_now() -> None:
    """Else a task's rounds are used up, one after the other, by rounds for which too few can reserve."""
    chain = consortium.joined()
    others = [member for member in consortium.MEMBERS if member is not HOSPITAL_C]
    consortium.pass_proposal(chain, SuspendMember("hospital-c", "asleep"), others)
    assert chain.refused(TooFewParticipants, LAB, OpenRound(TASK)) == {"joined": 3, "needed": 4}


@pytest.mark.vectors
def test_fewer_active_verifiers_than_a_quorum_needs(vector: VectorWriter) -> None:
    """Nothing could come of the round, and everybody would pay for it."""
    chain = consortium.five_joined()
    others = [member for member in consortium.MEMBERS if member not in (consortium.STAND_BY, HOSPITAL_D)]
    consortium.pass_proposal(chain, SuspendMember("stand-by-lab", "asleep"), [*others, HOSPITAL_D])
    chain.fork().submit(LAB, OpenRound(TASK))
    consortium.pass_proposal(chain, SuspendMember("hospital-d", "asleep"), others)
    assert vector.refused(chain, TooFewVerifiers, LAB, OpenRound(TASK)) == {"readers": 4, "needed": 5}


# --- reserving a seat ---


@pytest.mark.vectors
def test_a_participant_below_the_minimum_reputation(vector: VectorWriter) -> None:
    """The terms say how low a contributor may have fallen."""
    chain = consortium.round_open()
    below = TERMS.minimum_reputation - 1
    chain.given(SCORES.put("hospital-d", Score(below, chain.next_block().time_ms, 0)))
    facts = vector.refused(chain, TooLittleReputation, HOSPITAL_D, reserve())
    assert facts == {"reputation": below, "minimum": TERMS.minimum_reputation}


def test_the_minimum_reputation_itself_is_enough() -> None:
    chain = consortium.round_open()
    chain.given(SCORES.put("hospital-d", Score(TERMS.minimum_reputation, chain.next_block().time_ms, 0)))
    chain.submit(HOSPITAL_D, reserve())


def test_a_participant_below_the_minimum_reputation_has_no_seat_until_it_recovered() -> None:
    chain = consortium.round_open()
    chain.given(SCORES.put("hospital-d", Score(reputation.LOWEST, chain.time_ms, 0)))
    chain.refused(TooLittleReputation, HOSPITAL_D, reserve())
    consortium.pass_phase(chain)
    chain.advance(reputation.HALF_LIFE_MS)
    chain.submit(LAB, OpenRound(TASK))
    chain.submit(HOSPITAL_D, reserve(2))


@pytest.mark.vectors
def test_who_joins_while_a_round_is_open_takes_part_from_the_next_one(vector: VectorWriter) -> None:
    """How many were invited decides when everybody has reserved: nobody may squeeze in and end the phase for others."""
    chain = consortium.round_open()
    consortium.succeed(chain, (LAB, register_dataset()))
    chain.submit(LAB, join())
    assert vector.refused(chain, JoinedTooLate, LAB, reserve()) == {"from_round": 2}


@pytest.mark.vectors
def test_a_dataset_that_has_not_joined(vector: VectorWriter) -> None:
    """Consent is for a dataset: another one of the same organisation pays for nothing."""
    chain = consortium.round_open()
    chain.submit(HOSPITAL_A, register_dataset("second"))
    facts = vector.refused(chain, NotJoined, HOSPITAL_A, reserve(dataset="second"))
    assert facts == {"task": TASK, "dataset": "second"}


# --- phases ---


def test_a_phase_ends_in_the_act_of_the_last_one() -> None:
    chain = consortium.round_open()
    consortium.succeed(chain, *((hospital, reserve()) for hospital in HOSPITALS[:3]))
    assert round_of(chain).phase is Phase.RESERVING
    events = chain.submit(HOSPITAL_D, reserve())
    until, height = chain.time_ms + PHASE_MS, chain.height + PHASE_BLOCKS + 1
    assert events[-1] == PhaseBegan(TASK, 1, Phase.COMMITTING, until, height)


@pytest.mark.vectors
def test_a_step_after_its_phase(vector: VectorWriter) -> None:
    """The first block at the deadline is late, if the phase's blocks were made."""
    chain = consortium.round_open()
    consortium.let_pass(chain)
    until = round_of(chain).until
    facts = vector.refused(chain, PhaseOver, HOSPITAL_A, reserve())
    assert facts == {"phase": "reserving", "until": until, "now": chain.time_ms}


@pytest.mark.parametrize(
    ("situation", "message"),
    [(consortium.round_open, reserve()), (consortium.reserved, commit()), (consortium.committed, attest())],
    ids=["reserve", "commit", "attest"],
)
def test_the_last_millisecond_before_the_end_of_a_phase_still_counts(situation, message) -> None:
    chain = situation()
    while chain.height + 1 < round_of(chain).until_height:
        chain.block()
    late = chain.fork()
    chain.advance(round_of(chain).until - chain.next_block().time_ms - 1)
    chain.submit(HOSPITAL_A, message)
    late.advance(round_of(late).until - late.next_block().time_ms)
    late.refused(PhaseOver if situation is consortium.round_open else WrongPhase, HOSPITAL_A, message)


def test_a_halted_chain_ends_no_phase_its_blocks_must_be_made_too() -> None:
    """After a halt, the next block may be an hour later: who was waiting to act still can."""
    chain = consortium.reserved()
    chain.advance(3_600_000)
    chain.submit(HOSPITAL_A, commit())
    assert round_of(chain).phase is Phase.COMMITTING
    consortium.succeed(chain, *((hospital, commit()) for hospital in HOSPITALS[1:]))
    assert round_of(chain).phase is Phase.ATTESTING


def test_blocks_alone_end_no_phase() -> None:
    chain = consortium.round_open()
    for _ in range(PHASE_BLOCKS + 2):
        chain.block()
    chain.submit(HOSPITAL_A, reserve())


def test_the_clock_of_a_phase_starts_with_the_first_act_in_it() -> None:
    """Whoever finds a phase over begins the next: nobody's time runs before anybody could have known."""
    chain = consortium.five_joined()
    chain.submit(LAB, OpenRound(TASK))
    consortium.succeed(chain, *((hospital, reserve()) for hospital in HOSPITALS))
    consortium.let_pass(chain)
    chain.advance(5 * PHASE_MS)
    assert chain.submit(HOSPITAL_A, commit())[0] == PhaseBegan(
        TASK, 1, Phase.COMMITTING, chain.time_ms + PHASE_MS, chain.height + PHASE_BLOCKS + 1
    )
    assert bitmap.numbers(round_of(chain).committed) == (0,)


@pytest.mark.vectors
def test_anybody_writes_down_that_a_phase_is_over(vector: VectorWriter) -> None:
    """No aggregator is needed for a round to go on: any member's workload key will do."""
    chain = consortium.five_joined()
    chain.submit(LAB, OpenRound(TASK))
    consortium.succeed(chain, *((hospital, reserve()) for hospital in HOSPITALS))
    consortium.let_pass(chain)
    (began,) = vector.accepted(chain, AUDITOR, AdvanceRound(TASK, 1))
    assert began.phase is Phase.COMMITTING


@pytest.mark.vectors
def test_a_phase_that_is_not_over(vector: VectorWriter) -> None:
    """Nobody ends a phase early for others."""
    chain = consortium.round_open()
    current = round_of(chain)
    facts = vector.refused(chain, PhaseNotOver, LAB, AdvanceRound(TASK, 1))
    assert facts == {"phase": "reserving", "until": current.until, "until_height": current.until_height}


def test_recipients_are_frozen_when_a_round_opens_and_can_only_be_taken_out() -> None:
    """Whoever steals a human key while a round is open names another recipient, and reads nothing of this round."""
    chain = consortium.round_open()
    names, current = TERMS.recipients, consortium.round_of(chain, 1)
    assert rounds.recipients_of(chain.view, TERMS, current) == tuple(recipient_of(name) for name in names)
    chain.submit(HOSPITAL_A, ChangeRecipient(recipient_of("a thief")))
    others = tuple(recipient_of(name) for name in names if name != HOSPITAL_A.name)
    assert rounds.recipients_of(chain.view, TERMS, current) == others
    later = replace(current, opened_at=chain.height + 1)
    assert recipient_of("a thief") in rounds.recipients_of(chain.view, TERMS, later)


def test_a_round_that_too_few_verifiers_could_read_is_void_before_anybody_trains_and_nobody_pays() -> None:
    """Two of six have changed their recipient since it was opened: with one that is silent nothing could be decided."""
    chain = consortium.round_open()
    for place, member in enumerate((LAB, HOSPITAL_A)):
        reserving = [(hospital, reserve()) for hospital in HOSPITALS[2 * place : 2 * place + 2]]
        chain.submit(member, ChangeRecipient(recipient_of(f"new {member.name}")))
        consortium.succeed(chain, *reserving)
    current = round_of(chain)
    assert (current.phase, current.void, current.charged) == (Phase.VOID, Void.TOO_FEW_READERS, Charged.NOBODY)


def test_a_recipient_that_was_out_when_the_round_opened_does_not_come_in_by_reinstatement() -> None:
    chain = consortium.joined()
    others = [member for member in consortium.MEMBERS if member is not consortium.STAND_BY]
    consortium.pass_proposal(chain, SuspendMember("stand-by-lab", "a thief has its key"), others)
    chain.submit(LAB, OpenRound(TASK))
    consortium.pass_proposal(chain, ReinstateMember("stand-by-lab"), others)
    current = consortium.round_of(chain, 1)
    expected = tuple(recipient_of(name) for name in TERMS.recipients if name != "stand-by-lab")
    assert rounds.recipients_of(chain.view, TERMS, current) == expected


@pytest.mark.vectors
def test_a_round_that_has_ended_goes_nowhere(vector: VectorWriter) -> None:
    """Decided or void, however much time passes: the next round is opened, not this one gone on with."""
    void, decided = consortium.round_open(), consortium.promoted()
    consortium.pass_phase(void)
    consortium.let_pass(decided)
    assert decided.refused(RoundEnded, LAB, AdvanceRound(TASK, 1)) == {"round": 1, "phase": "decided"}
    assert vector.refused(void, RoundEnded, LAB, AdvanceRound(TASK, 1)) == {"round": 1, "phase": "void"}


@pytest.mark.vectors
def test_a_round_that_is_not_there(vector: VectorWriter) -> None:
    """Rounds are numbered from 1, in the order of their opening."""
    facts = vector.refused(consortium.round_open(), UnknownRound, LAB, AdvanceRound(TASK, 2))
    assert facts == {"task": TASK, "round": 2}


@pytest.mark.vectors
def test_a_step_of_another_phase(vector: VectorWriter) -> None:
    """Training and committing come after reserving: before, it is not known whether the round takes place."""
    facts = vector.refused(consortium.round_open(), WrongPhase, HOSPITAL_A, commit())
    assert facts == {"phase": "reserving", "wanted": "committing"}


def test_no_step_of_a_participant_is_taken_once_its_phase_has_passed() -> None:
    chain = consortium.committed()
    for message in (reserve(), commit(), Withdraw(TASK, 1)):
        chain.refused(WrongPhase, HOSPITAL_A, message)


# --- rounds that reveal nothing ---


@pytest.mark.vectors
def test_too_few_reservations_void_the_round_and_nobody_pays(vector: VectorWriter) -> None:
    """Below the minimum and f nobody trains."""
    chain = consortium.round_open()
    consortium.succeed(chain, *((hospital, reserve()) for hospital in HOSPITALS[:3]))
    consortium.let_pass(chain)
    events = vector.accepted(chain, LAB, AdvanceRound(TASK, 1))
    assert events == (RoundVoided(TASK, 1, Void.TOO_FEW_RESERVED, Charged.NOBODY),)
    assert round_of(chain).phase is Phase.VOID


def test_nobody_trains_in_a_round_with_too_few_reservations() -> None:
    chain = consortium.round_open()
    consortium.succeed(chain, *((hospital, reserve()) for hospital in HOSPITALS[:3]))
    consortium.let_pass(chain)
    chain.refused(WrongPhase, HOSPITAL_A, commit())


@pytest.mark.vectors
def test_too_few_commitments_void_the_round_and_who_stayed_away_pays(vector: VectorWriter) -> None:
    """Nothing was served, so who committed pays nothing; who did not might have stayed away because of its data."""
    chain = consortium.reserved()
    consortium.succeed(chain, *((hospital, commit()) for hospital in HOSPITALS[:3]))
    consortium.let_pass(chain)
    events = vector.accepted(chain, LAB, AdvanceRound(TASK, 1))
    assert events == (RoundVoided(TASK, 1, Void.TOO_FEW_COMMITTED, Charged.ABSENT),)


def test_a_round_with_a_drop_out_goes_on_with_the_others_after_the_deadline() -> None:
    chain = consortium.five_joined()
    chain.submit(LAB, OpenRound(TASK))
    consortium.succeed(chain, *((member, reserve()) for member in (*HOSPITALS, LAB)))
    consortium.succeed(chain, *((hospital, commit()) for hospital in HOSPITALS))
    chain.refused(PhaseNotOver, LAB, AdvanceRound(TASK, 1))
    consortium.let_pass(chain)
    chain.submit(HOSPITAL_A, attest())
    assert (round_of(chain).phase, round_of(chain).charged) == (Phase.ATTESTING, Charged.ALL)


def test_nobody_commits_after_the_barrier_however_late_it_is_read() -> None:
    chain = consortium.five_joined()
    chain.submit(LAB, OpenRound(TASK))
    consortium.succeed(chain, *((member, reserve()) for member in (*HOSPITALS, LAB)))
    consortium.succeed(chain, *((hospital, commit()) for hospital in HOSPITALS))
    consortium.let_pass(chain)
    chain.refused(WrongPhase, LAB, commit())


# --- from round to round ---


def test_a_task_s_next_round_starts_from_the_promoted_version() -> None:
    chain = consortium.promoted()
    (opened, _) = chain.submit(LAB, OpenRound(TASK))
    assert opened.base == 1
    consortium.contribute(chain, 2)


def test_a_void_round_leaves_the_base_as_it_was() -> None:
    chain = consortium.promoted()
    chain.submit(LAB, OpenRound(TASK))
    consortium.pass_phase(chain, 2)
    (opened, _) = chain.submit(LAB, OpenRound(TASK))
    assert (opened.round, opened.base) == (3, 1)


def test_a_version_that_fails_its_canary_decides_the_round_without_moving_the_base() -> None:
    chain = consortium.promoted()
    version = run_round(chain, correct=50)
    assert consortium.status_of(chain, version) is VersionStatus.FAILED_CANARY
    assert round_of(chain, 2).phase is Phase.DECIDED
    assert TASKS.at(chain.view, TASK).base == 1


def test_a_round_does_not_grow_with_what_its_seats_hold() -> None:
    chain = consortium.committed()
    before = len(round_of(consortium.round_open()).encode())
    assert len(round_of(chain).encode()) - before <= 3 * limits.SEATS_PER_ROUND // 8


def test_rounds_that_nobody_trained_in_use_up_none_of_a_task_s() -> None:
    """Else who joins and never reserves ends the task for all."""
    chain = consortium.joined()
    chain.given(rounds.TERMS.put(TASK, replace(TERMS, max_rounds=2)))
    for _ in range(3):
        chain.submit(LAB, OpenRound(TASK))
        consortium.let_pass(chain, TASKS.at(chain.view, TASK).rounds)
    for number in (4, 5):
        chain.submit(LAB, OpenRound(TASK))
        consortium.succeed(chain, *((member, reserve(number)) for member in HOSPITALS))
        consortium.let_pass(chain, number)
    after = TASKS.at(chain.view, TASK)
    assert (after.rounds, after.trained) == (5, 2)
    chain.refused(NoMoreRounds, LAB, OpenRound(TASK))
