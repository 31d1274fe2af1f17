"""Rényi differential privacy in integers: what a mechanism costs, and what a sum of costs still promises.

A *curve* holds a bound of the Rényi divergence at each of the fixed ``ORDERS``, in nano-nats (1e-9), rounded up. It is
computed once, when the terms of a task are accepted; from then on a charge is one addition, and the limit of an account
is one comparison at the order that the account was given. Curves add under composition; their ε do not.

Every result is an upper bound. Relation: add or remove one record, Poisson sampling. An order whose cost would reach
``SATURATED`` stays there: its bound is void, and no budget admits it.

Left to others: the moments of the sampled Gaussian (``moments``), accounts, holds and limits (``privacy_budget``), and
whether the noise was really added (nobody here can know). Sources: Mironov 2017 (arXiv 1702.07476) for the Gaussian
mechanism and composition; Canonne, Kamath, Steinke 2020 (arXiv 2004.00010), proposition 12, for the conversion to
(ε, δ).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final

from . import limits
from .fixed_point import check_range, ln_up, mul_div_ceil
from .moments import LOG_BITS, ORDER_UNIT, SIGMA_UNIT, fractional_moments_up, whole_moments_up
from .types import Packed

_WHOLE: Final = (*range(2, 65), 72, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 1024)
# By eighths to 3, by quarters to 6, by halves to 11: the lower the best order, the more it matters to hit it.
_FRACTIONAL: Final = tuple(
    order
    for first, last, step in ((1_125, 3_000, 125), (3_250, 6_000, 250), (6_500, 11_000, 500))
    for order in range(first, last, step)
    if order % ORDER_UNIT
)
ORDERS: Final[tuple[int, ...]] = tuple(sorted((*_FRACTIONAL, *(order * ORDER_UNIT for order in _WHOLE))))
"""The orders of every curve, in thousandths."""

NANO: Final = 10**9
SIGMA_MILLI_MIN: Final = 300
SIGMA_MILLI_MAX: Final = 100_000
SAMPLING_DENOMINATOR_MAX: Final = 10**6
STEPS_MAX: Final = 10**5

_LANE_BYTES: Final = 8
_LANE_BITS: Final = 8 * _LANE_BYTES
SATURATED: Final = (1 << (_LANE_BITS - 1)) - 1  # "No bound at this order": absorbs every addition.
_SHIFTS: Final = {order: _LANE_BITS * place for place, order in enumerate(reversed(ORDERS))}
_GUARDS: Final = sum(1 << shift + _LANE_BITS - 1 for shift in _SHIFTS.values())

# Since (a-1)·ln((a-1)/a) > -1, every conversion offset is positive where delta_inverse > e·a: so no ε is negative,
# and no saturated order comes out below SATURATED.
assert 3 * ORDERS[-1] <= limits.DELTA_INVERSE_MIN * ORDER_UNIT


@dataclass(frozen=True, slots=True)
class Curve(Packed):
    """A cost of 0..SATURATED nano-nats at each order, in one integer of 64-bit lanes, the lowest order's leftmost.

    The leftmost bit of a lane is a guard: no cost reaches it, and a sum that does stays in its lane.
    """

    lanes: int

    SIZE: ClassVar[int] = _LANE_BYTES * len(ORDERS)  # Of the bytes that stand for it.

    @classmethod
    def of(cls, costs: Iterable[int]) -> "Curve":
        """The curve of these costs, one per order. Raises ValueError unless each is within 0..SATURATED."""
        listed = tuple(costs)
        check_range("curve length", len(listed), len(ORDERS), len(ORDERS))
        lanes = 0
        for order, cost in zip(ORDERS, listed, strict=True):
            check_range(f"curve at order {order}", cost, 0, SATURATED)
            lanes = lanes << _LANE_BITS | cost
        return cls(lanes)

    @classmethod
    def of_bytes(cls, raw: bytes) -> "Curve":
        """The curve that these bytes stand for. Raises ValueError for a wrong length, or a cost over SATURATED."""
        check_range("curve length", len(raw), cls.SIZE, cls.SIZE)
        lanes = int.from_bytes(raw, "big")
        if lanes & _GUARDS:
            raise ValueError(f"a cost is over {SATURATED}")
        return cls(lanes)

    def __bytes__(self) -> bytes:
        return self.lanes.to_bytes(self.SIZE, "big")

    def __add__(self, other: "Curve") -> "Curve":
        """The curve of both releases together: the sum at each order, held at SATURATED."""
        total = self.lanes + other.lanes
        over = total & _GUARDS
        if over:
            total = (total | over - (over >> _LANE_BITS - 1)) & ~_GUARDS
        return Curve(total)

    def at(self, order: int) -> int:
        """The cost at one of the ORDERS."""
        return self.lanes >> _SHIFTS[order] & SATURATED

    def costs(self) -> tuple[int, ...]:
        """The cost at each of the ORDERS."""
        return tuple(map(self.at, ORDERS))


ZERO: Final = Curve(0)  # Nothing released.


def gaussian_curve(sigma_milli: int, steps: int) -> Curve:
    """The curve of ``steps`` Gaussian mechanisms of noise multiplier sigma_milli/1000, without sampling.

    At order a: steps·a/(2·sigma²) nats, rounded up to a nano-nat and otherwise exact (Mironov 2017, corollary 3). The
    bounds keep it below 6e17, so it never saturates. Raises ValueError naming sigma_milli (300..100000) or steps
    (1..100000).
    """
    _check_mechanism(sigma_milli, steps)
    scale = 2 * sigma_milli**2 * ORDER_UNIT
    return Curve.of(mul_div_ceil(steps * NANO, order * SIGMA_UNIT**2, scale) for order in ORDERS)


def subsampled_gaussian_curve(q_numerator: int, q_denominator: int, sigma_milli: int, steps: int) -> Curve:
    """The curve of ``steps`` Gaussian mechanisms, each on a Poisson sample of rate q = numerator/denominator.

    At order a: steps/(a-1)·ln A(a), with the moment A of ``moments``. Raises ValueError naming sigma_milli
    (300..100000), steps (1..100000), q_denominator (1..1000000) or q_numerator (1..q_denominator).
    """
    _check_mechanism(sigma_milli, steps)
    check_range("q_denominator", q_denominator, 1, SAMPLING_DENOMINATOR_MAX)
    check_range("q_numerator", q_numerator, 1, q_denominator)
    if q_numerator == q_denominator:
        return gaussian_curve(sigma_milli, steps)
    rate = (q_numerator, q_denominator, sigma_milli)
    moments = dict(zip(_FRACTIONAL, fractional_moments_up(*rate, _FRACTIONAL), strict=True))
    for order, moment in zip(_WHOLE, whole_moments_up(*rate, _WHOLE), strict=True):
        moments[order * ORDER_UNIT] = moment
    return Curve.of(
        mul_div_ceil(moments[order].log_up(), steps * NANO * ORDER_UNIT, (order - ORDER_UNIT) << LOG_BITS)
        for order in ORDERS
    )


def epsilon_at(curve: Curve, order: int, delta_inverse: int) -> int:
    """ε in nano-nats at δ = 1/delta_inverse by one order, rounded up: R(a) + ln((a-1)/a) - (ln δ + ln a)/(a-1).

    A cost of 0 gives ε = 0, since then nothing depends on the record; a saturated one gives SATURATED. Raises
    ValueError for a delta_inverse outside its limits.
    """
    cost = curve.at(order)
    return min(cost + offset_at(order, delta_inverse), SATURATED) if cost else 0


def within(limit_nano: int, curve: Curve, order: int, delta_inverse: int) -> bool:
    """Whether a composed curve still promises (limit, δ) at one order: what a Rényi filter tests before each charge.

    The order is fixed before the first charge; the costs may then be chosen as one goes, each on the outcome of those
    before, and the promise holds for all of them together (Rogers et al. 2016, arXiv 1605.08294; Feldman and Zrnic
    2021, arXiv 2008.11193; Lécuyer 2021, arXiv 2103.01379).
    """
    return epsilon_at(curve, order, delta_inverse) <= limit_nano


def best_order(limit_nano: int, delta_inverse: int) -> int:
    """The order that admits most of a loss that grows with the order, as a Gaussian's does: the most room per order.

    It depends on the limit and δ alone. Of equals the lowest. Where no order has room it is still one: see ``room_at``.
    """
    best, most = ORDERS[0], room_at(limit_nano, ORDERS[0], delta_inverse)
    for order in ORDERS[1:]:
        room = room_at(limit_nano, order, delta_inverse)
        if room * best > most * order:
            best, most = order, room
    return best


def room_at(limit_nano: int, order: int, delta_inverse: int) -> int:
    """The cost that a limit admits at an order, in nano-nats. Not positive: none at all."""
    return limit_nano - offset_at(order, delta_inverse)


def least_epsilon(curve: Curve, delta_inverse: int) -> tuple[int, int]:
    """The least ε over all orders, and the order that gives it; SATURATED when every order is.

    Valid for prices that were fixed beforehand: where they are chosen as one goes, the best order depends on outcomes.
    """
    return min((epsilon_at(curve, order, delta_inverse), order) for order in ORDERS)


def offset_at(order: int, delta_inverse: int) -> int:
    """What converting to ε at δ = 1/delta_inverse adds to the cost at an order, in nano-nats."""
    return conversion_offsets(delta_inverse)[order]


@lru_cache(maxsize=64)
def conversion_offsets(delta_inverse: int) -> dict[int, int]:
    """By order, what converting to ε at δ = 1/delta_inverse adds to its cost, in nano-nats, rounded up.

    ln((a-1)/a) + ln(delta_inverse/a)/(a-1), always positive. A pure function of its argument, kept because accounts
    share few values of δ. Raises ValueError naming delta_inverse and its limits.
    """
    check_range("delta_inverse", delta_inverse, limits.DELTA_INVERSE_MIN, limits.DELTA_INVERSE_MAX)
    offsets = {}
    for order in ORDERS:
        beyond = order - ORDER_UNIT
        weighted = beyond * ln_up(beyond, order, LOG_BITS)
        weighted += ORDER_UNIT * ln_up(delta_inverse * ORDER_UNIT, order, LOG_BITS)
        offsets[order] = mul_div_ceil(weighted, NANO, beyond << LOG_BITS)
    return offsets


def _check_mechanism(sigma_milli: int, steps: int) -> None:
    check_range("sigma_milli", sigma_milli, SIGMA_MILLI_MIN, SIGMA_MILLI_MAX)
    check_range("steps", steps, 1, STEPS_MAX)
