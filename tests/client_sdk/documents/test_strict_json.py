"""Reading JSON of strangers: what is accepted, and that a refusal names the place."""

import base64
import json
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client_sdk.documents.strict_json import INT64_MAX, Answer, AnswerMalformed, parse


def refused(field: str, read) -> None:
    with pytest.raises(AnswerMalformed) as caught:
        read()
    assert caught.value.field == field


def test_a_refusal_names_the_place_in_the_document():
    answer = parse(b'{"a": {"b": [1, {"c": "x"}]}}', "block")
    refused("block.a.b[1].c", lambda: answer["a"]["b"].items(2)[1]["c"].integer(0, 9))
    refused("block.z", lambda: answer["z"])
    refused("block.a.b", lambda: answer["a"]["b"]["c"])
    refused("block.a.b", lambda: answer["a"]["b"].items(1))
    assert answer.get("z") is None


@pytest.mark.parametrize(
    "document",
    [b"", b"{", b"\xff", b"NaN", b'{"a": Infinity}', b"[" * 100_000, b"1" * 10_000, b'"\\ud800" x'],
    ids=["empty", "half", "not-utf-8", "nan", "infinity", "deep", "long-number", "rest"],
)
def test_what_is_not_json_is_refused(document):
    refused("answer", lambda: parse(document, "answer"))


@given(st.integers(-(2**70), 2**70))
def test_integers_are_read_from_numbers_and_from_text_within_bounds(number):
    for written in (number, str(number)):
        answer = Answer(written, "height")
        if 0 <= number <= INT64_MAX:
            assert answer.integer(0, INT64_MAX) == number
        else:
            refused("height", lambda answer=answer: answer.integer(0, INT64_MAX))


@pytest.mark.parametrize("written", ["01", "+1", " 1", "1 ", "1_0", "0x1", "", "-0", "١", 1.0, True, None, [], {}])
def test_what_only_looks_like_an_integer_is_refused(written):
    refused("height", lambda: Answer(written, "height").integer(-9, 99))


def test_hexadecimal_of_any_length_is_bounded_and_no_bound_is_counted_through():
    """The bound was once, megabytes of it, for every transaction sent. This one nobody would live to see the end of."""
    assert Answer("AbFF", "data").any_hexadecimal(1 << 60) == b"\xab\xff"
    assert Answer("", "data").any_hexadecimal(0) == b""
    for wrong in ("AbFF00", "A", "xy", 7):
        refused("data", lambda wrong=wrong: Answer(wrong, "data").any_hexadecimal(2))


def test_hexadecimal_must_have_one_of_the_lengths():
    assert Answer("AbFF", "hash").hexadecimal((0, 2)) == b"\xab\xff"
    assert Answer("", "hash").hexadecimal((0, 2)) == b""
    for wrong in ("A", "AB", "ABCDEF", "GG00", " ABCD", "ab cd", 1):
        refused("hash", lambda wrong=wrong: Answer(wrong, "hash").hexadecimal((0, 2)))


def test_text_that_utf8_cannot_write_is_refused():
    refused("log", lambda: parse(b'"\\ud800"', "log").text(9))
    assert parse(b'"\\ud83d\\ude00"', "log").text(9) == "\U0001f600"


@given(st.binary(max_size=70))
def test_base64_is_read_up_to_its_bound(raw):
    text = base64.b64encode(raw).decode()
    assert Answer(text, "data").base64(len(raw)) == raw
    if raw:
        refused("data", lambda: Answer(text, "data").base64(len(raw) - 1))


@pytest.mark.parametrize("written", ["QQ", "QQ=", "QQ==\n", "Q Q=", "QQ==QQ==", "QQ-_", "====", 7])
def test_careless_base64_is_refused(written):
    refused("data", lambda: Answer(written, "data").base64(100))


@given(st.datetimes(timezones=st.just(UTC)), st.integers(0, 999))
@settings(deadline=None)
def test_times_are_read_to_the_nanosecond(moment, nanos):
    text = moment.strftime(f"{moment.year:04d}-%m-%dT%H:%M:%S.") + f"{moment.microsecond:06d}{nanos:03d}Z"
    seconds = (moment.replace(microsecond=0) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    assert Answer(text, "time").time_ns() == int(seconds) * 10**9 + moment.microsecond * 1000 + nanos


def test_gos_zero_time_is_the_year_one():
    assert Answer("0001-01-01T00:00:00Z", "time").time_ns() == -62_135_596_800 * 10**9


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-23T04:05:06",
        "2026-11-23T04:05:06+01:00",
        "2026-02-30T04:05:06Z",
        "2026-11-23T04:05:60Z",
        "2026-11-23T04:05:06.Z",
        "2026-11-23T04:05:06.1234567890Z",
        "2026-11-23 04:05:06Z",
        1_700_000_000,
    ],
)
def test_other_spellings_of_time_are_refused(written):
    refused("time", lambda: Answer(written, "time").time_ns())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(json_values)
@settings(max_examples=60, deadline=None)
def test_nothing_but_a_refusal_comes_of_a_strange_value(value):
    answer = parse(json.dumps(value).encode(), "x")
    readers = (
        lambda: answer["a"],
        lambda: answer.items(2),
        lambda: answer.integer(0, 5),
        answer.flag,
        lambda: answer.text(5),
        lambda: answer.hexadecimal((32,)),
        lambda: answer.base64(5),
        answer.time_ns,
    )
    for read in readers:
        with suppress(AnswerMalformed):
            read()
