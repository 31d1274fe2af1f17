"""Contributions: reserve → (train) → commit; a seat is a record of its own.

The order is the protection: budget is held *before* training, and spent at the round's barrier, when nobody can commit
any more; only then may a payload leave its house. A commitment names the payload by the CID of the ciphertext and a
*salted* digest of the plaintext (the salt is inside it: without it, a small update could be found by trying), the
version it was trained from, the mechanism that ran, and the code. A restart sends the same bytes again and never
trains twice under one reservation.

Until training starts a seat withdraws for nothing. Afterwards who does not commit pays, because its absence could
depend on its data.

Invariants: an organisation has at most one seat in a round, and one commitment; no commitment without a hold; nothing
is accepted from a key at or above its revocation height.
"""

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Annotated

from . import identity, privacy_budget, reputation, rounds, tasks
from .kernel import (
    Context,
    Contract,
    Event,
    Lane,
    Map,
    Message,
    Outcome,
    Place,
    Record,
    Rejected,
    View,
    bitmap,
    found,
    require,
)
from .kernel.types import (
    Cid,
    DatasetId,
    Digest,
    OrgId,
    Positive,
    PublicKey,
    Purpose,
    Range,
    Role,
    RoundNumber,
    SeatNumber,
    TaskId,
    VersionNumber,
)
from .privacy_budget import Hold
from .rounds import Moved, Round
from .terms import Mechanism, Phase, Terms


class NoiseSource(StrEnum):
    """Where sampling and noise came from. Only the operating system's entropy makes a contribution private."""

    OS_ENTROPY = "os-entropy"
    REPRODUCIBLE = "reproducible"


class Commitment(Record):
    """What was committed, by which key, at which height."""

    signer: PublicKey
    place: Place
    cid: Cid
    digest: Digest
    size: Positive
    code: Digest


class Seat(Record):
    """An organisation's place in one round: the dataset that pays, its weight as of the reservation, its commitment."""

    number: SeatNumber
    dataset: DatasetId
    weight: Annotated[int, Range(reputation.WEIGHT_FLOOR, reputation.WEIGHT_CAP)]
    commitment: Commitment | None


SEATS = Map("contributions/seats", Seat, "task", "round", "organisation")


class Reserve(Message, purpose=Purpose.WORKLOAD, role=Role.DATA_OWNER, lane=Lane.CONTRIBUTION):
    """Take the sender's seat in a round; this dataset pays for it."""

    task: TaskId
    round: RoundNumber
    dataset: DatasetId


class Withdraw(Message, purpose=Purpose.WORKLOAD, role=Role.DATA_OWNER, lane=Lane.CONTRIBUTION):
    """Give a seat back before training starts; its price is free again."""

    task: TaskId
    round: RoundNumber


class Commit(Message, purpose=Purpose.WORKLOAD, role=Role.DATA_OWNER, lane=Lane.CONTRIBUTION):
    """Commit to a trained update."""

    task: TaskId
    round: RoundNumber
    cid: Cid  # Of the ciphertext.
    digest: Digest  # SHA-256 of the plaintext payload, which holds a salt.
    size: Positive  # Bytes of the ciphertext.
    base: VersionNumber
    mechanism: Mechanism
    noise: NoiseSource
    code: Digest  # SHA-256 of the training code the participant ran.


class Reserved(Event):
    """An organisation may train in a round, if enough others do; the price is held back."""

    task: TaskId
    round: RoundNumber
    organisation: OrgId
    dataset: DatasetId
    seat: SeatNumber


class Withdrawn(Event):
    """A seat was given back."""

    task: TaskId
    round: RoundNumber
    organisation: OrgId


class Committed(Event):
    """An update was committed to."""

    task: TaskId
    round: RoundNumber
    organisation: OrgId
    cid: Cid


class Disowned(Event):
    """A commitment was taken out, because a stolen key made it."""

    task: TaskId
    round: RoundNumber
    organisation: OrgId


class AlreadyReserved(Rejected, code=701, hint="Commit under the seat you hold; an organisation has one in a round."):
    """The organisation has a seat in this round."""


class NotReserved(Rejected, code=702, hint="Reserve before you train: the budget is held first."):
    """The organisation has no seat in this round."""


class AlreadyCommitted(Rejected, code=703, hint="Nothing to do: the first commitment stands."):
    """The seat has a commitment."""


class WrongMechanism(Rejected, code=704, hint="Train with exactly the mechanism of the terms."):
    """The mechanism that ran is not the one the terms name and the budget is charged for."""


class WrongBase(Rejected, code=705, hint="Train from the version that the round names."):
    """The update was trained from another version than the round's base."""


class NotPrivate(Rejected, code=706, hint="Run without the reproducible mode; it is for tests only."):
    """Noise and sampling did not come from the operating system's entropy."""


class PayloadTooLarge(Rejected, code=707, hint="The terms bound a payload's size; check compression and layout."):
    """The payload is larger than the terms allow."""


