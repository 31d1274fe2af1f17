"""Robust estimators against their formulas in floating point, exact fractions, and by hand."""

from fractions import Fraction
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from learning import estimators, fixed
from learning.estimators import OutlierRule

matrices = hnp.arrays(
    np.int32,
    st.tuples(st.integers(5, 9), st.integers(1, 6)),
    elements=st.integers(-fixed.LIMIT, fixed.LIMIT),
)


@given(matrices, st.lists(st.integers(1, 2**16), min_size=9, max_size=9))
def test_the_weighted_mean_is_the_exact_quotient_rounded(rows: np.ndarray, weights: list[int]) -> None:
    used = weights[: len(rows)]
    expected = [
        round(Fraction(sum(w * int(x) for w, x in zip(used, column, strict=True)), sum(used))) for column in rows.T
    ]
    assert estimators.weighted_mean(rows, used).tolist() == expected


@given(matrices)
def test_the_median_is_the_exact_median_rounded(rows: np.ndarray) -> None:
    expected = [round(Fraction(median([Fraction(int(x)) for x in column]))) for column in rows.T]
    assert estimators.coordinate_median(rows).tolist() == expected


@given(matrices, st.integers(0, 2))
def test_the_trimmed_mean_is_the_exact_mean_of_the_middle(rows: np.ndarray, f: int) -> None:
    middle = [sorted(int(x) for x in column)[f : len(rows) - f] for column in rows.T]
    assert estimators.trimmed_mean(rows, f).tolist() == [round(Fraction(sum(m), len(m))) for m in middle]


def test_integer_estimators_agree_with_float_formulas_to_half_a_unit() -> None:
    rows = np.random.default_rng(1).normal(0, 2**18, (7, 500)).astype(np.int32)
    weights = [512, 700, 1024, 1024, 1100, 1536, 900]
    floats = rows.astype(np.float64)
    ordered = np.sort(floats, axis=0)
    assert np.abs(estimators.weighted_mean(rows, weights) - np.average(floats, axis=0, weights=weights)).max() <= 0.5
    assert np.abs(estimators.coordinate_median(rows) - np.median(floats, axis=0)).max() <= 0.5
    assert np.abs(estimators.trimmed_mean(rows, 2) - ordered[2:-2].mean(axis=0)).max() <= 0.5


def test_krum_scores_follow_the_definition() -> None:
    rows = np.random.default_rng(2).integers(-1000, 1000, (8, 20)).astype(np.int32)
    f = 2
    distances = ((rows[:, None, :].astype(np.int64) - rows[None, :, :]) ** 2).sum(axis=2)
    expected = []
    for i in range(8):
        others = np.sort(np.delete(distances[i], i))
        expected.append(int(others[: 8 - f - 2].sum()))
    assert estimators.krum_scores(rows, f) == expected


def test_krum_leaves_out_the_row_that_is_far_from_all() -> None:
    rows = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [100, 100]], np.int32)
    assert estimators.krum_selection(estimators.krum_scores(rows, 1), 4) == (0, 1, 2, 3)


def test_equal_scores_go_to_the_earlier_row() -> None:
    assert estimators.krum_selection([5, 3, 5, 3, 5], 3) == (0, 1, 3)


def test_the_mean_of_halves_goes_to_even_on_both_sides() -> None:
    rows = np.array([[1, 3, -1, -3], [2, 4, -2, -4]], np.int32)
    assert estimators.weighted_mean(rows, [1, 1]).tolist() == [2, 4, -2, -4]


def test_nothing_overflows_at_the_stated_bounds() -> None:
    rows = np.full((1024, 3), fixed.LIMIT, np.int32)
    rows[:, 1] = -fixed.LIMIT
    rows[::2, 2] = -fixed.LIMIT
    expected = [fixed.LIMIT, -fixed.LIMIT, 0]
    assert estimators.weighted_mean(rows, [2**16] * 1024).tolist() == expected
    assert estimators.trimmed_mean(rows, 100).tolist() == expected
    assert estimators.coordinate_median(rows).tolist() == expected
    assert estimators.distances_to_median(rows) == [fixed.LIMIT**2] * 1024


@given(matrices, st.integers(1, 2), st.data())
def test_f_rows_cannot_carry_the_trimmed_mean_out_of_the_range_of_the_others(
    rows: np.ndarray, f: int, data: st.DataObject
) -> None:
    hostile = data.draw(st.sets(st.integers(0, len(rows) - 1), min_size=f, max_size=f))
    honest = np.delete(rows, sorted(hostile), axis=0)
    low, high = honest.min(axis=0), honest.max(axis=0)
    for vector in (estimators.trimmed_mean(rows, f), estimators.coordinate_median(rows)):
        assert ((low <= vector) & (vector <= high)).all()


def test_an_outlier_is_beyond_the_factor_strictly() -> None:
    assert estimators.outliers([1, 1, 1, 1, 4], 1, OutlierRule(4, 1)) == ()
    assert estimators.outliers([1, 1, 1, 1, 5], 1, OutlierRule(4, 1)) == (4,)
    assert estimators.outliers([2, 2, 2, 2, 5], 1, OutlierRule(5, 2)) == ()
    assert estimators.outliers([2, 2, 2, 2, 6], 1, OutlierRule(5, 2)) == (4,)


def test_at_most_f_are_flagged_the_furthest_first_and_ties_to_the_earlier() -> None:
    distances = [1, 1, 1, 1, 90, 50, 90]
    assert estimators.outliers(distances, 0, OutlierRule(3)) == ()
    assert estimators.outliers(distances, 1, OutlierRule(3)) == (4,)
    assert estimators.outliers(distances, 2, OutlierRule(3)) == (4, 6)
    assert estimators.outliers(distances, 7, OutlierRule(3)) == (4, 5, 6)


@pytest.mark.parametrize(("numerator", "denominator"), [(1, 2), (0, 1), (1, 0), (-4, -1)])
def test_an_outlier_factor_below_one_is_no_rule(numerator: int, denominator: int) -> None:
    with pytest.raises(TypeError):
        OutlierRule(numerator, denominator)
