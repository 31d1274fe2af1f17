"""The public artefacts of a task: what is read is exactly what the terms name, in exactly its form."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from client_sdk.payloads.store import payload_cid
from client_sdk.training import artefacts
from client_sdk.training.artefacts import ArtefactRefused, decode_canary, decode_inputs, describe, require_as_named
from contracts.kernel import crypto
from learning.inputs import Standardisation
from learning.payload import Owner, encode_payload
from tests.local_task import SCALE_BITS, prepared, records

GOOD = prepared().data
INPUTS = decode_inputs(GOOD["inputs"])
GOOD_DIGEST = crypto.sha256(GOOD["initial"])


def test_an_artefact_is_described_by_cid_digest_and_size() -> None:
    named = describe(b"public bytes")
    assert (named.cid, named.digest, named.size) == (
        str(payload_cid(b"public bytes")),
        crypto.sha256(b"public bytes"),
        12,
    )
    assert require_as_named("inputs", b"public bytes", named) == b"public bytes"


@pytest.mark.parametrize("data", [b"public bytez", b"public byte", b"public bytes ", b""])
def test_other_bytes_than_those_the_terms_name_are_refused(data: bytes) -> None:
    with pytest.raises(ArtefactRefused, match="inputs: the fetched bytes"):
        require_as_named("inputs", data, describe(b"public bytes"))


# Inputs -----------------------------------------------------------------------------------------


def test_inputs_are_read_back_as_they_were_written() -> None:
    transform = Standardisation.from_reference(records(3)[0])
    read = decode_inputs(artefacts.encode_inputs((4, 8, 3), ("a", "b", "c"), transform))
    assert (read.widths, read.classes, read.mean, read.scale) == (
        (4, 8, 3),
        ("a", "b", "c"),
        transform.mean,
        transform.scale,
    )
    raw = records(5)[0]
    assert (read.transform(raw) == transform.apply(raw)).all()
    assert [spec.name for spec in read.layout.tensors] == ["0.bias", "0.weight", "2.bias", "2.weight"]


def test_records_of_any_shape_are_flattened_before_they_are_transformed() -> None:
    raw = records(5)[0]
    assert (INPUTS.transform(raw.reshape(-1, 2, 2)) == INPUTS.transform(raw)).all()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mean": INPUTS.mean[:-1]}, "4 features"),
        ({"scale": (*INPUTS.scale, 1)}, "4 features"),
        ({"scale": (0, *INPUTS.scale[1:])}, "positive scales"),
        ({"scale": (-1, *INPUTS.scale[1:])}, "positive scales"),
        ({"classes": ("a", "b", "c")}, "3 classes for 2 outputs"),
        ({"widths": (4, 1)}, "widths"),
        ({"widths": (4, 2**20, 2**20, 2), "mean": INPUTS.mean}, "parameters exceed"),
    ],
    ids=["a mean too few", "a scale too many", "scale 0", "scale -1", "a class too many", "one output", "too large"],
)
def test_inputs_that_contradict_themselves_are_refused_when_they_are_opened(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ArtefactRefused, match=says):
        decode_inputs(replace(INPUTS, **changes).encode())


@pytest.mark.parametrize("raw", [b"", b"{}", GOOD["inputs"] + b"\0", GOOD["canary"]])
def test_bytes_that_are_no_inputs_are_refused(raw: bytes) -> None:
    with pytest.raises(ArtefactRefused, match="inputs"):
        decode_inputs(raw)


# Canary -----------------------------------------------------------------------------------------


def canary(**changes: Any) -> bytes:
    inputs, targets = records(99)
    tensors = {"inputs": inputs.astype(np.float32), "targets": targets, **changes}
    return safetensors.numpy.save({name: tensor for name, tensor in tensors.items() if tensor is not None})


NAN = records(99)[0].astype(np.float32)
NAN[3, 1] = np.nan


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff" * 100,
        canary(targets=None),
        canary(names=np.zeros(3, np.int64)),
        canary(inputs=np.zeros((40, 5), np.float32)),
        canary(inputs=np.zeros((40, 4), np.float64)),
        canary(inputs=np.zeros((39, 4), np.float32)),
        canary(inputs=np.zeros((0, 4), np.float32), targets=np.zeros(0, np.int64)),
        canary(targets=np.zeros(40, np.int32)),
        canary(targets=np.full(40, 2)),
        canary(targets=np.full(40, -1)),
        canary(inputs=NAN),
    ],
    ids=[
        "nothing", "noise", "a tensor missing", "a tensor more", "a feature too many", "float64", "a record too few",
        "no records", "int32 targets", "class 2", "class -1", "NaN",
    ],
)  # fmt: skip
def test_a_canary_set_of_another_form_is_refused(raw: bytes) -> None:
    with pytest.raises(ArtefactRefused, match="canary"):
        decode_canary(raw, INPUTS)


def test_a_canary_set_larger_than_anybody_needs_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefacts, "CANARY_BYTES_MAX", len(GOOD["canary"]) - 1)
    with pytest.raises(ArtefactRefused, match="at most"):
        decode_canary(GOOD["canary"], INPUTS)


# Updates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 9, 10, 100_000])
@pytest.mark.parametrize("base", [bytes(32), b"\xff" * 32, GOOD_DIGEST])
@pytest.mark.parametrize("owner", [Owner("a", "b"), Owner("a" * 40, "b" * 40, "5a17" * 16)], ids=["short", "long"])
def test_every_update_of_a_task_has_one_size(number: int, base: bytes, owner: Owner) -> None:
    manifest = artefacts.update_manifest(prepared().terms.task, number, base, SCALE_BITS, owner)
    raw = encode_payload(np.zeros(INPUTS.layout.size, np.int32), manifest, INPUTS.layout)
    assert len(raw) == artefacts.update_size(prepared().terms, INPUTS.layout)


def test_the_norm_bound_is_rounded_down_to_whole_units() -> None:
    terms = prepared().terms
    assert artefacts.max_norm_units(terms) == 10 << SCALE_BITS
    narrow = replace(terms, update=replace(terms.update, max_norm_milli=1))
    assert artefacts.max_norm_units(narrow) == 65  # 65.536 units of 2**-16.
