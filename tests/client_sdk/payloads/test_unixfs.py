"""Payload ↔ tree of blocks: known CIDs, round trips, and every way a block can lie."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client_sdk.payloads import dag_pb
from client_sdk.payloads.cid import Cid, Codec
from client_sdk.payloads.dag_pb import Link, Node
from client_sdk.payloads.errors import (
    PayloadCorrupt,
    PayloadMalformed,
    PayloadNotFound,
    PayloadOverLimit,
)
from client_sdk.payloads.unixfs import (
    UNIXFS_V1_2025,
    Block,
    Dag,
    Layout,
    PayloadReader,
    build,
    iter_blocks,
    payload_cid,
    read_payload,
)

SMALL = Layout(leaf_bytes=4, links_max=3)
LAYOUTS = st.builds(Layout, st.integers(1, 5), st.integers(2, 4))


def held(dag: Dag):
    blocks = {block.cid: block.data for block in dag.blocks}
    return blocks.__getitem__


# Provenance: research/storage.md section 2. The first is what Kubo's profile unixfs-v1-2025 gives (checked on a real
# Kubo 0.43), the second what ipfs-unixfs-importer, ipfs-car and js-ipfs give for 256 KiB and 174 links.
@pytest.mark.parametrize(
    ("layout", "cid"),
    [
        (UNIXFS_V1_2025, "bafybeig5fg4owdplrylcoun4new2myjkqnsthhlju4krzcrv4sh3yuzdxm"),
        (Layout(256 << 10, 174), "bafybeifd7m4qyl4mvnndnhuoitsngns6gu7obnx76mz22yn5mjo4unndmm"),
    ],
)
def test_twenty_megabytes_have_the_cid_other_implementations_give(layout, cid):
    payload = random.Random(7).randbytes(20_000_000)
    dag = build(payload, layout)
    assert str(dag.root) == cid
    assert dag.size == len(payload)
    assert read_payload(dag.root, held(dag), max_bytes=len(payload), layout=layout) == payload


def test_a_payload_of_one_leaf_is_its_own_root():
    assert payload_cid(b"0123456789") == Cid.of(Codec.RAW, b"0123456789")
    assert payload_cid(b"") == Cid.of(Codec.RAW, b"")


@given(st.binary(max_size=300), LAYOUTS)
def test_a_payload_survives_the_round_trip(payload, layout):
    dag = build(payload, layout)
    assert dag.blocks[-1].cid == dag.root == payload_cid(payload, layout)
    assert read_payload(dag.root, held(dag), max_bytes=len(payload), layout=layout) == payload


@given(st.lists(st.binary(max_size=9), max_size=30), LAYOUTS)
def test_the_cid_does_not_depend_on_how_the_payload_arrives(pieces, layout):
    *_, last = iter_blocks(iter(pieces), layout)
    assert last.cid == payload_cid(b"".join(pieces), layout)


@given(st.integers(0, 400), LAYOUTS)
def test_a_payload_of_equal_bytes_is_read_from_its_few_distinct_blocks(size, layout):
    dag = build(bytes(size), layout)
    asked: list[Cid] = []
    blocks = held(dag)

    def get_block(cid: Cid) -> bytes:
        asked.append(cid)
        return blocks(cid)

    assert read_payload(dag.root, get_block, max_bytes=size, layout=layout) == bytes(size)
    assert len(asked) == len(set(asked)) == len(dag.blocks)


@given(st.binary(min_size=1, max_size=200), st.randoms(use_true_random=False))
def test_blocks_may_arrive_in_any_order_in_which_they_are_wanted(payload, rng):
    dag = build(payload, SMALL)
    reader = PayloadReader(dag.root, len(payload), SMALL)
    while not reader.complete:
        cid = rng.choice(reader.wanted)
        reader.feed(cid, held(dag)(cid))
    assert reader.payload() == payload


@settings(max_examples=200)
@given(st.binary(min_size=1, max_size=120), st.data())
def test_a_byte_flipped_in_any_block_is_refused(payload, data):
    dag = build(payload, SMALL)
    victim = data.draw(st.sampled_from(dag.blocks))
    raw = bytearray(victim.data)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    blocks = {block.cid: block.data for block in dag.blocks} | {victim.cid: bytes(raw)}
    with pytest.raises(PayloadCorrupt, match="do not hash"):
        read_payload(dag.root, blocks.__getitem__, max_bytes=len(payload), layout=SMALL)


def test_a_block_nobody_asked_for_is_refused():
    dag = build(b"0123456789", SMALL)
    reader = PayloadReader(dag.root, 10, SMALL)
    leaf = dag.blocks[0]
    with pytest.raises(PayloadCorrupt, match="not asked for"):
        reader.feed(leaf.cid, leaf.data)


def test_an_incomplete_payload_is_not_given_out():
    reader = PayloadReader(payload_cid(b"0123456789", SMALL), 10, SMALL)
    with pytest.raises(PayloadNotFound):
        reader.payload()


@pytest.mark.parametrize("size", [1, 4, 5, 100])
def test_a_payload_over_the_bound_is_refused_at_its_root(size):
    dag = build(bytes(range(size)), SMALL)
    asked: list[Cid] = []

    def get_block(cid: Cid) -> bytes:
        asked.append(cid)
        return held(dag)(cid)

    with pytest.raises(PayloadOverLimit) as refused:
        read_payload(dag.root, get_block, max_bytes=size - 1, layout=SMALL)
    assert (refused.value.size, refused.value.max_bytes) == (size, size - 1)
    assert asked == [dag.root]


def leaf(data: bytes) -> tuple[Link, Block]:
    cid = Cid.of(Codec.RAW, data)
    return Link(cid, len(data), len(data)), Block(cid, data)


def inner(*links: Link) -> tuple[Link, Block]:
    node = Node(links)
    raw = dag_pb.encode(node)
    cid = Cid.of(Codec.DAG_PB, raw)
    return Link(cid, node.file_bytes, len(raw) + node.children_dag_bytes), Block(cid, raw)


FULL, FULL_BLOCK = leaf(b"full")
SHORT, SHORT_BLOCK = leaf(b"pq")


@pytest.mark.parametrize(
    ("sin", "layout", "links"),
    [
        ("divide", SMALL, [SHORT, FULL]),  # The short leaf is not the last one.
        ("divide", SMALL, [SHORT, SHORT, SHORT]),  # Cut finer than the profile.
        ("wrong Tsize", SMALL, [FULL, replace(SHORT, dag_bytes=3)]),
        ("has 2 bytes, not 3", SMALL, [FULL, replace(SHORT, file_bytes=3, dag_bytes=3)]),
        ("tree of height 0", SMALL, [FULL]),  # One leaf needs no inner node.
        ("Links: more than 3", SMALL, [FULL] * 4),
        ("is not a leaf", SMALL, [FULL, inner(SHORT)[0]]),
        ("wrong Tsize", SMALL, [inner(FULL, FULL, FULL)[0], replace(inner(SHORT)[0], dag_bytes=1)]),
        ("is not a node", SMALL, [inner(FULL, FULL, FULL)[0], SHORT]),  # Not balanced.
        ("is not a node", Layout(2, 2), [FULL, FULL]),  # Leaves twice as long as they may be.
    ],
)
def test_right_hashes_in_the_wrong_shape_blame_the_publisher(sin, layout, links):
    root_link, root = inner(*links)
    inner_blocks = (inner(FULL, FULL, FULL)[1], inner(SHORT)[1])
    blocks = {block.cid: block.data for block in (FULL_BLOCK, SHORT_BLOCK, *inner_blocks, root)}
    with pytest.raises(PayloadMalformed, match=sin):
        read_payload(root_link.cid, blocks.__getitem__, max_bytes=1000, layout=layout)


def test_a_raw_root_longer_than_a_leaf_blames_the_publisher():
    link, block = leaf(b"12345")
    with pytest.raises(PayloadMalformed, match="tree of height 1"):
        read_payload(link.cid, lambda _: block.data, max_bytes=5, layout=SMALL)


def test_a_root_that_is_no_file_blames_the_publisher():
    directory = b"\x0a\x02\x08\x01"  # What every IPFS node calls an empty directory.
    root = Cid.of(Codec.DAG_PB, directory)
    with pytest.raises(PayloadMalformed, match="not an inner node of a file"):
        read_payload(root, lambda _: directory, max_bytes=5)


def test_a_small_node_cannot_claim_a_large_payload_beyond_the_bound():
    claim = Node(tuple(Link(FULL.cid, 1 << 50, 1 << 50) for _ in range(3)))
    raw = dag_pb.encode(claim)
    root = Cid.of(Codec.DAG_PB, raw)
    with pytest.raises(PayloadOverLimit):
        read_payload(root, lambda _: raw, max_bytes=1 << 31)


@pytest.mark.parametrize(("leaf_bytes", "links_max"), [(0, 2), (1, 1)])
def test_a_layout_that_could_not_end_is_refused(leaf_bytes, links_max):
    with pytest.raises(ValueError, match="at least"):
        Layout(leaf_bytes, links_max)
