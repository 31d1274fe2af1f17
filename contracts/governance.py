"""Governance: what the members decide together, one organisation one vote, by human keys.

An action is one of a closed table of (validate, apply): admission of an organisation, the opening of a task, a
rollback, admission and removal of a validator. More than two thirds of the members, counted when the proposal is made,
pass it; it is applied in the block of the vote that settles it. Nothing here is generic dispatch: an action that is
not in the table does not exist.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Any

from . import identity, models, rounds, validators
from .identity import Admission
from .kernel import (
    Context,
    Contract,
    Event,
    Item,
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
    Count,
    Height,
    Items,
    ModelId,
    OrgId,
    Positive,
    PublicKey,
    Purpose,
    Reason,
    TimeMs,
    VersionNumber,
)
from .models import quorum
from .terms import Terms
from .validators import NewValidator


class AdmitOrganisation(Record):
    """Make an organisation a member."""

    admission: Admission


class OpenTask(Record):
    """Open a task under these terms."""

    terms: Terms


class RollBackModel(Record):
    """Go back to a version that was once promoted."""

    model: ModelId
    version: VersionNumber
    reason: Reason


class AdmitValidator(Record):
    """Let an organisation's node decide blocks, in the place of another validator if one is named."""

    validator: NewValidator
    replaces: PublicKey | None


class RemoveValidator(Record):
    """Let a node decide blocks no more."""

    validator: PublicKey


Action = AdmitOrganisation | OpenTask | RollBackModel | AdmitValidator | RemoveValidator


class ProposalStatus(StrEnum):
    """Where a proposal stands."""

    OPEN = "open"
    PASSED = "passed"
    DEFEATED = "defeated"
    FAILED = "failed"  # It passed, but could no longer be applied.


class Proposal(Record):
    """A proposed action, its electorate and its votes."""

    action: Action
    proposer: OrgId
    opened_at: Height
    expires_at: TimeMs
    electorate: Positive  # Members when it was proposed; later ones have no vote on it.
    approvals: Annotated[tuple[OrgId, ...], Items(0, limits.ORGANISATIONS)]
    rejections: Annotated[tuple[OrgId, ...], Items(0, limits.ORGANISATIONS)]
    status: ProposalStatus


class Counter(Record):
    """The number of the newest proposal."""

    proposals: Count


PROPOSALS = Map("governance/proposals", Proposal, "number")
COUNTER = Item("governance/counter", Counter)


class Propose(Message, purpose=Purpose.HUMAN, lane=Lane.GOVERNANCE):
    """Put an action to the vote; the proposer's own vote is an approval."""

    action: Action


class Vote(Message, purpose=Purpose.HUMAN, lane=Lane.GOVERNANCE):
    """Approve or reject an open proposal."""

    proposal: Positive
    approve: bool


class Proposed(Event):
    """An action was put to the vote."""

    proposal: Positive
    proposer: OrgId


class Voted(Event):
    """A member voted."""

    proposal: Positive
    organisation: OrgId
    approve: bool


class ProposalDecided(Event):
    """A proposal passed and was applied, was defeated, or passed and failed."""

    proposal: Positive
    status: ProposalStatus
    code: Count  # Why it could not be applied; 0 otherwise.


class UnknownProposal(Rejected, code=901, hint="Check the number in the proposer's receipt."):
    """No proposal has this number."""


class ProposalClosed(Rejected, code=902, hint="Nothing to do, or propose the action again."):
    """The proposal is decided or has expired."""


class VotedAlready(Rejected, code=903, hint="Nothing to do: the first vote stands."):
    """The organisation has voted on this proposal."""


class NotInElectorate(Rejected, code=904, hint="Vote on proposals made after the organisation was admitted."):
    """The organisation was admitted after the proposal was made."""


def require_proposal(view: View, number: Positive) -> Proposal:
    """The proposal of this number. Rejects: UnknownProposal."""
    return found(PROPOSALS, view, number, lambda: UnknownProposal(proposal=number))


def propose(view: View, msg: Propose, ctx: Context) -> Outcome:
    """Put an action to the vote. Rejects: whatever applying the action now would reject."""
    _effect(msg.action).validate(view, msg.action, ctx)  # What cannot be applied is not voted on.
    number = (COUNTER.get(view) or Counter(0)).proposals + 1
    proposal = Proposal(
        action=msg.action,
        proposer=ctx.organisation,
        opened_at=ctx.height,
        expires_at=ctx.time_ms + limits.PROPOSAL_MS,
        electorate=identity.MEMBERSHIP.at(view).organisations,
        approvals=(ctx.organisation,),
        rejections=(),
        status=ProposalStatus.OPEN,
    )
    counted = Outcome((COUNTER.set(Counter(number)),), (Proposed(number, ctx.organisation),))
    return counted + _tally(view, number, proposal, ctx)


