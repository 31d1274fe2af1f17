"""Any PyTorch module as a `model.PerRecordModel`, through `torch.func`.

Each record is a batch of its own inside `vmap`, so its gradient cannot depend on any other record. What
would break that promise elsewhere is refused by name: layers that normalise over the batch, and layers
that keep running statistics, which would carry records out of training without noise.

Gradients are taken in microbatches of bounded memory, on one thread, with the module in evaluation mode
(dropout off; a layer that still draws random numbers is refused). Only parameters that require
a gradient are trained and travel; buffers and frozen parameters are constants, part of the code.
This is the only module of the package that imports torch.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

try:
    import torch
except ImportError as error:  # pragma: no cover - depends on what is installed
    raise ImportError("learning.torch_model needs PyTorch: install the `train` extra", name="torch") from error
from torch import nn
from torch.func import functional_call, grad, vmap

from .errors import LearningError
from .model import clip_factors
from .tensors import Float64, Int64, Layout, Records, require_tensors

GRADIENT_BYTES = 2**28
"""Per-record gradients held at once: 256 MiB."""
EVALUATION_BATCH = 512

RecordLoss = Callable[[Any, Any], Any]
"""(output, target) of a batch of one record to a scalar tensor, such as `nn.functional.cross_entropy`."""


class UnsupportedModule(LearningError):
    """A module that cannot be trained record by record; `facts` name the layer."""

    reason: ClassVar[str] = "unsupported_module"


class TorchModel:
    """A `model.PerRecordModel` around a module and a loss per record; the module is used in place.

    `microbatch`: records per vectorised call, at most. `vectorised=False` takes records one by one, for
    layers that `vmap` does not know, such as LSTM; it is some ten times slower.
    Raises UnsupportedModule, here or from the first gradient.
    """

    def __init__(self, module: Any, record_loss: RecordLoss, microbatch: int = 64, vectorised: bool = True) -> None:
        _refuse_mixing(module)
        _refuse_parameters(module)
        self._module = module.eval()
        self._loss = record_loss
        self._vectorised = vectorised
        self._trained = {name: p for name, p in sorted(module.named_parameters()) if p.requires_grad}
        self._layout = Layout.from_shapes({name: tuple(p.shape) for name, p in self._trained.items()})
        self._microbatch = max(1, min(microbatch, GRADIENT_BYTES // (4 * self._layout.size)))

    @property
    def layout(self) -> Layout:
        """Names and shapes of the trained parameters."""
        return self._layout

    def parameters(self) -> dict[str, Records]:
        """Copies of the trained parameters, row-major."""
        return {name: np.array(p.detach().numpy(), order="C") for name, p in self._trained.items()}

    def load(self, tensors: Mapping[str, Records]) -> None:
        """Copy values into the trained parameters. Raises a tensors.TensorError that names what does not fit."""
        require_tensors(tensors, self._layout)
        with torch.no_grad():
            for name, parameter in self._trained.items():
                parameter.copy_(torch.from_numpy(np.ascontiguousarray(tensors[name])))

    def clipped_gradient_sum(self, inputs: Records, targets: Records, indices: Int64, clip: float) -> Float64:
        """Sum of clipped per-record gradients; see `model.PerRecordModel`."""
        total = np.zeros(self._layout.size)
        parameters = {name: p.detach() for name, p in self._trained.items()}
        with _single_thread(), self._constant_buffers():
            for start in range(0, len(indices), self._microbatch):
                chosen = indices[start : start + self._microbatch]
                gradients = self._gradients(parameters, _tensor(inputs[chosen]), _tensor(targets[chosen]))
                total += _clipped_sum(gradients, clip)
        return total

    def logits(self, inputs: Records) -> Float64:
        """The module's output in float64, shape (n, classes): rounding differs less between machines."""
        # Not `state_dict`: it lists a tied parameter twice, which `functional_call` refuses.
        held = {**dict(self._module.named_parameters()), **dict(self._module.named_buffers())}
        state = {name: _to_double(tensor.detach()) for name, tensor in held.items()}
        outputs = []
        with _single_thread(), self._constant_buffers(), torch.no_grad():
            for start in range(0, len(inputs), EVALUATION_BATCH):
                batch = _to_double(_tensor(inputs[start : start + EVALUATION_BATCH]))
                outputs.append(functional_call(self._module, state, (batch,)).numpy())
        return np.concatenate(outputs)

    def _gradients(self, parameters: dict[str, Any], inputs: Any, targets: Any) -> list[Any]:
        """Per-record gradients of a microbatch: one (records, size) tensor per parameter, in layout order."""
        gradient = grad(self._record_loss)
        try:
            if self._vectorised:
                by_name = vmap(gradient, in_dims=(None, 0, 0))(parameters, inputs, targets)
            else:
                each = [gradient(parameters, x, y) for x, y in zip(inputs, targets, strict=True)]
                by_name = {name: torch.stack([g[name] for g in each]) for name in parameters}
        except RuntimeError as error:
            # Random layers, changed buffers, operators without a batching rule, records of a wrong shape.
            raise UnsupportedModule(f"torch cannot take the gradient of single records: {error}") from error
        return [by_name[spec.name].reshape(len(inputs), -1) for spec in self._layout.tensors]

    def _record_loss(self, parameters: dict[str, Any], record: Any, target: Any) -> Any:
        output = functional_call(self._module, parameters, (record.unsqueeze(0),))
        return self._loss(output, target.unsqueeze(0)).squeeze()

    @contextmanager
    def _constant_buffers(self) -> Iterator[None]:
        """Refuse a module whose forward pass changes a buffer: records would leave through it unnoised."""
        before = _buffer_versions(self._module)
        yield
        after = _buffer_versions(self._module)
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name):
                raise UnsupportedModule(f"buffer {name} changes in the forward pass", buffer=name)


