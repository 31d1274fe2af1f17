"""Reputation: what a decision says about an organisation, and how that fades."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.harness import consortium
from campaigns.harness.chain import BLOCK_MS, Committed
from campaigns.harness.consortium import HOSPITAL_A, HOSPITAL_D, HOSPITALS, LAB, TASK, deviation_of, run_round
from contracts import reputation
from contracts.kernel import Context
from contracts.reputation import (
    CHANGES,
    FLAG_WINDOW,
    HALF_LIFE_MS,
    HIGHEST,
    LOWEST,
    NEUTRAL,
    SCORES,
    WEIGHT_CAP,
    WEIGHT_FLOOR,
    WEIGHT_ONE,
    ReputationChanged,
    Score,
    Verdict,
)
from contracts.rounds import OpenRound
from tests.vectors_io import VectorWriter

ACCEPTED, FILTERED = Verdict.ACCEPTED, Verdict.FILTERED
verdicts = st.sampled_from(Verdict)


def after(*judged: Verdict, score: Score | None = None) -> Score:
    """The score of one organisation after these verdicts, all at one time."""
    view = Committed()
    if score is not None:
        view.apply(dict([SCORES.put("hospital-a", score)]))
    context = Context(bytes(32), 1, 0, 0, b"", "", ())
    outcome = reputation.settle(view, tuple(("hospital-a", verdict) for verdict in judged), context)
    view.apply(dict(outcome.writes))
    return reputation.at(view, "hospital-a", 0)


# --- on the ledger ---


@pytest.mark.vectors
def test_confirmed_votes_and_accepted_updates_earn_reputation(vector: VectorWriter) -> None:
    """The vote that settles a round applies its judgements, and credits those who recomputed it."""
    chain = consortium.proposed()
    consortium.vote_all(chain, 1, voters=HOSPITALS[:3])
    events = vector.accepted(chain, HOSPITAL_D, consortium.vote(chain, 1))
    earned = CHANGES[ACCEPTED] + CHANGES[Verdict.CONFIRMED]
    assert ReputationChanged("hospital-d", Verdict.CONFIRMED, earned) in events
    assert deviation_of(chain, HOSPITAL_A) == earned
    assert deviation_of(chain, LAB) == 0


def test_an_update_that_is_filtered_once_costs_nothing_and_twice_costs() -> None:
    chain = consortium.joined()
    run_round(chain, verdicts={HOSPITAL_D: FILTERED})
    assert SCORES.at(chain.view, "hospital-d").flags == 0b1
    once = deviation_of(chain, HOSPITAL_D)
    assert once >= NEUTRAL
    run_round(chain, verdicts={HOSPITAL_D: FILTERED})
    assert SCORES.at(chain.view, "hospital-d").flags == 0b11
    assert deviation_of(chain, HOSPITAL_D) < NEUTRAL


def test_a_judgement_counts_only_once_the_votes_confirm_it() -> None:
    chain = consortium.closed()
    chain.submit(LAB, consortium.propose(chain, verdicts={HOSPITAL_D: Verdict.REFUSED}))
    assert deviation_of(chain, HOSPITAL_D) == NEUTRAL
    consortium.vote_all(chain, 1)
    assert deviation_of(chain, HOSPITAL_D) < NEUTRAL


def test_a_commitment_without_a_payload_is_missing_and_costs_in_full() -> None:
    chain = consortium.committed()
    consortium.succeed(chain, *((hospital, consortium.publish()) for hospital in HOSPITALS[:3]))
    consortium.close(chain, 1, waiting=True)
    chain.submit(LAB, consortium.propose(chain))
    consortium.vote_all(chain, 1)
    assert deviation_of(chain, HOSPITAL_D) == CHANGES[Verdict.MISSING] + CHANGES[Verdict.CONFIRMED]


def test_who_dropped_out_before_committing_is_not_blamed() -> None:
    chain = consortium.joined()
    run_round(chain, HOSPITALS[:3])
    assert deviation_of(chain, HOSPITAL_D) == CHANGES[Verdict.CONFIRMED]


def test_a_score_fades_with_block_time_and_nothing_is_written_for_it() -> None:
    chain = consortium.promoted()
    earned, root = deviation_of(chain, HOSPITAL_A), chain.root
    chain.advance(HALF_LIFE_MS - BLOCK_MS)
    chain.block()
    assert deviation_of(chain, HOSPITAL_A) == earned // 2
    assert chain.root == root


def test_a_weight_is_snapshotted_when_the_round_opens() -> None:
    chain = consortium.promoted()
    chain.submit(LAB, OpenRound(TASK))
    score = reputation.at(chain.view, "hospital-a", chain.time_ms)
    assert {seat.weight for seat in consortium.round_of(chain, 2).seats} == {reputation.weight(score)}
    assert reputation.weight(score) > WEIGHT_ONE


# --- the arithmetic ---


@pytest.mark.parametrize(
    ("judged", "deviation"),
    [
        ((ACCEPTED,), 50_000),
        ((FILTERED,), 0),
        ((FILTERED, ACCEPTED, ACCEPTED, ACCEPTED, FILTERED), 3 * 50_000 - 100_000),
        ((FILTERED, *(ACCEPTED,) * FLAG_WINDOW, FILTERED), FLAG_WINDOW * 50_000),
        ((FILTERED, FILTERED, FILTERED), -200_000),
        ((Verdict.REFUSED,), -400_000),
        ((Verdict.MISSING,), -200_000),
        ((Verdict.WITHDRAWN,), 0),
        ((Verdict.CONFIRMED,), 10_000),
        ((Verdict.FALSE_PROPOSAL,), -500_000),
        ((FILTERED, Verdict.CONFIRMED, Verdict.MISSING, FILTERED), 10_000 - 200_000 - 100_000),
    ],
    ids=[
        "an accepted update earns",
        "one flag costs nothing",
        "two flags within the window cost, once",
        "a flag that left the window is forgotten",
        "from the second flag on each costs",
        "a malformed update costs in full",
        "a missing payload costs in full",
        "a stolen key is no fault",
        "a confirmed vote earns a little",
        "a false proposal costs most",
        "only judged updates move the window",
    ],
)
def test_verdicts_add_up(judged: tuple[Verdict, ...], deviation: int) -> None:
    assert after(*judged).deviation == deviation


@given(st.lists(verdicts, max_size=60))
def test_a_score_never_leaves_its_bounds_nor_a_weight_its_floor_and_cap(judged: list[Verdict]) -> None:
    score = after(*judged)
    assert LOWEST <= score.deviation <= HIGHEST
    assert WEIGHT_FLOOR <= reputation.weight(score) <= WEIGHT_CAP
    assert 0 <= score.flags < 2**FLAG_WINDOW


@given(st.lists(verdicts, max_size=20))
def test_settling_together_is_settling_one_by_one(judged: list[Verdict]) -> None:
    score = Score(NEUTRAL, 0, 0)
    for verdict in judged:
        score = after(verdict, score=score)
    assert score == after(*judged, score=Score(NEUTRAL, 0, 0))


@given(st.integers(LOWEST, HIGHEST), st.integers(LOWEST, HIGHEST))
def test_a_better_score_never_weighs_less(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert reputation.weight(Score(low, 0, 0)) <= reputation.weight(Score(high, 0, 0))


@given(st.integers(LOWEST, HIGHEST), st.integers(0, 10 * HALF_LIFE_MS))
def test_time_brings_every_score_towards_neutral(deviation: int, elapsed: int) -> None:
    view = Committed()
    view.apply(dict([SCORES.put("hospital-a", Score(deviation, 0, 0b101))]))
    faded = reputation.at(view, "hospital-a", elapsed)
    assert abs(faded.deviation) <= abs(deviation)
    assert faded.deviation * deviation >= 0
    assert (faded.updated_at, faded.flags) == (elapsed, 0b101)


def test_a_newcomer_is_neutral_and_weighs_one() -> None:
    score = reputation.at(Committed(), "nobody", 5)
    assert score == Score(NEUTRAL, 5, 0)
    assert reputation.weight(score) == WEIGHT_ONE


def test_every_verdict_has_its_price() -> None:
    assert list(CHANGES) == list(Verdict)
