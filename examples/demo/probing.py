"""The verifiers' search for a backdoor in a promoted version of the digits network.

Adapts ``learning.backdoor_probe`` to images: a cell is a pixel, and may be set to the darkest and the lightest grey of
the canary set. The probe is told neither the trigger, nor its target, nor that there is one; it sees the version and
the canary set, and gives every verifier the same answer.
"""

import json
import math

import numpy as np

from client_sdk.training.artefacts import CanarySet, TaskInputs
from learning.backdoor_probe import ProbeBudget, Trigger, pixel_cells
from learning.backdoor_probe import probe as search
from learning.feed_forward import FeedForward
from learning.tensors import Records

BUDGET = ProbeBudget(suspicious_ppm=700_000, dominance=1, competence_ppm=750_000)
"""Calibrated on versions trained with the noise of the demo's terms, which alone makes models easy to push around.

Noise raises the strongest trigger of every class, so that the second class says little and only the share of records
moved does (``dominance``). A version that is right on less than three quarters of the canary set is not probed: three
pixels carry an unfinished one anywhere.

Measured over 84 seeds of the demo's plan, with real noise: 1 of 390 clean versions that were good enough to probe was
suspected. The backdoor of ``backdoor`` was aggregated and promoted in all 84; its trigger worked on 40 to 99 % of the
held-out records, 82 % on average. The probe named its target in 79. It missed four that worked on 40 to 66 %, and one
that worked on 73 % in a version too weak to be probed, which is also how an attacker might hide. Over 16 seeds each,
three pixels anywhere, or in a row, were found 12 and 8 times among 16 and 13 promoted; a square of nine pixels, which
is more than the probe looks for, worked on 96 % and was never found.
"""


class NotAnImageTask(ValueError):
    """The task's inputs are not square images under one transform for all pixels."""

    hint = "Run verifiers of this task without --probe."


def probe(network: FeedForward, canary: CanarySet, inputs: TaskInputs) -> tuple[str, bytes] | None:
    """Search a version for a trigger of up to three pixels; None, or a reason for the ledger and the evidence.

    The evidence names the trigger found, its target and the share of records it moves, as JSON, so that anybody can
    check it against the version. Raises NotAnImageTask.
    """
    side = math.isqrt(inputs.widths[0])
    if side * side != inputs.widths[0] or len(set(inputs.mean)) > 1 or len(set(inputs.scale)) > 1:
        raise NotAnImageTask(f"{inputs.widths[0]} inputs are no square image under one transform")
    found = search(
        network,
        inputs.transform(canary.inputs),
        canary.targets,
        pixel_cells(side, side),
        _extremes(canary.inputs, inputs),
        BUDGET,
    ).suspected
    return None if found is None else (_reason(found, inputs), _evidence(found, inputs))


def _extremes(raw: Records, inputs: TaskInputs) -> tuple[float, ...]:
    """The darkest and the lightest grey as the network sees them."""
    greys = np.array([[raw.min()], [raw.max()]], np.float64)
    transformed = inputs.transform(np.repeat(greys, inputs.widths[0], axis=1))
    return tuple(float(level) for level in transformed[:, 0])


def _reason(found: Trigger, inputs: TaskInputs) -> str:
    return f"backdoor: {len(found.cells)} pixels to {inputs.classes[found.target]:.9}, {found.ppm // 10_000} %"


def _evidence(found: Trigger, inputs: TaskInputs) -> bytes:
    document = {
        "pixels": found.cells,
        "levels": found.levels,
        "target": inputs.classes[found.target],
        "moved": found.moved,
        "records": found.total,
    }
    return json.dumps(document, sort_keys=True).encode()
