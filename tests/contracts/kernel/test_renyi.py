"""Rényi accounting against two others: decimal at 120 digits, and Google's dp_accounting in floats."""

from decimal import ROUND_CEILING, Decimal, localcontext
from math import comb

import dp_accounting
import pytest
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.kernel import limits, renyi
from contracts.kernel.renyi import (
    NANO,
    ORDERS,
    SATURATED,
    ZERO,
    compose,
    conversion_offsets,
    epsilon_nano,
    gaussian_curve,
    subsampled_gaussian_curve,
    within,
)

DELTA_INVERSE = 10**5
rates = st.integers(2, 10**6).flatmap(lambda d: st.tuples(st.integers(1, d - 1), st.just(d)))
sigmas = st.integers(renyi.SIGMA_MILLI_MIN, renyi.SIGMA_MILLI_MAX)
usual_sigmas = st.integers(500, 8_000)
step_counts = st.integers(1, renyi.STEPS_MAX)
deltas = st.integers(limits.DELTA_INVERSE_MIN, limits.DELTA_INVERSE_MAX)
costs = st.one_of(st.integers(0, SATURATED), st.just(SATURATED), st.integers(0, 10**10))
unhurried = settings(deadline=None)
curves = st.lists(costs, min_size=len(ORDERS), max_size=len(ORDERS)).map(tuple)


def decimal_cost(order: int, q_numerator: int, q_denominator: int, sigma_milli: int, steps: int) -> Decimal:
    """Mironov, Talwar and Zhang's formula, in nano-nats, at the precision of the context."""
    q, variance = Decimal(q_numerator) / q_denominator, (Decimal(sigma_milli) / 1000) ** 2
    moment = sum(
        comb(order, k) * (1 - q) ** (order - k) * q**k * (Decimal(k * (k - 1)) / (2 * variance)).exp()
        for k in range(order + 1)
    )
    return Decimal(moment).ln() * steps * NANO / (order - 1)


