"""Reputation: what a decision says about an organisation, and how that fades."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.harness import consortium
from campaigns.harness.chain import BLOCK_MS, Committed
from campaigns.harness.consortium import (
    HOSPITAL_A,
    HOSPITAL_D,
    HOSPITALS,
    LAB,
    STAND_BY,
    TASK,
    VERIFIERS,
    deviation_of,
    run_round,
)
from contracts import reputation
from contracts.kernel import Context, Place
from contracts.lineage import VERDICTS, Finding
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
    Judged,
    MeritDisowned,
    ReputationChanged,
    Score,
    Verdict,
)
from contracts.rounds import OpenRound
from contracts.thefts import ReportStolenKey
from tests.vectors_io import VectorWriter

ACCEPTED, FILTERED = Verdict.ACCEPTED, Verdict.FILTERED
verdicts = st.sampled_from(Verdict)


def after(*judged: Verdict, score: Score | None = None) -> Score:
    """The score of one organisation after these verdicts, all at one time."""
    view = Committed()
    if score is not None:
        view.apply(dict([SCORES.put("hospital-a", score)]))
    context = Context(bytes(32), 1, 0, 0, b"", "", ())
    outcome = reputation.settle(view, tuple(Judged("hospital-a", verdict) for verdict in judged), context)
    view.apply(dict(outcome.writes))
    return reputation.at(view, "hospital-a", 0)


# --- on the ledger ---


@pytest.mark.vectors
def test_confirmed_ballots_and_accepted_updates_earn_reputation(vector: VectorWriter) -> None:
    """The opening that decides a round applies its judgements, and credits those who opened what the quorum opened."""
    chain = consortium.sealed()
    consortium.open_all(chain, by=VERIFIERS[:-1])
    last = VERIFIERS[-1]
    events = vector.accepted(chain, last, consortium.open_ballot(last, consortium.candidate(chain)))
    earned = CHANGES[ACCEPTED] + CHANGES[Verdict.CONFIRMED]
    assert ReputationChanged("hospital-d", ACCEPTED, earned) in events
    assert deviation_of(chain, HOSPITAL_A) == earned
    assert deviation_of(chain, LAB) == CHANGES[Verdict.CONFIRMED]


def test_an_update_that_is_filtered_once_costs_nothing_and_twice_costs() -> None:
    chain = consortium.joined()
    run_round(chain, findings={HOSPITAL_D: Finding.OUTLIER})
    assert SCORES.at(chain.view, "hospital-d").flags == 0b1
    once = deviation_of(chain, HOSPITAL_D)
    assert once >= NEUTRAL
    run_round(chain, findings={HOSPITAL_D: Finding.OUTLIER})
    assert SCORES.at(chain.view, "hospital-d").flags == 0b11
    assert deviation_of(chain, HOSPITAL_D) < NEUTRAL


def test_who_disowns_what_a_stolen_key_did_keeps_nothing_of_what_that_earned() -> None:
    chain = consortium.promoted()
    earned = deviation_of(chain, HOSPITAL_A)
    assert earned == CHANGES[ACCEPTED] + CHANGES[Verdict.CONFIRMED]
    late = chain.fork()
    late.submit(HOSPITAL_A, ReportStolenKey(HOSPITAL_A.worker.public, Place(late.height + 1, 0)))
    assert earned - 1 <= deviation_of(late, HOSPITAL_A) <= earned, "what came before the theft stays, and fades"
    events = chain.submit(HOSPITAL_A, ReportStolenKey(HOSPITAL_A.worker.public, Place(1, 0)))
    assert events[-1] == MeritDisowned("hospital-a", deviation_of(chain, HOSPITAL_A))
    assert NEUTRAL <= deviation_of(chain, HOSPITAL_A) <= 2, "nothing but what rounding leaves of two merits"


@pytest.mark.vectors
def test_a_report_takes_back_what_the_acts_that_it_disowns_earned(vector: VectorWriter) -> None:
    """A contribution that was accepted and a ballot that was confirmed; what they cost would not come back."""
    chain = consortium.promoted()
    events = vector.accepted(chain, HOSPITAL_A, ReportStolenKey(HOSPITAL_A.worker.public, Place(1, 0)))
    assert MeritDisowned("hospital-a", deviation_of(chain, HOSPITAL_A)) in events


def test_a_judgement_counts_only_once_the_ballots_agree_on_it() -> None:
    chain = consortium.agreed()
    named = consortium.candidate(chain, findings={HOSPITAL_D: Finding.MALFORMED})
    consortium.seal_all(chain, named=named)
    consortium.open_all(chain, named=named, by=VERIFIERS[:-1])
    assert deviation_of(chain, HOSPITAL_D) == NEUTRAL
    consortium.open_all(chain, named=named, by=VERIFIERS[-1:])
    assert deviation_of(chain, HOSPITAL_D) == CHANGES[Verdict.REFUSED] + CHANGES[Verdict.CONFIRMED]


@pytest.mark.parametrize("finding", Finding)
def test_what_is_found_in_a_payload_becomes_the_verdict_on_its_owner(finding: Finding) -> None:
    chain = consortium.agreed()
    events = consortium.vote_all(chain, named=consortium.candidate(chain, findings={HOSPITAL_D: finding}))
    judged = [one.verdict for one in events if isinstance(one, ReputationChanged) and one.organisation == "hospital-d"]
    assert judged == [Verdict.CONFIRMED, VERDICTS[finding]]


def test_a_commitment_without_a_payload_is_missing_and_costs_in_full() -> None:
    chain = consortium.committed()
    consortium.attest_all(chain, held=range(3))
    assert deviation_of(chain, HOSPITAL_D) == CHANGES[Verdict.MISSING]


def test_who_dropped_out_before_committing_has_paid_with_its_budget_and_is_not_blamed() -> None:
    chain = consortium.five_joined()
    chain.submit(LAB, OpenRound(TASK))
    consortium.succeed(chain, *((member, consortium.reserve()) for member in (*HOSPITALS, LAB)))
    consortium.succeed(chain, *((member, consortium.commit()) for member in (*HOSPITALS[:3], LAB)))
    consortium.pass_phase(chain)
    consortium.attest_all(chain)
    consortium.vote_all(chain)
    assert deviation_of(chain, HOSPITAL_D) == CHANGES[Verdict.CONFIRMED]


@pytest.mark.parametrize(
    ("finding", "score"),
    [(Finding.OUTLIER, 90), (Finding.AGGREGATED, 89)],
    ids=["another judgement", "the score alone"],
)
def test_who_opens_against_the_quorum_pays_and_a_score_of_one_s_own_is_nobody_s_fault(
    finding: Finding, score: int
) -> None:
    chain = consortium.agreed()
    other = consortium.candidate(chain, findings={HOSPITAL_A: finding})
    consortium.seal_all(chain, by=VERIFIERS[:-1])
    chain.submit(STAND_BY, consortium.seal(STAND_BY, other, correct=score))
    consortium.open_all(chain, by=VERIFIERS[:-1])
    chain.submit(STAND_BY, consortium.open_ballot(STAND_BY, other, correct=score))
    said = Verdict.CONFIRMED if finding is Finding.AGGREGATED else Verdict.CONTRADICTED
    assert deviation_of(chain, STAND_BY) == CHANGES[said]


def test_who_does_not_open_what_it_sealed_pays_and_who_never_sealed_does_not() -> None:
    chain = consortium.agreed()
    consortium.seal_all(chain, by=VERIFIERS[:-1])
    consortium.pass_phase(chain)
    consortium.open_all(chain, by=(*HOSPITALS,))
    consortium.pass_phase(chain)
    assert deviation_of(chain, LAB) == CHANGES[Verdict.UNOPENED]
    assert deviation_of(chain, STAND_BY) == NEUTRAL


def test_a_score_fades_with_block_time_and_nothing_is_written_for_it() -> None:
    chain = consortium.promoted()
    earned, root = deviation_of(chain, HOSPITAL_A), chain.root
    chain.advance(HALF_LIFE_MS - BLOCK_MS)
    chain.block()
    assert deviation_of(chain, HOSPITAL_A) == earned // 2
    assert chain.root == root


def test_a_weight_is_snapshotted_when_its_seat_is_reserved() -> None:
    chain = consortium.promoted()
    chain.submit(LAB, OpenRound(TASK))
    chain.submit(HOSPITAL_A, consortium.reserve(2))
    score = reputation.at(chain.view, "hospital-a", chain.time_ms)
    assert consortium.seat_of(chain, HOSPITAL_A, 2).weight == reputation.weight(score) > WEIGHT_ONE
    chain.given(SCORES.put("hospital-a", replace(score, deviation=LOWEST)))
    consortium.succeed(chain, *((hospital, consortium.reserve(2)) for hospital in HOSPITALS[1:]))
    chain.submit(HOSPITAL_A, consortium.commit(2, base=1))
    assert consortium.seat_of(chain, HOSPITAL_A, 2).weight == reputation.weight(score)


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
        ((Verdict.CONFIRMED,), 10_000),
        ((Verdict.CONTRADICTED,), -500_000),
        ((Verdict.UNOPENED,), -200_000),
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
        "a confirmed ballot earns a little",
        "a ballot against the quorum's costs most",
        "a ballot that stays shut costs as much as a payload that is not there",
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
