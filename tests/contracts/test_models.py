"""Model versions: the gate, alarms, and what becomes of what the ballots agreed on."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.harness import consortium
from campaigns.harness.consortium import (
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITAL_C,
    HOSPITALS,
    LAB,
    MODEL,
    TASK,
    TERMS,
    VERIFIERS,
    candidate,
    current_version,
    digest,
    run_round,
    status_of,
    version_of,
)
from contracts import identity, tasks
from contracts.governance import OpenTask, Propose, SuspendMember
from contracts.kernel import Place, bitmap, limits
from contracts.lineage import (
    MODELS,
    REGISTER,
    VERSIONS,
    Model,
    Register,
    VersionDecided,
    VersionStatus,
    candidate_digest,
    passes_gate,
)
from contracts.models import (
    AlreadyRaised,
    ModelExists,
    NoMoreVersions,
    NotAVerifier,
    RaiseAlarm,
    UnknownModel,
    UnknownVersion,
    VersionNotOpen,
    quorum,
)
from contracts.rounds import OpenRound
from contracts.terms import Phase
from tests.vectors_io import VectorWriter


def alarm(version: int = 1, evidence: str = "evidence") -> RaiseAlarm:
    return RaiseAlarm(MODEL, version, digest(evidence), "backdoor probe")


# --- versions ---


def test_a_version_holds_what_the_ballots_agreed_on() -> None:
    chain = consortium.sealed()
    named = candidate(chain)
    consortium.open_all(chain)
    version = version_of(chain, 1)
    assert (version.artefact, version.agreed, version.judgements) == (named.artefact, named.agreed, named.judgements)
    assert (version.digest, version.decided_at) == (candidate_digest(named), chain.height)
    assert (version.parent, version.depth, version.round) == (0, 1, 1)


def test_a_model_begins_with_the_terms_initial_version() -> None:
    chain = consortium.task_open()
    initial = version_of(chain, 0)
    assert (initial.artefact, status_of(chain, 0)) == (TERMS.initial, VersionStatus.PROMOTED)
    assert MODELS.at(chain.view, MODEL) == Model(TASK, current=0, latest=0)
    assert REGISTER.at(chain.view) == Register((MODEL,))


def test_what_was_current_is_superseded() -> None:
    chain = consortium.twice_promoted()
    assert [status_of(chain, number) for number in range(3)] == [
        VersionStatus.SUPERSEDED,
        VersionStatus.SUPERSEDED,
        VersionStatus.PROMOTED,
    ]


@pytest.mark.vectors
def test_a_second_task_for_one_model(vector: VectorWriter) -> None:
    """A model has one task, so one line of versions."""
    terms = replace(TERMS, task="another-task")
    assert vector.refused(consortium.task_open(), ModelExists, HOSPITAL_A, Propose(OpenTask(terms))) == {"model": MODEL}


@pytest.mark.vectors
def test_one_model_more_than_the_ledger_may_have(vector: VectorWriter) -> None:
    """The number of models is bounded like everything else."""
    chain = consortium.equipped()
    chain.given(REGISTER.set(Register(tuple(f"model-{i}" for i in range(limits.MODELS)))))
    facts = vector.refused(chain, NoMoreVersions, HOSPITAL_A, Propose(OpenTask(TERMS)))
    assert facts == {"limit": limits.MODELS}


def test_a_model_that_can_have_no_more_versions_keeps_the_one_it_has() -> None:
    chain = consortium.sealed()
    chain.given(MODELS.put(MODEL, replace(MODELS.at(chain.view, MODEL), latest=limits.VERSIONS_PER_MODEL)))
    consortium.open_all(chain)
    assert (current_version(chain), consortium.round_of(chain).phase) == (0, Phase.DECIDED)


@pytest.mark.parametrize(("voters", "needed"), [(2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (16, 11)])
def test_a_quorum_is_more_than_two_thirds(voters: int, needed: int) -> None:
    assert quorum(voters) == needed
    assert 3 * needed > 2 * voters >= 3 * (needed - 1)


# --- the gate ---


def test_a_version_below_the_margin_is_recorded_judged_and_not_promoted() -> None:
    chain = consortium.promoted()
    run_round(chain, correct=87)
    assert (status_of(chain, 2), current_version(chain)) == (VersionStatus.FAILED_CANARY, 1)


def test_a_version_exactly_at_the_margin_is_promoted() -> None:
    chain = consortium.promoted()
    run_round(chain, correct=88)
    assert (status_of(chain, 2), current_version(chain)) == (VersionStatus.PROMOTED, 2)


def test_the_gate_does_not_slide() -> None:
    """90, then 88, then 86: each within the margin of the one before, the last too far from the best."""
    chain = consortium.promoted()
    run_round(chain, correct=88)
    assert version_of(chain, 2).best == 1
    run_round(chain, correct=86)
    assert (status_of(chain, 3), current_version(chain)) == (VersionStatus.FAILED_CANARY, 2)


def test_a_better_version_is_the_new_best_and_an_equal_one_is_too() -> None:
    chain = consortium.promoted()
    run_round(chain, correct=90)
    assert version_of(chain, 2).best == 2
    run_round(chain, correct=95)
    assert version_of(chain, 3).best == 3


def test_a_version_that_fell_is_no_bar_for_the_next() -> None:
    chain = consortium.promoted()
    run_round(chain, correct=100)
    consortium.succeed(chain, *((verifier, alarm(2)) for verifier in VERIFIERS[:5]))
    run_round(chain, correct=88)
    assert (status_of(chain, 2), status_of(chain, 3)) == (VersionStatus.QUARANTINED, VersionStatus.PROMOTED)


def test_a_version_that_failed_its_canary_is_no_bar_either() -> None:
    chain = consortium.promoted()
    run_round(chain, correct=10)
    run_round(chain, correct=88)
    assert status_of(chain, 3) is VersionStatus.PROMOTED


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(1, 1000), st.integers(0, 1_000_000))
def test_the_gate_is_exact_in_integers(correct: int, best: int, total: int, margin: int) -> None:
    assert passes_gate(correct, best, total, margin) == ((best - correct) * 10**6 <= margin * total)


# --- alarms ---


@pytest.mark.vectors
def test_a_quorum_of_alarms_quarantines_a_version_and_its_descendants(vector: VectorWriter) -> None:
    """Five of six verifiers find version 1 unfit: it goes, with everything built on it."""
    chain = consortium.twice_promoted()
    consortium.succeed(chain, *((verifier, alarm()) for verifier in VERIFIERS[:4]))
    events = vector.accepted(chain, LAB, alarm())
    assert VersionDecided(MODEL, 1, VersionStatus.QUARANTINED, "backdoor probe") in events
    assert VersionDecided(MODEL, 0, VersionStatus.PROMOTED, "restored") in events
    assert [status_of(chain, number) for number in (1, 2)] == [VersionStatus.QUARANTINED] * 2
    assert current_version(chain) == 0


def test_one_alarm_less_quarantines_nothing() -> None:
    chain = consortium.promoted()
    consortium.succeed(chain, *((verifier, alarm()) for verifier in VERIFIERS[:4]))
    assert current_version(chain) == 1


def test_alarms_about_different_versions_do_not_add_up() -> None:
    chain = consortium.twice_promoted()
    consortium.succeed(chain, *((hospital, alarm(1)) for hospital in HOSPITALS))
    consortium.succeed(chain, *((hospital, alarm(2)) for hospital in HOSPITALS))
    assert current_version(chain) == 2


@pytest.mark.vectors
def test_a_second_alarm_about_one_version(vector: VectorWriter) -> None:
    """A verifier has one voice about a version."""
    chain = consortium.promoted()
    chain.submit(HOSPITAL_A, alarm())
    facts = vector.refused(chain, AlreadyRaised, HOSPITAL_A, alarm(evidence="more evidence"))
    assert facts == {"organisation": "hospital-a"}


def test_an_alarm_of_a_stolen_key_counts_for_nothing() -> None:
    chain = consortium.promoted()
    consortium.succeed(chain, *((verifier, alarm()) for verifier in VERIFIERS[:4]))
    key = identity.KEYS.at(chain.view, HOSPITAL_B.worker.public)
    chain.given(identity.KEYS.put(HOSPITAL_B.worker.public, replace(key, revoked_from=Place(1, 0))))
    chain.submit(LAB, alarm())
    assert current_version(chain) == 1


@pytest.mark.vectors
def test_an_alarm_by_an_organisation_that_the_terms_do_not_name(vector: VectorWriter) -> None:
    """The role alone is not enough: the terms name who verifies this task."""
    chain = consortium.promoted()
    chain.given(tasks.TERMS.put(TASK, replace(TERMS, verifiers=TERMS.verifiers[:5], aggregators=("lab",))))
    facts = vector.refused(chain, NotAVerifier, consortium.STAND_BY, alarm())
    assert facts == {"task": TASK, "organisation": "stand-by-lab"}


@pytest.mark.vectors
def test_an_alarm_about_a_version_that_is_not_in_service(vector: VectorWriter) -> None:
    """What failed its canary serves nobody; version 0 is what the members voted for."""
    chain = consortium.promoted()
    vector.refused(chain, VersionNotOpen, HOSPITAL_A, alarm(0))
    run_round(chain, correct=10)
    assert chain.refused(VersionNotOpen, HOSPITAL_A, alarm(2)) == {"version": 2, "status": "failed-canary"}


@pytest.mark.vectors
def test_a_model_nobody_trains(vector: VectorWriter) -> None:
    """A model exists from the vote that opened its task."""
    vector.refused(consortium.promoted(), UnknownModel, HOSPITAL_C, replace(alarm(), model="another"))


@pytest.mark.vectors
def test_a_version_nobody_decided(vector: VectorWriter) -> None:
    """Versions are numbered in the order of their decisions."""
    facts = vector.refused(consortium.promoted(), UnknownVersion, HOSPITAL_A, alarm(2))
    assert facts == {"model": MODEL, "version": 2}


def test_a_round_on_a_quarantined_base_is_void_and_the_next_one_starts_from_the_restored_version() -> None:
    chain = consortium.promoted()
    chain.submit(LAB, OpenRound(TASK))
    consortium.succeed(chain, *((verifier, alarm()) for verifier in VERIFIERS[:5]))
    assert consortium.round_of(chain, 2).phase is Phase.VOID
    (opened, _) = chain.submit(LAB, OpenRound(TASK))
    assert (opened.round, opened.base) == (3, 0)


def test_the_digest_of_a_candidate_covers_all_of_it() -> None:
    plain = candidate(consortium.agreed())
    changed = [
        replace(plain, task="another"),
        replace(plain, round=2),
        replace(plain, parent=1),
        replace(plain, agreed=bitmap.of((0, 1, 2))),
        replace(plain, judgements=bytes([0, 0, 0, 1])),
        replace(plain, artefact=consortium.artefact("another")),
    ]
    assert len({candidate_digest(one) for one in (plain, *changed)}) == len(changed) + 1
    assert len(changed) == len(plain.__dataclass_fields__)


def test_every_version_of_a_model_is_kept() -> None:
    chain = consortium.thrice_promoted()
    assert len(list(chain.view.scan(VERSIONS.prefix.encode() + b"/"))) == 4


def test_an_alarm_of_a_member_that_was_suspended_since_counts_for_nothing() -> None:
    chain = consortium.promoted()
    consortium.succeed(chain, *((verifier, alarm()) for verifier in VERIFIERS[:4]))
    others = [member for member in consortium.MEMBERS if member is not HOSPITAL_B]
    consortium.pass_proposal(chain, SuspendMember("hospital-b", "a thief has its keys"), others)
    chain.submit(LAB, alarm())
    assert current_version(chain) == 1
