"""Rényi differential privacy in integers: what a mechanism costs, and what a sum of costs still promises.

A *curve* holds a bound of the Rényi divergence at each of the fixed integer ``ORDERS``, in nano-nats
(1e-9), rounded up. It is computed once, when the terms of a task are accepted; from then on a charge is an
addition per order, and the limit of an account is a filter over the sum. Curves add under composition;
their ε do not.

Every result is an upper bound: the subsampled Gaussian's moment is an exact rational but for its
exponentials, which are rounded up, and then one logarithm is rounded up. Relation: add or remove one
record, Poisson sampling. An order whose cost would pass ``SATURATED`` stays there: its bound is void, and
no budget admits it.

Left to others: accounts, holds and limits (``privacy_budget``), and whether the noise was really added
(nobody here can know). Sources: Mironov 2017 (arXiv 1702.07476) for the Gaussian mechanism and composition;
Mironov, Talwar, Zhang 2019 (arXiv 1908.10530), section 3.3, for the subsampled one; Canonne, Kamath,
Steinke 2020 (arXiv 2004.00010), proposition 12, for the conversion to (ε, δ).
"""

from functools import lru_cache
from typing import Final, TypeAlias

from . import limits
from .fixed_point import check_range, exp_up, ln_up, mul_div_ceil

Curve: TypeAlias = tuple[int, ...]  # One cost per order, in nano-nats, 0..SATURATED.

ORDERS: Final[tuple[int, ...]] = (*range(2, 65), 72, 80, 96, 112, 128, 160, 192, 224, 256)
SATURATED: Final = limits.RENYI_NANO_MAX  # "No bound at this order": absorbs every addition.
ZERO: Final[Curve] = (0,) * len(ORDERS)  # Nothing released.

NANO: Final = 10**9
SIGMA_UNIT: Final = 1_000  # The noise multiplier is given in thousandths of the clipping norm.
SIGMA_MILLI_MIN: Final = 300
SIGMA_MILLI_MAX: Final = 100_000
SAMPLING_DENOMINATOR_MAX: Final = 10**6
STEPS_MAX: Final = 10**5
_LOG_BITS: Final = 96  # An error of 2^-95 nats, times 10^5 steps, is far below a nano-nat.

# Since (a-1)·ln((a-1)/a) > -1, every conversion offset is positive where delta_inverse > e·a: so no ε is negative,
# and no saturated order comes out below SATURATED.
assert 3 * ORDERS[-1] <= limits.DELTA_INVERSE_MIN


def gaussian_curve(sigma_milli: int, steps: int) -> Curve:
    """The curve of ``steps`` Gaussian mechanisms of noise multiplier sigma_milli/1000, without sampling.

    At order a: steps·a/(2·sigma²) nats, rounded up to a nano-nat and otherwise exact (Mironov 2017,
    corollary 3). The bounds keep it below 1.5e17, so it never saturates. Raises ValueError naming
    sigma_milli (300..100000) or steps (1..100000).
    """
    _check_mechanism(sigma_milli, steps)
    return tuple(mul_div_ceil(steps * NANO, order * SIGMA_UNIT**2, 2 * sigma_milli**2) for order in ORDERS)


def subsampled_gaussian_curve(q_numerator: int, q_denominator: int, sigma_milli: int, steps: int) -> Curve:
    """The curve of ``steps`` Gaussian mechanisms, each on a Poisson sample of rate q = numerator/denominator.

    At order a: steps/(a-1)·ln A, with A = sum over k of C(a,k)·(1-q)^(a-k)·q^k·e^(k(k-1)/(2·sigma²)).
    Raises ValueError naming sigma_milli (300..100000), steps (1..100000), q_denominator (1..1000000) or
    q_numerator (1..q_denominator).
    """
    _check_mechanism(sigma_milli, steps)
    check_range("q_denominator", q_denominator, 1, SAMPLING_DENOMINATOR_MAX)
    check_range("q_numerator", q_numerator, 1, q_denominator)
    if q_numerator == q_denominator:
        return gaussian_curve(sigma_milli, steps)
    moments = _moments_up(q_numerator, q_denominator, sigma_milli)
    units = (q_denominator**order << _LOG_BITS for order in ORDERS)
    return tuple(
        mul_div_ceil(ln_up(moment, unit, _LOG_BITS), steps * NANO, (order - 1) << _LOG_BITS)
        for order, moment, unit in zip(ORDERS, moments, units, strict=True)
    )


