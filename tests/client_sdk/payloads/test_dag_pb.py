"""The hand-written protobuf: one encoding per node, and the reader takes no other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.payloads import dag_pb, varint
from client_sdk.payloads.cid import Cid, Codec
from client_sdk.payloads.dag_pb import Link, MalformedNode, Node

CIDS = st.builds(Cid, st.sampled_from(Codec), st.binary(min_size=32, max_size=32))
LINKS = st.builds(Link, CIDS, st.integers(0, 1 << 40), st.integers(0, 1 << 40))
NODES = st.builds(Node, st.lists(LINKS, min_size=1, max_size=6).map(tuple))
LEAF = Cid.of(Codec.RAW, b"x")
NODE = Node((Link(LEAF, 300, 300), Link(LEAF, 7, 7)))


@given(NODES)
def test_a_node_survives_the_round_trip(node):
    assert dag_pb.decode(dag_pb.encode(node), links_max=6) == node


@given(NODES, st.data())
def test_what_decodes_encodes_to_the_same_bytes(node, data):
    raw = bytearray(dag_pb.encode(node))
    at = data.draw(st.integers(0, len(raw) - 1))
    change = data.draw(st.sampled_from(["flip", "drop", "insert"]))
    if change == "flip":
        raw[at] ^= data.draw(st.integers(1, 255))
    elif change == "drop":
        del raw[at]
    else:
        raw.insert(at, data.draw(st.integers(0, 255)))
    try:
        decoded = dag_pb.decode(bytes(raw), links_max=8)
    except MalformedNode:
        return
    assert dag_pb.encode(decoded) == raw


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_the_typed_error(raw):
    try:
        node = dag_pb.decode(raw, links_max=8)
    except MalformedNode:
        return
    assert dag_pb.encode(node) == raw


@pytest.mark.parametrize("cut", range(len(dag_pb.encode(NODE))))
def test_a_truncated_node_is_refused(cut):
    with pytest.raises(MalformedNode):
        dag_pb.decode(dag_pb.encode(NODE)[:cut], links_max=8)


def edited(old: bytes, new: bytes) -> bytes:
    """The block of NODE with one piece exchanged; the piece must be there, once or more."""
    raw = dag_pb.encode(NODE)
    assert old in raw
    return raw.replace(old, new, 1)


LINK_300 = b"\x0a\x24" + bytes(LEAF) + b"\x12\x00\x18\xac\x02"
DATA = b"\x08\x02\x18\xb3\x02\x20\xac\x02\x20\x07"


@pytest.mark.parametrize(
    ("sin", "raw"),
    [
        ("Links: more than 1", None),
        ("Links: none", b"\x0a\x02\x08\x02"),
        ("Data: missing", dag_pb.encode(NODE)[: -len(DATA) - 2]),
        ("Node: 1 bytes too many", dag_pb.encode(NODE) + b"\0"),
        ("Link.Name", edited(b"\x12\x2b" + LINK_300, b"\x12\x2c" + LINK_300.replace(b"\x12\0", b"\x12\x01a"))),
        ("Link.Hash: 35 bytes", edited(b"\x12\x2b" + LINK_300, b"\x12\x2a\x0a\x23" + LINK_300[3:])),
        ("Data.Type", edited(DATA, DATA.replace(b"\x08\x02", b"\x08\x01"))),  # A directory.
        ("add up to 307", edited(DATA, DATA.replace(b"\xb3\x02", b"\xb4\x02"))),
        ("not the shortest form", edited(b"\x0a\x0a" + DATA, b"\x0a\x0b" + DATA[:-1] + b"\x87\x00")),
    ],
)
def test_a_node_outside_the_profile_is_refused_by_its_field(sin, raw):
    with pytest.raises(MalformedNode, match=sin):
        dag_pb.decode(dag_pb.encode(NODE) if raw is None else raw, links_max=1 if raw is None else 8)


@given(st.integers(0, (1 << 63) - 1))
def test_a_varint_has_one_form(value):
    raw = varint.encode(value)
    assert varint.decode(raw, 0) == (value, len(raw))
    padded = raw[:-1] + bytes((raw[-1] | 0x80, 0))
    with pytest.raises(varint.BadVarint):
        varint.decode(padded, 0, bytes_max=10)


@pytest.mark.parametrize("value", [-1, 1 << 63])
def test_a_varint_outside_its_range_is_not_written(value):
    with pytest.raises(ValueError, match="outside"):
        varint.encode(value)


def test_a_varint_longer_than_its_bound_is_refused_before_it_ends():
    with pytest.raises(varint.BadVarint, match="longer than 4"):
        varint.decode(b"\xff" * 100, 0, bytes_max=4)