def _clipped_sum(gradients: list[Any], clip: float) -> Float64:
    squared_norms = sum(g.double().square().sum(dim=1) for g in gradients)
    factors = torch.from_numpy(clip_factors(np.asarray(squared_norms), clip))
    kept = factors > 0  # zero times NaN is NaN, so its row has to go
    return np.concatenate([(factors[kept] @ g[kept].double()).numpy() for g in gradients])


def _refuse_mixing(module: Any) -> None:
    for name, layer in module.named_modules():
        kind = type(layer).__name__
        shown = f"{name or 'the module'} ({kind})"
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) or "BatchNorm" in kind:  # noqa: SLF001 (no public base)
            raise UnsupportedModule(f"{shown} mixes records: use GroupNorm or LayerNorm", layer=name, kind=kind)
        if getattr(layer, "track_running_stats", False):
            raise UnsupportedModule(
                f"{shown} keeps running statistics of records: set track_running_stats=False", layer=name, kind=kind
            )


def _refuse_parameters(module: Any) -> None:
    for name, parameter in module.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise UnsupportedModule(f"parameter {name} has no shape yet: run one batch first", parameter=name)
        if parameter.dtype != torch.float32 or parameter.device.type != "cpu":
            raise UnsupportedModule(
                f"parameter {name} is {parameter.dtype} on {parameter.device}: float32 on the CPU is needed",
                parameter=name,
            )


def _buffer_versions(module: Any) -> dict[str, tuple[int, int]]:
    # Assignment gives another tensor, an in-place change another version of it.
    return {name: (id(buffer), buffer._version) for name, buffer in module.named_buffers()}  # noqa: SLF001


def _tensor(records: Records) -> Any:
    """Floats as float32, integers as int64, which is what layers and losses take."""
    dtype = np.float32 if np.issubdtype(records.dtype, np.floating) else np.int64
    return torch.from_numpy(np.ascontiguousarray(records, dtype=dtype))


def _to_double(tensor: Any) -> Any:
    return tensor.double() if tensor.is_floating_point() else tensor


@contextmanager
def _single_thread() -> Iterator[None]:
    """One thread: the order of additions, and so the last bit, no longer depends on the number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
