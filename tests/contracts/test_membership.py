"""Membership: suspended, reinstated, removed, and given a new key, by more than two thirds of the active members."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from abci_app.pool.proposals import Standings
from campaigns.harness import consortium, founding
from campaigns.harness.chain import Chain, Member
from campaigns.harness.consortium import (
    AUDITOR,
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITAL_C,
    LAB,
    MEMBERS,
    STAND_BY,
    as_member,
    pass_proposal,
    register_dataset,
)
from campaigns.harness.recipients import recipient_of
from contracts import electorate, identity, rounds, tasks, validators
from contracts.electorate import MEMBERSHIP, Membership, Standing
from contracts.governance import (
    Action,
    AdmitOrganisation,
    AdmitValidator,
    NotInElectorate,
    ProposalDecided,
    ProposalStatus,
    Propose,
    RecoverKey,
    ReinstateMember,
    RemoveMember,
    SuspendMember,
    Vote,
)
from contracts.identity import (
    KEYS,
    ORGANISATIONS,
    AddKey,
    EnrolmentCap,
    KeyExists,
    KeyIsRevoked,
    MemberInactive,
    OrganisationExists,
    RevokeKey,
    UnknownKey,
)
from contracts.kernel import Lane, Place, Rejected, limits
from contracts.kernel.types import Purpose, Role
from contracts.legal_identities import LegalIdentityKnown
from contracts.membership import (
    RECOVERIES,
    CancelRecovery,
    CompleteRecovery,
    LastMember,
    NoRecovery,
    NotAHumanKey,
    NotSuspended,
    RecoveryAnnounced,
    RecoveryCancelled,
    RecoveryCompleted,
    RecoveryNotDue,
    StandingChanged,
)
from contracts.possession import NotInPossession
from contracts.recipients import RecipientTaken
from contracts.registry import RULES
from contracts.terms import Phase
from contracts.thefts import ReportStolenKey
from contracts.transition import Transaction
from contracts.validators import PowerConcentrated
from tests.vectors_io import VectorWriter

B = HOSPITAL_B.name
OTHERS = tuple(member for member in MEMBERS if member != HOSPITAL_B)
LOST = HOSPITAL_B.key(Purpose.HUMAN, 7)  # The key that replaces the lost one.
RECOVERY = RecoverKey(B, LOST.enrolment())


def decided(chain: Chain, action: Action, voters: Iterable[Member] = MEMBERS) -> ProposalDecided:
    """Put an action to the vote and see it decided."""
    found = [event for event in pass_proposal(chain, action, voters) if isinstance(event, ProposalDecided)]
    return found[0]


def suspended() -> Chain:
    chain = consortium.equipped()
    assert decided(chain, SuspendMember(B, "lost its way")).status is ProposalStatus.PASSED
    return chain


def removed(member: Member = AUDITOR) -> Chain:
    chain = consortium.equipped()
    assert decided(chain, RemoveMember(member.name, "left")).status is ProposalStatus.PASSED
    return chain


def recovering() -> Chain:
    chain = consortium.equipped()
    assert decided(chain, RECOVERY).status is ProposalStatus.PASSED
    return chain


# --- standing ---


@pytest.mark.vectors
def test_the_members_suspend_one_of_them(vector: VectorWriter) -> None:
    """The vote that settles it takes the member out of the electorate at once."""
    chain = consortium.equipped()
    pass_proposal(chain, SuspendMember(B, "lost its way"), MEMBERS[:4])
    events = vector.accepted(chain, MEMBERS[4], Vote(1, approve=True))
    assert StandingChanged(B, Standing.SUSPENDED) in events
    assert electorate.voters(chain.view, chain.height) == 6
    assert [identity.is_active(chain.view, name) for name in (B, LAB.name, "stranger")] == [False, True, False]


@pytest.mark.vectors
def test_a_key_of_a_suspended_member(vector: VectorWriter) -> None:
    """It is refused at the door, whatever it signs."""
    facts = vector.refused(suspended(), MemberInactive, HOSPITAL_B, register_dataset("more"))
    assert facts == {"organisation": B, "standing": "suspended"}


def test_a_suspended_member_still_revokes_keys_and_reports_stolen_ones_and_nothing_else() -> None:
    chain = suspended()
    chain.refused(MemberInactive, HOSPITAL_B, consortium.reserve())
    chain.refused(MemberInactive, HOSPITAL_B, AddKey(LOST.enrolment()))
    chain.refused(MemberInactive, HOSPITAL_B, Vote(1, approve=True))
    chain.refused(MemberInactive, HOSPITAL_B, CancelRecovery())
    chain.submit(HOSPITAL_B, RevokeKey(HOSPITAL_B.worker.public))
    chain.submit(HOSPITAL_B, ReportStolenKey(HOSPITAL_B.worker.public, Place(1, 0)))


def test_a_workload_key_of_a_suspended_member_does_not_even_revoke() -> None:
    suspended().refused(MemberInactive, HOSPITAL_B.worker, RevokeKey(HOSPITAL_B.human.public))


def test_a_removed_member_s_keys_do_nothing_at_all() -> None:
    chain = removed()
    for message in (RevokeKey(AUDITOR.worker.public), Vote(1, approve=True), CancelRecovery()):
        facts = chain.refused(MemberInactive, AUDITOR, message)
        assert facts == {"organisation": "auditor", "standing": "removed"}


def test_what_a_suspended_member_signs_has_no_lane_of_its_own_but_what_it_may_still_say() -> None:
    chain = suspended()
    standings = Standings(RULES.newest, chain.view, chain.height + 1)
    for message, lane in ((RevokeKey(HOSPITAL_B.worker.public), Lane.SAFETY), (Vote(1, approve=True), max(Lane))):
        assert standings.of(Transaction(chain.seal(HOSPITAL_B, message))).lane is lane


def test_quorum_and_votes_are_of_the_active_members() -> None:
    """Six are active and five decide; what the suspended one had said does not count while it is."""
    chain = consortium.equipped()
    chain.submit(HOSPITAL_A, Propose(RemoveMember(AUDITOR.name, "left")))
    for member in (HOSPITAL_B, HOSPITAL_C):
        chain.submit(member, Vote(1, approve=True))
    assert decided(chain, SuspendMember(B, "lost its way")).status is ProposalStatus.PASSED
    for member in (LAB, STAND_BY):
        assert not any(isinstance(e, ProposalDecided) for e in chain.submit(member, Vote(1, approve=True)))
    reinstated = chain.fork()
    decided(reinstated, ReinstateMember(B), OTHERS)
    events = reinstated.submit(AUDITOR, Vote(1, approve=False))
    assert ProposalDecided(1, ProposalStatus.PASSED, 0) in events, "five of seven count again"
    events = chain.submit(AUDITOR, Vote(1, approve=True))
    assert ProposalDecided(1, ProposalStatus.PASSED, 0) in events, "five of six"


@pytest.mark.vectors
def test_a_member_that_is_not_suspended_is_reinstated(vector: VectorWriter) -> None:
    """Removal is for ever, and an active member needs no help."""
    facts = vector.refused(consortium.equipped(), NotSuspended, HOSPITAL_A, Propose(ReinstateMember(B)))
    assert facts == {"organisation": B, "standing": "active"}
    removed().refused(NotSuspended, HOSPITAL_A, Propose(ReinstateMember(AUDITOR.name)))


def test_a_reinstated_member_acts_again_and_votes_from_the_next_block_on() -> None:
    chain = suspended()
    pass_proposal(chain, ReinstateMember(B), OTHERS[:4])
    codes = [r.code for r in chain.fork().block((OTHERS[4], Vote(2, approve=True)), (HOSPITAL_B, Propose(RECOVERY)))]
    assert codes[0] == 0
    assert codes[1] != 0
    chain.submit(OTHERS[4], Vote(2, approve=True))
    assert (electorate.voters(chain.view, chain.height), electorate.voters(chain.view, chain.height + 1)) == (6, 7)
    chain.submit(HOSPITAL_B, Propose(SuspendMember(AUDITOR.name, "asleep")))


def test_a_newcomer_that_is_suspended_in_the_block_of_its_admission_is_counted_once() -> None:
    members = electorate.activated(electorate.Membership(7, 7, 0, 7), 5)
    assert electorate.deactivated(members, 5) == electorate.Membership(7, 7, 5, 0)
    assert electorate.deactivated(members, 0) == electorate.Membership(7, 7, 5, 1)


def test_a_removed_member_s_name_and_recipient_are_never_given_out_again() -> None:
    chain = removed()
    fresh = as_member(Member("fresh"), (Role.AUDITOR,), 0)
    key = Member("fresh").human.enrolment(owner=AUDITOR.name)
    again = replace(fresh, organisation=AUDITOR.name, key=key)
    chain.refused(OrganisationExists, HOSPITAL_A, Propose(AdmitOrganisation(again)))
    taken = replace(fresh, recipient=recipient_of(AUDITOR.name))
    chain.refused(RecipientTaken, HOSPITAL_A, Propose(AdmitOrganisation(taken)))


def test_a_removed_member_s_legal_identity_gets_no_second_name_and_so_no_second_cap() -> None:
    """Caps follow who it is in law: removal keeps what was spent, and neither a name nor a vote refills it."""
    chain = removed()
    legal_id = ORGANISATIONS.at(chain.view, AUDITOR.name).legal_id
    again = replace(as_member(Member("fresh"), (Role.DATA_OWNER,)), legal_id=legal_id)
    facts = chain.refused(LegalIdentityKnown, HOSPITAL_A, Propose(AdmitOrganisation(again)))
    assert facts == {"legal_id": legal_id, "organisation": AUDITOR.name}


def test_a_legal_identity_that_asked_before_it_was_removed_is_not_admitted_after() -> None:
    """The vote that settles the admission finds it taken, however long ago it was proposed."""
    chain = consortium.equipped()
    again = replace(as_member(Member("fresh"), (Role.DATA_OWNER,)), legal_id="REGISTER:FRESH")
    chain.submit(HOSPITAL_A, Propose(AdmitOrganisation(again)))
    twin = replace(as_member(Member("twin"), (Role.DATA_OWNER,)), legal_id="REGISTER:FRESH")
    assert decided(chain, AdmitOrganisation(twin)).status is ProposalStatus.PASSED
    assert decided(chain, RemoveMember("twin", "left")).status is ProposalStatus.PASSED
    for member in MEMBERS[1:5]:
        events = chain.submit(member, Vote(1, approve=True))
    assert events[-1] == ProposalDecided(1, ProposalStatus.FAILED, LegalIdentityKnown.code)


def test_a_removed_member_s_validators_go_with_it() -> None:
    chain = consortium.equipped()
    chain.refused(PowerConcentrated, HOSPITAL_A, Propose(RemoveMember(B, "left")))  # Three operators of a third each.
    pass_proposal(chain, AdmitValidator(HOSPITAL_C.validator.admission(), None))
    events = pass_proposal(chain, RemoveMember(B, "left"))
    assert validators.ValidatorRemoved(HOSPITAL_B.validator.public, B) in events
    assert B not in validators.powers(validators.SET.at(chain.view).validators)


def test_no_validator_is_admitted_for_a_member_that_may_not_act() -> None:
    chain = consortium.equipped()
    decided(chain, SuspendMember(HOSPITAL_C.name, "asleep"))
    chain.refused(MemberInactive, HOSPITAL_A, Propose(AdmitValidator(HOSPITAL_C.validator.admission(), None)))


@pytest.mark.vectors
def test_nobody_suspends_the_last_active_member(vector: VectorWriter) -> None:
    """However it came to be the only one."""
    chain = consortium.equipped()
    chain.given(MEMBERSHIP.set(Membership(7, 1, 0, 0)))
    facts = vector.refused(chain, LastMember, HOSPITAL_A, Propose(SuspendMember("hospital-a", "tired")))
    assert facts == {"organisation": "hospital-a"}


def test_the_last_member_cannot_leave() -> None:
    """Somebody must be left to vote: the quorum of one is one."""
    chain = Chain(founding.genesis(as_member(HOSPITAL_A, (Role.AUDITOR,))))
    for action in (SuspendMember("hospital-a", "tired"), RemoveMember("hospital-a", "tired")):
        assert chain.refused(LastMember, HOSPITAL_A, Propose(action)) == {"organisation": "hospital-a"}


def test_members_can_be_removed_down_to_one_and_a_vote_stays_within_reach_all_the_way() -> None:
    """More than two thirds of n is at most n, and the electorate never falls below one."""
    crowd = tuple(Member(f"member-{number}") for number in range(6))
    chain = Chain(founding.genesis(*(as_member(member, (Role.OPERATOR,)) for member in crowd), operators=crowd[:1]))
    left = list(crowd)
    while len(left) > 1:
        assert decided(chain, RemoveMember(left[-1].name, "left"), left).status is ProposalStatus.PASSED
        left.pop()
    chain.refused(LastMember, crowd[0], Propose(RemoveMember(crowd[0].name, "left")))


def test_a_newcomer_does_not_vote_in_its_first_block() -> None:
    chain = suspended()
    chain.submit(HOSPITAL_A, Propose(RemoveMember(AUDITOR.name, "left")))
    pass_proposal(chain, ReinstateMember(B), OTHERS[:4])
    number = Vote(2, approve=True)
    codes = [r.code for r in chain.block((OTHERS[4], Vote(3, approve=True)), (HOSPITAL_B, number))]
    assert codes == [0, NotInElectorate.code]
    chain.submit(HOSPITAL_B, number)


# --- recovery ---


@pytest.mark.vectors
def test_a_recovery_is_announced(vector: VectorWriter) -> None:
    """A member lost its only human key; the others vote another one in, and everybody hears of it first."""
    chain = consortium.equipped()
    pass_proposal(chain, RECOVERY, OTHERS[:4])
    due = chain.next_block().time_ms + limits.RECOVERY_DELAY_MS
    events = vector.accepted(chain, OTHERS[4], Vote(1, approve=True))
    assert RecoveryAnnounced(B, LOST.public, due) in events
    chain.refused(UnknownKey, LOST, Vote(1, approve=True))


@pytest.mark.vectors
def test_a_recovery_is_completed(vector: VectorWriter) -> None:
    """Any member does it; the organisation's other human keys are revoked, for whoever holds one could have said so."""
    chain = recovering()
    chain.advance(limits.RECOVERY_DELAY_MS)
    events = vector.accepted(chain, AUDITOR, CompleteRecovery(B))
    assert events[-1] == RecoveryCompleted(B, LOST.public)
    assert RECOVERIES.get(chain.view, B) is None
    assert KEYS.at(chain.view, LOST.public).enrolled_by is None
    chain.refused(KeyIsRevoked, HOSPITAL_B, AddKey(HOSPITAL_B.key(Purpose.WORKLOAD, 1).enrolment()))
    chain.submit(LOST, AddKey(HOSPITAL_B.key(Purpose.WORKLOAD, 1).enrolment()))
    assert KEYS.at(chain.view, HOSPITAL_B.worker.public).revoked_from is None, "machines go on"


