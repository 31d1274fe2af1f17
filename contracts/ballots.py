"""Ballots: attest → seal → open → decide. Nobody is trusted to aggregate, and nobody is paid for echoing.

What was available is agreed, not assumed: a verifier attests which seats' bytes it holds, and f_v + 1 of those who
attested (the seat's own organisation left out) put a seat into the set, because one of them is honest and can serve
the rest (``Share``). The set is fixed before anybody seals. A ballot is the hash of (organisation, round, salt, digest
of set, judgements and aggregate, score), and opens only when no ballot can be sealed any more: what it says was worked
out by its owner. The digests must agree; the round's candidate is the one that all verifiers but f_v opened, its score
the median of theirs. The candidate comes with the openings: so no aggregator can fail a round that the verifiers agree
on.

    attesting ── the set has the minimum ──► sealing ── enough sealed ──► opening ── enough agree ──► decided
        └── void                                └── void                     └── void, or sealing anew

Who opened another digest than a quorum's pays, and who did not open; where there is no quorum, only the latter. Who
did not seal abstained, and pays nothing. MISSING needs a quorum of attestations of which fewer than f_v + 1 name the
seat, and is settled in void rounds too; without that quorum nobody is blamed.

A key that is reported stolen takes out what is pending: a seat that is not yet in the set, a ballot; a seat of the set
sends the round back to sealing without it. What ballots owe is settled first: a report pays no debt.
"""

from collections.abc import Sequence
from dataclasses import replace

from . import contributions, identity, lineage, models, reputation, rounds, tasks
from .ballot_box import (
    ATTESTATIONS,
    BOXES,
    CANDIDATES,
    SHARES,
    Attestation,
    Attestations,
    Ballot,
    Box,
    Copy,
    Shares,
    Statement,
    agreeing,
    attestations_of,
    available,
    box_of,
    earned,
    emptied,
    judged,
    missing,
    refused,
    seal_of,
    stands,
    tainted_of,
)
from .kernel import (
    Context,
    Contract,
    Event,
    Lane,
    Message,
    Outcome,
    Rejected,
    View,
    bitmap,
    require,
)
from .kernel.types import (
    Cid,
    Count,
    Digest,
    OrgId,
    Positive,
    Purpose,
    Role,
    RoundNumber,
    Seats,
    TaskId,
)
from .lineage import VERDICTS, Candidate, Finding
from .models import Decision, require_verifier
from .reputation import Verdict
from .rounds import Moved, Round, Void
from .terms import Phase, Terms, needed_votes


class Attest(Message, purpose=Purpose.WORKLOAD, role=Role.VERIFIER, lane=Lane.ROUND):
    """State which committed payloads the sender holds: bytes that match the salted digest, whatever they say."""

    task: TaskId
    round: RoundNumber
    held: Seats


class Share(Message, purpose=Purpose.WORKLOAD, role=Role.VERIFIER, lane=Lane.ROUND):
    """Serve a payload that others could not have: the sender holds it, and has encrypted it to all recipients."""

    task: TaskId
    round: RoundNumber
    organisation: OrgId  # Whose payload it is.
    cid: Cid
    size: Positive


class Seal(Message, purpose=Purpose.WORKLOAD, role=Role.VERIFIER, lane=Lane.ROUND):
    """Seal a ballot over what the sender recomputed from the agreed set."""

    task: TaskId
    round: RoundNumber
    agreed: Seats  # Over which it was recomputed.
    seal: Digest


class OpenBallot(Message, purpose=Purpose.WORKLOAD, role=Role.VERIFIER, lane=Lane.ROUND):
    """Open the sender's ballot: what follows from the set, and its score."""

    task: TaskId
    round: RoundNumber
    salt: Digest
    candidate: Candidate
    correct: Count


class AdvanceRound(Message, purpose=Purpose.WORKLOAD, lane=Lane.ROUND):
    """Write down that a phase is over, so that the next one begins: for anybody, when no other act is due."""

    task: TaskId
    round: RoundNumber


class Attested(Event):
    """A verifier attested."""

    task: TaskId
    round: RoundNumber
    organisation: OrgId
    held: Count


class Shared(Event):
    """A verifier serves a copy of another's payload."""

    task: TaskId
    round: RoundNumber
    organisation: OrgId
    verifier: OrgId
    cid: Cid


class SetAgreed(Event):
    """The set of contributions that counts was fixed."""

    task: TaskId
    round: RoundNumber
    seats: Count


