"""Bitmaps: a set of small numbers has one form, and the operations are those of sets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.kernel import bitmap, limits
from contracts.kernel.codec import Malformed

NUMBERS = st.integers(0, limits.SEATS_PER_ROUND - 1)
SETS = st.sets(NUMBERS)
FULL = {*range(limits.SEATS_PER_ROUND)}


@given(SETS)
def test_a_set_comes_back_as_its_members_in_ascending_order(members: set[int]) -> None:
    packed = bitmap.of(members)
    assert bitmap.numbers(packed) == tuple(sorted(members))
    assert bitmap.count(packed) == len(members)
    assert all(bitmap.has(packed, number) == (number in members) for number in FULL)


@given(SETS, SETS)
def test_equal_sets_are_equal_bytes_and_others_are_not(one: set[int], other: set[int]) -> None:
    assert (bitmap.of(one) == bitmap.of(other)) == (one == other)


@given(SETS, NUMBERS)
def test_adding_and_taking_out_a_number_lead_to_the_form_of_the_set_they_lead_to(
    members: set[int], number: int
) -> None:
    packed = bitmap.of(members)
    assert bitmap.plus(packed, number) == bitmap.of(members | {number})
    assert bitmap.minus(packed, number) == bitmap.of(members - {number})


@given(SETS, SETS)
def test_a_set_is_within_another_exactly_when_it_is_a_subset(part: set[int], whole: set[int]) -> None:
    assert bitmap.is_within(bitmap.of(part), bitmap.of(whole)) == (part <= whole)
    assert bitmap.is_within(bitmap.of(part & whole), bitmap.of(whole))


def test_nothing_is_no_bytes_and_the_highest_seat_is_in_the_last_byte_there_may_be() -> None:
    assert bitmap.of(()) == bitmap.NOTHING == bitmap.minus(bitmap.of({255}), 255)
    assert bitmap.of({0}) == b"\x01"
    assert bitmap.of({8}) == b"\x00\x01"
    assert bitmap.of(FULL) == b"\xff" * (limits.SEATS_PER_ROUND // 8)
    assert bitmap.of({limits.SEATS_PER_ROUND - 1}) == bytes(31) + b"\x80"


def test_a_number_further_out_than_the_bytes_go_is_simply_not_in_the_set() -> None:
    assert not bitmap.has(b"\x01", limits.SEATS_PER_ROUND - 1)
    assert not bitmap.has(bitmap.NOTHING, 0)


@given(SETS, st.integers(1, 5))
def test_zero_bytes_at_the_end_are_another_form_and_refused_by_the_name_of_the_field(
    members: set[int], more: int
) -> None:
    bitmap.require_canonical(bitmap.of(members), "held")
    with pytest.raises(Malformed) as refused:
        bitmap.require_canonical(bitmap.of(members) + bytes(more), "held")
    assert refused.value.field == "held"
