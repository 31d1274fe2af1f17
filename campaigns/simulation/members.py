"""Who is in a simulated consortium, under which terms, and how their transactions are signed.

Six organisations found the ledger; a fourth hospital and a newcomer are admitted by vote. There are two tasks: one
that prices every record, whose five verifiers stand one that errs; and one that samples, whose estimator stands one bad
update, and whose three verifiers must be of one mind. All keys and nonces follow from names, the seed and a counter.
"""

from dataclasses import dataclass, field, replace
from functools import cache
from random import Random

from contracts.kernel import Message, codec, crypto, envelope
from contracts.kernel.envelope import LedgerId
from contracts.kernel.types import Role
from contracts.terms import Estimator, EstimatorKind, MechanismKind
from contracts.transition import Genesis

from ..harness import founding
from ..harness.chain import Member, Signer
from ..harness.consortium import (
    AUDITOR,
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITAL_C,
    HOSPITAL_D,
    LAB,
    LIMIT,
    MECHANISM,
    NEWCOMER,
    OPERATORS,
    ROLES,
    STAND_BY,
    TERMS,
    as_member,
)
from ..harness.founding import NO_GENESIS, ledger_of

CHAIN_ID = "fedledger-simulation"
FOUNDERS = (HOSPITAL_A, HOSPITAL_B, HOSPITAL_C, LAB, STAND_BY, AUDITOR)
LATECOMERS = (HOSPITAL_D, NEWCOMER)
EVERYBODY = (*FOUNDERS, *LATECOMERS)
HOSPITALS = (HOSPITAL_A, HOSPITAL_B, HOSPITAL_C, HOSPITAL_D)
LABS = (LAB, STAND_BY)
CONTRIBUTORS = (*HOSPITALS, *LABS)  # Who have data.
VERIFIERS = (HOSPITAL_A, HOSPITAL_B, HOSPITAL_C, LAB, STAND_BY)
NODES = tuple(member.validator for member in (*OPERATORS, HOSPITAL_C, HOSPITAL_D))  # Of the replicas, by number.
ROLES_OF = {**ROLES, NEWCOMER: (Role.DATA_OWNER,)}
GENESIS_TIME_MS = 1_700_000_000_000
GENESIS_CAP = LIMIT + LIMIT // 2
VALID_BLOCKS = 6

_NAMES = tuple(member.name for member in VERIFIERS)
PLAIN_TERMS = replace(
    TERMS,
    estimator=Estimator(EstimatorKind.MEDIAN, byzantine=0, minimum=2),
    canary_margin_ppm=30_000,
    minimum_reputation=-300_000,
    verifiers=_NAMES,
    verifier_faults=1,
    recipients=_NAMES,
    phases=replace(TERMS.phases, blocks=1),
    max_rounds=12,
)
SAMPLED_TERMS = replace(
    PLAIN_TERMS,
    task="skin-cancer",
    model="grader",
    mechanism=replace(
        MECHANISM,
        kind=MechanismKind.POISSON_GAUSSIAN,
        noise_milli=1_500,
        sampling_num=1,
        sampling_den=4,
        steps=2,
    ),
    estimator=Estimator(EstimatorKind.MEDIAN, byzantine=1, minimum=3),
    aggregators=(STAND_BY.name, LAB.name),
    verifiers=(HOSPITAL_B.name, LAB.name, STAND_BY.name),
    verifier_faults=0,
    phases=TERMS.phases,
)
TERMS_OF = {terms.task: terms for terms in (PLAIN_TERMS, SAMPLED_TERMS)}


@cache
def genesis() -> Genesis:
    """The founders, each with one human key; four of them run a validator."""
    founders = (as_member(member, ROLES_OF[member], GENESIS_CAP, NO_GENESIS) for member in FOUNDERS)
    return founding.genesis(*founders, operators=OPERATORS, chain_id=CHAIN_ID)


@cache
def ledger() -> LedgerId:
    """What signatures on the simulated ledger are bound to."""
    return ledger_of(genesis())


@dataclass
class Clerk:
    """Seals messages for whoever asks. No two of its envelopes are the same."""

    seed: int
    height: int = 0
    """Of the newest block; what is sealed now is meant for the next few."""
    sealed: int = 0
    ledger: LedgerId = field(default_factory=ledger)

    def seal(
        self,
        who: Member | Signer,
        message: Message,
        *,
        valid_until: int | None = None,
        ledger: LedgerId | None = None,
    ) -> bytes:
        """An envelope signed by the member's key of the right purpose, or by exactly this key."""
        body = codec.shape_of(type(message)).pack(message, "")
        return self.seal_plain(who, message.tag, body, message.purpose, valid_until=valid_until, ledger=ledger)

    def seal_plain(
        self,
        who: Member | Signer,
        tag: str,
        body: object,
        purpose: str,
        *,
        valid_until: int | None = None,
        ledger: LedgerId | None = None,
    ) -> bytes:
        """As ``seal``, for a tag and a body that need not belong to any message."""
        self.sealed += 1
        signer = who if isinstance(who, Signer) else (who.human if purpose == "human" else who.worker)
        return envelope.seal(
            signer,
            ledger or self.ledger,
            tag=tag,
            body=body,
            nonce=crypto.sha256(f"{self.seed} {self.sealed}".encode())[:16],
            valid_until=self.height + VALID_BLOCKS if valid_until is None else valid_until,
        )


def stream(seed: int, name: str) -> Random:
    """An independent source of choices for one part of a seed's run. Strings seed by SHA-512, the same everywhere."""
    return Random(f"{seed} {name}")
