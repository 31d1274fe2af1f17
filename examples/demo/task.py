"""The demo's tasks: their terms and public artefacts, made from a deal.

The mechanism is chosen so that a run of six rounds costs about ε = 4 at δ = 10⁻⁵ and still learns
(``docs/privacy.md`` says what that promises). The norm bound follows from the mechanism's own constants.
"""

import math
from dataclasses import dataclass

import numpy as np

from client_sdk.training import artefacts
from client_sdk.training.trainer import mechanism_of
from contracts.terms import (
    Artefact,
    Deadlines,
    Estimator,
    EstimatorKind,
    Mechanism,
    MechanismKind,
    Relation,
    Terms,
    Update,
)
from learning import fixed
from learning.tensors import Layout, Records, flatten

from .data import Deal

SCALE_BITS = 16
ROUNDS = 12  # Room for void rounds and a rollback.


@dataclass(frozen=True)
class Recipe:
    """What differs between the demo's data sets."""

    mechanism: Mechanism
    learning_rate_micro: int
    canary_margin_ppm: int
    largest_shard: int  # For the norm bound; a public constant.


def _mechanism(noise_milli: int, steps: int, normaliser: int) -> Mechanism:
    return Mechanism(
        kind=MechanismKind.POISSON_GAUSSIAN,
        relation=Relation.ADD_REMOVE,
        clip_milli=1000,
        noise_milli=noise_milli,
        sampling_num=1,
        sampling_den=4,
        steps=steps,
        normaliser=normaliser,
    )


RECIPES = {
    "breast-cancer": Recipe(_mechanism(2000, 6, 14), 1_000_000, 60_000, 250),
    "digits": Recipe(_mechanism(1500, 12, 40), 1_000_000, 150_000, 500),
    "fashion-mnist": Recipe(_mechanism(1500, 12, 1500), 1_000_000, 100_000, 12_000),
}
DEADLINES = Deadlines(reserve_ms=4_000, commit_ms=6_000, publish_ms=4_000, propose_ms=9_000)


@dataclass(frozen=True)
class Prepared:
    """A task's terms and the bytes that they name."""

    terms: Terms
    data: dict[str, bytes]


def prepare(dataset: str, deal: Deal, *, initial_seed: int, verifiers: tuple[str, ...]) -> Prepared:
    """The terms of a demo task and its artefacts: model form, version 0, canary set."""
    recipe = RECIPES[dataset]
    inputs = artefacts.encode_inputs(deal.widths, deal.classes, deal.transform)
    layout = artefacts.decode_inputs(inputs).layout
    manifest = artefacts.model_manifest(dataset, 0, None, SCALE_BITS)
    units = fixed.to_fixed(flatten(_initial(deal.widths, layout, initial_seed), layout), SCALE_BITS)
    data = {
        "inputs": inputs,
        "initial": artefacts.encode_model(units, manifest, layout),
        "canary": artefacts.encode_canary(*deal.canary),
    }
    named = {name: artefacts.describe(content) for name, content in data.items()}
    return Prepared(_terms(dataset, recipe, layout.size, named, verifiers), data)


def _terms(
    dataset: str, recipe: Recipe, parameters: int, named: dict[str, Artefact], verifiers: tuple[str, ...]
) -> Terms:
    numbers = mechanism_of(recipe.mechanism, recipe.learning_rate_micro)
    bound = numbers.update_norm_bound(parameters, recipe.largest_shard)
    return Terms(
        task=dataset,
        model=f"{dataset}-model",
        data_class=dataset,
        mechanism=recipe.mechanism,
        learning_rate_micro=recipe.learning_rate_micro,
        estimator=Estimator(EstimatorKind.MULTI_KRUM, byzantine=1, minimum=5),
        update=Update(SCALE_BITS, math.ceil(bound * 1000), max_bytes=16_384 + 8 * parameters),
        inputs=named["inputs"],
        initial=named["initial"],
        canary=named["canary"],
        canary_margin_ppm=recipe.canary_margin_ppm,
        minimum_reputation=-900_000,
        aggregators=("lab-1", "lab-2"),
        verifiers=verifiers,
        recipients=verifiers,
        deadlines=DEADLINES,
        max_rounds=ROUNDS,
    )


def _initial(widths: tuple[int, ...], layout: Layout, seed: int) -> dict[str, Records]:
    """Zero for one layer; He's normal initialisation (He et al. 2015) for a network, by the run's seed."""
    generator = np.random.Generator(np.random.PCG64(seed))
    tensors: dict[str, Records] = {}
    for spec in layout.tensors:
        if len(widths) == 2 or len(spec.shape) == 1:
            tensors[spec.name] = np.zeros(spec.shape, np.float32)
        else:
            deviation = math.sqrt(2.0 / spec.shape[1])
            tensors[spec.name] = generator.normal(0.0, deviation, spec.shape).astype(np.float32)
    return tensors
