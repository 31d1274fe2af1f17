"""The electorate: how many members are active, and how many of them have a vote in a block.

Part of the contract ``identity``, whose organisations have a standing. A member's vote counts from the block after its
admission or reinstatement on, so nobody becomes a voter in the block in which a vote is settled.
"""

from dataclasses import replace
from enum import StrEnum

from .kernel import Item, Record, View
from .kernel.types import Count, Height


class Standing(StrEnum):
    """What a member is to the others now. Who was removed never comes back, nor anybody under its name."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REMOVED = "removed"


class Membership(Record):
    """How many organisations were ever members, how many are active, and how many of these are new to the vote."""

    organisations: Count
    active: Count
    newest: Height  # Of the last admission or reinstatement.
    newcomers: Count  # Active since that block.


MEMBERSHIP = Item("identity/membership", Membership)
NOBODY = Membership(0, 0, 0, 0)


def voters(view: View, height: Height) -> int:
    """How many members have a vote in a block."""
    members = MEMBERSHIP.at(view)
    return members.active - (members.newcomers if members.newest == height else 0)


def activated(members: Membership, height: Height) -> Membership:
    """The count of members once one more is active, from this block on."""
    newcomers = members.newcomers if members.newest == height else 0
    return replace(members, active=members.active + 1, newest=height, newcomers=newcomers + 1)


def deactivated(members: Membership, since: Height) -> Membership:
    """The count of members once one that was active since a block is so no more."""
    newcomers = members.newcomers - (1 if since == members.newest else 0)
    return replace(members, active=members.active - 1, newcomers=newcomers)
