"""Governance: what the members decide together, one organisation one vote, by human keys.

An action is one of a closed table of (validate, apply): admission of an organisation, its suspension, reinstatement,
removal and a lost key's replacement, the opening of a task, a rollback, admission and removal of a validator, and an
upgrade of the rules. It passes with the votes of more than two thirds of the members that are active when it is
settled; a newcomer is one of them from the block after its admission on. A vote counts while its member is active and
its key was good where it signed, by all that is known when the votes are counted. What passed is applied in the block
of the vote that settles it. Nothing here is generic dispatch: an action that is not in the table does not exist.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Any

from . import electorate, identity, membership, models, tasks, upgrades, validators
from .admission import Admission
from .kernel import (
    Context,
    Contract,
    Event,
    Item,
    Lane,
    Map,
    Message,
    Outcome,
    Place,
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
from .possession import NewKey
from .terms import Terms
from .upgrades import AppVersion, Scheduled
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


class ScheduleUpgrade(Record):
    """Go over to a later version of the rules at a height."""

    version: AppVersion
    height: Height  # Of the first block under the new rules; the block before leads over.


class CancelUpgrade(Record):
    """Stay with the rules that are in force."""

    version: AppVersion


class SuspendMember(Record):
    """Let an organisation's keys do nothing for now, but revoke keys and report stolen ones."""

    organisation: OrgId
    reason: Reason


class ReinstateMember(Record):
    """Let a suspended organisation act again."""

    organisation: OrgId


class RemoveMember(Record):
    """End an organisation's membership, and its validators, for ever."""

    organisation: OrgId
    reason: Reason


class RecoverKey(Record):
    """Give an organisation without a human key another one, after a delay in which it may say that it has one."""

    organisation: OrgId
    key: NewKey


Action = (
    AdmitOrganisation
    | OpenTask
    | RollBackModel
    | AdmitValidator
    | RemoveValidator
    | ScheduleUpgrade
    | CancelUpgrade
    | SuspendMember
    | ReinstateMember
    | RemoveMember
    | RecoverKey
)


class ProposalStatus(StrEnum):
    """Where a proposal stands."""

    OPEN = "open"
    PASSED = "passed"
    DEFEATED = "defeated"
    FAILED = "failed"  # It passed, but could no longer be applied.


class Ballot(Record):
    """A member's vote: the key that signed it, and where."""

    organisation: OrgId
    signer: PublicKey
    place: Place


class Proposal(Record):
    """A proposed action and its votes; the first approval is the proposer's own."""

    action: Action
    proposer: OrgId
    signer: PublicKey
    opened_at: Place
    expires_at: TimeMs
    approvals: Annotated[tuple[Ballot, ...], Items(0, limits.ORGANISATIONS)]
    rejections: Annotated[tuple[Ballot, ...], Items(0, limits.ORGANISATIONS)]
    status: ProposalStatus


class OpenProposals(Record):
    """The proposals of a member that may still be open; those that are not make room when the next one is made."""

    numbers: Annotated[tuple[Positive, ...], Items(0, limits.OPEN_PROPOSALS_PER_MEMBER)]


class Counter(Record):
    """The number of the newest proposal."""

    proposals: Count


PROPOSALS = Map("governance/proposals", Proposal, "number")
OPEN = Map("governance/open", OpenProposals, "organisation")
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


class NotInElectorate(Rejected, code=904, hint="Send it again: the vote counts from the next block on."):
    """The organisation was admitted or reinstated in this very block."""


class ProposalDisowned(Rejected, code=905, hint="Propose the action again with a key that is good."):
    """The key that made the proposal was stolen when it did, as its organisation reported later."""


class TooManyOpen(Rejected, code=906, hint="Wait until one of them is decided or expires."):
    """The organisation has as many open proposals as it may."""


def require_proposal(view: View, number: Positive) -> Proposal:
    """The proposal of this number. Rejects: UnknownProposal."""
    return found(PROPOSALS, view, number, lambda: UnknownProposal(proposal=number))


def propose(view: View, msg: Propose, ctx: Context) -> Outcome:
    """Put an action to the vote. Rejects: NotInElectorate, TooManyOpen, and whatever applying it now would reject."""
    _require_vote(view, ctx)
    still = tuple(number for number in _open(view, ctx.organisation) if _may_pass(view, number, ctx))
    most = limits.OPEN_PROPOSALS_PER_MEMBER
    require(len(still) < most, lambda: TooManyOpen(organisation=ctx.organisation, limit=most))
    _effect(msg.action).validate(view, msg.action, ctx)  # What cannot be applied is not voted on.
    number = (COUNTER.get(view) or Counter(0)).proposals + 1
    proposal = Proposal(
        action=msg.action,
        proposer=ctx.organisation,
        signer=ctx.sender,
        opened_at=ctx.place,
        expires_at=ctx.time_ms + limits.PROPOSAL_MS,
        approvals=(_ballot(ctx),),
        rejections=(),
        status=ProposalStatus.OPEN,
    )
    counted = Outcome(
        (COUNTER.set(Counter(number)), OPEN.put(ctx.organisation, OpenProposals((*still, number)))),
        (Proposed(number, ctx.organisation),),
    )
    return counted + _tally(view, number, proposal, ctx)


