"""The aggregate: independent of order, honest about its breakdown point, clear about who was odd."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from learning import fixed, robust
from learning.robust import (
    Estimator,
    InvalidContribution,
    TooFewContributions,
    TooManyContributions,
    aggregate,
)

# Few distinct values, so that ties in distances, scores and medians are common.
tied_or_wild = st.one_of(st.integers(-2, 2), st.integers(-fixed.LIMIT, fixed.LIMIT))


@given(
    st.sampled_from(Estimator),
    hnp.arrays(np.int32, st.tuples(st.integers(5, 8), st.integers(1, 4)), elements=tied_or_wild),
    st.data(),
)
def test_the_order_of_contributions_does_not_matter(
    estimator: Estimator, matrix: np.ndarray, data: st.DataObject
) -> None:
    count = len(matrix)
    ids = data.draw(st.lists(st.text("abc", min_size=1), min_size=count, max_size=count, unique=True))
    weights = data.draw(st.lists(st.integers(512, 1536), min_size=count, max_size=count))
    order = data.draw(st.permutations(range(count)))
    f = 0 if estimator is Estimator.MEAN else 1
    straight = aggregate(estimator, ids, matrix, weights, f)
    shuffled = aggregate(estimator, [ids[i] for i in order], matrix[order], [weights[i] for i in order], f)
    assert straight.vector.tobytes() == shuffled.vector.tobytes()
    assert (straight.accepted, straight.left_out) == (shuffled.accepted, shuffled.left_out)
    assert (straight.flagged, straight.scores) == (shuffled.flagged, shuffled.scores)


def around(centre: int, count: int, seed: int = 0) -> np.ndarray:
    return (centre + np.random.default_rng(seed).integers(-100, 100, (count, 50))).astype(np.int32)


@pytest.mark.parametrize("estimator", [Estimator.MEDIAN, Estimator.TRIMMED_MEAN, Estimator.MULTI_KRUM])
def test_a_boosted_sign_flipped_row_is_flagged_and_does_not_move_the_aggregate(estimator: Estimator) -> None:
    honest = around(1000, 5)
    matrix = np.vstack([-10 * honest[:1], honest])
    result = aggregate(estimator, ["evil", "a", "b", "c", "d", "e"], matrix, [1024] * 6, 1)
    assert result.flagged == ("evil",)
    assert ("evil" in result.left_out) == (estimator is Estimator.MULTI_KRUM)
    assert np.abs(result.vector - 1000).max() <= 100


def test_the_plain_mean_is_moved_by_the_same_row() -> None:
    honest = around(1000, 5)
    matrix = np.vstack([-10 * honest[:1], honest])
    result = aggregate(Estimator.MEAN, list("abcdef"), matrix, [1024] * 6, 0)
    assert (result.vector < -500).all()


@pytest.mark.parametrize("estimator", [Estimator.MEDIAN, Estimator.TRIMMED_MEAN, Estimator.MULTI_KRUM])
def test_nobody_is_flagged_among_alike_rows(estimator: Estimator) -> None:
    result = aggregate(estimator, list("abcdef"), around(0, 6), [1024] * 6, 1)
    assert result.flagged == ()
    assert len(result.left_out) == (1 if estimator is Estimator.MULTI_KRUM else 0)


def test_multi_krum_weighs_the_rows_it_accepts() -> None:
    matrix = np.array([[0], [10], [10], [10], [1000]], np.int32)
    result = aggregate(Estimator.MULTI_KRUM, list("abcde"), matrix, [1536, 512, 512, 512, 1024], 1)
    assert result.accepted == ("a", "b", "c", "d")
    assert result.left_out == ("e",)
    assert result.vector.tolist() == [5]


def test_order_statistics_ignore_weights() -> None:
    matrix = around(0, 5)
    for estimator in (Estimator.MEDIAN, Estimator.TRIMMED_MEAN):
        light = aggregate(estimator, list("abcde"), matrix, [512] * 5, 1)
        heavy = aggregate(estimator, list("abcde"), matrix, [512, 1536, 1, 2**16, 7], 1)
        assert light.vector.tobytes() == heavy.vector.tobytes()


@pytest.mark.parametrize(
    ("estimator", "f", "minimum"),
    [
        (Estimator.MEAN, 0, 1),
        (Estimator.MEDIAN, 1, 3),
        (Estimator.MEDIAN, 2, 5),
        (Estimator.TRIMMED_MEAN, 1, 3),
        (Estimator.MULTI_KRUM, 1, 5),
        (Estimator.MULTI_KRUM, 2, 7),
    ],
)
def test_below_the_breakdown_point_is_refused_and_at_it_is_not(estimator: Estimator, f: int, minimum: int) -> None:
    assert estimator.minimum(f) == minimum
    matrix, ids = around(0, minimum), [f"id{i}" for i in range(minimum)]
    aggregate(estimator, ids, matrix, [1] * minimum, f)
    with pytest.raises(TooFewContributions) as refusal:
        aggregate(estimator, ids[1:], matrix[1:], [1] * (minimum - 1), f)
    assert refusal.value.facts == {"minimum": minimum, "actual": minimum - 1}


def test_a_mean_stands_no_hostile_row_and_says_so() -> None:
    with pytest.raises(TypeError):
        Estimator.MEAN.minimum(1)


def test_what_would_break_the_overflow_bounds_is_refused() -> None:
    matrix, weights = around(0, 5), [1024] * 5
    with pytest.raises(InvalidContribution, match="twice"):
        aggregate(Estimator.MEDIAN, list("abcda"), matrix, weights, 1)
    for bad in (0, 2**16 + 1):
        with pytest.raises(InvalidContribution, match="weight"):
            aggregate(Estimator.MEDIAN, list("abcde"), matrix, [1024] * 4 + [bad], 1)
    with pytest.raises(InvalidContribution, match="int32"):
        aggregate(Estimator.MEDIAN, list("abcde"), matrix.astype(np.int64), weights, 1)  # type: ignore[arg-type]
    with pytest.raises(InvalidContribution, match="int32"):
        aggregate(Estimator.MEDIAN, list("abcde"), matrix[:4], weights, 1)
    lowest = matrix.copy()
    lowest[2, 3] = -(2**31)
    with pytest.raises(InvalidContribution, match=r"-2\*\*31"):
        aggregate(Estimator.MEDIAN, list("abcde"), lowest, weights, 1)
    many = robust.MAX_CONTRIBUTIONS + 1
    with pytest.raises(TooManyContributions):
        aggregate(Estimator.MEDIAN, [str(i) for i in range(many)], np.zeros((many, 1), np.int32), [1] * many, 1)


def test_a_quiet_outlier_passes_and_this_is_known() -> None:
    """What the filter misses: a hostile row that stays as close to the median as honest ones do."""
    honest = around(0, 5)
    quiet = (honest[0] + 60).astype(np.int32)
    result = aggregate(Estimator.TRIMMED_MEAN, list("abcdef"), np.vstack([honest, quiet]), [1024] * 6, 1)
    assert result.flagged == ()
