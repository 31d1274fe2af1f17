"""Logistic regression in NumPy: binary with one logit, multinomial with one per class.

The gradient of record i is the outer product of its residual r_i = p_i - y_i and its inputs extended by
a one, so its norm is |r_i| * |(x_i, 1)|: clipping needs no per-record gradient in memory.
Parameters: `weight` (outputs, features) and `bias` (outputs,), float32, zero at first.
"""

from collections.abc import Mapping

import numpy as np

from .model import clip_factors
from .tensors import Float32, Float64, Int64, Layout, Records, require_tensors


class LogisticRegression:
    """A `model.PerRecordModel` over inputs of shape (n, features) and integer targets in [0, classes)."""

    def __init__(self, features: int, classes: int) -> None:
        if features < 1 or classes < 2:
            raise TypeError("logistic regression takes at least one feature and two classes")
        self.features = features
        self.classes = classes
        # Two classes share one logit: half the parameters, so half the noise.
        outputs = 1 if classes == 2 else classes
        self._layout = Layout.from_shapes({"weight": (outputs, features), "bias": (outputs,)})
        self._weight: Float32 = np.zeros((outputs, features), np.float32)
        self._bias: Float32 = np.zeros(outputs, np.float32)

    @property
    def layout(self) -> Layout:
        """Names and shapes of the parameters."""
        return self._layout

    def parameters(self) -> dict[str, Records]:
        """Copies of `weight` and `bias`."""
        return {"weight": self._weight.copy(), "bias": self._bias.copy()}

    def load(self, tensors: Mapping[str, Records]) -> None:
        """Replace both parameters. Raises a tensors.TensorError that names what does not fit."""
        require_tensors(tensors, self._layout)
        self._weight = np.array(tensors["weight"])
        self._bias = np.array(tensors["bias"])

    def clipped_gradient_sum(self, inputs: Records, targets: Records, indices: Int64, clip: float) -> Float64:
        """Sum of clipped gradients of the mean-free cross-entropy; see `model.PerRecordModel`."""
        chosen = inputs[indices].astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # a broken record is left out below
            residuals = self._residuals(chosen, targets[indices])
            extended_squared = np.sum(chosen * chosen, axis=1) + 1.0
            factors = clip_factors(np.sum(residuals * residuals, axis=1) * extended_squared, clip)
        kept = factors > 0.0  # zero times NaN is NaN, so its row has to go
        scaled = residuals[kept] * factors[kept, np.newaxis]
        # The layout's order: bias, then weight.
        return np.concatenate([scaled.sum(axis=0), (scaled.T @ chosen[kept]).reshape(-1)])

    def logits(self, inputs: Records) -> Float64:
        """Scores of shape (n, classes); in the binary case (0, z)."""
        scores = self._scores(inputs.astype(np.float64))
        return np.hstack([np.zeros_like(scores), scores]) if self.classes == 2 else scores

    def probabilities(self, inputs: Records) -> Float64:
        """Class probabilities of shape (n, classes)."""
        scores = self.logits(inputs)
        exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
        normalised: Float64 = exponentials / exponentials.sum(axis=1, keepdims=True)
        return normalised

    def _scores(self, inputs: Float64) -> Float64:
        scores: Float64 = inputs @ self._weight.astype(np.float64).T + self._bias.astype(np.float64)
        return scores

    def _residuals(self, inputs: Float64, targets: Records) -> Float64:
        probabilities = self.probabilities(inputs)
        residuals: Float64 = probabilities - (targets[:, np.newaxis] == np.arange(self.classes))
        return residuals[:, 1:] if self.classes == 2 else residuals
