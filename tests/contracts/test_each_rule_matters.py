"""Every rule behind what goes wrong in the demo is held by a claim: take the rule away, and the claim falls.

A pair names a rule, how it is taken away for a moment, and the claim that must then fail. The claims are tests of
their own (or stand below, where the original is a published vector); here each is run twice.
"""

from dataclasses import replace
from typing import Any

import pytest

from campaigns.harness import consortium
from campaigns.harness.consortium import (
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITAL_C,
    HOSPITALS,
    LAB,
    MODEL,
    commit,
    digest,
    reserve,
    succeed,
)
from contracts import (
    ballot_box,
    ballots,
    contributions,
    identity,
    lineage,
    models,
    privacy_budget,
    reputation,
    rounds,
    tasks,
)
from contracts.identity import AddKey, KeyIsRevoked, RevokeKey
from contracts.kernel import Context, Outcome, View
from contracts.kernel.types import Purpose
from contracts.lineage import VersionStatus
from contracts.models import RaiseAlarm
from contracts.privacy_budget import BudgetExceeded
from contracts.reputation import Verdict
from contracts.rounds import Bill, Moved
from contracts.tasks import NotJoined, Participation
from tests.contracts import test_ballot_box as box_claims
from tests.contracts import test_ballot_debts as debts_claims
from tests.contracts import test_ballots as ballots_claims
from tests.contracts import test_contributions as contributions_claims
from tests.contracts import test_identity as identity_claims
from tests.contracts import test_lineage as lineage_claims
from tests.contracts import test_models as models_claims
from tests.contracts import test_privacy_budget as budget_claims
from tests.contracts import test_reputation as reputation_claims
from tests.contracts import test_rounds as rounds_claims
from tests.contracts import test_tasks as tasks_claims
from tests.contracts.removals import Removal, Rule, always, instead, require_falls, without

# Ways to take a rule away -----------------------------------------------------------------------


class FreshBooks:
    """A view in which nothing was ever charged."""

    def __init__(self, view: View) -> None:
        self._view = view

    def get(self, path: bytes) -> bytes | None:
        return None if path.startswith(b"privacy_budget/") else self._view.get(path)


def budgets_belong_to_keys(patch: pytest.MonkeyPatch) -> None:
    """Each key but the first has an account of its own."""
    hold = privacy_budget.hold

    def hold_for_key(view: View, organisation: str, *rest: Any, ctx: Context, **others: Any) -> Outcome:
        known = ctx.sender in {member.worker.public for member in consortium.MEMBERS}
        return hold(view if known else FreshBooks(view), organisation, *rest, ctx=ctx, **others)

    patch.setattr(privacy_budget, "hold", hold_for_key)


def training_comes_before_reserving(patch: pytest.MonkeyPatch) -> None:
    """A reservation holds nothing back."""
    patch.setattr(privacy_budget, "hold", always(Outcome()))


def faults(count: int) -> Removal:
    """Terms whose f_v is another than they say, where it matters for the set."""
    after = ballots._after_attesting

    def changed(view: View, terms: Any, *rest: Any) -> Moved:
        return after(view, replace(terms, verifier_faults=count), *rest)

    return instead(ballots, "_after_attesting", changed)


def revocation_is_only_announced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(identity, "revoked", always(Outcome()))


def a_flag_is_proof(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reputation, "FLAGS_THAT_COUNT", 0)


def flags_cost_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(reputation.CHANGES, Verdict.FILTERED, 0)


def the_gate_compares_with_the_parent(patch: pytest.MonkeyPatch) -> None:
    """Every version is the best of its line."""
    version = models.Version

    def forgetful(*args: Any, **fields: Any) -> lineage.Version:
        return version(*args, **{**fields, "best": fields["parent"] + 1})

    patch.setattr(models, "Version", forgetful)


def free(*verdicts: Verdict) -> Removal:
    """These verdicts cost nothing."""

    def remove(patch: pytest.MonkeyPatch) -> None:
        for verdict in verdicts:
            patch.setitem(reputation.CHANGES, verdict, 0)

    return remove


# Claims whose tests are published vectors -------------------------------------------------------


def an_exhausted_budget_is_refused_before_anything_is_trained() -> None:
    chain = budget_claims.exhausted()
    facts = chain.refused(BudgetExceeded, HOSPITAL_A, reserve(4))
    assert facts["spent"] <= facts["limit"] < facts["wanted"]  # type: ignore[operator]


def a_live_reservation_counts_against_the_limit() -> None:
    chain = consortium.round_open()
    chain.submit(HOSPITAL_A, reserve())
    now = chain.next_block()
    assert privacy_budget.dataset_account(chain.view, HOSPITAL_A.name, consortium.DATASET, now).holds


