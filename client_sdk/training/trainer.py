"""The part of a training script that the ledger's terms own: sampling, clipping, noise and the step.

A data owner brings a model, a loss per record and the records; ``Trainer`` runs the mechanism that the terms name on
them and gives back only the update. It fits nothing on the records: input transforms are constants of the terms.
"""

import functools
import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, assert_never

import numpy as np

import learning
from contracts.terms import Mechanism as AgreedMechanism
from contracts.terms import MechanismKind, Terms
from learning import fixed
from learning.entropy import EntropySource, OsEntropy
from learning.local_training import InvalidRecords, LocalUpdate, local_update
from learning.logistic import LogisticRegression
from learning.mechanism import Mechanism, SamplingRate
from learning.model import PerRecordModel
from learning.tensors import Int32, Int64, Records, unflatten

from ..errors import Kind, SdkError
from .artefacts import TaskInputs

RecordLoss = Callable[[Any, Any], Any]


class ModelRefused(SdkError, ValueError):
    """The model is not of the form that the task's terms name."""

    kind = Kind.USAGE
    hint = "Build the model with the widths that `fedledger task show` prints, in torch.nn.Sequential's naming."


class Trainer:
    """Trains one model on one organisation's records, privately.

    ``model``: a torch module, or None for the logistic regression of the terms. ``record_loss(output, target)``: for a
    torch module, the loss of one record, given as a batch of one: (1, classes) and (1,). ``records``: raw inputs
    (n, …) and integer targets (n,). ``inputs``: the task's inputs. ``entropy``: the operating system's unless a test
    says otherwise; anything else marks the contribution as not private, and the ledger refuses it.

    Raises ModelRefused, learning.torch_model.UnsupportedModule (a layer such as BatchNorm),
    learning.inputs.InvalidInputs, learning.local_training.InvalidRecords.
    """

    def __init__(
        self,
        model: Any,
        record_loss: RecordLoss | None,
        records: tuple[Records, Records],
        inputs: TaskInputs,
        entropy: EntropySource | None = None,
    ) -> None:
        self._model = _adapted(model, record_loss, inputs)
        if self._model.layout != inputs.layout:
            raise ModelRefused("the model's tensors differ from the task's: " + _difference(self._model, inputs))
        raw, targets = records
        self._inputs = inputs.transform(np.asarray(raw))  # A torch tensor too.
        self._targets = _classes(targets, len(self._inputs), inputs.widths[-1])
        # Tried before any budget is held; and torch loads its compiler now rather than under a round's deadline.
        self._model.clipped_gradient_sum(self._inputs[:1], self._targets[:1], np.zeros(1, np.int64), clip=1.0)
        self._entropy = entropy or OsEntropy()
        self.code = code_digest(model, record_loss)

    @property
    def private(self) -> bool:
        """Whether noise and sampling come from the operating system's entropy."""
        return self._entropy.private

    def update(self, terms: Terms, base: Int32) -> LocalUpdate:
        """One round's update from a base version's units. Raises learning.fixed.Saturated when training diverges."""
        scale_bits = terms.update.scale_bits
        self._model.load(unflatten(fixed.to_float(base, scale_bits), self._model.layout))
        mechanism = mechanism_of(terms.mechanism, terms.learning_rate_micro)
        return local_update(self._model, self._inputs, self._targets, mechanism, self._entropy, scale_bits)


def mechanism_of(agreed: AgreedMechanism, learning_rate_micro: int) -> Mechanism:
    """The terms' integers as the numbers that training uses."""
    match agreed.kind:
        case MechanismKind.GAUSSIAN | MechanismKind.POISSON_GAUSSIAN:
            # One step for both: without sampling the terms' rate is one.
            return Mechanism(
                clip=agreed.clip_milli / 1000,
                noise_multiplier=agreed.noise_milli / 1000,
                rate=SamplingRate(agreed.sampling_num, agreed.sampling_den),
                steps=agreed.steps,
                normaliser=float(agreed.normaliser),
                learning_rate=learning_rate_micro / 1_000_000,
            )
        case _:
            assert_never(agreed.kind)


def code_digest(*owners: Any) -> bytes:
    """SHA-256 over the training code: this package's numerics, and the source of the participant's own objects.

    It says which code the participant states to have run; the ledger cannot see whether it did.
    """
    digest = hashlib.sha256(b"fedledger/training-code/v1\0")
    for path in sorted(Path(learning.__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    for owner in owners:
        digest.update(hashlib.sha256(_source(owner).encode()).digest())
    return digest.digest()


def _source(owner: Any) -> str:
    if isinstance(owner, functools.partial):
        return _source(owner.func)
    described = owner if inspect.isroutine(owner) or inspect.isclass(owner) else type(owner)
    try:
        return inspect.getsource(described)
    except (OSError, TypeError):
        # Typed at a prompt: the name is all there is. (``repr`` has an address, another one in every process.)
        return f"{described.__module__}.{described.__qualname__}"


def _classes(targets: Records, count: int, classes: int) -> Int64:
    """Targets as class numbers. A target that is none would silently train nothing, or something else."""
    given = np.asarray(targets)
    if given.shape != (count,) or given.dtype.kind not in "biuf":
        raise InvalidRecords(f"{count} records take {count} integer targets, got {given.dtype} of shape {given.shape}")
    found: Int64 = given.astype(np.int64)
    if (found != given).any() or found.min() < 0 or found.max() >= classes:
        raise InvalidRecords(f"a target is none of the {classes} classes 0 to {classes - 1}")
    return found


def _adapted(model: Any, record_loss: RecordLoss | None, inputs: TaskInputs) -> PerRecordModel:
    if model is None:
        if len(inputs.widths) != 2:
            raise ModelRefused(f"the terms name a network of widths {inputs.widths}: bring a torch module and its loss")
        return LogisticRegression(inputs.widths[0], inputs.widths[-1])
    if record_loss is None:
        raise ModelRefused("a torch module needs a loss per record: record_loss(output, target)")
    from learning.torch_model import TorchModel  # Only who trains with torch needs it installed.

    return TorchModel(model, record_loss)


def _difference(model: PerRecordModel, inputs: TaskInputs) -> str:
    mine = {spec.name: spec.shape for spec in model.layout.tensors}
    theirs = {spec.name: spec.shape for spec in inputs.layout.tensors}
    names = sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))
    return ", ".join(f"{name} is {mine.get(name)}, must be {theirs.get(name)}" for name in names[:5])
