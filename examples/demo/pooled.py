"""The upper bound the demo prints beside its accuracies: the same model trained on all hospitals' records together.

No noise, no clipping worth the name, no ledger, no privacy: it is what the members could have if they were allowed to
pool. Computed by the harness, never by a participant.
"""

import numpy as np

from client_sdk.training.trainer import mechanism_of
from contracts.terms import Terms
from learning import canary
from learning.entropy import ReproducibleEntropy
from learning.local_training import local_update
from learning.logistic import LogisticRegression
from learning.mechanism import Mechanism, SamplingRate
from learning.model import PerRecordModel
from learning.tensors import flatten, unflatten

from .data import Deal

CLIP = 1e6  # Far above any gradient: pooled training clips nothing.


def pooled_accuracy(dealt: Deal, terms: Terms, rounds: int) -> float:
    """Held-out accuracy of full-batch gradient descent on the pooled records, with as many steps as the run had."""
    agreed = mechanism_of(terms.mechanism, terms.learning_rate_micro)
    inputs = dealt.transform.apply(np.concatenate([records for records, _ in dealt.shards]))
    targets = np.concatenate([labels for _, labels in dealt.shards])
    mechanism = Mechanism(
        clip=CLIP,
        noise_multiplier=0.0,
        rate=SamplingRate(1, 1),
        steps=agreed.steps * max(rounds, 1),
        normaliser=float(len(targets)),
        learning_rate=agreed.learning_rate,
    )
    model = _model(dealt.widths)
    base = flatten(model.parameters(), model.layout)
    update = local_update(model, inputs, targets, mechanism, ReproducibleEntropy(0))
    trained = base + update.units.astype(np.float32) / 2.0**16
    model.load(unflatten(trained.astype(np.float32), model.layout))
    records, labels = dealt.test
    score = canary.score(model, dealt.transform.apply(records), labels)
    return score.correct / score.total


def _model(widths: tuple[int, ...]) -> PerRecordModel:
    if len(widths) == 2:
        return LogisticRegression(widths[0], widths[-1])
    from learning.torch_model import TorchModel

    from .network import build, record_loss

    return TorchModel(build(widths), record_loss)