class Sealed(Event):
    """A verifier sealed a ballot."""

    task: TaskId
    round: RoundNumber
    organisation: OrgId


class Opened(Event):
    """A verifier opened its ballot."""

    task: TaskId
    round: RoundNumber
    organisation: OrgId
    digest: Digest
    correct: Count


class RoundDecided(Event):
    """The ballots agree on a candidate."""

    task: TaskId
    round: RoundNumber
    digest: Digest
    agreeing: Count
    correct: Count  # The median.


class AlreadyAttested(Rejected, code=1201, hint="Nothing to do: the first attestation stands."):
    """The organisation has attested in this round."""


class NotCommittedTo(Rejected, code=1202, hint="Name seats that have committed, in a set without trailing zeros."):
    """The set names a seat that has no commitment, or is not in its only form."""


class AlreadySealed(Rejected, code=1203, hint="Nothing to do: open the first ballot when the phase has come."):
    """The organisation has sealed a ballot in this round."""


class NotSealed(Rejected, code=1204, hint="Only a sealed ballot can be opened: seal one in the next round."):
    """The organisation has sealed no ballot in this round."""


class AlreadyOpened(Rejected, code=1205, hint="Nothing to do: the ballot is open."):
    """The organisation has opened its ballot."""


class WrongOpening(Rejected, code=1206, hint="Open with the salt, candidate and score that were sealed."):
    """The opening does not hash to the seal."""


class NotACandidate(Rejected, code=1207, hint="Recompute over the agreed set, and judge each of its seats."):
    """What the ballot names cannot be this round's candidate, whatever the payloads say."""


class NotHeld(Rejected, code=1208, hint="Share only what was attested, and once."):
    """The organisation has not attested that it holds this payload, shares it already, or sent it itself."""


class AnotherSet(Rejected, code=1209, hint="Recompute over the set that is agreed now, and seal that."):
    """The ballot is over another set than the agreed one: it was made before a report took a seat out."""


def attest(view: View, msg: Attest, ctx: Context) -> Outcome:
    """Record what a verifier holds; when all who may have attested, the set is fixed.

    Rejects: UnknownTask, UnknownRound, WrongPhase, PhaseOver, NotAVerifier, AlreadyAttested, NotCommittedTo.
    """
    terms, now = _arrived(view, msg.task, msg.round, Phase.ATTESTING, ctx)
    require_verifier(terms, ctx.organisation)
    rows = attestations_of(view, msg.task, msg.round)
    again = any(row.organisation == ctx.organisation and stands(view, row) for row in rows)
    require(not again, lambda: AlreadyAttested(organisation=ctx.organisation))
    named = not msg.held.endswith(b"\0") and bitmap.is_within(msg.held, now.round.committed)
    require(named, lambda: NotCommittedTo(field="held"))
    others = tuple(row for row in rows if row.organisation != ctx.organisation)
    rows = (*others, Attestation(ctx.organisation, msg.held, ctx.sender, ctx.place))
    recorded = Outcome(
        (ATTESTATIONS.put((msg.task, msg.round), Attestations(rows)),),
        (Attested(msg.task, msg.round, ctx.organisation, bitmap.count(msg.held)),),
    )
    done = _have_all_said(view, terms, rows)
    after = _after_attesting(view, terms, msg.round, now.round, rows, ctx) if done else Moved(now.round)
    return now.outcome + recorded + _written(msg, after)


def share(view: View, msg: Share, ctx: Context) -> Outcome:
    """Record where a copy is, while the set is being fixed or ballots are being made.

    Nobody shares its own: where a seat's payload lies is what it committed to.

    Rejects: UnknownTask, UnknownRound, WrongPhase, NotReserved, NotHeld, PayloadTooLarge.
    """
    current = rounds.require_round(view, msg.task, msg.round)
    phases = (Phase.ATTESTING, Phase.SEALING)
    require(current.phase in phases, lambda: rounds.WrongPhase(phase=current.phase, wanted=Phase.SEALING))
    seat = contributions.require_seat(view, msg.task, msg.round, msg.organisation)
    most = tasks.TERMS.at(view, msg.task).update.max_bytes
    require(msg.size <= most, lambda: contributions.PayloadTooLarge(size=msg.size, limit=most))
    rows = attestations_of(view, msg.task, msg.round)
    holds = any(row.organisation == ctx.organisation and bitmap.has(row.held, seat.number) for row in rows)
    own = msg.organisation == ctx.organisation
    record = SHARES.get(view, (msg.task, msg.round, msg.organisation))
    copies = record.copies if record else ()
    again = any(copy.organisation == ctx.organisation and stands(view, copy) for copy in copies)
    require(holds and not own and not again, lambda: NotHeld(organisation=msg.organisation))
    others = tuple(copy for copy in copies if copy.organisation != ctx.organisation)
    shared = Shares((*others, Copy(ctx.organisation, msg.cid, msg.size, ctx.sender, ctx.place)))
    return Outcome(
        (SHARES.put((msg.task, msg.round, msg.organisation), shared),),
        (Shared(msg.task, msg.round, msg.organisation, ctx.organisation, msg.cid),),
    )


