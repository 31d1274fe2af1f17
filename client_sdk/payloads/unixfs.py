"""A payload as a tree of blocks, and back: the profile unixfs-v1-2025 of IPIP-499, without any I/O.

The profile: CIDv1, sha2-256, raw leaves of 1 MiB, at most 1,024 links per inner node, balanced. The shape of
a tree is a function of the payload's size alone, and the reader holds every node to it, so a payload has
exactly one CID and a CID at most one payload. Nothing that arrives is believed before its hash, its place and
its size fit:

- a block that was not asked for, or does not hash to its CID, is refused (PayloadCorrupt: blame who sent it);
- a verified block that breaks the profile is refused (PayloadMalformed: blame who published it);
- a root that declares more than the caller's bound is refused before anything below it is asked for.

Left to others: where blocks live (``block_folder``, ``kubo``), how they travel (``car``), encryption
(``confidential``: encrypt first, the CID is of the ciphertext). A payload is held in memory: at the sizes of
model updates that is right.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from . import dag_pb
from .cid import Cid, Codec
from .dag_pb import Link, MalformedNode, Node
from .errors import PayloadCorrupt, PayloadMalformed, PayloadNotFound, PayloadOverLimit


@dataclass(frozen=True, slots=True)
class Layout:
    """How a payload is cut: bytes per leaf, and links per inner node."""

    leaf_bytes: int
    links_max: int

    def __post_init__(self) -> None:
        if self.leaf_bytes < 1 or self.links_max < 2:
            raise ValueError("a leaf has at least 1 byte, an inner node at least 2 links")

    def height(self, size: int) -> int:
        """Levels of inner nodes above the leaves of a payload of ``size`` bytes: 0 when one leaf holds it."""
        height, capacity = 0, self.leaf_bytes
        while capacity < size:
            height, capacity = height + 1, capacity * self.links_max
        return height

    def children(self, size: int, height: int) -> list[int]:
        """Bytes below each child of a node of ``size`` bytes at ``height`` ≥ 1: all full but the last."""
        full = self.leaf_bytes * self.links_max ** (height - 1)
        return [min(full, size - start) for start in range(0, size, full)]


UNIXFS_V1_2025: Final = Layout(leaf_bytes=1 << 20, links_max=1024)


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes and their name."""

    cid: Cid
    data: bytes


@dataclass(frozen=True, slots=True)
class Dag:
    """A whole tree: root, payload bytes, and each distinct block once, the root last."""

    root: Cid
    size: int
    blocks: tuple[Block, ...]


def build(data: bytes | Iterable[bytes], layout: Layout = UNIXFS_V1_2025) -> Dag:
    """Cut a payload into its blocks. Identical blocks are kept once."""
    seen: dict[Cid, Block] = {}
    tree = _Tree(layout)
    for block in tree.grow(data):
        seen.setdefault(block.cid, block)
    return Dag(tree.root, tree.size, tuple(seen.values()))


def iter_blocks(data: bytes | Iterable[bytes], layout: Layout = UNIXFS_V1_2025) -> Iterator[Block]:
    """The blocks of a payload as they become known, children first: the last one is the root.

    Holds one leaf and the open nodes, so a payload larger than memory can be streamed into a store. Equal
    blocks come as often as they occur.
    """
    return _Tree(layout).grow(data)


def payload_cid(data: bytes | Iterable[bytes], layout: Layout = UNIXFS_V1_2025) -> Cid:
    """The CID of a payload, computed here: what a commitment names before anything is published."""
    tree = _Tree(layout)
    for _ in tree.grow(data):
        pass
    return tree.root


def linked(cid: Cid, block: bytes) -> tuple[Cid, ...]:
    """The blocks that a block links to, in file order; none for a leaf, which need not be given (``b""``).

    Raises PayloadCorrupt when the bytes are not the CID's, PayloadMalformed when they are no node of a file.
    """
    if cid.codec is Codec.RAW:
        return ()
    if not cid.names(block):
        raise PayloadCorrupt(cid, f"{len(block)} bytes do not hash to it")
    try:
        return tuple(link.cid for link in dag_pb.decode(block, links_max=UNIXFS_V1_2025.links_max).links)
    except MalformedNode as error:
        raise PayloadMalformed(cid, str(error)) from error


