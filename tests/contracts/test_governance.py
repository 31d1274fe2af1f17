"""Governance: one organisation, one vote, by human keys, on a closed table of actions."""

from dataclasses import replace

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import Chain, Member
from campaigns.harness.consortium import (
    AUDITOR,
    HOSPITAL_A,
    HOSPITAL_B,
    MEMBERS,
    NEWCOMER,
    TASK,
    TERMS,
    as_member,
    pass_proposal,
)
from contracts import governance, identity
from contracts.governance import (
    PROPOSALS,
    AdmitOrganisation,
    NotInElectorate,
    OpenTask,
    ProposalClosed,
    ProposalDecided,
    ProposalStatus,
    Propose,
    Proposed,
    UnknownProposal,
    Vote,
    Voted,
    VotedAlready,
)
from contracts.identity import AddKey, KeyExists
from contracts.kernel import limits
from contracts.kernel.types import Purpose, Role
from contracts.rounds import TASKS, MissingMandate, TaskExists
from tests.vectors_io import VectorWriter

OPENING = OpenTask(TERMS)


def admission(member: Member = NEWCOMER) -> AdmitOrganisation:
    return AdmitOrganisation(as_member(member, (Role.DATA_OWNER,)))


def proposal() -> Chain:
    """Hospital A has proposed to open the task."""
    chain = consortium.equipped()
    chain.submit(HOSPITAL_A, Propose(OPENING))
    return chain


def status_of(chain: Chain, number: int = 1) -> ProposalStatus:
    return PROPOSALS.at(chain.view, number).status


@pytest.mark.vectors
def test_any_member_proposes_and_thereby_approves(vector: VectorWriter) -> None:
    """A proposal counts its proposer's approval and the members of that moment."""
    chain = consortium.equipped()
    assert vector.accepted(chain, AUDITOR, Propose(OPENING)) == (Proposed(1, "auditor"),)
    opened = PROPOSALS.at(chain.view, 1)
    assert (opened.approvals, opened.electorate, opened.status) == (("auditor",), 7, ProposalStatus.OPEN)


def test_five_of_seven_members_decide_and_four_do_not() -> None:
    chain = proposal()
    for member in MEMBERS[1:4]:
        assert chain.submit(member, Vote(1, approve=True)) == (Voted(1, member.name, True),)
    assert TASKS.get(chain.view, TASK) is None
    events = chain.submit(MEMBERS[4], Vote(1, approve=True))
    assert events[-1] == ProposalDecided(1, ProposalStatus.PASSED, 0)
    assert TASKS.get(chain.view, TASK) is not None


@pytest.mark.vectors
def test_a_proposal_is_defeated_once_the_quorum_is_out_of_reach(vector: VectorWriter) -> None:
    """Three of seven against: five approvals cannot come together any more."""
    chain = proposal()
    for member in MEMBERS[1:3]:
        chain.submit(member, Vote(1, approve=False))
    assert status_of(chain) is ProposalStatus.OPEN
    events = vector.accepted(chain, MEMBERS[3], Vote(1, approve=False))
    assert events[-1] == ProposalDecided(1, ProposalStatus.DEFEATED, 0)
    chain.refused(ProposalClosed, MEMBERS[4], Vote(1, approve=True))


def test_a_consortium_of_one_decides_alone() -> None:
    chain = Chain(consortium.genesis(as_member(HOSPITAL_A, (Role.DATA_OWNER,))))
    events = chain.submit(HOSPITAL_A, Propose(admission()))
    assert events[-1] == ProposalDecided(1, ProposalStatus.PASSED, 0)


@pytest.mark.vectors
def test_a_proposal_nobody_made(vector: VectorWriter) -> None:
    """Proposals are numbered from 1."""
    facts = vector.refused(consortium.equipped(), UnknownProposal, HOSPITAL_A, Vote(1, approve=True))
    assert facts == {"proposal": 1}


@pytest.mark.vectors
def test_a_vote_after_the_decision(vector: VectorWriter) -> None:
    """A decided proposal takes no more votes."""
    facts = vector.refused(consortium.task_open(), ProposalClosed, AUDITOR, Vote(1, approve=False))
    assert facts == {"proposal": 1, "status": "passed"}


def test_a_proposal_expires_by_block_time_to_the_millisecond() -> None:
    chain = proposal()
    late = chain.fork()
    expiry = PROPOSALS.at(chain.view, 1).expires_at
    assert expiry == chain.time_ms + limits.PROPOSAL_MS
    chain.advance(expiry - chain.next_block().time_ms - 1)
    chain.submit(HOSPITAL_B, Vote(1, approve=True))
    late.advance(expiry - late.next_block().time_ms)
    late.refused(ProposalClosed, HOSPITAL_B, Vote(1, approve=True))


