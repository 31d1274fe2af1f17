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

from contracts import ballot_box, contributions, lineage, reputation, rounds, tasks
from contracts.admission import Admission
from contracts.ballot_box import Statement
from contracts.ballots import AdvanceRound, Attest, OpenBallot, Seal
from contracts.contributions import Commit, NoiseSource, Reserve
from contracts.governance import Action, OpenTask, Propose, Vote
from contracts.identity import AddKey, RegisterDataset
from contracts.kernel import Event, bitmap, crypto
from contracts.kernel.envelope import LedgerId
from contracts.kernel.types import Role
from contracts.lineage import Candidate, Finding
from contracts.promises import promised
from contracts.registry import RULES
from contracts.rounds import OpenRound
from contracts.tasks import JoinTask
from contracts.terms import (
    Artefact,
    CommitTiming,
    Estimator,
    EstimatorKind,
    Mechanism,
    MechanismKind,
    Phase,
    Phases,
    Relation,
    Terms,
    Update,
)
from contracts.transition import Genesis

from .chain import Chain, Member, Step
from .founding import NO_GENESIS, genesis, ledger_of
from .recipients import recipient_of

HOSPITAL_A, HOSPITAL_B = Member("hospital-a"), Member("hospital-b")
HOSPITAL_C, HOSPITAL_D = Member("hospital-c"), Member("hospital-d")
LAB, STAND_BY, AUDITOR = Member("lab"), Member("stand-by-lab"), Member("auditor")
NEWCOMER = Member("newcomer")
HOSPITALS = (HOSPITAL_A, HOSPITAL_B, HOSPITAL_C, HOSPITAL_D)
MEMBERS = (*HOSPITALS, LAB, STAND_BY, AUDITOR)
ROLES = {
    **dict.fromkeys(HOSPITALS, (Role.OPERATOR, Role.DATA_OWNER, Role.VERIFIER)),
    **dict.fromkeys((LAB, STAND_BY), (Role.OPERATOR, Role.DATA_OWNER, Role.AGGREGATOR, Role.VERIFIER)),
    AUDITOR: (Role.AUDITOR,),
}
VERIFIERS = (*HOSPITALS, LAB, STAND_BY)
OPERATORS = (HOSPITAL_A, HOSPITAL_B, LAB, STAND_BY)  # Of the first validators, one each.
TASK, MODEL, DATASET, DATA_CLASS = "breast-cancer", "classifier", "wdbc", "tumour-cytology"
PHASE_MS = 10_000
PHASE_BLOCKS = 2
CANARY_RECORDS = 100
LIMIT = 4_500_000_000  # Of a dataset, and the cap of an organisation: three rounds of MECHANISM fit, a fourth does not.
DELTA_INVERSE = 100_000
PROMISE = promised(LIMIT, DELTA_INVERSE, None)  # Of every dataset and to every organisation.
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
    canary_records=CANARY_RECORDS,
    canary_margin_ppm=20_000,
    minimum_reputation=-600_000,
    aggregators=(LAB.name, STAND_BY.name),
    verifiers=tuple(member.name for member in (*HOSPITALS, LAB, STAND_BY)),
    verifier_faults=1,
    recipients=tuple(member.name for member in (*HOSPITALS, LAB, STAND_BY)),
    retention_ms=60_000,
    phases=Phases(PHASE_MS, PHASE_MS, PHASE_MS, PHASE_MS, PHASE_MS, PHASE_BLOCKS, CommitTiming.WHEN_READY),
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


def as_member(
    member: Member, roles: tuple[Role, ...], epsilon_cap: int = LIMIT, genesis: bytes | None = None
) -> Admission:
    """What makes an organisation a member: by vote on the consortium's ledger or another; a genesis proves it anew."""
    return Admission(
        organisation=member.name,
        legal_id=legal_id(member.name),
        roles=roles,
        recipient=recipient_of(member.name),
        epsilon_cap=epsilon_cap,
        delta_inverse=DELTA_INVERSE,
        order_milli=None,
        key=member.human.enrolment(genesis),
    )


