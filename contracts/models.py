"""Model versions: promote what the ballots agreed on; quarantine; roll back.

``ballots`` decides what the aggregate of a round is, here is what becomes of it: it is promoted if its score passes the
gate, which compares with the best version that was promoted and has not fallen, so that small steps down do not add up.
A promoted version falls by the alarm of a quorum of verifiers, or by a vote of the members. ``lineage`` holds the
versions and the way back.
"""

from dataclasses import dataclass, replace
from typing import Annotated

from . import ballot_box, identity, lineage, tasks
from .kernel import (
    Context,
    Contract,
    Lane,
    Map,
    Message,
    Outcome,
    Place,
    Record,
    Rejected,
    View,
    bitmap,
    found,
    limits,
    require,
)
from .kernel.types import (
    Count,
    Digest,
    Items,
    ModelId,
    OrgId,
    PublicKey,
    Purpose,
    Reason,
    Role,
    VersionNumber,
)
from .lineage import (
    MODELS,
    REGISTER,
    VERSIONS,
    Candidate,
    Model,
    Register,
    Version,
    VersionDecided,
    VersionStatus,
)
from .terms import Artefact, Terms


class Complaint(Record):
    """A verifier that found a version unfit: the digest of its evidence, and the key that signed."""

    organisation: OrgId
    evidence: Digest
    signer: PublicKey
    place: Place


class Alarm(Record):
    """The verifiers who found a version unfit."""

    complaints: Annotated[tuple[Complaint, ...], Items(1, limits.VERIFIERS_PER_TASK)]


ALARMS = Map("models/alarms", Alarm, "model", "version")


class RaiseAlarm(Message, purpose=Purpose.WORKLOAD, role=Role.VERIFIER, lane=Lane.SAFETY):
    """State that a promoted version is unfit; a quorum of verifiers quarantines it and all that descends from it."""

    model: ModelId
    version: VersionNumber
    evidence: Digest
    reason: Reason


class UnknownModel(Rejected, code=801, hint="`fedledger model history` lists the models."):
    """No task trains a model of this name."""


class UnknownVersion(Rejected, code=802, hint="`fedledger model history` lists the versions of a model."):
    """The model has no version of this number."""


class ModelExists(Rejected, code=803, hint="Choose another name for the model."):
    """A task trains a model of this name already."""


class NotAVerifier(Rejected, code=804, hint="Only a verifier that the terms name may do this."):
    """The terms do not name the organisation as a verifier of this task."""


class AlreadyRaised(Rejected, code=805, hint="Nothing to do: the first alarm stands."):
    """The organisation has raised an alarm on this version."""


class VersionNotOpen(Rejected, code=806, hint="Nothing to do: the version is not one that can be restored or fall."):
    """The version is not in a state that this step applies to."""


class NoMoreVersions(Rejected, code=807, hint="Open a new task with another model."):
    """The model has as many versions as it may have, or the ledger as many models."""


def raise_alarm(view: View, msg: RaiseAlarm, ctx: Context) -> Outcome:
    """Count an alarm; a quorum quarantines. An alarm by a key that was not good counts for nothing, once that is known.

    Rejects: UnknownModel, UnknownVersion, NotAVerifier, AlreadyRaised, VersionNotOpen.
    """
    model, terms, version = _require_version(view, msg.model, msg.version)
    require_verifier(terms, ctx.organisation)
    exposed = msg.version > 0 and lineage.is_in_line(view, msg.model, model, msg.version)
    require(exposed, lambda: VersionNotOpen(version=msg.version, status=version.status))
    alarm = ALARMS.get(view, (msg.model, msg.version))
    good = tuple(one for one in alarm.complaints if _is_good(view, one)) if alarm else ()
    again = any(one.organisation == ctx.organisation for one in good)
    require(not again, lambda: AlreadyRaised(organisation=ctx.organisation))
    raised = Alarm((*good, Complaint(ctx.organisation, msg.evidence, ctx.sender, ctx.place)))
    recorded = Outcome((ALARMS.put((msg.model, msg.version), raised),))
    if len(raised.complaints) < quorum(len(terms.verifiers)):
        return recorded
    return recorded + _fallen(view, msg.model, model, msg.version, VersionStatus.QUARANTINED, msg.reason, ctx)


def register_model(view: View, terms: Terms, ctx: Context) -> Outcome:
    """Describe a new model whose version 0 is the terms' initial one. For governance.

    Rejects: ModelExists, NoMoreVersions.
    """
    register = require_new(view, terms.model)
    initial = Version(
        artefact=terms.initial,
        round=0,
        parent=0,
        depth=0,
        jump=0,
        best=0,
        canary_correct=0,
        agreed=bitmap.NOTHING,
        judgements=b"",
        digest=terms.initial.digest,
        proposer=terms.aggregators[0],
        decided_at=ctx.height,
        status=VersionStatus.PROMOTED,
    )
    writes = (
        MODELS.put(terms.model, Model(terms.task, current=0, latest=0)),
        VERSIONS.put((terms.model, 0), initial),
        REGISTER.set(Register((*register.models, terms.model))),
    )
    return Outcome(writes, (VersionDecided(terms.model, 0, VersionStatus.PROMOTED, "initial model of the terms"),))