@pytest.mark.vectors
def test_a_recovery_before_its_delay_is_over(vector: VectorWriter) -> None:
    """To the millisecond of block time."""
    chain = recovering()
    due = RECOVERIES.at(chain.view, B).due
    chain.advance(due - 1 - chain.next_block().time_ms)
    facts = vector.refused(chain, RecoveryNotDue, AUDITOR, CompleteRecovery(B))
    assert facts == {"due": due, "now": due - 1}
    chain.submit(AUDITOR, CompleteRecovery(B))


def test_a_recovery_waits_for_its_delay() -> None:
    recovering().refused(RecoveryNotDue, AUDITOR, CompleteRecovery(B))


@pytest.mark.vectors
def test_any_live_human_key_of_the_organisation_cancels_its_recovery(vector: VectorWriter) -> None:
    """Nobody is given a key behind a member's back."""
    chain = recovering()
    events = vector.accepted(chain, HOSPITAL_B, CancelRecovery())
    assert events == (RecoveryCancelled(B, LOST.public),)
    chain.advance(limits.RECOVERY_DELAY_MS)
    chain.refused(NoRecovery, AUDITOR, CompleteRecovery(B))


@pytest.mark.vectors
def test_a_recovery_that_nobody_announced(vector: VectorWriter) -> None:
    """There is nothing to cancel."""
    facts = vector.refused(consortium.equipped(), NoRecovery, HOSPITAL_B, CancelRecovery())
    assert facts == {"organisation": B}


