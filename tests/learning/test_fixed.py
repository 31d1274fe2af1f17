"""Fixed point: rounding, range, and exact norms."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from learning import fixed

int32_values = st.integers(-fixed.LIMIT, fixed.LIMIT)
int32_vectors = hnp.arrays(np.int32, st.integers(1, 40), elements=int32_values)


@given(st.floats(-32767, 32767, width=32))
def test_rounding_is_to_nearest_ties_to_even(value: float) -> None:
    exact = Fraction(value) * 2**16
    assert int(fixed.to_fixed(np.array([value], np.float32))[0]) == round(exact)  # Python rounds ties to even


def test_ties_go_to_even_on_both_sides_of_zero() -> None:
    halves = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5]) / 2**16
    assert fixed.to_fixed(halves).tolist() == [0, 2, 2, 0, -2, -2]


@given(hnp.arrays(np.int32, st.integers(1, 40), elements=st.integers(-(2**24), 2**24)))
def test_units_that_float32_holds_survive_the_round_trip(units: np.ndarray) -> None:
    np.testing.assert_array_equal(fixed.to_fixed(fixed.to_float(units)), units)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_index(bad: float) -> None:
    with pytest.raises(fixed.NotFinite) as refusal:
        fixed.to_fixed(np.array([0.0, bad]))
    assert refusal.value.facts == {"index": 1}


def test_the_range_is_symmetric_and_beyond_it_is_an_error_not_a_clamp() -> None:
    edge = np.array([fixed.LIMIT, -fixed.LIMIT]) / 2**16
    assert fixed.to_fixed(edge).tolist() == [fixed.LIMIT, -fixed.LIMIT]
    for beyond in (32768.0, -32768.0, 1e308):
        with pytest.raises(fixed.Saturated) as refusal:
            fixed.to_fixed(np.array([1.0, beyond]))
        assert refusal.value.facts["index"] == 1


def test_adding_an_update_is_exact_or_refused() -> None:
    base = np.array([fixed.LIMIT - 1, 5], np.int32)
    assert fixed.add(base, np.array([1, -7], np.int32)).tolist() == [fixed.LIMIT, -2]
    with pytest.raises(fixed.Saturated, match="coordinate 0"):
        fixed.add(base, np.array([2, 0], np.int32))
    with pytest.raises(TypeError):
        fixed.add(base, np.zeros(1, np.int32))


@given(int32_vectors)
def test_the_squared_norm_is_exact(units: np.ndarray) -> None:
    assert fixed.squared_norm(units) == sum(int(u) ** 2 for u in units)


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(*[hnp.arrays(np.int32, n, elements=int32_values)] * 2)))
def test_the_squared_distance_is_exact(pair: tuple[np.ndarray, np.ndarray]) -> None:
    left, right = pair
    expected = sum((int(a) - int(b)) ** 2 for a, b in zip(left, right, strict=True))
    assert fixed.squared_distance(left, right) == expected


def test_a_norm_at_the_extremes_does_not_overflow() -> None:
    worst = np.full(200_000, fixed.LIMIT, np.int32)
    assert fixed.squared_norm(worst) == 200_000 * fixed.LIMIT**2
    assert fixed.squared_distance(worst, -worst) == 200_000 * (2 * fixed.LIMIT) ** 2


@given(st.lists(st.integers(-(2**60), 2**60), min_size=1, max_size=20), st.integers(1, 2**30))
def test_division_rounds_to_nearest_ties_to_even(dividends: list[int], divisor: int) -> None:
    quotients = fixed.divide_to_even(np.array(dividends, np.int64), divisor)
    assert quotients.tolist() == [round(Fraction(d, divisor)) for d in dividends]


def test_a_norm_bound_becomes_whole_units_rounded_down() -> None:
    assert fixed.norm_units(1.5) == 98304
    assert fixed.norm_units(0.1) == 6553
    with pytest.raises(fixed.NotFinite):
        fixed.norm_units(float("inf"))
