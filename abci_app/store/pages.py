"""The pages of an LMDB file, held to everything that LMDB relies on when it reads them.

LMDB has no checksums and believes what it reads: a changed page number sends it outside of its map, which kills the
process, a changed separator makes it overlook a key that is there, a changed list of free pages makes a later commit
overwrite live ones. So each page that a version reaches is read here with plain reads and checked: that it is where it
says, that its nodes fill it without gap or overlap, that its keys ascend and lie between the separators above it, that
the counts agree, and that no page has two owners.

What the values say is left to others. Source: LMDB 0.9.36, ``mdb.c`` (format version 1: ``MDB_meta``, ``MDB_db``,
``MDB_page``, ``MDB_node``), on 64-bit machines.
"""

import os
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

MAGIC: Final = 0xBEEFC0DE
VERSION: Final = 1
DEPTH_MAX: Final = 32  # LMDB's CURSOR_STACK.
KEY_BYTES_MAX: Final = 511
FAULTS_MAX: Final = 100
_PAGE_SIZES: Final = (4_096, 8_192, 16_384, 32_768)
_BRANCH, _LEAF, _OVERFLOW, _META_PAGE = 1, 2, 4, 8
_IN_OVERFLOW, _SUBTREE = 1, 2  # Flags of a leaf's node: its data are in overflow pages, or describe a tree.
_NO_PAGE: Final = 2**64 - 1
_HEADER_BYTES, _NODE_BYTES = 16, 8
_PAGE = struct.Struct("=QHHHH")  # Number, padding, flags, end of the pointers, begin of the nodes.
_NODE = struct.Struct("=HHHH")  # Low and high half of a size or page number, flags (or the rest of it), key's size.
_META = struct.Struct("=IIQQ")  # Magic, version, address, size of the map.
_TREE = struct.Struct("=IHHQQQQQ")  # Padding, flags, depth, branch, leaf and overflow pages, entries, root.
_INTEGER_KEYS: Final = 8
FREE: Final = "free"
MAIN: Final = "main"


class Fault(NamedTuple):
    """Something that LMDB would not have written."""

    page: int
    tree: str
    wrong: str

    def __str__(self) -> str:
        return f"page {self.page} ({self.tree}): {self.wrong}"


@dataclass(frozen=True, slots=True)
class Pages:
    """What a walk has found, in pages. ``faults`` are at most ``FAULTS_MAX``."""

    faults: tuple[Fault, ...]
    transaction: int = 0
    used: int = 0
    free: int = 0
    lost: int = 0
    """Neither used nor free. LMDB never loses a page; one that is lost does no harm but that it is not used again."""


class Overtaken(Exception):
    """Two versions were committed since a reader took hold of its own: read again."""


class _Tree(NamedTuple):
    padding: int
    flags: int
    depth: int
    branches: int
    leaves: int
    overflows: int
    entries: int
    root: int


class _Meta(NamedTuple):
    map_bytes: int
    free: _Tree
    main: _Tree
    last_page: int
    transaction: int


class _Broken(Exception):
    """This page, and what is below it, cannot be read on."""


class _TooMany(Exception):
    """There is no use in looking further."""


def examine(descriptor: int, names: Sequence[bytes], transaction: int | None = None) -> Pages:
    """Check the newest version in an open file, or the one that a reader holds, for exactly these databases.

    Reads the file from its descriptor and changes nothing. Raises Overtaken, and OSError where the disk cannot be read.
    """
    walk = _Walk(descriptor)
    try:
        meta = walk.meta(transaction)
        if meta is None:
            return Pages(tuple(walk.faults))
        walk.whole(meta, names)
    except _TooMany:
        return Pages(tuple(walk.faults))
    lost, used, free = map(walk.owners.count, range(3))
    return Pages(tuple(walk.faults), meta.transaction, used, free, lost)


