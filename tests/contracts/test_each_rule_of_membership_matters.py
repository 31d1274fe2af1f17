"""Every rule about members, their keys and their votes is held by a claim: see ``test_each_rule_matters``."""

from dataclasses import replace
from typing import Any

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import Chain
from campaigns.harness.consortium import HOSPITAL_A
from contracts import (
    ballot_box,
    ballots,
    contributions,
    electorate,
    governance,
    identity,
    membership,
    recipients,
    registry,
    reputation,
    rounds,
    tasks,
    thefts,
    validators,
)
from contracts.ballot_box import Copy
from contracts.governance import Propose
from contracts.kernel import Context, Outcome, Place, View, bitmap, limits, require
from contracts.kernel.envelope import LedgerId
from contracts.thefts import ReportStolenKey
from tests.contracts import test_ballot_box as box_claims
from tests.contracts import test_ballot_debts as debts_claims
from tests.contracts import test_contributions as contributions_claims
from tests.contracts import test_genesis as genesis_claims
from tests.contracts import test_governance as governance_claims
from tests.contracts import test_identity as identity_claims
from tests.contracts import test_membership as membership_claims
from tests.contracts import test_models as models_claims
from tests.contracts import test_reputation as reputation_claims
from tests.contracts import test_rounds as rounds_claims
from tests.contracts import test_thefts as thefts_claims
from tests.contracts.removals import Rule, always, instead, require_falls, without


def a_report_revokes_only_the_key(patch: pytest.MonkeyPatch) -> None:
    def report_stolen_key(view: View, msg: ReportStolenKey, _ctx: Context) -> Outcome:
        return identity.revoked(msg.public, identity.KEYS.at(view, msg.public), msg.since)

    patch.setitem(registry.RULES.newest.handlers, ReportStolenKey, report_stolen_key)


def everybody_reads(patch: pytest.MonkeyPatch) -> None:
    """A round's recipients are those of the moment."""
    frozen = rounds.recipients_of

    def of_the_moment(view: View, terms: Any, current: rounds.Round) -> Any:
        return frozen(view, terms, replace(current, opened_at=10**9))

    patch.setattr(rounds, "recipients_of", of_the_moment)


def every_round_counts(task: Any, terms: Any) -> None:
    """Also one that ended before training started."""
    require(task.rounds < terms.max_rounds, lambda: tasks.NoMoreRounds(limit=terms.max_rounds))


def report(height: int) -> ReportStolenKey:
    return ReportStolenKey(HOSPITAL_A.worker.public, Place(height, 0))


def reported_twice() -> Chain:
    chain = consortium.equipped()
    chain.submit(HOSPITAL_A, report(2))
    return chain


def looking_back() -> None:
    chain = consortium.equipped()
    chain.height += 2 * 302_400
    chain.refused(thefts.TooFarBack, HOSPITAL_A, report(1))


