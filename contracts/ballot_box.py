"""The ballot box: what verifiers attest, the copies that they share, and their sealed ballots.

Part of the contract ``ballots``, which takes attestations and ballots, and says what they come to.
"""

from typing import Annotated

from .kernel import (
    Map,
    Place,
    Record,
    View,
    crypto,
    limits,
)
from .kernel.types import (
    Cid,
    Count,
    Digest,
    Items,
    OrgId,
    Positive,
    PublicKey,
    RoundNumber,
    Seats,
    TaskId,
)
from .lineage import Candidate

_SEAL_DOMAIN = "ballot"


class Attestation(Record):
    """Which seats' bytes a verifier holds."""

    organisation: OrgId
    held: Seats


class Attestations(Record):
    """What the verifiers hold of a round."""

    rows: Annotated[tuple[Attestation, ...], Items(0, limits.VERIFIERS_PER_TASK)]


class Copy(Record):
    """Where a verifier keeps a copy of a payload, encrypted anew to all recipients."""

    organisation: OrgId
    cid: Cid
    size: Positive


class Shares(Record):
    """The copies of one seat's payload. What they hold is told by the digest that the seat committed to."""

    copies: Annotated[tuple[Copy, ...], Items(1, limits.VERIFIERS_PER_TASK)]


class Ballot(Record):
    """A verifier's sealed ballot, and what it turned out to say."""

    organisation: OrgId
    seal: Digest
    signer: PublicKey
    place: Place
    opened: Digest | None  # Of the candidate.
    correct: Count  # The score; 0 until it is opened.


class Box(Record):
    """The ballots of a round."""

    ballots: Annotated[tuple[Ballot, ...], Items(0, limits.VERIFIERS_PER_TASK)]


class Statement(Record):
    """What a seal hides: the sender's own work, and 32 random bytes that keep it from being guessed."""

    organisation: OrgId
    task: TaskId
    round: RoundNumber
    salt: Digest
    digest: Digest
    correct: Count


ATTESTATIONS = Map("ballots/attestations", Attestations, "task", "round")
SHARES = Map("ballots/shares", Shares, "task", "round", "organisation")
BOXES = Map("ballots/boxes", Box, "task", "round")
CANDIDATES = Map("ballots/candidates", Candidate, "task", "round", "digest")


def seal_of(statement: Statement) -> Digest:
    """What hides a ballot until it is opened."""
    return crypto.sha256(crypto.tagged(_SEAL_DOMAIN, statement.encode()))


def attestations_of(view: View, task: TaskId, number: RoundNumber) -> tuple[Attestation, ...]:
    """What verifiers have attested in a round so far."""
    record = ATTESTATIONS.get(view, (task, number))
    return record.rows if record else ()


def box_of(view: View, task: TaskId, number: RoundNumber) -> tuple[Ballot, ...]:
    """The ballots of a round so far."""
    record = BOXES.get(view, (task, number))
    return record.ballots if record else ()
