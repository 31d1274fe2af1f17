"""The differentially private step: the subsampled Gaussian mechanism over per-record gradients.

    sample   each record with probability q, secretly and independently (Poisson)
    clip     each sampled record's gradient to an L2 norm of C
    release  (sum of the clipped gradients + N(0, (sigma C)**2) per coordinate) / L

This is DP-SGD (Abadi et al., "Deep learning with differential privacy", CCS 2016, algorithm 1) with one
difference: L is a constant of the terms, never the number of records drawn or held. A local count would
leak the organisation's size and make the smallest one look malicious. For the same reason a step without
any record still releases noise.

The neighbouring relation is add-or-remove one record, so the sensitivity of the sum is C and one step is
a Poisson-subsampled Gaussian of noise multiplier sigma. What that costs is computed by whoever keeps the
account; this module only makes the noise real.
"""

import numpy as np

from .entropy import EntropySource
from .mechanism import Mechanism
from .model import PerRecordModel
from .tensors import Float64, Records


def private_gradient(
    model: PerRecordModel, inputs: Records, targets: Records, mechanism: Mechanism, entropy: EntropySource
) -> Float64:
    """One release: the noised, normalised gradient at the model's parameters; shape (layout.size,).

    Draws `len(inputs)` sampling words and one normal per parameter from `entropy`, whatever the data.
    """
    sampled = np.flatnonzero(entropy.poisson_mask(len(inputs), mechanism.rate))
    total = model.clipped_gradient_sum(inputs, targets, sampled, mechanism.clip)
    noise = entropy.normal(total.size) * (mechanism.noise_multiplier * mechanism.clip)
    return (total + noise) / mechanism.normaliser