RULES = (
    # A stolen key: what falls with it, and what it voted.
    Rule(
        "what a stolen key enrolled falls with it",
        a_report_revokes_only_the_key,
        thefts_claims.test_a_report_falls_on_the_keys_that_the_stolen_key_enrolled_since_and_theirs_and_on_no_others,
    ),
    Rule(
        "what a disowned act earned is taken back",
        instead(reputation, "disowned", always(Outcome())),
        reputation_claims.test_who_disowns_what_a_stolen_key_did_keeps_nothing_of_what_that_earned,
    ),
    Rule(
        "nobody comes to read what a round is open for",
        everybody_reads,
        rounds_claims.test_recipients_are_frozen_when_a_round_opens_and_can_only_be_taken_out,
    ),
    Rule(
        "the barrier counts what stands",
        instead(contributions, "disowned", always(Outcome())),
        thefts_claims.test_who_disowns_its_commitment_at_the_last_moment_makes_nobody_else_pay,
    ),
    Rule(
        "a recipient that a thief named is none",
        instead(identity, "has_recipient", always(True)),
        thefts_claims.test_a_recipient_that_a_thief_has_named_reads_nothing_once_its_key_is_reported,
    ),
    Rule(
        "a ballot is over the set that is agreed",
        without(ballots.AnotherSet, ballots),
        debts_claims.test_a_seal_that_was_held_back_until_the_set_is_another_is_no_ballot_over_that,
    ),
    Rule(
        "nobody serves copies of its own payload",
        without(ballots.NotHeld, ballots),
        box_claims.test_nobody_shares_its_own_payload,
    ),
    Rule(
        "a thief's copy stands in nobody's way",
        instead(ballots, "stands", lambda view, said: isinstance(said, Copy) or ballot_box.stands(view, said)),
        box_claims.test_who_reports_a_theft_shares_what_the_thief_had_shared,
    ),
    Rule(
        "a phase waits for those who were invited",
        instead(bitmap, "is_within", lambda some, whole: bitmap.count(whole) >= bitmap.count(some)),
        membership_claims.test_who_is_reinstated_while_others_reserve_ends_the_phase_for_nobody,
    ),
    Rule(
        "only rounds in which training started count",
        instead(rounds, "require_rounds_left", every_round_counts),
        rounds_claims.test_rounds_that_nobody_trained_in_use_up_none_of_a_task_s,
    ),
    Rule(
        "an attestation of a stolen key counts for nothing",
        instead(ballot_box, "stands", always(True)),
        box_claims.test_an_attestation_of_a_stolen_key_counts_for_nothing_and_its_owner_attests_anew,
    ),
    Rule(
        "what a thief sealed is sealed anew",
        instead(ballots, "stands", always(True)),
        debts_claims.test_who_reports_a_theft_while_ballots_are_sealed_seals_its_own_and_earns_by_it,
    ),
    Rule(
        "what a thief committed is committed anew",
        instead(contributions, "disowned", always(Outcome())),
        contributions_claims.test_who_reports_a_theft_while_others_train_commits_anew,
    ),
    Rule(
        "votes of the reinstated count from the next block",
        instead(identity, "has_vote", lambda member, _height: member.standing is electorate.Standing.ACTIVE),
        governance_claims.test_votes_of_who_is_reinstated_in_this_block_do_not_count_against_the_smaller_electorate,
    ),
    Rule(
        "an alarm of a suspended member counts for nothing",
        instead(identity, "is_active", always(True)),
        models_claims.test_an_alarm_of_a_member_that_was_suspended_since_counts_for_nothing,
    ),
    Rule(
        "a round that too few could read is void for nobody",
        instead(rounds, "readers_of", always(99)),
        rounds_claims.test_a_round_that_too_few_verifiers_could_read_is_void_before_anybody_trains_and_nobody_pays,
    ),
    Rule(
        "a place is a height and an index",
        instead(Place, "precedes", lambda self, other: self.height < other.height),
        identity_claims.test_what_came_before_a_revocation_in_its_block_counts_and_what_came_after_is_refused,
    ),
    Rule(
        "the key that reports must stay",
        without(identity.LastHumanKey, thefts),
        thefts_claims.test_a_key_that_would_fall_with_the_one_it_reports_cannot_report_it,
    ),
    Rule(
        "a key is reported once",
        without(thefts.ReportedAlready, thefts),
        lambda: reported_twice().refused(thefts.ReportedAlready, HOSPITAL_A, report(1)),
    ),
    Rule(
        "a report looks back only so far",
        instead(limits, "LOOK_BACK_BLOCKS", 2**40),
        looking_back,
    ),
    Rule(
        "a ballot counts while its key was good",
        instead(governance, "_counts", always(True)),
        governance_claims.test_an_approval_that_a_stolen_key_signed_does_not_count_and_is_given_again,
    ),
    Rule(
        "a proposal stands while its key was good",
        instead(governance, "_is_owned", always(True)),
        governance_claims.test_a_proposal_that_was_disowned_makes_room_and_takes_no_vote,
    ),
    Rule(
        "open proposals are bounded",
        without(governance.TooManyOpen, governance),
        lambda: governance_claims.crowded().refused(
            governance.TooManyOpen, HOSPITAL_A, Propose(governance_claims.rolling(99))
        ),
    ),
    # Who is a member.
    Rule(
        "a recipient can be encrypted to",
        without(recipients.BadRecipient, recipients),
        identity_claims.test_a_recipient_of_small_order_is_refused_to_members_newcomers_and_founders,
    ),
    Rule(
        "a recipient is one organisation's",
        without(recipients.RecipientTaken, recipients),
        identity_claims.test_a_recipient_is_free_again_once_its_organisation_reads_with_another,
    ),
    Rule(
        "a suspended member acts no more",
        instead(identity, "require_acting", always(None)),
        membership_claims.test_a_suspended_member_still_revokes_keys_and_reports_stolen_ones_and_nothing_else,
    ),
    Rule(
        "a suspended member has no vote",
        instead(governance, "_counts", always(True)),
        membership_claims.test_quorum_and_votes_are_of_the_active_members,
    ),
    Rule(
        "the quorum is of active members",
        instead(electorate, "deactivated", lambda members, _since: members),
        membership_claims.test_quorum_and_votes_are_of_the_active_members,
    ),
    Rule(
        "a newcomer has no vote yet",
        instead(governance, "_require_vote", always(None)),
        membership_claims.test_a_newcomer_does_not_vote_in_its_first_block,
    ),
    Rule(
        "somebody is left to vote",
        without(membership.LastMember, membership),
        membership_claims.test_the_last_member_cannot_leave,
    ),
    Rule(
        "a removed member's validators go with it",
        instead(validators, "dismiss", always(Outcome())),
        membership_claims.test_a_removed_member_s_validators_go_with_it,
    ),
    Rule(
        "a recovery waits",
        without(membership.RecoveryNotDue, membership),
        membership_claims.test_a_recovery_waits_for_its_delay,
    ),
    Rule(
        "a recovery revokes who did not answer",
        instead(identity, "revoked", always(Outcome())),
        membership_claims.test_a_thief_who_holds_the_only_human_key_is_suspended_first_and_cannot_cancel,
    ),
    # What a signature is bound to.
    Rule(
        "a transaction is for one genesis",
        instead(LedgerId, "__eq__", lambda self, other: self.chain_id == other.chain_id),
        genesis_claims.test_two_ledgers_of_one_name_share_no_signature,
    ),
    Rule(
        "a proof of possession is for one genesis",
        instead(identity, "require_possession", always(None)),
        genesis_claims.test_two_ledgers_of_one_name_share_no_signature,
    ),
)


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_without_the_rule_its_claim_falls(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    require_falls(rule, monkeypatch)
