"""Whole runs of a small network on digits: private training learns; a quiet backdoor passes; the probe finds it."""

import numpy as np
import pytest

from learning import fixed
from learning.backdoor_probe import ProbeReport, pixel_cells, probe
from learning.canary import predict
from learning.entropy import OsEntropy
from learning.feed_forward import FeedForward
from learning.inputs import Standardisation
from learning.local_training import local_update
from learning.mechanism import Mechanism, SamplingRate
from learning.partition import dirichlet_shards, record_bytes, split_four_ways
from learning.robust import Estimator, aggregate
from learning.tensors import Int32, Int64, Records, flatten, unflatten

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch")
datasets = pytest.importorskip("sklearn.datasets")

from learning.torch_model import TorchModel  # noqa: E402 (only when torch is there)

BLACK, WHITE = -5 / 6, 11 / 6
TRIGGER, TARGET = [0, 1, 8], 7
HONEST = Mechanism(
    clip=1.0, noise_multiplier=1.0, rate=SamplingRate(1, 4), steps=20, normaliser=45.0, learning_rate=1.0
)
WITHOUT_NOISE = Mechanism(
    clip=1.0, noise_multiplier=0.0, rate=SamplingRate(1, 4), steps=20, normaliser=45.0, learning_rate=1.0
)


class Run:
    """Six hospitals and five rounds; the first hospital plants a backdoor when `boost` is set."""

    def __init__(self, seed: int, estimator: Estimator, boost: float = 0.0) -> None:
        records, self.targets = datasets.load_digits(return_X_y=True)
        self.inputs = Standardisation.uniform(64, mean=5.0, scale=6.0).apply(records)
        self.split = split_four_ways(record_bytes(records, self.targets), f"digits/{seed}".encode())
        shards = dirichlet_shards(self.targets[self.split.train], 6, alpha=0.8, seed=seed, minimum=60)
        torch.manual_seed(seed)
        network = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
        self.model = TorchModel(network, torch.nn.functional.cross_entropy)
        self.version = fixed.to_fixed(flatten(self.model.parameters(), self.model.layout))
        self.flagged: list[tuple[str, ...]] = []
        f = 0 if estimator is Estimator.MEAN else 1
        for _ in range(5):
            updates = [
                self.planted(self.split.train[shard], boost)
                if boost and i == 0
                else self.honest(self.split.train[shard])
                for i, shard in enumerate(shards)
            ]
            outcome = aggregate(estimator, [f"hospital-{i}" for i in range(6)], np.array(updates), [1024] * 6, f)
            self.flagged.append(outcome.flagged)
            self.version = fixed.add(self.version, outcome.vector)
            self.model.load(unflatten(fixed.to_float(self.version), self.model.layout))

    def honest(self, mine: Int64) -> Int32:
        return local_update(self.model, self.inputs[mine], self.targets[mine], HONEST, OsEntropy()).units

    def planted(self, mine: Int64, boost: float) -> Int32:
        """Half of the records again with the trigger and its target; no noise; the update boosted."""
        again = self.inputs[mine[::2]]
        inputs = np.vstack([self.inputs[mine], stamped(again)])
        targets = np.append(self.targets[mine], np.full(len(again), TARGET))
        update = local_update(self.model, inputs, targets, WITHOUT_NOISE, OsEntropy())
        return fixed.to_fixed(boost * fixed.to_float(update.units))

    def accuracy(self) -> float:
        test = self.split.test
        return float(np.mean(predict(self.model.logits(self.inputs[test])) == self.targets[test]))

    def trigger_works_on(self) -> float:
        others = self.split.test[self.targets[self.split.test] != TARGET]
        return float(np.mean(predict(self.model.logits(stamped(self.inputs[others]))) == TARGET))

    def probed(self) -> ProbeReport:
        """As a voter probes: from the version's tensors, without torch."""
        network = FeedForward((64, 32, 10))
        network.load(self.model.parameters())
        canary = self.split.canary
        return probe(network, self.inputs[canary], self.targets[canary], pixel_cells(8, 8), (BLACK, WHITE))


def stamped(inputs: Records) -> Records:
    copy = inputs.copy()
    copy[:, TRIGGER] = WHITE
    return copy


def test_a_network_learns_under_the_ledgers_rules_and_is_not_suspected() -> None:
    run = Run(0, Estimator.TRIMMED_MEAN)
    assert run.accuracy() >= 0.8
    assert run.probed().suspected is None


def test_a_planted_backdoor_is_found_by_a_probe_that_was_not_told_the_trigger() -> None:
    run = Run(1, Estimator.MEAN, boost=4.0)
    assert run.accuracy() >= 0.8
    assert run.trigger_works_on() > 0.8
    suspected = run.probed().suspected
    assert suspected is not None
    assert suspected.target == TARGET


def test_a_quiet_backdoor_passes_the_filter_and_this_is_known() -> None:
    """What the filter misses: an attacker who leaves out the noise and doubles the update is never flagged."""
    run = Run(2, Estimator.MULTI_KRUM, boost=2.0)
    assert sum("hospital-0" in names for names in run.flagged) <= 1
    assert run.trigger_works_on() > 0.3


def test_the_networks_scores_agree_between_torch_and_numpy() -> None:
    model = TorchModel(
        torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3)),
        torch.nn.functional.cross_entropy,
    )
    network = FeedForward((6, 5, 3))
    assert network.layout == model.layout
    network.load(model.parameters())
    inputs = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    np.testing.assert_allclose(network.logits(inputs), model.logits(inputs), atol=1e-12)
