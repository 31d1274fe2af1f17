"""What the default estimator filters, and what it misses: ``python -m benchmarks.quiet_attacks``.

One of six hospitals is hostile from the first round on. For each attack: in how many of its rounds it was flagged, how
often honest hospitals were, and what accuracy is left, over several seeds, with real noise. The quiet ones are the
point: a robust rule sees what is far from the others, so an attack that stays close passes it.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import mean

import numpy as np

from client_sdk.training.trainer import mechanism_of
from examples.demo.data import Deal, deal
from examples.demo.task import RECIPES
from learning import canary, fixed
from learning.entropy import OsEntropy
from learning.local_training import local_update
from learning.logistic import LogisticRegression
from learning.robust import Estimator, aggregate
from learning.tensors import Int32, flatten, unflatten

DATASET, ROUNDS, HOSPITALS, WEIGHT = "breast-cancer", 6, 6, 1024
Attack = Callable[[Int32, list[Int32]], Int32]  # From the honest update and the others' updates.


@dataclass(frozen=True)
class Row:
    """One attack's outcome, averaged over seeds and rounds; rates are fractions."""

    attack: str
    flagged: float
    honest_flagged: float
    held_out: float
    without_filter: float


def _scaled(factor: float) -> Attack:
    return lambda own, _others: np.clip(np.rint(own * factor), -fixed.LIMIT, fixed.LIMIT).astype(np.int32)


def _a_little_is_enough(own: Int32, others: list[Int32]) -> Int32:
    """Just inside the others' spread, against their mean (Baruch et al. 2019, z = 1)."""
    stack = np.stack(others).astype(np.float64)
    hostile: Int32 = np.rint(stack.mean(axis=0) - stack.std(axis=0)).astype(np.int32)
    return hostile


def _inner_product(own: Int32, others: list[Int32]) -> Int32:
    """The others' mean turned round, at 0.9 of its length (Xie et al. 2020)."""
    hostile: Int32 = np.rint(-0.9 * np.stack(others).astype(np.float64).mean(axis=0)).astype(np.int32)
    return hostile


ATTACKS: dict[str, Attack] = {
    "none": lambda own, _others: own,
    "sign-flip x4": _scaled(-4.0),
    "sign-flip x1": _scaled(-1.0),
    "boost x4": _scaled(4.0),
    "inner product": _inner_product,
    "a little is enough": _a_little_is_enough,
}


def main() -> None:
    """Measure and print: a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--format", choices=("md", "json"), default="md")
    options = parser.parse_args()
    rows = [measure(name, attack, options.seeds) for name, attack in ATTACKS.items()]
    if options.format == "json":
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    print("| attack by one of six | flagged | honest ones flagged | held-out accuracy | with a plain mean |")
    print("|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row.attack} | {row.flagged:.0%} | {row.honest_flagged:.1%} | {row.held_out:.1%} "
            f"| {row.without_filter:.1%} |"
        )


def measure(name: str, attack: Attack, seeds: int) -> Row:
    """One attack over several deals."""
    robust = [_run(attack, seed, Estimator.MULTI_KRUM) for seed in range(seeds)]
    plain = [_run(attack, seed, Estimator.MEAN) for seed in range(seeds)]
    rounds = seeds * ROUNDS
    return Row(
        attack=name,
        flagged=sum(run[1] for run in robust) / rounds,
        honest_flagged=sum(run[2] for run in robust) / (rounds * (HOSPITALS - 1)),
        held_out=mean(run[0] for run in robust),
        without_filter=mean(run[0] for run in plain),
    )


def _run(attack: Attack, seed: int, estimator: Estimator) -> tuple[float, int, int]:
    """Held-out accuracy after the rounds; how often the attacker, and how often an honest hospital, was flagged."""
    dealt = deal(DATASET, HOSPITALS, seed)
    model = LogisticRegression(dealt.widths[0], dealt.widths[-1])
    version = fixed.to_fixed(flatten(model.parameters(), model.layout))
    hostile_flags = honest_flags = 0
    ids = [f"hospital-{index}" for index in range(HOSPITALS)]
    f = 0 if estimator is Estimator.MEAN else 1
    for _ in range(ROUNDS):
        updates = _honest_updates(dealt, model, version)
        updates[0] = attack(updates[0], updates[1:])
        outcome = aggregate(estimator, ids, np.stack(updates), [WEIGHT] * HOSPITALS, f)
        hostile_flags += "hospital-0" in outcome.flagged
        honest_flags += len([name for name in outcome.flagged if name != "hospital-0"])
        version = fixed.add(version, outcome.vector)
    model.load(unflatten(fixed.to_float(version), model.layout))
    records, targets = dealt.test
    score = canary.score(model, dealt.transform.apply(records), targets)
    return score.correct / score.total, hostile_flags, honest_flags


def _honest_updates(dealt: Deal, model: LogisticRegression, version: Int32) -> list[Int32]:
    recipe = RECIPES[DATASET]
    mechanism = mechanism_of(recipe.mechanism, recipe.learning_rate_micro)
    updates = []
    for records, targets in dealt.shards:
        model.load(unflatten(fixed.to_float(version), model.layout))
        inputs = dealt.transform.apply(records)
        updates.append(local_update(model, inputs, targets, mechanism, OsEntropy()).units)
    return updates


if __name__ == "__main__":
    main()