def legal_id(name: str) -> str:
    """Something shaped like a register's entry that follows from a name."""
    return f"REGISTER:{name.upper()}"


def founded_by(rules: int = RULES.newest.version) -> Genesis:
    """The genesis of the consortium."""
    return genesis(
        *(as_member(member, ROLES[member], genesis=NO_GENESIS) for member in MEMBERS), operators=OPERATORS, rules=rules
    )


@cache
def ledger() -> LedgerId:
    """What signatures on the consortium's ledger are bound to."""
    return ledger_of(founded_by())


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
def five_joined() -> Chain:
    """The lab contributes too: one more than a round needs."""
    chain = joined()
    succeed(chain, (LAB, register_dataset()))
    succeed(chain, (LAB, join()))
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
    """Every hospital has committed: the barrier is reached, payloads are served."""
    chain = reserved()
    succeed(chain, *((hospital, commit()) for hospital in HOSPITALS))
    return chain


@stage
def agreed() -> Chain:
    """Every verifier has attested all four payloads: the set is fixed."""
    chain = committed()
    attest_all(chain)
    return chain


@stage
def sealed() -> Chain:
    """Every verifier has sealed its ballot."""
    chain = agreed()
    seal_all(chain)
    return chain


@stage
def promoted() -> Chain:
    """Every verifier has opened its ballot: version 1 is promoted."""
    chain = sealed()
    open_all(chain)
    return chain


@stage
def second_agreed() -> Chain:
    """Round 2, on version 1, has its set of four contributions."""
    chain = promoted()
    chain.submit(LAB, OpenRound(TASK))
    contribute(chain, 2)
    attest_all(chain, 2)
    return chain


@stage
def twice_promoted() -> Chain:
    """Versions 1 and 2 are promoted, one after the other."""
    chain = second_agreed()
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
    return JoinTask(terms.task, dataset, tasks.terms_digest(terms))


def reserve(number: int = 1, dataset: str = DATASET) -> Reserve:
    return Reserve(TASK, number, dataset)


def commit(number: int = 1, **changes: Any) -> Commit:
    """A commitment as agreed, to a payload named for the round."""
    plain = Commit(
        task=TASK,
        round=number,
        cid=cid(f"payload {number}"),
        digest=digest(f"payload {number}"),
        size=1_000,
        base=0,
        mechanism=MECHANISM,
        noise=NoiseSource.OS_ENTROPY,
        code=digest("training code"),
    )
    return replace(plain, **changes)


def attest(number: int = 1, held: Iterable[int] = range(len(HOSPITALS))) -> Attest:
    """An attestation of the payloads of some seats: of all hospitals', if none are named."""
    return Attest(TASK, number, bitmap.of(held))


def candidate(
    chain: Chain, number: int = 1, *, findings: dict[Member, Finding] | None = None, **changes: Any
) -> Candidate:
    """What an honest verifier derives from an agreed set; ``findings`` for contributions that are not aggregated."""
    current = round_of(chain, number)
    others = {member.name: finding for member, finding in (findings or {}).items()}
    owners = tasks.organisations_of(chain.view, TASK, current.agreed)
    judgements = bytes(others.get(owner, Finding.AGGREGATED) for owner in owners)
    plain = Candidate(TASK, number, current.base, current.agreed, judgements, artefact(f"version of round {number}"))
    return replace(plain, **changes)


def salt_of(member: Member, number: int = 1) -> bytes:
    """The salt of a member's ballot."""
    return digest(f"salt of {member.name} in round {number}")


def seal(member: Member, named: Candidate, number: int = 1, correct: int = 90) -> Seal:
    """A member's sealed ballot."""
    said = Statement(member.name, TASK, number, salt_of(member, number), lineage.candidate_digest(named), correct)
    return Seal(TASK, number, named.agreed, ballot_box.seal_of(said))


