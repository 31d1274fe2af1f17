"""What follows from a round's agreed set: one function for everybody.

Every verifier calls ``answer`` with what it holds itself; equal payloads give equal bytes, and so equal digests, on
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
from contracts.lineage import Candidate, Finding, candidate_digest
from contracts.terms import Artefact, Terms
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
class Answer:
    """What a verifier arrives at: what follows from the set, and if a version does, its bytes and its score."""

    candidate: Candidate
    model: bytes = b""
    correct: int = 0
    """How many canary records the version gets right."""
    why_none: str = ""
    """Why no version follows."""

    @property
    def digest(self) -> Digest:
        """What a ballot says."""
        return candidate_digest(self.candidate)


def answer(
    terms: Terms, number: int, agreed: Seats, rows: Mapping[int, Row], base: Base, inputs: TaskInputs, scored: CanarySet
) -> Answer:
    """Judge every contribution of an agreed set, aggregate the good ones, and score the result on the canary set.

    ``rows`` has every seat of it. Where no version follows, the findings still do: who sent what is no use is judged.
    """
    seats = bitmap.numbers(agreed)
    updates, findings = judge(terms, number, {seat: rows[seat] for seat in seats}, base.digest, inputs)
    try:
        units = _added(base, _aggregated(terms, updates, rows, findings))
    except NothingFollows as error:
        return Answer(_candidate(terms, number, agreed, base, findings, None), why_none=str(error))
    manifest = artefacts.model_manifest(terms.task, number, base.digest, terms.update.scale_bits)
    model = artefacts.encode_model(units, manifest, inputs.layout)
    made = _candidate(terms, number, agreed, base, findings, artefacts.describe(model))
    return Answer(made, model, _correct(network(inputs, units, terms.update.scale_bits), inputs, scored))


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


def _candidate(
    terms: Terms, number: int, agreed: Seats, base: Base, findings: Mapping[int, Finding], artefact: Artefact | None
) -> Candidate:
    judgements = bytes(findings[seat] for seat in bitmap.numbers(agreed))
    return Candidate(terms.task, number, base.number, agreed, judgements, artefact)


def _aggregated(
    terms: Terms, updates: Mapping[int, Int32], rows: Mapping[int, Row], findings: dict[int, Finding]
) -> Int32:
    """The aggregate of the usable updates; notes what the estimator made of each. Raises NothingFollows."""
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
    return outcome.vector


def _correct(model: FeedForward, inputs: TaskInputs, scored: CanarySet) -> int:
    """The score. A model whose answers are no numbers gets none right, on whichever machine they are none."""
    try:
        return canary.score(model, inputs.transform(scored.inputs), scored.targets).correct
    except canary.NotScorable:
        return 0


def _added(base: Base, aggregate: Int32) -> Int32:
    try:
        return fixed.add(base.units, aggregate)
    except fixed.Saturated as error:
        raise NothingFollows(f"the sum leaves the fixed-point range: {error}") from error


def _id(seat: int) -> str:
    """A seat as the estimator orders rows: by number."""
    return f"{seat:04d}"
