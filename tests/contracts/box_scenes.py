"""Situations of a round past its barrier, and how reputations moved: for the claims about ballots."""

from collections.abc import Iterable
from dataclasses import replace

from campaigns.harness import consortium
from campaigns.harness.chain import Chain, Member
from campaigns.harness.consortium import (
    HOSPITALS,
    LAB,
    MODEL,
    TASK,
    TERMS,
    VERIFIERS,
    commit,
    deviation_of,
    join,
    pass_proposal,
    reserve,
    round_of,
    succeed,
)
from contracts.governance import OpenTask
from contracts.kernel import Place
from contracts.models import RaiseAlarm
from contracts.reputation import CHANGES, Verdict
from contracts.rounds import OpenRound
from contracts.terms import Phase
from contracts.thefts import ReportStolenKey

CONFIRMED, CONTRADICTED = CHANGES[Verdict.CONFIRMED], CHANGES[Verdict.CONTRADICTED]
UNOPENED, MISSING = CHANGES[Verdict.UNOPENED], CHANGES[Verdict.MISSING]


def tainted(chain: Chain, member: Member) -> None:
    """The member reports that its workload key was never its own."""
    chain.submit(member, ReportStolenKey(member.worker.public, Place(1, 0)))


def five_committed() -> Chain:
    """Round 1, with five commitments: one more than is needed."""
    chain = consortium.five_joined()
    chain.submit(LAB, OpenRound(TASK))
    succeed(chain, *((member, reserve()) for member in (*HOSPITALS, LAB)))
    succeed(chain, *((member, commit()) for member in (*HOSPITALS, LAB)))
    return chain


def changes_of(chain: Chain, before: Chain, members: Iterable[Member] = VERIFIERS) -> dict[str, int]:
    """How reputations moved between two moments that are too near for decay to show in round numbers."""
    moved = {member.name: deviation_of(chain, member) - deviation_of(before, member) for member in members}
    return {name: round(change, -3) for name, change in moved.items() if round(change, -3)}


def base_falls(chain: Chain) -> None:
    """A quorum of the verifiers finds version 1, on which round 2 stands, unfit, in one block."""
    alarm = RaiseAlarm(MODEL, 1, consortium.digest("evidence"), "found unfit")
    succeed(chain, *((verifier, alarm) for verifier in VERIFIERS[:5]))
    assert round_of(chain, 2).phase is Phase.VOID


def verified_by_four() -> Chain:
    """A task that the stand-by lab does not verify, up to its first barrier."""
    chain = consortium.equipped()
    terms = replace(TERMS, verifiers=TERMS.verifiers[:5], aggregators=("lab",))
    pass_proposal(chain, OpenTask(terms))
    succeed(chain, *((hospital, join(terms=terms)) for hospital in HOSPITALS))
    chain.submit(LAB, OpenRound(TASK))
    consortium.contribute(chain, 1)
    return chain
