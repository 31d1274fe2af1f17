"""Every rule behind a privacy promise is held by a claim: whose it is, at which order, and that it admits anything.

As ``test_each_rule_matters``, for what is fixed with an account before anything is charged to it.
"""

import pytest

from contracts import identity, legal_identities
from contracts.kernel import renyi
from tests.contracts import test_legal_identities as identity_claims
from tests.contracts import test_privacy_budget as budget_claims
from tests.contracts import test_promises as promise_claims
from tests.contracts.removals import Rule, always, instead, require_falls

RULES = (
    Rule(
        "a cap belongs to the legal identity, not to a name",
        instead(legal_identities.LEGAL_IDENTITIES, "get", always(None)),
        identity_claims.test_a_second_name_for_a_newcomer_fails_when_it_is_settled_after_the_first,
    ),
    Rule(
        "a limit is held at one order, whatever others would admit",
        instead(renyi, "within", lambda limit, curve, _order, delta: renyi.least_epsilon(curve, delta)[0] <= limit),
        budget_claims.test_a_limit_is_held_at_the_account_s_order_though_another_one_would_admit_more,
    ),
    Rule(
        "a cap is held at its own order",
        instead(renyi, "within", lambda limit, curve, _, delta: renyi.epsilon_at(curve, 5_500, delta) <= limit),
        budget_claims.test_an_organisation_s_cap_is_held_at_its_own_order_and_delta,
    ),
    Rule(
        "a cap is held at its own δ",
        instead(renyi, "within", lambda limit, curve, order, _: renyi.epsilon_at(curve, order, 100_000) <= limit),
        budget_claims.test_an_organisation_s_cap_is_held_at_its_own_order_and_delta,
    ),
    Rule(
        "a promise that admits nothing is not made",
        instead(identity, "require_room", always(None)),
        promise_claims.test_room_begins_with_the_first_nano_above_what_converting_takes,
    ),
)


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_without_the_rule_its_claim_falls(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    require_falls(rule, monkeypatch)
