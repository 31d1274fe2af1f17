"""Every rule behind what goes wrong in the demo is held by a claim: take the rule away, and the claim falls.

A pair names a rule, how it is taken away for a moment, and the claim that must then fail. The claims are tests of
their own (or stand below, where the original is a published vector); here each is run twice.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import InternalError, admission_of
from campaigns.harness.consortium import (
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITAL_C,
    LAB,
    MODEL,
    commit,
    digest,
    propose,
    reserve,
    vote,
)
from contracts import (
    contributions,
    identity,
    lineage,
    models,
    privacy_budget,
    reputation,
    rounds,
    transition,
    validators,
)
from contracts.contributions import Reserve
from contracts.governance import Action, AdmitValidator, Propose, RemoveValidator
from contracts.identity import AddKey, KeyIsRevoked, RevokeKey
from contracts.kernel import Context, Outcome, Rejected, View, limits
from contracts.kernel.types import Purpose
from contracts.lineage import VersionStatus
from contracts.models import AlreadyProposed, RaiseAlarm, ReportStolenKey, VoteVersion
from contracts.privacy_budget import BudgetExceeded
from contracts.reputation import Verdict
from contracts.rounds import NotSelected
from tests.contracts import test_contributions as contributions_claims
from tests.contracts import test_identity as identity_claims
from tests.contracts import test_lineage as lineage_claims
from tests.contracts import test_models as models_claims
from tests.contracts import test_privacy_budget as budget_claims
from tests.contracts import test_reputation as reputation_claims
from tests.contracts import test_rounds as rounds_claims
from tests.contracts import test_validators as validators_claims
from tests.contracts.test_validators import ADMISSION

Claim = Callable[[], None]
Removal = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Rule:
    """One rule, how to take it away, and the claim that holds it."""

    name: str
    remove: Removal
    claim: Claim


def instead(owner: Any, name: str, with_: Any) -> Removal:
    """Put something else in a rule's place."""
    return lambda patch: patch.setattr(owner, name, with_)


def without(refusal: type[Rejected]) -> Removal:
    """No validator is refused for this."""
    require = validators.require

    def lenient(condition: bool, refused: Callable[[], Rejected]) -> None:
        if condition or not isinstance(refused(), refusal):
            require(condition, refused)

    return instead(validators, "require", lenient)


def refusing(refusal: type[Rejected], action: Action) -> Claim:
    """The claim that a proposal is refused like this among seven members of whom four run a validator."""

    def claim() -> None:
        consortium.founded().refused(refusal, HOSPITAL_A, Propose(action))

    return claim


def always(value: Any) -> Callable[..., Any]:
    return lambda *_, **__: value


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


def votes_are_counted_without_their_digest(patch: pytest.MonkeyPatch) -> None:
    def vote_version(view: View, msg: VoteVersion, ctx: Context) -> Outcome:
        proposed = lineage.VERSIONS.at(view, (msg.model, msg.version)).digest
        return models.vote_version(view, replace(msg, digest=proposed), ctx)

    patch.setitem(transition.HANDLERS, VoteVersion, vote_version)


def training_comes_before_reserving(patch: pytest.MonkeyPatch) -> None:
    """A reservation holds nothing back."""

    def reserve_for_nothing(view: View, msg: Reserve, ctx: Context) -> Outcome:
        current = rounds.require_open(view, msg.task, msg.round)
        seat = rounds.advance(msg.task, msg.round, current, ctx.organisation, msg.dataset, rounds.Progress.RESERVED)
        return Outcome((seat,))

    patch.setitem(transition.HANDLERS, Reserve, reserve_for_nothing)


def revocation_is_only_announced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(identity, "revoke", always(Outcome()))


def a_flag_is_proof(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reputation, "FLAGS_THAT_COUNT", 0)


def flags_cost_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(reputation.CHANGES, Verdict.FILTERED, 0)


def lies_cost_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(reputation.CHANGES, Verdict.FALSE_PROPOSAL, 0)


# Claims whose tests are published vectors -------------------------------------------------------


