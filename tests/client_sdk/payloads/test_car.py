"""Archives: written as Kubo writes them, read strictly, refused at any changed byte."""

import random

import cbrrr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.payloads import car, varint
from client_sdk.payloads.car import MalformedCar
from client_sdk.payloads.cid import Cid, Codec
from client_sdk.payloads.errors import PayloadCorrupt, PayloadError
from client_sdk.payloads.unixfs import Block, Layout, PayloadReader, build

SMALL = Layout(leaf_bytes=16, links_max=3)
PAYLOAD = random.Random(1).randbytes(100)


def payload_of(root: Cid, raw: bytes, layout: Layout = SMALL) -> bytes:
    """What a receiver does: the archive must have the root that was asked for, and be that payload."""
    reader = PayloadReader(root, 1000, layout)
    named, blocks = car.read(raw)
    if named != root:
        raise PayloadCorrupt(root, f"the archive is of {named}")
    for block in blocks:
        reader.feed(block.cid, block.data)
    return reader.payload()


def parents_first(dag):
    return b"".join(car.write(dag.root, reversed(dag.blocks)))


def test_the_header_is_the_canonical_dag_cbor_of_one_root():
    root = Cid.of(Codec.RAW, b"abc")
    raw = b"".join(car.write(root, []))
    length, start = varint.decode(raw, 0)
    assert length == len(raw) - start
    assert cbrrr.decode_dag_cbor(raw[start:]) == {"roots": [cbrrr.CID(bytes(root))], "version": 1}


@given(st.binary(max_size=200))
def test_a_payload_survives_the_archive(payload):
    dag = build(payload, SMALL)
    assert payload_of(dag.root, parents_first(dag)) == payload
    root, blocks = car.read(car.archive(dag))
    assert (root, tuple(blocks)) == (dag.root, dag.blocks)


@given(st.lists(st.integers(1, 70), max_size=30))
def test_blocks_do_not_depend_on_how_the_stream_is_cut(lengths):
    dag = build(PAYLOAD, SMALL)
    raw = car.archive(dag)
    reader = car.CarReader(bytes_max=len(raw))
    blocks, at = [], 0
    for length in [*lengths, len(raw)]:
        blocks += reader.feed(raw[at : at + length])
        at += length
    assert reader.finish() == dag.root
    assert tuple(blocks) == dag.blocks


def test_a_bit_flipped_anywhere_in_an_archive_is_refused():
    dag = build(PAYLOAD[:40], SMALL)
    raw = parents_first(dag)
    assert payload_of(dag.root, raw) == PAYLOAD[:40]
    for at in range(len(raw)):
        for bit in range(8):
            changed = bytearray(raw)
            changed[at] ^= 1 << bit
            with pytest.raises(PayloadError):
                payload_of(dag.root, bytes(changed))


def test_an_archive_cut_anywhere_is_refused():
    dag = build(PAYLOAD[:40], SMALL)
    raw = parents_first(dag)
    for cut in range(len(raw)):
        with pytest.raises(PayloadError):
            payload_of(dag.root, raw[:cut])


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_nothing_but_the_typed_error(raw):
    with pytest.raises(MalformedCar):
        car.read(raw)


HEADER = b"".join(car.write(Cid.of(Codec.RAW, b"abc"), []))


@pytest.mark.parametrize(
    ("sin", "raw"),
    [
        ("breaks off after 0", b""),
        ("one root", HEADER.replace(b"\x67version\x01", b"\x67version\x02")),
        ("one root", b"\x39" + HEADER[1:]),
        ("names no root", HEADER.replace(b"\x00\x01\x55", b"\x00\x01\x71")),
        ("section of 35 bytes", HEADER + varint.encode(35) + bytes(35)),
        ("section of 0 bytes", HEADER + b"\0"),
        ("section of 2097189 bytes", HEADER + varint.encode(car.BLOCK_BYTES_MAX + 37)),
        ("longer than 4 bytes", HEADER + b"\xff\xff\xff\xff\xff"),
        ("not the shortest form", HEADER + b"\xa4\x00"),
        ("section's CID", HEADER + varint.encode(36) + bytes(36)),
        ("do not hash", HEADER + varint.encode(37) + bytes(Cid.of(Codec.RAW, b"abc")) + b"x"),
        ("breaks off", HEADER + varint.encode(37) + bytes(Cid.of(Codec.RAW, b"a"))),
    ],
)
def test_a_malformed_archive_is_refused_for_its_sin(sin, raw):
    with pytest.raises(MalformedCar, match=sin):
        car.read(raw)


def test_an_archive_longer_than_the_bound_is_refused_before_it_is_read():
    raw = car.archive(build(PAYLOAD, SMALL))
    with pytest.raises(MalformedCar, match="longer than 10 bytes"):
        car.read(raw, bytes_max=10)


def test_a_block_too_large_to_travel_is_not_written():
    data = bytes(car.BLOCK_BYTES_MAX + 1)
    with pytest.raises(ValueError, match="at most"):
        list(car.write(Cid.of(Codec.RAW, b""), [Block(Cid.of(Codec.RAW, data), data)]))


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, (1 << 20) * 3])
def test_the_bound_on_an_archive_holds_for_every_payload_of_that_size(size):
    assert len(car.archive(build(random.Random(size).randbytes(size)))) <= car.bytes_max(size)
