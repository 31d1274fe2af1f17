"""A payload store in a dictionary, whose ``get`` first raises what was planned, and may never answer."""

import asyncio
from dataclasses import dataclass, field

from client_sdk.payloads.cid import Cid
from client_sdk.payloads.errors import PayloadError, PayloadNotFound, PayloadOverLimit
from client_sdk.payloads.store import payload_cid


@dataclass
class MemoryPayloads:
    """What one organisation keeps. ``beside`` are others that it can fetch from, as a node of a network can."""

    kept: dict[Cid, bytes] = field(default_factory=dict)
    planned: dict[Cid, list[PayloadError]] = field(default_factory=dict)
    silent: set[Cid] = field(default_factory=set)  # Asked for these, it never answers.
    asked: list[Cid] = field(default_factory=list)
    beside: list["MemoryPayloads"] = field(default_factory=list)

    async def put(self, data: bytes) -> Cid:
        self.kept[payload_cid(data)] = data
        return payload_cid(data)

    async def get(self, cid: Cid, max_bytes: int) -> bytes:
        self.asked.append(cid)
        if cid in self.silent:
            await asyncio.Event().wait()
        if self.planned.get(cid):
            raise self.planned[cid].pop(0)
        found = next((store.kept[cid] for store in (self, *self.beside) if cid in store.kept), None)
        if found is None:
            raise PayloadNotFound(cid, "nobody has it")
        if len(found) > max_bytes:
            raise PayloadOverLimit(cid, len(found), max_bytes)
        return found

    async def has(self, cid: Cid) -> bool:
        return cid in self.kept

    async def pin(self, cid: Cid) -> None:
        """Everything is pinned."""

    async def unpin(self, cid: Cid) -> None:
        """Everything is pinned."""

    async def delete(self, cid: Cid) -> None:
        self.kept.pop(cid, None)

    async def close(self) -> None:
        """Nothing is open."""

    async def __aenter__(self) -> "MemoryPayloads":
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""
