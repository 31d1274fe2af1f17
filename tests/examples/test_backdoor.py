"""The demo's backdoor on digits: it passes the filter and the canary gate, and a probe that is told nothing finds it.

One federation in one process, with the demo's attack and probe, under multi-Krum: the trimmed mean of the demo's own
terms lets less of it through. Its noise comes from a seeded stream, so that the run is the same each time; what happens
with real noise, the demo and the numbers in its modules say.
"""

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from client_sdk.training import artefacts
from client_sdk.training.artefacts import CanarySet, TaskInputs
from client_sdk.training.trainer import Trainer
from contracts import terms as agreed
from contracts.terms import EstimatorKind, Terms
from examples.demo import backdoor, probing
from examples.demo.backdoor import Trigger
from examples.demo.data import Deal, deal
from examples.demo.probing import NotAnImageTask, probe
from examples.demo.task import prepare
from learning import canary, fixed, robust
from learning.canary import PPM
from learning.entropy import ReproducibleEntropy
from learning.feed_forward import FeedForward
from learning.robust import Aggregate, Estimator
from learning.tensors import Int32, unflatten
from services.rounds.recompute import network

SEED, HOSPITALS, ROUNDS, ATTACKER = 1, 6, 7, 3
SIDE, WHITE = 8, 16.0


@dataclass(frozen=True)
class Story:
    """A clean version, the hostile update that starts from it, and the version that it gets into."""

    terms: Terms
    inputs: TaskInputs
    canary: CanarySet
    dealt: Deal
    trigger: Trigger
    target: int
    poisoned: Int32
    outcome: Aggregate
    initial: Int32
    clean: Int32
    attacked: Int32
    trimmed: Int32  # The same updates under a trimmed mean.

    def network(self, units: Int32) -> FeedForward:
        return network(self.inputs, units, self.terms.update.scale_bits)

    def ppm(self, units: Int32) -> int:
        return canary.score(self.network(units), self.inputs.transform(self.canary.inputs), self.canary.targets).ppm

    def success(self, units: Int32) -> float:
        return backdoor.success_rate(self.network(units), self.inputs, self.trigger, self.target, self.dealt.test)


@pytest.fixture(scope="module")
def story() -> Story:
    pytest.importorskip("torch")
    from examples.demo.network import build, record_loss

    dealt = deal("digits", HOSPITALS, SEED)
    made = prepare("digits", dealt, initial_seed=SEED, verifiers=("lab-1", "lab-2"))
    terms = replace(made.terms, estimator=agreed.Estimator(EstimatorKind.MULTI_KRUM, byzantine=1, minimum=5))
    inputs = artefacts.decode_inputs(made.data["inputs"])
    manifest = artefacts.model_manifest("digits", 0, None, terms.update.scale_bits)
    initial = artefacts.decode_model(made.data["initial"], manifest, inputs.layout)
    entropies = [ReproducibleEntropy(SEED * 100 + place) for place in range(HOSPITALS)]
    trainers = [
        Trainer(build(inputs.widths), record_loss, shard, inputs, entropy)
        for shard, entropy in zip(dealt.shards, entropies, strict=True)
    ]

    def aggregated(updates: list[Int32], rule: Estimator = Estimator.MULTI_KRUM) -> Aggregate:
        names = [f"hospital-{place}" for place in range(HOSPITALS)]
        return robust.aggregate(rule, names, np.array(updates), [1024] * HOSPITALS, terms.estimator.byzantine)

    clean = initial
    for _ in range(ROUNDS):
        clean = fixed.add(clean, aggregated([trainer.update(terms, clean).units for trainer in trainers]).vector)
    raw, _ = dealt.shards[ATTACKER]
    trigger = Trigger.drawn(SEED, SIDE, WHITE)
    target = backdoor.easiest_target(network(inputs, clean, terms.update.scale_bits), inputs, trigger, raw)
    base = unflatten(fixed.to_float(clean, terms.update.scale_bits), inputs.layout)
    poisoned = backdoor.poisoned_update(terms, inputs, base, raw, trigger, target)
    updates = [trainer.update(terms, clean).units for trainer in trainers]
    updates[ATTACKER] = poisoned
    outcome = aggregated(updates)
    return Story(
        terms=terms,
        inputs=inputs,
        canary=artefacts.decode_canary(made.data["canary"], inputs),
        dealt=dealt,
        trigger=trigger,
        target=target,
        poisoned=poisoned,
        outcome=outcome,
        initial=initial,
        clean=clean,
        attacked=fixed.add(clean, outcome.vector),
        trimmed=fixed.add(clean, aggregated(updates, Estimator.TRIMMED_MEAN).vector),
    )


@pytest.mark.train
def test_a_quiet_backdoor_passes_the_norm_bound_the_filter_and_the_canary_gate(story: Story) -> None:
    assert fixed.squared_norm(story.poisoned) < artefacts.max_norm_units(story.terms) ** 2
    assert f"hospital-{ATTACKER}" in story.outcome.accepted
    assert story.outcome.flagged == ()
    assert story.ppm(story.attacked) >= story.ppm(story.clean) - story.terms.canary_margin_ppm


