"""Reading the ledger by one node's word: no value, absence, result or event is held against a header.

For a node that is your own, and for finding out what a node says that a verified reader refuses. Nobody gets this
reader without asking for it by name: ``--trust-node``, ``trust_node=True``.
"""

import asyncio

from ..light import CannotVerify, TrustedState, TxResult
from ..rpc import RpcClient
from . import queries
from .queries import DecidedTx, Entry, NotYet, Point
from .trusted_headers import TrustedHeaders


class TrustingReader:
    """Reads that believe the node. Raises what ``RpcClient`` and ``queries`` raise.

    ``headers`` is for what is verified all the same, such as a receipt; no method here uses it.
    """

    def __init__(self, rpc: RpcClient, root: TrustedState) -> None:
        self._rpc = rpc
        self.headers = TrustedHeaders(rpc, root)

    async def newest(self, at_least: int = 0) -> Point:
        """The height to which the node says it has come. Raises CannotVerify when it does not come far enough."""
        until = self._deadline()
        while True:
            seen = self._rpc.heads.height
            height = (await self._rpc.abci_info()).height
            if height >= max(at_least, 1):  # To ask at height 0 would be to ask for the newest, whichever that is.
                return Point(height, (await self._rpc.status()).time_ns // 1_000_000)
            if not await self._rpc.heads.beyond(seen, until):
                raise self._too_late("the newest state", at_least)

    async def read(self, path: bytes, *, at_least: int = 0, at: int = 0) -> Entry:
        """What the node says is at a path: at a height, or after the block ``at_least`` or later.

        Raises CannotVerify when no such state comes in time, NotKept for a height that is gone.
        """
        until = self._deadline()
        while True:
            seen = self._rpc.heads.height
            try:
                answer = await queries.ask(self._rpc, path, prove=False, height=at)
            except NotYet:
                answer = None
            if answer is not None and answer.height >= at_least:
                body = queries.opened(path, answer.value) if answer.value else None
                return Entry(path, body, answer.height)
            if not await self._rpc.heads.beyond(seen, until):
                raise self._too_late(f"value at {path!r}", max(at, at_least))

    async def unverified(self, path: bytes) -> bytes | None:
        """The newest bytes at a path."""
        return await queries.newest(self._rpc, path)

    async def scan(self, prefix: bytes, after: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        """Up to ``limit`` entries under a prefix, strictly after a path; an empty list is the end."""
        return await queries.scan(self._rpc, prefix, after, limit)

    async def results(self, height: int) -> tuple[TxResult, ...]:
        """What the node says each transaction of a block did."""
        return await self._rpc.block_results(height)

    async def transaction(self, digest: bytes) -> DecidedTx | None:
        """What the node says became of a transaction; None if it knows of none."""
        found = await self._rpc.tx(digest)
        return None if found is None else DecidedTx(found.raw, found.height, found.index, found.result)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._rpc.patience.state

    def _too_late(self, what: str, at_least: int) -> CannotVerify:
        return CannotVerify(what, f"no node came to block {at_least} within {self._rpc.patience.state:g} s")
