"""Input transforms: constants from the reference set, exact outputs."""

from fractions import Fraction

import numpy as np
import pytest

from learning.inputs import INPUT_LIMIT, InvalidInputs, Standardisation


def test_the_reference_set_itself_comes_out_standardised() -> None:
    reference = np.random.default_rng(0).normal([5, -300, 0.003], [2, 50, 0.001], (500, 3))
    out = Standardisation.from_reference(reference).apply(reference)
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(out.std(axis=0), 1, atol=1e-3)


def test_the_constants_do_not_depend_on_the_records_they_are_applied_to() -> None:
    constants = Standardisation((2**32,), (2**33,))
    assert constants.apply(np.array([[1.0], [3.0], [-1.0]])).tolist() == [[0.0], [1.0], [-1.0]]
    assert constants.apply(np.array([[3.0]])).tolist() == [[1.0]]


def test_outputs_are_multiples_of_the_grid_within_the_limit() -> None:
    records = np.random.default_rng(1).normal(0, 1e3, (100, 2))
    out = Standardisation.uniform(2, mean=0.0, scale=7.0).apply(records)
    assert (out * 2**12 == np.rint(out * 2**12)).all()
    assert np.abs(out).max() == INPUT_LIMIT


def test_a_constant_feature_does_not_divide_by_zero() -> None:
    constants = Standardisation.from_reference(np.array([[1.0, 2.0], [1.0, 4.0]]))
    assert constants.scale[0] == 2**32
    assert constants.apply(np.array([[1.0, 3.0]])).tolist() == [[0.0, 0.0]]


def test_scores_of_a_linear_model_are_exact_so_the_order_of_additions_cannot_matter() -> None:
    generator = np.random.default_rng(2)
    x = Standardisation.uniform(512, 0.0, 1.0).apply(generator.normal(0, 20, (20, 512)))
    w = np.rint(generator.uniform(-(2**10), 2**10, 512) * 2**16) / 2**16
    exact = [sum(Fraction(a) * Fraction(b) for a, b in zip(row, w, strict=True)) for row in x]
    order = generator.permutation(512)
    assert [Fraction(s) for s in x @ w] == exact
    assert [Fraction(s) for s in x[:, order] @ w[order]] == exact


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_missing_value_is_refused_by_its_feature(bad: float) -> None:
    records = np.zeros((3, 2))
    records[1, 1] = bad
    with pytest.raises(InvalidInputs) as refusal:
        Standardisation.uniform(2, 0.0, 1.0).apply(records)
    assert refusal.value.facts == {"feature": 1}


@pytest.mark.parametrize("shape", [(3,), (0, 2), (3, 5)])
def test_records_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputs):
        Standardisation.uniform(2, 0.0, 1.0).apply(np.zeros(shape))


@pytest.mark.parametrize(("mean", "scale"), [((), ()), ((1, 2), (1,)), ((0,), (0,)), ((2**63,), (1,))])
def test_constants_out_of_their_form_are_refused(mean: tuple[int, ...], scale: tuple[int, ...]) -> None:
    with pytest.raises(TypeError):
        Standardisation(mean, scale)
