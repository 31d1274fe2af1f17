"""The score that voters must all find."""

import numpy as np
import pytest

from learning.canary import NotScorable, Score, predict, score
from learning.logistic import LogisticRegression


def test_the_score_counts_correct_answers_as_integers() -> None:
    model = LogisticRegression(1, 2)
    model.load({"weight": np.ones((1, 1), np.float32), "bias": np.zeros(1, np.float32)})
    inputs = np.array([[1.0], [2.0], [-1.0], [-2.0], [3.0], [1.0]])
    counted = score(model, inputs, np.array([1, 1, 0, 1, 1, 0]))
    assert counted == Score(4, 6)
    assert counted.ppm == 666_666


def test_ties_go_to_the_lowest_class() -> None:
    assert predict(np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 2.0]])).tolist() == [0, 1]


def test_logits_that_differ_only_by_rounding_are_a_tie() -> None:
    third = sum([0.1] * 3)
    assert third != 0.3
    assert predict(np.array([[0.3, third]])).tolist() == [0]
    assert predict(np.array([[third, 0.3]])).tolist() == [0]
    assert predict(np.array([[0.3, 0.3 + 2**-18]])).tolist() == [1]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_model_without_finite_logits_is_not_scorable(bad: float) -> None:
    with pytest.raises(NotScorable):
        predict(np.array([[0.0, bad]]))


def test_an_empty_or_ill_matched_set_is_not_scorable() -> None:
    model = LogisticRegression(1, 2)
    for inputs, targets in ((np.zeros((0, 1)), np.zeros(0)), (np.zeros((2, 1)), np.zeros(1))):
        with pytest.raises(NotScorable):
            score(model, inputs, targets)