class _Tree:
    """Builds a balanced tree bottom-up: one list of finished links per level."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._levels: list[list[Link]] = [[]]

    @property
    def root(self) -> Cid:
        return self._levels[-1][0].cid

    @property
    def size(self) -> int:
        return self._levels[-1][0].file_bytes

    def grow(self, data: bytes | Iterable[bytes]) -> Iterator[Block]:
        for leaf in _leaves(data, self._layout.leaf_bytes):
            cid = Cid.of(Codec.RAW, leaf)
            yield Block(cid, leaf)
            yield from self._add(0, Link(cid, len(leaf), len(leaf)))
        for level in range(len(self._levels) + 1):
            is_top = level == len(self._levels) - 1
            if is_top and len(self._levels[level]) == 1:
                return
            if self._levels[level]:  # Empty below the top: its last node was just full and has moved up.
                yield from self._close(level)

    def _add(self, level: int, link: Link) -> Iterator[Block]:
        if level == len(self._levels):
            self._levels.append([])
        self._levels[level].append(link)
        if len(self._levels[level]) == self._layout.links_max:
            yield from self._close(level)

    def _close(self, level: int) -> Iterator[Block]:
        node = Node(tuple(self._levels[level]))
        self._levels[level] = []
        raw = dag_pb.encode(node)
        cid = Cid.of(Codec.DAG_PB, raw)
        yield Block(cid, raw)
        yield from self._add(level + 1, Link(cid, node.file_bytes, len(raw) + node.children_dag_bytes))


def _leaves(data: bytes | Iterable[bytes], leaf_bytes: int) -> Iterator[bytes]:
    """The payload in pieces of ``leaf_bytes``; one empty piece when there is nothing."""
    if isinstance(data, bytes | bytearray | memoryview):
        view = memoryview(data)
        for start in range(0, max(len(view), 1), leaf_bytes):
            yield bytes(view[start : start + leaf_bytes])
        return
    pending, any_yet = bytearray(), False
    for piece in data:
        pending += piece
        while len(pending) >= leaf_bytes:
            yield bytes(pending[:leaf_bytes])
            del pending[:leaf_bytes]
            any_yet = True
    if pending or not any_yet:
        yield bytes(pending)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a block belongs: first leaf's index, bytes covered, height, and the Tsize its parent states."""

    leaf: int
    file_bytes: int
    height: int
    dag_bytes: int


