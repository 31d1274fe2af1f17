"""Any torch module as a per-record model: exact clipping, refusals by name, bounded and repeatable."""

import re
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402 (only when torch is there)

from learning import torch_model  # noqa: E402
from learning.logistic import LogisticRegression  # noqa: E402
from learning.tensors import ShapeMismatch, flatten, unflatten  # noqa: E402
from learning.torch_model import TorchModel, UnsupportedModule  # noqa: E402

cross_entropy = nn.functional.cross_entropy


def mlp(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


def records(count: int = 20, shape: tuple[int, ...] = (6,), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(count, *shape)), generator.integers(0, 3, count)


def plain_gradient(module: Any, x: np.ndarray, y: np.ndarray, index: int) -> np.ndarray:
    """One record's gradient by ordinary back-propagation, flat in name order."""
    module.zero_grad()
    loss = cross_entropy(module(torch.tensor(x[[index]], dtype=torch.float32)), torch.tensor(y[[index]]))
    loss.backward()
    return np.concatenate([p.grad.numpy().ravel() for _, p in sorted(module.named_parameters())]).astype(np.float64)


@pytest.mark.parametrize("vectorised", [True, False])
@pytest.mark.parametrize("microbatch", [1, 7, 64])
def test_the_sum_is_that_of_separately_clipped_gradients(vectorised: bool, microbatch: int) -> None:
    module, (x, y), clip = mlp(), records(), 1.5
    expected = np.zeros(53)
    norms = []
    for i in range(20):
        gradient = plain_gradient(module, x, y, i)
        norms.append(float(np.linalg.norm(gradient)))
        expected += gradient * min(1.0, clip / norms[-1])
    assert min(norms) < clip < max(norms)
    model = TorchModel(module, cross_entropy, microbatch=microbatch, vectorised=vectorised)
    np.testing.assert_allclose(model.clipped_gradient_sum(x, y, np.arange(20), clip), expected, atol=1e-5)


def test_one_record_never_exceeds_the_clip() -> None:
    x, y = records()
    model = TorchModel(mlp(), cross_entropy)
    for i in range(20):
        assert np.linalg.norm(model.clipped_gradient_sum(x * 1e3, y, np.array([i]), 0.5)) <= 0.5


def test_only_the_chosen_records_count_and_none_gives_zero() -> None:
    x, y = records()
    model = TorchModel(mlp(), cross_entropy)
    some = model.clipped_gradient_sum(x, y, np.array([2, 5]), 1.0)
    x[3] = np.nan
    np.testing.assert_array_equal(model.clipped_gradient_sum(x, y, np.array([2, 5]), 1.0), some)
    assert not model.clipped_gradient_sum(x, y, np.array([], dtype=np.int64), 1.0).any()


def test_a_broken_record_contributes_nothing_and_breaks_nothing() -> None:
    x, y = records()
    model = TorchModel(mlp(), cross_entropy)
    without = model.clipped_gradient_sum(x, y, np.array([2, 5]), 1.0)
    x[3] = np.nan
    np.testing.assert_allclose(model.clipped_gradient_sum(x, y, np.array([2, 3, 5]), 1.0), without, atol=1e-7)


def test_a_linear_module_agrees_with_the_numpy_core() -> None:
    x, y = records()
    module = nn.Linear(6, 3)
    ours, theirs = LogisticRegression(6, 3), TorchModel(module, cross_entropy)
    assert ours.layout == theirs.layout
    ours.load(theirs.parameters())
    np.testing.assert_allclose(ours.logits(x), theirs.logits(x), atol=1e-6)
    np.testing.assert_allclose(
        ours.clipped_gradient_sum(x, y, np.arange(20), 0.7),
        theirs.clipped_gradient_sum(x, y, np.arange(20), 0.7),
        atol=1e-5,
    )


class Encoder(nn.Module):
    """A model whose offending layer has a name of its own."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict({"bn1": layer})


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(4), nn.SyncBatchNorm(4), nn.LazyBatchNorm2d()])
def test_a_layer_that_mixes_records_is_refused_by_its_name(layer: Any) -> None:
    expected = f"encoder.bn1 ({type(layer).__name__}) mixes records: use GroupNorm or LayerNorm"
    with pytest.raises(UnsupportedModule, match=re.escape(expected)) as refusal:
        TorchModel(Encoder(layer), cross_entropy)
    assert refusal.value.facts["layer"] == "encoder.bn1"


def test_a_batch_norm_of_another_library_is_refused_too() -> None:
    class FusedBatchNorm(nn.Module):
        pass

    with pytest.raises(UnsupportedModule, match="mixes records"):
        TorchModel(nn.Sequential(nn.Linear(2, 2), FusedBatchNorm()), cross_entropy)


def test_running_statistics_are_refused_and_instance_norm_without_them_is_not() -> None:
    with pytest.raises(UnsupportedModule, match="running statistics"):
        TorchModel(nn.Sequential(nn.InstanceNorm1d(4, track_running_stats=True)), cross_entropy)
    TorchModel(nn.Sequential(nn.Conv1d(1, 4, 3), nn.InstanceNorm1d(4)), cross_entropy)


@pytest.mark.parametrize("in_place", [True, False])
def test_a_buffer_that_changes_in_the_forward_pass_is_refused(in_place: bool) -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 3)
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x: Any) -> Any:
            if in_place:
                self.seen += 1
            else:
                self.seen = self.seen + 1
            return self.linear(x)

    x, y = records()
    # torch.func refuses the first kind itself, without the name.
    with pytest.raises(UnsupportedModule, match="mutate a captured Tensor" if in_place else "buffer seen"):
        TorchModel(Counting(), cross_entropy).clipped_gradient_sum(x, y, np.arange(3), 1.0)


def test_parameters_of_another_precision_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedModule, match=r"parameter 0\.weight is torch\.float64"):
        TorchModel(nn.Sequential(nn.Linear(2, 2).double()), cross_entropy)
    with pytest.raises(UnsupportedModule, match="no shape yet"):
        TorchModel(nn.Sequential(nn.LazyLinear(2)), cross_entropy)


def test_parameters_round_trip_also_when_not_contiguous() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 3)).to(memory_format=torch.channels_last)
    model = TorchModel(module, cross_entropy)
    vector = np.random.default_rng(0).normal(size=model.layout.size).astype(np.float32)
    model.load(unflatten(vector, model.layout))
    np.testing.assert_array_equal(flatten(model.parameters(), model.layout), vector)
    with pytest.raises(ShapeMismatch, match=r"0\.bias"):
        model.load(model.parameters() | {"0.bias": np.zeros(5, np.float32)})


def test_convolutions_group_norm_and_embeddings_train() -> None:
    x, y = records(shape=(1, 8, 8))
    convolution = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    assert TorchModel(convolution, cross_entropy).clipped_gradient_sum(x, y, np.arange(20), 1.0).any()
    words = np.random.default_rng(0).integers(0, 9, (20, 5))
    embedding = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(20, 3))
    assert TorchModel(embedding, cross_entropy).clipped_gradient_sum(words, y, np.arange(20), 1.0).any()
    assert TorchModel(embedding, cross_entropy).logits(words).dtype == np.float64


def test_a_recurrent_layer_trains_record_by_record() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(2, 4, batch_first=True)
            self.head = nn.Linear(4, 3)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x)[0][:, -1])

    x, y = records(shape=(5, 2))
    model = TorchModel(Recurrent(), cross_entropy, vectorised=False)
    total = model.clipped_gradient_sum(x, y, np.arange(20), 0.1)
    assert 0 < np.linalg.norm(total) <= 20 * 0.1


def test_tied_and_frozen_parameters_travel_once_or_not_at_all() -> None:
    first, second = nn.Linear(6, 6), nn.Linear(6, 6)
    second.weight = first.weight
    head = nn.Linear(6, 3).requires_grad_(False)
    model = TorchModel(nn.Sequential(first, nn.Tanh(), second, head), cross_entropy)
    assert [spec.name for spec in model.layout.tensors] == ["0.bias", "0.weight", "2.bias"]
    x, y = records()
    assert model.clipped_gradient_sum(x, y, np.arange(20), 1.0).shape == (48,)
    assert model.logits(x).shape == (20, 3)


def test_the_result_repeats_bit_for_bit_and_threads_are_left_as_they_were() -> None:
    x, y = records()
    model = TorchModel(mlp(), cross_entropy)
    torch.set_num_threads(2)
    first = model.clipped_gradient_sum(x, y, np.arange(20), 1.0)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    assert model.clipped_gradient_sum(x, y, np.arange(20), 1.0).tobytes() == first.tobytes()


def test_dropout_is_off_and_other_randomness_is_refused() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 3)

        def forward(self, x: Any) -> Any:
            return self.linear(x + torch.randn_like(x))

    x, y = records()
    model = TorchModel(nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 3)), cross_entropy)
    first = model.clipped_gradient_sum(x, y, np.arange(20), 1.0)
    assert model.clipped_gradient_sum(x, y, np.arange(20), 1.0).tobytes() == first.tobytes()
    with pytest.raises(UnsupportedModule, match="random"):
        TorchModel(Noisy(), cross_entropy).clipped_gradient_sum(x, y, np.arange(20), 1.0)


def test_microbatches_shrink_to_the_memory_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    original = torch_model.clip_factors

    def recorded(squared_norms: np.ndarray, clip: float) -> np.ndarray:
        held.append(len(squared_norms))
        return original(squared_norms, clip)

    monkeypatch.setattr(torch_model, "GRADIENT_BYTES", 4 * 53 * 3)
    monkeypatch.setattr(torch_model, "clip_factors", recorded)
    x, y = records()
    TorchModel(mlp(), cross_entropy).clipped_gradient_sum(x, y, np.arange(8), 1.0)
    assert held == [3, 3, 2]
