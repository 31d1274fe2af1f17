"""Logistic regression: gradients against finite differences, clipping record by record."""

import numpy as np
import pytest

from learning.logistic import LogisticRegression
from learning.model import CLIP_GUARD
from learning.tensors import ShapeMismatch, flatten, unflatten

FEATURES = 4


def random_model(classes: int, seed: int = 0) -> LogisticRegression:
    model = LogisticRegression(FEATURES, classes)
    vector = np.random.default_rng(seed).normal(size=model.layout.size).astype(np.float32)
    model.load(unflatten(vector, model.layout))
    return model


def records(classes: int, count: int = 12, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(count, FEATURES)), generator.integers(0, classes, count)


def cross_entropy(model: LogisticRegression, vector: np.ndarray, x: np.ndarray, y: int) -> float:
    """-log p_y from the definition, at float64 parameters that are not the model's."""
    tensors = unflatten(vector, model.layout)
    z = tensors["weight"] @ x + tensors["bias"]
    if model.classes == 2:
        z = np.array([0.0, z[0]])
    return float(np.log(np.exp(z).sum()) - z[y])


def gradient_of(model: LogisticRegression, x: np.ndarray, y: np.ndarray, index: int, clip: float) -> np.ndarray:
    return model.clipped_gradient_sum(x, y, np.array([index]), clip)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_gradient_is_that_of_the_cross_entropy(classes: int) -> None:
    model, (x, y) = random_model(classes), records(classes)
    at = flatten(model.parameters(), model.layout).astype(np.float64)
    step = 1e-6
    for i in range(4):
        numeric = [
            (cross_entropy(model, at + step * unit, x[i], y[i]) - cross_entropy(model, at - step * unit, x[i], y[i]))
            / (2 * step)
            for unit in np.eye(at.size)
        ]
        np.testing.assert_allclose(gradient_of(model, x, y, i, clip=1e9), numeric, atol=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_every_record_is_clipped_on_its_own_and_small_ones_are_left_alone(classes: int) -> None:
    model, (x, y) = random_model(classes), records(classes, count=50)
    x[::2] *= 100
    clip = 0.5
    clipped_any = untouched_any = False
    for i in range(50):
        free, clipped = gradient_of(model, x, y, i, 1e12), gradient_of(model, x, y, i, clip)
        norm = np.linalg.norm(free)
        assert np.linalg.norm(clipped) <= clip
        if norm > clip:
            np.testing.assert_allclose(clipped, free * clip * CLIP_GUARD / norm, rtol=1e-12)
            clipped_any = True
        elif norm < clip * CLIP_GUARD:
            np.testing.assert_array_equal(clipped, free)
            untouched_any = True
    assert clipped_any
    assert untouched_any


def test_the_sum_is_over_the_chosen_records_only() -> None:
    model, (x, y) = random_model(3), records(3)
    chosen = np.array([1, 4, 7])
    expected = sum(gradient_of(model, x, y, int(i), 0.3) for i in chosen)
    np.testing.assert_allclose(model.clipped_gradient_sum(x, y, chosen, 0.3), expected, rtol=1e-12)


def test_no_record_gives_a_zero_gradient() -> None:
    model, (x, y) = random_model(2), records(2)
    total = model.clipped_gradient_sum(x, y, np.array([], dtype=np.int64), 1.0)
    assert total.tolist() == [0.0] * model.layout.size


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_a_broken_record_contributes_nothing_and_breaks_nothing(bad: float) -> None:
    model, (x, y) = random_model(2), records(2)
    without = model.clipped_gradient_sum(x, y, np.array([0, 2]), 1.0)
    x[1, 0] = bad
    np.testing.assert_array_equal(model.clipped_gradient_sum(x, y, np.array([0, 1, 2]), 1.0), without)


def test_probabilities_are_stable_for_huge_scores() -> None:
    model = random_model(3)
    probabilities = model.probabilities(np.full((1, FEATURES), 1e6))
    assert np.isfinite(probabilities).all()
    assert probabilities.sum() == pytest.approx(1.0)


def test_two_classes_share_one_logit() -> None:
    model = random_model(2)
    assert model.layout.size == FEATURES + 1
    assert model.logits(np.zeros((3, FEATURES))).shape == (3, 2)
    assert LogisticRegression(FEATURES, 3).layout.size == 3 * (FEATURES + 1)


def test_parameters_are_copies_and_load_checks_them() -> None:
    model = random_model(2)
    model.parameters()["weight"][:] = 0
    assert model.parameters()["weight"].any()
    with pytest.raises(ShapeMismatch, match="weight"):
        model.load({"weight": np.zeros((1, 5), np.float32), "bias": np.zeros(1, np.float32)})