class PayloadReader:
    """Asks for blocks, verifies what it is fed, and gives the payload when nothing is missing.

    Sans I/O: whoever has blocks feeds those in ``wanted``, in any order. Each CID is wanted once, also when
    it occurs many times in the payload.
    """

    def __init__(self, root: Cid, max_bytes: int, layout: Layout = UNIXFS_V1_2025) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._layout = layout
        self._wanted: dict[Cid, list[_Place]] = {root: []}
        self._nodes: dict[Cid, Node] = {}
        self._data: dict[Cid, bytes] = {}
        self._block_bytes: dict[Cid, int] = {}
        self._leaves: list[bytes | None] = []

    @property
    def wanted(self) -> tuple[Cid, ...]:
        """The blocks still missing; empty when the payload is complete."""
        return tuple(self._wanted)

    @property
    def complete(self) -> bool:
        """Whether ``payload`` can be called."""
        return not self._wanted

    def feed(self, cid: Cid, block: bytes) -> None:
        """Take one wanted block. Raises PayloadCorrupt, PayloadMalformed or PayloadOverLimit."""
        if cid not in self._wanted:
            raise PayloadCorrupt(self._root, f"block {cid} was not asked for")
        if not cid.names(block):
            raise PayloadCorrupt(self._root, f"{len(block)} bytes do not hash to block {cid}")
        places = self._wanted.pop(cid)
        self._block_bytes[cid] = len(block)
        if cid.codec is Codec.RAW:
            self._data[cid] = block
        else:
            try:
                self._nodes[cid] = dag_pb.decode(block, links_max=self._layout.links_max)
            except MalformedNode as error:
                raise PayloadMalformed(self._root, f"block {cid}: {error}") from error
        if cid == self._root:
            places = [self._root_place()]
        for place in places:
            self._settle(cid, place)

    def payload(self) -> bytes:
        """The verified bytes. Raises PayloadNotFound while blocks are missing."""
        if self._wanted:
            raise PayloadNotFound(self._root, f"{len(self._wanted)} known blocks are missing, first {self.wanted[0]}")
        return b"".join(leaf for leaf in self._leaves if leaf is not None)

    def _root_place(self) -> _Place:
        """The root declares the size; everything below must add up to it."""
        node, block_bytes = self._nodes.get(self._root), self._block_bytes[self._root]
        size = block_bytes if node is None else node.file_bytes
        if size > self._max_bytes:
            raise PayloadOverLimit(self._root, size, self._max_bytes)
        height = self._layout.height(size)
        if (height == 0) != (node is None):
            raise PayloadMalformed(self._root, f"{size} bytes make a tree of height {height}, not this root")
        self._leaves = [None] * max(-(-size // self._layout.leaf_bytes), 1)
        return _Place(0, size, height, block_bytes + (node.children_dag_bytes if node else 0))

    def _settle(self, cid: Cid, place: _Place) -> None:
        """Put a verified block in one of its places; ask for children not seen yet, settle those that were.

        Recursion is bounded by the tree's height, and that by ``max_bytes``.
        """
        block_bytes = self._block_bytes[cid]
        if cid.codec is Codec.RAW:
            if block_bytes != place.file_bytes:
                raise PayloadMalformed(self._root, f"leaf {cid} has {block_bytes} bytes, not {place.file_bytes}")
            self._leaves[place.leaf] = self._data[cid]
            return
        node = self._nodes[cid]
        if place.dag_bytes != block_bytes + node.children_dag_bytes:
            raise PayloadMalformed(self._root, f"block {cid} is linked with a wrong Tsize, {place.dag_bytes}")
        expected = self._layout.children(place.file_bytes, place.height)
        if [link.file_bytes for link in node.links] != expected:
            raise PayloadMalformed(
                self._root, f"block {cid} does not divide {place.file_bytes} bytes as the profile does"
            )
        leaf = place.leaf
        for link in node.links:
            self._visit(link, _Place(leaf, link.file_bytes, place.height - 1, link.dag_bytes))
            leaf += -(-link.file_bytes // self._layout.leaf_bytes)

    def _visit(self, link: Link, place: _Place) -> None:
        is_leaf = link.cid.codec is Codec.RAW
        if is_leaf != (place.height == 0):
            raise PayloadMalformed(self._root, f"block {link.cid} is not a {'leaf' if place.height == 0 else 'node'}")
        if is_leaf and link.dag_bytes != link.file_bytes:
            raise PayloadMalformed(self._root, f"leaf {link.cid} is linked with a wrong Tsize, {link.dag_bytes}")
        if link.cid in self._wanted:
            self._wanted[link.cid].append(place)
        elif link.cid in self._block_bytes:
            self._settle(link.cid, place)
        else:
            self._wanted[link.cid] = [place]


def read_payload(
    root: Cid, get_block: Callable[[Cid], bytes], *, max_bytes: int, layout: Layout = UNIXFS_V1_2025
) -> bytes:
    """The payload under ``root``, every block fetched once and verified.

    Raises what ``PayloadReader.feed`` raises.
    """
    reader = PayloadReader(root, max_bytes, layout)
    while not reader.complete:
        for cid in reader.wanted:
            reader.feed(cid, get_block(cid))
    return reader.payload()
