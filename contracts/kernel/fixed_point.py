"""Integer fixed point: every rounding has a name, and every name has a direction that is proved beside it.

A real number x is held as an integer near x·2^bits. ``_up`` results are never below the real value and
``_down`` results never above it, so a caller who needs a safe bound picks a direction instead of trusting a
last digit.

The proofs use one device. All intermediate quantities are non-negative and every operation on them is
increasing (sums, products, shifts, division by a positive constant). Rounding each operation upwards
therefore bounds the real result from above, and rounding each downwards bounds it from below; what a
truncated series leaves out is positive, so it is dropped when rounding down and bounded by whole units in
the last place (ulp) when rounding up.

Left to others: which quantity needs which direction (``renyi``, the contracts), and the bounds of their
fields.
"""

from typing import Final

BITS_MAX: Final = 160  # Finest resolution of a result: 2^-160.
EXPONENT_MAX: Final = 2**20  # Largest x that exp_up takes; e^x already has 1.5 million bits.
MILLISECONDS_MAX: Final = 2**63  # Bound of a half-life and of an elapsed time.
DECAYING_MAX: Final = 2**63  # Bound of the magnitude of a decaying value.

_LN2_BITS: Final = 256
# floor(ln 2 · 2^256); the tests compare it with an independent computation.
_LN2: Final = 0xB17217F7D1CF79ABC9E3B39803F2F6AF40F343267298B62D8A0D175B8BAAFA2B
_GUARD_BITS: Final = 64  # Worked beyond the result's resolution, for all inner roundings together.
_HALVINGS: Final = 8  # e^r = (e^(r/256))^256: a short series, then eight squarings.
_DECAY_BITS: Final = 128  # Resolution of the fractional step of a decay.


def check_range(field: str, value: int, low: int, high: int) -> None:
    """Raise ValueError naming the field and its bounds unless low <= value <= high."""
    if not low <= value <= high:
        raise ValueError(f"{field} is {value}, allowed is {low} to {high}")


def mul_div_floor(value: int, numerator: int, denominator: int) -> int:
    """value·numerator/denominator rounded to minus infinity. Raises ValueError unless denominator > 0."""
    if denominator <= 0:
        raise ValueError(f"denominator is {denominator}, it must be positive")
    return value * numerator // denominator


def mul_div_ceil(value: int, numerator: int, denominator: int) -> int:
    """value·numerator/denominator rounded to plus infinity. Raises ValueError unless denominator > 0."""
    return -mul_div_floor(-value, numerator, denominator)


def exp_up(numerator: int, denominator: int, bits: int) -> int:
    """An integer E with e^x·2^bits <= E < e^x·2^bits·(1 + 2^(1-bits)), for x = numerator/denominator >= 0.

    Exact for x = 0. Proof of the direction: let L <= ln 2 be the constant and k a whole number with k·L <=
    x. Then r = x - k·L >= x - k·ln 2, so 2^k·e^r >= e^x, and r and e^r are only ever rounded up. The
    excess: r is too large by at most (k+2)·2^-w with w = bits + 64 and k < 2^21, the inner exponential by
    less than 2^13 ulp of 2^-w, and the last rounding, of a mantissa >= 2^bits, by less than one unit:
    together less than 2 in 2^bits.

    Raises ValueError when bits is outside 1..160, denominator < 1, or x is outside 0..2^20.
    """
    check_range("bits", bits, 1, BITS_MAX)
    if denominator < 1:
        raise ValueError(f"denominator is {denominator}, it must be positive")
    check_range("numerator", numerator, 0, EXPONENT_MAX * denominator)
    if numerator == 0:
        return 1 << bits
    work = bits + _GUARD_BITS
    ln2 = _LN2 >> (_LN2_BITS - work)
    x = mul_div_ceil(numerator, 1 << work, denominator)
    doublings = x // (ln2 + 1)
    mantissa = _exp(x - doublings * ln2, work, up=True)
    return _shift_up(mantissa, _GUARD_BITS) << doublings


def ln_up(numerator: int, denominator: int, bits: int) -> int:
    """An integer L with ln(x)·2^bits <= L < ln(x)·2^bits + 2, for x = numerator/denominator > 0.

    Proof of the direction: x = m·2^e with 1 <= m < 2, so ln x = e·ln 2 + ln m; ln 2 is taken too large when
    e > 0 and too small when e < 0, ln m by a series rounded up, and the last shift up. For |e| < 2^32 all
    errors but that of the last shift stay below one unit together. Raises ValueError as ``ln_down``.
    """
    return _shift_up(_ln(numerator, denominator, bits, up=True), _GUARD_BITS)


def ln_down(numerator: int, denominator: int, bits: int) -> int:
    """An integer L with ln(x)·2^bits - 2 < L <= ln(x)·2^bits, for x = numerator/denominator > 0.

    The mirror image of ``ln_up``. Raises ValueError when bits is outside 1..160, or either part of x is
    below 1.
    """
    return _ln(numerator, denominator, bits, up=False) >> _GUARD_BITS


