"""The score that gates a promotion, as two integers that every voter can find again.

Votes are cast on a digest that covers the score, so two voters must count the same number of correct
answers. Scores are computed in float64 and rounded to multiples of 2**-20; the largest wins, the lowest
class among equals. Rounding makes logits that are equal in exact arithmetic equal here too, however a
machine ordered its additions.

Where this can still differ between machines: for a model that is not linear, if two logits of a record
straddle a rounding edge within some 1e-13 of each other. For a linear model on inputs from
`inputs.Standardisation` the scores are exact, so it cannot.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .errors import LearningError
from .model import Scorer
from .tensors import Float64, Int64, Records

LOGIT_BITS = 20
PPM = 1_000_000


class NotScorable(LearningError):
    """A model that gives NaN or infinite logits, or a set without records."""

    reason: ClassVar[str] = "not_scorable"


@dataclass(frozen=True)
class Score:
    """Correct answers among `total` records."""

    correct: int
    total: int

    @property
    def ppm(self) -> int:
        """Accuracy in parts per million, rounded down."""
        return self.correct * PPM // self.total


def score(model: Scorer, inputs: Records, targets: Records) -> Score:
    """Count the model's correct answers. Raises NotScorable."""
    if len(inputs) == 0 or len(inputs) != len(targets):
        raise NotScorable(f"{len(inputs)} inputs and {len(targets)} targets", inputs=len(inputs), targets=len(targets))
    return Score(int(np.count_nonzero(predict(model.logits(inputs)) == targets)), len(targets))


def predict(logits: Float64) -> Int64:
    """The winning class per row of (n, classes) logits; ties go to the lowest class. Raises NotScorable."""
    if not np.isfinite(logits).all():
        raise NotScorable("the model gives a logit that is NaN or infinite")
    winners: Int64 = np.argmax(np.rint(logits * 2.0**LOGIT_BITS), axis=1)
    return winners