@pytest.mark.vectors
def test_a_member_that_votes_twice(vector: VectorWriter) -> None:
    """One organisation, one vote: the first one stands."""
    chain = proposal()
    chain.submit(HOSPITAL_B, Vote(1, approve=False))
    facts = vector.refused(chain, VotedAlready, HOSPITAL_B, Vote(1, approve=True))
    assert facts == {"organisation": "hospital-b"}


def test_the_proposer_has_voted_by_proposing() -> None:
    proposal().refused(VotedAlready, HOSPITAL_A, Vote(1, approve=True))


def test_a_second_human_key_is_no_second_vote() -> None:
    chain = proposal()
    second = HOSPITAL_A.key(Purpose.HUMAN, 1)
    chain.submit(HOSPITAL_A, AddKey(second.enrolment()))
    chain.refused(VotedAlready, second, Vote(1, approve=True))


@pytest.mark.vectors
def test_a_member_admitted_after_the_proposal(vector: VectorWriter) -> None:
    """The electorate is fixed when the proposal is made: nobody is admitted to turn a vote."""
    chain = proposal()
    pass_proposal(chain, admission())
    facts = vector.refused(chain, NotInElectorate, NEWCOMER, Vote(1, approve=True))
    assert facts == {"organisation": "newcomer"}


def test_a_member_admitted_in_the_block_of_the_proposal_has_no_vote_on_it() -> None:
    chain = consortium.equipped()
    pass_proposal(chain, admission(), MEMBERS[:4])
    settled, proposed = chain.block((MEMBERS[4], Vote(1, approve=True)), (HOSPITAL_A, Propose(OPENING)))
    assert (settled.code, proposed.code) == (0, 0)
    chain.refused(NotInElectorate, NEWCOMER, Vote(2, approve=True))


def test_a_newcomer_votes_on_what_is_proposed_later() -> None:
    chain = consortium.equipped()
    pass_proposal(chain, admission())
    chain.submit(HOSPITAL_A, Propose(OPENING))
    chain.submit(NEWCOMER, Vote(2, approve=True))
    assert PROPOSALS.at(chain.view, 2).electorate == 8


def test_what_could_not_be_applied_now_is_not_even_voted_on() -> None:
    chain = consortium.task_open()
    chain.refused(TaskExists, HOSPITAL_A, Propose(OPENING))
    wanted = admission().admission
    stolen = AdmitOrganisation(replace(wanted, key=HOSPITAL_B.human.enrolment(owner="newcomer")))
    chain.refused(KeyExists, HOSPITAL_A, Propose(stolen))
    mandate = replace(TERMS, task="other", model="other", aggregators=("hospital-a",))
    chain.refused(MissingMandate, HOSPITAL_A, Propose(OpenTask(mandate)))


@pytest.mark.vectors
def test_an_action_that_became_impossible_fails_by_code(vector: VectorWriter) -> None:
    """Two proposals for one task: the second passes its vote and can no longer be applied."""
    chain = consortium.equipped()
    chain.submit(HOSPITAL_A, Propose(OPENING))
    chain.submit(HOSPITAL_B, Propose(OPENING))
    for member in MEMBERS[1:5]:
        chain.submit(member, Vote(1, approve=True))
    for member in (HOSPITAL_A, *MEMBERS[2:4]):
        chain.submit(member, Vote(2, approve=True))
    events = vector.accepted(chain, MEMBERS[4], Vote(2, approve=True))
    assert events[-1] == ProposalDecided(2, ProposalStatus.FAILED, TaskExists.code)
    assert status_of(chain, 2) is ProposalStatus.FAILED


def test_every_action_is_in_the_table_once() -> None:
    actions = [effect.action for effect in governance.ACTIONS]
    assert tuple(actions) == governance.Action.__args__
    assert identity.MEMBERSHIP.at(consortium.founded().view).organisations == len(MEMBERS)


@pytest.mark.parametrize("members", range(1, 12))
def test_a_proposal_is_settled_however_the_members_vote(members: int) -> None:
    crowd = tuple(Member(f"member-{i}") for i in range(members))
    genesis = consortium.genesis(*(as_member(member, (Role.AUDITOR,)) for member in crowd))
    for approvals in range(1, members + 1):
        chain = Chain(genesis)
        chain.submit(crowd[0], Propose(admission()))
        for i, member in enumerate(crowd[1:], start=1):
            if status_of(chain) is ProposalStatus.OPEN:
                chain.submit(member, Vote(1, approve=i < approvals))
        expected = ProposalStatus.PASSED if 3 * approvals > 2 * members else ProposalStatus.DEFEATED
        assert status_of(chain) is expected
