"""Governance: one organisation, one vote, by human keys, on a closed table of actions."""

from dataclasses import replace

import pytest

from campaigns.harness import consortium, founding
from campaigns.harness.chain import Chain, Member, Signer
from campaigns.harness.consortium import (
    AUDITOR,
    HOSPITAL_A,
    HOSPITAL_B,
    MEMBERS,
    MODEL,
    NEWCOMER,
    TASK,
    TERMS,
    as_member,
    pass_proposal,
)
from contracts import electorate, governance
from contracts.governance import (
    PROPOSALS,
    AdmitOrganisation,
    Ballot,
    NotInElectorate,
    OpenTask,
    Proposal,
    ProposalClosed,
    ProposalDecided,
    ProposalDisowned,
    ProposalStatus,
    Propose,
    Proposed,
    ReinstateMember,
    RollBackModel,
    SuspendMember,
    TooManyOpen,
    UnknownProposal,
    Vote,
    Voted,
    VotedAlready,
)
from contracts.identity import ORGANISATIONS, AddKey, KeyExists
from contracts.kernel import Place, limits
from contracts.kernel.types import Purpose, Role
from contracts.tasks import TASKS, MissingMandate, TaskExists
from contracts.thefts import ReportStolenKey
from tests.vectors_io import VectorWriter

OPENING = OpenTask(TERMS)


def admission(member: Member = NEWCOMER, genesis: bytes | None = None) -> AdmitOrganisation:
    return AdmitOrganisation(as_member(member, (Role.DATA_OWNER,), genesis=genesis))


def proposal() -> Chain:
    """Hospital A has proposed to open the task."""
    chain = consortium.equipped()
    chain.submit(HOSPITAL_A, Propose(OPENING))
    return chain


def status_of(chain: Chain, number: int = 1) -> ProposalStatus:
    return PROPOSALS.at(chain.view, number).status


@pytest.mark.vectors
def test_any_member_proposes_and_thereby_approves(vector: VectorWriter) -> None:
    """A proposal counts its proposer's approval, with the key that signed it and where."""
    chain = consortium.equipped()
    assert vector.accepted(chain, AUDITOR, Propose(OPENING)) == (Proposed(1, "auditor"),)
    opened = PROPOSALS.at(chain.view, 1)
    ballot = Ballot("auditor", AUDITOR.human.public, Place(chain.height, 0))
    assert (opened.approvals, opened.rejections, opened.status) == ((ballot,), (), ProposalStatus.OPEN)


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
    chain = Chain(founding.genesis(as_member(HOSPITAL_A, (Role.DATA_OWNER,))))
    events = chain.submit(HOSPITAL_A, Propose(admission(genesis=chain.ledger.genesis)))
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
def test_a_newcomer_that_votes_in_the_block_of_its_admission(vector: VectorWriter) -> None:
    """Its vote counts from the next block on: nobody becomes a voter in the block that settles a vote."""
    chain = proposal()
    pass_proposal(chain, admission(), MEMBERS[:4])
    probe = chain.fork()
    settling = (MEMBERS[4], Vote(2, approve=True))
    codes = [result.code for result in probe.block(settling, (NEWCOMER, Vote(1, approve=True)))]
    assert codes == [0, NotInElectorate.code]
    codes = [result.code for result in chain.fork().block(settling, (NEWCOMER, Propose(OPENING)))]
    assert codes == [0, NotInElectorate.code]
    chain.submit(*settling)
    now = replace(ORGANISATIONS.at(chain.view, NEWCOMER.name), votes_after=chain.height + 1)
    late = chain.fork()
    chain.given(ORGANISATIONS.put(NEWCOMER.name, now))
    facts = vector.refused(chain, NotInElectorate, NEWCOMER, Vote(1, approve=True))
    assert facts == {"organisation": "newcomer"}
    late.submit(NEWCOMER, Vote(1, approve=True))


