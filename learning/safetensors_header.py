"""The header of a safetensors file: the one canonical form we write, and a strict walk over what arrives.

Format (safetensors specification, "Format"): `u64 little-endian N`, N bytes of JSON, then the data. The
JSON maps each tensor name to {dtype, shape, data_offsets}, and `__metadata__` to a flat map of strings.
The canonical form fixes what the format leaves open: `__metadata__` first with sorted keys, tensors by
name and back to back, no white space, ASCII, padded with spaces to a multiple of 8, after as many spaces as the
header's maker asks for: so files whose names differ in length can have one length.

The walk is never trusted to find everything: `walk` ends by comparing the bytes with the canonical form.
Its steps before that exist so that a refusal names the tensor or the entry that is wrong.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .refusals import (
    ExtraTensor,
    Malformed,
    Misnamed,
    MissingTensor,
    TrailingBytes,
    Truncated,
    WrongDtype,
    WrongManifest,
    WrongShape,
)
from .tensors import Layout

LENGTH_BYTES = 8
ITEM_BYTES = 4  # both allowed dtypes, I32 and F32
HEADER_SLACK_BYTES = 4096
"""How much longer than expected a header may be and still be parsed, only to name what is wrong."""

_ALIGNMENT = 8
_METADATA = "__metadata__"
_FIELDS = {"dtype", "shape", "data_offsets"}


@dataclass(frozen=True)
class Header:
    """What a file of this layout, dtype ("I32" or "F32") and metadata must begin with.

    `names` are the entries that say whose the file is and what for. `spaces` are added to the JSON before it is
    aligned.
    """

    layout: Layout
    dtype: str
    metadata: Mapping[str, str]
    names: frozenset[str] = frozenset()
    spaces: int = 0

    def canonical(self) -> bytes:
        """The length prefix and the JSON, padded: everything before the data."""
        document: dict[str, Any] = {_METADATA: dict(sorted(self.metadata.items()))}
        for spec, place in self.layout.slices():
            document[spec.name] = {
                "dtype": self.dtype,
                "shape": list(spec.shape),
                "data_offsets": [place.start * ITEM_BYTES, place.stop * ITEM_BYTES],
            }
        text = json.dumps(document, separators=(",", ":"), ensure_ascii=True).encode("ascii")
        text += b" " * self.spaces
        text += b" " * (-len(text) % _ALIGNMENT)
        return len(text).to_bytes(LENGTH_BYTES, "little") + text

    @property
    def data_bytes(self) -> int:
        """Size of the data that follows."""
        return self.layout.size * ITEM_BYTES


def walk(raw: bytes, expected: Header) -> memoryview:
    """The data of a file whose header is exactly the expected one. Raises the refusal that says why not."""
    canonical = expected.canonical()
    if not raw.startswith(canonical):
        _explain_header(raw, expected, limit=len(canonical) + HEADER_SLACK_BYTES)
        raise Malformed("the header is not in its canonical form: order, white space or escapes differ")
    actual, wanted = len(raw) - len(canonical), expected.data_bytes
    if actual < wanted:
        raise Truncated(f"{actual} bytes of data, {wanted} expected", expected=wanted, actual=actual)
    if actual > wanted:
        raise TrailingBytes(f"{actual - wanted} bytes after the last tensor", expected=wanted, actual=actual)
    return memoryview(raw)[len(canonical) :]


def _explain_header(raw: bytes, expected: Header, limit: int) -> None:
    document = _parse(raw, limit)
    _check_metadata(document.pop(_METADATA, None), expected)
    _check_names(document, expected.layout)
    for spec, place in expected.layout.slices():
        offsets = [place.start * ITEM_BYTES, place.stop * ITEM_BYTES]
        _check_tensor(spec.name, document[spec.name], expected.dtype, list(spec.shape), offsets)


def _parse(raw: bytes, limit: int) -> dict[str, Any]:
    """The JSON object of the header; no duplicate keys at any depth, no constants that JSON does not have."""
    if len(raw) < LENGTH_BYTES:
        raise Truncated(f"{len(raw)} bytes cannot hold a header length", expected=LENGTH_BYTES, actual=len(raw))
    length = int.from_bytes(raw[:LENGTH_BYTES], "little")
    if length > limit:
        raise Malformed(f"a header of {length} bytes exceeds {limit}", limit=limit, actual=length)
    if LENGTH_BYTES + length > len(raw):
        raise Truncated(
            f"the header says {length} bytes, {len(raw) - LENGTH_BYTES} follow",
            expected=length,
            actual=len(raw) - LENGTH_BYTES,
        )
    try:
        document = json.loads(
            raw[LENGTH_BYTES : LENGTH_BYTES + length].decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
        )
    # Deep nesting raises RecursionError; duplicate keys, bad UTF-8 and giant integers raise ValueErrors.
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the header is not strict JSON: {type(error).__name__}") from error
    if not isinstance(document, dict):
        raise Malformed("the header is not a JSON object")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("duplicate key")
    return document


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _check_metadata(actual: Any, expected: Header) -> None:
    if not isinstance(actual, dict):
        raise WrongManifest(f"{_METADATA} is missing or not an object", key=_METADATA)
    for key in sorted(actual.keys() - expected.metadata.keys()):
        raise WrongManifest(f"the manifest has a surplus entry {key[:64]!r}", key=key[:64])
    wrong = sorted(key for key in expected.metadata if actual.get(key) != expected.metadata[key])
    for key in sorted(wrong, key=lambda key: key not in expected.names):  # A wrong name explains what else is wrong.
        wanted, shown = expected.metadata[key], repr(actual.get(key))[:80]
        kind = Misnamed if key in expected.names and isinstance(actual.get(key), str) else WrongManifest
        raise kind(f"manifest {key}: expected {wanted!r}, got {shown}", key=key, expected=wanted, actual=shown)


def _check_names(document: Mapping[str, Any], layout: Layout) -> None:
    expected = {spec.name for spec in layout.tensors}
    for name in sorted(document.keys() - expected):
        raise ExtraTensor(f"tensor {name[:255]!r} is not in the layout", tensor=name[:255])
    for name in sorted(expected - document.keys()):
        raise MissingTensor(f"tensor {name} is missing", tensor=name)


def _check_tensor(name: str, entry: Any, dtype: str, shape: list[int], offsets: list[int]) -> None:
    if not isinstance(entry, dict) or entry.keys() != _FIELDS:
        raise Malformed(f"tensor {name}: an entry has exactly dtype, shape and data_offsets", tensor=name)
    if entry["dtype"] != dtype:
        shown = repr(entry["dtype"])[:32]
        raise WrongDtype(f"tensor {name}: expected {dtype}, got {shown}", tensor=name, expected=dtype, actual=shown)
    if entry["shape"] != shape:
        shown = repr(entry["shape"])[:80]
        raise WrongShape(f"tensor {name}: expected {shape}, got {shown}", tensor=name, expected=shape, actual=shown)
    if entry["data_offsets"] != offsets:
        shown = repr(entry["data_offsets"])[:80]
        raise Malformed(
            f"tensor {name}: tensors lie back to back, expected offsets {offsets}, got {shown}",
            tensor=name,
            expected=offsets,
            actual=shown,
        )
