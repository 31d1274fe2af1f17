"""The public artefacts that a task's terms name: the model's form and input transforms, version 0, the canary set.

Each is bytes by content: the terms hold the CID, the digest and the size, so whoever fetches one holds exactly what
the members voted on. Anybody can open them; nothing in them comes from a participant's records.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import safetensors.numpy

from contracts.kernel import Record, codec, crypto
from contracts.kernel.types import Items, Label, Range
from contracts.terms import Artefact, Terms
from learning.errors import LearningError
from learning.feed_forward import MAX_LAYERS, FeedForward
from learning.inputs import Standardisation
from learning.payload import Expectation, Manifest, Owner, PayloadKind, decode_payload, encode_payload, encoded_size
from learning.tensors import Float64, Int32, Int64, Layout, Records

from ..errors import Kind, SdkError
from ..payloads.unixfs import payload_cid

INPUTS_BYTES_MAX = 4 * 1024 * 1024
CANARY_BYTES_MAX = 256 * 1024 * 1024
_DIGEST_BYTES = 32
Constant = Annotated[int, Range(-(2**63), 2**63 - 1)]
Width = Annotated[int, Range(1, 2**20)]


class TaskInputs(Record):
    """The model's form and the constants that turn raw records into its inputs."""

    widths: Annotated[tuple[Width, ...], Items(2, MAX_LAYERS + 1)]  # Inputs, hidden layers, classes.
    classes: Annotated[tuple[Label, ...], Items(2, 1024)]
    mean: Annotated[tuple[Constant, ...], Items(1, 2**20)]  # Per feature, in units of 2**-32.
    scale: Annotated[tuple[Constant, ...], Items(1, 2**20)]

    def transform(self, records: Records) -> Float64:
        """Raw records, flattened per record, as the model's inputs. Raises learning.inputs.InvalidInputs."""
        flat = records.reshape(len(records), -1) if records.ndim != 2 else records
        return Standardisation(self.mean, self.scale).apply(flat)

    @property
    def layout(self) -> Layout:
        """Names and shapes of the model's tensors."""
        return FeedForward(self.widths).layout


class ArtefactRefused(SdkError, ValueError):
    """Fetched bytes are not what the terms name, or not of their form."""

    kind = Kind.REFUSED
    hint = "Ask whoever published it, or fetch it from another store."

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}")
        self.name, self.why = name, why


@dataclass(frozen=True)
class CanarySet:
    """The held-out records that gate promotion: raw inputs and integer classes."""

    inputs: Records
    targets: Int64


def describe(data: bytes) -> Artefact:
    """What terms say about these bytes."""
    return Artefact(str(payload_cid(data)), crypto.sha256(data), len(data))


def require_as_named(name: str, data: bytes, artefact: Artefact) -> bytes:
    """The bytes, which are what the terms name. Raises ArtefactRefused."""
    if len(data) != artefact.size or crypto.sha256(data) != artefact.digest:
        raise ArtefactRefused(name, "the fetched bytes are not those the terms name")
    return data


def encode_inputs(widths: Sequence[int], classes: Sequence[str], transform: Standardisation) -> bytes:
    """The canonical bytes of a task's inputs."""
    return TaskInputs(tuple(widths), tuple(classes), transform.mean, transform.scale).encode()


def decode_inputs(data: bytes) -> TaskInputs:
    """Read a task's inputs. Raises ArtefactRefused."""
    try:
        task = codec.decode(TaskInputs, data, most=INPUTS_BYTES_MAX)
        _ = task.layout
    except (codec.Malformed, LearningError) as error:
        raise ArtefactRefused("inputs", str(error)) from error
    if not len(task.mean) == len(task.scale) == task.widths[0] or min(task.scale) < 1:
        raise ArtefactRefused("inputs", f"{task.widths[0]} features take as many means and positive scales")
    if len(task.classes) != task.widths[-1]:
        raise ArtefactRefused("inputs", f"{len(task.classes)} classes for {task.widths[-1]} outputs")
    return task


def encode_canary(inputs: Records, targets: Int64) -> bytes:
    """A canary set as a safetensors file."""
    tensors: dict[str, Records] = {
        "inputs": np.ascontiguousarray(inputs, np.float32),
        "targets": np.ascontiguousarray(targets, np.int64),
    }
    return safetensors.numpy.save(tensors)


def decode_canary(data: bytes, task: TaskInputs) -> CanarySet:
    """Read a canary set. Raises ArtefactRefused."""
    if len(data) > CANARY_BYTES_MAX:
        raise ArtefactRefused("canary", f"{len(data)} bytes, at most {CANARY_BYTES_MAX} are read")
    try:
        tensors = safetensors.numpy.load(data)
    except safetensors.SafetensorError as error:
        raise ArtefactRefused("canary", f"not a safetensors file: {error}") from error
    if tensors.keys() != {"inputs", "targets"}:
        raise ArtefactRefused("canary", "must hold the tensors inputs and targets")
    inputs, targets = tensors["inputs"], tensors["targets"]
    shaped = inputs.ndim == 2 and inputs.shape[1] == task.widths[0] and targets.shape == (len(inputs),)
    if not shaped or inputs.dtype != np.float32 or targets.dtype != np.int64 or len(inputs) == 0:
        raise ArtefactRefused("canary", "inputs must be (n, features) float32 and targets (n,) int64, n > 0")
    if not np.isfinite(inputs).all() or targets.min() < 0 or targets.max() >= task.widths[-1]:
        raise ArtefactRefused("canary", "an input is not finite, or a target is no class")
    return CanarySet(inputs, targets)


def model_manifest(task: str, number: int, parent: bytes | None, scale_bits: int) -> Manifest:
    """The manifest of a model version: ``number`` is the round it came from, 0 for the initial one."""
    return Manifest(PayloadKind.MODEL, task, number, "" if parent is None else parent.hex(), scale_bits)


def update_manifest(task: str, number: int, base: bytes, scale_bits: int, owner: Owner) -> Manifest:
    """The manifest of an update for a round, trained from the version with digest ``base``."""
    return Manifest(PayloadKind.UPDATE, task, number, base.hex(), scale_bits, owner)


def update_expectation(terms: Terms, number: int, base: bytes, layout: Layout, owner: Owner) -> Expectation:
    """What everybody who receives an update holds it to: its form, its names, its norm. Its salt may be any."""
    manifest = update_manifest(terms.task, number, base, terms.update.scale_bits, owner)
    return Expectation(manifest, layout, update_size(terms, layout), max_norm_units(terms))


def update_size(terms: Terms, layout: Layout) -> int:
    """The size in bytes of every update of a task: neither names nor round nor version matter to it."""
    anybody = Owner("anybody", "anything")
    return encoded_size(update_manifest(terms.task, 1, bytes(_DIGEST_BYTES), terms.update.scale_bits, anybody), layout)


def max_norm_units(terms: Terms) -> int:
    """The terms' bound on an update's L2 norm, in fixed-point units, rounded down."""
    return (terms.update.max_norm_milli << terms.update.scale_bits) // 1000


def encode_model(units: Int32, manifest: Manifest, layout: Layout) -> bytes:
    """The bytes of a model version."""
    return encode_payload(units, manifest, layout)


def decode_model(data: bytes, manifest: Manifest, layout: Layout) -> Int32:
    """The units of a model version. Raises learning.refusals.PayloadRefused."""
    expected = Expectation(manifest, layout, encoded_size(manifest, layout), max_norm=None)
    return decode_payload(data, expected).units()