def root_up(value: int) -> int:
    """The least integer whose square is at least value. Raises ValueError unless value > 0.

    Newton's method from above goes down until it stands at the floor of the root.
    """
    if value <= 0:
        raise ValueError(f"value is {value}, it must be positive")
    root = 1 << (value.bit_length() + 1) // 2
    while (lower := (root + value // root) // 2) < root:
        root = lower
    return root if root * root == value else root + 1


def half_life_decay(value: int, elapsed_ms: int, half_life_ms: int) -> int:
    """value·2^(-elapsed/half_life), rounded towards zero: halved once per half-life, smoothly in between.

    With n whole half-lives and a remainder, the result is floor(|value|·f·2^-128·2^-n) with the sign of the
    value, where f = floor(2^128·2^(-remainder/half_life)) up to an inner error below 2^-40.

    - Never too large: f is only ever rounded down, and so is the result.
    - Exact to a bound: |value| < 2^63 times the error of f, under 2 units of 2^-128, is below 2^-64, so the
      result is the floor of the real value unless that lies within 2^-64 above an integer, when it may be
      one less. A whole number of half-lives is exact.
    - Monotone in the value: f does not depend on it, and the floor of an increasing function is increasing.
    - Monotone in time: within a half-life f falls per millisecond by at least 2^128·ln(2)/2/half_life >
      2^63 of its units, far above its error; and its least value is at least 2^127, where the next
      half-life begins.

    Decaying twice rounds twice, so keep the original value and its time where the difference matters.
    Raises ValueError unless |value| < 2^63, 0 <= elapsed_ms <= 2^63 and 1 <= half_life_ms <= 2^63.
    """
    check_range("value", value, 1 - DECAYING_MAX, DECAYING_MAX - 1)
    check_range("elapsed_ms", elapsed_ms, 0, MILLISECONDS_MAX)
    check_range("half_life_ms", half_life_ms, 1, MILLISECONDS_MAX)
    halvings, remainder = divmod(elapsed_ms, half_life_ms)
    kept = (abs(value) * _fraction_kept(remainder, half_life_ms)) >> (_DECAY_BITS + halvings)
    return kept if value >= 0 else -kept


def _fraction_kept(remainder: int, half_life: int) -> int:
    """2^(-remainder/half_life) in units of 2^-128, rounded down; remainder < half_life."""
    if remainder == 0:
        return 1 << _DECAY_BITS
    work = _DECAY_BITS + _GUARD_BITS
    # 2^-t = e^((1-t)·ln 2) / 2, which needs no division by a rounded number.
    exponent = mul_div_floor(_LN2 >> (_LN2_BITS - work), half_life - remainder, half_life)
    return _exp(exponent, work, up=False) >> (_GUARD_BITS + 1)


def _shift_up(value: int, bits: int) -> int:
    """value·2^-bits, rounded towards plus infinity."""
    return -(-value >> bits)


def _exp(exponent: int, work: int, *, up: bool) -> int:
    """A bound of e^r for r = exponent·2^-work in 0..1, in units of 2^-work; off by less than 2^13 units.

    Taylor's series at r/256, then eight squarings. Going up, the series stops at a term of at most one
    unit; the terms after it are each less than 1/256 of the one before, so one more unit covers them all.
    """
    carry = (1 << work) - 1 if up else 0
    step = _shift_up(exponent, _HALVINGS) if up else exponent >> _HALVINGS
    total = term = 1 << work
    order = 0
    while term > 1:
        order += 1
        product = (term * step + carry) >> work
        term = (product + order - 1) // order if up else product // order
        total += term
    if up:
        total += 1
    for _ in range(_HALVINGS):
        total = (total * total + carry) >> work
    return total


def _ln(numerator: int, denominator: int, bits: int, *, up: bool) -> int:
    """A bound of ln(numerator/denominator) in units of 2^-(bits + 64)."""
    check_range("bits", bits, 1, BITS_MAX)
    if numerator < 1 or denominator < 1:
        raise ValueError(f"the logarithm needs two positive integers, got {numerator} and {denominator}")
    work = bits + _GUARD_BITS
    exponent = numerator.bit_length() - denominator.bit_length()
    if numerator << max(0, -exponent) < denominator << max(0, exponent):
        exponent -= 1
    scaled = numerator << max(0, -exponent)
    unit = denominator << max(0, exponent)  # unit <= scaled < 2·unit
    ln2 = _LN2 >> (_LN2_BITS - work)
    if up == (exponent > 0):
        ln2 += 1
    # ln m = 2·artanh((m-1)/(m+1)), and (m-1)/(m+1) = (scaled-unit)/(scaled+unit) < 1/3.
    rounded = mul_div_ceil if up else mul_div_floor
    return exponent * ln2 + 2 * _artanh(rounded(scaled - unit, 1 << work, scaled + unit), work, up=up)


def _artanh(z: int, work: int, *, up: bool) -> int:
    """A bound of artanh(z·2^-work) in units of 2^-work, for 0 <= z·2^-work <= 1/3: z + z^3/3 + z^5/5 + ...

    Going up, the sum stops at a power of at most one unit; that term and all after it are below 9/8 of a
    unit.
    """
    if z == 0:
        return 0
    carry = (1 << work) - 1 if up else 0
    square = (z * z + carry) >> work
    total, power, odd = 0, z, 1
    while power > 1:
        total += (power + odd - 1) // odd if up else power // odd
        power = (power * square + carry) >> work
        odd += 2
    return total + 2 if up else total
