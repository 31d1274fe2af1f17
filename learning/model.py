"""What a model must offer to be scored, and to be trained, under the ledger.

The interface is narrow on purpose. Training never sees a gradient that is not already clipped per record
and summed, so no model, ours or an adapter, can leak one record's gradient by mistake.
`logistic` implements it in NumPy, `torch_model` for any torch module.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from .tensors import Float64, Int64, Layout, Records

CLIP_GUARD = 1.0 - 2.0**-20
"""Clipping aims this much below the bound, so that rounding in float32 cannot carry a record over it."""


class Scorer(Protocol):
    """Whatever gives class scores: all that voters need of a version."""

    def logits(self, inputs: Records) -> Float64:
        """Scores of shape (records, classes), computed in float64."""
        ...


class PerRecordModel(Scorer, Protocol):
    """A model whose loss is a sum over records, each of which gives its own gradient."""

    @property
    def layout(self) -> Layout:
        """Names and shapes of the trained parameters."""
        ...

    def parameters(self) -> dict[str, Records]:
        """Copies of the named float32 parameters."""
        ...

    def load(self, tensors: Mapping[str, Records]) -> None:
        """Replace all parameters. Raises a tensors.TensorError that names what does not fit."""
        ...

    def clipped_gradient_sum(self, inputs: Records, targets: Records, indices: Int64, clip: float) -> Float64:
        """Sum of the gradients of the chosen records, each scaled down to an L2 norm of at most `clip`.

        `indices` are positions in `inputs` and `targets`; the result has shape (layout.size,), all zero
        when there are none. A record whose gradient is not finite contributes zero: one broken record
        must neither stop a step nor be visible in it.
        """
        ...


def clip_factors(squared_norms: Float64, clip: float) -> Float64:
    """What to scale gradients by, from their squared L2 norms: min(1, clip / norm); 0 when not finite."""
    with np.errstate(invalid="ignore", divide="ignore"):
        factors = np.minimum(1.0, clip * CLIP_GUARD / np.sqrt(squared_norms))
    return np.where(np.isfinite(squared_norms), factors, 0.0)
