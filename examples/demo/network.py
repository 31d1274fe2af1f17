"""The demo's neural network, as a data owner writes one in torch."""

from itertools import pairwise

from torch import nn

record_loss = nn.functional.cross_entropy
"""Cross-entropy of one record, which comes as a batch of one: scores (1, classes) and its class (1,)."""


def build(widths: tuple[int, ...]) -> nn.Module:
    """Linear layers with ReLU between them, of the widths that the terms name."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
