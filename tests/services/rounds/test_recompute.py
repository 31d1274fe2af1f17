"""The candidate is a function of the agreed payloads: the same bytes on every machine, a finding for every fault."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.harness.consortium import DATASET
from client_sdk.training import artefacts
from contracts import lineage
from contracts.kernel import bitmap
from contracts.lineage import VERDICTS, Finding
from contracts.reputation import Verdict
from contracts.terms import Estimator, EstimatorKind, Terms, breakdown_minimum
from learning import refusals, robust
from learning.payload import Owner, encode_payload
from learning.robust import aggregate
from learning.tensors import Int32
from services.rounds import recompute
from services.rounds.recompute import Answer, Base, Row
from tests.local_task import SCALE_BITS, prepared

TASK = prepared().view
CANARY = artefacts.decode_canary(prepared().data["canary"], TASK.inputs)
LAYOUT = TASK.inputs.layout
SIZE = LAYOUT.size
BASE = Base(3, b"\7" * 32, np.arange(SIZE, dtype=np.int32) * 1000)
NUMBER = 4
SEATS = (0, 1, 2, 7, 40, 255)  # Whoever came first to the task, and what else was available.
LEVEL, SPREAD = 1000, 100  # Of honest updates, in units.
GOOD = Finding.AGGREGATED


def update(place: int) -> Int32:
    """An honest update: all agree but for a spread, each in a direction of its own."""
    vector = np.full(SIZE, LEVEL, np.int32)
    vector[place % SIZE] += SPREAD if place < SIZE else -SPREAD
    return vector


def name_of(seat: int) -> str:
    return f"hospital-{seat}"


def encoded(vector: Int32, seat: int, *, number: int = NUMBER, base: bytes = BASE.digest, **owner: Any) -> bytes:
    whose = replace(Owner(name_of(seat), DATASET, "5a17" * 16), **owner)
    return encode_payload(vector, artefacts.update_manifest(TASK.name, number, base, SCALE_BITS, whose), LAYOUT)


def row(seat: int, plaintext: bytes, weight: int = 1024) -> Row:
    return Row(name_of(seat), DATASET, weight, plaintext)


def honest(count: int, weights: Sequence[int] = ()) -> dict[int, Row]:
    paired = zip(SEATS[:count], weights or [1024] * count, strict=True)
    return {seat: row(seat, encoded(update(place), seat), weight) for place, (seat, weight) in enumerate(paired)}


def recomputed(rows: dict[int, Row], *, terms: Terms = TASK.terms, base: Base = BASE) -> Answer:
    return recompute.answer(terms, NUMBER, bitmap.of(rows), rows, base, TASK.inputs, CANARY)


def findings(made: Answer) -> dict[int, Finding]:
    seats = bitmap.numbers(made.candidate.agreed)
    return dict(zip(seats, map(Finding, made.candidate.judgements), strict=True))


def with_estimator(kind: EstimatorKind, byzantine: int, minimum: int) -> Terms:
    return replace(TASK.terms, estimator=Estimator(kind, byzantine, minimum))


KRUM = with_estimator(EstimatorKind.MULTI_KRUM, 1, 5)

# One function for everybody ---------------------------------------------------------------------


@given(st.permutations(range(6)), st.sampled_from([TASK.terms, KRUM]))
def test_the_order_in_which_payloads_came_does_not_matter(order: list[int], terms: Terms) -> None:
    items = list(honest(6).items())
    assert recomputed(dict(items[i] for i in order), terms=terms) == recomputed(dict(items), terms=terms)


def test_the_version_is_the_base_plus_the_aggregate_and_names_its_parent() -> None:
    made = recomputed(honest(4))
    median = aggregate(
        recompute.Estimator.MEDIAN, list("abcd"), np.stack([update(place) for place in range(4)]), [1024] * 4, 1
    ).vector
    manifest = artefacts.model_manifest(TASK.name, NUMBER, BASE.digest, SCALE_BITS)
    assert (artefacts.decode_model(made.model, manifest, LAYOUT) == BASE.units + median).all()
    assert made.candidate.artefact == artefacts.describe(made.model)
    assert (made.candidate.parent, made.candidate.round, made.candidate.task) == (BASE.number, NUMBER, TASK.name)


def test_the_score_is_that_of_the_candidate_and_no_part_of_it() -> None:
    nothing = {seat: row(seat, encoded(np.zeros(SIZE, np.int32), seat)) for seat in SEATS[:4]}
    made = recomputed(nothing, base=replace(BASE, units=np.zeros(SIZE, np.int32)))
    # A model of zeros answers the first class to everything.
    assert made.correct == int((CANARY.targets == 0).sum())
    assert "correct" not in vars(made.candidate)


@pytest.mark.parametrize("change", ["payload", "salt", "base", "weights", "set"])
def test_whatever_goes_in_is_covered_by_the_digest_that_ballots_name_except_for_salts(change: str) -> None:
    terms = with_estimator(EstimatorKind.MEAN, 0, 3)
    rows = honest(4, weights=[512, 1024, 1024, 1024] if change == "weights" else ())
    if change == "payload":
        rows[SEATS[0]] = row(SEATS[0], encoded(update(5), SEATS[0]))
    if change == "salt":
        rows[SEATS[0]] = row(SEATS[0], encoded(update(0), SEATS[0], salt="0f" * 32))
    if change == "set":
        del rows[SEATS[1]]
    base = replace(BASE, units=BASE.units + np.int32(1)) if change == "base" else BASE
    before, after = recomputed(honest(4), terms=terms), recomputed(rows, terms=terms, base=base)
    same = lineage.candidate_digest(after.candidate) == lineage.candidate_digest(before.candidate)
    assert same is (change == "salt")


def test_the_candidate_is_over_exactly_the_agreed_set_whatever_else_is_held() -> None:
    rows, agreed = honest(5), bitmap.of(SEATS[:4])
    made = recompute.answer(TASK.terms, NUMBER, agreed, rows, BASE, TASK.inputs, CANARY)
    assert made == recomputed(honest(4))
    assert made.candidate.agreed == agreed
    assert len(made.candidate.judgements) == 4


def test_a_version_whose_answers_are_no_numbers_gets_none_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recompute.FeedForward, "logits", lambda *_: np.full((len(CANARY.targets), 2), np.nan))
    made = recomputed(honest(4))
    assert (made.correct, made.candidate.artefact is None) == (0, False)


# A finding for every fault ----------------------------------------------------------------------

AT = SEATS[1]
WELL_FORMED = encoded(update(1), AT)
TOO_LONG = encoded(np.full(SIZE, artefacts.max_norm_units(TASK.terms), np.int32), AT)
LOWEST = WELL_FORMED[:-4] + (-(2**31)).to_bytes(4, "little", signed=True)
FAULTS: dict[str, tuple[bytes, Finding]] = {
    "nothing": (b"", Finding.MALFORMED),
    "noise": (b"no safetensors file at all" * 20, Finding.MALFORMED),
    "cut off": (WELL_FORMED[:-1], Finding.MALFORMED),
    "one byte more": (WELL_FORMED + b"\0", Finding.MALFORMED),
    "more than the terms allow": (WELL_FORMED + bytes(TASK.terms.update.max_bytes), Finding.MALFORMED),
    "out of range": (LOWEST, Finding.MALFORMED),
    "another round": (encoded(update(1), AT, number=NUMBER - 1), Finding.MISNAMED),
    "another base": (encoded(update(1), AT, base=b"\6" * 32), Finding.MISNAMED),
    "another organisation's": (encoded(update(2), SEATS[2]), Finding.MISNAMED),
    "another dataset": (encoded(update(1), AT, dataset="other"), Finding.MISNAMED),
    "over the norm": (TOO_LONG, Finding.OVER_NORM),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_payload_that_breaks_a_rule_gets_its_finding_and_the_round_goes_on(fault: str) -> None:
    raw, finding = FAULTS[fault]
    made = recomputed(honest(4) | {AT: row(AT, raw)})
    assert findings(made) == {SEATS[0]: GOOD, AT: finding, SEATS[2]: GOOD, SEATS[3]: GOOD}
    others = {seat: one for seat, one in honest(4).items() if seat != AT}
    assert made.model == recomputed(others).model
    assert VERDICTS[finding] is Verdict.REFUSED


def test_a_copied_update_is_worth_nothing_to_who_copied_it() -> None:
    """The very bytes of another's payload, under one's own commitment."""
    rows = honest(4)
    rows[AT] = row(AT, rows[SEATS[0]].plaintext)
    assert findings(recomputed(rows))[AT] is Finding.MISNAMED


def test_every_refusal_of_a_payload_has_a_finding_that_is_refused() -> None:
    for kind in refusals.PayloadRefused.__subclasses__():
        assert VERDICTS[recompute.finding_of(kind.reason)] is Verdict.REFUSED
    assert recompute.finding_of("misnamed") is Finding.MISNAMED
    assert recompute.finding_of("over_norm") is Finding.OVER_NORM


def test_an_update_exactly_at_the_norm_bound_is_counted() -> None:
    exact = np.zeros(SIZE, np.int32)
    exact[0] = artefacts.max_norm_units(TASK.terms)
    found = findings(recomputed(honest(3) | {SEATS[3]: row(SEATS[3], encoded(exact, SEATS[3]))}))
    assert found[SEATS[3]] in (Finding.AGGREGATED, Finding.OUTLIER)


# Attacks ----------------------------------------------------------------------------------------


def with_attack(count: int, vector: Int32) -> dict[int, Row]:
    return honest(count) | {SEATS[3]: row(SEATS[3], encoded(vector, SEATS[3]))}


def test_a_boosted_sign_flip_is_an_outlier_and_hardly_moves_the_median() -> None:
    made = recomputed(with_attack(4, -4 * update(3)))
    assert findings(made)[SEATS[3]] is Finding.OUTLIER
    manifest = artefacts.model_manifest(TASK.name, NUMBER, BASE.digest, SCALE_BITS)
    moved = artefacts.decode_model(made.model, manifest, LAYOUT) - BASE.units
    assert (abs(moved - LEVEL) <= SPREAD).all()


def test_a_boosted_sign_flip_never_enters_a_krum_aggregate() -> None:
    rows = with_attack(6, -4 * update(3))
    made = recomputed(rows, terms=KRUM)
    assert findings(made)[SEATS[3]] is Finding.OUTLIER
    honest_only = {seat: one for seat, one in rows.items() if seat != SEATS[3]}
    assert made.model == recomputed(honest_only, terms=with_estimator(EstimatorKind.MEAN, 0, 5)).model


def test_a_quiet_attack_passes_every_filter() -> None:
    """What the estimator does not see, said as a test: an update within the honest spread is an honest one to it."""
    made = recomputed(with_attack(6, np.full(SIZE, LEVEL - SPREAD // 2, np.int32)))
    assert findings(made)[SEATS[3]] is Finding.AGGREGATED


def test_being_left_out_by_krum_is_no_verdict_against_anybody() -> None:
    found = list(findings(recomputed(honest(5), terms=KRUM)).values())
    assert sorted(found) == [Finding.AGGREGATED] * 4 + [Finding.LEFT_OUT]
    assert {VERDICTS[finding] for finding in found} == {Verdict.ACCEPTED}


# Nothing follows --------------------------------------------------------------------------------


def test_fewer_good_updates_than_the_terms_ask_for_give_no_candidate() -> None:
    rows = honest(4) | {seat: row(seat, b"") for seat in SEATS[:2]}
    none = recomputed(rows)
    assert (none.candidate.artefact, none.why_none) == (None, "2 usable updates, the terms ask for 3")
    assert list(none.candidate.judgements) == [Finding.MALFORMED] * 2 + [Finding.AGGREGATED] * 2


def test_the_terms_may_ask_for_more_than_the_breakdown_point_needs() -> None:
    none = recomputed(honest(4), terms=with_estimator(EstimatorKind.MEDIAN, 1, 5))
    assert (none.model, none.correct, none.candidate.artefact) == (b"", 0, None)
    assert list(none.candidate.judgements) == [Finding.AGGREGATED] * 4
    assert none.digest == lineage.candidate_digest(none.candidate)
    assert none.why_none == "4 usable updates, the terms ask for 5"


def test_a_sum_beyond_fixed_point_gives_no_candidate_rather_than_a_clamped_one() -> None:
    at_the_end = replace(BASE, units=np.full(SIZE, 2**31 - 1, np.int32))
    none = recomputed(honest(4), base=at_the_end)
    assert none.candidate.artefact is None
    assert "fixed-point range" in none.why_none


# Two cores that do not see each other -----------------------------------------------------------


@pytest.mark.parametrize("kind", EstimatorKind)
def test_terms_and_learning_name_the_same_estimators_with_the_same_breakdown_point(kind: EstimatorKind) -> None:
    assert [each.value for each in EstimatorKind] == [each.value for each in robust.Estimator]
    for f in range(1 if kind is EstimatorKind.MEAN else 4):
        assert breakdown_minimum(Estimator(kind, f, 1)) == robust.Estimator(kind.value).minimum(f)
