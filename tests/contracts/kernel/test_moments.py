"""Moments of the sampled Gaussian, against decimals, against each other and against the bound that is stated."""

from decimal import Decimal, localcontext
from fractions import Fraction
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.kernel import moments, renyi
from contracts.kernel.moments import Large, fractional_moments_up, whole_moments_up
from tests.effort import examples

rates = st.integers(2, 10**6).flatmap(lambda d: st.tuples(st.integers(1, d - 1), st.just(d)))
sigmas = st.one_of(st.integers(renyi.SIGMA_MILLI_MIN, 1_200), st.integers(renyi.SIGMA_MILLI_MIN, renyi.SIGMA_MILLI_MAX))
FRACTIONAL = [order for order in renyi.ORDERS if order % moments.ORDER_UNIT]


def value(number: Large) -> Fraction:
    return Fraction(number.mantissa) * Fraction(2) ** number.exponent


def binomial_sum(order: int, rate: tuple[int, int], sigma_milli: int) -> Decimal:
    """Mironov, Talwar and Zhang's formula, at the precision of the context."""
    q, variance = Decimal(rate[0]) / rate[1], (Decimal(sigma_milli) / 1000) ** 2
    return Decimal(
        sum(
            comb(order, k) * (1 - q) ** (order - k) * q**k * (Decimal(k * (k - 1)) / (2 * variance)).exp()
            for k in range(order + 1)
        )
    )


def integral(order: Decimal, rate: tuple[int, int], sigma_milli: int, per_deviation: int = 24) -> Decimal:
    """The expectation by a sum over a grid much finer than ours, which also reaches further."""
    q, sigma = Decimal(rate[0]) / rate[1], Decimal(sigma_milli) / 1000
    moment = weights = Decimal(0)
    for k in range(-16 * per_deviation, int((order / sigma + 16) * per_deviation)):
        y = Decimal(k) / per_deviation
        weight = (-y * y / 2).exp()
        ratio = 1 - q + q * (y / sigma - 1 / (2 * sigma**2)).exp()
        moment, weights = moment + weight * (ratio.ln() * order).exp(), weights + weight
    return moment / weights


@settings(max_examples=examples(10), deadline=None)
@given(rates, sigmas, st.sampled_from([2, 3, 17, 64, 200]))
def test_a_whole_moment_is_never_below_and_almost_exact(rate: tuple[int, int], sigma: int, order: int) -> None:
    (moment,) = whole_moments_up(*rate, sigma, [order])
    with localcontext(prec=120):
        exact = binomial_sum(order, rate, sigma)
        ours = Decimal(moment.mantissa) * Decimal(2) ** moment.exponent
        assert exact <= ours <= exact * (1 + Decimal(2) ** -130)  # Rounded up at 160 bits, once for every power.


@settings(max_examples=examples(6), deadline=None)
@given(rates, sigmas, st.sampled_from(FRACTIONAL))
def test_a_fractional_moment_is_never_below_and_within_its_bound(rate: tuple[int, int], sigma: int, order: int) -> None:
    (moment,) = fractional_moments_up(*rate, sigma, [order])
    with localcontext(prec=50):
        exact = integral(Decimal(order) / moments.ORDER_UNIT, rate, sigma)
        ours = Decimal(moment.mantissa) * Decimal(2) ** moment.exponent
        assert exact <= ours <= exact * (1 + Decimal(2) ** -60)


@settings(max_examples=examples(60), deadline=None)
@given(rates, sigmas)
def test_the_rule_for_fractional_orders_meets_the_sum_at_whole_ones(rate: tuple[int, int], sigma: int) -> None:
    """The two ways share nothing: where both can go they lead to one number."""
    wholes = [2, 3, 7]
    summed = whole_moments_up(*rate, sigma, wholes)
    integrated = fractional_moments_up(*rate, sigma, [order * moments.ORDER_UNIT for order in wholes])
    for one, other in zip(summed, integrated, strict=True):
        assert value(one) * (1 - Fraction(1, 2**140)) <= value(other) <= value(one) * (1 + Fraction(1, 2**60))


@pytest.mark.parametrize("sigma", [300, 301, 999, 2_666, 2_667, renyi.SIGMA_MILLI_MAX])
def test_the_steps_are_the_fewest_that_keep_the_error_below_its_bound(sigma: int) -> None:
    def error(m: int) -> Decimal:
        pi, a = Decimal("3.14159265358979"), min(Decimal(sigma) * 3 / 1000, Decimal(8))
        return 2 * (a * a / 2).exp() / ((2 * pi * a * m).exp() - 1)

    m = moments._steps(sigma)
    assert error(m) < Decimal(2) ** -63
    assert m <= 10
    # The tails are counted by the terms at the ends: that takes a factor of at least two from term to term.
    assert (Decimal(moments._TAIL) / m).exp() > 2


def test_the_fewest_steps_are_not_more_than_needed() -> None:
    a = Decimal("0.9")
    fewer = moments._steps(300) - 1
    assert 2 * Decimal("3.14") * a * fewer - a * a / 2 < 45


def test_a_large_number_is_rounded_upwards_to_its_size() -> None:
    third = Large(1, 0).times_up((1 << 400) // 3, -400)
    assert third.mantissa.bit_length() == 160
    assert Fraction((1 << 400) // 3, 1 << 400) <= value(third) <= Fraction(1, 3) * (1 + Fraction(1, 2**159))
    assert Large(3, 10).times_up(5, -2) == Large(15, 8)


@settings(max_examples=examples(60))
@given(st.integers(1, 2**200), st.integers(0, 10**7))
def test_the_logarithm_of_a_large_number_is_an_upper_bound(mantissa: int, exponent: int) -> None:
    with localcontext(prec=80):
        exact = (Decimal(mantissa).ln() + exponent * Decimal(2).ln()) * 2**moments.LOG_BITS
        assert exact <= Large(mantissa, exponent).log_up() <= exact + 2
