"""Membership: what the members decide about one of them: to suspend, reinstate or remove it, to give it a new key.

All of it is put to the vote through ``governance``, which acts through the effect builders here. A recovery is for a
member that has no human key left: the members vote the new one in, it is announced, and after a delay any member
completes it. Until then any live human key of the organisation cancels it; once it is complete, all the organisation's
earlier human keys are revoked, because whoever holds one had the time to say so. A suspended member's keys cannot
cancel, so members who find a thief in possession suspend first and recover then.

Invariants: at least one member is active, and the quorum is counted over those who are (more than two thirds of n are
at most n), so what the members decide by vote can never leave a vote out of reach; a removed member keeps its name,
its legal identity, its recipient and its spent budgets for ever, so nobody refreshes them.
"""

from dataclasses import replace

from . import electorate, identity, validators
from .electorate import MEMBERSHIP, Standing
from .identity import ORGANISATIONS, Organisation
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
from .kernel.types import OrgId, PublicKey, Purpose, TimeMs
from .possession import NewKey


class Recovery(Record):
    """A human key that the members have voted in for an organisation, and from when on it can be enrolled."""

    key: NewKey
    due: TimeMs


RECOVERIES = Map("membership/recoveries", Recovery, "organisation")


class CancelRecovery(Message, purpose=Purpose.HUMAN, lane=Lane.SAFETY):
    """Say that the sender's organisation still has a human key: this one."""


class CompleteRecovery(Message, purpose=Purpose.HUMAN, lane=Lane.GOVERNANCE):
    """Enrol the key that the members voted in for an organisation, once its delay is over. Any member may."""

    organisation: OrgId


class StandingChanged(Event):
    """A member was suspended, reinstated or removed."""

    organisation: OrgId
    standing: Standing


class RecoveryAnnounced(Event):
    """An organisation gets another human key, and loses those it has, unless one of them cancels it in time."""

    organisation: OrgId
    public: PublicKey
    due: TimeMs


class RecoveryCancelled(Event):
    """A live human key of the organisation cancelled its recovery."""

    organisation: OrgId
    public: PublicKey


class RecoveryCompleted(Event):
    """An organisation has the human key that the members voted in."""

    organisation: OrgId
    public: PublicKey


class LastMember(Rejected, code=1301, hint="Admit or reinstate another member first."):
    """Without this member nobody would be left to vote."""


class NotSuspended(Rejected, code=1302, hint="Nothing to do: `fedledger org show` shows its standing."):
    """Only a suspended member is reinstated."""


class NotAHumanKey(Rejected, code=1303, hint="Recover with a human key; it then enrols the others."):
    """A recovery gives an organisation a human key."""


class NoRecovery(Rejected, code=1304, hint="The members vote one in: `fedledger proposal show`."):
    """No recovery of this organisation is under way."""


class RecoveryNotDue(Rejected, code=1305, hint="Complete it later: the organisation may still cancel it."):
    """The delay in which the organisation may cancel is not over."""


def suspend(view: View, name: OrgId) -> Outcome:
    """Describe suspending an active member. For governance.

    Rejects: UnknownOrganisation, MemberInactive, LastMember.
    """
    return _leaves(view, name, identity.require_active(view, name), Standing.SUSPENDED)


def reinstate(view: View, name: OrgId, ctx: Context) -> Outcome:
    """Describe reinstating a suspended member. For governance. Rejects: UnknownOrganisation, NotSuspended."""
    member = identity.require_member(view, name)
    suspended = member.standing is Standing.SUSPENDED
    require(suspended, lambda: NotSuspended(organisation=name, standing=str(member.standing)))
    counted = electorate.activated(MEMBERSHIP.at(view), ctx.height)
    # A recipient that was out when a round opened does not come in while it is open.
    back = replace(member, standing=Standing.ACTIVE, votes_after=ctx.height, recipient_since=ctx.height)
    return Outcome((ORGANISATIONS.put(name, back), MEMBERSHIP.set(counted)), (StandingChanged(name, Standing.ACTIVE),))


