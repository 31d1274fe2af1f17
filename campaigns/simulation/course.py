"""The course of one round, kept a second time: what the accepted messages make of it, by rules written apart.

A ``Course`` is a round in names: who has a seat, who committed, who attested what, who sealed and opened. An accepted
message first finds a phase run out or not, then has its effect, then perhaps ends its phase. What no round may accept
is a Violation that names the promise it breaks; what a round must look like, who pays for it and what is said of whom
is here for the books and the checkers to compare.

The ledger's own reading of time, bills, sets and ballots is not used: only its words (``Phase``, ``Verdict``).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from contracts.ballot_box import Statement
from contracts.ballots import AdvanceRound, Attest, OpenBallot, Seal, Share
from contracts.contributions import Commit, Reserve, Withdraw
from contracts.kernel import Place, crypto
from contracts.lineage import Candidate, Finding, candidate_digest
from contracts.reputation import Verdict
from contracts.terms import Phase, Terms

from .agreement import Block, Violation

Signed: TypeAlias = tuple[bytes, Place]  # Which key, and where.
Live = Callable[[bytes, Place], bool]
"""Whether a key was good at a place, by all that is known now."""
RoundMessage = Reserve | Withdraw | Commit | Attest | Share | Seal | OpenBallot | AdvanceRound
LASTS = {
    Phase.RESERVING: "reserve_ms",
    Phase.COMMITTING: "commit_ms",
    Phase.ATTESTING: "attest_ms",
    Phase.SEALING: "seal_ms",
    Phase.OPENING: "open_ms",
}
SAYS = {
    Finding.AGGREGATED: Verdict.ACCEPTED,
    Finding.LEFT_OUT: Verdict.ACCEPTED,
    Finding.OUTLIER: Verdict.FILTERED,
    Finding.MALFORMED: Verdict.REFUSED,
    Finding.MISNAMED: Verdict.REFUSED,
    Finding.OVER_NORM: Verdict.REFUSED,
}
WANTS: dict[type, tuple[Phase, ...]] = {
    Reserve: (Phase.RESERVING,),
    Withdraw: (Phase.RESERVING,),
    Commit: (Phase.COMMITTING,),
    Attest: (Phase.ATTESTING,),
    Share: (Phase.ATTESTING, Phase.SEALING),
    Seal: (Phase.SEALING,),
    OpenBallot: (Phase.OPENING,),
}
"""The phases in which a message may be accepted."""
LAZY = (Commit, Attest, Seal, OpenBallot, AdvanceRound)
"""The messages that find a phase over, and begin the next one."""

OUTLIVES = "no round outlives the version it starts from"


@dataclass
class Sealed:
    """A ballot: its seal, who signed it where, and what it was opened as."""

    seal: bytes
    signer: bytes
    place: Place
    digest: bytes | None = None
    correct: int = 0


@dataclass(frozen=True)
class Said:
    """A verdict on an organisation, and the act that earned it, where one did."""

    organisation: str
    verdict: Verdict
    act: Signed | None = None


@dataclass(frozen=True)
class Decision:
    """What a round's ballots lead to."""

    candidate: Candidate
    digest: bytes
    correct: int


