"""Privacy budgets: held before training, spent at the barrier, whole again when a round reveals nothing."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.harness import consortium
from campaigns.harness.chain import CHAIN_ID, Chain
from campaigns.harness.consortium import (
    DATASET,
    DELTA_INVERSE,
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITALS,
    LAB,
    LIMIT,
    PHASE_MS,
    PROMISE,
    TASK,
    TERMS,
    commit,
    join,
    let_pass,
    pass_phase,
    pass_proposal,
    register_dataset,
    reserve,
    succeed,
)
from contracts import privacy_budget, rounds, tasks
from contracts.contributions import Withdraw
from contracts.governance import OpenTask
from contracts.identity import DATASETS, ORGANISATIONS, AddKey
from contracts.kernel import Context, bitmap, limits, renyi
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
    Hold,
    TooManyHolds,
)
from contracts.promises import Promise, promised
from contracts.rounds import Bill, Charged, OpenRound
from contracts.terms import Estimator, EstimatorKind, Phase
from tests.contracts.accounts import PRICE, account_of, bills, epsilon, least, standing, standing_of
from tests.effort import examples
from tests.vectors_io import VectorWriter

HELD, SPENT = Bill.HELD, Bill.SPENT
LIMITED = {"limit": LIMIT, "order_milli": PROMISE.order_milli}


def exhausted() -> Chain:
    """Three rounds are decided, a fourth is open: nobody's budget admits it."""
    chain = consortium.thrice_promoted()
    chain.submit(LAB, OpenRound(TASK))
    return chain


# --- hold, spend, give back ---


@pytest.mark.vectors
def test_a_reservation_holds_the_price_back_before_any_training(vector: VectorWriter) -> None:
    """The price is held on the dataset's and on the organisation's account, in the name of the round and the seat."""
    chain = consortium.round_open()
    events = vector.accepted(chain, HOSPITAL_A, reserve())
    assert BudgetHeld("hospital-a", DATASET, epsilon(1)) in events
    assert standing_of(chain) == standing(spent=0, held=epsilon(1), least=least(1))
    held = Account(NOTHING, (Hold(TASK, 1, consortium.seat_of(chain, HOSPITAL_A).number),))
    assert DATASET_ACCOUNTS.at(chain.view, ("hospital-a", DATASET)) == held
    assert ORGANISATION_ACCOUNTS.at(chain.view, "hospital-a") == held


@pytest.mark.vectors
def test_a_withdrawal_gives_the_hold_back(vector: VectorWriter) -> None:
    """Until training starts a seat is given back for nothing, on both accounts."""
    chain = consortium.round_open()
    chain.submit(HOSPITAL_A, reserve())
    vector.accepted(chain, HOSPITAL_A, Withdraw(TASK, 1))
    assert standing_of(chain) == standing(spent=0, held=0, least=0)
    assert ORGANISATION_ACCOUNTS.at(chain.view, "hospital-a") == Account(NOTHING, ())


@pytest.mark.vectors
def test_the_last_commitment_turns_every_hold_into_spent_budget(vector: VectorWriter) -> None:
    """The barrier is the debit, for all seats at once: no account is written, each says so where it is next read."""
    chain = consortium.reserved()
    succeed(chain, *((hospital, commit()) for hospital in HOSPITALS[1:]))
    assert bills(chain) == (HELD,) * 4
    stored = dict(chain.view.scan(b"privacy_budget/"))
    vector.accepted(chain, HOSPITAL_A, commit())
    assert bills(chain) == (SPENT,) * 4
    assert dict(chain.view.scan(b"privacy_budget/")) == stored
    assert standing_of(chain) == standing(spent=epsilon(1), held=0, least=least(1))


