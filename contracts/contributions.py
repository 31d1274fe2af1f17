"""Contributions: reserve → commit → published | missing.

The order is the protection: budget is held *before* training, spent when the signed commitment is accepted, and only
then is the payload served. A commitment names the payload (CID of the ciphertext, digest of the plaintext, size), the
version it was trained from, the mechanism that ran, and the code; a restart sends the same bytes again and never
trains twice under one reservation.

Invariants: a dataset has at most one commitment in a round; no commitment without a live hold, so none without a
debit; nothing is accepted from a key at or above its revocation height.
"""

from enum import StrEnum

from . import privacy_budget, rounds
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
    Write,
    crypto,
    found,
    require,
)
from .kernel.types import (
    Cid,
    DatasetId,
    Digest,
    Height,
    OrgId,
    Positive,
    PublicKey,
    Purpose,
    Role,
    RoundNumber,
    TaskId,
    TimeMs,
    VersionNumber,
)
from .rounds import Progress, Round
from .terms import Mechanism, Terms


class NoiseSource(StrEnum):
    """Where sampling and noise came from. Only the operating system's entropy makes a contribution private."""

    OS_ENTROPY = "os-entropy"
    REPRODUCIBLE = "reproducible"


class Reservation(Record):
    """The right to train once: who reserved, when, and until when the hold lasts."""

    signer: PublicKey
    height: Height
    until: TimeMs


class Commitment(Record):
    """What was committed, by which key, at which height."""

    signer: PublicKey
    height: Height
    cid: Cid
    digest: Digest
    size: Positive
    code: Digest


RESERVATIONS = Map("contributions/reservations", Reservation, "task", "round", "organisation", "dataset")
COMMITMENTS = Map("contributions/commitments", Commitment, "task", "round", "organisation", "dataset")


class Reserve(Message, purpose=Purpose.WORKLOAD, role=Role.DATA_OWNER, lane=Lane.CONTRIBUTION):
    """Ask for the right to train in a round: its price is held back until the commitment or the deadline."""

    task: TaskId
    round: RoundNumber
    dataset: DatasetId


class Commit(Message, purpose=Purpose.WORKLOAD, role=Role.DATA_OWNER, lane=Lane.CONTRIBUTION):
    """Commit to a trained update; its price becomes spent."""

    task: TaskId
    round: RoundNumber
    dataset: DatasetId
    cid: Cid  # Of the ciphertext.
    digest: Digest  # SHA-256 of the plaintext payload.
    size: Positive  # Bytes of the ciphertext.
    base: VersionNumber
    mechanism: Mechanism
    noise: NoiseSource
    code: Digest  # SHA-256 of the training code the participant ran.


class Publish(Message, purpose=Purpose.WORKLOAD, role=Role.DATA_OWNER, lane=Lane.CONTRIBUTION):
    """State that the committed payload can now be fetched by its CID."""

    task: TaskId
    round: RoundNumber
    dataset: DatasetId


class Reserved(Event):
    """A dataset may train in a round; its price is held back."""

    task: TaskId
    round: RoundNumber
    organisation: OrgId
    dataset: DatasetId
    until: TimeMs


class Committed(Event):
    """An update was committed to; its price is spent."""

    task: TaskId
    round: RoundNumber
    organisation: OrgId
    dataset: DatasetId
    cid: Cid


class Published(Event):
    """A committed payload can be fetched."""

    task: TaskId
    round: RoundNumber
    organisation: OrgId
    dataset: DatasetId
    cid: Cid


class AlreadyReserved(Rejected, code=701, hint="Commit under the reservation you hold; a round has one per dataset."):
    """The dataset has a reservation in this round."""


class NotReserved(Rejected, code=702, hint="Reserve before you train: the budget is debited first."):
    """The dataset has no reservation in this round."""


class AlreadyCommitted(Rejected, code=703, hint="Nothing to do: the first commitment stands."):
    """The dataset has a commitment in this round."""


class NotCommitted(Rejected, code=704, hint="Commit before you publish."):
    """The dataset has no commitment in this round."""


class AlreadyPublished(Rejected, code=705, hint="Nothing to do."):
    """The commitment is marked as published."""


class WrongMechanism(Rejected, code=706, hint="Train with exactly the mechanism of the terms."):
    """The mechanism that ran is not the one the terms name and the budget was charged for."""


class WrongBase(Rejected, code=707, hint="Train from the version that the round names."):
    """The update was trained from another version than the round's base."""


class NotPrivate(Rejected, code=708, hint="Run without the reproducible mode; it is for tests only."):
    """Noise and sampling did not come from the operating system's entropy."""


class PayloadTooLarge(Rejected, code=709, hint="The terms bound a payload's size; check compression and layout."):
    """The payload is larger than the terms allow."""


