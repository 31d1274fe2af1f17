"""Fixed point against Python's decimal, which rounds exp and ln correctly at any precision."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.kernel.fixed_point import (
    BITS_MAX,
    DECAYING_MAX,
    EXPONENT_MAX,
    MILLISECONDS_MAX,
    exp_up,
    half_life_decay,
    ln_down,
    ln_up,
    mul_div_ceil,
    mul_div_floor,
    root_up,
)

DIGITS = 150
bits = st.integers(8, BITS_MAX)
values = st.integers(1 - DECAYING_MAX, DECAYING_MAX - 1)
half_lives = st.integers(1, MILLISECONDS_MAX)
positive = st.integers(1, 10**40)
unhurried = settings(deadline=None)


def decimal_of(number: int) -> Decimal:
    """A huge integer, from its leading 600 bits (rounded up by one of them at most)."""
    tail = max(0, number.bit_length() - 600)
    return Decimal((number >> tail) + (1 if tail else 0)) * Decimal(2) ** tail


@unhurried
@given(st.integers(), st.integers(), st.integers(1))
def test_floor_and_ceil_enclose_the_quotient(value: int, numerator: int, denominator: int) -> None:
    floor = mul_div_floor(value, numerator, denominator)
    ceil = mul_div_ceil(value, numerator, denominator)
    assert floor * denominator <= value * numerator <= ceil * denominator
    assert ceil - floor == (1 if value * numerator % denominator else 0)


@pytest.mark.parametrize("denominator", [0, -1])
def test_a_denominator_that_is_not_positive_is_refused(denominator: int) -> None:
    with pytest.raises(ValueError, match="denominator"):
        mul_div_floor(1, 1, denominator)
    with pytest.raises(ValueError, match="denominator"):
        exp_up(1, denominator, 64)


@unhurried
@given(st.integers(0, 10**9), st.integers(10**3, 10**9), bits)
@example(0, 1, 96)
@example(1, 10**30, BITS_MAX)
def test_exp_up_is_never_below_and_within_its_stated_excess(numerator: int, denominator: int, bits: int) -> None:
    with localcontext(prec=DIGITS):
        real = (Decimal(numerator) / denominator).exp() * 2**bits
        result = decimal_of(exp_up(numerator, denominator, bits))
        assert real <= result < real * (1 + Decimal(2) ** (1 - bits))


@pytest.mark.parametrize("exponent", [1_000, 362_667, EXPONENT_MAX])
def test_exp_up_holds_its_bounds_where_the_result_is_huge(exponent: int) -> None:
    with localcontext(prec=DIGITS):
        real = Decimal(exponent).exp() * 2**96
        assert real <= decimal_of(exp_up(exponent, 1, 96)) < real * (1 + Decimal(2) ** -95)


@unhurried
@given(positive, positive, bits)
@example(1, 1, 96)
@example(2, 1, BITS_MAX)
@example(1, 2, BITS_MAX)
@example(10**40 + 1, 10**40, BITS_MAX)
@example(10**40, 10**40 + 1, BITS_MAX)
def test_ln_down_and_ln_up_enclose_the_logarithm_within_two_units(numerator: int, denominator: int, bits: int) -> None:
    with localcontext(prec=DIGITS):
        real = (Decimal(numerator) / denominator).ln() * 2**bits
        down, up = ln_down(numerator, denominator, bits), ln_up(numerator, denominator, bits)
        slack = Decimal(10) ** -40  # decimal's own rounding; it vanishes beside a unit.
        assert real - 2 < down <= real + slack
        assert real - slack <= up < real + 2


@pytest.mark.parametrize("power", [-500_000, 500_000])
def test_the_logarithm_of_a_huge_power_of_two_is_that_many_times_ln_2(power: int) -> None:
    numerator, denominator = 1 << max(0, power), 1 << max(0, -power)
    with localcontext(prec=DIGITS):
        real = power * Decimal(2).ln() * 2**96
        assert real - 2 < ln_down(numerator, denominator, 96) <= real
        assert real <= ln_up(numerator, denominator, 96) < real + 2


@pytest.mark.parametrize("logarithm", [ln_up, ln_down])
@pytest.mark.parametrize(("numerator", "denominator"), [(0, 1), (1, 0), (-2, -1)])
def test_the_logarithm_of_what_is_not_positive_is_refused(logarithm, numerator: int, denominator: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        logarithm(numerator, denominator, 64)


@given(st.one_of(st.integers(1, 300), st.integers(1, 2**600), st.integers(1, 2**300).map(lambda root: root**2)))
def test_root_up_is_the_least_integer_whose_square_is_enough(value: int) -> None:
    root = root_up(value)
    assert (root - 1) ** 2 < value <= root**2


def test_the_root_of_what_is_not_positive_is_refused() -> None:
    for value in (0, -1):
        with pytest.raises(ValueError, match="value is"):
            root_up(value)


@pytest.mark.parametrize("bits", [0, BITS_MAX + 1])
def test_a_resolution_outside_its_bounds_is_refused_by_name(bits: int) -> None:
    for call in (exp_up, ln_up, ln_down):
        with pytest.raises(ValueError, match=f"bits is {bits}"):
            call(1, 1, bits)


def test_an_exponent_outside_its_bounds_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="numerator is -1"):
        exp_up(-1, 1, 64)
    with pytest.raises(ValueError, match="numerator"):
        exp_up(EXPONENT_MAX * 3 + 1, 3, 64)


@unhurried
@given(values, st.integers(0, 2**40), st.integers(1, 2**40))
@example(DECAYING_MAX - 1, 1, MILLISECONDS_MAX)
@example(10**6, 1, 1)
def test_decay_is_the_floor_of_the_real_value_or_one_less_just_above_an_integer(
    value: int, elapsed: int, half_life: int
) -> None:
    with localcontext(prec=DIGITS):
        real = abs(value) * Decimal(2) ** (-Decimal(elapsed) / half_life)
        kept = abs(half_life_decay(value, elapsed, half_life))
        assert kept <= real
        assert real - kept < 1 + Decimal(2) ** -64


@unhurried
@given(values, st.integers(0, 70), half_lives)
def test_whole_half_lives_halve_exactly(value: int, count: int, half_life: int) -> None:
    elapsed = min(count * half_life, MILLISECONDS_MAX // half_life * half_life)
    shifted = abs(value) >> min(elapsed // half_life, 64)
    assert half_life_decay(value, elapsed, half_life) == (shifted if value >= 0 else -shifted)


@unhurried
@given(values, st.integers(0, MILLISECONDS_MAX), half_lives)
def test_decay_keeps_the_sign_and_treats_both_signs_alike(value: int, elapsed: int, half_life: int) -> None:
    kept = half_life_decay(value, elapsed, half_life)
    assert half_life_decay(-value, elapsed, half_life) == -kept
    assert 0 <= kept <= value or value <= kept <= 0


@unhurried
@given(values, values, st.integers(0, MILLISECONDS_MAX), half_lives)
def test_a_larger_value_never_decays_to_less(one: int, other: int, elapsed: int, half_life: int) -> None:
    low, high = sorted((one, other))
    assert half_life_decay(low, elapsed, half_life) <= half_life_decay(high, elapsed, half_life)


@unhurried
@given(st.integers(0, DECAYING_MAX - 1), st.integers(0, 2**44), st.integers(0, 2**20), st.integers(1, 2**40))
@example(DECAYING_MAX - 1, 0, 1, MILLISECONDS_MAX)
@example(DECAYING_MAX - 1, MILLISECONDS_MAX - 1, 1, MILLISECONDS_MAX)
@example(DECAYING_MAX - 1, 999, 1, 1_000)
def test_a_later_moment_never_shows_more(value: int, elapsed: int, more: int, half_life: int) -> None:
    assert half_life_decay(value, elapsed + more, half_life) <= half_life_decay(value, elapsed, half_life)


@pytest.mark.parametrize("half_life", [7, 1_000, 86_400_000])
def test_decay_falls_millisecond_by_millisecond_across_the_edge_of_a_half_life(half_life: int) -> None:
    value = DECAYING_MAX - 1
    kept = [half_life_decay(value, elapsed, half_life) for elapsed in range(half_life - 5, half_life + 6)]
    assert kept == sorted(kept, reverse=True)
    assert len(set(kept)) == len(kept)


def test_a_quarter_of_a_million_decays_as_worked_out_by_hand() -> None:
    """250000·2^(-1/2) = 176776.695..., 250000·2^(-3/2) = 88388.347..."""
    day = 86_400_000
    assert half_life_decay(250_000, day // 2, day) == 176_776
    assert half_life_decay(-250_000, day + day // 2, day) == -88_388
    assert half_life_decay(1, 1, day) == 0


@pytest.mark.parametrize(
    ("value", "elapsed", "half_life", "field"),
    [
        (DECAYING_MAX, 0, 1, "value"),
        (-DECAYING_MAX, 0, 1, "value"),
        (1, -1, 1, "elapsed_ms"),
        (1, MILLISECONDS_MAX + 1, 1, "elapsed_ms"),
        (1, 0, 0, "half_life_ms"),
        (1, 0, MILLISECONDS_MAX + 1, "half_life_ms"),
    ],
)
def test_decay_refuses_what_is_out_of_bounds_by_name(value: int, elapsed: int, half_life: int, field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} is"):
        half_life_decay(value, elapsed, half_life)
