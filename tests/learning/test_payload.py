"""Payload bytes: one valid form, and a reason for everything else."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import safe_open
from safetensors.numpy import load, save

from learning import fixed, refusals
from learning.payload import (
    ANY_SALT,
    DIGEST_CHARS,
    MAX_ROUND,
    NAME_CHARS,
    Expectation,
    Manifest,
    Owner,
    PayloadKind,
    decode_payload,
    encode_payload,
    encoded_size,
)
from learning.refusals import PayloadRefused
from learning.safetensors_header import HEADER_SLACK_BYTES
from learning.tensors import Layout, ShapeMismatch

LAYOUT = Layout.from_shapes({"weight": (2, 3), "bias": (2,)})
SALT = "5a17" * 16
OWNER = Owner("hospital-a", "wdbc", SALT)
UPDATE = Manifest(PayloadKind.UPDATE, "breast-cancer", 3, "ab" * 32, owner=OWNER)
MODEL = Manifest(PayloadKind.MODEL, "breast-cancer", 3, "ab" * 32)
FLOATS = Manifest(PayloadKind.MODEL, "breast-cancer", 3, "ab" * 32, scale_bits=None)
VECTOR = np.array([1, -2, 3, -4, 5, -6, 7, -8], np.int32)


def expecting(manifest: Manifest = UPDATE, max_norm: int | None = None, max_bytes: int = 10_000) -> Expectation:
    return Expectation(manifest, LAYOUT, max_bytes=max_bytes, max_norm=max_norm)


def refused(raw: bytes, expected: Expectation | None = None) -> PayloadRefused:
    with pytest.raises(PayloadRefused) as caught:
        decode_payload(raw, expected or expecting())
    return caught.value


def rebuilt(
    change: Callable[[dict[str, Any]], object], manifest: Manifest = UPDATE, data: bytes | None = None
) -> bytes:
    """A payload with its header document changed, otherwise written as we write it."""
    raw = encode_payload(VECTOR, UPDATE, LAYOUT)
    length = int.from_bytes(raw[:8], "little")
    document = json.loads(raw[8 : 8 + length])
    change(document)
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * UPDATE.header(LAYOUT).spaces
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + (raw[8 + length :] if data is None else data)


# --- what is accepted ---


@given(hnp.arrays(np.int32, 8, elements=st.integers(-fixed.LIMIT, fixed.LIMIT)))
def test_decoding_undoes_encoding(vector: np.ndarray) -> None:
    payload = decode_payload(encode_payload(vector, UPDATE, LAYOUT), expecting())
    np.testing.assert_array_equal(payload.vector, vector)
    np.testing.assert_array_equal(payload.units(), vector)


@given(hnp.arrays(np.float32, 8, elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_the_float32_codec_keeps_every_bit(vector: np.ndarray) -> None:
    payload = decode_payload(encode_payload(vector, FLOATS, LAYOUT), expecting(FLOATS))
    assert payload.vector.tobytes() == vector.tobytes()


def test_tensors_come_back_named_and_scaled() -> None:
    tensors = decode_payload(encode_payload(VECTOR * 2**15, UPDATE, LAYOUT), expecting()).tensors()
    assert tensors["bias"].tolist() == [0.5, -1.0]
    assert tensors["weight"].tolist() == [[1.5, -2.0, 2.5], [-3.0, 3.5, -4.0]]
    assert tensors["weight"].dtype == np.float32


def test_the_same_input_gives_the_same_bytes_of_the_size_known_beforehand() -> None:
    raw = encode_payload(VECTOR, UPDATE, LAYOUT)
    assert raw == encode_payload(VECTOR.copy(), UPDATE, Layout.from_shapes({"bias": (2,), "weight": (2, 3)}))
    assert len(raw) == encoded_size(UPDATE, LAYOUT)
    assert (len(raw) - 8 * 4) % 8 == 0  # data starts aligned, as safetensors readers like it


def test_the_safetensors_library_reads_what_we_write(tmp_path: Any) -> None:
    raw = encode_payload(VECTOR, UPDATE, LAYOUT)
    tensors = load(raw)
    assert tensors["bias"].tolist() == [1, -2]
    assert tensors["weight"].tolist() == [[3, -4, 5], [-6, 7, -8]]
    path = tmp_path / "update.safetensors"
    path.write_bytes(raw)
    with safe_open(path, framework="np") as opened:
        assert opened.metadata() == dict(UPDATE.header(LAYOUT).metadata)


def test_the_manifest_says_what_the_bytes_are_and_nothing_else() -> None:
    assert set(UPDATE.header(LAYOUT).metadata) == {
        "format",
        "kind",
        "task",
        "round",
        "base",
        "codec",
        "layout",
        "organisation",
        "dataset",
        "salt",
    }
    assert set(UPDATE.header(LAYOUT).metadata) - set(MODEL.header(LAYOUT).metadata) == {
        "organisation",
        "dataset",
        "salt",
    }
    assert UPDATE.codec == "int32-fixed-16"
    assert FLOATS.codec == "float32"


# --- what is refused, and why ---


def test_more_bytes_than_declared_are_refused_before_they_are_read() -> None:
    refusal = refused(b"\xff" * 101, expecting(max_bytes=100))
    assert (refusal.reason, refusal.facts) == ("oversize", {"limit": 100, "actual": 101})


@given(st.integers(0, 10_000))
def test_a_truncated_payload_is_refused_at_every_length(cut: int) -> None:
    raw = encode_payload(VECTOR, UPDATE, LAYOUT)
    assert refused(raw[: cut % len(raw)]).reason == "truncated"


def test_trailing_bytes_are_refused() -> None:
    refusal = refused(encode_payload(VECTOR, UPDATE, LAYOUT) + b"\0")
    assert (refusal.reason, refusal.facts) == ("trailing_bytes", {"expected": 32, "actual": 33})


@given(
    st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=NAME_CHARS),
    st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=NAME_CHARS),
    st.integers(0, MAX_ROUND),
)
def test_all_updates_of_a_task_have_one_size_whatever_they_are_named(
    organisation: str, dataset: str, number: int
) -> None:
    manifest = Manifest(
        PayloadKind.UPDATE, "breast-cancer", number, "ef" * 32, owner=Owner(organisation, dataset, SALT)
    )
    assert len(encode_payload(VECTOR, manifest, LAYOUT)) == encoded_size(UPDATE, LAYOUT)


def test_any_salt_is_as_expected_and_another_one_gives_another_digest() -> None:
    received = expecting(replace(UPDATE, owner=replace(OWNER, salt=ANY_SALT)))
    raw = encode_payload(VECTOR, UPDATE, LAYOUT)
    other = encode_payload(VECTOR, replace(UPDATE, owner=replace(OWNER, salt="0f" * 32)), LAYOUT)
    assert raw != other
    for one in (raw, other):
        np.testing.assert_array_equal(decode_payload(one, received).vector, VECTOR)


@pytest.mark.parametrize("salt", ["", "5a17", SALT + "00", SALT.upper(), "g" * DIGEST_CHARS])
def test_a_salt_that_is_none_is_refused(salt: str) -> None:
    assert refused(rebuilt(lambda d: d["__metadata__"].update(salt=salt))).reason in ("wrong_manifest", "malformed")


NAMES = [
    ("organisation", "hospital-b"),
    ("organisation", "h"),
    ("dataset", "another"),
    ("round", "4"),
    ("round", "31"),
    ("base", "cd" * 32),
    ("task", "other"),
    ("task", "breast-cancer-of-another-consortium"),
]


@pytest.mark.parametrize(("key", "value"), NAMES)
def test_an_update_that_names_something_else_is_refused_as_misnamed(key: str, value: str) -> None:
    refusal = refused(rebuilt(lambda d: d["__metadata__"].update({key: value})))
    assert refusal.reason == "misnamed"
    assert refusal.facts["key"] == key
    assert refusal.facts["expected"] == UPDATE.header(LAYOUT).metadata[key]


@pytest.mark.parametrize(
    "other",
    [
        replace(UPDATE, owner=replace(OWNER, organisation="hospital-b")),
        replace(UPDATE, owner=replace(OWNER, dataset="another")),
        replace(UPDATE, task="other"),
        replace(UPDATE, round=4),
        replace(UPDATE, base="cd" * 32),
    ],
    ids=["organisation", "dataset", "task", "round", "base"],
)
def test_an_update_is_worth_nothing_to_anybody_or_anything_it_was_not_made_for(other: Manifest) -> None:
    assert refused(encode_payload(VECTOR, other, LAYOUT)).reason == "misnamed"


@pytest.mark.parametrize(("key", "value"), [("kind", "model"), ("codec", "float32"), ("layout", "00")])
def test_a_manifest_of_another_form_is_refused_by_its_entry(key: str, value: str) -> None:
    refusal = refused(rebuilt(lambda d: d["__metadata__"].update({key: value})))
    assert refusal.reason == "wrong_manifest"
    assert refusal.facts["key"] == key
    assert refusal.facts["expected"] == UPDATE.header(LAYOUT).metadata[key]


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("__metadata__"),
        lambda d: d.update(__metadata__=[]),
        lambda d: d["__metadata__"].pop("round"),
        lambda d: d["__metadata__"].update(loss="0.3"),
        lambda d: d["__metadata__"].update(round=3),
    ],
)
def test_a_missing_surplus_or_mistyped_manifest_entry_is_refused(
    change: Callable[[dict[str, Any]], object],
) -> None:
    assert refused(rebuilt(change)).reason == "wrong_manifest"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d["weight"].update(dtype="F32"), "wrong_dtype"),
        (lambda d: d["weight"].update(dtype="I64"), "wrong_dtype"),
        (lambda d: d["weight"].update(shape=[3, 2]), "wrong_shape"),
        (lambda d: d["weight"].update(shape=[6]), "wrong_shape"),
        (lambda d: d["weight"].update(shape=[2**62, 2**62]), "wrong_shape"),
        (lambda d: d.pop("bias"), "missing_tensor"),
        (lambda d: d.update(more=d["bias"]), "extra_tensor"),
        (lambda d: d["weight"].update(data_offsets=[0, 24]), "malformed"),
        (lambda d: d["weight"].update(data_offsets=[8, 2**60]), "malformed"),
        (lambda d: d["weight"].update(note="hello"), "malformed"),
        (lambda d: d["weight"].pop("dtype"), "malformed"),
        (lambda d: d.update(weight=7), "malformed"),
        (lambda d: d["bias"].update(shape=[2.0]), "malformed"),
        (lambda d: d.update(bias=d.pop("bias")), "malformed"),
    ],
)
def test_a_header_that_differs_is_refused_with_its_reason(
    change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    assert refused(rebuilt(change)).reason == reason


def test_a_wrong_shape_names_the_tensor_and_both_sides() -> None:
    refusal = refused(rebuilt(lambda d: d["weight"].update(shape=[3, 2])))
    assert refusal.facts == {"tensor": "weight", "expected": [2, 3], "actual": "[3, 2]"}


def framed(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "raw",
    [
        framed(b""),
        framed(b"[]"),
        framed(b"{"),
        framed(b"\xff\xfe"),
        framed(b'{"a":1,"a":1}'),
        framed(b'{"__metadata__":{"x":NaN}}'),
        framed(b'{"x":' + b"9" * 3000 + b"0" * 2000 + b"}"),
        framed(b"[" * 4000),
        framed(b"{" + b" " * (HEADER_SLACK_BYTES + 2000) + b"}"),
        (2**64 - 1).to_bytes(8, "little") + b"{}",
    ],
)
def test_a_header_that_is_not_strict_bounded_json_is_malformed(raw: bytes) -> None:
    assert refused(raw).reason == "malformed"


def test_a_key_that_appears_twice_is_malformed_even_when_it_agrees() -> None:
    raw = encode_payload(VECTOR, UPDATE, LAYOUT)
    length = int.from_bytes(raw[:8], "little")
    doubled = raw[8 : 8 + length].replace(b'"round":"3"', b'"round":"3","round":"3"')
    assert refused(framed(doubled) + raw[8 + length :]).reason == "malformed"


def test_the_same_header_with_another_white_space_is_refused() -> None:
    raw = encode_payload(VECTOR, UPDATE, LAYOUT)
    length = int.from_bytes(raw[:8], "little")
    refusal = refused(framed(raw[8 : 8 + length] + b" " * 8) + raw[8 + length :])
    assert refusal.reason == "malformed"
    assert "canonical" in str(refusal)


def test_a_file_of_the_safetensors_library_without_our_manifest_is_refused() -> None:
    raw = save({"weight": np.zeros((2, 3), np.int32), "bias": np.zeros(2, np.int32)})
    assert refused(raw).reason == "wrong_manifest"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_float_payload_with_nan_or_infinity_is_refused_with_its_index(bad: float) -> None:
    vector = np.zeros(8, np.float32)
    raw = bytearray(encode_payload(vector, FLOATS, LAYOUT))
    raw[-4:] = np.float32(bad).tobytes()
    refusal = refused(bytes(raw), expecting(FLOATS))
    assert (refusal.reason, refusal.facts) == ("not_finite", {"index": 7})
    with pytest.raises(refusals.NotFinite):
        encode_payload(np.full(8, bad, np.float32), FLOATS, LAYOUT)


def test_the_one_int32_without_a_negative_is_refused() -> None:
    raw = bytearray(encode_payload(VECTOR, UPDATE, LAYOUT))
    raw[-32:-28] = (-(2**31)).to_bytes(4, "little", signed=True)
    assert refused(bytes(raw)).reason == "out_of_range"
    with pytest.raises(refusals.OutOfRange):
        encode_payload(np.full(8, -(2**31), np.int32), UPDATE, LAYOUT)


def test_the_norm_bound_is_exact_to_one_unit() -> None:
    vector = np.zeros(8, np.int32)
    vector[[0, 5]] = 3, 4
    raw = encode_payload(vector, UPDATE, LAYOUT)
    assert decode_payload(raw, expecting(max_norm=5)).vector[5] == 4
    refusal = refused(raw, expecting(max_norm=4))
    assert (refusal.reason, refusal.facts) == ("over_norm", {"limit_squared": 16, "actual_squared": 25})


def test_a_norm_that_would_overflow_int64_is_still_refused() -> None:
    raw = encode_payload(np.full(8, fixed.LIMIT, np.int32), UPDATE, LAYOUT)
    assert refused(raw, expecting(max_norm=2**31)).reason == "over_norm"


def test_a_float_payload_over_the_norm_is_refused_even_beyond_fixed_point() -> None:
    for value in (3.0, 1e30):
        raw = encode_payload(np.full(8, value, np.float32), FLOATS, LAYOUT)
        assert refused(raw, expecting(FLOATS, max_norm=fixed.norm_units(8.0))).reason == "over_norm"
    small = encode_payload(np.full(8, 2.0, np.float32), FLOATS, LAYOUT)
    assert decode_payload(small, expecting(FLOATS, max_norm=fixed.norm_units(8.0))).vector[0] == 2.0


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_always_refused_and_never_crash(raw: bytes) -> None:
    refused(raw)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_changed_byte_before_the_data_is_refused(position: int, flip: int) -> None:
    raw = bytearray(encode_payload(VECTOR, MODEL, LAYOUT))
    raw[position % (len(raw) - 32)] ^= flip
    refused(bytes(raw), expecting(MODEL))


def test_every_reason_is_its_own_slug() -> None:
    reasons = [cls.reason for cls in PayloadRefused.__subclasses__()]
    assert len(set(reasons)) == len(reasons)


def test_a_wrong_call_is_a_type_error_and_a_wrong_vector_is_refused() -> None:
    with pytest.raises(TypeError):
        encode_payload(VECTOR.astype(np.int64), UPDATE, LAYOUT)  # type: ignore[arg-type]  # the claim
    with pytest.raises(ShapeMismatch):
        encode_payload(VECTOR[:-1], UPDATE, LAYOUT)
    for bad in ({"task": ""}, {"task": "a b"}, {"round": -1}, {"base": "../x"}, {"scale_bits": 31}, {"owner": OWNER}):
        with pytest.raises(TypeError):
            replace(MODEL, **bad)  # type: ignore[arg-type]
    for owner in (None, Owner("A", "d"), Owner("a", ""), Owner("a", "d", "5a17")):
        with pytest.raises(TypeError):
            replace(UPDATE, owner=owner)
    with pytest.raises(TypeError):
        replace(UPDATE, base="")