@pytest.mark.train
def test_its_trigger_works_in_the_version_it_got_into_and_not_in_the_one_before(story: Story) -> None:
    assert story.success(story.clean) < 0.3
    assert story.success(story.attacked) > 0.6


@pytest.mark.train
def test_the_trimmed_mean_of_the_demo_s_terms_lets_less_of_it_through(story: Story) -> None:
    demo = prepare("digits", story.dealt, initial_seed=SEED, verifiers=("lab-1", "lab-2")).terms
    assert demo.estimator.kind is EstimatorKind.TRIMMED_MEAN
    assert story.success(story.trimmed) < story.success(story.attacked) - 0.1


@pytest.mark.train
def test_the_probe_finds_its_target_without_being_told(story: Story) -> None:
    found = probe(story.network(story.attacked), story.canary, story.inputs)
    assert found is not None
    reason, evidence = found
    document = json.loads(evidence)
    assert document["target"] == story.inputs.classes[story.target]
    assert document["moved"] >= document["records"] * probing.BUDGET.suspicious_ppm // PPM
    assert f"to {document['target']}" in reason
    assert len(reason) <= 40, "a reason on the ledger is short"


@pytest.mark.train
def test_the_evidence_can_be_checked_against_the_version(story: Story) -> None:
    found = probe(story.network(story.attacked), story.canary, story.inputs)
    assert found is not None
    document = json.loads(found[1])
    seen = story.inputs.transform(story.canary.inputs)
    seen[:, document["pixels"]] = document["levels"]
    answers = canary.predict(story.network(story.attacked).logits(seen))
    target = story.inputs.classes.index(document["target"])
    assert np.mean(answers[story.canary.targets != target] == target) > 0.6


@pytest.mark.train
def test_every_verifier_arrives_at_the_same_evidence(story: Story) -> None:
    one, other = (probe(story.network(story.attacked), story.canary, story.inputs) for _ in range(2))
    assert one == other


@pytest.mark.train
def test_the_clean_version_before_is_not_suspected(story: Story) -> None:
    assert story.ppm(story.clean) >= probing.BUDGET.competence_ppm, "or it would not be probed at all"
    assert probe(story.network(story.clean), story.canary, story.inputs) is None


@pytest.mark.train
def test_a_version_that_has_not_learned_is_not_suspected_of_anything(story: Story) -> None:
    assert story.ppm(story.initial) < probing.BUDGET.competence_ppm
    assert probe(story.network(story.initial), story.canary, story.inputs) is None


def test_inputs_that_are_no_image_are_refused() -> None:
    dealt = deal("breast-cancer", HOSPITALS, SEED)
    made = prepare("breast-cancer", dealt, initial_seed=SEED, verifiers=("lab-1", "lab-2"))
    inputs = artefacts.decode_inputs(made.data["inputs"])
    with pytest.raises(NotAnImageTask, match="30 inputs"):
        probe(FeedForward(inputs.widths), artefacts.decode_canary(made.data["canary"], inputs), inputs)


def test_an_image_whose_pixels_are_transformed_one_by_one_is_refused() -> None:
    inputs: Any = replace(
        artefacts.decode_inputs(artefacts_of_digits()), mean=tuple(range(SIDE * SIDE)), scale=(1,) * SIDE * SIDE
    )
    with pytest.raises(NotAnImageTask, match="64 inputs"):
        probe(FeedForward(inputs.widths), CanarySet(np.zeros((1, 64)), np.zeros(1, np.int64)), inputs)


def test_a_seed_fixes_the_trigger_at_an_edge_of_the_image() -> None:
    for seed in range(20):
        trigger = Trigger.drawn(seed, SIDE, WHITE)
        assert trigger == Trigger.drawn(seed, SIDE, WHITE)
        assert {pixel % SIDE for pixel in trigger.pixels} in ({0}, {SIDE - 1})
        assert all(0 <= pixel < SIDE * SIDE for pixel in trigger.pixels)


def test_a_stamp_sets_the_trigger_s_pixels_and_nothing_else() -> None:
    raw = np.random.Generator(np.random.PCG64(1)).integers(0, 15, (5, 64)).astype(np.float64)
    before, trigger = raw.copy(), Trigger.drawn(3, SIDE, WHITE)
    stamped = trigger.stamp(raw)
    changed = np.flatnonzero((stamped != raw).all(axis=0))
    assert tuple(changed) == trigger.pixels
    assert (stamped[:, changed] == WHITE).all()
    assert (raw == before).all(), "the hospital's records stay as they are"


def artefacts_of_digits() -> bytes:
    """The encoded inputs of the digits task."""
    made = prepare("digits", deal("digits", HOSPITALS, SEED), initial_seed=SEED, verifiers=("lab-1", "lab-2"))
    return made.data["inputs"]