def remove(view: View, name: OrgId) -> Outcome:
    """Describe removing a member for ever, with its validators. For governance.

    Rejects: UnknownOrganisation, MemberInactive, LastMember, LastValidator, PowerConcentrated.
    """
    member = _require_not_removed(view, name)
    pending = () if RECOVERIES.get(view, name) is None else (RECOVERIES.remove(name),)
    return _leaves(view, name, member, Standing.REMOVED) + validators.dismiss(view, name) + Outcome(pending)


def recover(view: View, name: OrgId, key: NewKey, ctx: Context) -> Outcome:
    """Describe announcing a new human key of an organisation. For governance.

    It takes the place of one that is under way, with a delay of its own: a thief who enrols the key that was announced,
    and revokes it, keeps that one from ever being completed.

    Rejects: UnknownOrganisation, MemberInactive, NotAHumanKey, EnrolmentCap, KeyExists, WeakKey, NotInPossession.
    """
    member = _require_not_removed(view, name)
    require(key.purpose is Purpose.HUMAN, lambda: NotAHumanKey(key=key.public))
    require(
        len(member.keys) < limits.KEYS_WITH_RECOVERIES,
        lambda: identity.EnrolmentCap(what="recoveries", limit=limits.KEYS_WITH_RECOVERIES),
    )
    identity.enrol_key(view, name, key, ctx, by=None)  # Whoever could not complete it does not announce it.
    due = ctx.time_ms + limits.RECOVERY_DELAY_MS
    return Outcome((RECOVERIES.put(name, Recovery(key, due)),), (RecoveryAnnounced(name, key.public, due),))


def cancel_recovery(view: View, _msg: CancelRecovery, ctx: Context) -> Outcome:
    """Forget the recovery of the sender's organisation. Rejects: NoRecovery."""
    recovery = _require_recovery(view, ctx.organisation)
    cancelled = RecoveryCancelled(ctx.organisation, recovery.key.public)
    return Outcome((RECOVERIES.remove(ctx.organisation),), (cancelled,))


def complete_recovery(view: View, msg: CompleteRecovery, ctx: Context) -> Outcome:
    """Enrol the key that was voted in, and revoke the organisation's other human keys.

    Rejects: NoRecovery, RecoveryNotDue, KeyExists, WeakKey, NotInPossession.
    """
    name = msg.organisation
    recovery = _require_recovery(view, name)
    require(ctx.time_ms >= recovery.due, lambda: RecoveryNotDue(due=recovery.due, now=ctx.time_ms))
    outcome = identity.enrol_key(view, name, recovery.key, ctx, by=None)
    member = ORGANISATIONS.at(view, name)
    for public in member.keys:
        key = identity.KEYS.at(view, public)
        if key.purpose is Purpose.HUMAN and key.revoked_from is None:
            outcome += identity.revoked(public, key, ctx.place)
    listed = replace(member, keys=(*member.keys, recovery.key.public))
    return outcome + Outcome(
        (ORGANISATIONS.put(name, listed), RECOVERIES.remove(name)), (RecoveryCompleted(name, recovery.key.public),)
    )


def _leaves(view: View, name: OrgId, member: Organisation, standing: Standing) -> Outcome:
    """Describe a member that may act no more. Rejects: LastMember."""
    gone = ORGANISATIONS.put(name, replace(member, standing=standing))
    told = (StandingChanged(name, standing),)
    if member.standing is not Standing.ACTIVE:  # It was counted out when it was suspended.
        return Outcome((gone,), told)
    members = MEMBERSHIP.at(view)
    require(members.active > 1, lambda: LastMember(organisation=name))
    return Outcome((gone, MEMBERSHIP.set(electorate.deactivated(members, member.votes_after))), told)


def _require_not_removed(view: View, name: OrgId) -> Organisation:
    member = identity.require_member(view, name)
    kept = member.standing is not Standing.REMOVED
    require(kept, lambda: identity.MemberInactive(organisation=name, standing=str(member.standing)))
    return member


def _require_recovery(view: View, name: OrgId) -> Recovery:
    return found(RECOVERIES, view, name, lambda: NoRecovery(organisation=name))


CONTRACT = Contract(
    name="membership",
    number=13,
    state=(RECOVERIES,),
    handlers={CancelRecovery: cancel_recovery, CompleteRecovery: complete_recovery},
    modules=(__name__,),
)
