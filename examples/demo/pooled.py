"""The upper bound the demo prints beside its accuracies: the same model trained on all hospitals' records together.

No noise, no clipping worth the name, no ledger, no privacy: it is what the members could have if they were allowed to
pool. Computed by the harness, never by a participant; a network by scikit-learn, which the harness has loaded anyway.
"""

import math
import warnings

import numpy as np

from client_sdk.training.trainer import mechanism_of
from contracts.terms import Terms
from examples.demo.data import Deal
from learning import canary
from learning.entropy import ReproducibleEntropy
from learning.local_training import local_update
from learning.logistic import LogisticRegression
from learning.mechanism import Mechanism, SamplingRate
from learning.tensors import Float64, Int64, flatten, unflatten

CLIP = 1e6  # Far above any gradient: pooled training clips nothing.
NETWORK_STEPS, NETWORK_BATCH = 2000, 128


def pooled_accuracy(dealt: Deal, terms: Terms, rounds: int) -> float:
    """Held-out accuracy of ordinary training on the pooled records."""
    inputs = dealt.transform.apply(np.concatenate([records for records, _ in dealt.shards]))
    targets = np.concatenate([labels for _, labels in dealt.shards])
    records, labels = dealt.test
    held_out = dealt.transform.apply(records)
    if len(dealt.widths) > 2:
        return _network_accuracy(dealt.widths[1:-1], inputs, targets, held_out, labels)
    score = canary.score(_regression(dealt.widths, inputs, targets, terms, rounds), held_out, labels)
    return score.correct / score.total


def _regression(
    widths: tuple[int, ...], inputs: Float64, targets: Int64, terms: Terms, rounds: int
) -> LogisticRegression:
    """Full-batch gradient descent, with as many steps as the run had."""
    agreed = mechanism_of(terms.mechanism, terms.learning_rate_micro)
    mechanism = Mechanism(
        clip=CLIP,
        noise_multiplier=0.0,
        rate=SamplingRate(1, 1),
        steps=agreed.steps * max(rounds, 1),
        normaliser=float(len(targets)),
        learning_rate=agreed.learning_rate,
    )
    model = LogisticRegression(widths[0], widths[-1])
    base = flatten(model.parameters(), model.layout)
    update = local_update(model, inputs, targets, mechanism, ReproducibleEntropy(0))
    trained = base + update.units.astype(np.float32) / 2.0**16
    model.load(unflatten(trained.astype(np.float32), model.layout))
    return model


def _network_accuracy(
    hidden: tuple[int, ...], inputs: Float64, targets: Int64, held_out: Float64, labels: Int64
) -> float:
    """Adam on small batches, as anybody would train it who had the records."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    epochs = math.ceil(NETWORK_STEPS * NETWORK_BATCH / len(targets))
    network = MLPClassifier(hidden, batch_size=NETWORK_BATCH, max_iter=epochs, alpha=0.0, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # It stops after a stated number of steps.
        network.fit(inputs, targets)
    return float(network.score(held_out, labels))
