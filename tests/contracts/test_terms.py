"""Terms: what a task may and may not agree on, and the price that follows."""

from dataclasses import replace
from typing import Any

import pytest

from campaigns.harness import consortium
from campaigns.harness.consortium import HOSPITAL_A, MECHANISM, TERMS
from contracts.governance import OpenTask, Propose
from contracts.kernel import codec, renyi
from contracts.kernel.codec import Malformed
from contracts.terms import (
    BreakdownPoint,
    Estimator,
    EstimatorKind,
    MechanismKind,
    Terms,
    TermsInconsistent,
    breakdown_minimum,
    price_of,
    require_consistent,
)
from tests.vectors_io import VectorWriter

MEAN, MEDIAN = EstimatorKind.MEAN, EstimatorKind.MEDIAN
TRIMMED_MEAN, MULTI_KRUM = EstimatorKind.TRIMMED_MEAN, EstimatorKind.MULTI_KRUM
POISSON = replace(MECHANISM, kind=MechanismKind.POISSON_GAUSSIAN, sampling_num=1, sampling_den=4)


def with_mechanism(**changes: Any) -> Terms:
    return replace(TERMS, mechanism=replace(TERMS.mechanism, **changes))


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
        require_consistent(replace(TERMS, estimator=Estimator(MEAN, byzantine=1, minimum=64)))
    assert breakdown_minimum(Estimator(MEAN, byzantine=1, minimum=64)) > 64


@pytest.mark.vectors
def test_terms_that_hide_the_payloads_from_a_verifier(vector: VectorWriter) -> None:
    """Whoever votes must be able to decrypt the payloads, or its vote is not a recomputation."""
    terms = replace(TERMS, recipients=TERMS.recipients[1:])
    facts = vector.refused(consortium.equipped(), TermsInconsistent, HOSPITAL_A, Propose(OpenTask(terms)))
    assert facts["field"] == "recipients"


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        (with_mechanism(sampling_num=3, sampling_den=2), "mechanism.sampling_num"),
        (with_mechanism(sampling_num=1, sampling_den=4), "mechanism.kind"),
        (replace(TERMS, aggregators=("lab", "lab")), "aggregators"),
        (replace(TERMS, verifiers=("lab", "hospital-a", "lab")), "verifiers"),
        (replace(TERMS, recipients=(*TERMS.recipients, "lab")), "recipients"),
        (replace(TERMS, verifiers=("hospital-a", "hospital-b"), recipients=("hospital-a", "hospital-b")), "recipients"),
    ],
    ids=[
        "a sampling rate above one",
        "a mechanism without sampling that names a rate",
        "an aggregator twice",
        "a verifier twice",
        "a recipient twice",
        "an aggregator that cannot read the payloads",
    ],
)
def test_terms_that_contradict_themselves_are_refused_by_field(terms: Terms, field: str) -> None:
    with pytest.raises(TermsInconsistent) as refusal:
        require_consistent(terms)
    assert refusal.value.facts["field"] == field


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        (with_mechanism(noise_milli=0), "mechanism.noise_milli"),
        (with_mechanism(steps=0), "mechanism.steps"),
        (with_mechanism(normaliser=0), "mechanism.normaliser"),
        (replace(TERMS, verifiers=("hospital-a",)), "verifiers"),
        (replace(TERMS, aggregators=()), "aggregators"),
        (replace(TERMS, task="Breast Cancer"), "task"),
        (replace(TERMS, canary_margin_ppm=1_000_001), "canary_margin_ppm"),
        (replace(TERMS, deadlines=replace(TERMS.deadlines, commit_ms=1)), "deadlines.commit_ms"),
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
