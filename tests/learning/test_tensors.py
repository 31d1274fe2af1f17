"""Named tensors and their flat vector."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from learning.tensors import (
    MAX_PARAMETERS,
    DtypeMismatch,
    InvalidLayout,
    Layout,
    ShapeMismatch,
    TensorMissing,
    TensorUnexpected,
    flatten,
    unflatten,
)

names = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.\-]{0,20}\Z")
float32_tensors = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=0, max_dims=3, max_side=4),
    elements=st.floats(-1e6, 1e6, width=32),
)


@given(st.dictionaries(names, float32_tensors, min_size=1, max_size=5))
def test_unflatten_undoes_flatten(tensors: dict[str, np.ndarray]) -> None:
    layout = Layout.of(tensors)
    restored = unflatten(flatten(tensors, layout), layout)
    assert list(restored) == sorted(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(restored[name], tensor)


def test_the_order_is_by_name_whatever_the_mapping_says() -> None:
    tensors = {"b": np.full((2,), 2, np.float32), "a": np.full((1,), 1, np.float32)}
    assert flatten(tensors).tolist() == [1, 2, 2]
    assert Layout.of(tensors) == Layout.from_shapes({"a": (1,), "b": (2,)})


def test_a_transposed_view_is_flattened_by_its_own_indices_not_its_memory() -> None:
    view = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert flatten({"w": view}).tolist() == [0, 3, 1, 4, 2, 5]


def test_flatten_and_unflatten_copy() -> None:
    source = np.zeros(2, np.float32)
    vector = flatten({"w": source})
    tensors = unflatten(vector, Layout.of({"w": source}))
    vector[0] = 1
    assert source[0] == 0
    assert tensors["w"][0] == 0


def test_the_digest_is_of_the_documented_text() -> None:
    layout = Layout.from_shapes({"weight": (2, 3), "bias": (), "a.b": (4,)})
    assert layout.canonical == b"a.b float32 4\nbias float32 \nweight float32 2x3\n"
    assert layout.digest == hashlib.sha256(b"fedledger/learning/layout/1\n" + layout.canonical).digest()


@pytest.mark.parametrize(
    "other",
    [{"w": (3, 2), "b": (2,)}, {"w": (2, 3)}, {"w": (2, 3), "c": (2,)}, {"w": (6,), "b": (2,)}],
)
def test_another_name_or_shape_is_another_digest(other: dict[str, tuple[int, ...]]) -> None:
    assert Layout.from_shapes(other).digest != Layout.from_shapes({"w": (2, 3), "b": (2,)}).digest


def test_refusals_name_the_tensor_and_both_sides() -> None:
    layout = Layout.from_shapes({"w": (2, 3)})
    good = np.zeros((2, 3), np.float32)
    with pytest.raises(ShapeMismatch) as shape:
        flatten({"w": good.T}, layout)
    assert shape.value.facts == {"tensor": "w", "expected": (2, 3), "actual": (3, 2)}
    with pytest.raises(DtypeMismatch) as dtype:
        flatten({"w": good.astype(np.float64)}, layout)
    assert dtype.value.facts == {"tensor": "w", "expected": "float32", "actual": "float64"}
    with pytest.raises(TensorMissing, match="tensor w"):
        flatten({}, layout)
    with pytest.raises(TensorUnexpected, match="tensor extra"):
        flatten({"w": good, "extra": good}, layout)
    with pytest.raises(ShapeMismatch, match=r"expected shape \(6,\), got \(5,\)"):
        unflatten(np.zeros(5, np.float32), layout)


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"": (1,)},
        {"two words": (1,)},
        {"__metadata__": (1,)},
        {"a\n": (1,)},
        {"w": (0,)},
        {"w": (1,) * 9},
        {"w": (MAX_PARAMETERS + 1,)},
        {f"t{i}": (1,) for i in range(4097)},
    ],
)
def test_a_layout_out_of_bounds_is_refused(shapes: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(InvalidLayout):
        Layout.from_shapes(shapes)
