"""The part of training that the terms own: the form of the model, the constants, what code is stated to have run."""

import functools
import importlib.util
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client_sdk.training import artefacts
from client_sdk.training import trainer as trainer_module
from client_sdk.training.artefacts import TaskInputs
from client_sdk.training.trainer import ModelRefused, Trainer, code_digest, mechanism_of
from contracts.terms import Mechanism as AgreedMechanism
from contracts.terms import Terms
from learning.entropy import ReproducibleEntropy
from learning.inputs import InvalidInputs, Standardisation
from learning.local_training import InvalidRecords
from learning.tensors import Int32
from tests.local_task import FEATURES, prepared, records

TERMS, INPUTS = prepared().terms, prepared().view.inputs
ZERO = np.zeros(INPUTS.layout.size, np.int32)


def hidden(*widths: int) -> TaskInputs:
    """The inputs of a task for a network."""
    names = [f"class-{number}" for number in range(widths[-1])]
    return artefacts.decode_inputs(artefacts.encode_inputs(widths, names, Standardisation.uniform(widths[0], 0.0, 1.0)))


def trained(terms: Terms = TERMS, seed: int = 5, base: Int32 = ZERO) -> Int32:
    """An update whose noise can be repeated, so that the constants can be told apart."""
    return Trainer(None, None, records(1), INPUTS, ReproducibleEntropy(seed)).update(terms, base).units


def with_mechanism(**changes: int) -> Terms:
    return replace(TERMS, mechanism=replace(TERMS.mechanism, **changes))


# The constants of the terms ---------------------------------------------------------------------


def test_the_mechanism_that_runs_is_the_one_of_the_terms_to_the_last_constant() -> None:
    agreed = replace(
        TERMS.mechanism, clip_milli=1_500, noise_milli=700, sampling_num=3, sampling_den=7, steps=9, normaliser=250
    )
    ran = mechanism_of(agreed, 20_000)
    assert (ran.clip, ran.noise_multiplier, ran.steps, ran.normaliser, ran.learning_rate) == (1.5, 0.7, 9, 250.0, 0.02)
    assert (ran.rate.numerator, ran.rate.denominator) == (3, 7)
    numbers = {field.name for field in fields(AgreedMechanism)} - {"kind", "relation"}
    assert numbers == {"clip_milli", "noise_milli", "sampling_num", "sampling_den", "steps", "normaliser"}


@pytest.mark.parametrize(
    "terms",
    [
        replace(TERMS, learning_rate_micro=2 * TERMS.learning_rate_micro),
        with_mechanism(normaliser=TERMS.mechanism.normaliser // 2),
    ],
    ids=["twice the learning rate", "half the normaliser"],
)
def test_a_step_is_as_long_as_the_terms_say(terms: Terms) -> None:
    assert (abs(trained(terms) - 2 * trained()) <= 1).all()


@pytest.mark.parametrize("change", [{"noise_milli": 4_000}, {"steps": 2}, {"clip_milli": 10}, {"sampling_den": 4}])
def test_every_constant_of_the_mechanism_reaches_the_training(change: dict[str, int]) -> None:
    assert (trained(with_mechanism(**change)) != trained()).any()


def test_the_step_does_not_depend_on_how_many_records_there_are() -> None:
    """Divided by the public normaliser: twice the records move twice as far, so no local count leaks through it."""
    inputs, targets = records(1)
    quiet = with_mechanism(noise_milli=300, normaliser=1)
    entropy = functools.partial(ReproducibleEntropy, 5)
    once = Trainer(None, None, (inputs, targets), INPUTS, entropy()).update(quiet, ZERO).units
    twice = Trainer(None, None, (np.tile(inputs, (2, 1)), np.tile(targets, 2)), INPUTS, entropy()).update(quiet, ZERO)
    noise = Trainer(None, None, (inputs[:1] * 0, targets[:1]), INPUTS, entropy()).update(quiet, ZERO).units
    signal, double = once.astype(np.int64) - noise, twice.units.astype(np.int64) - noise
    assert abs(double - 2 * signal).max() < 0.1 * abs(double).max()


def test_the_base_version_is_where_training_starts_and_what_is_subtracted() -> None:
    far = np.full_like(ZERO, 30 << 16)
    assert abs(trained(base=far)).max() < 1 << 16


def test_nothing_is_fitted_on_the_records() -> None:
    """One more record, however far out, leaves the transform of the others as it was."""
    inputs, targets = records(1)
    alone = Trainer(None, None, (inputs, targets), INPUTS)
    further = Trainer(None, None, (np.vstack([inputs, np.full(FEATURES, 1e6)]), np.append(targets, 1)), INPUTS)
    assert (alone._inputs == further._inputs[:-1]).all()


def test_only_the_operating_system_s_entropy_is_private() -> None:
    assert Trainer(None, None, records(1), INPUTS).private
    assert not Trainer(None, None, records(1), INPUTS, ReproducibleEntropy(1)).private


# What is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "refusal", "says"),
    [
        ((np.zeros((5, FEATURES + 1)), np.zeros(5)), InvalidInputs, r"\(n, 4\)"),
        ((np.full((5, FEATURES), np.nan), np.zeros(5)), InvalidInputs, "feature 0"),
        ((np.zeros((0, FEATURES)), np.zeros(0)), InvalidInputs, "shape"),
        ((np.zeros((5, FEATURES)), np.zeros(4)), InvalidRecords, "5 records take 5 integer targets"),
        ((np.zeros((5, FEATURES)), np.zeros((5, 1))), InvalidRecords, r"shape \(5, 1\)"),
        ((np.zeros((5, FEATURES)), np.array(["benign"] * 5)), InvalidRecords, "integer targets"),
        ((np.zeros((5, FEATURES)), np.full(5, 0.5)), InvalidRecords, "none of the 2 classes"),
        ((np.zeros((5, FEATURES)), np.full(5, 2)), InvalidRecords, "none of the 2 classes"),
        ((np.zeros((5, FEATURES)), np.full(5, -1)), InvalidRecords, "none of the 2 classes"),
    ],
    ids=["a feature too many", "NaN", "no records", "too few targets", "columns", "text", "halves", "class 2", "-1"],
)
def test_records_that_do_not_fit_the_task_are_refused_before_any_budget_is_held(
    given: Any, refusal: type[Exception], says: str
) -> None:
    with pytest.raises(refusal, match=says):
        Trainer(None, None, given, INPUTS)


