"""What the honest members of a consortium do next, read off the committed state as a client reads it.

Each function yields who would sign what now: enrol keys and datasets, vote, join, open rounds, reserve, commit,
publish, close, propose, vote on versions. Nothing is remembered between blocks, so what got lost is due again.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

from contracts import governance, identity, lineage, privacy_budget, rounds
from contracts.contributions import Commit, NoiseSource, Publish, Reserve
from contracts.governance import AdmitOrganisation, AdmitValidator, OpenTask, Propose, RemoveValidator, Vote
from contracts.identity import AddKey, RegisterDataset
from contracts.kernel import Message, View
from contracts.kernel.types import Purpose
from contracts.lineage import Judgement
from contracts.models import ProposeVersion, VoteVersion
from contracts.reputation import Verdict
from contracts.rounds import CloseRound, JoinTask, OpenRound, Progress, Round, RoundStatus
from contracts.terms import Terms

from ..harness.chain import Member, Signer
from ..harness.consortium import DATA_CLASS, DATASET, DELTA_INVERSE, artefact, as_member, cid, digest
from .members import CHAIN_ID, EVERYBODY, GENESIS_CAP, HOSPITALS, LATECOMERS, ROLES_OF, VERIFIERS

Due: TypeAlias = Iterator[tuple[Member, Message]]
BY_NAME = {member.name: member for member in EVERYBODY}
LIMITS = (2_300_000_000, 4_200_000_000, GENESIS_CAP, GENESIS_CAP)  # One round, three, as many as the terms allow.
WORKERS_MAX = 4


@dataclass
class Lifecycle:
    """The intentions of all honest members. ``workers`` numbers each member's current workload key."""

    rng: Random
    tasks: tuple[Terms, ...]
    limit_of: dict[Member, int]
    workers: dict[Member, int] = field(default_factory=lambda: dict.fromkeys(EVERYBODY, 0))

    def worker(self, member: Member) -> Signer:
        """The workload key that the member signs with now."""
        return member.key(Purpose.WORKLOAD, self.workers[member])

    def signer(self, who: Member | Signer, message: Message) -> Signer:
        """The key with which a member signs a message now; a key signs as itself."""
        if isinstance(who, Signer):
            return who
        return self.worker(who) if message.purpose is Purpose.WORKLOAD else who.human

    def due(self, view: View, height: int, now: int) -> Due:
        """Everything that somebody could do in the next block."""
        yield from self._enrolments(view)
        yield from self._motions(view, height)
        yield from self._votes(view, now)
        for terms in self.tasks:
            task = rounds.TASKS.get(view, terms.task)
            if task is None:
                continue
            yield from self._joining(view, terms, task)
            last = rounds.ROUNDS.get(view, (terms.task, task.rounds)) if task.rounds else None
            if last is None or last.status in (RoundStatus.DECIDED, RoundStatus.VOID):
                ready = terms.estimator.minimum < len(task.participants) and task.rounds < terms.max_rounds
                if ready or self.rng.random() < 0.1:
                    yield self._aggregator(terms), OpenRound(terms.task)
            elif last.status is RoundStatus.OPEN:
                yield from self._contributing(view, terms, task.rounds, last, now)
            else:
                yield from self._deciding(view, terms, task.rounds, last, now)

    def commitment(self, terms: Terms, number: int, current: Round) -> Commit:
        """A commitment as agreed."""
        return Commit(
            task=terms.task,
            round=number,
            dataset=DATASET,
            cid=cid(f"{terms.task} {number}"),
            digest=digest(f"{terms.task} {number}"),
            size=1_000,
            base=current.base,
            mechanism=terms.mechanism,
            noise=NoiseSource.OS_ENTROPY,
            code=digest("training code"),
        )

    def proposal(self, view: View, terms: Terms, number: int, current: Round) -> ProposeVersion | None:
        """What an honest aggregator derives from a closed round; None when nothing in it can be accepted."""
        score = self.rng.choice((90, 91, 92, 75))
        judgements = tuple(
            Judgement(seat.organisation, seat.dataset, self._verdict(view, terms, number, seat.organisation), "")
            for seat in current.seats
            if seat.progress is Progress.PUBLISHED
        )
        if not any(judgement.verdict is Verdict.ACCEPTED for judgement in judgements):
            return None
        made = lineage.Candidate(
            terms.task, number, current.base, artefact(f"{terms.model} {number}"), score, 100, judgements
        )
        return ProposeVersion(made)

    def _verdict(self, view: View, terms: Terms, number: int, organisation: str) -> Verdict:
        if not lineage.key_was_live(view, terms.task, number, organisation, DATASET):
            return Verdict.WITHDRAWN
        return self.rng.choice((Verdict.ACCEPTED,) * 9 + (Verdict.FILTERED,))

    def _enrolments(self, view: View) -> Due:
        for member in EVERYBODY:
            if identity.ORGANISATIONS.get(view, member.name) is None:
                continue
            key = identity.KEYS.get(view, self.worker(member).public)
            if key is not None and key.revoked_from is not None and self.workers[member] < WORKERS_MAX:
                self.workers[member] += 1
                key = None
            if key is None:
                yield member, AddKey(self.worker(member).enrolment(CHAIN_ID))
            registered = identity.DATASETS.get(view, (member.name, DATASET)) is not None
            if member in self.limit_of and not registered:
                yield member, RegisterDataset(DATASET, DATA_CLASS, self.limit_of[member], DELTA_INVERSE)

    def _motions(self, view: View, height: int) -> Due:
        """Actions nobody has put to the vote yet."""
        pending = [proposal.action for _, proposal in open_proposals(view)]
        opening = [action.terms.task for action in pending if isinstance(action, OpenTask)]
        for number, terms in enumerate(self.tasks):
            if rounds.TASKS.get(view, terms.task) is None and terms.task not in opening and height >= 6 * number:
                yield self.rng.choice(VERIFIERS), Propose(OpenTask(terms))
        admitting = [action.admission.organisation for action in pending if isinstance(action, AdmitOrganisation)]
        for member in LATECOMERS:
            known = identity.ORGANISATIONS.get(view, member.name) is not None or member.name in admitting
            if not known and height > 8 and self.rng.random() < 0.2:
                yield self.rng.choice(VERIFIERS), Propose(admission(member))

    def _votes(self, view: View, now: int) -> Due:
        for number, proposal in open_proposals(view):
            if now >= proposal.expires_at or isinstance(proposal.action, (AdmitValidator, RemoveValidator)):
                continue  # Expired, or a matter of the elections.
            for member in EVERYBODY:
                organisation = identity.ORGANISATIONS.get(view, member.name)
                voted = member.name in (*proposal.approvals, *proposal.rejections)
                if organisation is not None and organisation.enrolled_at < proposal.opened_at and not voted:
                    yield member, Vote(number, approve=self.rng.random() < 0.93)

    def _joining(self, view: View, terms: Terms, task: rounds.Task) -> Due:
        for member in HOSPITALS:
            joined = rounds.Participant(member.name, DATASET) in task.participants
            if not joined and identity.DATASETS.get(view, (member.name, DATASET)) is not None:
                yield member, JoinTask(terms.task, DATASET, task.terms_digest)

    def _contributing(self, view: View, terms: Terms, number: int, current: Round, now: int) -> Due:
        moving = False
        for seat in current.seats:
            member = BY_NAME[seat.organisation]
            if not rounds.may_move(seat, current, now):
                continue
            moving = True
            if seat.progress is Progress.INVITED:
                if affords(view, member.name, terms) or self.rng.random() < 0.1:
                    yield member, Reserve(terms.task, number, DATASET)
            elif seat.progress is Progress.RESERVED:
                yield member, self.commitment(terms, number, current)
            else:
                yield member, Publish(terms.task, number, DATASET)
        if not moving:
            yield self._aggregator(terms), CloseRound(terms.task, number)

    def _deciding(self, view: View, terms: Terms, number: int, current: Round, now: int) -> Due:
        model = lineage.MODELS.at(view, terms.model)
        version = lineage.VERSIONS.at(view, (terms.model, model.latest))
        if version.round == number and version.status is lineage.VersionStatus.PROPOSED:
            for member in VERIFIERS:
                voted = any(ballot.organisation == member.name for ballot in version.ballots)
                if not voted and member.name != version.proposer:
                    honest = self.rng.random() < 0.9
                    yield member, VoteVersion(terms.model, model.latest, version.digest if honest else digest("else"))
            return
        turn = rounds.turn_of(terms, current, now)
        if turn >= len(terms.aggregators):
            yield self._aggregator(terms), OpenRound(terms.task)  # Voids what nobody proposed for.
            return
        made = self.proposal(view, terms, number, current)
        if made is not None:
            yield BY_NAME[terms.aggregators[turn]], made

    def _aggregator(self, terms: Terms) -> Member:
        return BY_NAME[self.rng.choice(terms.aggregators)]


def affords(view: View, organisation: str, terms: Terms) -> bool:
    """Whether a round of the task fits what the dataset has left, lapsed reservations aside."""
    dataset = identity.DATASETS.at(view, (organisation, DATASET))
    spent = privacy_budget.dataset_account(view, organisation, DATASET).spent
    wanted = spent + rounds.TASKS.at(view, terms.task).price
    return privacy_budget.fits(wanted, dataset.promise)


def admission(member: Member) -> AdmitOrganisation:
    """The motion to admit a member."""
    return AdmitOrganisation(as_member(member, ROLES_OF[member], GENESIS_CAP, CHAIN_ID))


def open_proposals(view: View) -> Iterator[tuple[int, governance.Proposal]]:
    """The proposals that can still be voted on, expired ones included."""
    counter = governance.COUNTER.get(view)
    for number in range(1, counter.proposals + 1 if counter else 1):
        proposal = governance.PROPOSALS.at(view, number)
        if proposal.status is governance.ProposalStatus.OPEN:
            yield number, proposal


def choose_limits(rng: Random) -> dict[Member, int]:
    """What each hospital promises its patients."""
    return {member: rng.choice(LIMITS) for member in HOSPITALS}
