"""The embedded payload store: a folder of blocks, without any daemon.

The layout of ``blocks/`` is that of Kubo's flatfs datastore, ``blocks/<next-to-last two>/<BASE32
multihash>.data``, so a Kubo node can adopt the folder. Pins are empty files named by CID in ``pins/``.

Several processes may share one folder. A block appears whole or not at all (temporary file, fsync, rename,
fsync of the directory). Writers of blocks and pins hold ``lock`` shared; deletion holds it exclusively, so a
block that a concurrent ``put`` found already there cannot vanish before its pin exists. Readers take no lock:
they verify.

Bytes on disk are believed no more than bytes from the network: ``get`` checks every hash, and ``put``
compares a block that is already there with what it should be, so publishing a payload again repairs it.
"""

import asyncio
import base64
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ..errors import in_words
from ..secrets.private_files import sync_directory
from .cid import Cid, Codec
from .errors import InvalidCid, PayloadCorrupt, PayloadNotFound, StoreUnavailable
from .unixfs import PayloadReader, build, linked

_SHARDING: Final = "/repo/flatfs/shard/v1/next-to-last/2\n"
_BLOCK_BYTES_MAX: Final = 2 << 20


class BlockFolder:
    """A ``PayloadStore`` in a directory. Made on first use, for this user only (mode 0700)."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._blocks = root / "blocks"
        self._pins = root / "pins"
        self._unfinished = root / "unfinished"  # Temporary files; what a crash leaves there, deletion sweeps.
        with self._reported():
            for directory in (root, self._blocks, self._pins, self._unfinished):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            sharding = self._blocks / "SHARDING"
            if not sharding.exists():
                self._write_whole(sharding, _SHARDING.encode("ascii"))

    async def put(self, data: bytes) -> Cid:
        """Keep a payload and pin it. Raises StoreUnavailable when the disk refuses."""
        return await asyncio.to_thread(self._put, data)

    async def get(self, cid: Cid, max_bytes: int) -> bytes:
        """The verified payload. Raises PayloadNotFound, PayloadCorrupt, PayloadOverLimit."""
        return await asyncio.to_thread(self._get, cid, max_bytes)

    async def has(self, cid: Cid) -> bool:
        """Whether every block of the payload is here, by name."""
        return await asyncio.to_thread(self._is_whole, cid)

    async def pin(self, cid: Cid) -> None:
        """Pin a payload that is here whole. Raises PayloadNotFound otherwise."""
        await asyncio.to_thread(self._pin, cid)

    async def unpin(self, cid: Cid) -> None:
        """Remove a pin, if there is one."""
        await asyncio.to_thread(self._unpin, cid)

    async def delete(self, cid: Cid) -> None:
        """Unpin a payload and remove its blocks, except those another pin needs."""
        await asyncio.to_thread(self._delete, cid)

    async def close(self) -> None:
        """Nothing is held open."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def pinned(self) -> frozenset[Cid]:
        """Every pinned root."""
        with self._reported():
            return frozenset(Cid.parse(entry.name) for entry in self._pins.iterdir() if _is_cid(entry.name))

    def block_path(self, cid: Cid) -> Path:
        """Where a block lives: flatfs's sharding by the two characters before the last."""
        name = base64.b32encode(cid.multihash).decode("ascii").rstrip("=")
        return self._blocks / name[-3:-1] / f"{name}.data"

    def _put(self, data: bytes) -> Cid:
        dag = build(data)
        with self._reported(), self._locked(fcntl.LOCK_SH):
            for block in dag.blocks:  # Children first: a root that is there has its tree.
                path = self.block_path(block.cid)
                if not _holds(path, block.data):
                    self._write_whole(path, block.data)
            self._mark(dag.root)
        return dag.root

    def _get(self, cid: Cid, max_bytes: int) -> bytes:
        reader = PayloadReader(cid, max_bytes)
        while not reader.complete:
            for wanted in reader.wanted:
                reader.feed(wanted, self._read_block(wanted, cid))
        return reader.payload()

    def _read_block(self, cid: Cid, root: Cid) -> bytes:
        with self._reported():
            try:
                with self.block_path(cid).open("rb") as file:
                    block = file.read(_BLOCK_BYTES_MAX + 1)
            except FileNotFoundError:
                raise PayloadNotFound(root, f"block {cid} is not in {self._root}") from None
        if len(block) > _BLOCK_BYTES_MAX:
            raise PayloadCorrupt(root, f"block {cid} is longer than {_BLOCK_BYTES_MAX} bytes")
        return block

    def _is_whole(self, root: Cid) -> bool:
        try:
            return all(self.block_path(cid).exists() for cid in self._tree(root))
        except (PayloadNotFound, PayloadCorrupt):
            return False

    def _tree(self, root: Cid) -> Iterator[Cid]:
        """The CIDs of a payload, parents first; inner nodes are read and verified, leaves are not touched."""
        queue, seen = [root], {root}
        while queue:
            cid = queue.pop()
            yield cid
            if cid.codec is Codec.DAG_PB:
                children = set(linked(cid, self._read_block(cid, root))) - seen
                seen |= children
                queue.extend(children)

    def _pin(self, cid: Cid) -> None:
        with self._reported(), self._locked(fcntl.LOCK_SH):
            if not self._is_whole(cid):
                raise PayloadNotFound(cid, f"it is not in {self._root}, or not whole")
            self._mark(cid)

    def _mark(self, cid: Cid) -> None:
        (self._pins / str(cid)).touch(mode=0o600)
        sync_directory(self._pins)

    def _unpin(self, cid: Cid) -> None:
        with self._reported(), self._locked(fcntl.LOCK_SH):
            (self._pins / str(cid)).unlink(missing_ok=True)
            sync_directory(self._pins)

    def _delete(self, root: Cid) -> None:
        with self._reported(), self._locked(fcntl.LOCK_EX):
            (self._pins / str(root)).unlink(missing_ok=True)
            sync_directory(self._pins)  # Before any block goes: a pin never outlives its blocks.
            needed: set[Cid] = set()
            for pin in self.pinned():
                needed.update(self._known_tree(pin))
            for cid in self._known_tree(root):
                if cid not in needed:
                    self.block_path(cid).unlink(missing_ok=True)
            for leftover in self._unfinished.iterdir():  # The lock says that no writer is at work.
                leftover.unlink()

    def _known_tree(self, root: Cid) -> list[Cid]:
        """The tree as far as it can be read. A damaged pin must not stop another payload's deletion."""
        known: list[Cid] = []
        with suppress(PayloadNotFound, PayloadCorrupt):
            for cid in self._tree(root):
                known.append(cid)  # noqa: PERF402 (keeps what came before an error)
        return known

    def _write_whole(self, path: Path, data: bytes) -> None:
        """Make ``path`` hold ``data``, or not appear at all, whatever crashes."""
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            sync_directory(path.parent.parent)
        temporary = self._unfinished / secrets.token_hex(16)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)

    @contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        descriptor = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, kind)
            yield
        finally:
            os.close(descriptor)  # Releases the lock, also when the process dies.

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            hint = "Check free space and permissions of that folder."
            raise StoreUnavailable(str(self._root), in_words(error), hint=hint) from error


def _holds(path: Path, data: bytes) -> bool:
    """Whether a file is there and has exactly these bytes."""
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        return False


def _is_cid(name: str) -> bool:
    try:
        Cid.parse(name)
    except InvalidCid:
        return False
    return True
