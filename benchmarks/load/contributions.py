"""The real contribution path: reserve and commit, for every seat of many rounds, and the rounds' own control.

Every rule runs: seats, phases, the price held on two accounts and spent at the barrier, replay protection, signatures.
An organisation may hold back eight prices at a time, and a price is held until its round's barrier, so up to eight
rounds of each organisation are under way at once. Nobody attests: half a second after its barrier a round is void, and
the next one takes its place.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from benchmarks.load.network import Member
from benchmarks.load.steps import Step, mark
from contracts.ballots import AdvanceRound
from contracts.contributions import Commit, NoiseSource, Reserve
from contracts.governance import OpenTask, Propose, Vote
from contracts.identity import AddKey, RegisterDataset
from contracts.kernel import crypto, limits
from contracts.models import quorum
from contracts.rounds import OpenRound
from contracts.tasks import JoinTask, terms_digest
from contracts.terms import (
    Artefact,
    CommitTiming,
    Estimator,
    EstimatorKind,
    Mechanism,
    MechanismKind,
    Phases,
    Relation,
    Terms,
    Update,
)

MEMBERS: Final = limits.ORGANISATIONS
SEATS: Final = (64, 256)
_SEATS_IN_ALL: Final = 12 * MEMBERS  # Of all tasks: more than an organisation can hold prices for, while some wait.
_PROPOSERS: Final = 8  # The last members propose the tasks: others may vote without knowing whose each one is.
DATASET: Final = "records"
_CLASS: Final = "synthetic"
_ATTEST_MS: Final = limits.PHASE_MS_MIN  # How long a round waits for attestations that do not come.
_ATTEST_SECONDS: Final = _ATTEST_MS / 1000 + 0.1
_HOUR_MS: Final = 3_600_000
_DIGEST: Final = crypto.sha256(b"a payload")
_CID: Final = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
_ARTEFACT: Final = Artefact(_CID, _DIGEST, 1_000)
_MECHANISM: Final = Mechanism(  # So noisy that a budget lasts for thousands of rounds.
    kind=MechanismKind.GAUSSIAN,
    relation=Relation.ADD_REMOVE,
    clip_milli=1_000,
    noise_milli=100_000,
    sampling_num=1,
    sampling_den=1,
    steps=1,
    normaliser=100,
)


def tasks_of(seats: int) -> int:
    """How many tasks there are for rounds of so many seats."""
    return _SEATS_IN_ALL // max(seats, 64)


def terms_of(number: int, members: Sequence[Member], seats: int) -> Terms:
    """The terms of one task: the first member aggregates, it and the next two verify."""
    verifiers = tuple(member.name for member in members[:3])
    return Terms(
        task=name_of(number),
        model=f"model-{number:03}",
        data_class=_CLASS,
        mechanism=_MECHANISM,
        learning_rate_micro=100_000,
        estimator=Estimator(EstimatorKind.MEDIAN, byzantine=0, minimum=min(3, seats)),
        update=Update(scale_bits=16, max_norm_milli=10_000, max_bytes=100_000),
        inputs=_ARTEFACT,
        initial=_ARTEFACT,
        canary=_ARTEFACT,
        canary_records=100,
        canary_margin_ppm=20_000,
        minimum_reputation=-600_000,
        aggregators=verifiers[:1],
        verifiers=verifiers,
        verifier_faults=0,
        recipients=verifiers,
        retention_ms=_HOUR_MS,
        phases=Phases(_HOUR_MS, _HOUR_MS, _ATTEST_MS, _HOUR_MS, _HOUR_MS, blocks=1, commits=CommitTiming.WHEN_READY),
        max_rounds=limits.ROUNDS_PER_TASK,
    )


def seated(number: int, members: Sequence[Member], seats: int) -> list[Member]:
    """Who has a seat in a task: all members in turn, so that each is in as many tasks as the others."""
    return [members[(number * seats + place) % len(members)] for place in range(min(seats, len(members)))]


def set_up(members: Sequence[Member], seats: int, tasks: int) -> Iterator[list[Step]]:
    """What must be in blocks before the first contribution, in waves: each when the one before is in blocks.

    Workload keys, datasets and proposals to open the tasks; the votes that open them; joining them; their first rounds.
    """
    all_terms = [terms_of(number, members, seats) for number in range(tasks)]
    lab, limit = members[0], limits.EPSILON_NANO_MAX
    yield [
        *(member.step(AddKey(member.worker.enrolment(member.ledger.genesis, member.name))) for member in members),
        *(member.step(RegisterDataset(DATASET, _CLASS, limit, limits.DELTA_INVERSE_MIN)) for member in members),
        *(members[-1 - number % _PROPOSERS].step(Propose(OpenTask(terms))) for number, terms in enumerate(all_terms)),
    ]
    voters = members[: quorum(len(members)) - 1]
    yield [member.step(Vote(number, approve=True)) for number in range(1, tasks + 1) for member in voters]
    yield [
        member.step(JoinTask(terms.task, DATASET, terms_digest(terms)))
        for number, terms in enumerate(all_terms)
        for member in seated(number, members, seats)
    ]
    yield [lab.step(OpenRound(terms.task)) for terms in all_terms]


def contributions(members: Sequence[Member], seats: int, rounds: int, tasks: range) -> list[Step]:
    """Every contribution of the tasks' first rounds, of which the first is open, in an order that can be sent."""
    steps: list[Step] = []
    opened: dict[int, Step] = {}
    freed: dict[tuple[str, int], Step] = {}  # By organisation and place among its holds: the barrier that frees it.
    for number in range(1, rounds + 1):
        for task in tasks:
            name, seated_now = name_of(task), seated(task, members, seats)
            place = task * seats // len(members) % limits.HOLDS_PER_ACCOUNT
            reserves = [member.step(contribution(task, number)[0]) for member in seated_now]
            everybody = mark(*reserves)
            commits = [member.step(contribution(task, number)[1]).after(everybody) for member in seated_now]
            barrier = mark(*commits)
            for member, reserve in zip(seated_now, reserves, strict=True):
                reserve.after(opened.get(task), freed.get((member.name, place)))
                freed[member.name, place] = barrier
            void = members[0].step(AdvanceRound(name, number)).after(barrier)
            void.pause = _ATTEST_SECONDS
            opened[task] = members[0].step(OpenRound(name)).after(void)
            steps += (*reserves, *commits, void, opened[task])
    return steps


def contribution(task: int, number: int) -> tuple[Reserve, Commit]:
    """The two messages of a seat, in their order."""
    name = name_of(task)
    commit = Commit(
        task=name,
        round=number,
        cid=_CID,
        digest=_DIGEST,
        size=50_000,
        base=0,
        mechanism=_MECHANISM,
        noise=NoiseSource.OS_ENTROPY,
        code=_DIGEST,
    )
    return Reserve(name, number, DATASET), commit


def name_of(task: int) -> str:
    """The name of the task of this number, from 0."""
    return f"task-{task:03}"