def seal(view: View, msg: Seal, ctx: Context) -> Outcome:
    """Take a ballot into the box; when all who may have sealed, ballots are opened.

    Rejects: UnknownTask, UnknownRound, WrongPhase, PhaseOver, NotAVerifier, AnotherSet, AlreadySealed.
    """
    terms, now = _arrived(view, msg.task, msg.round, Phase.SEALING, ctx)
    require_verifier(terms, ctx.organisation)
    require(msg.agreed == now.round.agreed, lambda: AnotherSet(round=msg.round))
    sealing = rounds.ROUNDS.at(view, (msg.task, msg.round)).phase is Phase.SEALING
    box = box_of(view, msg.task, msg.round) if sealing else ()  # Where it begins here, perhaps anew, nothing is in it.
    again = any(ballot.organisation == ctx.organisation and stands(view, ballot) for ballot in box)
    require(not again, lambda: AlreadySealed(organisation=ctx.organisation))
    others = tuple(ballot for ballot in box if ballot.organisation != ctx.organisation)
    box = (*others, Ballot(ctx.organisation, msg.seal, ctx.sender, ctx.place, None, 0))
    recorded = Outcome((BOXES.put((msg.task, msg.round), Box(box)),), (Sealed(msg.task, msg.round, ctx.organisation),))
    done = _have_all_said(view, terms, box)
    after = _after_sealing(terms, msg.round, now.round, box, ctx) if done else Moved(now.round)
    return _but_for(now.outcome, recorded) + recorded + _written(msg, after)


def open_ballot(view: View, msg: OpenBallot, ctx: Context) -> Outcome:
    """Count an opened ballot; when all are open whose members may open them, the round is decided.

    Rejects: UnknownTask, UnknownRound, WrongPhase, PhaseOver, NotSealed, AlreadyOpened, WrongOpening, NotACandidate.
    """
    terms, now = _arrived(view, msg.task, msg.round, Phase.OPENING, ctx)
    box = _box_now(view, msg.task, msg.round)
    mine = next((ballot for ballot in box if ballot.organisation == ctx.organisation), None)
    if mine is None:
        raise NotSealed(organisation=ctx.organisation)
    require(mine.opened is None, lambda: AlreadyOpened(organisation=ctx.organisation))
    digest = lineage.candidate_digest(msg.candidate)
    said = Statement(ctx.organisation, msg.task, msg.round, msg.salt, digest, msg.correct)
    require(seal_of(said) == mine.seal, lambda: WrongOpening(organisation=ctx.organisation))
    _require_possible(terms, msg, now.round)
    opened = replace(mine, opened=digest, correct=msg.correct)
    box = tuple(opened if ballot is mine else ballot for ballot in box)
    announced = Outcome((), (Opened(msg.task, msg.round, ctx.organisation, digest, msg.correct),))
    if all(ballot.opened is not None or not identity.is_active(view, ballot.organisation) for ballot in box):
        return now.outcome + announced + _written(msg, _after_opening(view, terms, msg.round, now.round, box, msg, ctx))
    writes = (
        BOXES.put((msg.task, msg.round), Box(box)),
        CANDIDATES.put((msg.task, msg.round, digest), msg.candidate),
    )
    return now.outcome + announced + Outcome(writes) + _written(msg, Moved(now.round))