def a_revoked_key_is_refused_from_its_height_on_and_not_before() -> None:
    chain = consortium.reserved()
    chain.submit(HOSPITAL_B, commit())
    chain.submit(HOSPITAL_A, RevokeKey(HOSPITAL_A.worker.public))
    chain.refused(KeyIsRevoked, HOSPITAL_A, commit())


def one_alarm_quarantines_nothing() -> None:
    chain = consortium.promoted()
    chain.submit(HOSPITAL_C, RaiseAlarm(MODEL, 1, digest("evidence"), "backdoor probe"))
    assert consortium.current_version(chain) == 1


def a_worse_version_is_not_promoted_although_the_ballots_agree() -> None:
    chain = consortium.promoted()
    consortium.run_round(chain, correct=10)
    assert consortium.status_of(chain, 2) is VersionStatus.FAILED_CANARY
    assert consortium.current_version(chain) == 1


def a_dataset_that_did_not_join_is_refused() -> None:
    chain = consortium.round_open()
    chain.submit(HOSPITAL_A, consortium.register_dataset("second"))
    chain.refused(NotJoined, HOSPITAL_A, reserve(dataset="second"))


def a_second_seat_is_refused() -> None:
    chain = contributions_claims.two_datasets()
    chain.submit(HOSPITAL_A, reserve())
    chain.refused(contributions.AlreadyReserved, HOSPITAL_A, reserve(dataset="second"))


def nobody_commits_twice() -> None:
    chain = consortium.reserved()
    chain.submit(HOSPITAL_A, commit())
    chain.refused(contributions.AlreadyCommitted, HOSPITAL_A, commit(cid=consortium.cid("another")))


def nobody_ends_a_phase_early() -> None:
    consortium.round_open().refused(rounds.PhaseNotOver, LAB, ballots.AdvanceRound(consortium.TASK, 1))


def a_round_that_reveals_nothing_costs_who_committed_nothing() -> None:
    chain = consortium.reserved()
    succeed(chain, *((hospital, commit()) for hospital in HOSPITALS[:3]))
    consortium.pass_phase(chain)
    spent = [
        privacy_budget.dataset_account(chain.view, hospital.name, consortium.DATASET, chain.next_block()).spent
        for hospital in HOSPITALS
    ]
    assert spent[:3] == [privacy_budget.NOTHING] * 3
    assert spent[3] != privacy_budget.NOTHING


def an_attacker_below_the_minimum_reputation_has_no_seat() -> None:
    rounds_claims.test_a_participant_below_the_minimum_reputation_has_no_seat_until_it_recovered()


def fewer_usable_than_the_minimum_are_no_candidate() -> None:
    chain = consortium.agreed()
    malformed = dict.fromkeys((HOSPITAL_A, HOSPITAL_B), lineage.Finding.MALFORMED)
    wrong = consortium.candidate(chain, findings=malformed)
    consortium.seal_all(chain, named=wrong)
    chain.refused(ballots.NotACandidate, HOSPITAL_A, consortium.open_ballot(HOSPITAL_A, wrong))


def who_left_has_no_seat() -> None:
    chain = consortium.round_open()
    chain.submit(HOSPITAL_A, tasks.LeaveTask(consortium.TASK))
    chain.refused(NotJoined, HOSPITAL_A, reserve())


def a_second_key_does_not_refill_the_budget() -> None:
    chain = budget_claims.exhausted()
    second = HOSPITAL_A.key(Purpose.WORKLOAD, 1)
    chain.submit(HOSPITAL_A, AddKey(second.enrolment()))
    chain.refused(BudgetExceeded, second, reserve(4))


