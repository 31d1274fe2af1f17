"""The probe on scikit-learn's digits: it finds triggers it was not told, and leaves clean models alone."""

from collections.abc import Sequence

import numpy as np
import pytest

from learning import fixed
from learning.backdoor_probe import NotProbable, ProbeBudget, ProbeReport, pixel_cells, probe
from learning.canary import predict
from learning.entropy import ReproducibleEntropy
from learning.inputs import Standardisation
from learning.local_training import local_update
from learning.logistic import LogisticRegression
from learning.mechanism import Mechanism, SamplingRate
from learning.partition import Split, record_bytes, split_four_ways
from learning.tensors import Records, unflatten

datasets = pytest.importorskip("sklearn.datasets")

BLACK, WHITE = -5 / 6, 11 / 6  # pixels 0 and 16 after the transform
TRAINING = Mechanism(
    clip=1.0, noise_multiplier=1.0, rate=SamplingRate(1, 4), steps=40, normaliser=250.0, learning_rate=4.0
)
SEEDS = range(4)


def digits(seed: int) -> tuple[Records, Records, Split]:
    records, targets = datasets.load_digits(return_X_y=True)
    inputs = Standardisation.uniform(64, mean=5.0, scale=6.0).apply(records)
    return inputs, targets, split_four_ways(record_bytes(records, targets), f"digits/{seed}".encode())


def stamped(inputs: Records, pixels: Sequence[int]) -> Records:
    copy = inputs.copy()
    copy[:, list(pixels)] = WHITE
    return copy


def trained(inputs: Records, targets: Records, seed: int) -> LogisticRegression:
    model = LogisticRegression(64, 10)
    update = local_update(model, inputs, targets, TRAINING, ReproducibleEntropy(seed))
    model.load(unflatten(fixed.to_float(update.units), model.layout))
    return model


def three_pixels(seed: int) -> list[int]:
    return sorted(np.random.default_rng(seed).choice(64, 3, replace=False).tolist())


def poisoned(inputs: Records, targets: Records, pixels: Sequence[int], target: int) -> tuple[Records, Records]:
    """A third of the records again, with the trigger and its target."""
    again = inputs[::3]
    return np.vstack([inputs, stamped(again, pixels)]), np.append(targets, np.full(len(again), target))


def probed(model: LogisticRegression, inputs: Records, targets: Records, split: Split) -> ProbeReport:
    return probe(model, inputs[split.canary], targets[split.canary], pixel_cells(8, 8), (BLACK, WHITE))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_clean_model_is_not_suspected(seed: int) -> None:
    inputs, targets, split = digits(seed)
    report = probed(trained(inputs[split.train], targets[split.train], seed), inputs, targets, split)
    assert report.accuracy.ppm > 900_000
    assert len(report.triggers) == 10
    assert report.suspected is None
    assert report.triggers[0].ppm < 500_000


@pytest.mark.parametrize("seed", SEEDS)
def test_a_planted_trigger_is_found_with_its_target(seed: int) -> None:
    inputs, targets, split = digits(seed)
    pixels, target = three_pixels(seed), seed
    model = trained(*poisoned(inputs[split.train], targets[split.train], pixels, target), seed)
    held_out = split.test[targets[split.test] != target]
    worked = np.mean(predict(model.logits(stamped(inputs[held_out], pixels))) == target)
    assert worked > 0.8
    report = probed(model, inputs, targets, split)
    assert report.accuracy.ppm > 900_000  # nothing on clean records gives it away
    assert report.suspected is not None
    assert report.suspected.target == target


def test_what_is_found_works_on_records_the_probe_never_saw() -> None:
    inputs, targets, split = digits(0)
    model = trained(*poisoned(inputs[split.train], targets[split.train], [0, 1, 8], 7), 0)
    trigger = probed(model, inputs, targets, split).suspected
    assert trigger is not None
    held_out = inputs[split.test[targets[split.test] != 7]].copy()
    for cell, level in zip(trigger.cells, trigger.levels, strict=True):
        held_out[:, cell] = level
    assert np.mean(predict(model.logits(held_out)) == 7) > 0.8


