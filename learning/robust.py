"""Aggregates that every voter can recompute bit for bit.

The input is one int32 row (fixed point, see `fixed`) per contribution, an id and an integer weight each.
Everything is integer arithmetic, or floating point on integers small enough to be exact, so the result
depends on neither the processor, nor the number of threads, nor the order in which contributions came:
rows are sorted by id first, ties go to the smaller id, and divisions round to nearest, ties to even.

Estimators and what they stand (f hostile contributions among n):

    mean             weighted mean; f = 0 only: one row moves it anywhere
    median           coordinate-wise median (Yin et al. 2018, section 4); n >= 2f + 1
    trimmed-mean     mean without the f largest and f smallest of each coordinate (ibid.); n >= 2f + 1
    multi-krum       weighted mean of the n - f rows with the lowest Krum score (Blanchard et al. 2017,
                     sections 3 and 5); n >= 2f + 3

Only the two means use the weights. The order statistics count every contribution once, because their
breakdown point counts contributions, and a weight would let one of them count for more.

Two different things are said about a contribution. *Accepted* ones entered the aggregate as rows.
*Flagged* ones are outliers by the rule of `outliers`, whatever the estimator. Multi-Krum leaves f rows
out of every round, also of one without an attack, so being left out is no sign of guilt; neither is the
flag a proof, because under non-IID data the odd one out is often honest. What none of these see is an
update that is hostile and looks like the others: a backdoor trained quietly passes all of them.

This module checks what may be aggregated and names the outcome; the arithmetic is in `estimators`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import numpy as np

from . import fixed
from .errors import LearningError
from .estimators import (
    DEFAULT_OUTLIER_RULE,
    OutlierRule,
    coordinate_median,
    distances_to_median,
    krum_scores,
    krum_selection,
    outliers,
    trimmed_mean,
    weighted_mean,
)
from .tensors import MAX_PARAMETERS, Int32

MAX_CONTRIBUTIONS = 1024
MAX_WEIGHT = 2**16
# The largest sum any mean forms: 2**10 rows x 2**16 weight x 2**31 = 2**57, well inside int64.
assert MAX_CONTRIBUTIONS * MAX_WEIGHT * (fixed.LIMIT + 1) <= 2**62


class AggregationRefused(LearningError):
    """Contributions that cannot be aggregated under the given rule."""

    reason: ClassVar[str] = "aggregation"


class TooFewContributions(AggregationRefused):
    """Fewer contributions than the estimator's breakdown point needs."""

    reason: ClassVar[str] = "too_few_contributions"


class TooManyContributions(AggregationRefused):
    """More contributions than the overflow bounds allow for."""

    reason: ClassVar[str] = "too_many_contributions"


class InvalidContribution(AggregationRefused):
    """A repeated id, a weight or a coordinate out of range, or rows of the wrong shape."""

    reason: ClassVar[str] = "invalid_contribution"


class Estimator(StrEnum):
    """The estimators of this module; the values are the names used in terms."""

    MEAN = "mean"
    MEDIAN = "median"
    TRIMMED_MEAN = "trimmed-mean"
    MULTI_KRUM = "multi-krum"

    def minimum(self, f: int) -> int:
        """The least number of contributions among which f may be hostile. Raises TypeError for a bad f."""
        if f < 0 or (self is Estimator.MEAN and f > 0):
            raise TypeError(f"{self} does not stand f = {f}")
        match self:
            case Estimator.MEAN:
                return 1
            case Estimator.MEDIAN | Estimator.TRIMMED_MEAN:
                return 2 * f + 1
            case Estimator.MULTI_KRUM:
                return 2 * f + 3


@dataclass(frozen=True)
class Aggregate:
    """What the contributions come to; all ids are sorted.

    `vector`: int32 units, shape (d,). `accepted` and `left_out` partition the ids: the rows that entered.
    `flagged`: outliers, at most f. `scores`: (id, integer) pairs, the larger the odder; the Krum score
    for multi-krum and the squared distance to the coordinate median otherwise, both in squared units.
    """

    vector: Int32
    accepted: tuple[str, ...]
    left_out: tuple[str, ...]
    flagged: tuple[str, ...]
    scores: tuple[tuple[str, int], ...]


def aggregate(
    estimator: Estimator,
    ids: Sequence[str],
    matrix: Int32,
    weights: Sequence[int],
    f: int,
    rule: OutlierRule = DEFAULT_OUTLIER_RULE,
) -> Aggregate:
    """Aggregate the rows of an (n, d) int32 matrix; ids and weights are per row, in the same order.

    The result does not depend on that order. Raises TooFewContributions, TooManyContributions or
    InvalidContribution.
    """
    _require_contributions(estimator, ids, matrix, weights, f)
    order = sorted(range(len(ids)), key=ids.__getitem__)
    names = [ids[i] for i in order]
    rows = matrix[order]
    row_weights = [weights[i] for i in order]

    scores = distances = distances_to_median(rows)
    flagged = outliers(distances, f, rule)
    accepted = tuple(range(len(names)))
    if estimator is Estimator.MULTI_KRUM:
        scores = krum_scores(rows, f)
        accepted = krum_selection(scores, len(names) - f)
    kept = list(accepted)
    return Aggregate(
        _estimate(estimator, rows[kept], [row_weights[i] for i in kept], f),
        accepted=tuple(names[i] for i in accepted),
        left_out=tuple(name for i, name in enumerate(names) if i not in accepted),
        flagged=tuple(names[i] for i in flagged),
        scores=tuple(zip(names, scores, strict=True)),
    )


def _estimate(estimator: Estimator, rows: Int32, weights: Sequence[int], f: int) -> Int32:
    match estimator:
        case Estimator.MEAN | Estimator.MULTI_KRUM:
            return weighted_mean(rows, weights)
        case Estimator.MEDIAN:
            return coordinate_median(rows)
        case Estimator.TRIMMED_MEAN:
            return trimmed_mean(rows, f)


def _require_contributions(
    estimator: Estimator, ids: Sequence[str], matrix: Int32, weights: Sequence[int], f: int
) -> None:
    count, minimum = len(ids), estimator.minimum(f)
    if count < minimum:
        raise TooFewContributions(
            f"{estimator} with f = {f} needs {minimum} contributions, not {count}",
            minimum=minimum,
            actual=count,
        )
    if count > MAX_CONTRIBUTIONS:
        raise TooManyContributions(
            f"{count} contributions exceed {MAX_CONTRIBUTIONS}", limit=MAX_CONTRIBUTIONS, actual=count
        )
    if matrix.dtype != np.int32 or matrix.ndim != 2 or matrix.shape[0] != count or len(weights) != count:
        raise InvalidContribution(
            f"{count} ids take an int32 matrix of {count} rows and {count} weights", shape=matrix.shape
        )
    if not 1 <= matrix.shape[1] <= MAX_PARAMETERS:
        raise InvalidContribution(
            f"1 to {MAX_PARAMETERS} columns, not {matrix.shape[1]}",
            limit=MAX_PARAMETERS,
            actual=matrix.shape[1],
        )
    if len(set(ids)) != count:
        raise InvalidContribution("an id appears twice", ids=tuple(sorted(ids)))
    for name, weight in zip(ids, weights, strict=True):
        if not 1 <= weight <= MAX_WEIGHT:
            raise InvalidContribution(f"{name}: a weight is 1 to {MAX_WEIGHT}, not {weight}", id=name, actual=weight)
    if matrix.min() < -fixed.LIMIT:
        raise InvalidContribution("a coordinate is -2**31", limit=-fixed.LIMIT)