def vote(view: View, msg: Vote, ctx: Context) -> Outcome:
    """Count a vote and apply the action when it settles it.

    Rejects: UnknownProposal, ProposalClosed, NotInElectorate, VotedAlready.
    """
    proposal = require_proposal(view, msg.proposal)
    live = proposal.status is ProposalStatus.OPEN and ctx.time_ms < proposal.expires_at
    require(live, lambda: ProposalClosed(proposal=msg.proposal, status=proposal.status))
    voter = identity.ORGANISATIONS.at(view, ctx.organisation)
    eligible = voter.enrolled_at < proposal.opened_at or voter.enrolled_at == 0
    require(eligible, lambda: NotInElectorate(organisation=ctx.organisation))
    again = ctx.organisation in (*proposal.approvals, *proposal.rejections)
    require(not again, lambda: VotedAlready(organisation=ctx.organisation))
    if msg.approve:
        counted = replace(proposal, approvals=(*proposal.approvals, ctx.organisation))
    else:
        counted = replace(proposal, rejections=(*proposal.rejections, ctx.organisation))
    announced = Outcome((), (Voted(msg.proposal, ctx.organisation, msg.approve),))
    return announced + _tally(view, msg.proposal, counted, ctx)


def _tally(view: View, number: int, proposal: Proposal, ctx: Context) -> Outcome:
    needed = quorum(proposal.electorate)
    if len(proposal.approvals) >= needed:
        return _apply(view, number, proposal, ctx)
    if len(proposal.rejections) > proposal.electorate - needed:
        return _decided(number, proposal, ProposalStatus.DEFEATED, 0)
    return Outcome((PROPOSALS.put(number, proposal),))


def _apply(view: View, number: int, proposal: Proposal, ctx: Context) -> Outcome:
    """Apply a passed action; state may have moved since it was proposed, and then it fails by name."""
    try:
        effect = _effect(proposal.action).apply(view, proposal.action, ctx)
    except Rejected as refusal:
        return _decided(number, proposal, ProposalStatus.FAILED, refusal.code)
    return effect + _decided(number, proposal, ProposalStatus.PASSED, 0)


def _decided(number: int, proposal: Proposal, status: ProposalStatus, code: int) -> Outcome:
    return Outcome((PROPOSALS.put(number, replace(proposal, status=status)),), (ProposalDecided(number, status, code),))


def _admit(view: View, action: AdmitOrganisation, ctx: Context) -> Outcome:
    return identity.enrol(view, action.admission, ctx)


def _validate_task(view: View, action: OpenTask, _ctx: Context) -> None:
    rounds.require_openable(view, action.terms)
    models.require_new(view, action.terms.model)


def _open_task(view: View, action: OpenTask, ctx: Context) -> Outcome:
    return rounds.open_task(view, action.terms, ctx) + models.register_model(view, action.terms, ctx)


def _roll_back(view: View, action: RollBackModel, ctx: Context) -> Outcome:
    return models.roll_back(view, action.model, action.version, action.reason)


def _admit_validator(view: View, action: AdmitValidator, ctx: Context) -> Outcome:
    return validators.admit(view, action.validator, action.replaces, ctx)


def _remove_validator(view: View, action: RemoveValidator, _ctx: Context) -> Outcome:
    return validators.remove(view, action.validator)


@dataclass(frozen=True)
class Effect:
    """One row of the table of actions. Where validating is as cheap as applying, it is applying."""

    action: type[Record]
    validate: Callable[[View, Any, Context], object]
    apply: Callable[[View, Any, Context], Outcome]


ACTIONS = (
    Effect(AdmitOrganisation, _admit, _admit),
    Effect(OpenTask, _validate_task, _open_task),
    Effect(RollBackModel, _roll_back, _roll_back),
    Effect(AdmitValidator, _admit_validator, _admit_validator),
    Effect(RemoveValidator, _remove_validator, _remove_validator),
)


def _effect(action: Action) -> Effect:
    return next(effect for effect in ACTIONS if effect.action is type(action))


CONTRACT = Contract(
    name="governance",
    number=9,
    state=(PROPOSALS, COUNTER),
    handlers={Propose: propose, Vote: vote},
    modules=(__name__,),
)