@pytest.mark.vectors
def test_what_became_of_a_hold_is_written_where_the_account_is_next_charged(vector: VectorWriter) -> None:
    """Nothing is swept: the next reservation writes what the last round has cost, and its own hold."""
    chain = consortium.promoted()
    chain.submit(LAB, OpenRound(TASK))
    vector.accepted(chain, HOSPITAL_A, reserve(2))
    charged = Account(PRICE, (Hold(TASK, 2, consortium.seat_of(chain, HOSPITAL_A, 2).number),))
    assert DATASET_ACCOUNTS.at(chain.view, ("hospital-a", DATASET)) == charged
    assert ORGANISATION_ACCOUNTS.at(chain.view, "hospital-a") == charged


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
    limited(chain, epsilon(1) - 1)
    chain.refused(BudgetExceeded, HOSPITAL_A, reserve())
    limited(chain, epsilon(1))
    chain.submit(HOSPITAL_A, reserve())


def limited(chain: Chain, limit: int) -> None:
    """Give hospital A's dataset another limit at the same order, by hand."""
    dataset = DATASETS.at(chain.view, ("hospital-a", DATASET))
    chain.given(
        DATASETS.put(("hospital-a", DATASET), replace(dataset, promise=replace(dataset.promise, epsilon=limit)))
    )


def another_task(chain: Chain, number: int) -> str:
    """Open and join a task that hospital A alone can fill, at its leisure, and open its first round."""
    name = f"task-{number}"
    lone = Estimator(EstimatorKind.MEAN, byzantine=0, minimum=1)
    leisurely = replace(TERMS.phases, reserve_ms=100 * PHASE_MS, commit_ms=100 * PHASE_MS)
    terms = replace(TERMS, task=name, model=name, estimator=lone, phases=leisurely)
    pass_proposal(chain, OpenTask(terms))
    chain.submit(HOSPITAL_A, join(terms=terms))
    chain.submit(LAB, OpenRound(name))
    return name


def test_an_open_reservation_counts_against_the_limit_until_its_round_is_void() -> None:
    """Held is not available: budget cannot be promised twice at the same time."""
    chain = consortium.round_open()
    limited(chain, epsilon(1))
    chain.submit(HOSPITAL_A, reserve())
    other = replace(reserve(), task=another_task(chain, 1))
    facts = chain.refused(BudgetExceeded, HOSPITAL_A, other)
    assert facts == {"account": "dataset", "spent": 0, "wanted": epsilon(2), **LIMITED, "limit": epsilon(1)}
    let_pass(chain)
    chain.submit(HOSPITAL_A, other)


def test_one_hospital_s_spending_is_nobody_else_s() -> None:
    chain = consortium.round_open()
    chain.submit(HOSPITAL_A, reserve())
    assert standing_of(chain, HOSPITAL_B) == standing(spent=0, held=0, least=0)


@pytest.mark.vectors
def test_one_reservation_more_than_an_account_can_hold(vector: VectorWriter) -> None:
    """An account holds back for HOLDS_PER_ACCOUNT rounds at a time at most, however much budget is left."""
    chain = consortium.round_open()
    limited(chain, limits.EPSILON_NANO_MAX)
    others = tuple(Hold(TASK, 1, seat) for seat in range(8, 8 + limits.HOLDS_PER_ACCOUNT))
    chain.given(DATASET_ACCOUNTS.put(("hospital-a", DATASET), Account(NOTHING, others)))
    facts = vector.refused(chain, TooManyHolds, HOSPITAL_A, reserve())
    assert facts == {"limit": limits.HOLDS_PER_ACCOUNT}


def test_an_organisation_takes_part_in_as_many_open_rounds_as_its_account_can_hold() -> None:
    chain = consortium.equipped()
    member = ORGANISATIONS.at(chain.view, "hospital-a")
    chain.given(
        ORGANISATIONS.put("hospital-a", replace(member, cap=promised(limits.EPSILON_NANO_MAX, DELTA_INVERSE, None)))
    )
    limited(chain, limits.EPSILON_NANO_MAX)
    names = [another_task(chain, number) for number in range(limits.HOLDS_PER_ACCOUNT + 1)]
    for name in names[:-1]:
        chain.submit(HOSPITAL_A, replace(reserve(), task=name))
    quote = privacy_budget.quote(chain.view, "hospital-a", DATASET, PRICE, chain)
    assert quote.after < quote.limit
    assert not quote.affordable
    chain.refused(TooManyHolds, HOSPITAL_A, replace(reserve(), task=names[-1]))


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
    assert account_of(chain).holds == (Hold(TASK, 1, consortium.seat_of(chain, HOSPITAL_A).number),)


