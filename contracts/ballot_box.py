"""The ballot box: what verifiers attest, the copies that they share, their sealed ballots, and what these owe.

Part of the contract ``ballots``, which takes attestations and ballots, and says what they come to for the round. What
they come to for those who cast them is here, because ``models`` settles it too, when a version falls from under a
round: a debt that is due is not paid by a round's end.
"""

from typing import Annotated

from . import contributions, identity, reputation, rounds, tasks
from .kernel import (
    Context,
    InvariantBroken,
    Map,
    Outcome,
    Place,
    Record,
    View,
    bitmap,
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
    SeatNumber,
    Seats,
    TaskId,
)
from .lineage import VERDICTS, Candidate, Finding
from .reputation import Act, Judged, Verdict
from .rounds import Round
from .terms import Phase, Terms, needed_votes

_SEAL_DOMAIN = "ballot"


class Attestation(Record):
    """Which seats' bytes a verifier holds."""

    organisation: OrgId
    held: Seats
    signer: PublicKey
    place: Place


class Attestations(Record):
    """What the verifiers hold of a round."""

    rows: Annotated[tuple[Attestation, ...], Items(0, limits.VERIFIERS_PER_TASK)]


class Copy(Record):
    """Where a verifier keeps a copy of a payload, encrypted anew to all recipients."""

    organisation: OrgId
    cid: Cid
    size: Positive
    signer: PublicKey
    place: Place


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


def stands(view: View, said: Attestation | Copy | Ballot) -> bool:
    """Whether the key that signed it was good there, by all that is known now. If not, its owner may say it anew."""
    return identity.is_good(identity.KEYS.at(view, said.signer), said.place)


def available(view: View, terms: Terms, current: Round, rows: tuple[Attestation, ...]) -> tuple[SeatNumber, ...]:
    """The seats that f_v + 1 verifiers hold, their owners left out: one of these is honest, and can serve the rest."""
    rows = tuple(row for row in rows if stands(view, row))
    seats = bitmap.numbers(current.committed)
    owners = tasks.organisations_of(view, terms.task, current.committed)
    return tuple(
        seat
        for seat, owner in zip(seats, owners, strict=True)
        if sum(row.organisation != owner and bitmap.has(row.held, seat) for row in rows) > terms.verifier_faults
    )


def missing(view: View, terms: Terms, current: Round, rows: tuple[Attestation, ...]) -> tuple[Judged, ...]:
    """Whom a quorum of attestations blames; without that quorum, nobody."""
    if sum(stands(view, row) for row in rows) < needed_votes(terms):
        return ()
    there = available(view, terms, current, rows)
    absent = bitmap.of(seat for seat in bitmap.numbers(current.committed) if seat not in there)
    return tuple(Judged(owner, Verdict.MISSING) for owner in tasks.organisations_of(view, terms.task, absent))


def agreeing(view: View, terms: Terms, box: tuple[Ballot, ...]) -> tuple[Ballot, ...]:
    """The ballots that agree, if they are enough; those of a key that was not good count for nothing."""
    good = tuple(ballot for ballot in box if ballot.opened and stands(view, ballot))
    for digest in dict.fromkeys(ballot.opened for ballot in good):
        alike = tuple(ballot for ballot in good if ballot.opened == digest)
        if len(alike) >= needed_votes(terms):
            return alike
    return ()


def earned(
    view: View, box: tuple[Ballot, ...], quorum: tuple[Ballot, ...], *, over: bool = True, anew: bool = False
) -> tuple[Judged, ...]:
    """What the ballots say of those who cast them.

    None is late before the phase is over, nor whose member may not act; when ballots are cast anew, those earn it.
    """
    digest = quorum[0].opened if quorum else None
    verdicts: list[Judged] = []
    for ballot in box:
        if ballot.opened is None:
            late = over and identity.is_active(view, ballot.organisation)
            verdicts += [Judged(ballot.organisation, Verdict.UNOPENED)] if late else []
        elif ballot in quorum and not anew:
            verdicts.append(Judged(ballot.organisation, Verdict.CONFIRMED, Act(ballot.signer, ballot.place)))
        elif digest is not None and ballot.opened != digest:
            verdicts.append(Judged(ballot.organisation, Verdict.CONTRADICTED))
    return tuple(verdicts)