def advance_round(view: View, msg: AdvanceRound, ctx: Context) -> Outcome:
    """Write down that a phase is over. Rejects: UnknownTask, UnknownRound, RoundEnded, PhaseNotOver."""
    stored = rounds.require_round(view, msg.task, msg.round)
    require(stored.phase not in rounds.OVER, lambda: rounds.RoundEnded(round=msg.round, phase=stored.phase))
    terms = tasks.TERMS.at(view, msg.task)
    now = _as_of_now(view, terms, msg.round, stored, ctx)
    require(
        now.round is not stored,
        lambda: rounds.PhaseNotOver(phase=stored.phase, until=stored.until, until_height=stored.until_height),
    )
    if now.round.phase is Phase.OPENING:
        now |= Moved(now.round, Outcome((BOXES.put((msg.task, msg.round), Box(_box_now(view, msg.task, msg.round))),)))
    return _written(msg, now)


def _have_all_said(view: View, terms: Terms, said: Sequence[Attestation | Ballot]) -> bool:
    """Whether there is nobody left to wait for: who may not act, because it is suspended or removed, is not waited for.

    What a stolen key said is to be said anew.
    """
    names = [one.organisation for one in said]
    if any(name not in names and identity.is_active(view, name) for name in terms.verifiers):
        return False
    return all(stands(view, one) or not identity.is_active(view, one.organisation) for one in said)


def _but_for(ended: Outcome, said: Outcome) -> Outcome:
    """What the end of a phase led to, without what the act that found it over writes itself: the emptied box."""
    mine = [write.path for write in said.writes]
    return Outcome(tuple(write for write in ended.writes if write.path not in mine), ended.events)


def _box_now(view: View, task: TaskId, number: RoundNumber) -> tuple[Ballot, ...]:
    """The ballots that are there to be opened. What a key sealed that was reported before is gone: nobody owes it."""
    box = box_of(view, task, number)
    sealing = rounds.ROUNDS.at(view, (task, number)).phase is Phase.SEALING
    return tuple(ballot for ballot in box if stands(view, ballot)) if sealing else box


def _arrived(view: View, task: TaskId, number: RoundNumber, phase: Phase, ctx: Context) -> tuple[Terms, Moved]:
    """The terms, and the round as of now, which is in a phase."""
    stored = rounds.require_round(view, task, number)
    terms = tasks.TERMS.at(view, task)
    now = _as_of_now(view, terms, number, stored, ctx)
    rounds.require_phase(now.round, phase, ctx)
    return terms, now


def _as_of_now(view: View, terms: Terms, number: RoundNumber, current: Round, ctx: Context) -> Moved:
    """The round with the end of its phase drawn, whichever it is."""
    if not rounds.is_over(current, ctx.time_ms, ctx.height):
        return Moved(current)
    match current.phase:
        case Phase.ATTESTING:
            return _after_attesting(view, terms, number, current, attestations_of(view, terms.task, number), ctx)
        case Phase.SEALING:
            return _after_sealing(terms, number, current, _box_now(view, terms.task, number), ctx)
        case Phase.OPENING:
            return _after_opening(view, terms, number, current, box_of(view, terms.task, number), None, ctx)
        case _:
            return rounds.as_of_now(view, terms.task, number, current, terms, ctx)


def _after_attesting(
    view: View, terms: Terms, number: RoundNumber, current: Round, rows: tuple[Attestation, ...], ctx: Context
) -> Moved:
    """Fix the set. A seat that a quorum has looked for in vain is missing, also when the round ends here."""
    blamed = reputation.settle(view, missing(view, terms, current, rows), ctx)
    there = bitmap.of(available(view, terms, current, rows))
    agreed = _without(there, tainted_of(view, terms.task, number, there))
    return Moved(current, blamed) | _agreed(terms, number, current, agreed, Void.TOO_FEW_AVAILABLE, ctx)


def _agreed(terms: Terms, number: RoundNumber, current: Round, seats: Seats, reason: Void, ctx: Context) -> Moved:
    """Sealing over this set begins, unless the estimator cannot do with so few."""
    fixed = replace(current, agreed=seats)
    if bitmap.count(seats) < terms.estimator.minimum:
        return rounds.voided(terms.task, number, fixed, reason, current.charged)
    announced = Outcome((), (SetAgreed(terms.task, number, bitmap.count(seats)),))
    return Moved(fixed, announced) | rounds.begun(terms.task, number, fixed, terms, Phase.SEALING, ctx)


def _after_sealing(terms: Terms, number: RoundNumber, current: Round, box: tuple[Ballot, ...], ctx: Context) -> Moved:
    """Opening begins, unless no quorum can come of so few: then nobody pays, and nothing is ever opened."""
    if len(box) < needed_votes(terms):
        return rounds.voided(terms.task, number, current, Void.TOO_FEW_BALLOTS, current.charged)
    return rounds.begun(terms.task, number, current, terms, Phase.OPENING, ctx)