def test_a_thief_who_holds_the_only_human_key_is_suspended_first_and_cannot_cancel() -> None:
    chain = suspended()
    decided(chain, RECOVERY, OTHERS)
    chain.refused(MemberInactive, HOSPITAL_B, CancelRecovery())
    chain.advance(limits.RECOVERY_DELAY_MS)
    chain.submit(AUDITOR, CompleteRecovery(B))
    decided(chain, ReinstateMember(B), OTHERS)
    chain.refused(KeyIsRevoked, HOSPITAL_B, Vote(1, approve=True))
    chain.submit(LOST, register_dataset("recovered"))


@pytest.mark.parametrize(
    ("refusal", "action"),
    [
        (NotInPossession, RecoverKey(B, LOST.enrolment(owner="hospital-c"))),
        (KeyExists, RecoverKey(B, HOSPITAL_B.human.enrolment())),
        (identity.UnknownOrganisation, RecoverKey("stranger", LOST.enrolment(owner="stranger"))),
    ],
)
def test_a_recovery_that_could_not_be_completed_is_not_voted_on(refusal: type[Rejected], action: Action) -> None:
    consortium.equipped().refused(refusal, HOSPITAL_A, Propose(action))


@pytest.mark.vectors
def test_a_recovery_with_a_machine_s_key(vector: VectorWriter) -> None:
    """It would leave the organisation as helpless as it is."""
    recovery = RecoverKey(B, HOSPITAL_B.key(Purpose.WORKLOAD, 7).enrolment())
    vector.refused(consortium.equipped(), NotAHumanKey, HOSPITAL_A, Propose(recovery))


