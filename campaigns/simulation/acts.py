"""What members do in a round, phase by phase: reserve, commit, attest, seal, open; and what some of them do instead.

Most are diligent. Some stay out, withdraw, drop out after training began, serve their payload to few, are silent,
copy a ballot, seal another candidate than follows from the set, or never open. Which of it befalls whom in which round
is drawn once and remembered by nobody: asked again, the same comes out (``_fate``).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

from contracts import ballot_box, contributions, identity, lineage, privacy_budget, rounds, tasks
from contracts.ballot_box import Statement, seal_of
from contracts.ballots import AdvanceRound, Attest, OpenBallot, Seal, Share
from contracts.contributions import Commit, NoiseSource, Reserve, Withdraw
from contracts.kernel import Message, View, bitmap
from contracts.lineage import VERDICTS, Candidate, Finding
from contracts.reputation import Verdict
from contracts.rounds import OpenRound, Round
from contracts.tasks import Task
from contracts.terms import Phase, Terms, needed_seats
from contracts.transition import BlockContext

from ..harness.chain import Member
from ..harness.consortium import artefact, cid, digest
from .members import CHAIN_ID, EVERYBODY

Due: TypeAlias = Iterator[tuple[Member, Message]]
BY_NAME = {member.name: member for member in EVERYBODY}
ANOTHER = "another"  # A second dataset, of those who have one.
SCORES = (92, 91, 90, 89, 88, 87, 93, 75)
FINDINGS = (*[Finding.AGGREGATED] * 18, Finding.OUTLIER, Finding.OUTLIER, Finding.LEFT_OUT, Finding.MALFORMED)


@dataclass(frozen=True)
class Here:
    """A round as of the block to come."""

    view: View
    terms: Terms
    number: int
    round: Round
    block: BlockContext

    def owners(self, seats: bytes) -> tuple[str, ...]:
        """The organisations of a set of seats."""
        return tasks.organisations_of(self.view, self.terms.task, seats)

    @property
    def box(self) -> dict[str, ballot_box.Ballot]:
        """The ballots that are sealed, by organisation."""
        box = ballot_box.BOXES.get(self.view, (self.terms.task, self.number))
        return {ballot.organisation: ballot for ballot in box.ballots} if box else {}

    @property
    def attested(self) -> dict[str, bytes]:
        """What verifiers hold, by organisation."""
        stored = ballot_box.ATTESTATIONS.get(self.view, (self.terms.task, self.number))
        return {row.organisation: row.held for row in stored.rows} if stored else {}


@dataclass
class Acts:
    """How the members of one consortium take part in rounds."""

    rng: Random
    _fates: int = field(init=False)
    _trouble: float = field(init=False)
    _declining: bool = field(init=False)

    def __post_init__(self) -> None:
        self._fates = self.rng.getrandbits(64)
        self._trouble = self.rng.choice((0.0, 0.3, 0.6, 1.0, 2.0))
        self._declining = self.rng.random() < 0.5

    def due(self, view: View, terms: Terms, task: Task, height: int, now: int) -> Due:
        """What could be done in the next block for the task's last round, or to open the next one."""
        block = BlockContext(CHAIN_ID, height + 1, now)
        if task.rounds == 0:
            yield from self._opening(terms, task)
            return
        here = Here(view, terms, task.rounds, rounds.ROUNDS.at(view, (terms.task, task.rounds)), block)
        if here.round.phase in rounds.OVER:
            yield from self._opening(terms, task)
        elif rounds.is_over(here.round, now, height + 1):
            yield from self._late(here, task)
        else:
            yield from self._in_phase(here, here.round.phase)

    # --- what a member says, the same whenever it is asked ---

    def commitment(self, terms: Terms, number: int, current: Round) -> Commit:
        """A commitment as agreed."""
        return Commit(
            task=terms.task,
            round=number,
            cid=cid(f"{terms.task} {number}"),
            digest=digest(f"{terms.task} {number}"),
            size=1_000,
            base=current.base,
            mechanism=terms.mechanism,
            noise=NoiseSource.OS_ENTROPY,
            code=digest("training code"),
        )

    def candidate(self, here: Here) -> Candidate:
        """What an honest verifier derives from the agreed set; no version when too little in it is of any use."""
        owners = here.owners(here.round.agreed)
        findings = [self._fate("finding", owner, here).choice(FINDINGS) for owner in owners]
        usable = sum(1 for finding in findings if VERDICTS[finding] is not Verdict.REFUSED)
        made = None
        if usable >= here.terms.estimator.minimum:
            made = artefact(f"{here.terms.model} {here.number}")
        return Candidate(here.terms.task, here.number, here.round.base, here.round.agreed, bytes(findings), made)

    def opening(self, here: Here, member: Member) -> OpenBallot:
        """The opening of a member's ballot, which says what it was sealed over."""
        copied = self._copied(here, member)
        if copied is not None:
            return self.opening(here, copied)
        made, correct = self.candidate(here), 0
        if made.artefact is not None:
            correct = self._score(here) + self._fate("machine", member.name, here).choice((0, 0, 0, 1, -1))
            match self._conduct(here, member):
                case "differs":
                    made = Candidate(made.task, made.round, made.parent, made.agreed, made.judgements, artefact("mine"))
                case "boasts":
                    correct = here.terms.canary_records + 1
        salt = digest(f"salt of {member.name} in {here.terms.task} {here.number}")
        return OpenBallot(here.terms.task, here.number, salt, made, correct)

    def ballot(self, here: Here, member: Member) -> Seal:
        """A member's sealed ballot."""
        copied = self._copied(here, member)
        if copied is not None:
            return Seal(here.terms.task, here.number, here.round.agreed, here.box[copied.name].seal)
        said = self.opening(here, member)
        named = lineage.candidate_digest(said.candidate)
        statement = Statement(member.name, said.task, said.round, said.salt, named, said.correct)
        return Seal(here.terms.task, here.number, here.round.agreed, seal_of(statement))

    # --- what is due ---

    def _opening(self, terms: Terms, task: Task) -> Due:
        ready = task.participants >= needed_seats(terms) and task.trained < terms.max_rounds
        if ready or self.rng.random() < 0.1:
            yield BY_NAME[self.rng.choice(terms.aggregators)], OpenRound(terms.task)

    def _late(self, here: Here, task: Task) -> Due:
        """The phase is over and nobody has said so: somebody does, or goes on as if it were, or comes too late."""
        if self.rng.random() < 0.85:
            yield self.rng.choice(EVERYBODY), AdvanceRound(here.terms.task, here.number)
        if self.rng.random() < 0.3:
            yield from self._in_phase(here, here.round.phase)
            return
        match here.round.phase:
            case Phase.RESERVING if bitmap.count(here.round.reserved) >= here.round.needed:
                yield from self._in_phase(here, Phase.COMMITTING)
            case Phase.COMMITTING if bitmap.count(here.round.committed) >= here.round.needed:
                yield from self._in_phase(here, Phase.ATTESTING)
            case Phase.SEALING:
                yield from self._in_phase(here, Phase.OPENING)
            case Phase.RESERVING | Phase.COMMITTING:
                yield from self._opening(here.terms, task)

    def _in_phase(self, here: Here, phase: Phase) -> Due:
        match phase:
            case Phase.RESERVING:
                yield from self._reserving(here)
            case Phase.COMMITTING:
                yield from self._committing(here)
            case Phase.ATTESTING:
                yield from self._attesting(here)
            case Phase.SEALING:
                yield from self._sealing(here)
            case Phase.OPENING:
                yield from self._unsealing(here)

    def _reserving(self, here: Here) -> Due:
        task = here.terms.task
        for name in tasks.ROSTERS.at(here.view, task).organisations:
            part = tasks.PARTICIPATIONS.at(here.view, (task, name))
            fate = self._fate("reserving", name, here)
            dataset = fate.choice(part.datasets)
            if not bitmap.has(here.round.reserved, part.number):
                absent = part.left or part.from_round > here.number or fate.random() < 0.05 * self._trouble
                affordable = affords(here, name, dataset)
                if (not absent and affordable) or self.rng.random() < (0.3 if part.left else 0.05):
                    yield BY_NAME[name], Reserve(task, here.number, dataset)
            elif fate.random() < 0.06 * self._trouble:
                yield BY_NAME[name], Withdraw(task, here.number)
            elif self.rng.random() < 0.04:  # A second seat for its other dataset.
                yield BY_NAME[name], Reserve(task, here.number, part.datasets[-1])

    def _committing(self, here: Here) -> Due:
        for name in here.owners(here.round.reserved):
            seat = contributions.SEATS.at(here.view, (here.terms.task, here.number, name))
            if seat.commitment is None and self._fate("training", name, here).random() >= 0.07 * self._trouble:
                yield BY_NAME[name], self.commitment(here.terms, here.number, here.round)
            elif seat.commitment is None and self.rng.random() < 0.05:
                yield BY_NAME[name], Withdraw(here.terms.task, here.number)  # Too late for that.

    def _attesting(self, here: Here) -> Due:
        attested = here.attested
        outage = 0.5 if self._fate("outage", here).random() < 0.1 * self._trouble else 0.05 * self._trouble
        for name in here.terms.verifiers:
            if name not in attested and self._fate("attesting", name, here).random() >= outage:
                yield BY_NAME[name], Attest(here.terms.task, here.number, self._held(here, name))
        yield from self._sharing(here, attested)

    def _sharing(self, here: Here, attested: dict[str, bytes]) -> Due:
        if attested and self.rng.random() < 0.15:
            name = self.rng.choice(list(attested))
            for owner in here.owners(attested[name])[:1]:
                copy = cid(f"copy of {owner} by {name}")
                yield BY_NAME[name], Share(here.terms.task, here.number, owner, copy, 1_000)

    def _sealing(self, here: Here) -> Due:
        box = here.box
        for name in here.terms.verifiers:
            member = BY_NAME[name]
            if name in box:
                if self.rng.random() < 0.03:  # It would have its ballot known before others have sealed theirs.
                    yield member, self.opening(here, member)
                continue
            copied = self._copied(here, member)
            if self._conduct(here, member) != "abstains" and (copied is None or copied.name in box):
                yield member, self.ballot(here, member)
        yield from self._sharing(here, here.attested)

    def _unsealing(self, here: Here) -> Due:
        for name, ballot in here.box.items():
            member = BY_NAME[name]
            if ballot.opened is None and self._conduct(here, member) != "never opens":
                yield member, self.opening(here, member)

    # --- fates ---

    def _score(self, here: Here) -> int:
        """What the candidate of a round scores, to within a record. Some models get a little worse every time."""
        if self._declining:
            return SCORES[0] - 2 * lineage.MODELS.at(here.view, here.terms.model).latest
        return self._fate("score", here).choice(SCORES)

    def _held(self, here: Here, verifier: str) -> bytes:
        """Which payloads a verifier could fetch: some participants serve nobody, or one or two verifiers."""
        held = []
        for seat, owner in zip(bitmap.numbers(here.round.committed), here.owners(here.round.committed), strict=True):
            fate = self._fate("serving", owner, here)
            served: tuple[str, ...] = here.terms.verifiers
            if fate.random() < 0.12 * self._trouble:
                served = tuple(fate.sample(here.terms.verifiers, fate.choice((0, 0, 1, 1, 2))))
            if verifier in served or verifier == owner:
                held.append(seat)
        return bitmap.of(held)

    def _conduct(self, here: Here, member: Member) -> str:
        """How a verifier deals with its ballot."""
        fate = self._fate("ballot", member.name, here)
        if fate.random() >= 0.15 * self._trouble:
            return "honest"
        return fate.choice(("abstains", "copies", "differs", "differs", "boasts", "never opens", "never opens"))

    def _copied(self, here: Here, member: Member) -> Member | None:
        """Whose ballot a member copies, if it copies one: that of the first who makes one of its own."""
        if self._conduct(here, member) != "copies":
            return None
        others = (BY_NAME[name] for name in here.terms.verifiers if name != member.name)
        return next((other for other in others if self._conduct(here, other) != "copies"), None)

    def _fate(self, *about: object) -> Random:
        """A source of choices about something in a round: always the same one."""
        names = (f"{one.terms.task} {one.number}" if isinstance(one, Here) else str(one) for one in about)
        return Random(f"{self._fates} {' '.join(names)}")


def affords(here: Here, organisation: str, name: str) -> bool:
    """Whether a round of the task fits what the dataset has left."""
    dataset = identity.DATASETS.get(here.view, (organisation, name))
    if dataset is None:
        return False
    spent = privacy_budget.dataset_account(here.view, organisation, name, here.block).spent
    wanted = spent + tasks.TASKS.at(here.view, here.terms.task).price
    return privacy_budget.fits(wanted, dataset.promise)
