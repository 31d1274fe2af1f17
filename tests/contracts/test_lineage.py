"""Lineage: going back along the promoted line, by alarm, by a stolen key, by vote."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import Chain
from campaigns.harness.consortium import (
    AUDITOR,
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITAL_C,
    HOSPITAL_D,
    HOSPITALS,
    LAB,
    MEMBERS,
    MODEL,
    STAND_BY,
    TASK,
    TERMS,
    current_version,
    deviation_of,
    digest,
    propose,
    round_of,
    run_round,
    status_of,
    vote,
)
from contracts import rounds
from contracts.governance import Propose, RollBackModel, Vote
from contracts.identity import KeyIsRevoked, ReportStolenKey, RevokeKey
from contracts.kernel import Place
from contracts.lineage import NO_CANDIDATE, VersionDecided, VersionStatus
from contracts.models import (
    ALARMS,
    AlreadyVoted,
    NotAVerifier,
    RaiseAlarm,
    Tainted,
    UnknownVersion,
    VersionNotOpen,
)
from contracts.reputation import Verdict
from contracts.rounds import OpenRound
from contracts.transition import MissingRole
from tests.vectors_io import VectorWriter

PROMOTED, SUPERSEDED, QUARANTINED = VersionStatus.PROMOTED, VersionStatus.SUPERSEDED, VersionStatus.QUARANTINED
VERIFIERS = (*HOSPITALS, LAB, STAND_BY)
STOLEN = "signed with a stolen key"


def test_the_digest_of_no_candidate_is_the_documented_one_and_that_of_no_record():
    text = b"fedledger: no candidate follows from the committed payloads"
    written = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
    assert hashlib.sha256(text).digest() == NO_CANDIDATE
    assert NO_CANDIDATE.hex() in written
    assert text.decode("ascii") in written
    assert TERMS.encode()[:1] != text[:1]


def alarm(version: int) -> RaiseAlarm:
    return RaiseAlarm(MODEL, version, digest(f"evidence against {version}"), "backdoor probe")


def raise_quorum(chain: Chain, version: int) -> None:
    for verifier in VERIFIERS[:5]:
        chain.submit(verifier, alarm(version))


def rolled_back(chain: Chain, version: int) -> None:
    consortium.pass_proposal(chain, RollBackModel(MODEL, version, "worse in the clinic"))


def statuses(chain: Chain) -> list[VersionStatus]:
    latest = consortium.lineage.MODELS.at(chain.view, MODEL).latest
    return [status_of(chain, number) for number in range(latest + 1)]


# --- a stolen key ---


def test_a_report_quarantines_nothing_that_was_promoted() -> None:
    """A hospital that reports its old key takes nobody's version away: that takes a quorum of verifiers."""
    chain = consortium.thrice_promoted()
    events = chain.submit(HOSPITAL_A, ReportStolenKey(HOSPITAL_A.worker.public, Place(0, 0)))
    assert not [event for event in events if isinstance(event, VersionDecided)]
    assert current_version(chain) == 3
    chain.refused(KeyIsRevoked, HOSPITAL_A, consortium.reserve(4))


def test_a_round_on_a_quarantined_base_is_void_and_the_next_one_starts_from_the_restored_version() -> None:
    chain = consortium.twice_promoted()
    chain.submit(LAB, OpenRound(TASK))
    consortium.succeed(chain, *((hospital, consortium.reserve(3)) for hospital in HOSPITALS[1:]))
    raise_quorum(chain, 1)
    assert round_of(chain, 3).status is rounds.RoundStatus.VOID
    chain.refused(rounds.RoundNotOpen, HOSPITAL_B, consortium.commit(3, base=2))
    (opened,) = chain.submit(LAB, OpenRound(TASK))
    assert (opened.round, opened.base) == (4, 0)


def test_a_closed_round_on_a_quarantined_base_takes_neither_proposal_nor_vote() -> None:
    chain = consortium.promoted()
    chain.submit(LAB, OpenRound(TASK))
    consortium.contribute(chain, 2, HOSPITALS[1:])
    consortium.close(chain, 2, waiting=True)
    chain.submit(LAB, propose(chain, 2))
    raise_quorum(chain, 1)
    assert round_of(chain, 2).status is rounds.RoundStatus.VOID
    chain.refused(VersionNotOpen, HOSPITAL_B, vote(chain, 2))
    assert current_version(chain) == 0


def test_a_round_in_which_the_stolen_key_took_part_goes_on_without_its_contribution() -> None:
    """The base is clean, so the round stands; the aggregator must judge the contribution as withdrawn."""
    chain = consortium.closed()
    chain.submit(HOSPITAL_A, ReportStolenKey(HOSPITAL_A.worker.public, Place(1, 0)))
    chain.refused(Tainted, LAB, propose(chain))
    chain.submit(LAB, propose(chain, verdicts={HOSPITAL_A: Verdict.WITHDRAWN}))
    consortium.vote_all(chain, 1, voters=(*HOSPITALS[1:], STAND_BY))
    assert current_version(chain) == 1


def test_a_proposal_overtaken_by_a_stolen_key_falls_without_fault_and_may_be_made_again() -> None:
    chain = consortium.proposed()
    chain.submit(HOSPITAL_A, ReportStolenKey(HOSPITAL_A.worker.public, Place(1, 0)))
    events = chain.submit(HOSPITAL_B, vote(chain, 1))
    assert VersionDecided(MODEL, 1, QUARANTINED, STOLEN) in events
    assert deviation_of(chain, LAB) == 0
    chain.submit(LAB, propose(chain, verdicts={HOSPITAL_A: Verdict.WITHDRAWN}))
    consortium.vote_all(chain, 2, voters=(HOSPITAL_B, HOSPITAL_C, HOSPITAL_D, STAND_BY))
    assert current_version(chain) == 2