def test_an_organisation_s_cap_is_held_at_its_own_order_and_delta() -> None:
    chain = consortium.round_open()
    member = ORGANISATIONS.at(chain.view, "hospital-a")
    at = Promise(LIMIT, 10**9, 16_000)
    after = renyi.epsilon_at(PRICE, 16_000, 10**9)
    for limit, affordable in ((after - 1, False), (after, True)):
        chain.given(ORGANISATIONS.put("hospital-a", replace(member, cap=replace(at, epsilon=limit))))
        quote = privacy_budget.quote(chain.view, "hospital-a", DATASET, PRICE, chain)
        assert (quote.organisation_after, quote.affordable) == (after, affordable)
        assert (quote.organisation_delta_inverse, quote.organisation_order_milli) == (10**9, 16_000)
        assert quote.after == epsilon(1)
        if not affordable:
            assert chain.refused(BudgetExceeded, HOSPITAL_A, reserve())["order_milli"] == 16_000
    chain.submit(HOSPITAL_A, reserve())


# --- how loss is counted ---


def test_the_price_of_a_round_is_computed_once_and_stored_with_the_task() -> None:
    chain = consortium.task_open()
    assert tasks.TASKS.at(chain.view, TASK).price == PRICE


def test_the_epsilons_of_rounds_do_not_add_but_their_curves_do() -> None:
    chain = consortium.thrice_promoted()
    spent = account_of(chain).spent
    assert spent == PRICE + PRICE + PRICE
    assert standing_of(chain).spent == epsilon(3) < 3 * epsilon(1)


def test_every_debit_is_on_the_organisation_s_account_too() -> None:
    chain = consortium.joined()
    succeed(chain, (HOSPITAL_A, register_dataset("second")), (HOSPITAL_A, join("second")))
    chain.submit(LAB, OpenRound(TASK))
    succeed(chain, *((hospital, reserve()) for hospital in HOSPITALS))
    succeed(chain, *((hospital, commit()) for hospital in HOSPITALS))
    pass_phase(chain)
    chain.submit(LAB, OpenRound(TASK))
    chain.submit(HOSPITAL_A, reserve(2, "second"))
    assert account_of(chain) == Account(PRICE, ())
    assert account_of(chain, dataset="second") == Account(NOTHING, (Hold(TASK, 2, 0),))
    assert privacy_budget.organisation_account(chain.view, "hospital-a", chain) == Account(PRICE, (Hold(TASK, 2, 0),))


def test_an_untouched_account_has_lost_nothing() -> None:
    chain = consortium.equipped()
    assert standing_of(chain) == standing(spent=0, held=0, least=0)
    assert privacy_budget.organisation_account(chain.view, "hospital-a", chain) == Account(NOTHING, ())


def test_a_hopeless_price_is_shown_as_the_largest_epsilon_there_is() -> None:
    """Curves saturate; what is announced stays within the bounds of its field."""
    hopeless = Curve.of([renyi.SATURATED] * len(renyi.ORDERS))
    assert privacy_budget.epsilon_of(hopeless, PROMISE) == limits.EPSILON_NANO_MAX
    assert privacy_budget.least_epsilon_of(hopeless, DELTA_INVERSE) == limits.EPSILON_NANO_MAX


# --- quotes ---