def open_ballot(member: Member, named: Candidate, number: int = 1, correct: int = 90) -> OpenBallot:
    """The opening of what ``seal`` sealed."""
    return OpenBallot(TASK, number, salt_of(member, number), named, correct)


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
    """Reserve and commit, one block for each step; who was invited and is not named lets its time pass."""
    members, base = tuple(members), round_of(chain, number).base
    succeed(chain, *((member, reserve(number)) for member in members))
    if round_of(chain, number).phase is Phase.RESERVING:
        pass_phase(chain, number)
    succeed(chain, *((member, commit(number, base=base)) for member in members))


def attest_all(
    chain: Chain, number: int = 1, held: Iterable[int] | None = None, by: Iterable[Member] = VERIFIERS
) -> None:
    """Verifiers attest in one block: everything that was committed, if nothing is named."""
    seats = bitmap.numbers(round_of(chain, number).committed) if held is None else tuple(held)
    succeed(chain, *((member, attest(number, seats)) for member in by))


def seal_all(
    chain: Chain,
    number: int = 1,
    named: Candidate | None = None,
    *,
    correct: int = 90,
    by: Iterable[Member] = VERIFIERS,
) -> None:
    """Verifiers seal the same ballot in one block: the honest candidate's, if none is named."""
    named = named or candidate(chain, number)
    succeed(chain, *((member, seal(member, named, number, correct)) for member in by))


def open_all(
    chain: Chain,
    number: int = 1,
    named: Candidate | None = None,
    *,
    correct: int = 90,
    by: Iterable[Member] = VERIFIERS,
) -> tuple[Event, ...]:
    """Verifiers open what ``seal_all`` sealed; the events of the last one."""
    named = named or candidate(chain, number)
    return [succeed(chain, (member, open_ballot(member, named, number, correct))) for member in by][-1]


def vote_all(chain: Chain, number: int = 1, named: Candidate | None = None, *, correct: int = 90) -> tuple[Event, ...]:
    """All verifiers seal and open the same ballot."""
    named = named or candidate(chain, number)
    seal_all(chain, number, named, correct=correct)
    return open_all(chain, number, named, correct=correct)


def pass_phase(chain: Chain, number: int = 1) -> tuple[Event, ...]:
    """Let the phase's time and blocks pass, and have it written down that it is over; the events."""
    let_pass(chain, number)
    return succeed(chain, (AUDITOR, AdvanceRound(TASK, number)))


def let_pass(chain: Chain, number: int = 1) -> None:
    """Let the phase's time and blocks pass: the next block finds it over."""
    current = round_of(chain, number)
    chain.advance(max(0, current.until - chain.time_ms))
    while chain.height + 1 < current.until_height:
        chain.block()


def run_round(
    chain: Chain,
    contributors: Iterable[Member] = HOSPITALS,
    *,
    findings: dict[Member, Finding] | None = None,
    correct: int = 90,
    **changes: Any,
) -> int:
    """The next round from opening to decision; the number of its version."""
    chain.submit(LAB, OpenRound(TASK))
    number = tasks.TASKS.at(chain.view, TASK).rounds
    contribute(chain, number, contributors)
    attest_all(chain, number)
    vote_all(chain, number, candidate(chain, number, findings=findings, **changes), correct=correct)
    return lineage.MODELS.at(chain.view, MODEL).latest


# What the state says ----------------------------------------------------------------------------


def version_of(chain: Chain, number: int) -> lineage.Version:
    return lineage.VERSIONS.at(chain.view, (MODEL, number))


def status_of(chain: Chain, number: int) -> lineage.VersionStatus:
    return lineage.status_of(chain.view, MODEL, number)


def current_version(chain: Chain) -> int:
    return lineage.MODELS.at(chain.view, MODEL).current


def deviation_of(chain: Chain, member: Member) -> int:
    """The member's reputation as of the last block."""
    return reputation.at(chain.view, member.name, chain.time_ms).deviation


def round_of(chain: Chain, number: int = 1) -> rounds.Round:
    return rounds.ROUNDS.at(chain.view, (TASK, number))


def seat_of(chain: Chain, member: Member, number: int = 1) -> contributions.Seat:
    return contributions.SEATS.at(chain.view, (TASK, number, member.name))
