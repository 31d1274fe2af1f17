"""Terms: what a task may and may not agree on, and the price that follows."""

from dataclasses import replace
from typing import Any

import pytest

from campaigns.harness import consortium
from campaigns.harness.consortium import HOSPITAL_A, MECHANISM, TERMS
from contracts.governance import OpenTask, Propose
from contracts.kernel import InvariantBroken, codec, limits, renyi
from contracts.kernel.codec import Malformed
from contracts.reputation import HIGHEST
from contracts.terms import (
    BreakdownPoint,
    Estimator,
    EstimatorKind,
    MechanismKind,
    Phase,
    Phases,
    Terms,
    TermsInconsistent,
    breakdown_minimum,
    needed_seats,
    needed_votes,
    phase_ms,
    price_of,
    require_consistent,
)
from tests.vectors_io import VectorWriter

MEAN, MEDIAN = EstimatorKind.MEAN, EstimatorKind.MEDIAN
TRIMMED_MEAN, MULTI_KRUM = EstimatorKind.TRIMMED_MEAN, EstimatorKind.MULTI_KRUM
POISSON = replace(MECHANISM, kind=MechanismKind.POISSON_GAUSSIAN, sampling_num=1, sampling_den=4)


def with_mechanism(**changes: Any) -> Terms:
    return replace(TERMS, mechanism=replace(TERMS.mechanism, **changes))


def with_phases(**changes: Any) -> Terms:
    return replace(TERMS, phases=replace(TERMS.phases, **changes))


def with_voters(voters: int, faults: int) -> Terms:
    """Terms with so many voters, all of whom aggregate as well, as far as that is allowed."""
    names = tuple(f"voter-{i}" for i in range(voters))
    aggregators = names[: limits.AGGREGATORS_PER_TASK]
    return replace(TERMS, verifiers=names, recipients=names, aggregators=aggregators, verifier_faults=faults)


@pytest.mark.vectors
def test_too_few_contributions_for_the_estimator(vector: VectorWriter) -> None:
    """A median withstands f Byzantine updates among 2f + 1 or more: terms that promise less are refused."""
    terms = replace(TERMS, estimator=Estimator(MEDIAN, byzantine=2, minimum=4))
    facts = vector.refused(consortium.equipped(), BreakdownPoint, HOSPITAL_A, Propose(OpenTask(terms)))
    assert facts == {"byzantine": 2, "minimum": 4, "least": 5}


@pytest.mark.parametrize(
    ("kind", "byzantine", "least"),
    [(MEDIAN, 1, 3), (TRIMMED_MEAN, 3, 7), (MULTI_KRUM, 1, 5), (MULTI_KRUM, 0, 3), (MEAN, 0, 1), (MEDIAN, 0, 1)],
)
def test_an_estimator_s_breakdown_point_is_met_exactly(kind: EstimatorKind, byzantine: int, least: int) -> None:
    require_consistent(replace(TERMS, estimator=Estimator(kind, byzantine, least)))
    if least > 1:
        with pytest.raises(BreakdownPoint):
            require_consistent(replace(TERMS, estimator=Estimator(kind, byzantine, least - 1)))


def test_a_mean_withstands_nobody() -> None:
    with pytest.raises(BreakdownPoint):
        require_consistent(replace(TERMS, estimator=Estimator(MEAN, byzantine=1, minimum=limits.SEATS_PER_ROUND)))
    assert breakdown_minimum(Estimator(MEAN, byzantine=1, minimum=1)) > limits.SEATS_PER_ROUND


@pytest.mark.vectors
def test_terms_that_hide_the_payloads_from_a_verifier(vector: VectorWriter) -> None:
    """Whoever votes must be able to decrypt the payloads, or its vote is not a recomputation."""
    terms = replace(TERMS, recipients=TERMS.recipients[1:])
    facts = vector.refused(consortium.equipped(), TermsInconsistent, HOSPITAL_A, Propose(OpenTask(terms)))
    assert facts["field"] == "recipients"


@pytest.mark.vectors
def test_terms_whose_aggregator_does_not_vote(vector: VectorWriter) -> None:
    """A proposer is held to its own work like every voter: it seals a ballot, so it must be a verifier."""
    terms = replace(TERMS, verifiers=TERMS.verifiers[:-1])
    facts = vector.refused(consortium.equipped(), TermsInconsistent, HOSPITAL_A, Propose(OpenTask(terms)))
    assert facts["field"] == "aggregators"


