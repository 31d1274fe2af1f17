"""Sampling and noise: exact rates, the right distribution, and where the bits come from."""

import hashlib
import os

import numpy as np
import pytest

from learning.entropy import OsEntropy, ReproducibleEntropy
from learning.mechanism import InvalidMechanism, SamplingRate


class FixedWords(ReproducibleEntropy):
    """An entropy source that hands out the given 64-bit words."""

    def __init__(self, words: list[int]) -> None:
        super().__init__(0)
        self._read = lambda _size: b"".join(w.to_bytes(8, "little") for w in words)


def test_a_record_is_sampled_iff_its_word_is_below_the_rate_exactly() -> None:
    third = 2**64 // 3
    mask = FixedWords([third - 1, third, 0, 2**64 - 1]).poisson_mask(4, SamplingRate(1, 3))
    assert mask.tolist() == [True, False, True, False]


def test_the_extreme_rates_are_exact() -> None:
    words = [0, 1, 2**64 - 1]
    assert FixedWords(words).poisson_mask(3, SamplingRate(1, 1)).tolist() == [True, True, True]
    assert FixedWords(words).poisson_mask(3, SamplingRate(2**64 - 2, 2**64 - 1)).tolist() == [True, True, False]
    assert FixedWords(words).poisson_mask(3, SamplingRate(1, 2**64 - 1)).tolist() == [True, False, False]


@pytest.mark.parametrize(("numerator", "denominator"), [(0, 1), (2, 1), (-1, 4), (1, 2**64)])
def test_a_rate_outside_its_range_is_refused(numerator: int, denominator: int) -> None:
    with pytest.raises(InvalidMechanism, match="sampling rate"):
        SamplingRate(numerator, denominator)


def test_records_are_sampled_independently_at_the_rate() -> None:
    source, rate = ReproducibleEntropy(1), SamplingRate(1, 4)
    masks = np.array([source.poisson_mask(200, rate) for _ in range(2000)])
    assert abs(masks.mean() - 0.25) < 6 * np.sqrt(0.25 * 0.75 / masks.size)
    # The batch size of Poisson sampling varies like a binomial; a fixed-size sample's would not.
    assert masks.sum(axis=1).var() == pytest.approx(200 * 0.25 * 0.75, rel=0.15)
    correlations = np.corrcoef(masks[:, :20].T) - np.eye(20)
    assert np.abs(correlations).max() < 0.12


@pytest.mark.parametrize("count", [1, 3, 2**18 + 5])
def test_noise_comes_in_the_length_asked_for(count: int) -> None:
    assert OsEntropy().normal(count).shape == (count,)


def test_the_noise_is_standard_normal() -> None:
    noise = np.sort(ReproducibleEntropy(2).normal(200_000))
    assert abs(noise.mean()) < 6 / np.sqrt(noise.size)
    assert noise.var() == pytest.approx(1.0, abs=6 * np.sqrt(2 / noise.size))
    # Quantiles of N(0, 1), from tables; six standard errors of each at this sample size.
    for probability, quantile, error in [(0.001, -3.0902, 0.126), (0.025, -1.96, 0.036), (0.5, 0.0, 0.017)]:
        assert noise[int(probability * noise.size)] == pytest.approx(quantile, abs=error)
        assert noise[int((1 - probability) * noise.size)] == pytest.approx(-quantile, abs=error)


def test_neighbouring_draws_are_uncorrelated() -> None:
    noise = ReproducibleEntropy(3).normal(100_000)
    for lag in (1, noise.size // 2):  # Box-Muller's two halves lie half the length apart
        assert abs(np.corrcoef(noise[:-lag], noise[lag:])[0, 1]) < 6 / np.sqrt(noise.size // 2)


def test_extreme_words_give_finite_noise() -> None:
    for word in (0, 2**64 - 1):
        assert np.isfinite(FixedWords([word] * 8).normal(2)).all()


def test_the_private_source_reads_the_operating_system_for_every_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def recorded(size: int) -> bytes:
        sizes.append(size)
        return hashlib.shake_256(b"stand-in").digest(size)

    monkeypatch.setattr(os, "urandom", recorded)
    source = OsEntropy()
    source.poisson_mask(10, SamplingRate(1, 4))
    source.normal(10)
    assert sizes == [8 * 10, 8 * 10 * 4]
    assert source.private


def test_only_the_seeded_source_repeats_itself_and_it_is_marked() -> None:
    assert ReproducibleEntropy(7).normal(5).tolist() == ReproducibleEntropy(7).normal(5).tolist()
    assert not ReproducibleEntropy(7).private
    assert OsEntropy().normal(5).tolist() != OsEntropy().normal(5).tolist()
