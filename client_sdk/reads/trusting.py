"""Reading the ledger by one node's word: no value, absence, result or event is held against a header.

For a node that is your own, and for finding out what a node says that a verified reader refuses. Nobody gets this
reader without asking for it by name: ``--trust-node``, ``trust_node=True``.
"""

import asyncio

from ..light import CannotVerify, TrustedState, TxResult
from ..rpc import RpcClient
from . import queries
from .queries import DecidedTx
from .trusted_headers import TrustedHeaders

_POLL_SECONDS = 0.1
WAIT_SECONDS = 30.0  # For a state as new as asked for.


class TrustingReader:
    """Reads that believe the node. Raises what ``RpcClient`` and ``queries`` raise.

    ``headers`` is for what is verified all the same, such as a receipt; no method here uses it.
    """

    def __init__(self, rpc: RpcClient, root: TrustedState) -> None:
        self._rpc = rpc
        self.headers = TrustedHeaders(rpc, root)

    async def value(self, path: bytes, *, at_least: int = 0) -> bytes | None:
        """What the node says is at a path, after the block ``at_least`` or later. Raises CannotVerify: none in time."""
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        while True:
            answer = await queries.ask(self._rpc, path, prove=False)
            if answer.height >= at_least:
                return queries.opened(path, answer.value) if answer.value else None
            if asyncio.get_running_loop().time() >= deadline:
                raise CannotVerify(f"value at {path!r}", f"no node came to block {at_least} within {WAIT_SECONDS:g} s")
            await asyncio.sleep(_POLL_SECONDS)

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
