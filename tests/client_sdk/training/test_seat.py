"""What a participant does next: every row of the table, from a proved round, a proved seat and the journal."""

from dataclasses import replace
from typing import Any

import pytest

from campaigns.harness.consortium import DATASET, PHASE_BLOCKS, PHASE_MS, TASK, TERMS, cid, digest
from client_sdk.reads.queries import Moment
from client_sdk.training.journal import Entry
from client_sdk.training.seat import Seen, Step, commit_at, next_step, why_void
from contracts.contributions import Commitment, Seat
from contracts.kernel import bitmap
from contracts.rounds import Charged, Round, Void
from contracts.terms import CommitTiming, Phase, Terms

BEGAN, HEIGHT = 1_000_000, 50
UNTIL, UNTIL_HEIGHT = BEGAN + PHASE_MS, HEIGHT + PHASE_BLOCKS + 1
MINE = 2
FREE = Seat(MINE, DATASET, 1024, None)
MADE = Commitment(digest("key"), 7, cid("payload"), digest("payload"), 1_000, digest("code"))
COMMITTED = replace(FREE, commitment=MADE)
STARTED = Entry.started(TASK, 1, DATASET)
TRAINED = replace(STARTED, envelope=b"signed", payload=b"sealed")
DURING, OVER = Moment(HEIGHT + 1, BEGAN + 1), Moment(UNTIL_HEIGHT, UNTIL)
AT_INSTANT = replace(TERMS, phases=replace(TERMS.phases, commits=CommitTiming.AT_INSTANT))


def round_in(phase: Phase, *, reserved: int = 4, committed: int = 0, **changes: Any) -> Round:
    plain = Round(
        base=0,
        phase=phase,
        opened_at=HEIGHT,
        began_at=BEGAN,
        until=UNTIL,
        until_height=UNTIL_HEIGHT,
        invited=b"\x1f",
        needed=4,
        reserved=bitmap.of(range(reserved)),
        committed=bitmap.of(range(committed)),
        agreed=bitmap.NOTHING,
        charged=Charged.NOBODY,
        void=None,
    )
    return replace(plain, **changes)


def seen(current: Round, seat: Seat, now: Moment = DURING, terms: Terms = TERMS) -> Seen:
    return Seen(terms, current, seat, now)


def step(current: Round, seat: Seat, entry: Entry | None, now: Moment = DURING, terms: Terms = TERMS) -> Step:
    return next_step(seen(current, seat, now, terms), entry)


RESERVING, COMMITTING = round_in(Phase.RESERVING), round_in(Phase.COMMITTING)


def test_nothing_is_trained_while_seats_can_still_be_given_back() -> None:
    assert step(RESERVING, FREE, None) is Step.WAIT


def test_once_enough_have_reserved_and_nobody_can_any_more_the_next_phase_is_begun() -> None:
    assert step(RESERVING, FREE, None, OVER) is Step.ADVANCE


@pytest.mark.parametrize("now", [Moment(UNTIL_HEIGHT - 1, UNTIL), Moment(UNTIL_HEIGHT, UNTIL - 1)])
def test_a_phase_ends_by_neither_time_nor_blocks_alone(now: Moment) -> None:
    assert step(RESERVING, FREE, None, now) is Step.WAIT
    assert step(round_in(Phase.COMMITTING, committed=4), COMMITTED, TRAINED, now) is Step.WAIT


def test_too_few_reservations_end_the_round_before_anybody_has_written_so() -> None:
    assert step(round_in(Phase.RESERVING, reserved=3), FREE, None, OVER) is Step.VOID


def test_training_starts_once_and_only_in_its_phase() -> None:
    assert step(COMMITTING, FREE, None) is Step.TRAIN
    assert step(COMMITTING, FREE, STARTED) is Step.INTERRUPTED
    assert step(COMMITTING, FREE, TRAINED) is Step.COMMIT