def _after_opening(
    view: View,
    terms: Terms,
    number: RoundNumber,
    current: Round,
    box: tuple[Ballot, ...],
    last: OpenBallot | None,
    ctx: Context,
) -> Moved:
    """Count, settle what the ballots owe, and decide. ``last`` is the opening that made it complete, if one did."""
    quorum = agreeing(view, terms, box)
    digest = quorum[0].opened if quorum else None
    candidate = _named(view, terms.task, number, digest, last)
    tainted = tainted_of(view, terms.task, number, current.agreed) if candidate is not None else ()
    left = current.agreed
    if candidate is not None and tainted:
        left = _without(left, (*tainted, *refused(candidate)))
    anew = bool(tainted) and bitmap.count(left) >= terms.estimator.minimum
    verdicts = earned(view, box, quorum, anew=anew)
    if candidate is not None:
        verdicts += judged(view, number, candidate, tainted, anew=anew)
    settled = Moved(current, reputation.settle(view, verdicts, ctx) + emptied(view, terms.task, number, box))
    kept = Outcome((BOXES.put((terms.task, number), Box(() if tainted else box)),))
    if tainted:
        return settled | Moved(current, kept) | _agreed(terms, number, current, left, Void.TOO_FEW_UNTAINTED, ctx)
    if candidate is None or candidate.artefact is None or digest is None:
        reason = Void.NO_CANDIDATE if quorum else Void.NO_QUORUM
        return settled | Moved(current, kept) | rounds.voided(terms.task, number, current, reason, current.charged)
    correct = sorted(ballot.correct for ballot in quorum)[(len(quorum) - 1) // 2]
    names = [ballot.organisation for ballot in quorum]
    proposer = next((name for name in terms.aggregators if name in names), names[0])
    decided = models.decided(view, terms, Decision(candidate, candidate.artefact, digest, correct, proposer), ctx)
    announced = RoundDecided(terms.task, number, digest, len(quorum), correct)
    over = replace(current, phase=Phase.DECIDED)
    return settled | Moved(over, kept + Outcome((), (announced,)) + decided)


def _named(
    view: View, task: TaskId, number: RoundNumber, digest: Digest | None, last: OpenBallot | None
) -> Candidate | None:
    """The candidate that a quorum opened, if there is one."""
    if digest is None:
        return None
    if last is not None and lineage.candidate_digest(last.candidate) == digest:
        return last.candidate
    return CANDIDATES.at(view, (task, number, digest))


def _without(seats: Seats, taken: tuple[int, ...]) -> Seats:
    return bitmap.of(seat for seat in bitmap.numbers(seats) if seat not in taken)


def _require_possible(terms: Terms, msg: OpenBallot, current: Round) -> None:
    """What the ledger can tell without the payloads. Rejects: NotACandidate."""
    candidate = msg.candidate
    most = 0 if candidate.artefact is None else terms.canary_records
    require(msg.correct <= most, lambda: NotACandidate(field="correct", limit=most))
    mine = (candidate.task, candidate.round) == (msg.task, msg.round)
    require(mine, lambda: NotACandidate(field="candidate.round"))
    require(candidate.parent == current.base, lambda: NotACandidate(field="candidate.parent"))
    require(candidate.agreed == current.agreed, lambda: NotACandidate(field="candidate.agreed"))
    seats, findings = bitmap.count(current.agreed), candidate.judgements
    known = len(findings) == seats and all(byte <= max(Finding) for byte in findings)
    require(known, lambda: NotACandidate(field="candidate.judgements"))
    usable = sum(1 for byte in findings if VERDICTS[Finding(byte)] is not Verdict.REFUSED)
    least = 0 if candidate.artefact is None else terms.estimator.minimum
    require(usable >= least, lambda: NotACandidate(field="candidate.judgements", usable=usable, minimum=least))


def _written(msg: Attest | Seal | OpenBallot | AdvanceRound, after: Moved) -> Outcome:
    return after.outcome + Outcome((rounds.put(msg.task, msg.round, after.round),))


CONTRACT = Contract(
    name="ballots",
    number=12,
    state=(ATTESTATIONS, SHARES, BOXES, CANDIDATES),
    handlers={Attest: attest, Share: share, Seal: seal, OpenBallot: open_ballot, AdvanceRound: advance_round},
    modules=("contracts.ballot_box", __name__),
)
