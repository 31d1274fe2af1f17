"""Moments of the sampled Gaussian in integers: never below the true ones, and above by less than 2^-60 of them.

A step that adds Gaussian noise to a Poisson sample of rate q has, for a record that may be there or not, the likelihood
ratio L(y) = (1 - q) + q·e^(y/σ - 1/(2σ²)) under y ~ N(0, 1), and ln E[L^α] = (α - 1)·R(α) bounds its Rényi divergence
in both directions (Mironov, Talwar, Zhang 2019, arXiv 1908.10530). There are two ways to that expectation:

- At whole orders, the binomial sum over k of C(α,k)·(1-q)^(α-k)·q^k·e^(k(k-1)/(2σ²)).
- At fractional ones, the trapezoidal rule with m steps to a standard deviation. Of such integrands its error is known:
  f(y) = L(y)^α·e^(-y²/2) is analytic where |Im y| < πσ, since (1-q) + q·X·e^(iθ) meets no negative real number there;
  and |f(y + ib)| <= f(y)·e^(b²/2). So the rule errs by at most 2·e^(a²/2)/(e^(2πam) - 1) of the moment, for every
  a <= πσ (Trefethen and Weideman 2014, SIAM Review 56, theorem 5.1), and m is chosen to make that less than 2^-63.

Interpolating (α-1)·R(α), which is convex, between whole orders would be an upper bound, too, and a useless one: the ε
it leads to is monotone from one whole order to the next but for terms of no weight: the least is at a whole one.

Left to others: which orders there are, what a moment costs and what it promises (``renyi``).
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from .fixed_point import exp_up, ln_up, mul_div_ceil, root_up

SIGMA_UNIT: Final = 1_000  # The noise multiplier is given in thousandths of the clipping norm.
ORDER_UNIT: Final = 1_000  # So are orders; fractional ones are multiples of an eighth.
LOG_BITS: Final = 96  # An error of 2^-95 nats, times 10^5 steps, is far below a nano-nat.

_EIGHTH: Final = ORDER_UNIT // 8
_BITS: Final = 160  # Of what is rounded along the way: binomials multiply no error, because errors are relative.
_POINT: Final = 96  # Bits behind the point of L and its powers.
_TAIL: Final = 10  # Standard deviations beyond both peaks. What lies outside is less than 2^-70 of a moment.


class Large(NamedTuple):
    """The positive number mantissa·2^exponent: e to the power of millions fits as well as 10^-6."""

    mantissa: int
    exponent: int

    def times_up(self, factor: int, exponent: int) -> "Large":
        """Not less than the product with factor·2^exponent, nor more by over 2^(1-160) of it."""
        product = self.mantissa * factor
        excess = max(0, product.bit_length() - _BITS)
        return Large(-(-product >> excess), self.exponent + exponent + excess)

    def log_up(self) -> int:
        """Not less than its logarithm times 2^96, nor more by 2. The number must be 1 or more."""
        doublings = self.exponent + self.mantissa.bit_length() - 1
        fine = ln_up(self.mantissa, 1 << (self.mantissa.bit_length() - 1), _BITS) + doublings * ln_up(2, 1, _BITS)
        return -(-fine >> (_BITS - LOG_BITS))


ONE: Final = Large(1, 0)


def whole_moments_up(q_numerator: int, q_denominator: int, sigma_milli: int, orders: Sequence[int]) -> list[Large]:
    """E[L^n] for whole orders n, ascending."""
    absent_rate = mul_div_ceil(q_denominator - q_numerator, 1 << _BITS, q_denominator)
    present_rate = mul_div_ceil(q_numerator, 1 << _BITS, q_denominator)
    growth = exp_up(SIGMA_UNIT**2, sigma_milli**2, _BITS)  # Of e^(k(k-1)/(2σ²)) from k to k+1: itself to the power k.
    absent, present, factor = [ONE], [ONE], ONE
    for _ in range(orders[-1]):
        absent.append(absent[-1].times_up(absent_rate, -_BITS))
        present.append(present[-1].times_up(present_rate, -_BITS).times_up(*factor))
        factor = factor.times_up(growth, -_BITS)
    return [_binomial_sum_up(order, absent, present) for order in orders]


def fractional_moments_up(q_numerator: int, q_denominator: int, sigma_milli: int, orders: Sequence[int]) -> list[Large]:
    """E[L^α] for fractional orders, ascending, in thousandths.

    The weights e^(-y²/2) are scaled alike and their own sum divides, since times h/sqrt(2π) it is 1 + 2^-100 at most.
    """
    per_deviation = _steps(sigma_milli)
    last = per_deviation * (_TAIL - -orders[-1] * SIGMA_UNIT // (ORDER_UNIT * sigma_milli))
    first = -per_deviation * _TAIL
    sums, weights = [0] * len(orders), 0
    for k in range(first, last + 1):
        weight = exp_up(last**2 - k**2, 2 * per_deviation**2, _POINT)
        weights += weight
        # Beyond the ends each term is less than half of the one before: all of them together weigh less than that one.
        counted = 2 * weight if k in (first, last) else weight
        powers = _powers_up(_ratio_up(q_numerator, q_denominator, sigma_milli, k, per_deviation), orders)
        sums = [total + counted * power for total, power in zip(sums, powers, strict=True)]
    # The rule, the scale of the weights, and a weight too large by 2^-95 where it divides.
    slack = weights - (weights >> 62)
    return [Large(mul_div_ceil(total, 1 << _POINT, slack), -2 * _POINT) for total in sums]


def _binomial_sum_up(order: int, absent: Sequence[Large], present: Sequence[Large]) -> Large:
    binomial, terms, top = 1, [], 0
    for k in range(order + 1):
        (one, low), (other, high) = absent[order - k], present[k]
        term = binomial * one * other
        terms.append((term, low + high))
        top = max(top, low + high + term.bit_length())
        binomial = binomial * (order - k) // (k + 1)
    unit = top - _BITS
    return Large(sum(term << at - unit if at >= unit else -(-term >> unit - at) for term, at in terms), unit)


def _steps(sigma_milli: int) -> int:
    """The least m with 2πam - a²/2 >= 45, so that 2·e^(a²/2)/(e^(2πam) - 1) < 2^-63; at most 10.

    Any a up to πσ will do, and 3σ or 8, which is less, is near the best.
    """
    a = min(3 * sigma_milli, 8 * SIGMA_UNIT)
    return mul_div_ceil(45 * SIGMA_UNIT**2 + a * a // 2 + 1, 100, 628 * a * SIGMA_UNIT)


def _ratio_up(q_numerator: int, q_denominator: int, sigma_milli: int, k: int, per_deviation: int) -> int:
    """L at y = k/m, in units of 2^-96."""
    # y/σ - 1/(2σ²)
    numerator = (2 * k * sigma_milli - per_deviation * SIGMA_UNIT) * SIGMA_UNIT
    denominator = 2 * per_deviation * sigma_milli**2
    if numerator >= 0:
        grown = exp_up(numerator, denominator, _POINT)
    else:
        inverse = exp_up(-numerator, denominator, _POINT)
        grown = mul_div_ceil(1 << _POINT, 1 << _POINT, inverse - (inverse >> (_POINT - 1)) - 1)
    return mul_div_ceil((q_denominator - q_numerator << _POINT) + q_numerator * grown, 1, q_denominator)


def _powers_up(base: int, orders: Sequence[int]) -> list[int]:
    """base^α for each order, in units of 2^-96: by roots and products, every one rounded up."""
    eighths, wholes = [1 << _POINT], [1 << _POINT]
    root = base
    for _ in range(3):
        root = root_up(root << _POINT)
    for _ in range(7):
        eighths.append(-(-eighths[-1] * root >> _POINT))
    for _ in range(orders[-1] // ORDER_UNIT):
        wholes.append(-(-wholes[-1] * base >> _POINT))
    return [-(-wholes[order // ORDER_UNIT] * eighths[order % ORDER_UNIT // _EIGHTH] >> _POINT) for order in orders]
