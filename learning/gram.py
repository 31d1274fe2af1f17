"""Exact squared distances between int32 vectors, at the speed of a floating-point matrix product.

NumPy multiplies integer matrices without BLAS, some thirty times slower. Instead each row is split into
two 16-bit limbs, x = high * 2**16 + low, and the limbs are multiplied as float64. Every product is an
integer below 2**32 and a block has at most 2**20 columns, so every partial sum is an integer below 2**53,
which float64 holds exactly: the order in which BLAS adds, its threads and its fused multiply-adds cannot
change the result. Blocks are then added in int64, and limbs put together in Python's integers.
"""

import numpy as np
from numpy.typing import NDArray

from .tensors import MAX_PARAMETERS, Float64, Int32, Int64

LIMB_BITS = 16
_BLOCK_COLUMNS = 2**20
_BLOCK_ITEMS = 2**22  # 32 MiB per limb as float64
# Within a block: exact in float64. Over all blocks: inside int64.
assert _BLOCK_COLUMNS * 2 ** (2 * LIMB_BITS) <= 2**53
assert MAX_PARAMETERS * 2 ** (2 * LIMB_BITS) <= 2**62


def squared_distances(matrix: Int32) -> list[list[int]]:
    """The exact squared L2 distance of every pair of rows of an (n, d) matrix, d <= MAX_PARAMETERS."""
    gram = gram_matrix(matrix)
    rows = range(len(gram))
    return [[gram[i][i] - 2 * gram[i][j] + gram[j][j] for j in rows] for i in rows]


def gram_matrix(matrix: Int32) -> list[list[int]]:
    """The exact inner product of every pair of rows of an (n, d) matrix, d <= MAX_PARAMETERS."""
    count, dimension = matrix.shape
    if dimension > MAX_PARAMETERS:
        raise TypeError(f"{dimension} columns exceed {MAX_PARAMETERS}")
    high_high, high_low, low_low = (np.zeros((count, count), np.int64) for _ in range(3))
    step = max(1, min(_BLOCK_COLUMNS, _BLOCK_ITEMS // max(1, count)))
    for start in range(0, dimension, step):
        high, low = _limbs(matrix[:, start : start + step])
        high_high += _exact(high @ high.T)
        high_low += _exact(high @ low.T)
        low_low += _exact(low @ low.T)
    return [
        [
            (int(high_high[i, j]) << (2 * LIMB_BITS))
            + ((int(high_low[i, j]) + int(high_low[j, i])) << LIMB_BITS)
            + int(low_low[i, j])
            for j in range(count)
        ]
        for i in range(count)
    ]


def _limbs(block: Int32) -> tuple[Float64, Float64]:
    """The signed upper limb, in [-2**15, 2**15), and the unsigned lower one, in [0, 2**16)."""
    return (block >> LIMB_BITS).astype(np.float64), (block & (2**LIMB_BITS - 1)).astype(np.float64)


def _exact(product: NDArray[np.float64]) -> Int64:
    return product.astype(np.int64)
