"""The cheapest transaction that the ledger accepts without end: an organisation names another recipient for payloads.

It reads the key and the organisation, and writes the organisation: a signature, a replay mark and one record of two
hundred bytes. What is as cheap (adding a key, registering a dataset) is capped at 16 for each organisation. A node lets
eight such transactions of one organisation wait, so almost as many sign as the ledger admits.
"""

import secrets
from collections.abc import Iterator, Sequence
from typing import Final

from benchmarks.load.network import Member
from benchmarks.load.steps import Step
from campaigns.harness.recipients import recipient_of
from contracts.identity import ChangeRecipient
from contracts.kernel import limits

MEMBERS: Final = limits.ORGANISATIONS - 8
_RUN: Final = secrets.token_hex(8)  # No recipient is taken twice, also by a second run on one chain.


def changes(members: Sequence[Member], count: int) -> Iterator[Step]:
    """So many changes, every member as often as the others, each to a recipient of its own."""
    for number in range(count):
        recipient = recipient_of(f"{_RUN} {number}")
        yield members[number % len(members)].step(ChangeRecipient(recipient))