def reserve(view: View, msg: Reserve, ctx: Context) -> Outcome:
    """Hold back the round's price; when everybody who was invited has reserved, training starts.

    Rejects: UnknownTask, UnknownRound, WrongPhase, PhaseOver, NotJoined, JoinedTooLate, AlreadyReserved,
    TooLittleReputation, BudgetExceeded, TooManyHolds.
    """
    current = rounds.require_round(view, msg.task, msg.round)
    rounds.require_phase(current, Phase.RESERVING, ctx)
    part = tasks.require_participation(view, msg.task, ctx.organisation)
    require(msg.dataset in part.datasets, lambda: tasks.NotJoined(task=msg.task, dataset=msg.dataset))
    require(part.from_round <= msg.round, lambda: rounds.JoinedTooLate(from_round=part.from_round))
    taken = bitmap.has(current.reserved, part.number)
    require(not taken, lambda: AlreadyReserved(organisation=ctx.organisation))
    terms = tasks.TERMS.at(view, msg.task)
    weight = reputation.weight(tasks.require_reputation(view, terms, ctx.organisation, ctx.time_ms))
    held = privacy_budget.hold(view, ctx.organisation, msg.dataset, Hold(msg.task, msg.round, part.number), ctx)
    seated = replace(current, reserved=bitmap.plus(current.reserved, part.number))
    everybody = bitmap.is_within(current.invited, seated.reserved)
    after = rounds.after_reserving(view, msg.task, msg.round, seated, terms, ctx) if everybody else Moved(seated)
    seat = SEATS.put((msg.task, msg.round, ctx.organisation), Seat(part.number, msg.dataset, weight, None))
    reserved = Reserved(msg.task, msg.round, ctx.organisation, msg.dataset, part.number)
    writes = (seat, rounds.put(msg.task, msg.round, after.round))
    return held + Outcome(writes, (reserved,)) + after.outcome


def withdraw(view: View, msg: Withdraw, ctx: Context) -> Outcome:
    """Give a seat and its hold back. Rejects: UnknownTask, UnknownRound, WrongPhase, PhaseOver, NotReserved."""
    current = rounds.require_round(view, msg.task, msg.round)
    rounds.require_phase(current, Phase.RESERVING, ctx)
    seat = require_seat(view, msg.task, msg.round, ctx.organisation)
    released = privacy_budget.release(view, ctx.organisation, seat.dataset, Hold(msg.task, msg.round, seat.number), ctx)
    emptied = replace(current, reserved=bitmap.minus(current.reserved, seat.number))
    writes = (SEATS.remove((msg.task, msg.round, ctx.organisation)), rounds.put(msg.task, msg.round, emptied))
    return released + Outcome(writes, (Withdrawn(msg.task, msg.round, ctx.organisation),))


def commit(view: View, msg: Commit, ctx: Context) -> Outcome:
    """Record what was committed; when every seat has committed, the barrier is reached.

    Rejects: UnknownTask, UnknownRound, WrongPhase, PhaseOver, NotReserved, AlreadyCommitted, WrongMechanism,
    WrongBase, NotPrivate, PayloadTooLarge.
    """
    stored = rounds.require_round(view, msg.task, msg.round)
    terms = tasks.TERMS.at(view, msg.task)
    found_now = rounds.as_of_now(view, msg.task, msg.round, stored, terms, ctx)
    current = found_now.round
    rounds.require_phase(current, Phase.COMMITTING, ctx)
    seat = require_seat(view, msg.task, msg.round, ctx.organisation)
    require(seat.commitment is None, lambda: AlreadyCommitted(organisation=ctx.organisation))
    _require_as_agreed(msg, terms, current)
    commitment = Commitment(ctx.sender, ctx.place, msg.cid, msg.digest, msg.size, msg.code)
    marked = replace(current, committed=bitmap.plus(current.committed, seat.number))
    everybody = marked.committed == marked.reserved
    after = rounds.after_committing(msg.task, msg.round, marked, terms, ctx) if everybody else Moved(marked)
    key = (msg.task, msg.round, ctx.organisation)
    writes = (SEATS.put(key, replace(seat, commitment=commitment)), rounds.put(msg.task, msg.round, after.round))
    committed = Committed(msg.task, msg.round, ctx.organisation, msg.cid)
    return found_now.outcome + Outcome(writes, (committed,)) + after.outcome


def disowned(view: View, organisation: OrgId, since: Mapping[PublicKey, Place], ctx: Context) -> Outcome:
    """Take out what these keys committed from these places on, in rounds in which others still commit. For thefts.

    So the barrier counts only what stands, and tells rightly whether anybody has to pay. The seat may commit anew.
    """
    outcome = Outcome()
    for hold in privacy_budget.organisation_account(view, organisation, ctx).holds:
        current = rounds.ROUNDS.at(view, (hold.task, hold.round))
        seat = SEATS.at(view, (hold.task, hold.round, organisation))
        made = seat.commitment
        if made is None or made.signer not in since or made.place.precedes(since[made.signer]):
            continue
        left = replace(current, committed=bitmap.minus(current.committed, seat.number))
        outcome += Outcome(
            (
                SEATS.put((hold.task, hold.round, organisation), replace(seat, commitment=None)),
                rounds.put(hold.task, hold.round, left),
            ),
            (Disowned(hold.task, hold.round, organisation),),
        )
    return outcome


def require_seat(view: View, task: TaskId, number: RoundNumber, organisation: OrgId) -> Seat:
    """The organisation's seat in a round. Rejects: NotReserved."""
    return found(SEATS, view, (task, number, organisation), lambda: NotReserved(organisation=organisation))


def is_untainted(view: View, seat: Seat) -> bool:
    """Whether a seat has a commitment whose key, by all that is known now, was good when it signed."""
    made = seat.commitment
    return made is not None and identity.is_good(identity.KEYS.at(view, made.signer), made.place)


def _require_as_agreed(msg: Commit, terms: Terms, current: Round) -> None:
    require(msg.mechanism == terms.mechanism, lambda: WrongMechanism(task=msg.task))
    require(msg.base == current.base, lambda: WrongBase(base=msg.base, wanted=current.base))
    require(msg.noise is NoiseSource.OS_ENTROPY, lambda: NotPrivate(noise=msg.noise))
    most = terms.update.max_bytes
    require(msg.size <= most, lambda: PayloadTooLarge(size=msg.size, limit=most))


CONTRACT = Contract(
    name="contributions",
    number=7,
    state=(SEATS,),
    handlers={Reserve: reserve, Withdraw: withdraw, Commit: commit},
    modules=(__name__,),
)
