"""Frames come out as they went in, however they were cut on the way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abci_app.protocol import blocks
from abci_app.protocol.framing import FrameEmpty, FrameReader, FrameTooLarge, PrefixTooLong, field_size, frame
from contracts.kernel.varint import uvarint


def read_all(reader: FrameReader) -> list[bytes]:
    found = []
    while (body := reader.next()) is not None:
        found.append(body)
    reader.compact()
    return found


@given(st.lists(st.binary(min_size=1, max_size=400)), st.lists(st.integers(1, 300), min_size=1))
def test_frames_survive_any_cut_of_the_stream(bodies, pieces):
    stream = b"".join(map(frame, bodies))
    reader, found, at, turn = FrameReader(400), [], 0, 0
    while at < len(stream):
        piece = pieces[turn % len(pieces)]
        reader.feed(stream[at : at + piece])
        at, turn = at + piece, turn + 1
        found += read_all(reader)
    assert found == bodies
    assert reader.held == 0


@given(st.binary(max_size=300))
def test_field_size_is_what_protobuf_needs(tx):
    assert field_size(len(tx)) == len(blocks.Data(txs=[tx]).SerializeToString())


def test_a_frame_is_taken_at_the_cap_and_refused_one_byte_above_it():
    reader = FrameReader(300)
    reader.feed(frame(b"x" * 300))
    assert reader.next() == b"x" * 300
    reader.feed(uvarint(301))
    with pytest.raises(FrameTooLarge, match=r"301 bytes was announced, the cap is 300") as refused:
        reader.next()
    assert (refused.value.length, refused.value.limit) == (301, 300)


def test_a_huge_length_is_refused_before_any_of_its_frame_arrives():
    reader = FrameReader(2**26)
    reader.feed(uvarint(2**35 - 1))
    with pytest.raises(FrameTooLarge):
        reader.next()


def test_a_frame_of_length_zero_is_refused():
    reader = FrameReader(300)
    reader.feed(b"\x00")
    with pytest.raises(FrameEmpty):
        reader.next()


def test_a_prefix_that_never_ends_is_refused_at_its_sixth_byte():
    reader = FrameReader(300)
    reader.feed(b"\x80" * 4)
    assert reader.next() is None
    reader.feed(b"\x80")
    with pytest.raises(PrefixTooLong):
        reader.next()


def test_bytes_that_were_handed_out_are_not_kept():
    reader = FrameReader(300)
    for _ in range(1_000):
        reader.feed(frame(b"x" * 200) + uvarint(200) + b"y" * 50)
        assert reader.next() is not None
        assert reader.next() is None
        reader.compact()
        assert reader.held == 52
        reader.feed(b"y" * 150)
        assert reader.next() == b"y" * 200
        reader.compact()
    assert reader.held == 0


def test_a_large_frame_in_small_pieces_is_read_once():
    body = bytes(8 * 2**20)
    stream, reader = frame(body), FrameReader(len(body))
    found = []
    for at in range(0, len(stream), 512):  # 16,000 pieces: re-reading from the start would be 64 GiB.
        reader.feed(stream[at : at + 512])
        if (whole := reader.next()) is not None:
            found.append(whole)
    assert found == [body]
