"""Model versions: propose → votes by recomputation → promote; quarantine; rollback.

Nobody is trusted to aggregate. A proposal states everything that follows from the committed payloads: the new
version's bytes, its canary score, and the judgement on every contribution. Verifiers recompute all of it and vote with
the digest *they* arrive at; the proposer's organisation does not vote. A quorum for the proposal's digest promotes it
if it passes the canary gate; once that quorum is out of reach the proposal is refused and its proposer pays, and the
next aggregator in the terms has its turn. ``lineage`` holds the versions, their states and the way back.
"""

from dataclasses import replace
from typing import Annotated

from . import lineage, reputation, rounds
from .kernel import (
    Context,
    Contract,
    Event,
    Lane,
    Map,
    Message,
    Outcome,
    Record,
    Rejected,
    View,
    found,
    limits,
    require,
)
from .kernel.types import (
    Digest,
    Items,
    ModelId,
    OrgId,
    Purpose,
    Reason,
    Role,
    RoundNumber,
    TaskId,
    VersionNumber,
)
from .lineage import (
    MODELS,
    REGISTER,
    VERSIONS,
    Ballot,
    Candidate,
    Judgement,
    Model,
    Register,
    Version,
    VersionDecided,
    VersionStatus,
    decided,
)
from .reputation import Verdict
from .rounds import Progress, Round
from .terms import Terms


class Alarm(Record):
    """Verifiers who found a version unfit, each with the digest of its evidence."""

    ballots: Annotated[tuple[Ballot, ...], Items(1, limits.VERIFIERS_PER_TASK)]


ALARMS = Map("models/alarms", Alarm, "model", "version")


class ProposeVersion(Message, purpose=Purpose.WORKLOAD, role=Role.AGGREGATOR, lane=Lane.ROUND):
    """Propose the aggregate of a closed round as the model's next version."""

    candidate: Candidate


class VoteVersion(Message, purpose=Purpose.WORKLOAD, role=Role.VERIFIER, lane=Lane.ROUND):
    """Vote with the digest of the candidate that the verifier recomputed itself."""

    model: ModelId
    version: VersionNumber
    digest: Digest


class RaiseAlarm(Message, purpose=Purpose.WORKLOAD, role=Role.VERIFIER, lane=Lane.SAFETY):
    """State that a promoted version is unfit; a quorum of verifiers quarantines it and all that descends from it."""

    model: ModelId
    version: VersionNumber
    evidence: Digest
    reason: Reason


class VersionProposed(Event):
    """A version was proposed."""

    model: ModelId
    version: VersionNumber
    round: RoundNumber
    proposer: OrgId
    digest: Digest


class VersionVoted(Event):
    """A verifier stated the digest it arrived at."""

    model: ModelId
    version: VersionNumber
    organisation: OrgId
    digest: Digest


class UnknownModel(Rejected, code=801, hint="`fedledger model history` lists the models."):
    """No task trains a model of this name."""


class UnknownVersion(Rejected, code=802, hint="`fedledger model history` lists the versions of a model."):
    """The model has no version of this number."""


class ModelExists(Rejected, code=803, hint="Choose another name for the model."):
    """A task trains a model of this name already."""


class NotYourTurn(Rejected, code=804, hint="Aggregators propose in the order of the terms, each in its own window."):
    """It is another aggregator's turn to propose."""


class AlreadyProposed(Rejected, code=805, hint="Wait for the votes, or for the next aggregator's turn."):
    """The organisation has made its proposal for this round."""


class RoundNotClosed(Rejected, code=806, hint="Close the round first; a decided or void round takes no proposal."):
    """The round is not closed and waiting for a proposal."""


class JudgementsIncomplete(Rejected, code=807, hint="Judge every published contribution, in the order of the seats."):
    """The judgements are not exactly those of the round's published contributions."""


class Tainted(Rejected, code=808, hint="Judge it as withdrawn: its key was revoked as of before the commitment."):
    """A judgement disagrees with the ledger on whether the contribution's key was good when it signed."""


class NothingAccepted(Rejected, code=809, hint="Void the round by letting the turns pass."):
    """No contribution was accepted, so there is nothing to promote."""


class NotAVerifier(Rejected, code=810, hint="Only a verifier that the terms name may do this."):
    """The terms do not name the organisation as a verifier of this task."""


