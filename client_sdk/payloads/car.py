"""CARv1 archives: how a tree of blocks travels as one stream.

Writer and reader know one kind of archive: exactly one root, blocks named by this package's CIDs. The reader
is sans I/O and strict: it takes bytes in pieces of any size, caps every length before it buffers, and hands
out a block only after its hash fits. Whether the blocks make up a payload is ``unixfs.PayloadReader``'s
question, not this module's.

Source: the CARv1 specification. Header: varint length, DAG-CBOR ``{"roots": [root], "version": 1}``; with one
root of 36 bytes it has one canonical form, so it is compared, not parsed. Section: varint length, CID, block.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from . import varint
from .cid import CID_BYTES, Cid
from .errors import InvalidCid, PayloadCorrupt
from .unixfs import UNIXFS_V1_2025, Block, Dag

BLOCK_BYTES_MAX: Final = 2 << 20  # Kubo's own bound on a block since 0.40.
_SECTION_BYTES_MAX: Final = CID_BYTES + BLOCK_BYTES_MAX
_LENGTH_BYTES_MAX: Final = len(varint.encode(_SECTION_BYTES_MAX))
_CBOR_BEFORE_ROOT: Final = b"\xa2\x65roots\x81\xd8\x2a\x58\x25\x00"  # {"roots": [42(h'00…')], … (37 bytes follow).
_CBOR_AFTER_ROOT: Final = b"\x67version\x01"
_HEADER_BYTES: Final = 1 + len(_CBOR_BEFORE_ROOT) + CID_BYTES + len(_CBOR_AFTER_ROOT)


class MalformedCar(PayloadCorrupt):
    """Bytes that are not a CARv1 archive with one root, or whose blocks do not hash to their CIDs."""

    def __init__(self, root: Cid | None, why: str) -> None:
        super().__init__(root or "archive", why)


def write(root: Cid, blocks: Iterable[Block]) -> Iterator[bytes]:
    """The archive in pieces, the blocks in the order given. Raises ValueError for a block over 2 MiB."""
    yield _header(root)
    for block in blocks:
        if len(block.data) > BLOCK_BYTES_MAX:
            raise ValueError(f"block {block.cid} has {len(block.data)} bytes, at most {BLOCK_BYTES_MAX} fit")
        yield varint.encode(CID_BYTES + len(block.data)) + bytes(block.cid)
        yield block.data


def archive(dag: Dag) -> bytes:
    """A whole payload as one archive."""
    return b"".join(write(dag.root, dag.blocks))


def bytes_max(payload_bytes: int) -> int:
    """The most bytes an archive of a payload can have: one section per leaf and per inner node."""
    leaves = -(-payload_bytes // UNIXFS_V1_2025.leaf_bytes) + 1
    per_leaf = 256  # Section head and link take about 100; inner nodes are fewer than leaves.
    return _HEADER_BYTES + payload_bytes + leaves * per_leaf


class CarReader:
    """Takes an archive in pieces and gives verified blocks.

    ``bytes_max`` bounds the whole archive. At most one section (2 MiB) is held back at any time.
    """

    def __init__(self, *, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes_read = 0
        self._buffer = bytearray()
        self.root: Cid | None = None

    def feed(self, piece: bytes) -> list[Block]:
        """The blocks that ``piece`` completes, verified. Raises MalformedCar."""
        self._bytes_read += len(piece)
        if self._bytes_read > self._bytes_max:
            raise MalformedCar(self.root, f"archive is longer than {self._bytes_max} bytes")
        self._buffer += piece
        if self.root is None:
            self._read_header()
        blocks: list[Block] = []
        at = 0
        while (section := self._section(at)) is not None:
            block, at = section
            blocks.append(block)
        del self._buffer[:at]
        return blocks

    def finish(self) -> Cid:
        """Say that nothing follows; gives the root. Raises MalformedCar when the archive breaks off."""
        if self.root is None or self._buffer:
            raise MalformedCar(self.root, f"archive breaks off after {self._bytes_read} bytes")
        return self.root

    def _read_header(self) -> None:
        if len(self._buffer) < _HEADER_BYTES:
            return
        start = 1 + len(_CBOR_BEFORE_ROOT)
        try:
            root = Cid.from_bytes(bytes(self._buffer[start : start + CID_BYTES]))
        except InvalidCid as error:
            raise MalformedCar(None, f"header names no root of this profile: {error.why}") from error
        if self._buffer[:_HEADER_BYTES] != _header(root):
            raise MalformedCar(None, "header is not that of a CARv1 archive with one root")
        del self._buffer[:_HEADER_BYTES]
        self.root = root

    def _section(self, at: int) -> tuple[Block, int] | None:
        """The verified block at ``at`` and the offset after it, or None when more bytes are needed."""
        if self.root is None or at == len(self._buffer):
            return None
        try:
            length, start = varint.decode(self._buffer, at, bytes_max=_LENGTH_BYTES_MAX)
        except varint.Truncated:
            return None
        except varint.BadVarint as error:
            raise MalformedCar(self.root, f"section length: {error}") from error
        if not CID_BYTES <= length <= _SECTION_BYTES_MAX:
            raise MalformedCar(self.root, f"section of {length} bytes, must be {CID_BYTES}..{_SECTION_BYTES_MAX}")
        end = start + length
        if end > len(self._buffer):
            return None
        try:
            cid = Cid.from_bytes(bytes(self._buffer[start : start + CID_BYTES]))
        except InvalidCid as error:
            raise MalformedCar(self.root, f"section's CID: {error.why}") from error
        data = bytes(self._buffer[start + CID_BYTES : end])
        if not cid.names(data):
            raise MalformedCar(self.root, f"{len(data)} bytes do not hash to block {cid}")
        return Block(cid, data), end


def read(raw: bytes, *, bytes_max: int | None = None) -> tuple[Cid, list[Block]]:
    """A whole archive: its root and its blocks in order, each verified. Raises MalformedCar."""
    reader = CarReader(bytes_max=len(raw) if bytes_max is None else bytes_max)
    blocks = reader.feed(raw)
    return reader.finish(), blocks


def _header(root: Cid) -> bytes:
    body = _CBOR_BEFORE_ROOT + bytes(root) + _CBOR_AFTER_ROOT
    return varint.encode(len(body)) + body