@pytest.mark.vectors
def test_terms_with_too_few_voters_for_the_faults_they_name(vector: VectorWriter) -> None:
    """Besides any proposer there are 3f + 1 voters, so that f silent and f lying ones never decide: six carry f = 1."""
    terms = replace(TERMS, verifier_faults=2)
    facts = vector.refused(consortium.equipped(), TermsInconsistent, HOSPITAL_A, Propose(OpenTask(terms)))
    assert facts["field"] == "verifier_faults"


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        (with_mechanism(sampling_num=3, sampling_den=2), "mechanism.sampling_num"),
        (with_mechanism(sampling_num=1, sampling_den=4), "mechanism.kind"),
        (replace(TERMS, aggregators=("lab", "lab")), "aggregators"),
        (replace(TERMS, verifiers=("lab", "hospital-a", "lab")), "verifiers"),
        (replace(TERMS, recipients=(*TERMS.recipients, "lab")), "recipients"),
        (replace(TERMS, recipients=tuple(name for name in TERMS.recipients if name != "lab")), "recipients"),
        (replace(TERMS, estimator=Estimator(MEDIAN, byzantine=1, minimum=256)), "estimator.minimum"),
        (replace(TERMS, estimator=Estimator(MEDIAN, byzantine=86, minimum=173)), "estimator.minimum"),
    ],
    ids=[
        "a sampling rate above one",
        "a mechanism without sampling that names a rate",
        "an aggregator twice",
        "a verifier twice",
        "a recipient twice",
        "an aggregator that cannot read the payloads",
        "a minimum that leaves no seat for the Byzantine one",
        "more than the seats, minimum and Byzantine together",
    ],
)
def test_terms_that_contradict_themselves_are_refused_by_field(terms: Terms, field: str) -> None:
    with pytest.raises(TermsInconsistent) as refusal:
        require_consistent(terms)
    assert refusal.value.facts["field"] == field


@pytest.mark.parametrize(("voters", "faults"), [(3, 0), (5, 1), (8, 2), (11, 3), (14, 4)])
def test_so_many_voters_carry_so_many_faults_and_one_voter_less_does_not(voters: int, faults: int) -> None:
    require_consistent(with_voters(voters, faults))
    with pytest.raises(TermsInconsistent) as refusal:
        require_consistent(with_voters(voters - 1, faults))
    assert refusal.value.facts["field"] == "verifier_faults"


@pytest.mark.parametrize(("voters", "faults"), [(3, 0), (4, 0), (5, 1), (6, 1), (16, 4), (16, 0)])
def test_two_quorums_always_share_an_honest_voter_and_the_honest_are_one(voters: int, faults: int) -> None:
    needed = needed_votes(with_voters(voters, faults))
    assert needed == voters - faults
    assert 2 * needed - voters > faults


def test_enough_reserve_and_commit_that_the_byzantine_ones_leave_the_estimator_its_minimum() -> None:
    assert needed_seats(TERMS) == TERMS.estimator.minimum + TERMS.estimator.byzantine == 4
    widest = replace(TERMS, estimator=Estimator(MEDIAN, byzantine=85, minimum=171))
    require_consistent(widest)
    assert needed_seats(widest) == limits.SEATS_PER_ROUND


def test_every_phase_but_the_last_two_has_its_own_time() -> None:
    timed = [phase for phase in Phase if phase not in (Phase.DECIDED, Phase.VOID)]
    terms = replace(TERMS, phases=Phases(1_000, 2_000, 3_000, 4_000, 5_000, 1, TERMS.phases.commits))
    assert [phase_ms(terms, phase) for phase in timed] == [1_000, 2_000, 3_000, 4_000, 5_000]
    for over in (Phase.DECIDED, Phase.VOID):
        with pytest.raises(InvariantBroken):
            phase_ms(terms, over)


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        (with_mechanism(noise_milli=0), "mechanism.noise_milli"),
        (with_mechanism(steps=0), "mechanism.steps"),
        (with_mechanism(normaliser=0), "mechanism.normaliser"),
        (replace(TERMS, verifiers=("hospital-a", "hospital-b")), "verifiers"),
        (replace(TERMS, aggregators=()), "aggregators"),
        (replace(TERMS, task="Breast Cancer"), "task"),
        (replace(TERMS, canary_margin_ppm=1_000_001), "canary_margin_ppm"),
        (with_phases(commit_ms=limits.PHASE_MS_MIN - 1), "phases.commit_ms"),
        (with_phases(open_ms=limits.PHASE_MS_MAX + 1), "phases.open_ms"),
        (with_phases(blocks=0), "phases.blocks"),
        (with_phases(blocks=limits.PHASE_BLOCKS + 1), "phases.blocks"),
        (replace(TERMS, verifier_faults=-1), "verifier_faults"),
        (replace(TERMS, canary_records=0), "canary_records"),
        (replace(TERMS, minimum_reputation=HIGHEST + 1), "minimum_reputation"),
        (replace(TERMS, retention_ms=0), "retention_ms"),
    ],
)
def test_terms_out_of_bounds_cannot_even_be_written(terms: Terms, field: str) -> None:
    with pytest.raises(Malformed) as error:
        codec.encode(terms)
    assert error.value.field == field


def test_the_price_follows_from_the_mechanism_alone() -> None:
    assert price_of(MECHANISM) == renyi.gaussian_curve(2_000, 1)
    assert price_of(POISSON) == renyi.subsampled_gaussian_curve(1, 4, 2_000, 1)
    assert price_of(replace(POISSON, clip_milli=5, normaliser=7)) == price_of(POISSON)


def test_sampling_makes_a_round_cheaper_and_steps_make_it_dearer() -> None:
    sampled = price_of(POISSON).costs()
    assert all(cheap < dear for cheap, dear in zip(sampled, price_of(MECHANISM).costs(), strict=True))
    more = price_of(replace(POISSON, steps=6)).costs()
    assert all(few < many for few, many in zip(sampled, more, strict=True))