class OwnProposal(Rejected, code=811, hint="Leave the vote to the other verifiers."):
    """An organisation does not vote on its own proposal."""


class AlreadyVoted(Rejected, code=812, hint="Nothing to do: the first vote stands."):
    """The organisation has voted on this."""


class VersionNotOpen(Rejected, code=813, hint="Nothing to do: the version's outcome is final for this step."):
    """The version is not in a state that this step applies to."""


class NoMoreVersions(Rejected, code=814, hint="Open a new task with another model."):
    """The model has as many versions as it may have, or the ledger as many models."""


def propose_version(view: View, msg: ProposeVersion, ctx: Context) -> Outcome:
    """Record a proposal.

    Rejects: UnknownTask, UnknownRound, NotYourTask, RoundNotClosed, NotYourTurn, AlreadyProposed,
    JudgementsIncomplete, Tainted, NothingAccepted, NoMoreVersions.
    """
    candidate = msg.candidate
    current = rounds.require_round(view, candidate.task, candidate.round)
    terms = rounds.TERMS.at(view, candidate.task)
    rounds.require_aggregator(terms, ctx.organisation)
    require(
        current.status is rounds.RoundStatus.CLOSED and candidate.parent == current.base,
        lambda: RoundNotClosed(round=candidate.round, status=current.status, base=current.base),
    )
    model = MODELS.at(view, terms.model)
    _require_turn(view, terms, model, current, candidate.round, ctx)
    _require_judged(view, candidate, current)
    require(model.latest < limits.VERSIONS_PER_MODEL, lambda: NoMoreVersions(limit=limits.VERSIONS_PER_MODEL))
    number = model.latest + 1
    version = Version(
        artefact=candidate.artefact,
        round=candidate.round,
        parent=candidate.parent,
        canary_correct=candidate.canary_correct,
        canary_total=candidate.canary_total,
        judgements=candidate.judgements,
        digest=lineage.candidate_digest(candidate),
        proposer=ctx.organisation,
        proposed_at=ctx.height,
        ballots=(),
        status=VersionStatus.PROPOSED,
    )
    return Outcome(
        (VERSIONS.put((terms.model, number), version), MODELS.put(terms.model, replace(model, latest=number))),
        (VersionProposed(terms.model, number, candidate.round, ctx.organisation, version.digest),),
    )


def vote_version(view: View, msg: VoteVersion, ctx: Context) -> Outcome:
    """Count a vote; the one that settles the outcome applies it.

    Rejects: UnknownModel, UnknownVersion, NotAVerifier, OwnProposal, AlreadyVoted, VersionNotOpen.
    """
    model, terms, version = _require_version(view, msg.model, msg.version)
    _require_verifier(terms, ctx.organisation)
    require(ctx.organisation != version.proposer, lambda: OwnProposal(version=msg.version))
    _require_no_ballot(version.ballots, ctx.organisation)
    require(
        version.status is VersionStatus.PROPOSED, lambda: VersionNotOpen(version=msg.version, status=version.status)
    )
    current = rounds.ROUNDS.at(view, (model.task, version.round))
    waiting = current.status is rounds.RoundStatus.CLOSED
    require(waiting, lambda: VersionNotOpen(version=msg.version, status=version.status, round=current.status))
    voted = replace(version, ballots=(*version.ballots, Ballot(ctx.organisation, msg.digest)))
    announced = Outcome((), (VersionVoted(msg.model, msg.version, ctx.organisation, msg.digest),))
    if not all(_as_ledger_knows(view, model.task, version.round, judged) for judged in version.judgements):
        # A key was reported stolen after the proposal: it cannot pass, and its proposer is not at fault.
        return announced + decided(msg.model, msg.version, voted, VersionStatus.QUARANTINED, "signed with a stolen key")
    return announced + _tally(view, terms, model, msg.version, voted, ctx)


