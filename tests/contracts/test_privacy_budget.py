"""Privacy budgets: held before training, spent by the commitment, whole again when nothing came of it."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.harness import consortium
from campaigns.harness.chain import Chain, Member
from campaigns.harness.consortium import (
    DATASET,
    DELTA_INVERSE,
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITALS,
    LAB,
    LIMIT,
    MECHANISM,
    PHASE_MS,
    PROMISE,
    TASK,
    commit,
    join,
    register_dataset,
    reserve,
    run_round,
)
from contracts import privacy_budget, rounds
from contracts.identity import DATASETS, ORGANISATIONS, AddKey, Promise, promised
from contracts.kernel import Write, limits, renyi
from contracts.kernel.renyi import Curve
from contracts.kernel.state import Overlay
from contracts.kernel.types import Purpose
from contracts.privacy_budget import (
    DATASET_ACCOUNTS,
    NOTHING,
    ORGANISATION_ACCOUNTS,
    Account,
    BudgetExceeded,
    BudgetHeld,
    BudgetSpent,
    Hold,
    Standing,
    TooManyHolds,
)
from contracts.rounds import DeadlinePassed, OpenRound
from contracts.terms import price_of
from tests.effort import examples
from tests.vectors_io import VectorWriter

PRICE = price_of(MECHANISM)
LIMITED = {"limit": LIMIT, "order_milli": PROMISE.order_milli}


def epsilon(rounds_spent: int) -> int:
    """ε of this many rounds together: their curves add, their ε do not."""
    curve = NOTHING
    for _ in range(rounds_spent):
        curve += PRICE
    return privacy_budget.epsilon_of(curve, PROMISE)


def account_of(chain: Chain, member: Member = HOSPITAL_A, dataset: str = DATASET) -> Account:
    return privacy_budget.dataset_account(chain.view, member.name, dataset)


def standing_of(chain: Chain, member: Member = HOSPITAL_A, dataset: str = DATASET) -> Standing:
    promise = DATASETS.at(chain.view, (member.name, dataset)).promise
    return privacy_budget.standing(account_of(chain, member, dataset), promise, chain.time_ms)


def standing(*, spent: int, held: int, least: int) -> Standing:
    return Standing(LIMIT, DELTA_INVERSE, PROMISE.order_milli, spent, held, least)


def least(rounds_spent: int) -> int:
    """ε of this many rounds at the order that suits them best."""
    curve = Curve.of(rounds_spent * cost for cost in PRICE.costs())
    return privacy_budget.least_epsilon_of(curve, DELTA_INVERSE)


def promising(chain: Chain, epsilon: int) -> Write:
    """Hospital A's dataset with another limit at the same order."""
    dataset = DATASETS.at(chain.view, ("hospital-a", DATASET))
    return DATASETS.put(("hospital-a", DATASET), replace(dataset, promise=replace(dataset.promise, epsilon=epsilon)))


def exhausted() -> Chain:
    """Three rounds are decided, a fourth is open: nobody's budget admits it."""
    chain = consortium.thrice_promoted()
    chain.submit(LAB, OpenRound(TASK))
    return chain


# --- hold, spend, lapse ---


@pytest.mark.vectors
def test_a_reservation_holds_the_price_back_before_any_training(vector: VectorWriter) -> None:
    """The price is held on the dataset's and on the organisation's account, until the commitment deadline."""
    chain = consortium.round_open()
    until = consortium.round_of(chain).commit_by
    events = vector.accepted(chain, HOSPITAL_A, reserve())
    assert BudgetHeld("hospital-a", DATASET, epsilon(1), until) in events
    assert standing_of(chain) == standing(spent=0, held=epsilon(1), least=least(1))
    (hold,) = ORGANISATION_ACCOUNTS.at(chain.view, "hospital-a").holds
    assert (hold.price, hold.until) == (PRICE, until)


@pytest.mark.vectors
def test_a_commitment_turns_the_hold_into_spent_budget(vector: VectorWriter) -> None:
    """What was held is spent, once, on both accounts."""
    chain = consortium.reserved()
    events = vector.accepted(chain, HOSPITAL_A, commit())
    assert BudgetSpent("hospital-a", DATASET, epsilon(1)) in events
    for account in (account_of(chain), ORGANISATION_ACCOUNTS.at(chain.view, "hospital-a")):
        assert account == Account(PRICE, ())