def vote(view: View, msg: Vote, ctx: Context) -> Outcome:
    """Count a vote and apply the action when it settles it.

    Rejects: UnknownProposal, ProposalClosed, ProposalDisowned, NotInElectorate, VotedAlready.
    """
    proposal = require_proposal(view, msg.proposal)
    live = proposal.status is ProposalStatus.OPEN and ctx.time_ms < proposal.expires_at
    require(live, lambda: ProposalClosed(proposal=msg.proposal, status=proposal.status))
    require(_is_owned(view, proposal), lambda: ProposalDisowned(proposal=msg.proposal, key=proposal.signer))
    _require_vote(view, ctx)
    for ballot in (*proposal.approvals, *proposal.rejections):
        again = ballot.organisation == ctx.organisation and _counts(view, ballot, ctx)
        require(not again, lambda: VotedAlready(organisation=ctx.organisation))
    others = replace(
        proposal,
        approvals=tuple(ballot for ballot in proposal.approvals if ballot.organisation != ctx.organisation),
        rejections=tuple(ballot for ballot in proposal.rejections if ballot.organisation != ctx.organisation),
    )
    if msg.approve:
        counted = replace(others, approvals=(*others.approvals, _ballot(ctx)))
    else:
        counted = replace(others, rejections=(*others.rejections, _ballot(ctx)))
    announced = Outcome((), (Voted(msg.proposal, ctx.organisation, msg.approve),))
    return announced + _tally(view, msg.proposal, counted, ctx)


def _tally(view: View, number: int, proposal: Proposal, ctx: Context) -> Outcome:
    voters = electorate.voters(view, ctx.height)
    needed = quorum(voters)
    if _are(needed, proposal.approvals, view, ctx):
        return _apply(view, number, proposal, ctx)
    if _are(voters - needed + 1, proposal.rejections, view, ctx):
        return _decided(number, proposal, ProposalStatus.DEFEATED, 0)
    return Outcome((PROPOSALS.put(number, proposal),))


def _are(needed: int, ballots: tuple[Ballot, ...], view: View, ctx: Context) -> bool:
    """Whether so many of the ballots count. They are only looked at one by one when there are enough of them."""
    return len(ballots) >= needed and len([ballot for ballot in ballots if _counts(view, ballot, ctx)]) >= needed


def _counts(view: View, ballot: Ballot, ctx: Context) -> bool:
    """Whether its member is of the electorate, and its key was good where it signed, by all that is known now.

    Not only active: the quorum leaves out who was reinstated in this block, and so must what is counted against it.
    """
    good = identity.is_good(identity.KEYS.at(view, ballot.signer), ballot.place)
    return good and identity.has_vote(identity.ORGANISATIONS.at(view, ballot.organisation), ctx.height)


def _is_owned(view: View, proposal: Proposal) -> bool:
    """Whether the key that made the proposal was good when it did, by all that is known now."""
    return identity.is_good(identity.KEYS.at(view, proposal.signer), proposal.opened_at)


def _open(view: View, organisation: OrgId) -> tuple[int, ...]:
    noted = OPEN.get(view, organisation)
    return () if noted is None else noted.numbers


def _may_pass(view: View, number: int, ctx: Context) -> bool:
    proposal = PROPOSALS.at(view, number)
    live = proposal.status is ProposalStatus.OPEN and ctx.time_ms < proposal.expires_at
    return live and _is_owned(view, proposal)


def _require_vote(view: View, ctx: Context) -> None:
    """Rejects: NotInElectorate."""
    member = identity.ORGANISATIONS.at(view, ctx.organisation)
    require(identity.has_vote(member, ctx.height), lambda: NotInElectorate(organisation=ctx.organisation))


def _ballot(ctx: Context) -> Ballot:
    return Ballot(ctx.organisation, ctx.sender, ctx.place)


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
    tasks.require_openable(view, action.terms)
    models.require_new(view, action.terms.model)


def _open_task(view: View, action: OpenTask, ctx: Context) -> Outcome:
    return tasks.open_task(view, action.terms, ctx) + models.register_model(view, action.terms, ctx)


def _roll_back(view: View, action: RollBackModel, ctx: Context) -> Outcome:
    return models.roll_back(view, action.model, action.version, action.reason, ctx)


def _admit_validator(view: View, action: AdmitValidator, ctx: Context) -> Outcome:
    return validators.admit(view, action.validator, action.replaces, ctx)


def _remove_validator(view: View, action: RemoveValidator, _ctx: Context) -> Outcome:
    return validators.remove(view, action.validator)


def _schedule_upgrade(view: View, action: ScheduleUpgrade, ctx: Context) -> Outcome:
    return upgrades.schedule(view, Scheduled(action.version, action.height), ctx)


def _cancel_upgrade(view: View, action: CancelUpgrade, ctx: Context) -> Outcome:
    return upgrades.cancel(view, action.version, ctx)


def _suspend(view: View, action: SuspendMember, _ctx: Context) -> Outcome:
    return membership.suspend(view, action.organisation)


def _reinstate(view: View, action: ReinstateMember, ctx: Context) -> Outcome:
    return membership.reinstate(view, action.organisation, ctx)


def _remove(view: View, action: RemoveMember, _ctx: Context) -> Outcome:
    return membership.remove(view, action.organisation)


def _recover(view: View, action: RecoverKey, ctx: Context) -> Outcome:
    return membership.recover(view, action.organisation, action.key, ctx)


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
    Effect(ScheduleUpgrade, _schedule_upgrade, _schedule_upgrade),
    Effect(CancelUpgrade, _cancel_upgrade, _cancel_upgrade),
    Effect(SuspendMember, _suspend, _suspend),
    Effect(ReinstateMember, _reinstate, _reinstate),
    Effect(RemoveMember, _remove, _remove),
    Effect(RecoverKey, _recover, _recover),
)


def _effect(action: Action) -> Effect:
    return next(effect for effect in ACTIONS if effect.action is type(action))


CONTRACT = Contract(
    name="governance",
    number=9,
    state=(PROPOSALS, OPEN, COUNTER),
    handlers={Propose: propose, Vote: vote},
    modules=(__name__,),
)