def test_the_electorate_grows_with_the_block_after_an_admission_and_the_quorum_with_it() -> None:
    """Seven members, four for it. Five of seven would do; with the newcomer it takes six of eight."""
    chain = proposal()
    for member in MEMBERS[1:4]:
        chain.submit(member, Vote(1, approve=True))
    pass_proposal(chain, admission(), MEMBERS[:4])
    same_block = chain.fork()
    settling = (MEMBERS[4], Vote(2, approve=True))
    same_block.block(settling, (MEMBERS[4], Vote(1, approve=True)))
    assert status_of(same_block) is ProposalStatus.PASSED
    chain.block(settling)
    assert (electorate.voters(chain.view, chain.height), electorate.voters(chain.view, chain.height + 1)) == (7, 8)
    chain.submit(MEMBERS[4], Vote(1, approve=True))
    assert status_of(chain) is ProposalStatus.OPEN
    chain.submit(NEWCOMER, Vote(1, approve=True))
    assert status_of(chain) is ProposalStatus.PASSED


def with_second_human(member: Member) -> tuple[Chain, Signer]:
    """Before anything is proposed, a member has another human key."""
    chain, second = consortium.equipped(), member.key(Purpose.HUMAN, 1)
    chain.submit(member, AddKey(second.enrolment()))
    return chain, second


def test_an_approval_that_a_stolen_key_signed_does_not_count_and_is_given_again() -> None:
    chain, stolen = with_second_human(HOSPITAL_B)
    chain.submit(HOSPITAL_A, Propose(OPENING))
    chain.submit(stolen, Vote(1, approve=True))
    chain.submit(HOSPITAL_B, ReportStolenKey(stolen.public, Place(chain.height, 0)))
    for member in MEMBERS[2:5]:
        chain.submit(member, Vote(1, approve=True))
    assert status_of(chain) is ProposalStatus.OPEN
    again = chain.fork()
    again.submit(HOSPITAL_B, Vote(1, approve=True))
    assert status_of(again) is ProposalStatus.PASSED
    chain.submit(HOSPITAL_B, Vote(1, approve=False))
    assert [
        len(ballots) for ballots in (PROPOSALS.at(chain.view, 1).approvals, PROPOSALS.at(chain.view, 1).rejections)
    ] == [4, 1]


def test_an_approval_that_a_key_signed_before_it_was_stolen_counts() -> None:
    chain, stolen = with_second_human(HOSPITAL_B)
    chain.submit(HOSPITAL_A, Propose(OPENING))
    chain.submit(stolen, Vote(1, approve=True))
    chain.submit(HOSPITAL_B, ReportStolenKey(stolen.public, Place(chain.height, 1)))
    chain.refused(VotedAlready, HOSPITAL_B, Vote(1, approve=True))
    for member in MEMBERS[2:5]:
        chain.submit(member, Vote(1, approve=True))
    assert status_of(chain) is ProposalStatus.PASSED


def test_rejections_that_a_stolen_key_signed_defeat_nothing() -> None:
    chain, stolen = with_second_human(HOSPITAL_B)
    chain.submit(HOSPITAL_A, Propose(OPENING))
    chain.submit(stolen, Vote(1, approve=False))
    chain.submit(HOSPITAL_B, ReportStolenKey(stolen.public, Place(chain.height, 0)))
    for member in MEMBERS[2:4]:
        chain.submit(member, Vote(1, approve=False))
    assert status_of(chain) is ProposalStatus.OPEN


@pytest.mark.vectors
def test_a_proposal_that_a_stolen_key_made(vector: VectorWriter) -> None:
    """It is out of the world with the report, whoever had approved of it."""
    chain, stolen = with_second_human(HOSPITAL_B)
    chain.submit(stolen, Propose(OPENING))
    chain.submit(HOSPITAL_B, ReportStolenKey(stolen.public, Place(chain.height, 0)))
    facts = vector.refused(chain, ProposalDisowned, HOSPITAL_A, Vote(1, approve=True))
    assert facts == {"proposal": 1, "key": stolen.public}


def rolling(number: int) -> RollBackModel:
    return RollBackModel(MODEL, 1, f"reason {number}")


def crowded() -> Chain:
    """Hospital A has as many open proposals as a member may have."""
    chain = consortium.twice_promoted()
    for number in range(limits.OPEN_PROPOSALS_PER_MEMBER):
        chain.submit(HOSPITAL_A, Propose(rolling(number)))
    return chain


@pytest.mark.vectors
def test_one_proposal_too_many(vector: VectorWriter) -> None:
    """What waits for a vote is state: no member fills it alone."""
    facts = vector.refused(crowded(), TooManyOpen, HOSPITAL_A, Propose(rolling(99)))
    assert facts == {"organisation": "hospital-a", "limit": limits.OPEN_PROPOSALS_PER_MEMBER}


