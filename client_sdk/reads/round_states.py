"""A round as members ask for it: who came how far, what is agreed, who pays, judged at a proved block (``view.now``).

A round's record may lag behind the blocks: that a phase is over is written by the next act. What that act would find
is asked of the ledger's own rule, ``ballots.advance_round``, so it is told before anybody has written it.

Left to others: how it is told (``cli.rounds_told``).
"""

from dataclasses import dataclass
from typing import assert_never

from contracts import ballot_box, ballots, contributions, identity, lineage, models, rounds, tasks
from contracts.ballot_box import Ballot
from contracts.ballots import AdvanceRound
from contracts.contributions import Seat
from contracts.kernel import Context, Event, View, bitmap
from contracts.kernel.types import Digest, OrgId
from contracts.lineage import Finding, Version
from contracts.rounds import Bill, Charged, PhaseNotOver, Round, RoundEnded, Void
from contracts.terms import Phase, Terms, needed_votes

from .queries import Moment
from .view import every


@dataclass(frozen=True)
class Place:
    """An organisation's place in a round."""

    organisation: OrgId
    seat: Seat
    bill: Bill
    holders: int  # Verifiers, other than its owner, who attested that they hold its payload.
    agreed: bool  # Whether it is in the set that counts.
    finding: Finding | None  # Of the version that the round decided on.


@dataclass(frozen=True)
class Voter:
    """What a verifier did in a round."""

    organisation: OrgId
    attested: tuple[int, ...] | None  # The seats whose payloads it holds.
    sealed_at: int | None  # The block.
    opened: Digest | None
    correct: int | None  # Its score, once it has opened.


@dataclass(frozen=True)
class RoundState:
    """A round at a block. ``current`` has the end of its phase drawn; ``due`` is what the next act will announce."""

    task: str
    number: int
    terms: Terms
    now: Moment
    current: Round
    due: tuple[Event, ...]
    charged: Charged | None  # Who pays; None while that is open.
    places: tuple[Place, ...]
    voters: tuple[Voter, ...]
    waiting: tuple[OrgId, ...]  # Who can still act in the phase.
    version: int | None  # What the round decided on.
    why_void: str

    @property
    def blocks_left(self) -> int:
        """How many blocks there will be at least in which an act of this phase counts."""
        return 0 if self._timeless else max(0, self.current.until_height - self.now.height)

    @property
    def ms_left(self) -> int:
        """How much block time the phase has left; it ends when blocks have run out, too."""
        return 0 if self._timeless else max(0, self.current.until - self.now.time_ms)

    @property
    def _timeless(self) -> bool:
        return self.current.phase in rounds.OVER


def state_of(view: View, task: str, number: int, now: Moment) -> RoundState:
    """A round at a block. Rejects: UnknownTask, UnknownRound."""
    stored, terms = rounds.require_round(view, task, number), tasks.require_terms(view, task)
    seats = _seats(view, task, number, stored)
    box, rows = ballot_box.BOXES.get(view, (task, number)), ballot_box.ATTESTATIONS.get(view, (task, number))
    cast = box.ballots if box is not None else ()
    held = {row.organisation: row.held for row in rows.rows} if rows is not None else {}
    _fetch_signers(view, seats, cast)
    current, due = _as_found(view, task, number, stored, now)
    decided = version_of(view, terms.model, number) if stored.phase is Phase.DECIDED else None
    found = _findings(decided[1]) if decided is not None else {}
    places = tuple(
        Place(
            organisation=name,
            seat=seat,
            bill=rounds.bill_of(stored, seat.number, now.time_ms, now.height),
            holders=sum(1 for owner, mask in held.items() if owner != name and bitmap.has(mask, seat.number)),
            agreed=bitmap.has(current.agreed, seat.number),
            finding=found.get(seat.number),
        )
        for name, seat in seats.items()
    )
    return RoundState(
        task=task,
        number=number,
        terms=terms,
        now=now,
        current=current,
        due=due,
        charged=rounds.charged_of(stored, now.time_ms, now.height),
        places=places,
        voters=tuple(_voter(name, held, cast) for name in terms.verifiers),
        waiting=_waiting(view, task, number, terms, current, held, cast),
        version=decided[0] if decided is not None else None,
        why_void=_why_void(terms, current, cast),
    )


def phase_of(view: View, task: str, number: int, now: Moment) -> tuple[Phase, bool]:
    """The phase that an act in a block would find, and whether that is still to be written.

    Rejects: UnknownTask, UnknownRound.
    """
    stored = rounds.require_round(view, task, number)
    if not rounds.is_over(stored, now.time_ms, now.height):
        return stored.phase, False
    return state_of(view, task, number, now).current.phase, True


def version_of(view: View, model: str, number: int) -> tuple[int, Version] | None:
    """The version that a round decided on; None where it decided on none. O(log n) reads: rounds give them in order."""
    low, high = 1, models.require_model(view, model).latest
    while low <= high:
        middle = (low + high) // 2
        version = lineage.VERSIONS.at(view, (model, middle))
        if version.round == number:
            return middle, version
        low, high = (middle + 1, high) if version.round < number else (low, middle - 1)
    return None