def test_a_thief_that_enrols_the_key_that_was_announced_cannot_keep_another_from_being_voted_in() -> None:
    """It is the only human key that the organisation has, so it could also revoke what it enrolled."""
    chain = recovering()
    consortium.succeed(chain, (HOSPITAL_B, AddKey(LOST.enrolment())), (HOSPITAL_B, RevokeKey(LOST.public)))
    pass_proposal(chain, SuspendMember(B, "a thief has its key"), OTHERS)
    chain.advance(limits.RECOVERY_DELAY_MS)
    chain.refused(KeyExists, HOSPITAL_A, CompleteRecovery(B))
    another = HOSPITAL_B.key(Purpose.HUMAN, 8)
    events = pass_proposal(chain, RecoverKey(B, another.enrolment()), OTHERS)
    assert RecoveryAnnounced(B, another.public, chain.time_ms + limits.RECOVERY_DELAY_MS) in events
    chain.refused(RecoveryNotDue, HOSPITAL_A, CompleteRecovery(B))
    chain.advance(limits.RECOVERY_DELAY_MS)
    chain.submit(HOSPITAL_A, CompleteRecovery(B))
    pass_proposal(chain, ReinstateMember(B), OTHERS)
    chain.block((another, AddKey(HOSPITAL_B.key(Purpose.WORKLOAD, 9).enrolment())))