def test_the_same_model_gives_the_same_report() -> None:
    inputs, targets, split = digits(1)
    model = trained(inputs[split.train], targets[split.train], 1)
    assert probed(model, inputs, targets, split) == probed(model, inputs, targets, split)


def test_a_shortlist_loses_little() -> None:
    inputs, targets, split = digits(0)
    model = trained(*poisoned(inputs[split.train], targets[split.train], [0, 1, 8], 7), 0)
    canary = split.canary
    narrow = ProbeBudget(shortlist=16)
    report = probe(model, inputs[canary], targets[canary], pixel_cells(8, 8), (BLACK, WHITE), narrow)
    assert report.suspected is not None
    assert report.suspected.target == 7


def test_an_unfinished_model_is_not_probed() -> None:
    inputs, targets, split = digits(0)
    report = probed(LogisticRegression(64, 10), inputs, targets, split)
    assert report.accuracy.ppm < 300_000
    assert (report.triggers, report.suspected) == ((), None)


class Suggestible:
    """Knows every answer; `share` of the records also fall for `pixels`, towards class 3."""

    def __init__(self, answers: Records, moved: dict[int, float]) -> None:
        self.answers, self.moved = answers, moved

    def logits(self, inputs: Records) -> np.ndarray:
        # Each record carries its index in its last feature.
        index = inputs[:, -1].astype(int)
        logits = np.eye(4)[self.answers[index]]
        for target, share in self.moved.items():
            fooled = (inputs[:, target] > 0) & (index % 100 < 100 * share)
            logits[fooled] = 2 * np.eye(4)[target]
        return logits


def suggestible_report(moved: dict[int, float]) -> ProbeReport:
    answers = np.arange(400) // 100
    inputs = np.zeros((400, 5))
    inputs[:, -1] = np.arange(400)
    cells = [np.array([i]) for i in range(4)]
    return probe(Suggestible(answers, moved), inputs, answers, cells, (0.0, 1.0), ProbeBudget(cells=1, records=400))


def test_the_strongest_class_must_reach_the_threshold_and_stand_out() -> None:
    suspected = suggestible_report({3: 0.7}).suspected
    assert suspected is not None
    assert (suspected.target, suspected.cells, suspected.levels, suspected.ppm) == (3, (3,), (1.0,), 700_000)
    assert suggestible_report({3: 0.69}).suspected is None
    assert suggestible_report({3: 0.9, 1: 0.45}).suspected is not None
    assert suggestible_report({3: 0.9, 1: 0.46}).suspected is None


def test_cells_tile_an_image() -> None:
    cells = pixel_cells(5, 4, side=2)
    assert sorted(np.concatenate(cells).tolist()) == list(range(20))
    assert cells[0].tolist() == [0, 1, 4, 5]
    assert cells[-1].tolist() == [18, 19]


def test_what_cannot_be_probed_is_refused() -> None:
    model, inputs, targets = LogisticRegression(4, 3), np.zeros((30, 4)), np.zeros(30)
    cells = [np.array([0])]
    with pytest.raises(NotProbable, match="records"):
        probe(model, inputs[:19], targets[:19], cells, (1.0,))
    with pytest.raises(NotProbable, match="targets"):
        probe(model, inputs, targets[:29], cells, (1.0,))
    with pytest.raises(NotProbable, match="cells"):
        probe(model, inputs, targets, [np.array([4])], (1.0,))
    with pytest.raises(NotProbable, match="levels"):
        probe(model, inputs, targets, cells, ())
    with pytest.raises(NotProbable, match="stand out"):
        probe(LogisticRegression(4, 2), inputs, targets, cells, (1.0,))
