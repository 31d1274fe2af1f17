"""Lineage: the versions of a model, what they descend from, and going back along that line.

Part of the contract ``models``, which decides when a version is promoted, quarantined or rolled back. Here is how the
promoted line is stored and walked::

    promoted ──► superseded ──► rolled back
       └──────────────┴───────► quarantined
    failed canary: it is the aggregate, and worse than the best promoted version by more than the margin

A version that falls takes its descendants along. Only the first of them is marked; that the others fell with it follows
from the line, which a version knows by its depth and a jump to an ancestor: whether one version descends from another
takes O(log n) reads, and going back writes three records, however long the line is.

Invariants: a model has exactly one promoted version; what is restored was promoted once and has not fallen; a
quarantined version is never current again.
"""

from dataclasses import replace
from enum import IntEnum, StrEnum
from typing import Annotated, Final

from . import rounds
from .kernel import Context, Event, InvariantBroken, Item, Map, Outcome, Record, View, crypto, limits
from .kernel.types import (
    Count,
    Digest,
    Height,
    Items,
    Length,
    ModelId,
    OrgId,
    Range,
    Reason,
    RoundNumber,
    Seats,
    TaskId,
    VersionNumber,
)
from .reputation import Verdict
from .terms import Artefact


class Finding(IntEnum):
    """What the recomputation says about one contribution, in a byte."""

    AGGREGATED = 0
    LEFT_OUT = 1  # Good, and the estimator's rule counts others.
    OUTLIER = 2  # Flagged by the estimator.
    MALFORMED = 3  # Not an update of this task's form.
    MISNAMED = 4  # Of another organisation, dataset, task, round or base.
    OVER_NORM = 5


VERDICTS: Final[dict[Finding, Verdict]] = {
    Finding.AGGREGATED: Verdict.ACCEPTED,
    Finding.LEFT_OUT: Verdict.ACCEPTED,
    Finding.OUTLIER: Verdict.FILTERED,
    Finding.MALFORMED: Verdict.REFUSED,
    Finding.MISNAMED: Verdict.REFUSED,
    Finding.OVER_NORM: Verdict.REFUSED,
}

Judgements = Annotated[bytes, Length(0, limits.SEATS_PER_ROUND)]  # A finding for each seat of a set, in its order.


class Candidate(Record):
    """Everything that follows from the agreed set; ballots are about its digest."""

    task: TaskId
    round: RoundNumber
    parent: VersionNumber
    agreed: Seats
    judgements: Judgements
    artefact: Artefact | None  # None: nothing follows from the set.


class VersionStatus(StrEnum):
    """Where a version stands."""

    PROMOTED = "promoted"
    SUPERSEDED = "superseded"
    FAILED_CANARY = "failed-canary"
    QUARANTINED = "quarantined"
    ROLLED_BACK = "rolled-back"


class Version(Record):
    """A version: what it is, where it came from, what the ballots said. Version 0 is the terms' initial model."""

    artefact: Artefact
    round: Annotated[int, Range(0, limits.ROUNDS_PER_TASK)]
    parent: VersionNumber
    depth: Count  # Versions between it and version 0 on its line, itself included.
    jump: VersionNumber  # An ancestor further up (a skew-binary jump pointer), so that lines are walked in O(log n).
    best: VersionNumber  # The version of its line, itself included, that scored best: what the next ones are held to.
    canary_correct: Count  # The median of the scores that the quorum opened, of the terms' ``canary_records``.
    agreed: Seats
    judgements: Judgements
    digest: Digest  # Of the candidate.
    proposer: OrgId  # The first aggregator in the order of the terms that opened it.
    decided_at: Height
    status: VersionStatus  # As decided; ``status_of`` says where it stands now.


class Model(Record):
    """A model: its task, the promoted version, and the newest number given out."""

    task: TaskId
    current: VersionNumber
    latest: VersionNumber


class Register(Record):
    """The names of all models, oldest first."""

    models: Annotated[tuple[ModelId, ...], Items(0, limits.MODELS)]


MODELS = Map("models/models", Model, "model")
VERSIONS = Map("models/versions", Version, "model", "version")
REGISTER = Item("models/register", Register)