def an_exhausted_budget_is_refused_before_anything_is_trained() -> None:
    chain = budget_claims.exhausted()
    facts = chain.refused(BudgetExceeded, HOSPITAL_A, reserve(4))
    assert facts["spent"] <= facts["limit"] < facts["wanted"]  # type: ignore[operator]


def a_live_reservation_counts_against_the_limit() -> None:
    chain = consortium.round_open()
    chain.submit(HOSPITAL_A, reserve())
    assert privacy_budget.dataset_account(chain.view, HOSPITAL_A.name, consortium.DATASET).holds


def a_revoked_key_is_refused_from_its_height_on_and_not_before() -> None:
    chain = consortium.reserved()
    chain.submit(HOSPITAL_B, commit())
    chain.submit(HOSPITAL_A, RevokeKey(HOSPITAL_A.worker.public))
    chain.refused(KeyIsRevoked, HOSPITAL_A, commit())


def a_stolen_key_signs_nothing_any_more() -> None:
    chain = consortium.promoted()
    chain.submit(HOSPITAL_A, ReportStolenKey(HOSPITAL_A.worker.public, since=chain.height))
    chain.submit(LAB, rounds.OpenRound(consortium.TASK))
    chain.refused(KeyIsRevoked, HOSPITAL_A, reserve(2))


def a_proposal_that_is_not_the_aggregate_is_refused_and_its_proposer_pays() -> None:
    chain = consortium.proposed()
    for voter in (HOSPITAL_A, HOSPITAL_B):
        chain.submit(voter, vote(chain, 1, digest=digest("what the payloads really give")))
    assert consortium.status_of(chain, 1) is VersionStatus.REFUSED
    assert consortium.deviation_of(chain, LAB) < 0
    assert consortium.current_version(chain) == 0


def nobody_tries_until_something_passes() -> None:
    chain = models_claims.refused_proposal()
    chain.refused(AlreadyProposed, LAB, propose(chain))


def one_vote_promotes_nothing() -> None:
    chain = consortium.proposed()
    chain.submit(HOSPITAL_A, vote(chain, 1))
    assert consortium.status_of(chain, 1) is VersionStatus.PROPOSED
    assert consortium.current_version(chain) == 0


def one_alarm_quarantines_nothing() -> None:
    chain = consortium.promoted()
    chain.submit(HOSPITAL_C, RaiseAlarm(MODEL, 1, digest("evidence"), "backdoor probe"))
    assert consortium.current_version(chain) == 1


def a_worse_version_is_not_promoted_although_the_votes_confirm_it() -> None:
    chain = consortium.promoted()
    consortium.run_round(chain, canary_correct=10)
    assert consortium.status_of(chain, 2) is VersionStatus.FAILED_CANARY
    assert consortium.current_version(chain) == 1


def a_contribution_without_a_seat_is_refused() -> None:
    chain = consortium.round_open()
    chain.submit(HOSPITAL_A, consortium.register_dataset("second"))
    chain.refused(NotSelected, HOSPITAL_A, reserve(dataset="second"))


def an_attacker_below_the_minimum_reputation_has_no_seat() -> None:
    rounds_claims.test_a_participant_below_the_minimum_reputation_has_no_seat_until_it_recovered()


def a_second_key_does_not_refill_the_budget() -> None:
    chain = budget_claims.exhausted()
    second = HOSPITAL_A.key(Purpose.WORKLOAD, 1)
    chain.submit(HOSPITAL_A, AddKey(second.enrolment()))
    chain.refused(BudgetExceeded, second, reserve(4))


def nobody_proposes_for_a_contribution_that_a_stolen_key_signed() -> None:
    chain = consortium.closed()
    chain.submit(HOSPITAL_A, ReportStolenKey(HOSPITAL_A.worker.public, since=1))
    chain.refused(models.Tainted, LAB, propose(chain))