def test_a_proposal_that_was_disowned_makes_room_and_takes_no_vote() -> None:
    chain, stolen = with_second_human(HOSPITAL_B)
    chain.submit(stolen, Propose(OPENING))
    chain.submit(HOSPITAL_B, ReportStolenKey(stolen.public, Place(chain.height, 0)))
    chain.refused(ProposalDisowned, HOSPITAL_A, Vote(1, approve=True))
    chain.submit(HOSPITAL_B, Propose(OPENING))
    assert governance.OPEN.at(chain.view, HOSPITAL_B.name).numbers == (2,)


def test_a_decided_and_an_expired_proposal_make_room() -> None:
    chain = crowded()
    chain.submit(HOSPITAL_B, Propose(rolling(99)))
    expired = chain.fork()
    expired.advance(limits.PROPOSAL_MS)
    expired.submit(HOSPITAL_A, Propose(rolling(99)))
    newest = governance.COUNTER.at(chain.view).proposals
    assert governance.OPEN.at(expired.view, "hospital-a").numbers == (newest + 1,)
    second = chain.fork()
    for member in MEMBERS[1:4]:
        second.submit(member, Vote(newest - 1, approve=False))
    second.submit(HOSPITAL_A, Propose(rolling(99)))
    second.refused(TooManyOpen, HOSPITAL_A, Propose(rolling(99)))


def test_the_largest_proposal_fits_the_store() -> None:
    """Terms as long as they may be, and the ballots of as many members as there may be."""
    name, far = "n" * limits.NAME_CHARS, Place(2**62, 2**62)
    terms = replace(
        TERMS,
        aggregators=(name,) * limits.AGGREGATORS_PER_TASK,
        verifiers=(name,) * limits.VERIFIERS_PER_TASK,
        recipients=(name,) * limits.RECIPIENTS_PER_TASK,
    )
    ballots = (Ballot(name, bytes(32), far),) * limits.ORGANISATIONS
    largest = Proposal(OpenTask(terms), name, bytes(32), far, 2**62, ballots, (), ProposalStatus.OPEN)
    assert len(largest.encode()) < limits.VALUE_BYTES


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
    assert electorate.MEMBERSHIP.at(consortium.founded().view).organisations == len(MEMBERS)


@pytest.mark.parametrize("members", range(1, 12))
def test_a_proposal_is_settled_however_the_members_vote(members: int) -> None:
    crowd = tuple(Member(f"member-{i}") for i in range(members))
    genesis = founding.genesis(*(as_member(member, (Role.AUDITOR,)) for member in crowd))
    for approvals in range(1, members + 1):
        chain = Chain(genesis)
        chain.submit(crowd[0], Propose(admission(genesis=chain.ledger.genesis)))
        for i, member in enumerate(crowd[1:], start=1):
            if status_of(chain) is ProposalStatus.OPEN:
                chain.submit(member, Vote(1, approve=i < approvals))
        expected = ProposalStatus.PASSED if 3 * approvals > 2 * members else ProposalStatus.DEFEATED
        assert status_of(chain) is expected


def test_votes_of_who_is_reinstated_in_this_block_do_not_count_against_the_smaller_electorate() -> None:
    """The quorum leaves them out until the next block. Three votes of seven would pass by a fourth that rejects."""
    chain = consortium.founded()
    gone, others = MEMBERS[:3], MEMBERS[3:]
    (opened,) = chain.submit(gone[0], Propose(OPENING))
    consortium.succeed(chain, *((member, Vote(opened.proposal, approve=True)) for member in gone[1:]))
    for place, member in enumerate(gone):
        pass_proposal(chain, SuspendMember(member.name, "its keys are stolen"), [*others, *gone[place + 1 :]])
    back = [chain.submit(others[0], Propose(ReinstateMember(member.name)))[0].proposal for member in gone]
    consortium.succeed(chain, *((others[1], Vote(number, approve=True)) for number in back))
    ends = ((others[2], Vote(number, approve=True)) for number in back)
    results = chain.block(*ends, (others[3], Vote(opened.proposal, approve=False)))
    assert [result.code for result in results] == [0] * 4
    assert governance.PROPOSALS.at(chain.view, opened.proposal).status is ProposalStatus.OPEN