@dataclass(slots=True)
class _Walk:
    descriptor: int
    page_bytes: int = 4_096
    owners: bytearray = field(default_factory=bytearray)
    """For each page: 0 nobody, 1 a tree, 2 the free list."""
    faults: list[Fault] = field(default_factory=list)

    # --- the two meta pages ---

    def meta(self, transaction: int | None) -> _Meta | None:
        """The meta page of a version: of the newest, or of this transaction. None when there is a fault in them."""
        first = self._read(0, 1).ljust(self.page_bytes, b"\0")
        magic = struct.unpack_from("=I", first, _HEADER_BYTES)[0]
        size = struct.unpack_from("=I", first, _HEADER_BYTES + _META.size)[0]
        if magic != MAGIC or size not in _PAGE_SIZES or sys.byteorder != "little":
            self.fault(0, "meta", f"this is not an LMDB file of this machine: magic {magic:#x}, pages of {size} bytes")
            return None
        self.page_bytes = size
        metas: list[_Meta] = []
        for number in (0, 1):
            try:
                metas.append(self._meta(number))
            except _Broken as broken:
                self.fault(number, "meta", str(broken))
        if self.faults:
            return None
        older, newer = sorted(metas, key=lambda meta: meta.transaction)
        wanted = newer.transaction if transaction is None else transaction
        if newer.transaction > wanted:  # The version that a reader holds may be the older one by now, or neither.
            if older.transaction == wanted and newer.transaction == wanted + 1:
                return older
            raise Overtaken(wanted)
        if newer.transaction != older.transaction + 1 or metas[newer.transaction & 1] is not newer:
            self.fault(0, "meta", f"the versions {older.transaction} and {newer.transaction} do not follow")
            return None
        return newer

    def _meta(self, number: int) -> _Meta:
        page = self._read(number, 1)
        if len(page) < self.page_bytes:
            raise _Broken("the file ends before it")
        where, _, flags, _, _ = _PAGE.unpack_from(page)
        magic, version, address, map_bytes = _META.unpack_from(page, _HEADER_BYTES)
        at = _HEADER_BYTES + _META.size
        free, main = (_Tree(*_TREE.unpack_from(page, at + place * _TREE.size)) for place in (0, 1))
        last_page, transaction = struct.unpack_from("=QQ", page, at + 2 * _TREE.size)
        if (where, flags) != (number, _META_PAGE):
            raise _Broken(f"it says that it is page {where} with the flags {flags:#x}")
        if (magic, version, address) != (MAGIC, VERSION, 0):
            raise _Broken(f"magic {magic:#x} and format {version}, not {MAGIC:#x} and {VERSION}")
        if (free.padding, free.flags, main.flags) != (self.page_bytes, _INTEGER_KEYS, 0):
            raise _Broken("the two trees in it are not those of LMDB")
        size = os.fstat(self.descriptor).st_size
        if not (last_page + 1) * self.page_bytes <= map_bytes <= size or map_bytes % self.page_bytes:
            why = f"{last_page + 1} pages in a map of {map_bytes} bytes in a file of {size} bytes"
            raise _Broken(why)
        return _Meta(map_bytes, free, main, last_page, transaction)

    # --- the whole ---

    def whole(self, meta: _Meta, names: Sequence[bytes]) -> None:
        """Every tree of a version, and the list of free pages."""
        self.owners = bytearray(meta.last_page + 1)
        self.owners[0] = self.owners[1] = 1
        for key, listed in self.tree(FREE, meta.free, 0):
            self._freed(meta, key, listed)
        found: list[bytes] = []
        for name, described in self.tree(MAIN, meta.main, _SUBTREE):
            found.append(name)
            if name not in names or len(described) != _TREE.size:
                self.fault(meta.main.root, MAIN, f"a database {name!r} is described in {len(described)} bytes")
                continue
            for _ in self.tree(name.decode("ascii"), _Tree(*_TREE.unpack(described)), 0):
                pass
        for name in names:
            if name not in found:
                self.fault(meta.main.root, MAIN, f"the database {name!r} is missing")

    def _freed(self, meta: _Meta, key: bytes, listed: bytes) -> None:
        """Pages that a transaction has freed: a count, then page numbers in descending order."""
        transaction = int.from_bytes(key, "big")
        count = struct.unpack_from("=Q", listed)[0] if len(listed) >= 8 else _NO_PAGE
        if not 0 < transaction <= meta.transaction or 8 * (count + 1) > len(listed):
            self.fault(meta.free.root, FREE, f"{count} pages freed by version {transaction} in {len(listed)} bytes")
            return
        pages = struct.unpack_from(f"={count}Q", listed, 8)
        if any(later >= earlier for earlier, later in pairwise(pages)):
            self.fault(meta.free.root, FREE, f"the pages freed by version {transaction} are out of order")
        for page in pages:
            self._claim(page, 1, FREE, 2)

    # --- one tree ---

    def tree(self, name: str, tree: _Tree, node_flags: int) -> Iterator[tuple[bytes, bytes]]:
        """Check a tree; the keys and values of the two trees that are LMDB's own come out, for the rest the keys."""
        if tree.root == _NO_PAGE:
            if tree[2:7] != (0, 0, 0, 0, 0):
                self.fault(0, name, "it is empty and counts something")
            return
        counted = [0, 0, 0, 0]  # Branch, leaf and overflow pages, entries.
        waiting: list[tuple[int, int, bytes, bytes | None]] = [(tree.root, 1, b"", None)]
        while waiting:
            number, level, low, high = waiting.pop()
            try:
                page = self._owned(number, name)
                nodes = self._nodes(number, page, name, _BRANCH if level < tree.depth else _LEAF)
                keys = [page[at + _NODE_BYTES : at + _NODE_BYTES + size] for at, _, _, _, size in nodes]
                if name == FREE:
                    keys = [key[::-1] for key in keys]  # Little-endian integers: reversed, they sort as bytes.
                if level < tree.depth:
                    counted[0] += 1
                    if len(nodes) < 2 and name != FREE:
                        raise _Broken("a branch with one child")
                    bounds = [low, *keys[1:], high]
                    self._require_ascending(bounds[:-1], low, high)
                    for (_, lo, hi, rest, _), start, end in zip(nodes, bounds, bounds[1:], strict=False):
                        waiting.append((lo | hi << 16 | rest << 32, level + 1, start or b"", end))
                else:
                    counted[1] += 1
                    counted[3] += len(nodes)
                    self._require_keys(keys, name, low, high)
                    for node, key in zip(nodes, keys, strict=True):
                        value, overflows = self._value(page, node, name, node_flags)
                        counted[2] += overflows
                        yield key, value
            except _Broken as broken:
                self.fault(number, name, str(broken))
        if tuple(counted) != tree[3:7] and not self.faults:
            self.fault(tree.root, name, f"it counts {tree[3:7]} branches, leaves, overflows and entries, has {counted}")

    def _owned(self, number: int, name: str) -> bytes:
        if not self._claim(number, 1, name, 1):
            raise _Broken("it is not read twice")
        page = self._read(number, 1)
        where = _PAGE.unpack_from(page)[0]
        if where != number:
            raise _Broken(f"it says that it is page {where}")
        return page

    def _nodes(self, number: int, page: bytes, name: str, kind: int) -> list[tuple[int, int, int, int, int]]:
        """Offset and header of each node, in order. They fill the page from ``upper`` to its end."""
        _, _, flags, lower, upper = _PAGE.unpack_from(page)
        count = (lower - _HEADER_BYTES) // 2
        if flags != kind:
            raise _Broken(f"it has the flags {flags:#x}, expected are {kind:#x}")
        if lower % 2 or count < 1 or not lower <= upper <= self.page_bytes:
            raise _Broken(f"its free space lies between {lower} and {upper}")
        offsets = struct.unpack_from(f"={count}H", page, _HEADER_BYTES)
        if min(offsets) != upper or max(offsets) > self.page_bytes - _NODE_BYTES:
            raise _Broken("a node lies outside of the nodes")
        nodes = [(at, *_NODE.unpack_from(page, at)) for at in offsets]
        ends = {at: at + _node_bytes(kind, lo | hi << 16, rest, size) for at, lo, hi, rest, size in nodes}
        starts = sorted(ends)
        if len(starts) != count or [ends[at] for at in starts] != [*starts[1:], self.page_bytes]:
            raise _Broken("its nodes leave a gap, or overlap")
        return nodes

    def _require_keys(self, keys: list[bytes], name: str, low: bytes, high: bytes | None) -> None:
        sizes = {len(key) for key in keys}
        if not min(sizes) >= 1 or max(sizes) > KEY_BYTES_MAX or (name == FREE and sizes != {8}):
            raise _Broken(f"keys of {min(sizes)} to {max(sizes)} bytes")
        self._require_ascending(keys, low, high)

    @staticmethod
    def _require_ascending(keys: Sequence[bytes | None], low: bytes, high: bytes | None) -> None:
        ascending = all(one is not None and two is not None and one < two for one, two in pairwise(keys))
        first, last = keys[0] or b"", keys[-1] or b""
        if not ascending or first < low or (high is not None and last >= high):
            raise _Broken("its keys are out of order, or not between those above it")

    def _value(self, page: bytes, node: tuple[int, int, int, int, int], name: str, expected: int) -> tuple[bytes, int]:
        """The value of a leaf's node, and how many overflow pages hold it. Values of our own trees are not read."""
        at, low, high, flags, key_bytes = node
        size, start = low | high << 16, at + _NODE_BYTES + key_bytes
        if flags == expected:
            return page[start : start + size], 0
        if flags != _IN_OVERFLOW or expected:
            raise _Broken(f"a node has the flags {flags:#x}")
        number, count = struct.unpack_from("=Q", page, start)[0], (_HEADER_BYTES - 1 + size) // self.page_bytes + 1
        if not self._claim(number, count, name, 1):
            raise _Broken("a value's pages are not read twice")
        read = self._read(number, count if name == FREE else 1)
        where, _, flags, pages_low, pages_high = _PAGE.unpack_from(read)
        if (where, flags, pages_low | pages_high << 16) != (number, _OVERFLOW, count):
            raise _Broken(f"page {number} does not begin a value of {count} pages")
        return read[_HEADER_BYTES : _HEADER_BYTES + size], count

    # --- pages ---

    def _claim(self, number: int, count: int, name: str, owner: int) -> bool:
        """Give pages an owner; False, and a fault, when they have one, or are none."""
        if number < 2 or number + count > len(self.owners):
            self.fault(number, name, f"it is outside of the {len(self.owners)} pages")
            return False
        if any(self.owners[number : number + count]):
            self.fault(number, name, "it is in two places at once")
            return False
        self.owners[number : number + count] = bytes([owner]) * count
        return True

    def _read(self, number: int, count: int) -> bytes:
        return os.pread(self.descriptor, count * self.page_bytes, number * self.page_bytes)

    def fault(self, page: int, tree: str, wrong: str) -> None:
        """Note a fault. Raises _TooMany."""
        self.faults.append(Fault(page, tree, wrong))
        if len(self.faults) >= FAULTS_MAX:
            raise _TooMany


def _node_bytes(kind: int, data_bytes: int, flags: int, key_bytes: int) -> int:
    """What a node takes of its page: an even number of bytes."""
    if kind == _BRANCH:
        data_bytes = 0
    elif flags & _IN_OVERFLOW:
        data_bytes = 8
    size = _NODE_BYTES + key_bytes + data_bytes
    return size + (size & 1)