def test_a_dropped_reservation_lapses_and_the_budget_is_whole_again() -> None:
    chain = consortium.reserved()
    chain.advance(2 * PHASE_MS)
    chain.block()
    assert standing_of(chain) == standing(spent=0, held=0, least=0)
    chain.refused(DeadlinePassed, HOSPITAL_A, commit())
    assert account_of(chain).spent == NOTHING


def test_a_hold_counts_until_the_millisecond_of_its_deadline() -> None:
    chain = consortium.reserved()
    account, until = account_of(chain), consortium.round_of(chain).commit_by
    before, after = (privacy_budget.standing(account, PROMISE, now) for now in (until - 1, until))
    assert (before.held, after.held) == (epsilon(1), 0)


@pytest.mark.vectors
def test_a_lapsed_hold_is_dropped_where_the_account_is_next_written(vector: VectorWriter) -> None:
    """Nothing is swept: the next reservation ignores the lapsed hold and leaves it out of what it writes."""
    chain = consortium.reserved()
    consortium.close(chain, 1, waiting=True)
    chain.submit(LAB, OpenRound(TASK))
    vector.accepted(chain, HOSPITAL_A, reserve(2))
    assert [hold.until for hold in account_of(chain).holds] == [consortium.round_of(chain, 2).commit_by]


def test_a_hospital_that_always_drops_out_keeps_its_whole_budget() -> None:
    chain = consortium.joined()
    for number in range(1, 7):
        chain.submit(LAB, OpenRound(TASK))
        chain.submit(HOSPITAL_A, reserve(number))
        consortium.close(chain, number, waiting=True)
    assert standing_of(chain) == standing(spent=0, held=0, least=0)


# --- the limit ---


@pytest.mark.vectors
def test_an_exhausted_budget_is_refused_before_training(vector: VectorWriter) -> None:
    """The fourth round does not fit: the reservation is refused with what was spent, the limit, and what was wanted."""
    chain = exhausted()
    facts = vector.refused(chain, BudgetExceeded, HOSPITAL_A, reserve(4))
    assert facts == {"account": "dataset", "spent": epsilon(3), "wanted": epsilon(4), **LIMITED}
    assert epsilon(3) <= LIMIT < epsilon(4)


def test_a_second_key_does_not_refill_a_budget() -> None:
    chain = exhausted()
    second = HOSPITAL_A.key(Purpose.WORKLOAD, 1)
    chain.submit(HOSPITAL_A, AddKey(second.enrolment()))
    assert chain.refused(BudgetExceeded, second, reserve(4))["account"] == "dataset"


def test_a_second_dataset_name_does_not_refill_the_organisation_s_budget() -> None:
    chain = consortium.thrice_promoted()
    chain.submit(HOSPITAL_A, register_dataset("same-records-again"))
    chain.submit(HOSPITAL_A, join("same-records-again"))
    chain.submit(LAB, OpenRound(TASK))
    facts = chain.refused(BudgetExceeded, HOSPITAL_A, reserve(4, "same-records-again"))
    assert facts == {"account": "organisation", "spent": epsilon(3), "wanted": epsilon(4), **LIMITED}


def test_the_limit_itself_is_allowed_and_one_nano_less_is_not() -> None:
    chain = consortium.round_open()
    chain.given(promising(chain, epsilon(1) - 1))
    chain.refused(BudgetExceeded, HOSPITAL_A, reserve())
    chain.given(promising(chain, epsilon(1)))
    chain.submit(HOSPITAL_A, reserve())