def reference_epsilon(q: float, sigma: float, steps: int, delta: float, orders=ORDERS) -> float:
    accountant = RdpAccountant(orders, dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
    event = dp_accounting.GaussianDpEvent(sigma)
    accountant.compose(event if q == 1 else dp_accounting.PoissonSampledDpEvent(q, event), steps)
    return accountant.get_epsilon(delta)


def test_the_orders_are_the_published_ones() -> None:
    assert list(ORDERS) == [*range(2, 65), 72, 80, 96, 112, 128, 160, 192, 224, 256]


@settings(max_examples=15, deadline=None)
@given(rates, sigmas, step_counts)
def test_a_subsampled_curve_is_the_ceiling_of_the_exact_cost(rate: tuple[int, int], sigma: int, steps: int) -> None:
    """Never below; above the exact ceiling by one nano-nat at most, where the real value almost meets it."""
    curve = subsampled_gaussian_curve(*rate, sigma, steps)
    with localcontext(prec=120):
        for at in (0, 1, 6, 40, 62, 66, 71):
            exact = decimal_cost(ORDERS[at], *rate, sigma, steps)
            assert exact <= curve[at] <= exact.to_integral_value(ROUND_CEILING) + 1


@unhurried
@given(sigmas, step_counts)
def test_a_gaussian_curve_is_the_ceiling_of_its_closed_form(sigma: int, steps: int) -> None:
    for order, cost in zip(ORDERS, gaussian_curve(sigma, steps), strict=True):
        real_times = order * steps * NANO * 10**6  # cost·2·sigma_milli²
        assert (cost - 1) * 2 * sigma**2 < real_times <= cost * 2 * sigma**2


@settings(max_examples=40, deadline=None)
@given(rates, usual_sigmas, st.integers(1, 2_000), deltas)
def test_epsilon_agrees_with_dp_accounting_at_equal_orders_and_is_never_below(
    rate: tuple[int, int], sigma: int, steps: int, delta_inverse: int
) -> None:
    ours, _ = epsilon_nano(subsampled_gaussian_curve(*rate, sigma, steps), delta_inverse)
    theirs = reference_epsilon(rate[0] / rate[1], sigma / 1000, steps, 1 / delta_inverse)
    noise = 1e-9 + 1e-9 * theirs  # Of their floats; ours carries none.
    assert ours / NANO >= theirs - noise
    # Below ε ≈ δ they switch to a bound by the total variation distance and answer 0; we stay with Rényi's.
    assert theirs == 0 or ours / NANO <= theirs + noise + 2e-9


@settings(max_examples=40, deadline=None)
@given(usual_sigmas, st.integers(1, 2_000), deltas)
def test_epsilon_without_sampling_agrees_with_dp_accounting(sigma: int, steps: int, delta_inverse: int) -> None:
    ours, _ = epsilon_nano(gaussian_curve(sigma, steps), delta_inverse)
    theirs = reference_epsilon(1, sigma / 1000, steps, 1 / delta_inverse)
    assert theirs * (1 - 1e-9) <= ours / NANO <= theirs * (1 + 1e-9) + 2e-9


@pytest.mark.parametrize(
    ("rate", "sigma", "steps", "published", "excess"),
    [
        pytest.param((1, 1), 8_000, 50, 4.106, 0, id="q=1, T=50, sigma 8"),
        pytest.param((1, 1), 8_000, 80, 5.378, 0, id="q=1, T=80, sigma 8"),
        pytest.param((1, 1), 12_000, 80, 3.385, 0, id="q=1, T=80, sigma 12"),
        pytest.param((1, 4), 2_000, 30, 3.804, 0, id="the breast cancer demo"),
        pytest.param((1, 10), 1_000, 50, 5.885, 0.025, id="q=.1, T=50, sigma 1: best order is fractional"),
        pytest.param((1, 10), 1_500, 80, 3.529, 0.025, id="q=.1, T=80, sigma 1.5"),
    ],
)
def test_published_figures_at_delta_1e_5_are_met_up_to_the_price_of_integer_orders(
    rate: tuple[int, int], sigma: int, steps: int, published: float, excess: float
) -> None:
    epsilon = epsilon_nano(subsampled_gaussian_curve(*rate, sigma, steps), DELTA_INVERSE)[0] / NANO
    assert published - 5e-4 <= epsilon <= published * (1 + excess) + 5e-4


@unhurried
@given(deltas)
def test_conversion_offsets_are_the_ceilings_of_the_exact_ones(delta_inverse: int) -> None:
    with localcontext(prec=60):
        for order, offset in zip(ORDERS, conversion_offsets(delta_inverse), strict=True):
            exact = (Decimal(order - 1) / order).ln() + (Decimal(delta_inverse) / order).ln() / (order - 1)
            assert offset > 0
            assert exact * NANO <= offset < exact * NANO + 1 + Decimal(10) ** -9


def test_a_rate_of_one_costs_what_no_sampling_costs() -> None:
    assert subsampled_gaussian_curve(3, 3, 1_234, 7) == gaussian_curve(1_234, 7)


def test_equal_rates_written_differently_cost_the_same() -> None:
    assert subsampled_gaussian_curve(1, 4, 2_000, 30) == subsampled_gaussian_curve(250, 1_000, 2_000, 30)


@settings(max_examples=15, deadline=None)
@given(rates, usual_sigmas)
def test_sampling_never_costs_more_and_costs_rise_with_the_order(rate: tuple[int, int], sigma: int) -> None:
    sampled = subsampled_gaussian_curve(*rate, sigma, 100)
    assert all(less <= more for less, more in zip(sampled, gaussian_curve(sigma, 100), strict=True))
    assert list(sampled) == sorted(sampled)


@settings(max_examples=10, deadline=None)
@given(rates, usual_sigmas, st.integers(1, 500), st.integers(1, 500))
def test_steps_add_up_to_a_nano_nat_of_rounding(rate: tuple[int, int], sigma: int, one: int, two: int) -> None:
    whole = subsampled_gaussian_curve(*rate, sigma, one + two)
    parts = compose(subsampled_gaussian_curve(*rate, sigma, one), subsampled_gaussian_curve(*rate, sigma, two))
    assert all(0 <= part - total <= 1 for part, total in zip(parts, whole, strict=True))


def test_every_curve_within_the_bounds_stays_below_saturation() -> None:
    dearest = gaussian_curve(renyi.SIGMA_MILLI_MIN, renyi.STEPS_MAX)
    assert max(dearest) < SATURATED
    assert max(subsampled_gaussian_curve(999_999, 10**6, renyi.SIGMA_MILLI_MIN, renyi.STEPS_MAX)) < SATURATED


@unhurried
@given(curves, curves, curves)
def test_composition_is_commutative_and_associative_with_zero_as_its_unit(one, two, three) -> None:
    assert compose(one, two) == compose(two, one)
    assert compose(compose(one, two), three) == compose(one, compose(two, three))
    assert compose(one, ZERO) == one


@unhurried
@given(curves, curves, deltas)
def test_more_releases_never_show_a_smaller_epsilon(one, two, delta_inverse: int) -> None:
    assert epsilon_nano(compose(one, two), delta_inverse)[0] >= epsilon_nano(one, delta_inverse)[0]


@unhurried
@given(curves, deltas, st.integers(0, 10**11))
def test_within_is_the_comparison_with_epsilon(curve, delta_inverse: int, limit: int) -> None:
    assert within(limit, curve, delta_inverse) == (epsilon_nano(curve, delta_inverse)[0] <= limit)


def test_a_budget_is_spent_to_the_last_nano_nat_and_no_further() -> None:
    curve = gaussian_curve(8_000, 50)
    epsilon, order = epsilon_nano(curve, DELTA_INVERSE)
    assert order == 6
    assert within(epsilon, curve, DELTA_INVERSE)
    assert not within(epsilon - 1, curve, DELTA_INVERSE)
    assert not within(epsilon, compose(curve, (1,) * len(ORDERS)), DELTA_INVERSE)


def test_one_order_within_its_share_is_enough() -> None:
    at = ORDERS.index(32)
    cost = 10**9 - conversion_offsets(DELTA_INVERSE)[at]
    lone = tuple(cost if place == at else SATURATED for place in range(len(ORDERS)))
    assert epsilon_nano(lone, DELTA_INVERSE) == (10**9, 32)
    assert within(10**9, lone, DELTA_INVERSE)


def test_nothing_released_promises_zero() -> None:
    assert epsilon_nano(ZERO, DELTA_INVERSE) == (0, 2)
    assert within(0, ZERO, DELTA_INVERSE)


def test_a_saturated_order_is_void_and_stays_so() -> None:
    full = (SATURATED,) * len(ORDERS)
    nearly = (SATURATED - 1,) * len(ORDERS)
    assert compose(full, nearly) == compose(nearly, nearly) == full
    assert epsilon_nano(full, DELTA_INVERSE)[0] == SATURATED
    assert not within(limits.EPSILON_NANO_MAX, full, DELTA_INVERSE)


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("sigma_milli", (1, 10, 299, 1)),
        ("sigma_milli", (1, 10, 100_001, 1)),
        ("steps", (1, 10, 1_000, 0)),
        ("steps", (1, 10, 1_000, 100_001)),
        ("q_denominator", (1, 10**6 + 1, 1_000, 1)),
        ("q_denominator", (0, 0, 1_000, 1)),
        ("q_numerator", (0, 10, 1_000, 1)),
        ("q_numerator", (11, 10, 1_000, 1)),
    ],
)
def test_a_mechanism_out_of_bounds_is_refused_by_name(field: str, arguments: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=f"{field} is"):
        subsampled_gaussian_curve(*arguments)


@pytest.mark.parametrize("curve", [(), ZERO[:-1], (*ZERO, 0), (-1, *ZERO[1:]), (*ZERO[1:], SATURATED + 1)])
def test_a_malformed_curve_is_refused(curve) -> None:
    with pytest.raises(ValueError, match="curve"):
        epsilon_nano(curve, DELTA_INVERSE)
    with pytest.raises(ValueError, match="curve"):
        compose(ZERO, curve)


@pytest.mark.parametrize("delta_inverse", [limits.DELTA_INVERSE_MIN - 1, limits.DELTA_INVERSE_MAX + 1])
def test_a_delta_out_of_bounds_is_refused_by_name(delta_inverse: int) -> None:
    with pytest.raises(ValueError, match="delta_inverse is"):
        epsilon_nano(ZERO, delta_inverse)