# Of one shape or another, and from nothing to far over any limit.
CURVES = st.builds(
    lambda scale, flat: Curve.of(scale * (one + flat) // 100 for one in PRICE.costs()),
    st.integers(0, 60),
    st.integers(0, 10**7),
)
PINS = st.tuples(st.integers(limits.DELTA_INVERSE_MIN, limits.DELTA_INVERSE_MAX), st.sampled_from(renyi.ORDERS))
# A round in any phase, its seat 0 reserved, and committed or not.
ROUNDS = st.builds(
    lambda phase, charged, others, committed, until, until_height: rounds.Round(
        base=0,
        phase=phase,
        opened_at=1,
        began_at=0,
        until=until,
        until_height=until_height,
        invited=b"\x1f",
        needed=4,
        reserved=bitmap.of(range(others + 1)),
        committed=bitmap.of(range(0 if committed else 1, others + 1)),
        agreed=bitmap.NOTHING,
        charged=charged,
        void=None,
    ),
    st.sampled_from(Phase),
    st.sampled_from(Charged),
    st.integers(0, 4),
    st.booleans(),
    st.integers(0, 20),
    st.integers(0, 20),
)
OTHER_TASKS = st.lists(st.tuples(CURVES, ROUNDS), max_size=limits.HOLDS_PER_ACCOUNT)
MOMENTS = st.builds(lambda time, height: Context(CHAIN_ID, height, 0, time, b"", "", ()), *(st.integers(0, 20),) * 2)


@settings(max_examples=examples(300))
@given(
    narrow=CURVES,
    wide=CURVES,
    price=CURVES,
    others=OTHER_TASKS,
    narrower=st.integers(0, limits.HOLDS_PER_ACCOUNT),
    moment=MOMENTS,
    limit=st.integers(10**9, 10**11),
    cap=st.integers(10**9, 10**11),
    pins=st.tuples(PINS, PINS),
)
def test_a_quote_says_affordable_exactly_when_a_hold_is_accepted(
    narrow: Curve,
    wide: Curve,
    price: Curve,
    others: list[tuple[Curve, rounds.Round]],
    narrower: int,
    moment: Context,
    limit: int,
    cap: int,
    pins: Any,
) -> None:
    """Whatever was held for other tasks, whether or not anybody has written what became of it."""
    view = consortium.round_open().view
    dataset, member = DATASETS.at(view, (HOSPITAL_A.name, DATASET)), ORGANISATIONS.at(view, HOSPITAL_A.name)
    promise = Promise(limit, *pins[0])
    task, overlay = tasks.TASKS.at(view, TASK), Overlay(view)
    holds = tuple(Hold(f"task-{n}", 1, 0) for n in range(len(others)))
    overlay.apply(
        (
            DATASETS.put((HOSPITAL_A.name, DATASET), replace(dataset, promise=promise)),
            ORGANISATIONS.put(HOSPITAL_A.name, replace(member, cap=Promise(cap, *pins[1]))),
            DATASET_ACCOUNTS.put((HOSPITAL_A.name, DATASET), Account(narrow, holds[:narrower])),
            ORGANISATION_ACCOUNTS.put(HOSPITAL_A.name, Account(wide, holds)),
            tasks.TASKS.put(TASK, replace(task, price=price)),
            *(tasks.TASKS.put(f"task-{n}", replace(task, price=other)) for n, (other, _) in enumerate(others)),
            *(rounds.ROUNDS.put((f"task-{n}", 1), current) for n, (_, current) in enumerate(others)),
        )
    )
    quote = privacy_budget.quote(overlay, HOSPITAL_A.name, DATASET, price, moment)
    try:
        held = privacy_budget.hold(overlay, HOSPITAL_A.name, DATASET, Hold(TASK, 1, 0), moment)
    except (BudgetExceeded, TooManyHolds):
        assert not quote.affordable
    else:
        assert quote.affordable
        assert quote.after == held.events[0].epsilon
        overlay.apply(held.writes)
        account = privacy_budget.dataset_account(overlay, HOSPITAL_A.name, DATASET, moment)
        standing = privacy_budget.standing(overlay, account, promise)
        assert (quote.spent, quote.after) == (standing.spent, standing.spent + standing.held)