def raise_alarm(view: View, msg: RaiseAlarm, ctx: Context) -> Outcome:
    """Count an alarm; a quorum quarantines.

    Rejects: UnknownModel, UnknownVersion, NotAVerifier, AlreadyVoted, VersionNotOpen.
    """
    model, terms, version = _require_version(view, msg.model, msg.version)
    _require_verifier(terms, ctx.organisation)
    exposed = msg.version > 0 and version.status in (VersionStatus.PROMOTED, VersionStatus.SUPERSEDED)
    require(exposed, lambda: VersionNotOpen(version=msg.version, status=version.status))
    alarm = ALARMS.get(view, (msg.model, msg.version))
    ballots = alarm.ballots if alarm else ()
    _require_no_ballot(ballots, ctx.organisation)
    raised = Alarm((*ballots, Ballot(ctx.organisation, msg.evidence)))
    recorded = Outcome((ALARMS.put((msg.model, msg.version), raised),))
    if len(raised.ballots) < quorum(len(terms.verifiers)):
        return recorded
    return recorded + quarantine(view, msg.model, model, msg.version, msg.reason)


def register_model(view: View, terms: Terms, ctx: Context) -> Outcome:
    """Describe a new model whose version 0 is the terms' initial one. For governance.

    Rejects: ModelExists, NoMoreVersions.
    """
    register = require_new(view, terms.model)
    initial = Version(
        artefact=terms.initial,
        round=0,
        parent=0,
        canary_correct=0,
        canary_total=1,
        judgements=(),
        digest=terms.initial.digest,
        proposer=terms.aggregators[0],
        proposed_at=ctx.height,
        ballots=(),
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


def quarantine(view: View, name: ModelId, model: Model, first: VersionNumber, reason: Reason) -> Outcome:
    """Describe taking a version and all its promoted descendants out of service, and restoring its clean ancestor."""
    return lineage.restore_before(view, name, model, first, VersionStatus.QUARANTINED, reason)


def roll_back(view: View, name: ModelId, to: VersionNumber, reason: Reason) -> Outcome:
    """Describe going back to a version that was once promoted. For governance.

    Rejects: UnknownModel, UnknownVersion, VersionNotOpen.
    """
    model, _, version = _require_version(view, name, to)
    require(version.status is VersionStatus.SUPERSEDED, lambda: VersionNotOpen(version=to, status=version.status))
    line = [number for number, _ in lineage.chain(view, name, model)]
    above = [number for number in line if number > to]
    require(bool(above) and to in line, lambda: VersionNotOpen(version=to, status="aside"))
    return lineage.restore_before(view, name, model, above[-1], VersionStatus.ROLLED_BACK, reason)


def quorum(voters: int) -> int:
    """More than two thirds of the voters."""
    return 2 * voters // 3 + 1


def _tally(view: View, terms: Terms, model: Model, number: VersionNumber, version: Version, ctx: Context) -> Outcome:
    voters = len([name for name in terms.verifiers if name != version.proposer])
    needed = quorum(voters)
    agreeing = tuple(ballot.organisation for ballot in version.ballots if ballot.digest == version.digest)
    if len(agreeing) >= needed:
        return _confirm(view, terms, model, number, version, agreeing, ctx)
    if len(version.ballots) - len(agreeing) > voters - needed:
        fault = reputation.settle(view, ((version.proposer, Verdict.FALSE_PROPOSAL),), ctx)
        return fault + decided(terms.model, number, version, VersionStatus.REFUSED, "not the aggregate")
    return Outcome((VERSIONS.put((terms.model, number), version),))


def _confirm(
    view: View,
    terms: Terms,
    model: Model,
    number: VersionNumber,
    version: Version,
    agreeing: tuple[OrgId, ...],
    ctx: Context,
) -> Outcome:
    """The votes confirm the candidate: its judgements count, and the canary gate decides whether it is promoted."""
    settled = reputation.settle(view, _verdicts(view, terms.task, version, agreeing), ctx)
    parent = VERSIONS.at(view, (terms.model, version.parent))
    if not lineage.passes_canary(version, parent, terms.canary_margin_ppm):
        failed = decided(terms.model, number, version, VersionStatus.FAILED_CANARY, "below its parent on the canary")
        return settled + failed + rounds.decide(view, terms.task, version.round, base=version.parent)
    superseded = VERSIONS.put((terms.model, version.parent), replace(parent, status=VersionStatus.SUPERSEDED))
    promoted = MODELS.put(terms.model, replace(model, current=number))
    return (
        settled
        + Outcome((superseded, promoted))
        + decided(terms.model, number, version, VersionStatus.PROMOTED, "confirmed by recomputation")
        + rounds.decide(view, terms.task, version.round, base=number)
    )


def _verdicts(
    view: View, task: TaskId, version: Version, agreeing: tuple[OrgId, ...]
) -> tuple[tuple[OrgId, Verdict], ...]:
    seats = rounds.ROUNDS.at(view, (task, version.round)).seats
    late = tuple((s.organisation, Verdict.MISSING) for s in seats if s.progress is Progress.COMMITTED)
    judged = tuple((judgement.organisation, judgement.verdict) for judgement in version.judgements)
    return judged + late + tuple((name, Verdict.CONFIRMED) for name in agreeing)


def _require_turn(view: View, terms: Terms, model: Model, current: Round, number: RoundNumber, ctx: Context) -> None:
    """The sender may propose now: from its own turn on, once a round."""
    place = terms.aggregators.index(ctx.organisation)
    turn = rounds.turn_of(terms, current, ctx.time_ms)
    require(place <= turn < len(terms.aggregators), lambda: NotYourTurn(place=place, turn=turn))
    proposed = model.latest
    while proposed > 0:
        version = VERSIONS.at(view, (terms.model, proposed))
        if version.round != number:
            break
        again = version.proposer == ctx.organisation and version.status is not VersionStatus.QUARANTINED
        require(not again, lambda: AlreadyProposed(round=number))
        proposed -= 1


def _require_judged(view: View, candidate: Candidate, current: Round) -> None:
    published = tuple(
        (seat.organisation, seat.dataset) for seat in current.seats if seat.progress is Progress.PUBLISHED
    )
    judged = tuple((judgement.organisation, judgement.dataset) for judgement in candidate.judgements)
    require(judged == published, lambda: JudgementsIncomplete(judged=len(judged), published=len(published)))
    for judgement in candidate.judgements:
        require(
            judgement.verdict not in (Verdict.CONFIRMED, Verdict.FALSE_PROPOSAL),
            lambda: JudgementsIncomplete(judged=len(judged), published=len(published)),
        )
        good = _as_ledger_knows(view, candidate.task, candidate.round, judgement)
        if not good:
            raise Tainted(organisation=judgement.organisation, dataset=judgement.dataset)
    accepted = [judgement for judgement in candidate.judgements if judgement.verdict is Verdict.ACCEPTED]
    require(bool(accepted), lambda: NothingAccepted(round=candidate.round))


def _as_ledger_knows(view: View, task: TaskId, number: RoundNumber, judgement: Judgement) -> bool:
    """Withdrawn if and only if the key was not good when it signed."""
    live = lineage.key_was_live(view, task, number, judgement.organisation, judgement.dataset)
    return live is (judgement.verdict is not Verdict.WITHDRAWN)


def require_model(view: View, name: ModelId) -> Model:
    """The model of this name. Rejects: UnknownModel."""
    return found(MODELS, view, name, lambda: UnknownModel(model=name))


def require_version(view: View, name: ModelId, number: VersionNumber) -> Version:
    """The version of this number. Rejects: UnknownModel, UnknownVersion."""
    require_model(view, name)
    return found(VERSIONS, view, (name, number), lambda: UnknownVersion(model=name, version=number))


def _require_version(view: View, name: ModelId, number: VersionNumber) -> tuple[Model, Terms, Version]:
    model, version = require_model(view, name), require_version(view, name, number)
    return model, rounds.TERMS.at(view, model.task), version


def _require_verifier(terms: Terms, organisation: OrgId) -> None:
    require(organisation in terms.verifiers, lambda: NotAVerifier(task=terms.task, organisation=organisation))


def _require_no_ballot(ballots: tuple[Ballot, ...], organisation: OrgId) -> None:
    voted = any(ballot.organisation == organisation for ballot in ballots)
    require(not voted, lambda: AlreadyVoted(organisation=organisation))


CONTRACT = Contract(
    name="models",
    number=8,
    state=(MODELS, VERSIONS, REGISTER, ALARMS),
    handlers={
        ProposeVersion: propose_version,
        VoteVersion: vote_version,
        RaiseAlarm: raise_alarm,
    },
    modules=("contracts.lineage", __name__),
)
