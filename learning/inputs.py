"""Input transforms as constants of the terms.

The constants come from a public reference set, never from an organisation's own or pooled records: a
mean fitted on private records is a release that nobody accounted for. They are integers (units of
2**-32), so that they can stand on the ledger and mean the same everywhere.

What comes out is rounded to multiples of 2**-12 and held within ±32. Beside taming outliers, this makes
a linear model's scores exact: fixed-point weights below 2**10 times 18-bit inputs, over up to 2**9
features, stay integers below 2**53 units in float64, so every machine finds the same scores whatever
the order of its additions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .errors import LearningError
from .tensors import Float64, Records

CONSTANT_BITS = 32
INPUT_BITS = 12
INPUT_LIMIT = 32
MAX_FEATURES = 2**20


class InvalidInputs(LearningError):
    """Records whose shape or values the transform cannot take."""

    kind = "usage"
    hint = "Compare the records with what 'fedledger task show' says of the inputs."
    reason = "invalid_inputs"


@dataclass(frozen=True)
class Standardisation:
    """(x - mean) / scale per feature, the constants in units of 2**-32; every scale is positive."""

    mean: tuple[int, ...]
    scale: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.mean) == len(self.scale) <= MAX_FEATURES:
            raise TypeError(f"{len(self.mean)} means and {len(self.scale)} scales")
        if min(self.scale) < 1 or any(abs(c) >= 2**63 for c in (*self.mean, *self.scale)):
            raise TypeError("constants are 64-bit, scales positive")

    @classmethod
    def from_reference(cls, reference: Records) -> "Standardisation":
        """Mean and standard deviation per feature of a public (n, features) set; a constant gets scale 1."""
        _require_matrix(reference, features=None)
        values = reference.astype(np.float64)
        deviation = values.std(axis=0)
        return cls(_to_units(values.mean(axis=0)), _to_units(np.where(deviation > 0, deviation, 1.0)))

    @classmethod
    def uniform(cls, features: int, mean: float, scale: float) -> "Standardisation":
        """The same constants for every feature, such as 0 and 255 for the pixels of an image."""
        return cls(_to_units([mean] * features), _to_units([scale] * features))

    def apply(self, records: Records) -> Float64:
        """Transform (n, features) records to multiples of 2**-12 within ±32. Raises InvalidInputs."""
        _require_matrix(records, features=len(self.mean))
        unit = 2.0**CONSTANT_BITS
        mean, scale = np.array(self.mean) / unit, np.array(self.scale) / unit
        standardised = np.clip((records.astype(np.float64) - mean) / scale, -INPUT_LIMIT, INPUT_LIMIT)
        rounded: Float64 = np.rint(standardised * 2.0**INPUT_BITS) / 2.0**INPUT_BITS
        return rounded


def _to_units(constants: Float64 | Sequence[float]) -> tuple[int, ...]:
    # A deviation below half a unit would round to zero, which no scale may be.
    return tuple(round(float(c) * 2**CONSTANT_BITS) or 1 for c in constants)


def _require_matrix(records: Records, features: int | None) -> None:
    if records.ndim != 2 or len(records) == 0 or features not in (None, records.shape[1]):
        raise InvalidInputs(
            f"expected (n, {features or 'features'}) records, got shape {records.shape}", actual=records.shape
        )
    finite = np.isfinite(records.astype(np.float64))
    if not finite.all():
        feature = int(np.argwhere(~finite)[0][1])
        raise InvalidInputs(f"feature {feature} of a record is missing, NaN or infinite", feature=feature)
