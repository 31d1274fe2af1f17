"""The bytes of an update or of a model version: a safetensors file with exactly one valid form.

Any safetensors reader opens a payload, and nothing is ever unpickled. On top of the format this module
allows one encoding of a vector only: the manifest and the layout, both known from the ledger to whoever
receives it, fix the header byte for byte. So honest encoders agree on the digest, the size is known
before anything is fetched, and there is no spare byte to hide something in.

The manifest says what the bytes are and nothing about how they came to be: no loss, count or timing,
because those would leave the organisation without any noise. An update's names whose it is and what for, so
that a copy of it is worth nothing to anybody else, and holds 32 random bytes, so that a digest of it is no
oracle for what is in it; and it is padded, so that all updates of a task have one size. A model's has
neither: whoever recomputes it arrives at the same bytes.
What a payload is encrypted to, and where it is kept, is the client's business.
"""

import re
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from . import fixed
from .refusals import NotFinite, OutOfRange, OverNorm, Oversize
from .safetensors_header import Header, walk
from .tensors import Float32, Int32, Layout, Records, require_vector, unflatten

FORMAT = "fedledger.payload/2"
MAX_ROUND = 2**53 - 1
NAME_CHARS = 40
DIGEST_CHARS = 64
ANY_SALT = "0" * DIGEST_CHARS
"""What a receiver expects of a salt: that there is one."""

_NAME = re.compile(rf"[a-z0-9-]{{1,{NAME_CHARS}}}", re.ASCII)
_DIGEST = re.compile(rf"[0-9a-f]{{{DIGEST_CHARS}}}", re.ASCII)
_NAMES = frozenset({"organisation", "dataset", "task", "round", "base"})


class PayloadKind(StrEnum):
    """What the vector is."""

    UPDATE = "update"
    """The difference between locally trained and base parameters."""
    MODEL = "model"
    """The parameters of a version."""


@dataclass(frozen=True)
class Owner:
    """Whose update it is, and the 32 random bytes (lower-case hex) that keep its digest from being guessed."""

    organisation: str
    dataset: str
    salt: str = ANY_SALT


@dataclass(frozen=True)
class Manifest:
    """What a payload says about itself; all of it but an update's salt is on the ledger too.

    `base` is the digest (lower-case hex) of the version that the payload starts from, empty for the first version.
    `scale_bits` None means float32 instead of int32. `owner` is what an update has and a model has not.
    Raises TypeError for a field out of its form: manifests are made from the ledger, not from payloads.
    """

    kind: PayloadKind
    task: str
    round: int
    base: str
    scale_bits: int | None = fixed.SCALE_BITS
    owner: Owner | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.task) or not (self.base == "" or _DIGEST.fullmatch(self.base)):
            raise TypeError(f"task {self.task!r} or base {self.base!r} is not of its form")
        if not 0 <= self.round <= MAX_ROUND:
            raise TypeError(f"round is 0 to {MAX_ROUND}, not {self.round}")
        if self.scale_bits is not None and not 0 <= self.scale_bits <= fixed.MAX_SCALE_BITS:
            raise TypeError(f"scale_bits is 0 to {fixed.MAX_SCALE_BITS}, not {self.scale_bits}")
        if (self.kind is PayloadKind.UPDATE) != (self.owner is not None):
            raise TypeError(f"an update has an owner and a model has none: {self.kind}, {self.owner}")
        if self.owner is not None and not self._is_owned(self.owner):
            raise TypeError(f"a name or the salt is not of its form, or there is no base: {self.owner}")

    @property
    def codec(self) -> str:
        """The codec's name: `float32`, or `int32-fixed-16` with the scale in it."""
        return "float32" if self.scale_bits is None else f"int32-fixed-{self.scale_bits}"

    def header(self, layout: Layout) -> Header:
        """The header that every payload with this manifest and layout has."""
        metadata = {
            "format": FORMAT,
            "kind": self.kind.value,
            "task": self.task,
            "round": str(self.round),
            "base": self.base,
            "codec": self.codec,
            "layout": layout.digest.hex(),
        }
        dtype = "F32" if self.scale_bits is None else "I32"
        if self.owner is None:
            return Header(layout, dtype, metadata, _NAMES)
        named = {"organisation": self.owner.organisation, "dataset": self.owner.dataset, "round": str(self.round)}
        longest = 2 * NAME_CHARS + len(str(MAX_ROUND))
        spaces = longest - sum(map(len, named.values()))
        return Header(layout, dtype, {**metadata, **named, "salt": self.owner.salt}, _NAMES, spaces)

    def _is_owned(self, owner: Owner) -> bool:
        named = _NAME.fullmatch(owner.organisation) and _NAME.fullmatch(owner.dataset)
        return bool(named and _DIGEST.fullmatch(owner.salt) and self.base)