def test_labels_may_be_booleans_or_whole_floats() -> None:
    inputs, targets = records(1)
    as_int = Trainer(None, None, (inputs, targets), INPUTS, ReproducibleEntropy(1)).update(TERMS, ZERO).units
    for labels in (targets.astype(bool), targets.astype(np.float32), list(map(int, targets))):
        other = Trainer(None, None, (inputs, labels), INPUTS, ReproducibleEntropy(1)).update(TERMS, ZERO).units
        assert (as_int == other).all()


def test_a_network_in_the_terms_asks_for_a_module_and_a_loss() -> None:
    with pytest.raises(ModelRefused, match=r"widths \(4, 8, 2\): bring a torch module"):
        Trainer(None, None, records(1), hidden(4, 8, 2))
    with pytest.raises(ModelRefused, match="record_loss"):
        Trainer(object(), None, records(1), INPUTS)


# The code digest --------------------------------------------------------------------------------

LOSS = "def record_loss(output, target):\n    return (output - target) ** 2{}\n"


def loss_from(folder: Path, name: str, source: str) -> Any:
    path = folder / f"{name}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.record_loss


def test_the_code_digest_is_that_of_the_source_and_not_of_the_object(tmp_path: Path) -> None:
    one, again = (loss_from(tmp_path, name, LOSS.format("")) for name in ("one", "again"))
    assert code_digest(None, one) == code_digest(None, again)
    assert len(code_digest(None, one)) == 32


def test_the_code_digest_changes_when_the_source_of_the_loss_changes(tmp_path: Path) -> None:
    digests = {
        code_digest(None, None),
        code_digest(None, loss_from(tmp_path, "one", LOSS.format(""))),
        code_digest(None, loss_from(tmp_path, "two", LOSS.format(" * 2"))),
    }
    assert len(digests) == 3


def test_a_partial_function_is_described_by_the_function_in_it(tmp_path: Path) -> None:
    one, two = (loss_from(tmp_path, name, LOSS.format(end)) for name, end in (("one", ""), ("two", " * 2")))
    assert code_digest(functools.partial(one, target=1)) == code_digest(one)
    assert code_digest(functools.partial(one)) != code_digest(functools.partial(two))


def test_code_typed_at_a_prompt_has_the_same_digest_in_every_process() -> None:
    made = []
    for _ in range(2):
        space: dict[str, Any] = {"__name__": "__main__"}
        exec("def record_loss(output, target): return 0", space)  # As at a prompt: no file holds it.
        made.append(code_digest(None, space["record_loss"]))
    assert made[0] == made[1]


def test_the_code_digest_changes_when_the_numerics_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_digest(None)
    copy = tmp_path / "learning"
    copy.mkdir()
    for path in Path(trainer_module.learning.__file__).parent.glob("*.py"):
        (copy / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(trainer_module.learning, "__file__", str(copy / "__init__.py"))
    assert code_digest(None) == before
    (copy / "privacy.py").write_text("# Less noise.\n")
    assert code_digest(None) != before


def test_a_trainer_states_the_code_of_its_model_and_loss() -> None:
    assert Trainer(None, None, records(1), INPUTS).code == code_digest(None, None)