class VersionDecided(Event):
    """A version was promoted, failed its canary, was quarantined or rolled back, or was restored (promoted again).

    Of versions that fall together, the first is named: those that descend from it fell with it.
    """

    model: ModelId
    version: VersionNumber
    status: VersionStatus
    reason: Reason


def candidate_digest(candidate: Candidate) -> Digest:
    """What a ballot names: SHA-256 of the candidate's canonical bytes."""
    return crypto.sha256(candidate.encode())


def passes_gate(correct: int, best: int, total: int, margin_ppm: int) -> bool:
    """Whether a score is at most the margin below the best promoted one's, of the same total; exact, in integers."""
    million = limits.PARTS_PER_MILLION
    return correct * million >= best * million - margin_ppm * total


def child_of(view: View, name: ModelId, parent: VersionNumber) -> tuple[Count, VersionNumber]:
    """The depth and the jump of a version whose parent this is."""
    above = VERSIONS.at(view, (name, parent))
    further = VERSIONS.at(view, (name, above.jump))
    furthest = VERSIONS.at(view, (name, further.jump))
    even = above.depth - further.depth == further.depth - furthest.depth
    return above.depth + 1, further.jump if even else parent


def ancestor_at(view: View, name: ModelId, number: VersionNumber, depth: Count) -> VersionNumber:
    """The ancestor of a version at a depth that is not below its own, itself included. O(log n) reads."""
    version = VERSIONS.at(view, (name, number))
    if depth > version.depth:
        raise InvariantBroken(f"version {number} of {name} has depth {version.depth}, asked for {depth}")
    while version.depth > depth:
        jumped = VERSIONS.at(view, (name, version.jump))
        if jumped.depth >= depth:
            number, version = version.jump, jumped
        else:
            number, version = version.parent, VERSIONS.at(view, (name, version.parent))
    return number


def is_in_line(view: View, name: ModelId, model: Model, number: VersionNumber) -> bool:
    """Whether a version is the current one or an ancestor of it. O(log n) reads."""
    version, current = VERSIONS.at(view, (name, number)), VERSIONS.at(view, (name, model.current))
    if version.status is not VersionStatus.PROMOTED or version.depth > current.depth:
        return False
    return ancestor_at(view, name, model.current, version.depth) == number


def status_of(view: View, name: ModelId, number: VersionNumber) -> VersionStatus:
    """Where a version stands now. O(log² n) reads."""
    model, version = MODELS.at(view, name), VERSIONS.at(view, (name, number))
    if version.status is not VersionStatus.PROMOTED:
        return version.status
    if number == model.current:
        return VersionStatus.PROMOTED
    if is_in_line(view, name, model, number):
        return VersionStatus.SUPERSEDED
    return VERSIONS.at(view, (name, _fell_with(view, name, model, number))).status


def fallen(
    view: View,
    name: ModelId,
    model: Model,
    first: VersionNumber,
    status: VersionStatus,
    reason: Reason,
    ctx: Context,
) -> Outcome:
    """Describe that a version of the line falls, with all that descends from it; its parent is promoted again."""
    version = VERSIONS.at(view, (name, first))
    restored = version.parent
    return rounds.rebased(view, model.task, restored, ctx) + Outcome(
        (
            VERSIONS.put((name, first), replace(version, status=status)),
            MODELS.put(name, replace(model, current=restored)),
        ),
        (
            VersionDecided(name, first, status, reason),
            VersionDecided(name, restored, VersionStatus.PROMOTED, "restored"),
        ),
    )


def _fell_with(view: View, name: ModelId, model: Model, number: VersionNumber) -> VersionNumber:
    """The first version off the line among a fallen one and its ancestors: the one that was marked."""
    version, current = VERSIONS.at(view, (name, number)), VERSIONS.at(view, (name, model.current))
    shared, apart = 0, min(version.depth, current.depth + 1)  # Depths: in line at one, off it at the other.
    while apart - shared > 1:
        middle = (shared + apart) // 2
        if ancestor_at(view, name, number, middle) == ancestor_at(view, name, model.current, middle):
            shared = middle
        else:
            apart = middle
    return ancestor_at(view, name, number, apart)