def test_an_ordinary_revocation_quarantines_nothing() -> None:
    chain = consortium.twice_promoted()
    chain.submit(HOSPITAL_A, RevokeKey(HOSPITAL_A.worker.public))
    assert current_version(chain) == 2


# --- alarms ---


@pytest.mark.vectors
def test_a_quorum_of_alarms_quarantines_a_version_and_its_descendants(vector: VectorWriter) -> None:
    """Five of six verifiers find version 1 unfit: it goes, with everything built on it."""
    chain = consortium.twice_promoted()
    for verifier in VERIFIERS[:4]:
        assert chain.submit(verifier, alarm(1)) == ()
    assert current_version(chain) == 2
    vector.accepted(chain, VERIFIERS[4], alarm(1))
    assert statuses(chain) == [PROMOTED, QUARANTINED, QUARANTINED]
    assert current_version(chain) == 0


def test_an_alarm_about_the_newest_version_restores_its_parent() -> None:
    chain = consortium.twice_promoted()
    raise_quorum(chain, 2)
    assert statuses(chain) == [SUPERSEDED, PROMOTED, QUARANTINED]


def test_alarms_about_different_versions_do_not_add_up() -> None:
    chain = consortium.twice_promoted()
    for verifier, version in zip(VERIFIERS[:5], (1, 2, 1, 2, 1), strict=True):
        chain.submit(verifier, alarm(version))
    assert current_version(chain) == 2
    assert len(ALARMS.at(chain.view, (MODEL, 1)).ballots) == 3


def test_a_verifier_raises_one_alarm_about_a_version() -> None:
    chain = consortium.promoted()
    chain.submit(HOSPITAL_A, alarm(1))
    chain.refused(AlreadyVoted, HOSPITAL_A, alarm(1))


def test_an_alarm_needs_a_verifier_of_the_terms_and_a_version_in_service() -> None:
    chain = consortium.proposed()
    chain.refused(VersionNotOpen, HOSPITAL_A, alarm(1))
    chain.refused(VersionNotOpen, HOSPITAL_A, alarm(0))
    chain.refused(UnknownVersion, HOSPITAL_A, alarm(7))
    chain.refused(MissingRole, AUDITOR, alarm(1))
    names = tuple(name for name in TERMS.verifiers if name != "hospital-d")
    chain.given(rounds.TERMS.put(TASK, replace(TERMS, verifiers=names)))
    chain.refused(NotAVerifier, HOSPITAL_D, alarm(1))
    assert NotAVerifier.code == 810


def test_a_quarantined_version_is_never_current_again() -> None:
    chain = consortium.twice_promoted()
    raise_quorum(chain, 2)
    chain.refused(VersionNotOpen, HOSPITAL_A, Propose(RollBackModel(MODEL, 2, "please")))
    version = run_round(chain)
    assert statuses(chain) == [SUPERSEDED, SUPERSEDED, QUARANTINED, PROMOTED]
    assert (current_version(chain), consortium.version_of(chain, version).parent) == (3, 1)
    raise_quorum(chain, 3)
    assert current_version(chain) == 1


# --- rollback ---


@pytest.mark.vectors
def test_the_members_roll_back_to_a_version_that_was_once_promoted(vector: VectorWriter) -> None:
    """A vote of the organisations restores an ancestor; what came after it is out of service."""
    chain = consortium.thrice_promoted()
    chain.submit(MEMBERS[0], Propose(RollBackModel(MODEL, 1, "worse in the clinic")))
    for member in MEMBERS[1:4]:
        chain.submit(member, Vote(1 + 1, approve=True))
    vector.accepted(chain, MEMBERS[4], Vote(2, approve=True))
    assert statuses(chain) == [SUPERSEDED, PROMOTED, VersionStatus.ROLLED_BACK, VersionStatus.ROLLED_BACK]
    assert (current_version(chain), rounds.TASKS.at(chain.view, TASK).base) == (1, 1)


def test_a_rollback_voids_the_round_under_way_on_the_old_base() -> None:
    chain = consortium.twice_promoted()
    chain.submit(LAB, OpenRound(TASK))
    rolled_back(chain, 1)
    assert round_of(chain, 3).status is rounds.RoundStatus.VOID
    (opened,) = chain.submit(LAB, OpenRound(TASK))
    assert opened.base == 1


@pytest.mark.parametrize("case", ["never promoted", "already current", "rolled back", "unknown"])
def test_a_rollback_goes_only_to_a_version_that_was_promoted_and_stands_behind_the_current_one(case: str) -> None:
    chain = consortium.twice_promoted()
    if case == "never promoted":
        target = run_round(chain, canary_correct=10)
    elif case == "rolled back":
        target = 2
        rolled_back(chain, 1)
    else:
        target = {"already current": 2, "unknown": 9}[case]
    refusal = UnknownVersion if case == "unknown" else VersionNotOpen
    chain.refused(refusal, HOSPITAL_A, Propose(RollBackModel(MODEL, target, "please")))


def test_after_a_rollback_training_goes_on_from_the_restored_version() -> None:
    chain = consortium.twice_promoted()
    rolled_back(chain, 0)
    version = run_round(chain)
    assert statuses(chain) == [SUPERSEDED, VersionStatus.ROLLED_BACK, VersionStatus.ROLLED_BACK, PROMOTED]
    assert consortium.version_of(chain, version).parent == 0
