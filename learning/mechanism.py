"""The constants of a task's private training, as plain numbers.

They come from the terms, so everybody knows them and nobody tunes them on private records. The ledger's
own integer form, and what a round of them costs, are not this package's business.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from .errors import LearningError


class InvalidMechanism(LearningError):
    """A constant outside its range."""

    reason: ClassVar[str] = "invalid_mechanism"


@dataclass(frozen=True)
class SamplingRate:
    """The probability that a record enters a step: an exact fraction in (0, 1], below 2**64."""

    numerator: int
    denominator: int

    def __post_init__(self) -> None:
        if not 0 < self.numerator <= self.denominator < 2**64:
            raise InvalidMechanism(
                f"a sampling rate lies in (0, 1], not {self.numerator}/{self.denominator}", field="rate"
            )

    def __float__(self) -> float:
        return self.numerator / self.denominator


@dataclass(frozen=True)
class Mechanism:
    """Every constant of one organisation's round.

    `clip`: C, the largest L2 norm of one record's gradient. `noise_multiplier`: sigma, the noise's standard
    deviation in units of C; 0 trains without privacy, for ablations. `rate`: q. `steps`: per round.
    `normaliser`: L, what the summed gradient is divided by, in records. `learning_rate`: per step.
    """

    clip: float
    noise_multiplier: float
    rate: SamplingRate
    steps: int
    normaliser: float
    learning_rate: float

    def __post_init__(self) -> None:
        for field in ("clip", "normaliser", "learning_rate"):
            value = getattr(self, field)
            if not (math.isfinite(value) and value > 0):
                raise InvalidMechanism(f"{field} is positive and finite, not {value}", field=field, actual=value)
        sigma = self.noise_multiplier
        if not (math.isfinite(sigma) and sigma >= 0):
            raise InvalidMechanism(
                f"noise_multiplier is finite and at least 0, not {sigma}",
                field="noise_multiplier",
                actual=sigma,
            )
        if self.steps < 1:
            raise InvalidMechanism(f"steps is at least 1, not {self.steps}", field="steps", actual=self.steps)

    def update_norm_bound(self, parameters: int, largest_records: int) -> float:
        """An L2 norm that the update of an organisation with that many records stays under; for the terms.

        A step samples at most q n + 6 sqrt(q n) + 12 records (Bernstein), each of norm C; the noise of all
        steps is one normal vector of norm at most sqrt(d) + 6 times its deviation (Gaussian concentration).
        Each bound fails with a probability below exp(-18) = 2e-8.
        """
        expected = float(self.rate) * largest_records
        sampled = min(float(largest_records), expected + 6.0 * math.sqrt(expected) + 12.0)
        signal = self.steps * sampled * self.clip
        deviation = self.noise_multiplier * self.clip * math.sqrt(self.steps)
        return (signal + deviation * (math.sqrt(parameters) + 6.0)) * self.learning_rate / self.normaliser
