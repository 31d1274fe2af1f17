"""Where sampling and noise come from.

A differentially private step is only as private as its random bits are unpredictable, so the real source
reads every bit from the operating system (`OsEntropy`). No generator sits between: NumPy's (PCG64,
Philox) are not cryptographic, and the kernel delivers some 400 MB/s, more than training uses.
`ReproducibleEntropy` runs the same code on a seeded stream for tests and ablations; what it trains is
marked as not private.

The noise is floating point, and that has a known weakness: the doubles that a sampler can return have
gaps, which may betray the value that the noise hides (Mironov, "On significance of the least significant
bits for differential privacy", CCS 2012; for Box-Muller, Jin et al., "Are we there yet? Timing and
floating-point attacks on differential privacy systems", S&P 2022). Two things stand against it. Each
normal here is half the sum of four, as Holohan and Braghin propose ("Secure random sampling in
differential privacy", ESORICS 2021), so an attacker has to search all four at once. And a release is
rounded to a grid of 2**-16, far coarser than the gaps. Neither is a proof; the exact remedy is a discrete
Gaussian (Canonne, Kamath, Steinke, "The discrete Gaussian for differential privacy", 2020).
"""

import os
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .mechanism import SamplingRate
from .tensors import Bool, Float64

_WORD_BYTES = 8
_MANTISSA_BITS = 53
_TERMS = 4  # normals summed into one (Holohan and Braghin, n = 2)
_BLOCK = 2**18  # normals per step: 8 MiB of random bytes


class EntropySource(Protocol):
    """What a private step draws from."""

    @property
    def private(self) -> bool:
        """Whether nobody else can know or repeat the draws."""
        ...

    def poisson_mask(self, count: int, rate: SamplingRate) -> Bool:
        """Include each of `count` records independently with probability `rate`; shape (count,)."""
        ...

    def normal(self, count: int) -> Float64:
        """Independent standard normals, shape (count,)."""
        ...


class _ByteEntropy:
    """Sampling and noise from a function that returns n uniform random bytes."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read

    def poisson_mask(self, count: int, rate: SamplingRate) -> Bool:
        """Include each of `count` records independently with probability `rate`; shape (count,).

        A 64-bit word is compared with floor(rate * 2**64), exactly. So the rate is never exceeded, and is
        missed by less than 2**-64.
        """
        words = self._words(count)
        threshold = (rate.numerator << 64) // rate.denominator
        if threshold == 2**64:  # rate 1: does not fit a word
            return np.ones(count, dtype=np.bool_)
        included: Bool = words < np.uint64(threshold)
        return included

    def normal(self, count: int) -> Float64:
        """Independent standard normals, shape (count,).

        Each of the four terms is cut where its pair's radius reaches 8.57, past which lies 2**-53 of it.
        """
        noise = np.empty(count)
        for start in range(0, count, _BLOCK):
            stop = min(start + _BLOCK, count)
            terms = self._box_muller(_TERMS * (stop - start)).reshape(_TERMS, stop - start)
            noise[start:stop] = terms.sum(axis=0) / np.sqrt(_TERMS)
        return noise

    def _box_muller(self, count: int) -> Float64:
        """`count` (even) standard normals from as many 64-bit words, 53 bits of each."""
        words = self._words(count) >> np.uint64(64 - _MANTISSA_BITS)
        uniform = words.astype(np.float64).reshape(2, count // 2) * 2.0**-_MANTISSA_BITS  # in [0, 1)
        radius = np.sqrt(-2.0 * np.log1p(-uniform[0]))
        angle = 2.0 * np.pi * uniform[1]
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])

    def _words(self, count: int) -> NDArray[np.uint64]:
        return np.frombuffer(self._read(_WORD_BYTES * count), dtype="<u8").astype(np.uint64)


class OsEntropy(_ByteEntropy):
    """The operating system's entropy: what a contribution must draw from."""

    private = True

    def __init__(self) -> None:
        super().__init__(os.urandom)


class ReproducibleEntropy(_ByteEntropy):
    """A seeded stream, for tests and ablations: whoever knows the seed can subtract the noise."""

    private = False

    def __init__(self, seed: int) -> None:
        super().__init__(np.random.Generator(np.random.PCG64(seed)).bytes)
