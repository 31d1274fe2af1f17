"""Exact distances through floating-point matrix products."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from learning import fixed, gram

matrices = hnp.arrays(
    np.int32,
    st.tuples(st.integers(1, 5), st.integers(1, 9)),
    elements=st.integers(-fixed.LIMIT, fixed.LIMIT),
)


@given(matrices)
def test_distances_are_those_of_python_integers(matrix: np.ndarray) -> None:
    rows = [[int(x) for x in row] for row in matrix]
    expected = [[sum((a - b) ** 2 for a, b in zip(p, q, strict=True)) for q in rows] for p in rows]
    assert gram.squared_distances(matrix) == expected


def test_the_bounds_hold_at_the_extremes_over_more_than_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = 2**20 + 3
    matrix = np.full((2, columns), fixed.LIMIT, np.int32)
    matrix[1] = -fixed.LIMIT
    assert gram.gram_matrix(matrix)[0][1] == -columns * fixed.LIMIT**2
    assert gram.squared_distances(matrix)[0][1] == columns * (2 * fixed.LIMIT) ** 2


def test_small_blocks_give_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = np.random.default_rng(5).integers(-fixed.LIMIT, fixed.LIMIT, (4, 101)).astype(np.int32)
    whole = gram.gram_matrix(matrix)
    monkeypatch.setattr(gram, "_BLOCK_ITEMS", 7)
    assert gram.gram_matrix(matrix) == whole