def refused(candidate: Candidate) -> tuple[SeatNumber, ...]:
    """The seats whose payloads are no use, which does not depend on what others committed."""
    found = zip(bitmap.numbers(candidate.agreed), candidate.judgements, strict=True)
    return tuple(seat for seat, byte in found if VERDICTS[Finding(byte)] is Verdict.REFUSED)


def judged(
    view: View, number: RoundNumber, candidate: Candidate, tainted: tuple[SeatNumber, ...], *, anew: bool = False
) -> tuple[Judged, ...]:
    """What the recomputation says of those whose payloads it was over.

    A refusal stays whatever becomes of the round: no report of a stolen key pays a debt. Of a tainted seat nothing else
    is said, and of the others nothing yet when they will be judged anew, nor anything when nothing follows from theirs.
    """
    only_refusals = anew or candidate.artefact is None
    owners = tasks.organisations_of(view, candidate.task, candidate.agreed)
    seats = bitmap.numbers(candidate.agreed)
    found = zip(seats, owners, (VERDICTS[Finding(byte)] for byte in candidate.judgements), strict=True)
    return tuple(
        Judged(owner, verdict, act_of(view, candidate.task, number, owner))
        for seat, owner, verdict in found
        if verdict is Verdict.REFUSED or not (only_refusals or seat in tainted)
    )


def act_of(view: View, task: TaskId, number: RoundNumber, owner: OrgId) -> Act:
    """The commitment of a seat in the agreed set."""
    made = contributions.SEATS.at(view, (task, number, owner)).commitment
    if made is None:
        raise InvariantBroken(f"{owner} is in the agreed set of round {number} of {task}, and committed nothing")
    return Act(made.signer, made.place)


def tainted_of(view: View, task: TaskId, number: RoundNumber, seats: Seats) -> tuple[int, ...]:
    """The seats of a set whose key, it turned out since, was not good when it committed."""
    owners = tasks.organisations_of(view, task, seats)
    paired = zip(bitmap.numbers(seats), owners, strict=True)
    seat_of = contributions.SEATS.at
    return tuple(
        seat for seat, owner in paired if not contributions.is_untainted(view, seat_of(view, (task, number, owner)))
    )


def emptied(view: View, task: TaskId, number: RoundNumber, box: tuple[Ballot, ...]) -> Outcome:
    """Drop the candidates that were opened: the one that counts is in its version."""
    keys = ((task, number, digest) for digest in dict.fromkeys(ballot.opened for ballot in box) if digest is not None)
    return Outcome(tuple(CANDIDATES.remove(key) for key in keys if CANDIDATES.get(view, key) is not None))


def abandoned(view: View, task: TaskId, ctx: Context) -> Outcome:
    """Settle what is due in a task's last round, which is about to lose its base. For models."""
    number = tasks.TASKS.at(view, task).rounds
    current = rounds.ROUNDS.get(view, (task, number))
    if current is None:
        return Outcome()
    terms, over = tasks.TERMS.at(view, task), rounds.is_over(current, ctx.time_ms, ctx.height)
    match current.phase:
        case Phase.ATTESTING if over:
            return reputation.settle(view, missing(view, terms, current, attestations_of(view, task, number)), ctx)
        case Phase.OPENING:
            box = box_of(view, task, number)
            quorum = agreeing(view, terms, box)
            due = earned(view, box, quorum, over=over)
            if quorum and quorum[0].opened is not None:
                candidate = CANDIDATES.at(view, (task, number, quorum[0].opened))
                due += judged(view, number, candidate, tainted_of(view, task, number, current.agreed))
            return reputation.settle(view, due, ctx) + emptied(view, task, number, box)
        case _:
            return Outcome()
