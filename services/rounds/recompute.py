"""The candidate version that follows from a round's agreed set: one function for everybody.

Every verifier calls ``candidate`` with what it holds itself; equal payloads give equal bytes, and so equal digests, on
every machine (``learning.robust`` is integer arithmetic). What was available is settled before: here is what it says.
The score is no part of the candidate: it may come from any framework, and the ledger takes the median.
Nothing here fetches or decides anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from client_sdk.errors import Kind, SdkError
from client_sdk.training import artefacts
from client_sdk.training.artefacts import CanarySet, TaskInputs
from contracts.kernel import bitmap
from contracts.kernel.types import Digest, Seats
from contracts.lineage import NO_CANDIDATE, Candidate, Finding, candidate_digest
from contracts.terms import Terms
from learning import canary, fixed, refusals, robust
from learning.feed_forward import FeedForward
from learning.payload import Owner, decode_payload
from learning.refusals import PayloadRefused
from learning.robust import AggregationRefused, Estimator
from learning.tensors import Int32, unflatten


class NothingFollows(SdkError):
    """No version follows from the agreed set, mostly because too few of its payloads are good."""

    kind = Kind.REFUSED
    hint = "The round ends without a version; the next one starts anew."


@dataclass(frozen=True)
class Row:
    """A seat of the agreed set: whose it is, its weight, and the plaintext that it committed to."""

    organisation: str
    dataset: str
    weight: int
    plaintext: bytes


@dataclass(frozen=True)
class Base:
    """The version a round starts from."""

    number: int
    digest: Digest
    units: Int32


@dataclass(frozen=True)
class Recomputed:
    """A candidate, the bytes of the version it names, and how many canary records that gets right."""

    candidate: Candidate
    model: bytes
    correct: int


@dataclass(frozen=True)
class Answer:
    """What a verifier arrives at: a candidate, or why there is none."""

    made: Recomputed | None
    why_none: str = ""

    @property
    def candidate(self) -> Candidate | None:
        """What follows from the agreed set."""
        return None if self.made is None else self.made.candidate

    @property
    def correct(self) -> int:
        """The score; 0 where there is nothing to score."""
        return 0 if self.made is None else self.made.correct

    @property
    def digest(self) -> Digest:
        """What a ballot says."""
        return NO_CANDIDATE if self.made is None else candidate_digest(self.made.candidate)


def answer(
    terms: Terms, number: int, agreed: Seats, rows: Mapping[int, Row], base: Base, inputs: TaskInputs, scored: CanarySet
) -> Answer:
    """What follows from an agreed set. ``rows`` has every seat of it."""
    try:
        return Answer(candidate(terms, number, agreed, rows, base, inputs, scored))
    except NothingFollows as error:
        return Answer(None, str(error))


def candidate(
    terms: Terms, number: int, agreed: Seats, rows: Mapping[int, Row], base: Base, inputs: TaskInputs, scored: CanarySet
) -> Recomputed:
    """Judge every contribution of the set, aggregate the good ones and score the result on the canary set.

    Raises NothingFollows.
    """
    seats = bitmap.numbers(agreed)
    updates, findings = judge(terms, number, {seat: rows[seat] for seat in seats}, base.digest, inputs)
    if len(updates) < terms.estimator.minimum:
        raise NothingFollows(f"{len(updates)} usable updates, the terms ask for {terms.estimator.minimum}")
    try:
        outcome = robust.aggregate(
            Estimator(terms.estimator.kind.value),
            [_id(seat) for seat in updates],
            np.stack(list(updates.values())),
            [rows[seat].weight for seat in updates],
            terms.estimator.byzantine,
        )
    except AggregationRefused as error:
        raise NothingFollows(str(error)) from error
    for seat in updates:
        if _id(seat) in outcome.flagged:
            findings[seat] = Finding.OUTLIER
        elif _id(seat) in outcome.left_out:
            findings[seat] = Finding.LEFT_OUT
    units = _added(base, outcome.vector)
    manifest = artefacts.model_manifest(terms.task, number, base.digest, terms.update.scale_bits)
    model = artefacts.encode_model(units, manifest, inputs.layout)
    judgements = bytes(findings[seat] for seat in seats)
    made = Candidate(terms.task, number, base.number, agreed, judgements, artefacts.describe(model))
    score = canary.score(
        network(inputs, units, terms.update.scale_bits), inputs.transform(scored.inputs), scored.targets
    )
    return Recomputed(made, model, score.correct)


def judge(
    terms: Terms, number: int, rows: Mapping[int, Row], base: Digest, inputs: TaskInputs
) -> tuple[dict[int, Int32], dict[int, Finding]]:
    """The usable updates, and a finding on every row, in the order of the seats."""
    updates: dict[int, Int32] = {}
    findings: dict[int, Finding] = {}
    for seat, row in sorted(rows.items()):
        owner = Owner(row.organisation, row.dataset)
        expected = artefacts.update_expectation(terms, number, base, inputs.layout, owner)
        try:
            updates[seat] = decode_payload(row.plaintext, expected).units()
        except PayloadRefused as refusal:
            findings[seat] = finding_of(refusal.reason)
        else:
            findings[seat] = Finding.AGGREGATED
    return updates, findings


def finding_of(reason: str) -> Finding:
    """What a refusal of a payload means for its seat, by the refusal's slug."""
    match reason:
        case refusals.Misnamed.reason:
            return Finding.MISNAMED
        case refusals.OverNorm.reason:
            return Finding.OVER_NORM
        case _:
            return Finding.MALFORMED


def network(inputs: TaskInputs, units: Int32, scale_bits: int) -> FeedForward:
    """The network of a task with a version's parameters loaded."""
    loaded = FeedForward(inputs.widths)
    loaded.load(unflatten(fixed.to_float(units, scale_bits), inputs.layout))
    return loaded


def _added(base: Base, aggregate: Int32) -> Int32:
    try:
        return fixed.add(base.units, aggregate)
    except fixed.Saturated as error:
        raise NothingFollows(f"the sum leaves the fixed-point range: {error}") from error


def _id(seat: int) -> str:
    """A seat as the estimator orders rows: by number."""
    return f"{seat:04d}"
