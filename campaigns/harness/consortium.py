"""A consortium in small integers, and its life as stages: four hospitals, two labs, an auditor, one task.

Each stage is built once per test session, from the one before, and handed out as a fork; a published vector names the
stage it starts from (``tests/vectors/setup``). What differs from the ordinary course is what a test writes down::

    chain = consortium.reserved()
    chain.advance(PHASE_MS)
    chain.refused(DeadlinePassed, HOSPITAL_A, commit())
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache, wraps
from typing import Any

from contracts import lineage, reputation, rounds
from contracts.contributions import Commit, NoiseSource, Publish, Reserve
from contracts.governance import Action, OpenTask, Propose, Vote
from contracts.identity import AddKey, Admission, RegisterDataset, promised
from contracts.kernel import Event, crypto
from contracts.kernel.types import Role
from contracts.lineage import Candidate, Judgement
from contracts.models import ProposeVersion, VoteVersion
from contracts.reputation import Verdict
from contracts.rounds import CloseRound, JoinTask, OpenRound, Progress
from contracts.terms import (
    Artefact,
    Deadlines,
    Estimator,
    EstimatorKind,
    Mechanism,
    MechanismKind,
    Relation,
    Terms,
    Update,
)
from contracts.transition import Genesis

from .chain import CHAIN_ID, Chain, Member, Step

HOSPITAL_A, HOSPITAL_B = Member("hospital-a"), Member("hospital-b")
HOSPITAL_C, HOSPITAL_D = Member("hospital-c"), Member("hospital-d")
LAB, STAND_BY, AUDITOR = Member("lab"), Member("stand-by-lab"), Member("auditor")
NEWCOMER = Member("newcomer")
HOSPITALS = (HOSPITAL_A, HOSPITAL_B, HOSPITAL_C, HOSPITAL_D)
MEMBERS = (*HOSPITALS, LAB, STAND_BY, AUDITOR)
ROLES = {
    **dict.fromkeys(HOSPITALS, (Role.OPERATOR, Role.DATA_OWNER, Role.VERIFIER)),
    **dict.fromkeys((LAB, STAND_BY), (Role.OPERATOR, Role.AGGREGATOR, Role.VERIFIER)),
    AUDITOR: (Role.AUDITOR,),
}
OPERATORS = (HOSPITAL_A, HOSPITAL_B, LAB, STAND_BY)  # Of the first validators, one each.
TASK, MODEL, DATASET, DATA_CLASS = "breast-cancer", "classifier", "wdbc", "tumour-cytology"
PHASE_MS = 10_000
LIMIT = 4_500_000_000  # Of a dataset, and the cap of an organisation: three rounds of MECHANISM fit, a fourth does not.
DELTA_INVERSE = 100_000
PROMISE = promised(LIMIT, DELTA_INVERSE, None)  # Of every dataset and to every organisation.
RECIPIENT = "age1" + "q" * 58
MECHANISM = Mechanism(
    kind=MechanismKind.GAUSSIAN,
    relation=Relation.ADD_REMOVE,
    clip_milli=1_000,
    noise_milli=2_000,
    sampling_num=1,
    sampling_den=1,
    steps=1,
    normaliser=100,
)


def digest(text: str) -> bytes:
    """A digest that follows from a word."""
    return crypto.sha256(text.encode())


def cid(text: str) -> str:
    """Something shaped like a CID that follows from a word."""
    return "bafk" + "".join("abcdefghijklmnopqrstuvwxyz234567"[byte & 31] for byte in digest(text))


def artefact(text: str) -> Artefact:
    """Public bytes that follow from a word."""
    return Artefact(cid(text), digest(text), 1_000)


TERMS = Terms(
    task=TASK,
    model=MODEL,
    data_class=DATA_CLASS,
    mechanism=MECHANISM,
    learning_rate_micro=100_000,
    estimator=Estimator(EstimatorKind.MEDIAN, byzantine=1, minimum=3),
    update=Update(scale_bits=16, max_norm_milli=10_000, max_bytes=100_000),
    inputs=artefact("inputs"),
    initial=artefact("initial"),
    canary=artefact("canary"),
    canary_margin_ppm=20_000,
    minimum_reputation=-600_000,
    aggregators=(LAB.name, STAND_BY.name),
    verifiers=tuple(member.name for member in (*HOSPITALS, LAB, STAND_BY)),
    recipients=tuple(member.name for member in (*HOSPITALS, LAB, STAND_BY)),
    deadlines=Deadlines(PHASE_MS, PHASE_MS, PHASE_MS, PHASE_MS),
    max_rounds=20,
)


# Stages -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setup:
    """How a stage is reached: from which one, and by which steps."""

    name: str
    extends: str
    genesis: bytes
    steps: tuple[Step, ...]
    root: bytes


SETUPS: dict[str, Setup] = {}


def stage(build: Callable[[], Chain]) -> Callable[[], Chain]:
    """Build a situation once and name it; callers get forks, so none can spoil another's."""

    @cache
    def built() -> Chain:
        chain = build()
        SETUPS[build.__name__] = Setup(build.__name__, chain.setup, chain.genesis, chain.steps, chain.root)
        chain.setup, chain.steps = build.__name__, ()
        return chain

    @wraps(build)
    def forked() -> Chain:
        return built().fork()

    return forked


