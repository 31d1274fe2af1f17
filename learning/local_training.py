"""One organisation's part of a round: private steps from the base version, returned as an update.

The update is the difference between the trained and the base parameters, which aggregates better than
parameters do (robust rules compare what changed). It is a function of noised releases only, so rounding
it to fixed point, sending it and keeping it cost no further privacy.
"""

from dataclasses import dataclass

import numpy as np

from . import fixed
from .entropy import EntropySource
from .errors import LearningError
from .mechanism import Mechanism
from .model import PerRecordModel
from .privacy import private_gradient
from .tensors import Int32, Records, flatten, unflatten


class InvalidRecords(LearningError):
    """Inputs and targets that do not belong together, or none at all."""

    reason = "invalid_records"


@dataclass(frozen=True)
class LocalUpdate:
    """`units`: the update, int32 fixed point, shape (layout.size,). `private`: whether its noise was real.

    `private` is False for a reproducible entropy source or a zero noise multiplier.
    """

    units: Int32
    private: bool


def local_update(
    model: PerRecordModel,
    inputs: Records,
    targets: Records,
    mechanism: Mechanism,
    entropy: EntropySource,
    scale_bits: int = fixed.SCALE_BITS,
) -> LocalUpdate:
    """Run the mechanism's steps of gradient descent from the model's parameters.

    `inputs` and `targets` are parallel along their first axis. The model ends with the base parameters
    again: what was trained locally exists only as the update. Raises InvalidRecords, or fixed.Saturated
    when training diverged beyond the fixed-point range.
    """
    if len(inputs) == 0 or len(inputs) != len(targets):
        raise InvalidRecords(
            f"{len(inputs)} inputs and {len(targets)} targets", inputs=len(inputs), targets=len(targets)
        )
    base_tensors = model.parameters()
    base = flatten(base_tensors, model.layout).astype(np.float64)
    change = np.zeros_like(base)
    try:
        for _ in range(mechanism.steps):
            model.load(unflatten((base + change).astype(np.float32), model.layout))
            gradient = private_gradient(model, inputs, targets, mechanism, entropy)
            change -= mechanism.learning_rate * gradient
    finally:
        model.load(base_tensors)
    private = entropy.private and mechanism.noise_multiplier > 0
    return LocalUpdate(fixed.to_fixed(change, scale_bits), private)
