"""Varints, against the protobuf library's own."""

import pytest
from google.protobuf import descriptor_pb2
from hypothesis import given
from hypothesis import strategies as st

from contracts.kernel.varint import BYTES_MAX, BadVarint, read_uvarint, uvarint

numbers = st.one_of(st.integers(0, 300), st.integers(0, 2**64 - 1))


@given(numbers)
def test_a_number_is_written_as_protobuf_writes_it(number):
    option = descriptor_pb2.UninterpretedOption(positive_int_value=number).SerializeToString()
    assert option == b"\x20" + uvarint(number)


@given(numbers, st.binary(max_size=12), st.binary(max_size=12))
def test_a_number_is_read_where_it_stands_and_nothing_after_it(number, before, after):
    message = before + uvarint(number) + after
    assert read_uvarint(message, len(before)) == (number, len(message) - len(after))


@given(numbers)
def test_a_number_that_breaks_off_is_refused(number):
    with pytest.raises(BadVarint, match="end inside"):
        read_uvarint(uvarint(number)[:-1], 0)


def test_a_longer_form_of_a_number_is_read_as_protobuf_does():
    assert read_uvarint(b"\x81\x80\x00", 0) == (1, 3)


def test_a_number_of_more_than_64_bits_is_refused():
    assert read_uvarint(uvarint(2**64 - 1), 0) == (2**64 - 1, BYTES_MAX)
    with pytest.raises(BadVarint, match="64 bits"):
        read_uvarint(uvarint(2**64), 0)


def test_a_number_that_never_ends_is_refused_after_ten_bytes():
    with pytest.raises(BadVarint, match="longer than 10"):
        read_uvarint(b"\x80" * 1_000, 0)


def test_a_number_below_zero_is_not_written():
    with pytest.raises(ValueError, match="range"):
        uvarint(-1)