def test_no_recovery_of_a_removed_member() -> None:
    chain = removed()
    recovery = RecoverKey(AUDITOR.name, LOST.enrolment(owner=AUDITOR.name))
    chain.refused(MemberInactive, HOSPITAL_A, Propose(recovery))


def test_a_removal_ends_a_recovery() -> None:
    chain = consortium.equipped()
    pass_proposal(chain, RecoverKey(AUDITOR.name, LOST.enrolment(owner=AUDITOR.name)))
    pass_proposal(chain, RemoveMember(AUDITOR.name, "left"))
    chain.advance(limits.RECOVERY_DELAY_MS)
    chain.refused(NoRecovery, HOSPITAL_A, CompleteRecovery(AUDITOR.name))


def test_a_member_that_has_enrolled_all_the_keys_it_may_can_still_be_recovered_a_few_times() -> None:
    chain = consortium.founded()
    keys = [HOSPITAL_B.key(Purpose.WORKLOAD, number) for number in range(limits.KEYS_PER_ORGANISATION - 1)]
    consortium.succeed(chain, *((HOSPITAL_B, AddKey(key.enrolment())) for key in keys))
    for number in range(limits.KEYS_PER_ORGANISATION, limits.KEYS_WITH_RECOVERIES):
        pass_proposal(chain, RecoverKey(B, HOSPITAL_B.key(Purpose.HUMAN, number).enrolment()), OTHERS)
        chain.advance(limits.RECOVERY_DELAY_MS)
        chain.submit(AUDITOR, CompleteRecovery(B))
    facts = chain.refused(EnrolmentCap, HOSPITAL_A, Propose(RECOVERY))
    assert facts == {"what": "recoveries", "limit": limits.KEYS_WITH_RECOVERIES}
    last = HOSPITAL_B.key(Purpose.HUMAN, limits.KEYS_WITH_RECOVERIES - 1)
    chain.refused(EnrolmentCap, last, AddKey(LOST.enrolment()))


def test_who_is_reinstated_while_others_reserve_ends_the_phase_for_nobody() -> None:
    """It was not invited: its seat is not the one that the phase waits for."""
    chain = consortium.five_joined()
    others = [member for member in consortium.MEMBERS if member is not HOSPITAL_A]
    consortium.pass_proposal(chain, SuspendMember("hospital-a", "asleep"), others)
    chain.submit(consortium.LAB, rounds.OpenRound(consortium.TASK))
    consortium.pass_proposal(chain, ReinstateMember("hospital-a"), others)
    owners = tasks.ROSTERS.at(chain.view, consortium.TASK).organisations
    invited = [member for member in MEMBERS if member.name in owners and member is not HOSPITAL_A]
    for member in (HOSPITAL_A, *invited[:-1]):
        chain.submit(member, consortium.reserve())
    assert consortium.round_of(chain).phase is Phase.RESERVING
    chain.submit(invited[-1], consortium.reserve())
    assert consortium.round_of(chain).phase is Phase.COMMITTING
