"""The cheapest transaction that the ledger accepts without end: an organisation names another recipient for payloads.

It reads the key and the organisation, and writes the organisation: a signature, a replay mark and one record of two
hundred bytes. What is as cheap (adding a key, registering a dataset) is capped at 16 for each organisation. A node lets
eight such transactions of one organisation wait, so almost as many sign as the ledger admits.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Final

from benchmarks.load.network import Member
from benchmarks.load.steps import Step
from contracts.identity import ChangeRecipient
from contracts.kernel import limits

MEMBERS: Final = limits.ORGANISATIONS - 8
_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"  # Bech32's. The ledger checks the form; nobody encrypts to these.
_CHARS: Final = 58


def changes(members: Sequence[Member], count: int) -> Iterator[Step]:
    """So many changes, every member as often as the others, each to a recipient of its own."""
    for number in range(count):
        recipient = "age1" + "".join(random.choices(_ALPHABET, k=_CHARS))
        yield members[number % len(members)].step(ChangeRecipient(recipient))
