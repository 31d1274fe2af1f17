"""Upgrades: which version of the rules is in force, since when, and which one comes next.

The members schedule a version for a height through governance, and may call it off in time. The block before that
height is the last one under the old rules; it leads the state over (``transition.turn``), so what is committed always
is a state of the rules that decide the next block. ``abci_app`` tells CometBFT, and headers name the version from that
height on. Version and schedule are one record, which a program reads that knows no later rules: its form is for good.

Left to others: what the versions are (``rulebook``, ``registry``).
"""

from dataclasses import replace
from typing import Annotated

from .kernel import Context, Contract, Event, InvariantBroken, Item, Outcome, Record, Rejected, View, limits, require
from .kernel.types import Height, Range

AppVersion = Annotated[int, Range(1, 2**31)]


class Scheduled(Record):
    """A version that the members have decided on."""

    version: AppVersion
    height: Height  # Of the first block that it decides.


class InForce(Record):
    """The version of the rules that decide the next block, and the one that is to follow."""

    version: AppVersion
    since: Height  # The first block that it decided, or decides next.
    next: Scheduled | None
    called_off: AppVersion | None  # The version that the state could not be led over to, until another is in force.


IN_FORCE = Item("upgrades/in-force", InForce)


class UpgradeScheduled(Event):
    """The members decided on a later version of the rules."""

    version: AppVersion
    height: Height


class UpgradeCancelled(Event):
    """The members decided to stay with the rules that are in force."""

    version: AppVersion


class VersionNotAhead(
    Rejected, code=1101, hint="Name a later version than the one in force: `fedledger upgrade show`."
):
    """The rules of this version, or of a later one, are in force already."""


class UpgradeTooSoon(
    Rejected, code=1102, hint="Name a later height: every operator must install the new version before."
):
    """The height leaves less than the least notice."""


class UpgradePending(Rejected, code=1103, hint="Wait until it has happened, or cancel it first."):
    """Another upgrade is scheduled."""


class NothingScheduled(Rejected, code=1104, hint="Check the version: `fedledger upgrade show`."):
    """No upgrade to this version is scheduled."""


class UpgradeTooLate(Rejected, code=1105, hint="Let it happen, and decide on a version that follows it."):
    """The next block leads over to the new rules: whoever has them not installed has stopped already."""


def begin(version: AppVersion) -> Outcome:
    """Describe the version that a ledger begins with. For genesis."""
    return Outcome((IN_FORCE.set(InForce(version, 1, None, None)),))


def schedule(view: View, wanted: Scheduled, ctx: Context) -> Outcome:
    """Describe scheduling a version. For governance. Rejects: UpgradePending, VersionNotAhead, UpgradeTooSoon."""
    now = IN_FORCE.at(view)
    require(now.next is None, lambda: UpgradePending(version=_coming(now).version, height=_coming(now).height))
    require(wanted.version > now.version, lambda: VersionNotAhead(version=wanted.version, in_force=now.version))
    soonest = ctx.height + limits.UPGRADE_NOTICE_BLOCKS
    require(wanted.height >= soonest, lambda: UpgradeTooSoon(height=wanted.height, soonest=soonest))
    return Outcome(
        (IN_FORCE.set(replace(now, next=wanted)),),
        (UpgradeScheduled(wanted.version, wanted.height),),
    )


def cancel(view: View, version: AppVersion, ctx: Context) -> Outcome:
    """Describe cancelling what is scheduled. For governance. Rejects: NothingScheduled, UpgradeTooLate."""
    now = IN_FORCE.at(view)
    named = now.next is not None and now.next.version == version
    require(named, lambda: NothingScheduled(version=version))
    last = _coming(now).height - 2  # The block after it leads over, and a program without the new rules stops there.
    require(ctx.height <= last, lambda: UpgradeTooLate(version=version, last=last))
    return Outcome((IN_FORCE.set(replace(now, next=None)),), (UpgradeCancelled(version),))


def due(view: View, height: Height) -> Scheduled | None:
    """What the block of this height is to lead over to, as the state after its transactions says."""
    coming = IN_FORCE.at(view).next
    return coming if coming is not None and coming.height == height + 1 else None


def happened(coming: Scheduled) -> Outcome:
    """Describe that a version is in force."""
    return Outcome((IN_FORCE.set(InForce(coming.version, coming.height, None, None)),))


def called_off(view: View, coming: Scheduled) -> Outcome:
    """Describe that the rules stay, because the state could not be led over."""
    return Outcome((IN_FORCE.set(replace(IN_FORCE.at(view), next=None, called_off=coming.version)),))


def _coming(now: InForce) -> Scheduled:
    if now.next is None:
        raise InvariantBroken("no upgrade is scheduled")
    return now.next


CONTRACT = Contract(name="upgrades", number=11, state=(IN_FORCE,), handlers={}, modules=(__name__,))
