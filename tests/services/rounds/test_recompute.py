"""The candidate is a function of the committed payloads: the same bytes on every machine, a verdict for every fault."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.harness.consortium import DATASET
from client_sdk.training import artefacts
from contracts import lineage, rounds
from contracts.reputation import Verdict
from contracts.rounds import Progress, Round, Seat
from contracts.terms import Estimator, EstimatorKind, Terms, breakdown_minimum
from learning import robust
from learning.payload import encode_payload
from learning.robust import aggregate
from learning.tensors import Int32
from services.rounds import recompute
from services.rounds.recompute import Base, Fetched, NothingToPropose, Recomputed, SeatKey
from tests.local_task import SCALE_BITS, prepared

TASK = prepared().view
CANARY = artefacts.decode_canary(prepared().data["canary"], TASK.inputs)
LAYOUT = TASK.inputs.layout
SIZE = LAYOUT.size
BASE = Base(3, b"\7" * 32, np.arange(SIZE, dtype=np.int32) * 1000)
NUMBER = 4
NAMES = tuple(f"hospital-{letter}" for letter in "abcdef")
LEVEL, SPREAD = 1000, 100  # Of honest updates, in units.


def update(hospital: int) -> Int32:
    """A hospital's honest update: all agree but for a spread, each in a direction of its own."""
    vector = np.full(SIZE, LEVEL, np.int32)
    vector[hospital % SIZE] += SPREAD if hospital < SIZE else -SPREAD
    return vector


def encoded(vector: Int32, *, number: int = NUMBER, base: bytes = BASE.digest) -> bytes:
    return encode_payload(vector, artefacts.update_manifest(TASK.name, number, base, SCALE_BITS), LAYOUT)


def payload(vector: Int32, **manifest: object) -> Fetched:
    return Fetched(encoded(vector, **manifest), Verdict.ACCEPTED, "")  # type: ignore[arg-type]


def honest(count: int) -> dict[SeatKey, Fetched]:
    return {(name, DATASET): payload(update(place)) for place, name in enumerate(NAMES[:count])}


def round_of(*names: str, weights: Sequence[int] = (), progress: Progress = Progress.PUBLISHED) -> Round:
    seats = tuple(
        Seat(name, DATASET, weight, progress)
        for name, weight in zip(names, weights or [1024] * len(names), strict=True)
    )
    return Round(BASE.number, rounds.RoundStatus.CLOSED, 1, 2, 3, 4, 5, seats)


def recomputed(
    fetched: dict[SeatKey, Fetched],
    *,
    terms: Terms = TASK.terms,
    base: Base = BASE,
    weights: Sequence[int] = (),
) -> Recomputed:
    names = sorted(name for name, _ in fetched)
    return recompute.candidate(terms, NUMBER, round_of(*names, weights=weights), fetched, base, TASK.inputs, CANARY)


def verdicts(made: Recomputed) -> dict[str, tuple[Verdict, str]]:
    return {judged.organisation: (judged.verdict, judged.reason) for judged in made.candidate.judgements}


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
        recompute.Estimator.MEDIAN, NAMES[:4], np.stack([update(place) for place in range(4)]), [1024] * 4, 1
    ).vector
    manifest = artefacts.model_manifest(TASK.name, NUMBER, BASE.digest, SCALE_BITS)
    assert (artefacts.decode_model(made.model, manifest, LAYOUT) == BASE.units + median).all()
    assert made.candidate.artefact == artefacts.describe(made.model)
    assert (made.candidate.parent, made.candidate.round, made.candidate.task) == (BASE.number, NUMBER, TASK.name)


def test_the_canary_score_is_that_of_the_proposed_version() -> None:
    nothing = {(name, DATASET): payload(np.zeros(SIZE, np.int32)) for name in NAMES[:4]}
    made = recomputed(nothing, base=replace(BASE, units=np.zeros(SIZE, np.int32)))
    # A model of zeros answers the first class to everything.
    assert made.candidate.canary_correct == int((CANARY.targets == 0).sum())
    assert made.candidate.canary_total == len(CANARY.targets)