@dataclass
class Course:
    """One round as its messages went. ``roster`` numbers the organisations of its task."""

    terms: Terms
    number: int
    base: int
    invited: frozenset[str]
    roster: dict[str, int]
    live: Live
    phase: Phase = Phase.RESERVING
    until: int = 0
    until_height: int = 0
    seats: dict[str, str] = field(default_factory=dict)  # Organisation → the dataset that pays.
    commits: dict[str, Signed] = field(default_factory=dict)  # By organisation.
    held: dict[str, tuple[str, ...]] = field(default_factory=dict)  # Verifier → the organisations whose bytes it has.
    attests: dict[str, Signed] = field(default_factory=dict)  # By verifier.
    agreed: tuple[str, ...] = ()
    box: dict[str, Sealed] = field(default_factory=dict)
    candidates: dict[bytes, Candidate] = field(default_factory=dict)  # Those opened, by digest.
    lapses: int = 0  # Phases that ran out, rather than ended because all had acted.
    trained: bool = False  # Training began.
    revealed: bool = False  # The barrier was reached.
    fallen: bool = False  # The version it starts from fell while it was under way.
    stopped: bool = False  # That was before the barrier: nothing was revealed, and nobody stayed away.
    verdicts: list[Said] = field(default_factory=list)  # That the newest message led to.
    decision: Decision | None = None  # That the newest message led to.
    fixed: int | None = None  # The size of the set that the newest message fixed.

    @property
    def name(self) -> str:
        """How violations call it."""
        return f"{self.terms.task} {self.number}"

    @property
    def needed(self) -> int:
        """How many must reserve, and commit."""
        return self.terms.estimator.minimum + self.terms.estimator.byzantine

    @property
    def majority(self) -> int:
        """How many verifiers make a quorum: all but those that may err."""
        return len(self.terms.verifiers) - self.terms.verifier_faults

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.phase in (Phase.DECIDED, Phase.VOID)

    def lapsed(self, block: Block) -> bool:
        """Whether its phase has run out by a block: in time and in blocks."""
        return not self.is_over and block.time_ms >= self.until and block.height >= self.until_height

    def may_commit(self, block: Block) -> bool:
        """Whether a commitment can still come after this block."""
        if self.phase is Phase.RESERVING:
            return len(self.seats) >= self.needed or not self.lapsed(block)
        return self.phase is Phase.COMMITTING and not self.lapsed(block)

    def bill(self, organisation: str, block: Block) -> str:
        """What it means for the price of one of its seats: ``held``, ``spent`` or ``free``."""
        absent, enough = organisation not in self.commits, len(self.commits) >= self.needed
        if self.revealed:
            return "spent"
        if self.stopped:
            return "free"
        if self.phase is Phase.VOID:
            return "spent" if self.trained and absent else "free"
        if not self.lapsed(block):
            return "held"
        if not self.trained:
            return "held" if len(self.seats) >= self.needed else "free"
        return "spent" if enough or absent else "free"

    # --- messages ---

    def enter(self, message: RoundMessage, organisation: str, signed: Signed, block: Block) -> None:
        """An accepted message. Raises Violation naming the promise that its acceptance breaks."""
        self.verdicts, self.decision, self.fixed = [], None, None
        self._require(not self.fallen, OUTLIVES, f"{message.tag} was accepted on a fallen version")
        late = self.lapsed(block)
        if isinstance(message, LAZY):
            self.catch_up(block)
        if isinstance(message, AdvanceRound):
            self._require(late, "phases", "a phase was ended before its time")
            return
        self._require_phase(message, organisation, block)
        match message:
            case Reserve():
                self._reserve(organisation, message.dataset, block)
            case Withdraw():
                self._require(organisation in self.seats, "one voice", f"{organisation} gave back what it had not")
                del self.seats[organisation]
            case Commit():
                self._commit(organisation, signed, block)
            case Attest():
                self._attest(message, organisation, signed, block)
            case Share():
                known = message.organisation in self.held.get(organisation, ()) and message.organisation != organisation
                self._require(known, "agreed set", f"{organisation} shares what it has not attested, or its own")
            case Seal():
                self._seal(message, organisation, signed, block)
            case OpenBallot():
                self._open(message, organisation, block)

    def would_accept(self, message: RoundMessage, block: Block) -> bool:
        """Whether the phase, at least, is the one for a message."""
        twin = replace(self, verdicts=[])
        if isinstance(message, LAZY):
            twin.catch_up(block)
        if isinstance(message, AdvanceRound):
            return self.lapsed(block)
        return twin.phase in WANTS[type(message)] and (isinstance(message, Share) or not twin.lapsed(block))

    def begin(self, phase: Phase, block: Block) -> None:
        """A phase starts in this block."""
        self.phase = phase
        self.until = block.time_ms + getattr(self.terms.phases, LASTS[phase])
        self.until_height = block.height + self.terms.phases.blocks + 1  # So many after this one belong to it.

    def catch_up(self, block: Block) -> None:
        """A phase that has run out is over, and the next one begins here."""
        if not self.lapsed(block):
            return
        self.lapses += 1
        match self.phase:
            case Phase.RESERVING:
                self._train(block)
            case Phase.COMMITTING:
                self._reach_the_barrier(block)
            case Phase.ATTESTING:
                self._fix_the_set(block)
            case Phase.SEALING:
                self._unseal(block)
            case _:
                self._count(block)

    def stop(self, block: Block) -> None:
        """The version it starts from has fallen. What its phase had meant until then, or meant by its end, stays."""
        self.verdicts, self.decision, self.fixed = [], None, None
        if self.phase is Phase.ATTESTING and self.lapsed(block):
            self._blame()
        if self.phase is Phase.OPENING:
            winner = self._winner()
            self._settle(winner, over=self.lapsed(block))
            if winner in self.candidates:
                self._find(self.candidates[winner])
            self.candidates = {}
        if self.lapsed(block) and self.trained and not self.revealed:
            self.revealed = len(self.commits) >= self.needed
        else:
            self.stopped = not self.revealed
        self.phase, self.fallen = Phase.VOID, True

    def disown(self, organisation: str, block: Block) -> None:
        """A key of an organisation was reported stolen: what it committed is out while others can still commit."""
        made = self.commits.get(organisation)
        if made is not None and self.phase is Phase.COMMITTING and not self.lapsed(block) and not self.live(*made):
            del self.commits[organisation]

    # --- what a message does ---

    def _reserve(self, organisation: str, dataset: str, block: Block) -> None:
        self._require(organisation not in self.seats, "one voice", f"{organisation} has a second seat")
        self.seats[organisation] = dataset
        if self.invited <= self.seats.keys():
            self._train(block)

    def _commit(self, organisation: str, signed: Signed, block: Block) -> None:
        alone = organisation in self.seats and organisation not in self.commits
        self._require(alone, "one voice", f"{organisation} committed without a seat, or twice")
        self.commits[organisation] = signed
        if len(self.commits) == len(self.seats):
            self._reach_the_barrier(block)

    def _attest(self, message: Attest, verifier: str, signed: Signed, block: Block) -> None:
        owners = tuple(owner for owner, number in self.roster.items() if _names(message.held, number))
        meant = sum(byte.bit_count() for byte in message.held)
        known = len(owners) == meant and all(owner in self.commits for owner in owners)
        fresh = verifier in self.terms.verifiers and verifier not in self._finders()
        self._require(known and fresh, "agreed set", f"{verifier} attested {owners}")
        self.held[verifier], self.attests[verifier] = owners, signed
        if len(self._finders()) == len(self.terms.verifiers):
            self._fix_the_set(block)

    def _seal(self, message: Seal, organisation: str, signed: Signed, block: Block) -> None:
        over = {owner for owner, number in self.roster.items() if _names(message.agreed, number)}
        self._require(over == set(self.agreed), "agreed set", f"{organisation} sealed over {over}")
        mine = organisation in self.terms.verifiers and organisation not in self._standing()
        self._require(mine, "sealed ballots", f"{organisation} sealed a second ballot, or has none")
        opened = any(ballot.digest is not None for ballot in self.box.values())
        self._require(not opened, "sealed ballots", f"{organisation} sealed a ballot when others were open")
        self.box.pop(organisation, None)  # What a thief had sealed; this one stands last.
        self.box[organisation] = Sealed(message.seal, *signed)
        if len(self._standing()) == len(self.terms.verifiers):
            self._unseal(block)

    def _open(self, message: OpenBallot, organisation: str, block: Block) -> None:
        ballot = self.box.get(organisation)
        if ballot is None or ballot.digest is not None:
            raise Violation("sealed ballots", f"{self.name}: {organisation} opened what it had not sealed, or again")
        named = candidate_digest(message.candidate)
        said = Statement(organisation, message.task, message.round, message.salt, named, message.correct)
        hashed = crypto.sha256(crypto.tagged("ballot", said.encode()))
        self._require(hashed == ballot.seal, "sealed ballots", f"{organisation} opened another ballot than it sealed")
        self._require_possible(message, organisation)
        ballot.digest, ballot.correct = named, message.correct
        self.candidates[named] = message.candidate
        if all(other.digest is not None for other in self.box.values()):
            self._count(block)

    # --- how a phase ends ---

    def _train(self, block: Block) -> None:
        if len(self.seats) < self.needed:
            self.phase = Phase.VOID
            return
        self.trained = True
        self.begin(Phase.COMMITTING, block)

    def _reach_the_barrier(self, block: Block) -> None:
        if len(self.commits) < self.needed:
            self.phase = Phase.VOID
            return
        self.revealed = True
        self.begin(Phase.ATTESTING, block)

    def _fix_the_set(self, block: Block) -> None:
        """Enough others hold it: it is in."""
        self._blame()
        there = [owner for owner in self._by_number(self.commits) if self._is_found(owner)]
        self._agree(tuple(owner for owner in there if self.live(*self.commits[owner])), block)

    def _blame(self) -> None:
        """A quorum looked, and not enough found it: it is missing."""
        if len(self._finders()) >= self.majority:
            self.verdicts += [Said(owner, Verdict.MISSING) for owner in self.commits if not self._is_found(owner)]

    def _finders(self) -> list[str]:
        """The verifiers whose attestation counts."""
        return [name for name in self.held if self.live(*self.attests[name])]

    def _is_found(self, owner: str) -> bool:
        finders = [name for name in self._finders() if owner in self.held[name] and name != owner]
        return len(finders) > self.terms.verifier_faults

    def _agree(self, agreed: tuple[str, ...], block: Block) -> None:
        self.agreed = agreed
        if len(agreed) < self.terms.estimator.minimum:
            self.phase = Phase.VOID
        else:
            self.fixed = len(agreed)
            self.begin(Phase.SEALING, block)

    def _standing(self) -> dict[str, Sealed]:
        """The ballots whose key was good."""
        return {name: one for name, one in self.box.items() if self.live(one.signer, one.place)}

    def _unseal(self, block: Block) -> None:
        standing = self._standing()
        if len(standing) < self.majority:
            self.phase = Phase.VOID
        else:
            self.box = standing
            self.begin(Phase.OPENING, block)

    def _count(self, block: Block) -> None:
        """Who agrees, who pays, what is decided."""
        winner, counted = self._winner(), self._counted()
        untainted = tuple(owner for owner in self.agreed if self.live(*self.commits[owner]))
        made = self.candidates.get(winner) if winner is not None else None
        useful = untainted if made is None else tuple(owner for owner in untainted if owner not in self._refused(made))
        anew = made is not None and untainted != self.agreed and len(useful) >= self.terms.estimator.minimum
        self._settle(winner, over=True, anew=anew)
        if winner is None:
            self.phase = Phase.VOID
        elif untainted != self.agreed:
            self._find(self.candidates[winner], anew=anew)
            self.box = {}
            self._agree(useful, block)
        elif self.candidates[winner].artefact is None:
            self._find(self.candidates[winner])
            self.phase = Phase.VOID
        else:
            self._decide(winner, [self.box[name].correct for name in counted[winner]])
        self.candidates = {}

    def _counted(self) -> dict[bytes, list[str]]:
        """Who opened which digest, with a key that was good."""
        counted: dict[bytes, list[str]] = {}
        for name, ballot in self.box.items():
            if ballot.digest is not None and self.live(ballot.signer, ballot.place):
                counted.setdefault(ballot.digest, []).append(name)
        return counted

    def _winner(self) -> bytes | None:
        return next((digest for digest, names in self._counted().items() if len(names) >= self.majority), None)

    def _settle(self, winner: bytes | None, *, over: bool, anew: bool = False) -> None:
        """What ballots earn or owe. None is late before the phase is over."""
        for name, ballot in self.box.items():
            if ballot.digest is None:
                self.verdicts += [Said(name, Verdict.UNOPENED)] if over else []
            elif winner is not None and ballot.digest != winner:
                self.verdicts.append(Said(name, Verdict.CONTRADICTED))
            elif winner is not None and name in self._counted()[winner] and not anew:
                self.verdicts.append(Said(name, Verdict.CONFIRMED, (ballot.signer, ballot.place)))

    def _decide(self, winner: bytes, scores: list[int]) -> None:
        made = self.candidates[winner]
        self.phase = Phase.DECIDED
        self._find(made)
        self.decision = Decision(made, winner, sorted(scores)[(len(scores) - 1) // 2])

    def _refused(self, made: Candidate) -> list[str]:
        found = zip(self.agreed, made.judgements, strict=True)
        return [owner for owner, byte in found if SAYS[Finding(byte)] is Verdict.REFUSED]

    def _find(self, made: Candidate, *, anew: bool = False) -> None:
        """What a recomputation says of those whose payloads it was over: refusals only, where it is made anew, or where
        no version follows."""
        anew = anew or made.artefact is None
        found = [
            Said(owner, SAYS[Finding(byte)], self.commits[owner])
            for owner, byte in zip(self.agreed, made.judgements, strict=True)
        ]
        stolen = [owner for owner in self.agreed if not self.live(*self.commits[owner])]
        refused = self._refused(made)
        self.verdicts += [
            one for one in found if one.organisation in refused or not (anew or one.organisation in stolen)
        ]

    # --- what must not be ---

    def _require_phase(self, message: RoundMessage, organisation: str, block: Block) -> None:
        right = self.phase in WANTS[type(message)]
        if right and (isinstance(message, Share) or not self.lapsed(block)):
            return
        match message:
            case Commit():
                promise = "the barrier" if self.trained else "training"
            case Attest() | Seal() | OpenBallot() if not self.revealed:
                promise = "the barrier"
            case OpenBallot() if self.phase is Phase.SEALING:
                promise = "sealed ballots"
            case _:
                promise = "phases"
        raise Violation(promise, f"{self.name}: {message.tag} of {organisation} was accepted in {self.phase}")

    def _require_possible(self, message: OpenBallot, organisation: str) -> None:
        """What any candidate of the round must be, whatever the payloads say."""
        made = message.candidate
        most = 0 if made.artefact is None else self.terms.canary_records
        usable = _usable(made)
        possible = message.correct <= most and (made.artefact is None or usable >= self.terms.estimator.minimum)
        self._require(
            possible, "possible ballots", f"{organisation} opened {message.correct} of {most}, {usable} usable"
        )

    def _by_number(self, names: dict[str, tuple[bytes, int]]) -> list[str]:
        return sorted(names, key=lambda name: self.roster[name])

    def _require(self, condition: bool, promise: str, why: str) -> None:
        if not condition:
            raise Violation(promise, f"{self.name}: {why}")


def _usable(made: Candidate) -> int:
    return sum(SAYS[Finding(byte)] is not Verdict.REFUSED for byte in made.judgements)


def _names(held: bytes, number: int) -> bool:
    """Whether a set of seat numbers has this one: eight to a byte, the lowest first."""
    return number // 8 < len(held) and bool(held[number // 8] >> number % 8 & 1)
