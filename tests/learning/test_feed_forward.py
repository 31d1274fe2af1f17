"""Scoring a network from its tensors alone."""

import numpy as np
import pytest

from learning.feed_forward import MAX_LAYERS, FeedForward, InvalidWidths
from learning.logistic import LogisticRegression
from learning.tensors import TensorMissing, unflatten


def test_a_network_is_scored_as_by_hand() -> None:
    network = FeedForward((2, 2, 3))
    network.load(
        {
            "0.weight": np.array([[1, 0], [0, -1]], np.float32),
            "0.bias": np.array([0, 1], np.float32),
            "2.weight": np.array([[1, 0], [0, 1], [1, 1]], np.float32),
            "2.bias": np.array([0, 0, -1], np.float32),
        }
    )
    # Hidden layer: relu(2, 1 - 3) = (2, 0), then relu(-1, 1 + 1) = (0, 2).
    assert network.logits(np.array([[2.0, 3.0], [-1.0, -1.0]])).tolist() == [[2, 0, 1], [0, 2, 1]]


@pytest.mark.parametrize("classes", [2, 4])
def test_one_layer_is_the_logistic_regression_bit_for_bit(classes: int) -> None:
    logistic, network = LogisticRegression(5, classes), FeedForward((5, classes))
    assert network.layout == logistic.layout
    vector = np.random.default_rng(0).normal(size=logistic.layout.size).astype(np.float32)
    inputs = np.random.default_rng(1).normal(size=(20, 5))
    for model in (logistic, network):
        model.load(unflatten(vector, logistic.layout))
    assert network.logits(inputs).tobytes() == logistic.logits(inputs).tobytes()


def test_images_are_flattened_per_record() -> None:
    assert FeedForward((6, 3)).logits(np.zeros((4, 2, 3))).shape == (4, 3)


def test_tensors_that_do_not_fit_are_refused() -> None:
    with pytest.raises(TensorMissing, match=r"0\.bias"):
        FeedForward((2, 3, 2)).load({})


@pytest.mark.parametrize("widths", [(), (3,), (3, 1), (3, 0, 2), (1,) * (MAX_LAYERS + 1) + (2,)])
def test_widths_that_describe_no_network_are_refused(widths: tuple[int, ...]) -> None:
    with pytest.raises(InvalidWidths):
        FeedForward(widths)
