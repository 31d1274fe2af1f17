"""Scores of a plain feed-forward network in NumPy, from its declared widths and its tensors alone.

Voters evaluate versions; they should not have to run anybody's model code, nor install torch, to do so. A network
that terms can declare by its widths (inputs, hidden…, classes; ReLU between) is evaluated here. One layer is
logistic regression with the tensors of ``logistic`` (two classes share one logit); more layers have the names and
shapes of ``torch.nn.Sequential(Linear, ReLU, Linear, …)``: ``0.weight``, ``0.bias``, ``2.weight``, ….

Scoring only: training is ``logistic`` or ``torch_model``.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from .errors import LearningError
from .tensors import Float64, Layout, Records, require_tensors

MAX_LAYERS = 16


class InvalidWidths(LearningError):
    """Widths that describe no network: fewer than two, more than MAX_LAYERS + 1, or not positive."""

    reason = "invalid_widths"


class FeedForward:
    """A network by its widths; ``load`` it, then ask for ``logits``."""

    def __init__(self, widths: Sequence[int]) -> None:
        if not 2 <= len(widths) <= MAX_LAYERS + 1 or min(widths) < 1 or widths[-1] < 2:
            raise InvalidWidths(f"{tuple(widths)} are no widths: inputs, hidden layers, at least two classes")
        self.widths = tuple(widths)
        shapes: dict[str, tuple[int, ...]] = {}
        for prefix, fan_in, fan_out in self._layers():
            shapes[f"{prefix}weight"] = (fan_out, fan_in)
            shapes[f"{prefix}bias"] = (fan_out,)
        self._layout = Layout.from_shapes(shapes)
        self._tensors: dict[str, Float64] = {
            spec.name: np.zeros(spec.shape, np.float64) for spec in self._layout.tensors
        }

    @property
    def layout(self) -> Layout:
        """Names and shapes of the tensors."""
        return self._layout

    def load(self, tensors: Mapping[str, Records]) -> None:
        """Take the tensors of a version. Raises a tensors.TensorError that names what does not fit."""
        require_tensors(tensors, self._layout)
        self._tensors = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}

    def logits(self, inputs: Records) -> Float64:
        """Scores of shape (n, classes) for inputs of shape (n, …), flattened per record, in float64."""
        values = inputs.reshape(len(inputs), -1).astype(np.float64)
        layers = self._layers()
        for number, (prefix, _, _) in enumerate(layers):
            values = values @ self._tensors[f"{prefix}weight"].T + self._tensors[f"{prefix}bias"]
            if number < len(layers) - 1:
                values = np.maximum(values, 0.0)
        return np.hstack([np.zeros_like(values), values]) if values.shape[1] == 1 else values

    def _layers(self) -> list[tuple[str, int, int]]:
        """Prefix of the tensors' names, inputs and outputs of each layer."""
        if len(self.widths) == 2:
            features, classes = self.widths
            return [("", features, 1 if classes == 2 else classes)]
        pairs = zip(self.widths[:-1], self.widths[1:], strict=True)
        return [(f"{2 * number}.", fan_in, fan_out) for number, (fan_in, fan_out) in enumerate(pairs)]
