"""Fixed point: int32 coordinates that stand for `value / 2**scale_bits`.

Updates and versions travel and are added as integers, so that everyone who recomputes an aggregate
gets the same bits on any processor. The price is a grid of 2**-16 (1.5e-5) and a range of ±32768,
both far from where gradients and weights live.

Rules: rounding is to nearest, ties to even; a value that does not fit is an error, never clamped,
because a clamped coordinate would look like an honest one. -2**31 is not used, so that every value
has its negative. Sums are exact: bounds are stated where they are needed.
"""

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .errors import LearningError
from .tensors import Float32, Int32, Int64

SCALE_BITS = 16
"""The scale of every task unless its terms say otherwise: one unit is 2**-16."""

MAX_SCALE_BITS = 30
LIMIT = 2**31 - 1
"""The largest magnitude of a coordinate, in units of 2**-scale_bits."""

_LOW_32 = np.uint64(0xFFFF_FFFF)
_SHIFT_32 = np.uint64(32)
_BLOCK = 1 << 16  # coordinates per step of an exact sum: keeps the temporaries in cache


class FixedPointError(LearningError):
    """A number that has no fixed-point form."""

    reason: ClassVar[str] = "fixed_point"


class NotFinite(FixedPointError):
    """NaN or an infinity."""

    reason: ClassVar[str] = "not_finite"


class Saturated(FixedPointError):
    """A value beyond ±(2**31 - 1) units."""

    reason: ClassVar[str] = "saturated"


def to_fixed(values: NDArray[np.floating[Any]], scale_bits: int = SCALE_BITS) -> Int32:
    """Round float values to int32 units of 2**-scale_bits, ties to even; same shape.

    Raises NotFinite or Saturated, naming the first bad coordinate.
    """
    _require_scale(scale_bits)
    finite = np.isfinite(values)
    if not finite.all():
        index = int(np.argmin(finite.reshape(-1)))
        raise NotFinite(f"coordinate {index} is NaN or infinite", index=index)
    # Scaling by a power of two is exact in float64 for every float32, so the only rounding is `rint`.
    # A float64 that overflows here becomes infinite, and is then refused as saturated.
    with np.errstate(over="ignore"):
        units = np.rint(np.asarray(values, dtype=np.float64) * float(1 << scale_bits))
    _require_in_range(units)
    return units.astype(np.int32)


def to_float(units: Int32, scale_bits: int = SCALE_BITS) -> Float32:
    """The float32 nearest (ties to even) to `units / 2**scale_bits`; same shape."""
    _require_scale(scale_bits)
    # int32 and the division by a power of two are exact in float64; float32 rounds once.
    return (units.astype(np.float64) / float(1 << scale_bits)).astype(np.float32)


def add(base: Int32, update: Int32) -> Int32:
    """The version that follows `base`: an exact sum of equal shapes. Raises Saturated."""
    if base.shape != update.shape:
        raise TypeError(f"cannot add shapes {base.shape} and {update.shape}")
    total = base.astype(np.int64) + update.astype(np.int64)
    _require_in_range(total)
    return total.astype(np.int32)


def squared_norm(units: NDArray[np.signedinteger[Any]]) -> int:
    """The exact squared L2 norm, in squared units, of int32 values or of differences of two of them.

    Pre-condition: |x| <= 2**32 - 1 and at most 2**31 coordinates. Then x**2 < 2**64 fits uint64, and the
    sums of its upper and lower halves, each below 2**63, cannot overflow.
    """
    flat = units.reshape(-1)
    upper = lower = 0
    for start in range(0, flat.size, _BLOCK):
        magnitude = np.abs(flat[start : start + _BLOCK].astype(np.int64)).astype(np.uint64)
        square = magnitude * magnitude
        upper += int(np.sum(square >> _SHIFT_32, dtype=np.uint64))
        lower += int(np.sum(square & _LOW_32, dtype=np.uint64))
    return (upper << 32) + lower


def squared_distance(left: Int32, right: Int32) -> int:
    """The exact squared L2 distance between two int32 vectors of equal shape, in squared units."""
    return squared_norm(left.astype(np.int64) - right.astype(np.int64))


def norm_units(norm: float, scale_bits: int = SCALE_BITS) -> int:
    """A norm bound given as a float, as whole units rounded down (an integer for the terms)."""
    _require_scale(scale_bits)
    if not (math.isfinite(norm) and norm > 0):
        raise NotFinite(f"a norm bound is positive and finite, not {norm}", actual=norm)
    return math.floor(norm * (1 << scale_bits))


def divide_to_even(dividend: Int64, divisor: int) -> Int64:
    """Quotients rounded to nearest, ties to even, in integers. Pre-condition: 0 < divisor < 2**62.

    The rule is odd-symmetric: dividing the negative gives the negative.
    """
    quotient = np.floor_divide(dividend, divisor)
    remainder = dividend - quotient * divisor  # in [0, divisor)
    twice = 2 * remainder
    round_up = (twice > divisor) | ((twice == divisor) & (quotient % 2 == 1))
    rounded: Int64 = quotient + round_up
    return rounded


def _require_scale(scale_bits: int) -> None:
    if not 0 <= scale_bits <= MAX_SCALE_BITS:
        raise TypeError(f"scale_bits is 0 to {MAX_SCALE_BITS}, not {scale_bits}")


def _require_in_range(units: NDArray[Any]) -> None:
    inside = np.abs(units) <= LIMIT
    if not inside.all():
        index = int(np.argmin(inside.reshape(-1)))
        actual = units.reshape(-1)[index].item()
        raise Saturated(f"coordinate {index} is beyond {LIMIT} units", index=index, limit=LIMIT, actual=actual)
