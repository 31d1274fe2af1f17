"""Thefts: a member reports that a key of its own is stolen, as of a place that may lie in the past.

What the key signed from there on counts for nothing. Most of it is judged where it is counted, by
``identity.is_good``: votes, ballots, attestations, alarms, recipients. Two things cannot wait for that, and are done in
the report itself: what those acts earned is taken back, and a commitment to a round in which others still commit is
taken out, because the barrier counts commitments to tell whether anybody has to pay.
"""

from dataclasses import replace

from . import contributions, identity, reputation
from .identity import KEYS, Report
from .kernel import Context, Contract, Lane, Message, Outcome, Place, Rejected, View, limits, require
from .kernel.types import PublicKey, Purpose


class ReportStolenKey(Message, purpose=Purpose.HUMAN, lane=Lane.SAFETY, while_suspended=True):
    """Revoke a key of one's own organisation as of a past place, with the keys that it enrolled from there on."""

    public: PublicKey
    since: Place


class SinceInFuture(Rejected, code=1401, hint="Name the first place at which the key was no longer yours alone."):
    """A key can only be reported stolen as of this transaction or an earlier one."""


class TooFarBack(Rejected, code=1402, hint="Report it as of the earliest block that is allowed."):
    """A report looks back only so far: older work rests on more than one key."""


class ReportedAlready(Rejected, code=1403, hint="Nothing to do: a key is reported once, and stays revoked."):
    """The key was reported stolen before."""


def report_stolen_key(view: View, msg: ReportStolenKey, ctx: Context) -> Outcome:
    """Revoke a key as of a place, and the keys that it enrolled from there on, and those that these enrolled.

    The key that signs the report must stay.

    Rejects: SinceInFuture, TooFarBack, UnknownKey, NotYourKey, ReportedAlready, RevocationMovesLater, LastHumanKey.
    """
    furthest = max(0, ctx.height - limits.LOOK_BACK_BLOCKS)
    require(not ctx.place.precedes(msg.since), lambda: SinceInFuture(since=msg.since.height, height=ctx.height))
    require(msg.since.height >= furthest, lambda: TooFarBack(since=msg.since.height, furthest=furthest))
    stolen = identity.require_own(view, msg.public, ctx)
    again = stolen.reported and identity.is_good(KEYS.at(view, stolen.reported.signer), stolen.reported.place)
    require(not again, lambda: ReportedAlready(key=msg.public))
    identity.require_earlier(stolen, msg.since)
    outcome = identity.revoked(msg.public, replace(stolen, reported=Report(ctx.sender, ctx.place)), msg.since)
    fallen = {msg.public: msg.since}
    for public in identity.ORGANISATIONS.at(view, ctx.organisation).keys:  # Whoever enrolled a key stands before it.
        key = KEYS.at(view, public)
        if key.enrolled_by in fallen and not key.enrolled_at.precedes(fallen[key.enrolled_by]):
            fallen[public] = key.enrolled_at
            if identity.is_good(key, key.enrolled_at):  # Else it was revoked as of before it was enrolled.
                outcome += identity.revoked(public, key, key.enrolled_at)
    require(ctx.sender not in fallen, lambda: identity.LastHumanKey(key=ctx.sender))
    disowned = reputation.disowned(view, ctx.organisation, fallen, ctx)
    return outcome + disowned + contributions.disowned(view, ctx.organisation, fallen, ctx)


CONTRACT = Contract(
    name="thefts", number=14, state=(), handlers={ReportStolenKey: report_stolen_key}, modules=(__name__,)
)
