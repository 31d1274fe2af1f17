"""Lineage: the versions of a model, what they descend from, and going back along that line.

Part of the contract ``models``, which decides when a version is promoted, quarantined or rolled back. Here is how the
promoted line is stored and walked::

    proposed ──► promoted ──► superseded ──► rolled back
       │            └──────────────┴───────► quarantined
       ├──► refused        (the votes say that it is not the aggregate)
       └──► failed canary  (it is, and it is worse than its parent by more than the margin)

Invariants: a model has exactly one promoted version; what is restored was promoted once; a quarantined version is
never current again.
"""

from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Final

from . import contributions, identity, rounds
from .kernel import Event, InvariantBroken, Item, Map, Outcome, Place, Record, View, crypto, limits
from .kernel.types import (
    Count,
    DatasetId,
    Digest,
    Height,
    Items,
    ModelId,
    OrgId,
    Positive,
    Range,
    Reason,
    RoundNumber,
    TaskId,
    VersionNumber,
)
from .reputation import Verdict
from .terms import Artefact


class Judgement(Record):
    """What the recomputation says about one contribution, and why."""

    organisation: OrgId
    dataset: DatasetId
    verdict: Verdict
    reason: Reason


class Candidate(Record):
    """Everything about a version that follows from the committed payloads; votes are about its digest."""

    task: TaskId
    round: RoundNumber
    parent: VersionNumber
    artefact: Artefact
    canary_correct: Count
    canary_total: Positive
    judgements: Annotated[tuple[Judgement, ...], Items(1, limits.SEATS_PER_ROUND)]


class VersionStatus(StrEnum):
    """Where a version stands."""

    PROPOSED = "proposed"
    PROMOTED = "promoted"
    SUPERSEDED = "superseded"
    REFUSED = "refused"
    FAILED_CANARY = "failed-canary"
    QUARANTINED = "quarantined"
    ROLLED_BACK = "rolled-back"


class Ballot(Record):
    """The digest a verifier arrived at."""

    organisation: OrgId
    digest: Digest


class Version(Record):
    """A version: what it is, where it came from, what the votes said. Version 0 is the terms' initial model."""

    artefact: Artefact
    round: Annotated[int, Range(0, limits.ROUNDS_PER_TASK)]
    parent: VersionNumber
    canary_correct: Count
    canary_total: Positive
    judgements: Annotated[tuple[Judgement, ...], Items(0, limits.SEATS_PER_ROUND)]
    digest: Digest  # Of the candidate.
    proposer: OrgId
    proposed_at: Height
    ballots: Annotated[tuple[Ballot, ...], Items(0, limits.VERIFIERS_PER_TASK)]
    status: VersionStatus


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


NO_CANDIDATE: Final = crypto.sha256(b"fedledger: no candidate follows from the committed payloads")
"""What a verifier votes with when it finds nothing to propose, whatever its reason: so two of them agree.

No candidate has this digest: the encoding of a record begins with another byte than this text.
"""


class VersionDecided(Event):
    """A version was promoted, refused, failed its canary, quarantined, rolled back, or restored (promoted again)."""

    model: ModelId
    version: VersionNumber
    status: VersionStatus
    reason: Reason


def candidate_digest(candidate: Candidate) -> Digest:
    """What a vote names: SHA-256 of the candidate's canonical bytes."""
    return crypto.sha256(candidate.encode())


def key_was_live(view: View, task: TaskId, number: RoundNumber, organisation: OrgId, dataset: DatasetId) -> bool:
    """Whether a commitment's key, by all that is known now, was good when it signed."""
    commitment = contributions.commitment_of(view, task, number, organisation, dataset)
    return identity.is_good(identity.KEYS.at(view, commitment.signer), Place(commitment.height, 0))


def passes_canary(version: Version, parent: Version, margin_ppm: int) -> bool:
    """Whether the canary accuracy is at most the margin below the parent's; exact, in integers."""
    million = limits.PARTS_PER_MILLION
    floor = parent.canary_correct * million - margin_ppm * parent.canary_total
    return version.canary_correct * million * parent.canary_total >= floor * version.canary_total


def decided(name: ModelId, number: VersionNumber, version: Version, status: VersionStatus, reason: Reason) -> Outcome:
    """Describe a version's new status."""
    return Outcome(
        (VERSIONS.put((name, number), replace(version, status=status)),),
        (VersionDecided(name, number, status, reason),),
    )


def restore_before(
    view: View, name: ModelId, model: Model, first: VersionNumber, status: VersionStatus, reason: Reason
) -> Outcome:
    """Give ``first`` and its descendants up to the current version a status; its parent is promoted again."""
    fallen = [(number, version) for number, version in chain(view, name, model) if number >= first]
    if not fallen or fallen[-1][0] != first:
        raise InvariantBroken(f"version {first} of {name} is not in the line of the current one")
    restored = fallen[-1][1].parent
    ancestor = VERSIONS.at(view, (name, restored))
    outcome = rounds.rebase(view, model.task, base=restored, reason=reason)
    for number, version in fallen:
        outcome += decided(name, number, version, status, reason)
    outcome += decided(name, restored, ancestor, VersionStatus.PROMOTED, "restored")
    return outcome + Outcome((MODELS.put(name, replace(model, current=restored)),))


def chain(view: View, name: ModelId, model: Model) -> list[tuple[VersionNumber, Version]]:
    """The promoted line from the current version back to version 0, newest first."""
    number, line = model.current, []
    while number > 0:
        version = VERSIONS.at(view, (name, number))
        line.append((number, version))
        number = version.parent  # Strictly smaller: a parent exists before its child.
    return [*line, (0, VERSIONS.at(view, (name, 0)))]
