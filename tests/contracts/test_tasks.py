"""Tasks: consent to exact terms, and one number for an organisation."""

from dataclasses import replace

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import Chain
from campaigns.harness.consortium import (
    DATASET,
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITALS,
    LAB,
    MEMBERS,
    TASK,
    TERMS,
    commit,
    digest,
    join,
    pass_proposal,
    register_dataset,
    reserve,
)
from contracts import tasks
from contracts.governance import OpenTask, Propose
from contracts.kernel import limits
from contracts.kernel.types import Role
from contracts.rounds import (
    JoinedTooLate,
    OpenRound,
)
from contracts.tasks import (
    PARTICIPATIONS,
    ROSTERS,
    TASKS,
    AlreadyJoined,
    JoinTask,
    LeaveTask,
    MissingMandate,
    NotJoined,
    Participation,
    TaskExists,
    TaskJoined,
    TaskLeft,
    TaskOpened,
    TermsDiffer,
    UnknownTask,
    WrongDataClass,
)
from tests.vectors_io import VectorWriter


def part_of(chain: Chain, member: consortium.Member) -> Participation:
    return PARTICIPATIONS.at(chain.view, (TASK, member.name))


# --- opening a task ---


@pytest.mark.vectors
def test_a_quorum_opens_a_task_and_fixes_its_price(vector: VectorWriter) -> None:
    """The terms, their digest and the price of a round are fixed by the vote that settles the proposal."""
    chain = consortium.equipped()
    pass_proposal(chain, OpenTask(TERMS), MEMBERS[:4])
    events = vector.accepted(chain, MEMBERS[4], consortium.Vote(1, approve=True))
    assert TaskOpened(TASK, tasks.terms_digest(TERMS), 2_165_878_326) in events
    assert tasks.TERMS.at(chain.view, TASK) == TERMS


@pytest.mark.vectors
def test_a_task_opened_twice(vector: VectorWriter) -> None:
    """Consent was to the first terms: a task's name cannot be given to others."""
    facts = vector.refused(consortium.task_open(), TaskExists, HOSPITAL_A, Propose(OpenTask(TERMS)))
    assert facts == {"task": TASK}


@pytest.mark.vectors
def test_terms_that_give_a_part_to_an_organisation_without_the_role(vector: VectorWriter) -> None:
    """An auditor cannot verify: naming it in the terms does not admit it to the role."""
    verifiers, recipients = (*TERMS.verifiers, "auditor"), (*TERMS.recipients, "auditor")
    terms = replace(TERMS, verifiers=verifiers, recipients=recipients)
    facts = vector.refused(consortium.equipped(), MissingMandate, HOSPITAL_A, Propose(OpenTask(terms)))
    assert facts == {"organisation": "auditor", "role": Role.VERIFIER}


# --- joining ---


@pytest.mark.vectors
def test_a_human_key_consents_to_the_digest_of_the_terms(vector: VectorWriter) -> None:
    """Consent names the task, the dataset and the digest of exactly these terms."""
    chain = consortium.task_open()
    assert vector.accepted(chain, HOSPITAL_A, join()) == (TaskJoined(TASK, "hospital-a", DATASET),)
    assert part_of(chain, HOSPITAL_A) == Participation(0, (DATASET,), from_round=1, left=False)
    assert TASKS.at(chain.view, TASK).participants == 1


@pytest.mark.vectors
def test_consent_to_other_terms(vector: VectorWriter) -> None:
    """A digest of other terms is no consent to these."""
    message = JoinTask(TASK, DATASET, digest("terms as shown by somebody else"))
    facts = vector.refused(consortium.task_open(), TermsDiffer, HOSPITAL_A, message)
    assert facts == {"wanted": tasks.terms_digest(TERMS)}


@pytest.mark.vectors
def test_a_task_nobody_opened(vector: VectorWriter) -> None:
    """A task exists from the vote that opened it."""
    vector.refused(consortium.equipped(), UnknownTask, HOSPITAL_A, join())


@pytest.mark.vectors
def test_a_dataset_that_joins_twice(vector: VectorWriter) -> None:
    """A dataset joins once."""
    assert vector.refused(consortium.joined(), AlreadyJoined, HOSPITAL_A, join()) == {"dataset": DATASET}


@pytest.mark.vectors
def test_a_dataset_of_another_class(vector: VectorWriter) -> None:
    """Terms are about one class of data."""
    chain = consortium.task_open()
    chain.submit(HOSPITAL_A, replace(register_dataset("x-rays"), data_class="radiology"))
    facts = vector.refused(chain, WrongDataClass, HOSPITAL_A, join("x-rays"))
    assert facts == {"data_class": "radiology", "wanted": consortium.DATA_CLASS}


def test_an_organisation_has_one_number_however_many_datasets_it_joins_with() -> None:
    chain = consortium.joined()
    for name in ("second", "third"):
        chain.submit(HOSPITAL_A, register_dataset(name))
        chain.submit(HOSPITAL_A, join(name))
    assert part_of(chain, HOSPITAL_A) == Participation(0, (DATASET, "second", "third"), from_round=1, left=False)
    assert ROSTERS.at(chain.view, TASK).organisations == tuple(hospital.name for hospital in HOSPITALS)
    assert TASKS.at(chain.view, TASK).participants == 4


def test_no_organisation_takes_another_s_place() -> None:
    assert limits.SEATS_PER_ROUND == limits.ORGANISATIONS, "every member may have a seat"


@pytest.mark.vectors
def test_who_leaves_reserves_no_more(vector: VectorWriter) -> None:
    """Consent can be withdrawn at any time: no seat from the next reservation on, also in the round that is open."""
    chain = consortium.round_open()
    assert vector.accepted(chain, HOSPITAL_A, LeaveTask(TASK)) == (TaskLeft(TASK, "hospital-a"),)
    chain.refused(NotJoined, HOSPITAL_A, reserve())
    assert TASKS.at(chain.view, TASK).participants == 3


@pytest.mark.vectors
def test_who_has_not_joined_cannot_leave(vector: VectorWriter) -> None:
    """There is no consent to withdraw."""
    facts = vector.refused(consortium.joined(), NotJoined, LAB, LeaveTask(TASK))
    assert facts == {"task": TASK, "organisation": "lab"}


def test_a_seat_that_was_reserved_keeps_its_course_when_its_owner_leaves() -> None:
    chain = consortium.reserved()
    chain.submit(HOSPITAL_A, LeaveTask(TASK))
    chain.refused(NotJoined, HOSPITAL_A, LeaveTask(TASK))
    chain.submit(HOSPITAL_A, commit())


def test_who_comes_back_has_its_number_again_and_takes_part_from_the_next_round_on() -> None:
    chain = consortium.five_joined()
    chain.submit(HOSPITAL_B, LeaveTask(TASK))
    chain.submit(LAB, OpenRound(TASK))
    chain.submit(HOSPITAL_B, join())
    assert part_of(chain, HOSPITAL_B) == Participation(1, (DATASET,), from_round=2, left=False)
    chain.refused(JoinedTooLate, HOSPITAL_B, reserve())
    assert ROSTERS.at(chain.view, TASK).organisations[1] == "hospital-b"
