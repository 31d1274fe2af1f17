"""The private step and the local update: what is bounded, what is noised, what never leaks."""

import numpy as np
import pytest

from learning import fixed
from learning.entropy import OsEntropy, ReproducibleEntropy
from learning.local_training import InvalidRecords, local_update
from learning.logistic import LogisticRegression
from learning.mechanism import InvalidMechanism, Mechanism, SamplingRate
from learning.privacy import private_gradient
from learning.tensors import flatten

FEATURES = 6


def mechanism(**changes: object) -> Mechanism:
    constants: dict[str, object] = {
        "clip": 1.0,
        "noise_multiplier": 2.0,
        "rate": SamplingRate(1, 4),
        "steps": 3,
        "normaliser": 10.0,
        "learning_rate": 0.5,
    }
    return Mechanism(**(constants | changes))  # type: ignore[arg-type]


def records(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(count, FEATURES)), generator.integers(0, 2, count)


def without_noise(x: np.ndarray, y: np.ndarray, normaliser: float = 1.0) -> np.ndarray:
    everyone = mechanism(noise_multiplier=0.0, rate=SamplingRate(1, 1), normaliser=normaliser)
    return private_gradient(LogisticRegression(FEATURES, 2), x, y, everyone, ReproducibleEntropy(0))


def test_one_record_moves_the_sum_by_at_most_the_clip() -> None:
    x, y = records(30)
    x[0] *= 1e6
    whole, without = without_noise(x, y), without_noise(x[1:], y[1:])
    assert 0.99 < np.linalg.norm(whole - without) <= 1.0 + 1e-9


def test_the_divisor_is_the_public_constant_never_a_count() -> None:
    x, y = records(7)
    # Twice the same records, so twice the sum: a mean over the local count would give the same again.
    once, twice = without_noise(x, y, 10.0), without_noise(np.vstack([x, x]), np.append(y, y), 10.0)
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-12)


def test_the_noise_has_the_standard_deviation_of_the_mechanism() -> None:
    x, y = records(5)
    source = ReproducibleEntropy(4)
    constants = mechanism(clip=3.0, noise_multiplier=2.0, normaliser=12.0, rate=SamplingRate(1, 2**63))
    model = LogisticRegression(FEATURES, 2)
    releases = np.array([private_gradient(model, x, y, constants, source) for _ in range(4000)])
    assert releases.std() == pytest.approx(3.0 * 2.0 / 12.0, rel=0.03)
    assert np.abs(releases.mean(axis=0)).max() < 6 * 0.5 / np.sqrt(4000)


def test_a_step_without_any_record_still_releases_noise() -> None:
    x, y = records(5)
    nobody = mechanism(rate=SamplingRate(1, 2**63))
    assert private_gradient(LogisticRegression(FEATURES, 2), x, y, nobody, OsEntropy()).all()


class CountingEntropy(ReproducibleEntropy):
    """Remembers what was drawn."""

    def __init__(self) -> None:
        super().__init__(0)
        self.drawn: list[tuple[str, int]] = []

    def poisson_mask(self, count: int, rate: SamplingRate) -> np.ndarray:
        self.drawn.append(("mask", count))
        return super().poisson_mask(count, rate)

    def normal(self, count: int) -> np.ndarray:
        self.drawn.append(("normal", count))
        return super().normal(count)


def test_every_step_draws_a_fresh_sample_and_fresh_noise() -> None:
    x, y = records(9)
    source = CountingEntropy()
    local_update(LogisticRegression(FEATURES, 2), x, y, mechanism(steps=3), source)
    assert source.drawn == [("mask", 9), ("normal", FEATURES + 1)] * 3


def test_two_updates_from_the_same_records_differ_unless_reproducible() -> None:
    x, y = records(20)
    model = LogisticRegression(FEATURES, 2)
    real = [local_update(model, x, y, mechanism(), OsEntropy()) for _ in range(2)]
    seeded = [local_update(model, x, y, mechanism(), ReproducibleEntropy(5)) for _ in range(2)]
    assert real[0].units.tolist() != real[1].units.tolist()
    assert seeded[0].units.tolist() == seeded[1].units.tolist()
    assert all(update.private for update in real)
    assert not any(update.private for update in seeded)


def test_training_without_noise_is_marked_as_not_private() -> None:
    x, y = records(20)
    assert not local_update(LogisticRegression(FEATURES, 2), x, y, mechanism(noise_multiplier=0.0), OsEntropy()).private


def test_an_update_is_the_sum_of_its_steps_and_leaves_the_model_as_it_was() -> None:
    x, y = records(20)
    model = LogisticRegression(FEATURES, 2)
    base = flatten(model.parameters())
    constants = mechanism(noise_multiplier=0.0, rate=SamplingRate(1, 1), steps=1)
    update = local_update(model, x, y, constants, OsEntropy())
    gradient = private_gradient(model, x, y, constants, OsEntropy())
    np.testing.assert_array_equal(update.units, fixed.to_fixed(-0.5 * gradient))
    np.testing.assert_array_equal(flatten(model.parameters()), base)


def test_the_model_is_restored_when_training_diverges() -> None:
    x, y = records(20)
    model = LogisticRegression(FEATURES, 2)
    with pytest.raises(fixed.Saturated):
        local_update(model, x, y, mechanism(learning_rate=1e9), OsEntropy())
    assert not flatten(model.parameters()).any()


def test_the_norm_bound_for_the_terms_holds_for_the_worst_honest_update() -> None:
    # Every record pulls the same way: the norm is as large as honest training can make it.
    x, y = np.full((200, FEATURES), 50.0), np.ones(200, dtype=np.int64)
    model, constants = LogisticRegression(FEATURES, 2), mechanism(steps=6, noise_multiplier=2.0)
    bound = constants.update_norm_bound(model.layout.size, 200)
    norms = [np.linalg.norm(fixed.to_float(local_update(model, x, y, constants, OsEntropy()).units)) for _ in range(50)]
    assert max(norms) <= bound


def test_the_norm_bound_for_the_terms_holds_when_there_is_nothing_but_noise() -> None:
    x, y = records(3)
    model, constants = LogisticRegression(FEATURES, 2), mechanism(steps=1, noise_multiplier=100.0)
    bound = constants.update_norm_bound(model.layout.size, 3)
    norms = [
        np.linalg.norm(fixed.to_float(local_update(model, x, y, constants, OsEntropy()).units)) for _ in range(200)
    ]
    assert bound / 10 < max(norms) <= bound


@pytest.mark.parametrize("count", [(0, 0), (3, 2)])
def test_records_that_do_not_belong_together_are_refused(count: tuple[int, int]) -> None:
    with pytest.raises(InvalidRecords):
        local_update(
            LogisticRegression(FEATURES, 2),
            np.zeros((count[0], FEATURES)),
            np.zeros(count[1]),
            mechanism(),
            OsEntropy(),
        )


@pytest.mark.parametrize(
    "change",
    [
        {"clip": 0.0},
        {"clip": float("nan")},
        {"noise_multiplier": -1.0},
        {"noise_multiplier": float("inf")},
        {"steps": 0},
        {"normaliser": 0.0},
        {"learning_rate": -1.0},
    ],
)
def test_a_constant_outside_its_range_is_refused_by_name(change: dict[str, float]) -> None:
    with pytest.raises(InvalidMechanism) as refusal:
        mechanism(**change)
    assert refusal.value.facts["field"] == next(iter(change))
