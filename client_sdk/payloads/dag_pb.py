"""The inner nodes of a file: dag-pb around a UnixFS message, written and read by hand.

One encoding per node. ``decode`` accepts exactly what ``encode`` writes: fields in this order, shortest
varints, no names, no inline data, nothing else. That keeps one payload from having two CIDs.

Sources: the dag-pb specification ("Serial Format": links before data), unixfs.proto (message Data, file = 2).

    PBNode   2: PBLink (repeated)   1: Data
    PBLink   1: CID   2: name ""    3: Tsize, bytes of all blocks below
    Data     1: type  3: filesize   4: blocksizes (repeated, not packed)
"""

from dataclasses import dataclass
from typing import Final

from . import varint
from .cid import CID_BYTES, Cid
from .errors import InvalidCid

_FILE: Final = 2  # UnixFS Data.DataType.File
_LINK_CID, _LINK_NAME, _LINK_TSIZE = b"\x0a", b"\x12\x00", b"\x18"
_NODE_LINK, _NODE_DATA = b"\x12", b"\x0a"
_DATA_TYPE, _DATA_FILESIZE, _DATA_BLOCKSIZE = b"\x08\x02", b"\x18", b"\x20"


class MalformedNode(ValueError):
    """Bytes that are not an inner node of a file in this profile."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"dag-pb {field}: {why}")
        self.field = field
        self.why = why


@dataclass(frozen=True, slots=True)
class Link:
    """One child: its CID, the bytes of the file below it, and the bytes of all blocks from it downwards."""

    cid: Cid
    file_bytes: int
    dag_bytes: int


@dataclass(frozen=True, slots=True)
class Node:
    """An inner node: its children in file order, at least one."""

    links: tuple[Link, ...]

    @property
    def file_bytes(self) -> int:
        """Bytes of the file below this node."""
        return sum(link.file_bytes for link in self.links)

    @property
    def children_dag_bytes(self) -> int:
        """Bytes of all blocks below this node, without its own."""
        return sum(link.dag_bytes for link in self.links)


def encode(node: Node) -> bytes:
    """The block of a node."""
    parts = []
    for link in node.links:
        body = _LINK_CID + _prefixed(bytes(link.cid)) + _LINK_NAME + _LINK_TSIZE + varint.encode(link.dag_bytes)
        parts.append(_NODE_LINK + _prefixed(body))
    data = [_DATA_TYPE, _DATA_FILESIZE + varint.encode(node.file_bytes)]
    data += [_DATA_BLOCKSIZE + varint.encode(link.file_bytes) for link in node.links]
    parts.append(_NODE_DATA + _prefixed(b"".join(data)))
    return b"".join(parts)


def decode(block: bytes, *, links_max: int) -> Node:
    """Read a node with 1 to ``links_max`` links.

    Raises MalformedNode for anything ``encode`` would not write.
    """
    cursor = _Cursor(block)
    children: list[tuple[Cid, int]] = []
    while cursor.take_if(_NODE_LINK):
        if len(children) == links_max:
            raise MalformedNode("Links", f"more than {links_max}")
        children.append(_link(_Cursor(cursor.prefixed("Links"))))
    if not children:
        raise MalformedNode("Links", "none: not an inner node of a file")
    cursor.expect(_NODE_DATA, "Data")
    data = _Cursor(cursor.prefixed("Data"))
    cursor.end("Node")
    data.expect(_DATA_TYPE, "Data.Type")
    data.expect(_DATA_FILESIZE, "Data.filesize")
    file_bytes = data.integer("Data.filesize")
    links = []
    for cid, dag_bytes in children:
        data.expect(_DATA_BLOCKSIZE, "Data.blocksizes")
        links.append(Link(cid, data.integer("Data.blocksizes"), dag_bytes))
    data.end("Data")
    node = Node(tuple(links))
    if node.file_bytes != file_bytes:
        raise MalformedNode("Data.filesize", f"{file_bytes}, but the blocksizes add up to {node.file_bytes}")
    return node


def _link(cursor: "_Cursor") -> tuple[Cid, int]:
    cursor.expect(_LINK_CID, "Link.Hash")
    raw = cursor.prefixed("Link.Hash")
    if len(raw) != CID_BYTES:
        raise MalformedNode("Link.Hash", f"{len(raw)} bytes, must be {CID_BYTES}")
    try:
        cid = Cid.from_bytes(raw)
    except InvalidCid as error:
        raise MalformedNode("Link.Hash", error.why) from error
    cursor.expect(_LINK_NAME, "Link.Name (must be empty)")
    cursor.expect(_LINK_TSIZE, "Link.Tsize")
    dag_bytes = cursor.integer("Link.Tsize")
    cursor.end("Link")
    return cid, dag_bytes


def _prefixed(raw: bytes) -> bytes:
    return varint.encode(len(raw)) + raw


class _Cursor:
    """Reads one message from left to right; every step names the field it is at when it fails."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def take_if(self, literal: bytes) -> bool:
        found = self._raw.startswith(literal, self._at)
        self._at += len(literal) if found else 0
        return found

    def expect(self, literal: bytes, field: str) -> None:
        if not self.take_if(literal):
            raise MalformedNode(field, f"missing or out of order at byte {self._at}")

    def integer(self, field: str) -> int:
        try:
            value, self._at = varint.decode(self._raw, self._at)
        except varint.BadVarint as error:
            raise MalformedNode(field, str(error)) from error
        return value

    def prefixed(self, field: str) -> bytes:
        length = self.integer(field)
        if length > len(self._raw) - self._at:
            raise MalformedNode(field, f"claims {length} bytes, {len(self._raw) - self._at} are left")
        self._at += length
        return self._raw[self._at - length : self._at]

    def end(self, field: str) -> None:
        if self._at != len(self._raw):
            raise MalformedNode(field, f"{len(self._raw) - self._at} bytes too many")