RULES = (
    # 1. One organisation, one voice.
    Rule(
        "an organisation has one seat in a round",
        without(contributions.AlreadyReserved, contributions),
        a_second_seat_is_refused,
    ),
    Rule(
        "an organisation keeps its number",
        instead(tasks, "Participation", lambda number, *rest, left: Participation(number + 1, *rest, left=left)),
        tasks_claims.test_who_comes_back_has_its_number_again_and_takes_part_from_the_next_round_on,
    ),
    # 2. Nothing is charged for a round that reveals nothing.
    Rule(
        "too few reservations start no training",
        instead(rounds.bitmap, "count", always(256)),
        rounds_claims.test_nobody_trains_in_a_round_with_too_few_reservations,
    ),
    Rule(
        "below the barrier who committed pays nothing",
        instead(rounds, "bill_of", always(Bill.SPENT)),
        a_round_that_reveals_nothing_costs_who_committed_nothing,
    ),
    Rule(
        "who stays away after training started pays",
        instead(rounds, "bill_of", always(Bill.FREE)),
        a_round_that_reveals_nothing_costs_who_committed_nothing,
    ),
    Rule(
        "a seat is given back only before training starts",
        instead(rounds, "require_phase", always(None)),
        contributions_claims.test_nobody_withdraws_once_training_may_have_started,
    ),
    Rule(
        "the barrier is the debit",
        instead(rounds, "charged_of", always(None)),
        contributions_claims.test_the_last_commitment_reaches_the_barrier,
    ),
    # 3. Nobody moves last.
    Rule(
        "nobody commits after the barrier",
        instead(rounds, "is_over", always(False)),
        rounds_claims.test_nobody_commits_after_the_barrier_however_late_it_is_read,
    ),
    Rule(
        "the first commitment stands",
        without(contributions.AlreadyCommitted, contributions),
        nobody_commits_twice,
    ),
    # Phases.
    Rule(
        "a phase ends by time",
        instead(rounds, "is_over", lambda current, _now, height: height >= current.until_height),
        rounds_claims.test_blocks_alone_end_no_phase,
    ),
    Rule(
        "a phase ends by blocks",
        instead(rounds, "is_over", lambda current, now, _height: now >= current.until),
        rounds_claims.test_a_halted_chain_ends_no_phase_its_blocks_must_be_made_too,
    ),
    Rule("nobody ends a phase early", instead(rounds, "is_over", always(True)), nobody_ends_a_phase_early),
    # 4. What was available is agreed.
    Rule(
        "f_v + 1 others put a seat into the set",
        faults(0),
        box_claims.test_a_seat_s_own_attestation_counts_for_nothing,
    ),
    Rule(
        "missing needs a quorum of attestations",
        faults(5),
        box_claims.test_nobody_is_missing_without_a_quorum_of_attestations,
    ),
    Rule(
        "missing costs",
        free(Verdict.MISSING),
        box_claims.test_what_too_few_could_have_is_missing_and_its_owner_pays_once,
    ),
    # 5. Votes are work.
    Rule(
        "an opening is what was sealed",
        without(ballots.WrongOpening, ballots),
        lambda: ballots_claims.test_every_part_of_a_ballot_is_sealed("score"),
    ),
    Rule(
        "a ballot opens when none can be sealed",
        instead(rounds, "require_phase", always(None)),
        ballots_claims.test_no_ballot_opens_while_another_can_be_sealed,
    ),
    Rule(
        "a ballot against the quorum's pays",
        free(Verdict.CONTRADICTED),
        ballots_claims.test_all_but_f_suffice_and_who_says_otherwise_pays,
    ),
    Rule(
        "an unopened ballot pays",
        free(Verdict.UNOPENED),
        ballots_claims.test_an_unopened_ballot_pays_whether_there_is_a_quorum_or_not,
    ),
    Rule(
        "it takes all verifiers but f",
        instead(ballot_box, "needed_votes", always(4)),
        ballots_claims.test_without_a_quorum_the_round_is_void_and_nobody_pays_for_what_it_said,
    ),
    # 6. The gate.
    Rule(
        "a worse version fails its canary",
        instead(lineage, "passes_gate", always(True)),
        a_worse_version_is_not_promoted_although_the_ballots_agree,
    ),
    Rule(
        "the gate compares with the best",
        the_gate_compares_with_the_parent,
        models_claims.test_the_gate_does_not_slide,
    ),
    Rule(
        "the ledger checks that enough was usable",
        without(ballots.NotACandidate, ballots),
        fewer_usable_than_the_minimum_are_no_candidate,
    ),
    # 7. A stolen key.
    Rule(
        "a seat of a stolen key is not in the set",
        instead(ballots, "tainted_of", always(())),
        ballots_claims.test_a_seat_whose_key_was_stolen_is_not_in_the_set,
    ),
    Rule(
        "a seat of the set falls out when its key was stolen",
        instead(ballots, "tainted_of", always(())),
        ballots_claims.test_a_seat_of_the_set_whose_key_was_stolen_sends_the_round_back_to_sealing_without_it,
    ),
    Rule(
        "a ballot of a stolen key counts for nothing",
        instead(identity, "is_good", always(True)),
        ballots_claims.test_a_ballot_of_a_stolen_key_counts_for_nothing,
    ),
    Rule(
        "an alarm of a stolen key counts for nothing",
        instead(models, "_is_good", always(True)),
        models_claims.test_an_alarm_of_a_stolen_key_counts_for_nothing,
    ),
    # 9. Conduct counts for everyone.
    Rule(
        "an aggregator below the terms' reputation opens no round",
        instead(rounds, "require_reputation", always(reputation.Score(0, 0, 0))),
        rounds_claims.test_an_aggregator_below_the_minimum_reputation_opens_no_round,
    ),
    Rule(
        "who left reserves no more",
        instead(tasks, "require_participation", lambda view, *key: tasks.PARTICIPATIONS.at(view, key)),
        who_left_has_no_seat,
    ),
    # A boosted, sign-flipped update.
    Rule(
        "an update that is filtered again and again costs reputation",
        flags_cost_nothing,
        reputation_claims.test_an_update_that_is_filtered_once_costs_nothing_and_twice_costs,
    ),
    Rule(
        "one flag is no proof",
        a_flag_is_proof,
        reputation_claims.test_an_update_that_is_filtered_once_costs_nothing_and_twice_costs,
    ),
    Rule(
        "a finding counts when the ballots agree on it",
        instead(ballot_box, "VERDICTS", dict.fromkeys(lineage.Finding, Verdict.CONFIRMED)),
        ballots_claims.test_a_confirmed_round_settles_every_finding_once,
    ),
    Rule(
        "who fell too low has no seat",
        instead(reputation, "at", lambda _view, _name, now: reputation.Score(0, now, 0)),
        an_attacker_below_the_minimum_reputation_has_no_seat,
    ),
    # Budgets and revocation.
    Rule(
        "a revoked key counts for nothing",
        instead(identity, "is_good", always(True)),
        identity_claims.test_nothing_is_accepted_from_a_revoked_key_ever_again,
    ),
    Rule(
        "a revocation takes effect",
        revocation_is_only_announced,
        a_revoked_key_is_refused_from_its_height_on_and_not_before,
    ),
    Rule(
        "a budget is never overspent",
        instead(privacy_budget, "fits", always(True)),
        an_exhausted_budget_is_refused_before_anything_is_trained,
    ),
    Rule(
        "the limit is exact",
        instead(privacy_budget, "fits", always(True)),
        budget_claims.test_the_limit_itself_is_allowed_and_one_nano_less_is_not,
    ),
    Rule(
        "the price is held before training",
        training_comes_before_reserving,
        a_live_reservation_counts_against_the_limit,
    ),
    Rule(
        "a reservation is refused before anything is trained",
        training_comes_before_reserving,
        an_exhausted_budget_is_refused_before_anything_is_trained,
    ),
    Rule(
        "an open reservation counts against the limit",
        instead(privacy_budget, "_total", lambda _view, account: account.spent),
        budget_claims.test_an_open_reservation_counts_against_the_limit_until_its_round_is_void,
    ),
    Rule(
        "a budget belongs to the organisation, not to a key",
        budgets_belong_to_keys,
        a_second_key_does_not_refill_the_budget,
    ),
    Rule(
        "a budget belongs to the organisation, not to a dataset's name",
        instead(privacy_budget, "organisation_account", always(privacy_budget.Account(privacy_budget.NOTHING, ()))),
        budget_claims.test_a_second_dataset_name_does_not_refill_the_organisation_s_budget,
    ),
    Rule(
        "only a dataset that joined pays",
        without(NotJoined, contributions),
        a_dataset_that_did_not_join_is_refused,
    ),
    # A backdoor.
    Rule(
        "a round on a fallen base is void",
        instead(rounds, "rebased", always(Outcome())),
        models_claims.test_a_round_on_a_quarantined_base_is_void_and_the_next_one_starts_from_the_restored_version,
    ),
    Rule(
        "a fall settles what ballots owe",
        instead(ballot_box, "abandoned", always(Outcome())),
        debts_claims.test_an_unopened_ballot_pays_although_the_base_falls_when_the_phase_is_over,
    ),
    Rule(
        "a report pays for no refusal",
        instead(ballots, "judged", always(())),
        debts_claims.test_a_report_does_not_pay_for_a_payload_that_a_quorum_has_refused,
    ),
    Rule(
        "nobody is late while the phase is under way",
        instead(rounds, "is_over", always(True)),
        debts_claims.test_ballots_that_agree_earn_what_they_do_although_the_base_falls_before_they_are_counted,
    ),
    Rule(
        "what fell takes its descendants along",
        instead(lineage, "_fell_with", lambda _view, _name, _model, number: number),
        lineage_claims.test_a_version_that_fell_within_a_fall_says_which,
    ),
    Rule("it takes a quorum to quarantine", instead(models, "quorum", always(1)), one_alarm_quarantines_nothing),
    # What a participant states.
    Rule(
        "the mechanism is the one that was agreed",
        instead(contributions, "_require_as_agreed", always(None)),
        lambda: contributions_claims.test_every_constant_of_the_mechanism_is_agreed({"noise_milli": 1_999}),
    ),
)


@pytest.fixture(autouse=True, scope="module")
def stages() -> None:
    """Stages are built once and kept: all of them while every rule is in force."""
    consortium.thrice_promoted()


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_without_the_rule_its_claim_falls(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    require_falls(rule, monkeypatch)