def reserve(view: View, msg: Reserve, ctx: Context) -> Outcome:
    """Hold back the round's price.

    Rejects: UnknownTask, UnknownRound, RoundNotOpen, DeadlinePassed, NotSelected, AlreadyReserved, BudgetExceeded,
    TooManyHolds.
    """
    current = rounds.require_open(view, msg.task, msg.round)
    rounds.require_before(current.reserve_by, ctx.time_ms)
    seat = rounds.require_seat(current, ctx.organisation, msg.dataset)
    require(seat.progress is Progress.INVITED, lambda: AlreadyReserved(dataset=msg.dataset, progress=seat.progress))
    until = current.commit_by
    held = privacy_budget.hold(
        view,
        ctx.organisation,
        msg.dataset,
        rounds.TASKS.at(view, msg.task).price,
        reservation=reservation_id(msg.task, msg.round, ctx.organisation, msg.dataset),
        until=until,
        now=ctx.time_ms,
    )
    key = (msg.task, msg.round, ctx.organisation, msg.dataset)
    placed = RESERVATIONS.put(key, Reservation(ctx.sender, ctx.height, until))
    reserved = Reserved(msg.task, msg.round, ctx.organisation, msg.dataset, until)
    return held + Outcome((placed, _advance(msg, current, ctx, Progress.RESERVED)), (reserved,))


def commit(view: View, msg: Commit, ctx: Context) -> Outcome:
    """Turn the hold into spent budget and record what was committed.

    Rejects: UnknownTask, UnknownRound, RoundNotOpen, DeadlinePassed, NotSelected, NotReserved, AlreadyCommitted,
    WrongMechanism, WrongBase, NotPrivate, PayloadTooLarge.
    """
    current = rounds.require_open(view, msg.task, msg.round)
    rounds.require_before(current.commit_by, ctx.time_ms)
    seat = rounds.require_seat(current, ctx.organisation, msg.dataset)
    require(seat.progress is not Progress.INVITED, lambda: NotReserved(dataset=msg.dataset))
    require(seat.progress is Progress.RESERVED, lambda: AlreadyCommitted(dataset=msg.dataset))
    _require_as_agreed(msg, rounds.TERMS.at(view, msg.task), current)
    spent = privacy_budget.spend(
        view,
        ctx.organisation,
        msg.dataset,
        reservation=reservation_id(msg.task, msg.round, ctx.organisation, msg.dataset),
        now=ctx.time_ms,
    )
    record = Commitment(ctx.sender, ctx.height, msg.cid, msg.digest, msg.size, msg.code)
    placed = COMMITMENTS.put((msg.task, msg.round, ctx.organisation, msg.dataset), record)
    committed = Committed(msg.task, msg.round, ctx.organisation, msg.dataset, msg.cid)
    return spent + Outcome((placed, _advance(msg, current, ctx, Progress.COMMITTED)), (committed,))


def publish(view: View, msg: Publish, ctx: Context) -> Outcome:
    """Mark the committed payload as served.

    Rejects: UnknownTask, UnknownRound, RoundNotOpen, DeadlinePassed, NotSelected, NotCommitted, AlreadyPublished.
    """
    current = rounds.require_open(view, msg.task, msg.round)
    rounds.require_before(current.publish_by, ctx.time_ms)
    seat = rounds.require_seat(current, ctx.organisation, msg.dataset)
    require(seat.progress is not Progress.PUBLISHED, lambda: AlreadyPublished(dataset=msg.dataset))
    require(seat.progress is Progress.COMMITTED, lambda: NotCommitted(dataset=msg.dataset))
    record = COMMITMENTS.at(view, (msg.task, msg.round, ctx.organisation, msg.dataset))
    published = Published(msg.task, msg.round, ctx.organisation, msg.dataset, record.cid)
    return Outcome((_advance(msg, current, ctx, Progress.PUBLISHED),), (published,))


def reservation_id(task: TaskId, number: RoundNumber, organisation: OrgId, dataset: DatasetId) -> Digest:
    """What a hold is filed under: one per dataset and round."""
    return crypto.sha256(RESERVATIONS.path((task, number, organisation, dataset)))


def commitment_of(view: View, task: TaskId, number: RoundNumber, organisation: OrgId, dataset: DatasetId) -> Commitment:
    """A commitment that the round's seats say exists. Rejects: NotCommitted."""
    key = (task, number, organisation, dataset)
    return found(COMMITMENTS, view, key, lambda: NotCommitted(dataset=dataset))


def _require_as_agreed(msg: Commit, terms: Terms, current: Round) -> None:
    require(msg.mechanism == terms.mechanism, lambda: WrongMechanism(task=msg.task))
    require(msg.base == current.base, lambda: WrongBase(base=msg.base, wanted=current.base))
    require(msg.noise is NoiseSource.OS_ENTROPY, lambda: NotPrivate(noise=msg.noise))
    most = terms.update.max_bytes
    require(msg.size <= most, lambda: PayloadTooLarge(size=msg.size, limit=most))


def _advance(msg: Reserve | Commit | Publish, current: Round, ctx: Context, to: Progress) -> Write:
    return rounds.advance(msg.task, msg.round, current, ctx.organisation, msg.dataset, to)


CONTRACT = Contract(
    name="contributions",
    number=7,
    state=(RESERVATIONS, COMMITMENTS),
    handlers={Reserve: reserve, Commit: commit, Publish: publish},
    modules=(__name__,),
)