def findings_of(view: View, task: str, version: Version) -> dict[OrgId, Finding]:
    """What became of each contribution of a version."""
    owners = tasks.organisations_of(view, task, version.agreed)
    return dict(zip(owners, map(Finding, version.judgements), strict=True))


def _seats(view: View, task: str, number: int, stored: Round) -> dict[OrgId, Seat]:
    names = tasks.organisations_of(view, task, stored.reserved)
    found = every(contributions.SEATS, view, [(task, number, name) for name in names])
    return dict(zip(names, found, strict=True))


def _fetch_signers(view: View, seats: dict[OrgId, Seat], cast: tuple[Ballot, ...]) -> None:
    """Ask in one go for the keys that the rule looks up one after the other."""
    signers = [seat.commitment.signer for seat in seats.values() if seat.commitment is not None]
    every(identity.KEYS, view, dict.fromkeys((*signers, *(ballot.signer for ballot in cast))))


def _as_found(view: View, task: str, number: int, stored: Round, now: Moment) -> tuple[Round, tuple[Event, ...]]:
    """The round as an act in this block would find it, and what that would announce of it."""
    nobody = Context(b"", now.height, 0, now.time_ms, b"", "", ())
    try:
        outcome = ballots.advance_round(view, AdvanceRound(task, number), nobody)
    except (PhaseNotOver, RoundEnded):
        return stored, ()
    path = rounds.ROUNDS.path((task, number))
    body = next(write.body for write in outcome.writes if write.path == path)
    return stored if body is None else rounds.ROUNDS.read(body), outcome.events


def _findings(version: Version) -> dict[int, Finding]:
    return dict(zip(bitmap.numbers(version.agreed), map(Finding, version.judgements), strict=True))


def _voter(name: OrgId, held: dict[OrgId, bytes], cast: tuple[Ballot, ...]) -> Voter:
    ballot = next((each for each in cast if each.organisation == name), None)
    opened = ballot.opened if ballot is not None else None
    return Voter(
        organisation=name,
        attested=bitmap.numbers(held[name]) if name in held else None,
        sealed_at=ballot.place.height if ballot is not None else None,
        opened=opened,
        correct=ballot.correct if ballot is not None and opened is not None else None,
    )


def _waiting(
    view: View,
    task: str,
    number: int,
    terms: Terms,
    current: Round,
    held: dict[OrgId, bytes],
    cast: tuple[Ballot, ...],
) -> tuple[OrgId, ...]:
    match current.phase:
        case Phase.RESERVING:
            return _invited(view, task, number, current)
        case Phase.COMMITTING:
            left = bitmap.of(n for n in bitmap.numbers(current.reserved) if not bitmap.has(current.committed, n))
            return tasks.organisations_of(view, task, left)
        case Phase.ATTESTING:
            return tuple(name for name in terms.verifiers if name not in held)
        case Phase.SEALING:
            sealed = [ballot.organisation for ballot in cast]
            return tuple(name for name in terms.verifiers if name not in sealed)
        case Phase.OPENING:
            return tuple(ballot.organisation for ballot in cast if ballot.opened is None)
        case _:
            return ()


def _invited(view: View, task: str, number: int, current: Round) -> tuple[OrgId, ...]:
    """Who may still reserve."""
    names = tasks.ROSTERS.at(view, task).organisations
    parts = every(tasks.PARTICIPATIONS, view, [(task, name) for name in names])
    return tuple(
        name
        for name, part in zip(names, parts, strict=True)
        if not part.left and part.from_round <= number and not bitmap.has(current.reserved, part.number)
    )


def _why_void(terms: Terms, current: Round, cast: tuple[Ballot, ...]) -> str:
    """Why a round ended without a version, with the count that was too small; empty where it did not."""
    if current.void is None:
        return ""
    opened = [ballot.opened for ballot in cast if ballot.opened is not None]
    agreed, least, votes = bitmap.count(current.agreed), terms.estimator.minimum, needed_votes(terms)
    match current.void:
        case Void.TOO_FEW_RESERVED:
            return f"too few reserved: {bitmap.count(current.reserved)}, needed are {current.needed}"
        case Void.TOO_FEW_READERS:
            return f"too few verifiers that could read what would be committed; needed are {votes}"
        case Void.TOO_FEW_COMMITTED:
            return f"too few committed: {bitmap.count(current.committed)}, needed are {current.needed}"
        case Void.TOO_FEW_AVAILABLE:
            return f"too few payloads that enough verifiers hold: {agreed}, needed are {least}"
        case Void.TOO_FEW_UNTAINTED:
            return f"too few contributions without those of stolen keys: {agreed}, needed are {least}"
        case Void.TOO_FEW_BALLOTS:
            return f"too few ballots sealed: {len(cast)}, needed are {votes}"
        case Void.NO_QUORUM:
            most = max((opened.count(digest) for digest in opened), default=0)
            return f"no quorum of ballots: {most} agree, needed are {votes}"
        case Void.NO_CANDIDATE:
            return "a quorum found that nothing follows from the set"
        case Void.BASE_FELL:
            return f"its base, version {current.base}, fell"
        case never:
            assert_never(never)
