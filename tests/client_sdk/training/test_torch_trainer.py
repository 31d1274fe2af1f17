"""Training a torch module under the terms: its tensors are the task's, or the difference is named."""

from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402 (only when torch is there)

from client_sdk.training.trainer import ModelRefused, Trainer, code_digest  # noqa: E402
from learning.entropy import ReproducibleEntropy  # noqa: E402
from learning.torch_model import UnsupportedModule  # noqa: E402
from tests.client_sdk.training.test_trainer import hidden  # noqa: E402
from tests.local_task import prepared, records  # noqa: E402

INPUTS = hidden(4, 8, 2)


record_loss = nn.functional.cross_entropy


def network(*layers: Any) -> Any:
    return nn.Sequential(*(layers or (nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))))


def test_a_module_with_the_task_s_tensors_trains_from_the_base_version() -> None:
    size = INPUTS.layout.size
    base = np.arange(size, dtype=np.int32) * 50
    trainer = Trainer(network(), record_loss, records(1), INPUTS, ReproducibleEntropy(3))
    update = trainer.update(prepared().terms, base).units
    assert update.shape == (size,)
    assert update.any()
    again = Trainer(network(), record_loss, records(1), INPUTS, ReproducibleEntropy(3))
    assert (again.update(prepared().terms, base).units == update).all(), "the module's own initialisation counted"


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (network(nn.Linear(4, 9), nn.ReLU(), nn.Linear(9, 2)), r"0\.weight is \(9, 4\), must be \(8, 4\)"),
        (network(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2, bias=False)), r"2\.bias is None, must be \(2,\)"),
        (network(nn.Linear(4, 2)), r"2\.weight is None, must be \(2, 8\)"),
        (network(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 2)), r"3\.bias is \(2,\), must be None"),
    ],
    ids=["wider", "without a bias", "shallower", "deeper"],
)
def test_a_module_with_other_tensors_is_refused_and_the_difference_named(module: Any, says: str) -> None:
    with pytest.raises(ModelRefused, match=says):
        Trainer(module, record_loss, records(1), INPUTS)


def test_a_layer_that_mixes_records_is_refused_by_name() -> None:
    module = network(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    with pytest.raises(UnsupportedModule, match="BatchNorm1d"):
        Trainer(module, record_loss, records(1), INPUTS)


def test_records_may_be_torch_tensors() -> None:
    inputs, targets = records(1)
    arrays = Trainer(network(), record_loss, (inputs, targets), INPUTS, ReproducibleEntropy(3))
    tensors = Trainer(
        network(), record_loss, (torch.tensor(inputs), torch.tensor(targets)), INPUTS, ReproducibleEntropy(3)
    )
    base = np.zeros(INPUTS.layout.size, np.int32)
    assert (arrays.update(prepared().terms, base).units == tensors.update(prepared().terms, base).units).all()


def test_another_class_of_module_is_another_code() -> None:
    class Mine(nn.Module):
        pass

    assert code_digest(Mine(), record_loss) != code_digest(network(), record_loss)
