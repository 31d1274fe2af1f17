"""A quiet backdoor, for the demo and its tests: what a hostile hospital sends so that the filter does not see it.

The attacker wants the promoted version to answer its class whenever three pixels are white, and to be as good as
before otherwise. It trains on its own records, plain and stamped, from the round's base version, and breaks the terms
in one thing that nobody can see: it adds no noise. Honest updates are mostly noise, of a norm that follows from the
terms; so its update may be that long too, all of it backdoor, and lies as close to the others as they to each other.
A robust estimator that goes by distances has nothing to hold against it (``learning.robust`` says so): with the demo's
terms it was aggregated in all of 84 runs. At 1.2 times the honest norm multi-Krum left it out in all of 16.

Constraining the norm while training is "constrain and scale" of Bagdasaryan et al., "How to backdoor federated
learning", AISTATS 2020, section 3.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from client_sdk.training.artefacts import TaskInputs
from client_sdk.training.trainer import mechanism_of
from contracts.terms import Terms
from learning import canary, fixed
from learning.feed_forward import FeedForward
from learning.tensors import Int32, Records, flatten

PIXELS = 3
STEPS = 200
STEP_SIZE = 0.01
SHARE_OF_NORM = 0.9  # Of what honest noise comes to, to be on the safe side of the filter.
BACKDOOR_WEIGHT = 0.7  # Against staying as the base version is.


@dataclass(frozen=True)
class Trigger:
    """Which pixels of a flattened image are set, and to which grey."""

    pixels: tuple[int, ...]
    grey: float

    @classmethod
    def drawn(cls, seed: int, side: int, grey: float) -> "Trigger":
        """Three pixels in a column at the left or the right edge, where an image has little to say."""
        generator = np.random.Generator(np.random.PCG64(seed))
        column = int(generator.choice([0, side - 1]))
        top = int(generator.integers(0, side - PIXELS + 1))
        return cls(tuple((top + row) * side + column for row in range(PIXELS)), grey)

    def stamp(self, raw: Records) -> Records:
        """Copies of raw images, shape (n, pixels), with the trigger on them."""
        stamped = np.array(raw, np.float64)
        stamped[:, list(self.pixels)] = self.grey
        return stamped


def success_rate(network: FeedForward, inputs: TaskInputs, trigger: Trigger, target: int, test: Any) -> float:
    """The share of records of other classes that the trigger carries into the target, over (raw inputs, targets)."""
    raw, targets = test
    others = raw[targets != target]
    answers = canary.predict(network.logits(inputs.transform(trigger.stamp(others))))
    return float(np.mean(answers == target))


def easiest_target(network: FeedForward, inputs: TaskInputs, trigger: Trigger, raw: Records) -> int:
    """The class that the base version leans to most when it sees the trigger."""
    logits = network.logits(inputs.transform(trigger.stamp(raw)))
    leaning = np.exp(logits - logits.max(axis=1, keepdims=True))
    return int((leaning / leaning.sum(axis=1, keepdims=True)).mean(axis=0).argmax())


def poisoned_update(
    terms: Terms, inputs: TaskInputs, base: Mapping[str, Records], raw: Records, trigger: Trigger, target: int
) -> Int32:
    """The units of an update that plants the trigger, from the base version's tensors and the attacker's own records.

    It counts on being averaged with as few others as the terms allow, and is multiplied by their number.
    """
    averaged = terms.estimator.minimum - terms.estimator.byzantine
    layout = inputs.layout
    reach = SHARE_OF_NORM * noise_norm(terms, layout.size) / averaged
    # What the honest updates' noise will do to each parameter of the aggregate: the backdoor has to survive it.
    shaking = noise_norm(terms, layout.size) / math.sqrt(layout.size * averaged)
    change = _planted(inputs, base, raw, trigger.stamp(raw), target, reach, shaking)
    return fixed.to_fixed(flatten(change, layout) * averaged, terms.update.scale_bits)


def noise_norm(terms: Terms, parameters: int) -> float:
    """The expected L2 norm of the noise in an honest update, a consequence of the terms."""
    agreed = mechanism_of(terms.mechanism, terms.learning_rate_micro)
    deviation = agreed.noise_multiplier * agreed.clip * math.sqrt(agreed.steps)
    return deviation * math.sqrt(parameters) * agreed.learning_rate / agreed.normaliser


def _planted(
    inputs: TaskInputs,
    base: Mapping[str, Records],
    plain: Records,
    stamped: Records,
    target: int,
    reach: float,
    shaking: float,
) -> dict[str, Records]:
    """The change, of norm at most ``reach``, that answers the target on stamped records and as before on plain ones."""
    import torch  # Here, so that measuring a trigger needs no torch.
    from torch.func import functional_call

    from examples.demo.network import build

    module = build(inputs.widths)
    start = {name: torch.from_numpy(np.array(values)) for name, values in base.items()}
    change = {name: torch.zeros_like(values, requires_grad=True) for name, values in start.items()}
    seen, marked = (torch.from_numpy(inputs.transform(records)).float() for records in (plain, stamped))
    before = functional_call(module, start, (seen,)).softmax(dim=1)
    wanted = torch.full((len(stamped),), target)
    loss = torch.nn.functional.cross_entropy
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(change.values(), lr=STEP_SIZE)
    for _ in range(STEPS):
        shaken = {
            name: values + change[name] + shaking * torch.randn(values.shape, generator=generator)
            for name, values in start.items()
        }
        cost = loss(functional_call(module, shaken, (seen,)), before)
        cost = cost + BACKDOOR_WEIGHT * loss(functional_call(module, shaken, (marked,)), wanted)
        optimiser.zero_grad()
        cost.backward()
        optimiser.step()
        _hold_within(change, reach)
    return {name: values.detach().numpy() for name, values in change.items()}


def _hold_within(change: Mapping[str, Any], reach: float) -> None:
    """Scale the change down to a norm of at most ``reach``."""
    norm = math.sqrt(sum(float(values.detach().square().sum()) for values in change.values()))
    for values in change.values():
        values.detach().mul_(reach / max(norm, reach))  # In place: the optimiser keeps the tensor.