@pytest.mark.parametrize("change", ["payload", "base", "weights"])
def test_whatever_goes_in_is_covered_by_the_digest_that_votes_name(change: str) -> None:
    terms = with_estimator(EstimatorKind.MEAN, 0, 3)
    fetched = honest(4)
    before = lineage.candidate_digest(recomputed(fetched, terms=terms).candidate)
    if change == "payload":
        fetched[NAMES[0], DATASET] = payload(update(5))
    after = recomputed(
        fetched,
        terms=terms,
        base=replace(BASE, units=BASE.units + np.int32(1)) if change == "base" else BASE,
        weights=[512, 1024, 1024, 1024] if change == "weights" else (),
    )
    assert lineage.candidate_digest(after.candidate) != before


def test_a_seat_that_did_not_publish_is_not_judged() -> None:
    seats = (*round_of(*NAMES[:4]).seats, Seat("hospital-z", DATASET, 1024, Progress.COMMITTED))
    current = replace(round_of(*NAMES[:4]), seats=seats)
    made = recompute.candidate(TASK.terms, NUMBER, current, honest(4), BASE, TASK.inputs, CANARY)
    assert [judged.organisation for judged in made.candidate.judgements] == list(NAMES[:4])


# A verdict for every fault ----------------------------------------------------------------------

GOOD = encoded(update(1))
TOO_LONG = np.full(SIZE, recompute.max_norm_units(TASK.terms), np.int32)
LOWEST = GOOD[:-4] + (-(2**31)).to_bytes(4, "little", signed=True)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "truncated"),
        (b"no safetensors file at all" * 20, "malformed"),
        (GOOD[:-1], "truncated"),
        (GOOD + b"\0", "trailing_bytes"),
        (encoded(update(1), number=NUMBER - 1), "wrong_manifest"),
        (encoded(update(1), base=b"\6" * 32), "wrong_manifest"),
        (encoded(TOO_LONG), "over_norm"),
        (LOWEST, "out_of_range"),
        (GOOD + bytes(TASK.terms.update.max_bytes), "oversize"),
    ],
    ids=[
        "nothing", "noise", "cut off", "one byte more", "another round", "another base", "over the norm",
        "out of range", "more than the terms allow",
    ],
)  # fmt: skip
def test_a_payload_that_breaks_a_rule_is_refused_with_the_reason_and_the_round_goes_on(raw: bytes, reason: str) -> None:
    fetched = honest(4)
    fetched[NAMES[1], DATASET] = Fetched(raw, Verdict.ACCEPTED, "")
    made = recomputed(fetched)
    assert verdicts(made)[NAMES[1]] == (Verdict.REFUSED, reason)
    others = {seat: got for seat, got in honest(4).items() if seat != (NAMES[1], DATASET)}
    assert made.model == recomputed(others).model


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (Verdict.MISSING, "not to be found"),
        (Verdict.WITHDRAWN, "signed with a stolen key"),
        (Verdict.REFUSED, "another digest than committed"),
    ],
)
def test_what_could_not_be_fetched_keeps_its_verdict_and_is_not_aggregated(verdict: Verdict, reason: str) -> None:
    fetched = honest(4)
    fetched[NAMES[2], DATASET] = Fetched(None, verdict, reason)
    made = recomputed(fetched)
    assert verdicts(made)[NAMES[2]] == (verdict, reason)
    assert [judged.verdict for judged in made.candidate.judgements].count(Verdict.ACCEPTED) == 3


def test_an_update_exactly_at_the_norm_bound_is_accepted() -> None:
    bound = recompute.max_norm_units(TASK.terms)
    exact = np.zeros(SIZE, np.int32)
    exact[0] = bound
    assert bound == 10 << SCALE_BITS
    assert verdicts(recomputed(honest(3) | {("hospital-d", DATASET): payload(exact)}))["hospital-d"][0] in (
        Verdict.ACCEPTED,
        Verdict.FILTERED,
    )