def as_member(member: Member, roles: tuple[Role, ...], epsilon_cap: int = LIMIT, chain_id: str = CHAIN_ID) -> Admission:
    """What makes an organisation a member: in the genesis, or by vote."""
    return Admission(
        organisation=member.name,
        legal_id=legal_id(member.name),
        roles=roles,
        recipient=RECIPIENT,
        epsilon_cap=epsilon_cap,
        delta_inverse=DELTA_INVERSE,
        order_milli=None,
        key=member.human.enrolment(chain_id),
    )


def legal_id(name: str) -> str:
    """Something shaped like a register's entry that follows from a name."""
    return f"REGISTER:{name.upper()}"


def genesis(*founders: Admission, operators: Iterable[Member] | None = None, chain_id: str = CHAIN_ID) -> Genesis:
    """A genesis with a validator for each operator; the first founder is made the only one if none is named."""
    if operators is None:
        first, *others = founders
        founders = (replace(first, roles=(Role.OPERATOR, *first.roles)), *others)
        operators = (Member(first.organisation),)
    return Genesis(chain_id, founders, tuple(member.validator.admission(chain_id) for member in operators))


def founded_by() -> Genesis:
    """The genesis of the consortium."""
    return genesis(*(as_member(member, ROLES[member]) for member in MEMBERS), operators=OPERATORS)


@stage
def founded() -> Chain:
    """Seven organisations, each with one human key; four of them run a validator."""
    return Chain(founded_by())


@stage
def equipped() -> Chain:
    """Every organisation has a workload key, every hospital a dataset."""
    chain = founded()
    succeed(chain, *((member, AddKey(member.worker.enrolment())) for member in MEMBERS))
    succeed(chain, *((hospital, register_dataset()) for hospital in HOSPITALS))
    return chain


@stage
def task_open() -> Chain:
    """The members have opened the task."""
    chain = equipped()
    pass_proposal(chain, OpenTask(TERMS))
    return chain


@stage
def joined() -> Chain:
    """Every hospital has consented to the terms."""
    chain = task_open()
    succeed(chain, *((hospital, join()) for hospital in HOSPITALS))
    return chain


@stage
def round_open() -> Chain:
    """The lab has opened round 1."""
    chain = joined()
    chain.submit(LAB, OpenRound(TASK))
    return chain


@stage
def reserved() -> Chain:
    """Every hospital has reserved."""
    chain = round_open()
    succeed(chain, *((hospital, reserve()) for hospital in HOSPITALS))
    return chain


@stage
def committed() -> Chain:
    """Every hospital has committed."""
    chain = reserved()
    succeed(chain, *((hospital, commit()) for hospital in HOSPITALS))
    return chain


@stage
def published() -> Chain:
    """Every hospital has published."""
    chain = committed()
    succeed(chain, *((hospital, publish()) for hospital in HOSPITALS))
    return chain


@stage
def closed() -> Chain:
    """Round 1 is closed with four contributions."""
    chain = published()
    chain.submit(LAB, CloseRound(TASK, 1))
    return chain


@stage
def proposed() -> Chain:
    """The lab has proposed version 1."""
    chain = closed()
    chain.submit(LAB, propose(chain))
    return chain


@stage
def promoted() -> Chain:
    """Version 1 is promoted."""
    chain = proposed()
    vote_all(chain, 1)
    return chain


@stage
def second_closed() -> Chain:
    """Round 2, on version 1, is closed with four contributions."""
    chain = promoted()
    chain.submit(LAB, OpenRound(TASK))
    contribute(chain, 2)
    close(chain, 2)
    return chain


@stage
def twice_promoted() -> Chain:
    """Versions 1 and 2 are promoted, one after the other."""
    chain = second_closed()
    chain.submit(LAB, propose(chain, 2))
    vote_all(chain, 2)
    return chain


@stage
def thrice_promoted() -> Chain:
    """Versions 1, 2 and 3 are promoted; no budget admits a fourth round."""
    chain = twice_promoted()
    run_round(chain)
    return chain


# Messages ---------------------------------------------------------------------------------------


def register_dataset(dataset: str = DATASET, limit: int = LIMIT) -> RegisterDataset:
    return RegisterDataset(dataset, DATA_CLASS, limit, DELTA_INVERSE)


def join(dataset: str = DATASET, terms: Terms = TERMS) -> JoinTask:
    return JoinTask(terms.task, dataset, rounds.terms_digest(terms))


def reserve(number: int = 1, dataset: str = DATASET) -> Reserve:
    return Reserve(TASK, number, dataset)


def commit(number: int = 1, **changes: Any) -> Commit:
    """A commitment as agreed, to a payload named for the round."""
    plain = Commit(
        task=TASK,
        round=number,
        dataset=DATASET,
        cid=cid(f"payload {number}"),
        digest=digest(f"payload {number}"),
        size=1_000,
        base=0,
        mechanism=MECHANISM,
        noise=NoiseSource.OS_ENTROPY,
        code=digest("training code"),
    )
    return replace(plain, **changes)


