"""Named tensors as one flat vector, and back.

A `Layout` fixes the order (by name) and the shapes once, so that every organisation means the same
coordinate by the same index; its digest goes into the terms. Tensors are float32, and mappings copy:
a view over a non-contiguous tensor would silently change the order of coordinates.
How the vector becomes integers is `fixed`; how it becomes bytes is `payload`.
"""

import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import LearningError

Float32: TypeAlias = NDArray[np.float32]
Float64: TypeAlias = NDArray[np.float64]
Int32: TypeAlias = NDArray[np.int32]
Int64: TypeAlias = NDArray[np.int64]
Bool: TypeAlias = NDArray[np.bool_]
Records: TypeAlias = NDArray[Any]
"""Records stacked along the first axis; dtype and the other axes are the model's business."""

MAX_TENSORS = 4096
MAX_RANK = 8
MAX_PARAMETERS = 2**26
"""Coordinates in one vector: 256 MiB as 32-bit numbers. `robust` relies on it to rule out overflow."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,254}", re.ASCII)
_DIGEST_DOMAIN = b"fedledger/learning/layout/1\n"


class TensorError(LearningError):
    """Tensors that do not fit a layout, or a layout that cannot be."""

    reason: ClassVar[str] = "tensor"


class InvalidLayout(TensorError):
    """A layout with a bad name, a bad shape, or more than the bounds of this module."""

    reason: ClassVar[str] = "invalid_layout"


class TensorMissing(TensorError):
    """A tensor of the layout is absent."""

    reason: ClassVar[str] = "tensor_missing"


class TensorUnexpected(TensorError):
    """A tensor that the layout does not have."""

    reason: ClassVar[str] = "tensor_unexpected"


class ShapeMismatch(TensorError):
    """A tensor, or a vector, of another shape than the layout's."""

    reason: ClassVar[str] = "shape_mismatch"


class DtypeMismatch(TensorError):
    """A tensor, or a vector, of another dtype than the layout's."""

    reason: ClassVar[str] = "dtype_mismatch"


@dataclass(frozen=True, order=True)
class TensorSpec:
    """One named tensor. A scalar has the shape (); no dimension is zero."""

    name: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidLayout(f"tensor name {self.name!r} is not of the form {_NAME.pattern}", name=self.name)
        if len(self.shape) > MAX_RANK or any(extent < 1 for extent in self.shape):
            raise InvalidLayout(
                f"tensor {self.name}: shape {self.shape} takes at most {MAX_RANK} axes, each at least 1",
                name=self.name,
                shape=self.shape,
            )

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """The order, names and shapes of a model's float32 tensors, sorted by name.

    Raises InvalidLayout when names repeat or are not sorted, or when a bound of this module is passed.
    """

    tensors: tuple[TensorSpec, ...]

    def __post_init__(self) -> None:
        names = [spec.name for spec in self.tensors]
        if not 1 <= len(names) <= MAX_TENSORS:
            raise InvalidLayout(
                f"a layout has 1 to {MAX_TENSORS} tensors, not {len(names)}",
                limit=MAX_TENSORS,
                actual=len(names),
            )
        if names != sorted(set(names)):
            raise InvalidLayout("the tensors of a layout are sorted by name, each name once", names=tuple(names))
        if self.size > MAX_PARAMETERS:
            raise InvalidLayout(
                f"{self.size} parameters exceed {MAX_PARAMETERS}", limit=MAX_PARAMETERS, actual=self.size
            )

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, Sequence[int]]) -> "Layout":
        """The layout of tensors with these shapes, whatever the mapping's order."""
        return cls(tuple(TensorSpec(name, tuple(shapes[name])) for name in sorted(shapes)))

    @classmethod
    def of(cls, tensors: Mapping[str, Records]) -> "Layout":
        """The layout of these tensors, whatever the mapping's order."""
        return cls.from_shapes({name: tensor.shape for name, tensor in tensors.items()})

    @cached_property
    def size(self) -> int:
        """Number of coordinates of the whole vector."""
        return sum(spec.size for spec in self.tensors)

    @cached_property
    def canonical(self) -> bytes:
        """The description that is hashed: one line `name float32 2x3` per tensor, in order."""
        lines = (f"{spec.name} float32 {'x'.join(map(str, spec.shape))}\n" for spec in self.tensors)
        return "".join(lines).encode("ascii")

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 (32 bytes) of the canonical description under this module's domain."""
        return hashlib.sha256(_DIGEST_DOMAIN + self.canonical).digest()

    def slices(self) -> Iterator[tuple[TensorSpec, slice]]:
        """Each tensor with its place in the vector."""
        start = 0
        for spec in self.tensors:
            yield spec, slice(start, start + spec.size)
            start += spec.size


def flatten(tensors: Mapping[str, Records], layout: Layout | None = None) -> Float32:
    """Concatenate named float32 tensors, row-major, in the layout's order (by default their own).

    Returns a new vector of shape (layout.size,). Raises TensorMissing, TensorUnexpected, ShapeMismatch
    or DtypeMismatch, each naming the tensor.
    """
    layout = Layout.of(tensors) if layout is None else layout
    require_tensors(tensors, layout)
    return np.concatenate([np.asarray(tensors[spec.name]).reshape(-1) for spec in layout.tensors])


def unflatten(vector: NDArray[Any], layout: Layout) -> dict[str, NDArray[Any]]:
    """Cut a vector of shape (layout.size,) into named tensors (copies, of the vector's dtype).

    Raises ShapeMismatch when the vector is not of the layout's size.
    """
    require_vector(vector, layout)
    return {spec.name: vector[place].reshape(spec.shape).copy() for spec, place in layout.slices()}


def require_vector(vector: NDArray[Any], layout: Layout) -> None:
    """Raise ShapeMismatch unless the vector has the shape (layout.size,)."""
    if vector.shape != (layout.size,):
        raise ShapeMismatch(
            f"vector: expected shape ({layout.size},), got {vector.shape}",
            tensor=None,
            expected=(layout.size,),
            actual=vector.shape,
        )


def require_tensors(tensors: Mapping[str, Records], layout: Layout) -> None:
    """Raise the refusal that names the first tensor, in order, that is not as the layout says."""
    expected_names = {spec.name for spec in layout.tensors}
    for name in sorted(tensors.keys() - expected_names):
        raise TensorUnexpected(f"tensor {name} is not in the layout", tensor=name)
    for spec in layout.tensors:
        if spec.name not in tensors:
            raise TensorMissing(f"tensor {spec.name} is missing", tensor=spec.name)
        tensor = tensors[spec.name]
        if tensor.shape != spec.shape:
            raise ShapeMismatch(
                f"tensor {spec.name}: expected shape {spec.shape}, got {tensor.shape}",
                tensor=spec.name,
                expected=spec.shape,
                actual=tensor.shape,
            )
        if tensor.dtype != np.float32:
            raise DtypeMismatch(
                f"tensor {spec.name}: expected float32, got {tensor.dtype}",
                tensor=spec.name,
                expected="float32",
                actual=str(tensor.dtype),
            )
