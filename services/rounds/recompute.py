"""The candidate version that follows from a closed round's committed payloads: one function for everybody.

Proposer and verifiers call ``candidate`` with what they fetched themselves; equal payloads give equal bytes, and so
equal digests, on every machine (``learning.robust`` is integer arithmetic). Nothing here fetches or decides anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from client_sdk.errors import Kind, SdkError
from client_sdk.training import artefacts
from client_sdk.training.artefacts import CanarySet, TaskInputs
from contracts.kernel.types import Digest
from contracts.lineage import Candidate, Judgement
from contracts.reputation import Verdict
from contracts.rounds import Progress, Round, Seat
from contracts.terms import Terms
from learning import canary, fixed, robust
from learning.feed_forward import FeedForward
from learning.payload import Expectation, decode_payload
from learning.refusals import PayloadRefused
from learning.robust import AggregationRefused, Estimator
from learning.tensors import Int32, unflatten

SeatKey = tuple[str, str]  # Organisation and dataset.


@dataclass(frozen=True)
class Fetched:
    """What fetching one published contribution gave: its plaintext, or the verdict that follows without one."""

    plaintext: bytes | None
    verdict: Verdict
    reason: str


class NothingToPropose(SdkError):
    """No version follows from the contributions, mostly because too few are good: the round passes by itself."""

    kind = Kind.REFUSED
    hint = "The round passes without a version; the next one starts anew."


@dataclass(frozen=True)
class Base:
    """The version a round starts from."""

    number: int
    digest: Digest
    units: Int32


@dataclass(frozen=True)
class Recomputed:
    """A candidate and the bytes of the version it names."""

    candidate: Candidate
    model: bytes


@dataclass(frozen=True)
class Finding:
    """What a verifier arrives at: the digest it votes with, and the candidate, or why there is none."""

    digest: Digest
    made: Recomputed | None
    why_none: str = ""


def candidate(
    terms: Terms,
    number: int,
    current: Round,
    fetched: Mapping[SeatKey, Fetched],
    base: Base,
    inputs: TaskInputs,
    canary_set: CanarySet,
) -> Recomputed:
    """Judge every published contribution, aggregate the good ones and score the result on the canary set.

    Raises NothingToPropose.
    """
    updates, judgements = judge(terms, number, current, fetched, base.digest, inputs)
    if len(updates) < terms.estimator.minimum:
        raise NothingToPropose(f"{len(updates)} usable updates, the terms ask for {terms.estimator.minimum}")
    seats = {_id(seat): seat for seat in current.seats}
    try:
        outcome = robust.aggregate(
            Estimator(terms.estimator.kind.value),
            list(updates),
            np.stack(list(updates.values())),
            [seats[name].weight for name in updates],
            terms.estimator.byzantine,
        )
    except AggregationRefused as error:
        raise NothingToPropose(str(error)) from error
    flagged = frozenset(outcome.flagged)
    left_out = frozenset(outcome.left_out)
    judgements = tuple(_with_outcome(judgement, flagged, left_out) for judgement in judgements)
    return _scored(terms, number, base, outcome.vector, judgements, inputs, canary_set)


def judge(
    terms: Terms,
    number: int,
    current: Round,
    fetched: Mapping[SeatKey, Fetched],
    base: Digest,
    inputs: TaskInputs,
) -> tuple[dict[str, Int32], tuple[Judgement, ...]]:
    """The usable updates by id, and a judgement on every published seat, in the order of the seats."""
    layout, update = inputs.layout, terms.update
    manifest = artefacts.update_manifest(terms.task, number, base, update.scale_bits)
    expected = Expectation(manifest, layout, update.max_bytes, max_norm=max_norm_units(terms))
    updates: dict[str, Int32] = {}
    judgements = []
    for seat in current.seats:
        if seat.progress is not Progress.PUBLISHED:
            continue
        got = fetched[seat.organisation, seat.dataset]
        verdict, reason = got.verdict, got.reason
        if got.plaintext is not None:
            try:
                updates[_id(seat)] = decode_payload(got.plaintext, expected).units()
            except PayloadRefused as refusal:
                verdict, reason = Verdict.REFUSED, refusal.reason
        judgements.append(Judgement(seat.organisation, seat.dataset, verdict, reason))
    return updates, tuple(judgements)


def max_norm_units(terms: Terms) -> int:
    """The terms' bound on an update's L2 norm, in fixed-point units, rounded down."""
    return (terms.update.max_norm_milli << terms.update.scale_bits) // 1000


def _scored(
    terms: Terms,
    number: int,
    base: Base,
    aggregate: Int32,
    judgements: tuple[Judgement, ...],
    inputs: TaskInputs,
    canary_set: CanarySet,
) -> Recomputed:
    try:
        units = fixed.add(base.units, aggregate)
    except fixed.Saturated as error:
        raise NothingToPropose(f"the sum leaves the fixed-point range: {error}") from error
    manifest = artefacts.model_manifest(terms.task, number, base.digest, terms.update.scale_bits)
    model = artefacts.encode_model(units, manifest, inputs.layout)
    score = canary.score(
        network(inputs, units, terms.update.scale_bits), inputs.transform(canary_set.inputs), canary_set.targets
    )
    named = artefacts.describe(model)
    return Recomputed(Candidate(terms.task, number, base.number, named, score.correct, score.total, judgements), model)


def network(inputs: TaskInputs, units: Int32, scale_bits: int) -> FeedForward:
    """The network of a task with a version's parameters loaded."""
    loaded = FeedForward(inputs.widths)
    loaded.load(unflatten(fixed.to_float(units, scale_bits), inputs.layout))
    return loaded


def _with_outcome(judgement: Judgement, flagged: frozenset[str], left_out: frozenset[str]) -> Judgement:
    name = f"{judgement.organisation}/{judgement.dataset}"
    if judgement.verdict is not Verdict.ACCEPTED:
        return judgement
    if name in flagged:
        return Judgement(judgement.organisation, judgement.dataset, Verdict.FILTERED, "outlier of the estimator")
    reason = "left out by the estimator" if name in left_out else "aggregated"
    return Judgement(judgement.organisation, judgement.dataset, Verdict.ACCEPTED, reason)


def _id(seat: Seat) -> str:
    return f"{seat.organisation}/{seat.dataset}"