def compose(first: Curve, second: Curve) -> Curve:
    """The curve of both releases together: the sum at each order, held at SATURATED.

    Raises ValueError for a bad curve.
    """
    check_curve(first)
    check_curve(second)
    total = tuple([one + other for one, other in zip(first, second, strict=True)])
    return total if max(total) <= SATURATED else tuple(min(cost, SATURATED) for cost in total)


def epsilon_nano(curve: Curve, delta_inverse: int) -> tuple[int, int]:
    """The least ε in nano-nats at δ = 1/delta_inverse, rounded up, and the order that gives it.

    ε = min over a of R(a) + ln((a-1)/a) - (ln δ + ln a)/(a-1). An order of cost 0 gives ε = 0 outright,
    since then nothing depends on the record. When every order is saturated, ε is SATURATED. Raises
    ValueError for a bad curve or a delta_inverse outside its limits.
    """
    check_curve(curve)
    least, best = SATURATED, ORDERS[-1]
    for order, cost, offset in zip(ORDERS, curve, conversion_offsets(delta_inverse), strict=True):
        epsilon = cost + offset if cost else 0
        if epsilon < least:
            least, best = epsilon, order
    return least, best


def within(limit_nano: int, curve: Curve, delta_inverse: int) -> bool:
    """Whether a composed curve still promises (limit, δ): some order stays within its share of the limit.

    The same as ``epsilon_nano(curve, delta_inverse)[0] <= limit_nano``, and the test a Rényi filter makes
    before each charge (Feldman and Zrnic 2021, arXiv 2008.11193; Lécuyer 2021, arXiv 2103.01379;
    PrivateKube, OSDI 2021): the costs may be chosen as one goes, only their sum is held to the limit. That
    theorem is for one fixed order. When *which* order survives depends on earlier releases, a proof needs a
    union over them: at worst len(ORDERS) times δ.
    """
    return epsilon_nano(curve, delta_inverse)[0] <= limit_nano


@lru_cache(maxsize=64)
def conversion_offsets(delta_inverse: int) -> tuple[int, ...]:
    """What converting to ε at δ = 1/delta_inverse adds to each order's cost, in nano-nats, rounded up.

    ln((a-1)/a) + ln(delta_inverse/a)/(a-1), always positive. A pure function of its argument, kept because
    accounts share few values of δ. Raises ValueError naming delta_inverse and its limits.
    """
    check_range("delta_inverse", delta_inverse, limits.DELTA_INVERSE_MIN, limits.DELTA_INVERSE_MAX)
    offsets = []
    for order in ORDERS:
        weighted = (order - 1) * ln_up(order - 1, order, _LOG_BITS) + ln_up(delta_inverse, order, _LOG_BITS)
        offsets.append(mul_div_ceil(weighted, NANO, (order - 1) << _LOG_BITS))
    return tuple(offsets)


def check_curve(curve: Curve) -> None:
    """Raise ValueError unless a curve has one cost per order, each within 0..SATURATED."""
    check_range("curve length", len(curve), len(ORDERS), len(ORDERS))
    if min(curve) >= 0 and max(curve) <= SATURATED:
        return
    for order, cost in zip(ORDERS, curve, strict=True):
        check_range(f"curve at order {order}", cost, 0, SATURATED)


def _check_mechanism(sigma_milli: int, steps: int) -> None:
    check_range("sigma_milli", sigma_milli, SIGMA_MILLI_MIN, SIGMA_MILLI_MAX)
    check_range("steps", steps, 1, STEPS_MAX)


def _moments_up(q_numerator: int, q_denominator: int, sigma_milli: int) -> list[int]:
    """A·q_denominator^a·2^96 for each order a, exact but for the exponentials.

    Rounding each term instead would blow up at high orders, where C(a,k) multiplies the last digit; whole
    products of integers cost little more.
    """
    highest = ORDERS[-1]
    complement = q_denominator - q_numerator
    absent = [1]  # (q_denominator - q_numerator)^j
    present = []  # q_numerator^k · e^(k(k-1)/(2·sigma²)) · 2^96
    power = 1
    for k in range(highest + 1):
        absent.append(absent[-1] * complement)
        present.append(power * exp_up(k * (k - 1) * SIGMA_UNIT**2, 2 * sigma_milli**2, _LOG_BITS))
        power *= q_numerator
    moments = []
    for order in ORDERS:
        binomial, moment = 1, 0
        for k in range(order + 1):
            moment += binomial * absent[order - k] * present[k]
            binomial = binomial * (order - k) // (k + 1)
        moments.append(moment)
    return moments