def require_new(view: View, name: ModelId) -> Register:
    """The register, which has room for a model of this name. Rejects: ModelExists, NoMoreVersions."""
    require(MODELS.get(view, name) is None, lambda: ModelExists(model=name))
    register = REGISTER.get(view) or Register(())
    require(len(register.models) < limits.MODELS, lambda: NoMoreVersions(limit=limits.MODELS))
    return register


def roll_back(view: View, name: ModelId, to: VersionNumber, reason: Reason, ctx: Context) -> Outcome:
    """Describe going back to a version that was once promoted. For governance.

    Rejects: UnknownModel, UnknownVersion, VersionNotOpen.
    """
    model, _, version = _require_version(view, name, to)
    open_ = to != model.current and lineage.is_in_line(view, name, model, to)
    require(open_, lambda: VersionNotOpen(version=to, status=version.status))
    first = lineage.ancestor_at(view, name, model.current, version.depth + 1)
    return _fallen(view, name, model, first, VersionStatus.ROLLED_BACK, reason, ctx)


def _fallen(
    view: View,
    name: ModelId,
    model: Model,
    first: VersionNumber,
    status: VersionStatus,
    reason: Reason,
    ctx: Context,
) -> Outcome:
    """A version falls; what is due in the round that loses its base is settled first."""
    return ballot_box.abandoned(view, model.task, ctx) + lineage.fallen(view, name, model, first, status, reason, ctx)


@dataclass(frozen=True)
class Decision:
    """What the ballots say about a round's aggregate."""

    candidate: Candidate
    artefact: Artefact
    digest: Digest
    correct: Count  # The median score.
    proposer: OrgId


def decided(view: View, terms: Terms, decision: Decision, ctx: Context) -> Outcome:
    """Describe the version that follows from a round: promoted, or below the gate. For ballots.

    A model that can have no more versions keeps its current one.
    """
    name, model = terms.model, MODELS.at(view, terms.model)
    if model.latest >= limits.VERSIONS_PER_MODEL:
        return Outcome()
    parent = VERSIONS.at(view, (name, decision.candidate.parent))
    best = VERSIONS.at(view, (name, parent.best)).canary_correct
    number = model.latest + 1
    passes = lineage.passes_gate(decision.correct, best, terms.canary_records, terms.canary_margin_ppm)
    status = VersionStatus.PROMOTED if passes else VersionStatus.FAILED_CANARY
    depth, jump = lineage.child_of(view, name, decision.candidate.parent)
    version = Version(
        artefact=decision.artefact,
        round=decision.candidate.round,
        parent=decision.candidate.parent,
        depth=depth,
        jump=jump,
        best=number if decision.correct >= best else parent.best,
        canary_correct=decision.correct,
        agreed=decision.candidate.agreed,
        judgements=decision.candidate.judgements,
        digest=decision.digest,
        proposer=decision.proposer,
        decided_at=ctx.height,
        status=status,
    )
    reason = "confirmed by recomputation" if passes else "below the best on the canary"
    outcome = Outcome(
        (
            VERSIONS.put((name, number), version),
            MODELS.put(name, replace(model, latest=number, current=number if passes else model.current)),
        ),
        (VersionDecided(name, number, status, reason),),
    )
    if not passes:
        return outcome
    task = tasks.TASKS.at(view, terms.task)
    return outcome + Outcome((tasks.TASKS.put(terms.task, replace(task, base=number)),))


def require_model(view: View, name: ModelId) -> Model:
    """The model of this name. Rejects: UnknownModel."""
    return found(MODELS, view, name, lambda: UnknownModel(model=name))


def require_version(view: View, name: ModelId, number: VersionNumber) -> Version:
    """The version of this number. Rejects: UnknownModel, UnknownVersion."""
    require_model(view, name)
    return found(VERSIONS, view, (name, number), lambda: UnknownVersion(model=name, version=number))


def require_verifier(terms: Terms, organisation: OrgId) -> None:
    """The terms name the organisation as a verifier. Rejects: NotAVerifier."""
    require(organisation in terms.verifiers, lambda: NotAVerifier(task=terms.task, organisation=organisation))


def quorum(voters: int) -> int:
    """More than two thirds of the voters."""
    return 2 * voters // 3 + 1


def _require_version(view: View, name: ModelId, number: VersionNumber) -> tuple[Model, Terms, Version]:
    model, version = require_model(view, name), require_version(view, name, number)
    return model, tasks.TERMS.at(view, model.task), version


def _is_good(view: View, complaint: Complaint) -> bool:
    """Whether its verifier is an active member, and its key was good where it signed, by all that is known now."""
    if not identity.is_active(view, complaint.organisation):
        return False
    return identity.is_good(identity.KEYS.at(view, complaint.signer), complaint.place)


CONTRACT = Contract(
    name="models",
    number=8,
    state=(MODELS, VERSIONS, REGISTER, ALARMS),
    handlers={RaiseAlarm: raise_alarm},
    modules=("contracts.lineage", __name__),
)
