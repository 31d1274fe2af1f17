"""The demo's tasks: their terms and public artefacts, made from a deal.

Each mechanism is chosen so that a run still learns at an ε (δ = 10⁻⁵) that is worth stating (``docs/privacy.md`` says
what it promises). Seven rounds cost ε = 4.5 on breast-cancer, 6.4 on digits, whose thousand records among six hospitals
are few for a network, and 2.6 on fashion-mnist. The norm bound follows from the mechanism's own constants.
"""

import math
from dataclasses import dataclass

import numpy as np

from client_sdk.training import artefacts
from client_sdk.training.trainer import mechanism_of
from contracts.terms import (
    Artefact,
    CommitTiming,
    Estimator,
    EstimatorKind,
    Mechanism,
    MechanismKind,
    Phases,
    Relation,
    Terms,
    Update,
)
from examples.demo.data import Deal
from learning import fixed
from learning.tensors import Layout, Records, flatten

SCALE_BITS = 16
ROUNDS = 12  # Room for void rounds and a rollback.


@dataclass(frozen=True)
class Recipe:
    """What differs between the demo's data sets."""

    mechanism: Mechanism
    learning_rate_micro: int
    canary_margin_ppm: int
    largest_shard: int  # For the norm bound; a public constant.
    phases: Phases


def _mechanism(noise_milli: int, rate: int, steps: int, normaliser: int) -> Mechanism:
    """Each record enters a step with probability 1 / rate; the normaliser is about what an average hospital samples."""
    return Mechanism(
        kind=MechanismKind.POISSON_GAUSSIAN,
        relation=Relation.ADD_REMOVE,
        clip_milli=1000,
        noise_milli=noise_milli,
        sampling_num=1,
        sampling_den=rate,
        steps=steps,
        normaliser=normaliser,
    )


def _phases(commit_ms: int) -> Phases:
    """Seconds, where others would take hours: who acts late in the demo misses its round."""
    return Phases(
        reserve_ms=4_000,
        commit_ms=commit_ms,
        attest_ms=8_000,
        seal_ms=10_000,
        open_ms=8_000,
        blocks=3,
        commits=CommitTiming.WHEN_READY,
    )


RECIPES = {
    "breast-cancer": Recipe(_mechanism(2000, 4, 6, 14), 1_000_000, 60_000, 250, _phases(6_000)),
    "digits": Recipe(_mechanism(2000, 4, 12, 45), 1_000_000, 150_000, 500, _phases(8_000)),
    # Six processes that take per-record gradients of 50,000 parameters share the machine's cores.
    "fashion-mnist": Recipe(_mechanism(800, 80, 20, 90), 1_000_000, 100_000, 12_000, _phases(15_000)),
}


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
    return Prepared(_terms(dataset, recipe, layout.size, named, verifiers, len(deal.canary[1])), data)


def _terms(
    dataset: str,
    recipe: Recipe,
    parameters: int,
    named: dict[str, Artefact],
    verifiers: tuple[str, ...],
    canary_records: int,
) -> Terms:
    numbers = mechanism_of(recipe.mechanism, recipe.learning_rate_micro)
    bound = numbers.update_norm_bound(parameters, recipe.largest_shard)
    return Terms(
        task=dataset,
        model=f"{dataset}-model",
        data_class=dataset,
        mechanism=recipe.mechanism,
        learning_rate_micro=recipe.learning_rate_micro,
        estimator=Estimator(EstimatorKind.TRIMMED_MEAN, byzantine=1, minimum=4),  # Five of the six must commit.
        update=Update(SCALE_BITS, math.ceil(bound * 1000), max_bytes=16_384 + 8 * parameters),
        inputs=named["inputs"],
        initial=named["initial"],
        canary=named["canary"],
        canary_records=canary_records,
        canary_margin_ppm=recipe.canary_margin_ppm,
        minimum_reputation=-900_000,
        aggregators=("lab-1", "lab-2"),
        verifiers=verifiers,
        verifier_faults=1,
        recipients=verifiers,
        retention_ms=24 * 3600 * 1000,
        phases=recipe.phases,
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
