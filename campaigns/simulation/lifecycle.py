"""What the honest members of a consortium do next, read off the committed state as a client reads it.

Each function yields who would sign what now: enrol keys and datasets, vote, join and leave, open rounds; what they do
in a round is in ``acts``. Nothing is remembered between blocks, so what got lost is due again.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from contracts import governance, identity, origin, rounds, tasks
from contracts.governance import AdmitOrganisation, AdmitValidator, OpenTask, Propose, RemoveValidator, Vote
from contracts.identity import AddKey, RegisterDataset
from contracts.kernel import Message, View
from contracts.kernel.types import Purpose
from contracts.tasks import JoinTask
from contracts.terms import Terms

from ..harness.chain import Member, Signer
from ..harness.consortium import DATA_CLASS, DATASET, DELTA_INVERSE, as_member
from .acts import ANOTHER, Acts, Due
from .members import CONTRIBUTORS, EVERYBODY, GENESIS_CAP, LATECOMERS, ROLES_OF, VERIFIERS

Limit = tuple[int, int | None]  # In nano-ε, and the order at which it is held where its owner chooses one.
# One round, three, as many as the terms allow; and as much at an order that admits three rounds of the plain task.
LIMITS: tuple[Limit, ...] = (
    (2_300_000_000, None),
    (4_200_000_000, None),
    *[(GENESIS_CAP, None)] * 3,
    (GENESIS_CAP, 16_000),
)
WORKERS_MAX = 4


@dataclass
class Lifecycle:
    """The intentions of all honest members. ``workers`` numbers each member's current workload key."""

    rng: Random
    tasks: tuple[Terms, ...]
    limit_of: dict[Member, Limit]
    workers: dict[Member, int] = field(default_factory=lambda: dict.fromkeys(EVERYBODY, 0))

    def __post_init__(self) -> None:
        self.acts = Acts(self.rng)
        self._with_another = [member for member in self.limit_of if self.rng.random() < 0.3]

    def worker(self, member: Member) -> Signer:
        """The workload key that the member signs with now."""
        return member.key(Purpose.WORKLOAD, self.workers[member])

    def signer(self, who: Member | Signer, message: Message) -> Signer:
        """The key with which a member signs a message now; a key signs as itself."""
        if isinstance(who, Signer):
            return who
        return self.worker(who) if message.purpose is Purpose.WORKLOAD else who.human

    def due(self, view: View, height: int, now: int) -> Due:
        """Everything that somebody could do in the next block; what a round waits for comes first."""
        known = [(terms, tasks.TASKS.get(view, terms.task)) for terms in self.tasks]
        for terms, task in known:
            if task is not None:
                yield from self.acts.due(view, terms, task, height, now)
        yield from self._enrolments(view)
        for terms, task in known:
            if task is not None:
                yield from self._joining(view, terms, task)
        yield from self._motions(view, height, now)
        yield from self._votes(view, now)

    def has_round_under_way(self, view: View) -> bool:
        """Whether any task has a round that is neither decided nor void."""
        known = ((terms.task, tasks.TASKS.get(view, terms.task)) for terms in self.tasks)
        last = (rounds.ROUNDS.get(view, (name, task.rounds)) for name, task in known if task and task.rounds)
        return any(one is not None and one.phase not in rounds.OVER for one in last)

    def _enrolments(self, view: View) -> Due:
        for member in EVERYBODY:
            if identity.ORGANISATIONS.get(view, member.name) is None:
                continue
            key = identity.KEYS.get(view, self.worker(member).public)
            if key is not None and key.revoked_from is not None and self.workers[member] < WORKERS_MAX:
                self.workers[member] += 1
                key = None
            if key is None:
                yield member, AddKey(self.worker(member).enrolment(origin.genesis_of(view)))
            for dataset in self._datasets(member):
                if identity.DATASETS.get(view, (member.name, dataset)) is None:
                    limit, order = self.limit_of[member]
                    yield member, RegisterDataset(dataset, DATA_CLASS, limit, DELTA_INVERSE, order)

    def _datasets(self, member: Member) -> tuple[str, ...]:
        if member not in self.limit_of:
            return ()
        return (DATASET, ANOTHER) if member in self._with_another else (DATASET,)

    def _motions(self, view: View, height: int, now: int) -> Due:
        """Actions nobody has put to the vote yet."""
        pending = [proposal.action for _, proposal in open_proposals(view) if now < proposal.expires_at]
        opening = [action.terms.task for action in pending if isinstance(action, OpenTask)]
        for number, terms in enumerate(self.tasks):
            if tasks.TASKS.get(view, terms.task) is None and terms.task not in opening and height >= 6 * number:
                yield self.rng.choice(VERIFIERS), Propose(OpenTask(terms))
        admitting = [action.admission.organisation for action in pending if isinstance(action, AdmitOrganisation)]
        for member in LATECOMERS:
            known = identity.ORGANISATIONS.get(view, member.name) is not None or member.name in admitting
            if not known and height > 8 and self.rng.random() < 0.2:
                yield self.rng.choice(VERIFIERS), Propose(admission(member, origin.genesis_of(view)))

    def _votes(self, view: View, now: int) -> Due:
        for number, proposal in open_proposals(view):
            if now >= proposal.expires_at or isinstance(proposal.action, (AdmitValidator, RemoveValidator)):
                continue  # Expired, or a matter of the elections.
            for member in EVERYBODY:
                ballots = (*proposal.approvals, *proposal.rejections)
                voted = any(ballot.organisation == member.name for ballot in ballots)
                if identity.is_active(view, member.name) and not voted:
                    yield member, Vote(number, approve=self.rng.random() < 0.93)

    def _joining(self, view: View, terms: Terms, task: tasks.Task) -> Due:
        for member in CONTRIBUTORS:
            part = tasks.PARTICIPATIONS.get(view, (terms.task, member.name))
            if part is not None and part.left and self.rng.random() < 0.8:
                continue
            known = part.datasets if part is not None and not part.left else ()
            for dataset in (DATASET, ANOTHER):
                if dataset not in known and identity.DATASETS.get(view, (member.name, dataset)) is not None:
                    yield member, JoinTask(terms.task, dataset, task.terms_digest)


def admission(member: Member, genesis: bytes) -> AdmitOrganisation:
    """The motion to admit a member."""
    return AdmitOrganisation(as_member(member, ROLES_OF[member], GENESIS_CAP, genesis))


def open_proposals(view: View) -> Iterator[tuple[int, governance.Proposal]]:
    """The proposals that can still be voted on, expired ones included."""
    counter = governance.COUNTER.get(view)
    for number in range(1, counter.proposals + 1 if counter else 1):
        proposal = governance.PROPOSALS.at(view, number)
        if proposal.status is governance.ProposalStatus.OPEN:
            yield number, proposal


def choose_limits(rng: Random) -> dict[Member, Limit]:
    """What each contributor promises its patients."""
    return {member: rng.choice(LIMITS) for member in CONTRIBUTORS}