def publish(number: int = 1, dataset: str = DATASET) -> Publish:
    return Publish(TASK, number, dataset)


def candidate(
    chain: Chain, number: int = 1, *, verdicts: dict[Member, Verdict] | None = None, **changes: Any
) -> Candidate:
    """What an honest aggregator derives from a closed round; ``verdicts`` for contributions that are not accepted."""
    current = rounds.ROUNDS.at(chain.view, (TASK, number))
    others = {member.name: verdict for member, verdict in (verdicts or {}).items()}
    judgements = tuple(
        Judgement(seat.organisation, seat.dataset, others.get(seat.organisation, Verdict.ACCEPTED), "")
        for seat in current.seats
        if seat.progress is Progress.PUBLISHED
    )
    plain = Candidate(TASK, number, current.base, artefact(f"version of round {number}"), 90, 100, judgements)
    return replace(plain, **changes)


def propose(chain: Chain, number: int = 1, **changes: Any) -> ProposeVersion:
    """The proposal of a candidate; takes what ``candidate`` takes."""
    return ProposeVersion(candidate(chain, number, **changes))


def vote(chain: Chain, version: int, *, digest: bytes | None = None) -> VoteVersion:
    """A vote for what was proposed, or for another digest."""
    return VoteVersion(MODEL, version, digest or version_of(chain, version).digest)


# Courses of events ------------------------------------------------------------------------------


def succeed(chain: Chain, *transactions: tuple[Member, Any]) -> tuple[Event, ...]:
    """One block in which everything must be accepted; its events."""
    events: tuple[Event, ...] = ()
    for result in chain.block(*transactions):
        assert result.code == 0, result.log
        events += result.events
    return events


def pass_proposal(chain: Chain, action: Action, voters: Iterable[Member] = MEMBERS) -> tuple[Event, ...]:
    """Propose an action and vote for it until it is decided; the events of the deciding vote."""
    first, *others = voters
    (opened, *decided) = chain.submit(first, Propose(action))
    events: tuple[Event, ...] = tuple(decided)
    while not events and others:
        (_, *decided) = chain.submit(others.pop(0), Vote(opened.proposal, approve=True))  # type: ignore[attr-defined]
        events = tuple(decided)
    return events


def contribute(chain: Chain, number: int, members: Iterable[Member] = HOSPITALS) -> None:
    """Reserve, commit and publish, one block for each step."""
    members, base = tuple(members), rounds.ROUNDS.at(chain.view, (TASK, number)).base
    succeed(chain, *((member, reserve(number)) for member in members))
    succeed(chain, *((member, commit(number, base=base)) for member in members))
    succeed(chain, *((member, publish(number)) for member in members))


def close(chain: Chain, number: int, *, waiting: bool = False) -> tuple[Event, ...]:
    """Close a round, after its last deadline when somebody dropped out."""
    if waiting:
        chain.advance(3 * PHASE_MS)
    return chain.submit(LAB, CloseRound(TASK, number))


def vote_all(chain: Chain, version: int, *, digest: bytes | None = None, voters: Iterable[Member] = HOSPITALS) -> None:
    """Verifiers vote, one block each, until the version is decided."""
    for voter in voters:
        if version_of(chain, version).status is lineage.VersionStatus.PROPOSED:
            chain.submit(voter, vote(chain, version, digest=digest))


def run_round(
    chain: Chain,
    contributors: Iterable[Member] = HOSPITALS,
    *,
    verdicts: dict[Member, Verdict] | None = None,
    **changes: Any,
) -> int:
    """The next round from opening to decision; the number of its version."""
    contributors = tuple(contributors)
    chain.submit(LAB, OpenRound(TASK))
    number = rounds.TASKS.at(chain.view, TASK).rounds
    seats = len(rounds.ROUNDS.at(chain.view, (TASK, number)).seats)
    contribute(chain, number, contributors)
    close(chain, number, waiting=len(contributors) < seats)
    chain.submit(LAB, propose(chain, number, verdicts=verdicts, **changes))
    version = lineage.MODELS.at(chain.view, MODEL).latest
    vote_all(chain, version)
    return version


# What the state says ----------------------------------------------------------------------------


def version_of(chain: Chain, number: int) -> lineage.Version:
    return lineage.VERSIONS.at(chain.view, (MODEL, number))


def status_of(chain: Chain, number: int) -> lineage.VersionStatus:
    return version_of(chain, number).status


def current_version(chain: Chain) -> int:
    return lineage.MODELS.at(chain.view, MODEL).current


def deviation_of(chain: Chain, member: Member) -> int:
    """The member's reputation as of the last block."""
    return reputation.at(chain.view, member.name, chain.time_ms).deviation


def round_of(chain: Chain, number: int = 1) -> rounds.Round:
    return rounds.ROUNDS.at(chain.view, (TASK, number))