def test_an_open_reservation_counts_against_the_limit_until_it_lapses() -> None:
    """Held is not available: budget cannot be promised twice at the same time."""
    chain = consortium.reserved()
    chain.given(promising(chain, epsilon(1)))
    consortium.close(chain, 1, waiting=True)
    chain.submit(LAB, OpenRound(TASK))
    held = replace(account_of(chain).holds[0], until=chain.time_ms + 10 * PHASE_MS)
    chain.given(DATASET_ACCOUNTS.put(("hospital-a", DATASET), Account(NOTHING, (held,))))
    assert chain.refused(BudgetExceeded, HOSPITAL_A, reserve(2))["spent"] == 0
    chain.given(DATASET_ACCOUNTS.put(("hospital-a", DATASET), Account(NOTHING, (replace(held, until=0),))))
    chain.submit(HOSPITAL_A, reserve(2))


def test_one_hospital_s_spending_is_nobody_else_s() -> None:
    chain = consortium.round_open()
    chain.submit(HOSPITAL_A, reserve())
    assert standing_of(chain, HOSPITAL_B) == standing(spent=0, held=0, least=0)


@pytest.mark.vectors
def test_one_reservation_more_than_an_account_can_hold(vector: VectorWriter) -> None:
    """An account holds back HOLDS_PER_ACCOUNT reservations at most, however much budget is left."""
    chain = consortium.task_open()
    member = ORGANISATIONS.at(chain.view, "hospital-a")
    chain.given(
        ORGANISATIONS.put("hospital-a", replace(member, cap=promised(limits.EPSILON_NANO_MAX, DELTA_INVERSE, None)))
    )
    names = [f"dataset-{i}" for i in range(limits.HOLDS_PER_ACCOUNT + 1)]
    consortium.succeed(chain, *((HOSPITAL_A, register_dataset(name)) for name in names))
    consortium.succeed(chain, *((HOSPITAL_A, join(name)) for name in names))
    chain.submit(LAB, OpenRound(TASK))
    consortium.succeed(chain, *((HOSPITAL_A, reserve(1, name)) for name in names[:-1]))
    facts = vector.refused(chain, TooManyHolds, HOSPITAL_A, reserve(1, names[-1]))
    assert facts == {"limit": limits.HOLDS_PER_ACCOUNT}


# --- one order ---


def test_a_limit_is_held_at_the_account_s_order_though_another_one_would_admit_more() -> None:
    """The order was fixed before the first charge: another that would suit what came is not looked at."""
    chain = consortium.round_open()
    cost = renyi.room_at(LIMIT, PROMISE.order_milli, DELTA_INVERSE)
    spent = Curve.of(cost if order == PROMISE.order_milli else 0 for order in renyi.ORDERS)
    chain.given(DATASET_ACCOUNTS.put(("hospital-a", DATASET), Account(spent, ())))
    facts = chain.refused(BudgetExceeded, HOSPITAL_A, reserve())
    assert facts["spent"] == LIMIT
    assert standing_of(chain).least == 0


def test_what_other_orders_have_lost_takes_nothing_from_the_account() -> None:
    chain = consortium.round_open()
    spent = Curve.of(0 if order == PROMISE.order_milli else renyi.SATURATED for order in renyi.ORDERS)
    chain.given(DATASET_ACCOUNTS.put(("hospital-a", DATASET), Account(spent, ())))
    chain.submit(HOSPITAL_A, reserve())
    assert account_of(chain).holds[0].price == PRICE


def test_an_organisation_s_cap_is_held_at_its_own_order_and_delta() -> None:
    chain = consortium.round_open()
    member = ORGANISATIONS.at(chain.view, "hospital-a")
    at = Promise(LIMIT, 10**9, 16_000)
    after = renyi.epsilon_at(PRICE, 16_000, 10**9)
    for limit, affordable in ((after - 1, False), (after, True)):
        chain.given(ORGANISATIONS.put("hospital-a", replace(member, cap=replace(at, epsilon=limit))))
        quote = privacy_budget.quote(chain.view, "hospital-a", DATASET, PRICE, chain.time_ms)
        assert (quote.organisation_after, quote.affordable) == (after, affordable)
        assert (quote.organisation_delta_inverse, quote.organisation_order_milli) == (10**9, 16_000)
        assert quote.after == epsilon(1)
        if not affordable:
            assert chain.refused(BudgetExceeded, HOSPITAL_A, reserve())["order_milli"] == 16_000
    chain.submit(HOSPITAL_A, reserve())


# --- how loss is counted ---