def test_the_norm_bound_is_rounded_down_to_whole_units() -> None:
    terms = replace(TASK.terms, update=replace(TASK.terms.update, max_norm_milli=1))
    assert recompute.max_norm_units(terms) == 65  # 65.536 units of 2**-16.


# Attacks ----------------------------------------------------------------------------------------


def test_a_boosted_sign_flip_is_filtered_and_hardly_moves_the_median() -> None:
    fetched = honest(4)
    fetched[NAMES[3], DATASET] = payload(-4 * update(3))
    made = recomputed(fetched)
    assert verdicts(made)[NAMES[3]] == (Verdict.FILTERED, "outlier of the estimator")
    manifest = artefacts.model_manifest(TASK.name, NUMBER, BASE.digest, SCALE_BITS)
    moved = artefacts.decode_model(made.model, manifest, LAYOUT) - BASE.units
    assert (abs(moved - LEVEL) <= SPREAD).all()


def test_a_boosted_sign_flip_never_enters_a_krum_aggregate() -> None:
    fetched = honest(6)
    fetched[NAMES[3], DATASET] = payload(-4 * update(3))
    made = recomputed(fetched, terms=KRUM)
    assert verdicts(made)[NAMES[3]] == (Verdict.FILTERED, "outlier of the estimator")
    honest_only = {seat: got for seat, got in fetched.items() if seat[0] != NAMES[3]}
    mean = recomputed(honest_only, terms=with_estimator(EstimatorKind.MEAN, 0, 5))
    assert made.model == mean.model


def test_a_quiet_attack_passes_every_filter() -> None:
    """What the estimator does not see, said as a test: an update within the honest spread is an honest one to it."""
    fetched = honest(6)
    fetched[NAMES[3], DATASET] = payload(np.full(SIZE, LEVEL - SPREAD // 2, np.int32))
    assert verdicts(recomputed(fetched))[NAMES[3]] == (Verdict.ACCEPTED, "aggregated")


def test_being_left_out_by_krum_is_no_verdict_against_anybody() -> None:
    made = recomputed(honest(5), terms=KRUM)
    assert {verdict for verdict, _ in verdicts(made).values()} == {Verdict.ACCEPTED}
    assert [reason for _, reason in verdicts(made).values()].count("left out by the estimator") == 1


# Nothing to propose -----------------------------------------------------------------------------


def test_fewer_good_updates_than_the_terms_ask_for_give_no_candidate() -> None:
    fetched = honest(4) | {(name, DATASET): Fetched(b"", Verdict.ACCEPTED, "") for name in NAMES[:2]}
    with pytest.raises(NothingToPropose, match="2 usable updates, the terms ask for 3"):
        recomputed(fetched)


def test_the_terms_may_ask_for_more_than_the_breakdown_point_needs() -> None:
    with pytest.raises(NothingToPropose, match="4 usable updates, the terms ask for 5"):
        recomputed(honest(4), terms=with_estimator(EstimatorKind.MEDIAN, 1, 5))


def test_no_good_update_at_all_gives_no_candidate() -> None:
    missing = {(name, DATASET): Fetched(None, Verdict.MISSING, "not to be found") for name in NAMES}
    with pytest.raises(NothingToPropose):
        recomputed(missing)


def test_a_sum_beyond_fixed_point_gives_no_candidate_rather_than_a_clamped_one() -> None:
    at_the_end = replace(BASE, units=np.full(SIZE, 2**31 - 1, np.int32))
    with pytest.raises(NothingToPropose, match="fixed-point range"):
        recomputed(honest(4), base=at_the_end)


# Two cores that do not see each other -----------------------------------------------------------


@pytest.mark.parametrize("kind", EstimatorKind)
def test_terms_and_learning_name_the_same_estimators_with_the_same_breakdown_point(kind: EstimatorKind) -> None:
    assert [each.value for each in EstimatorKind] == [each.value for each in robust.Estimator]
    for f in range(1 if kind is EstimatorKind.MEAN else 4):
        assert breakdown_minimum(Estimator(kind, f, 1)) == robust.Estimator(kind.value).minimum(f)