def test_terms_that_say_so_let_commitments_leave_at_one_instant_however_early_training_ended() -> None:
    instant = commit_at(AT_INSTANT, COMMITTING)
    assert instant == BEGAN + PHASE_MS // 2
    assert step(COMMITTING, FREE, TRAINED, Moment(HEIGHT + 9, instant - 1), AT_INSTANT) is Step.WAIT
    assert step(COMMITTING, FREE, TRAINED, Moment(HEIGHT + 9, instant), AT_INSTANT) is Step.COMMIT
    assert step(COMMITTING, FREE, TRAINED, Moment(HEIGHT + 1, BEGAN), TERMS) is Step.COMMIT


def test_who_has_committed_waits_for_the_barrier() -> None:
    assert step(round_in(Phase.COMMITTING, committed=3), COMMITTED, TRAINED) is Step.WAIT


@pytest.mark.parametrize("entry", [None, STARTED])
def test_a_commitment_whose_payload_is_not_in_the_journal_is_lost(entry: Entry | None) -> None:
    assert step(round_in(Phase.COMMITTING, committed=3), COMMITTED, entry) is Step.LOST


def test_a_seat_whose_commitment_was_taken_out_commits_anew_to_what_was_trained() -> None:
    taken_out = round_in(Phase.COMMITTING, committed=2)
    assert step(taken_out, FREE, TRAINED) is Step.COMMIT
    assert step(taken_out, FREE, STARTED) is Step.INTERRUPTED


PAST = [
    pytest.param(round_in(Phase.COMMITTING, committed=4), OVER, id="over and not written"),
    *(
        pytest.param(round_in(phase, committed=4, charged=Charged.ALL), DURING, id=phase)
        for phase in (Phase.ATTESTING, Phase.SEALING, Phase.OPENING, Phase.DECIDED, Phase.VOID)
    ),
]


@pytest.mark.parametrize(("current", "now"), PAST)
def test_past_the_barrier_the_payload_is_served_and_what_was_missed_is_missed(current: Round, now: Moment) -> None:
    assert step(current, COMMITTED, TRAINED, now) is Step.SERVE
    assert step(current, COMMITTED, None, now) is Step.READ_BACK
    for entry in (None, STARTED, TRAINED):
        assert step(current, FREE, entry, now) is Step.MISSED
    assert seen(current, FREE, now).pays


VOID = [
    pytest.param(round_in(Phase.COMMITTING, committed=3), OVER, id="over and not written"),
    pytest.param(round_in(Phase.VOID, committed=3, charged=Charged.ABSENT), DURING, id="too few committed"),
    pytest.param(round_in(Phase.VOID, committed=3), DURING, id="its base fell"),
]


@pytest.mark.parametrize(("current", "now"), VOID)
@pytest.mark.parametrize("entry", [None, STARTED, TRAINED], ids=["nothing", "started", "trained"])
def test_a_round_without_a_barrier_is_void_whatever_was_done_in_it(
    current: Round, now: Moment, entry: Entry | None
) -> None:
    for seat in (FREE, COMMITTED):
        assert step(current, seat, entry, now) is Step.VOID


def test_nobody_who_committed_pays_for_a_round_without_a_barrier() -> None:
    current = round_in(Phase.COMMITTING, committed=3)
    assert not seen(current, COMMITTED, OVER).pays
    assert seen(current, replace(FREE, number=3), OVER).pays
    assert not seen(round_in(Phase.RESERVING, reserved=3), FREE, OVER).pays


@pytest.mark.parametrize(
    ("current", "why"),
    [
        (round_in(Phase.VOID, reserved=3), "3 have reserved, 4 were needed"),
        (round_in(Phase.VOID, committed=2), "2 have committed, 4 were needed"),
        (round_in(Phase.VOID, committed=4, void=Void.BASE_FELL), "the version that it started from fell"),
    ],
)
def test_a_void_round_says_what_kept_it_from_its_barrier(current: Round, why: str) -> None:
    assert why_void(current) == why