def test_the_price_of_a_round_is_computed_once_and_stored_with_the_task() -> None:
    chain = consortium.task_open()
    assert rounds.TASKS.at(chain.view, TASK).price == PRICE


def test_the_epsilons_of_rounds_do_not_add_but_their_curves_do() -> None:
    chain = consortium.thrice_promoted()
    spent = account_of(chain).spent
    assert spent == PRICE + PRICE + PRICE
    assert standing_of(chain).spent == epsilon(3) < 3 * epsilon(1)


def test_every_debit_is_on_the_organisation_s_account_too() -> None:
    chain = consortium.joined()
    run_round(chain)
    run_round(chain, HOSPITALS[1:])
    assert account_of(chain, HOSPITAL_A).spent == PRICE
    assert ORGANISATION_ACCOUNTS.at(chain.view, "hospital-b").spent == account_of(chain, HOSPITAL_B).spent


def test_an_untouched_account_has_lost_nothing() -> None:
    chain = consortium.equipped()
    assert standing_of(chain) == standing(spent=0, held=0, least=0)
    assert privacy_budget.organisation_account(chain.view, "hospital-a") == Account(NOTHING, ())


def test_a_hopeless_price_is_shown_as_the_largest_epsilon_there_is() -> None:
    """Curves saturate; what is announced stays within the bounds of its field."""
    hopeless = Curve.of([renyi.SATURATED] * len(renyi.ORDERS))
    assert privacy_budget.epsilon_of(hopeless, PROMISE) == limits.EPSILON_NANO_MAX
    assert privacy_budget.least_epsilon_of(hopeless, DELTA_INVERSE) == limits.EPSILON_NANO_MAX


# Of one shape or another, and from nothing to far over any limit.
CURVES = st.builds(
    lambda scale, flat: Curve.of(scale * (one + flat) // 100 for one in PRICE.costs()),
    st.integers(0, 60),
    st.integers(0, 10**7),
)
PINS = st.tuples(st.integers(limits.DELTA_INVERSE_MIN, limits.DELTA_INVERSE_MAX), st.sampled_from(renyi.ORDERS))
HOLDS = st.lists(st.tuples(CURVES, st.integers(0, 20)), max_size=limits.HOLDS_PER_ACCOUNT)
ACCOUNTS = st.builds(
    lambda spent, held: Account(spent, tuple(Hold(bytes([n] * 32), *each) for n, each in enumerate(held, 1))),
    CURVES,
    HOLDS,
)


@settings(max_examples=examples(300))
@given(
    ACCOUNTS,
    ACCOUNTS,
    CURVES,
    st.integers(0, 20),
    st.integers(10**9, 10**11),
    st.integers(10**9, 10**11),
    st.tuples(PINS, PINS),
)
def test_a_quote_says_affordable_exactly_when_a_hold_is_accepted(
    narrow: Account, wide: Account, price: Curve, now: int, limit: int, cap: int, pins: Any
) -> None:
    view = consortium.joined().view
    dataset, member = DATASETS.at(view, (HOSPITAL_A.name, DATASET)), ORGANISATIONS.at(view, HOSPITAL_A.name)
    overlay = Overlay(view)
    overlay.apply(
        (
            DATASETS.put((HOSPITAL_A.name, DATASET), replace(dataset, promise=Promise(limit, *pins[0]))),
            ORGANISATIONS.put(HOSPITAL_A.name, replace(member, cap=Promise(cap, *pins[1]))),
            privacy_budget.DATASET_ACCOUNTS.put((HOSPITAL_A.name, DATASET), narrow),
            privacy_budget.ORGANISATION_ACCOUNTS.put(HOSPITAL_A.name, wide),
        )
    )
    quote = privacy_budget.quote(overlay, HOSPITAL_A.name, DATASET, price, now)
    try:
        held = privacy_budget.hold(
            overlay, HOSPITAL_A.name, DATASET, price, reservation=b"r" * 32, until=now + 60_000, now=now
        )
    except (BudgetExceeded, TooManyHolds):
        assert not quote.affordable
    else:
        assert quote.affordable
        assert quote.after == held.events[0].epsilon