LAPSE = "a reservation that nobody commits lapses at its deadline"
RULES = (
    # One hospital drops out after reserving.
    Rule(
        LAPSE,
        instead(privacy_budget, "_live", lambda account, _now: account),
        budget_claims.test_a_dropped_reservation_lapses_and_the_budget_is_whole_again,
    ),
    Rule(
        f"{LAPSE}, every time",
        instead(privacy_budget, "_live", lambda account, _now: account),
        budget_claims.test_a_hospital_that_always_drops_out_keeps_its_whole_budget,
    ),
    Rule(
        "a round closes without a seat that can no longer move",
        instead(rounds, "may_move", always(True)),
        rounds_claims.test_a_round_with_a_drop_out_closes_with_the_others_after_the_deadline,
    ),
    Rule(
        "a round does not close over a seat that may yet move",
        instead(rounds, "may_move", always(False)),
        rounds_claims.test_a_round_with_a_drop_out_closes_with_the_others_after_the_deadline,
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
        "a judgement counts when the votes have confirmed it",
        instead(models, "_verdicts", always(())),
        reputation_claims.test_a_judgement_counts_only_once_the_votes_confirm_it,
    ),
    Rule(
        "who fell too low has no seat",
        instead(reputation, "at", lambda _view, _name, now: reputation.Score(0, now, 0)),
        an_attacker_below_the_minimum_reputation_has_no_seat,
    ),
    # Budgets and revocation.
    Rule(
        "a revoked key counts for nothing",
        instead(identity, "is_live", always(True)),
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
        instead(privacy_budget, "_total", lambda account: account.spent),
        budget_claims.test_an_open_reservation_counts_against_the_limit_until_it_lapses,
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
        "only who joined takes part",
        instead(rounds, "require_seat", lambda current, *_: current.seats[0]),
        a_contribution_without_a_seat_is_refused,
    ),
    # A proposal that is not the aggregate.
    Rule(
        "a vote is for a digest",
        votes_are_counted_without_their_digest,
        a_proposal_that_is_not_the_aggregate_is_refused_and_its_proposer_pays,
    ),
    Rule(
        "a lie costs its proposer",
        lies_cost_nothing,
        a_proposal_that_is_not_the_aggregate_is_refused_and_its_proposer_pays,
    ),
    Rule("it takes a quorum to promote", instead(models, "quorum", always(1)), one_vote_promotes_nothing),
    Rule(
        "the stand-by waits for its turn",
        instead(models, "_require_turn", always(None)),
        models_claims.test_the_stand_by_s_turn_begins_exactly_when_the_first_window_ends,
    ),
    Rule(
        "the turns end",
        instead(models, "_require_turn", always(None)),
        models_claims.test_nobody_proposes_once_every_turn_has_passed,
    ),
    Rule(
        "an aggregator proposes once a round",
        instead(models, "_require_turn", always(None)),
        nobody_tries_until_something_passes,
    ),
    Rule(
        "a worse version fails its canary",
        instead(lineage, "passes_canary", always(True)),
        a_worse_version_is_not_promoted_although_the_votes_confirm_it,
    ),
    # A stolen key, a backdoor.
    Rule(
        "a stolen key's versions are quarantined",
        instead(lineage, "first_signed_since", always(None)),
        lineage_claims.test_the_height_of_the_first_bad_signature_is_exact,
    ),
    Rule(
        "what fell takes its descendants along",
        instead(lineage, "first_signed_since", always(None)),
        lineage_claims.test_versions_that_the_key_never_signed_for_fall_only_as_descendants,
    ),
    Rule("a stolen key is revoked", revocation_is_only_announced, a_stolen_key_signs_nothing_any_more),
    Rule(
        "a round on a fallen base is void",
        instead(rounds, "rebase", always(Outcome())),
        lineage_claims.test_a_round_on_a_quarantined_base_is_void_and_the_next_one_starts_from_the_restored_version,
    ),
    Rule(
        "a stolen key's contribution is withdrawn",
        instead(lineage, "key_was_live", always(True)),
        nobody_proposes_for_a_contribution_that_a_stolen_key_signed,
    ),
    Rule(
        "a proposal overtaken by a stolen key falls",
        instead(models, "_as_ledger_knows", always(True)),
        lineage_claims.test_a_proposal_overtaken_by_a_stolen_key_falls_without_fault_and_may_be_made_again,
    ),
    Rule("it takes a quorum to quarantine", instead(models, "quorum", always(1)), one_alarm_quarantines_nothing),
    Rule(
        "a filtered update taints",
        instead(lineage, "Verdict", type("Blind", (), {"ACCEPTED": 0, "FILTERED": 0})),
        lineage_claims.test_a_filtered_update_taints_too_because_the_estimator_saw_it,
    ),
    # What a participant states.
    Rule(
        "a commitment is charged",
        instead(privacy_budget, "spend", always(Outcome())),
        budget_claims.test_every_debit_is_on_the_organisation_s_account_too,
    ),
    Rule(
        "the mechanism is the one that was agreed",
        instead(contributions, "_require_as_agreed", always(None)),
        lambda: contributions_claims.test_every_constant_of_the_mechanism_is_agreed({"noise_milli": 1_999}),
    ),
    # Who decides blocks.
    Rule(
        "a validator is in the set once",
        without(validators.ValidatorExists),
        refusing(validators.ValidatorExists, AdmitValidator(LAB.validator.admission(), None)),
    ),
    Rule(
        "only a validator is removed",
        instead(validators, "_named", lambda seated, _public: seated[0]),
        refusing(validators.UnknownValidator, RemoveValidator(HOSPITAL_C.validator.public)),
    ),
    Rule(
        "an operator has the role",
        without(validators.NotAnOperator),
        refusing(validators.NotAnOperator, AdmitValidator(consortium.AUDITOR.validator.admission(), None)),
    ),
    Rule(
        "a key that signs transactions decides no blocks",
        without(validators.SigningKey),
        refusing(validators.SigningKey, AdmitValidator(admission_of(HOSPITAL_C.human.seed, "hospital-c"), None)),
    ),
    Rule(
        "a validator's operator holds its key",
        without(identity.NotInPossession),
        lambda: validators_claims.test_a_validator_whose_operator_does_not_hold_its_key(
            HOSPITAL_C.validator.admission("another-chain")
        ),
    ),
    Rule(
        "a validator's key is a strong one",
        without(identity.WeakKey),
        validators_claims.test_a_validator_with_a_key_of_small_order,
    ),
    Rule(
        "the set is bounded",
        without(validators.TooManyValidators),
        lambda: validators_claims.full().refused(validators.TooManyValidators, HOSPITAL_A, Propose(ADMISSION)),
    ),
    Rule(
        "somebody decides blocks",
        without(validators.LastValidator),
        lambda: validators_claims.with_set(consortium.founded(), "lab").refused(
            validators.LastValidator, HOSPITAL_A, Propose(RemoveValidator(LAB.validator.public))
        ),
    ),
    Rule(
        "nobody holds a third of the power",
        without(validators.PowerConcentrated),
        refusing(validators.PowerConcentrated, RemoveValidator(LAB.validator.public)),
    ),
    Rule(
        "few operators are equal",
        instead(validators, "FEWEST_OPERATORS", limits.VALIDATORS),
        refusing(validators.PowerConcentrated, RemoveValidator(LAB.validator.public)),
    ),
    Rule(
        "what comes and goes in one block is not told",
        instead(validators, "updates", lambda _before, writes: tuple(writes)),
        validators_claims.test_what_comes_and_goes_in_one_block_is_not_told,
    ),
)


@pytest.fixture(autouse=True, scope="module")
def stages() -> None:
    """Stages are built once and kept: all of them while every rule is in force."""
    consortium.thrice_promoted()


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_without_the_rule_its_claim_falls(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    falls(rule, monkeypatch)


def falls(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim holds with the rule, and not without it."""
    rule.claim()
    with monkeypatch.context() as patch:
        rule.remove(patch)
        with pytest.raises((AssertionError, Rejected)) as fallen:
            rule.claim()
    assert not isinstance(fallen.value, InternalError), "the rule broke, it did not go"