@dataclass(frozen=True)
class Expectation:
    """What the ledger lets a receiver expect of a payload.

    The salt of an update is its owner's to choose: any is as expected. `max_bytes` bounds the size, in bytes.
    `max_norm` bounds the L2 norm, in units of 2**-scale_bits (for float32, of 2**-16); None where the terms set no
    bound, as for a model.
    """

    manifest: Manifest
    layout: Layout
    max_bytes: int
    max_norm: int | None


@dataclass(frozen=True)
class Payload:
    """A payload that kept every rule: `vector` is int32 units, or float32 for that codec."""

    manifest: Manifest
    layout: Layout
    vector: Int32 | Float32

    def units(self) -> Int32:
        """The vector in fixed point, whatever the codec. Raises fixed.Saturated for a float32 beyond it."""
        if self.manifest.scale_bits is None:
            return fixed.to_fixed(self.vector.astype(np.float32))
        return self.vector.astype(np.int32)

    def tensors(self) -> dict[str, Records]:
        """The named float32 tensors, ready to load into a model."""
        if self.manifest.scale_bits is None:
            return unflatten(self.vector, self.layout)
        return unflatten(fixed.to_float(self.units(), self.manifest.scale_bits), self.layout)


def encoded_size(manifest: Manifest, layout: Layout) -> int:
    """The size in bytes of every payload with this manifest and layout."""
    header = manifest.header(layout)
    return len(header.canonical()) + header.data_bytes


def encode_payload(vector: Int32 | Float32, manifest: Manifest, layout: Layout) -> bytes:
    """The one encoding of a vector of shape (layout.size,): int32 units, or float32 for that codec.

    Raises tensors.ShapeMismatch, NotFinite or OutOfRange; TypeError when the dtype is not the codec's.
    """
    require_vector(vector, layout)
    expected = np.dtype(np.float32 if manifest.scale_bits is None else np.int32)
    if vector.dtype != expected:
        raise TypeError(f"codec {manifest.codec} takes {expected}, not {vector.dtype}")
    _check_numbers(vector)
    return manifest.header(layout).canonical() + vector.astype(expected.newbyteorder("<")).tobytes()


def decode_payload(raw: bytes, expected: Expectation) -> Payload:
    """Read a payload that is exactly as expected.

    Raises a PayloadRefused: Oversize before anything is read, then what is wrong with the header (Misnamed when it is
    somebody else's, or for something else), then with the size, then with the numbers (NotFinite, OutOfRange,
    OverNorm).
    """
    if len(raw) > expected.max_bytes:
        raise Oversize(
            f"{len(raw)} bytes exceed the declared {expected.max_bytes}",
            limit=expected.max_bytes,
            actual=len(raw),
        )
    manifest = _with_salt_of(raw, expected.manifest, expected.layout)
    data = walk(raw, manifest.header(expected.layout))
    vector: Int32 | Float32
    if manifest.scale_bits is None:
        vector = np.frombuffer(data, dtype="<f4").astype(np.float32)
    else:
        vector = np.frombuffer(data, dtype="<i4").astype(np.int32)
    _check_numbers(vector)
    if expected.max_norm is not None:
        _check_norm(vector, expected.max_norm)
    return Payload(manifest, expected.layout, vector)


def _with_salt_of(raw: bytes, manifest: Manifest, layout: Layout) -> Manifest:
    """The manifest with the salt that stands where an honest encoder puts it, if one stands there."""
    if manifest.owner is None:
        return manifest
    sought = replace(manifest.owner, salt=ANY_SALT)
    place = replace(manifest, owner=sought).header(layout).canonical().index(f'"salt":"{ANY_SALT}"'.encode())
    start = place + len('"salt":"')
    found = raw[start : start + DIGEST_CHARS].decode("ascii", "replace")
    return replace(manifest, owner=replace(sought, salt=found if _DIGEST.fullmatch(found) else ANY_SALT))


def _check_numbers(vector: Int32 | Float32) -> None:
    """Raise NotFinite or OutOfRange, naming the first bad coordinate."""
    if vector.dtype == np.float32:
        good = np.isfinite(vector)
        if not good.all():
            index = int(np.argmin(good))
            raise NotFinite(f"coordinate {index} is NaN or infinite", index=index)
    else:
        good = vector >= -fixed.LIMIT
        if not good.all():
            index = int(np.argmin(good))
            raise OutOfRange(f"coordinate {index} is -2**31", index=index, limit=-fixed.LIMIT)


def _check_norm(vector: Int32 | Float32, max_norm: int) -> None:
    """Raise OverNorm. Compared in integers, so every machine agrees about a vector on the edge."""
    try:
        units = fixed.to_fixed(vector.astype(np.float32)) if vector.dtype == np.float32 else vector
    except fixed.Saturated as error:
        raise OverNorm(f"a coordinate alone exceeds {fixed.LIMIT} units", limit=max_norm) from error
    squared = fixed.squared_norm(units.astype(np.int32))
    if squared > max_norm * max_norm:
        raise OverNorm(
            f"squared norm {squared} exceeds {max_norm}**2 units",
            limit_squared=max_norm * max_norm,
            actual_squared=squared,
        )
