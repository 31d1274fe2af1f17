"""Reading the ledger without trusting a node: every value is held against a header that the validators signed.

An answer for height H is proved by the app hash in header H+1, through exactly the tree position that belongs to the
path; the header is trusted because of who signed it. A node that answers for another key, another height or another
value than it proves is refused (``light.VerificationFailed``).

What is *not* proved, and marked so: that nothing is at a path (``VerifiedValue.proven`` is False: the node may hide an
entry; proofs of absence come with the neighbouring leaves of the bucket), names found by ``scan``, and that there is no
newer state: a node can hold back, it cannot invent. Ask with ``at_least`` to read what you have seen committed.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from contracts.kernel import codec, limits, merkle
from contracts.kernel.codec import Malformed
from contracts.kernel.merkle import ProofInvalid
from contracts.registry import STORES

from .checkpoints import CheckpointFile
from .light import (
    CannotVerify,
    TrustedState,
    TxResult,
    VerificationFailed,
    verify_results,
    verify_transaction,
    verify_value,
)
from .rpc import AnswerMalformed, QueryAnswer, RpcClient, RpcError
from .trusted_headers import TrustedHeaders

WAIT_SECONDS: Final = 30.0  # For a state as new as asked for.
SCAN_LIMIT: Final = 500  # Of the application.
TOO_EARLY: Final = 2  # The application's code for: ask again after the next block.
_POLL_SECONDS: Final = 0.1
_SCAN_BYTES: Final = 4 << 20


class QueryRefused(RpcError):
    """The application did not answer a query. ``code`` and ``log`` are its own words."""

    hint = "The node may have pruned the height, or run another version: `fedledger doctor`."

    def __init__(self, code: int, log: str) -> None:
        super().__init__(f"the application refused the query with code {code}: {log}")
        self.code = code
        self.log = log


@dataclass(frozen=True, slots=True)
class VerifiedValue:
    """What was at a path after the block of a height. ``body`` is None when the node says: nothing.

    ``state`` is the verified header H+1 that proves it. Without one, ``proven`` is False: absence is the node's word.
    """

    path: bytes
    body: bytes | None
    height: int
    state: TrustedState | None

    @property
    def proven(self) -> bool:
        """Whether a signed header proves it."""
        return self.state is not None


@dataclass(frozen=True, slots=True)
class VerifiedTx:
    """A transaction, where it was decided, and with what result: all of it proved, except the result's log."""

    raw: bytes
    height: int
    index: int
    result: TxResult


class VerifiedReader:
    """Verified reads through any node. Raises, beside what is named, what ``RpcClient`` and ``light`` raise."""

    def __init__(
        self,
        rpc: RpcClient,
        root: TrustedState,
        *,
        checkpoints: CheckpointFile | None = None,
        stores: Sequence[str] = STORES,
    ) -> None:
        """``root`` is what trust begins with: ``light.trust_genesis`` of a genesis from a member you trust."""
        self._rpc = rpc
        self._stores = stores
        self.headers = TrustedHeaders(rpc, root, checkpoints=checkpoints)

    async def value(self, path: bytes, *, at_least: int = 0) -> bytes | None:
        """The record's bytes at a path; None when the node says that there are none (see ``read``)."""
        return (await self.read(path, at_least=at_least)).body

    async def read(self, path: bytes, *, at_least: int = 0) -> VerifiedValue:
        """What is at a path, in a state at least as new as that after the block ``at_least``, or after the first.

        A state can be proved once the block after it is committed, so reading one's own write waits for one block.
        Raises VerificationFailed; CannotVerify when no such state comes in time; QueryRefused; ValueError for a path
        that no state could hold.
        """
        store, key = merkle.split_path(path)
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        while True:
            answer = await self._provable(store, key)
            if answer is not None and answer.height >= max(at_least, 1):
                break
            if asyncio.get_running_loop().time() >= deadline:
                why = f"no node proved a state after block {at_least} within {WAIT_SECONDS:g} s"
                raise CannotVerify(f"value at {path!r}", why)
            await asyncio.sleep(_POLL_SECONDS)
        if not answer.value:
            return VerifiedValue(path, None, answer.height, None)
        return await self._verified(path, answer)

    async def unverified(self, path: bytes) -> bytes | None:
        """The newest bytes at a path by one node's word: for watching, never for deciding."""
        store, key = merkle.split_path(path)
        answer = await self._query(store, key, prove=False)
        return _opened(path, answer.value) if answer.value else None

    async def scan(self, prefix: bytes, after: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        """Up to ``limit`` (at most 500) entries under a prefix, strictly after a path, by one node's word.

        Fewer than ``limit`` does not mean the end; an empty list does.
        """
        wanted = codec.encode_plain({"prefix": prefix, "after": after, "limit": min(limit, SCAN_LIMIT)})
        answer = await self._rpc.abci_query("/scan", wanted)
        if answer.code != 0:
            raise QueryRefused(answer.code, answer.log)
        return _entries(answer.value, prefix, after)

    async def results(self, height: int) -> tuple[TxResult, ...]:
        """What each transaction of a block did, proved by the next header, which is waited for; logs are not proved."""
        results = await self._rpc.block_results(height)
        verify_results(await self.headers.at(height + 1), results)
        return results

    async def transaction(self, digest: bytes) -> VerifiedTx | None:
        """A decided transaction by the SHA-256 of its bytes, with its result; None if the node knows of none."""
        found = await self._rpc.tx(digest, prove=True)
        if found is None:
            return None
        if found.place is None:
            raise AnswerMalformed("tx.proof", "it is missing")
        verify_transaction(await self.headers.at(found.height), found.raw, found.place)
        results = await self.results(found.height)
        # With as many leaves as there are results, the proof leaves one index only, and it is the result's.
        if (found.place.total, found.place.index) != (len(results), found.index):
            why = f"place {found.place.index} of {found.place.total} for result {found.index} of {len(results)}"
            raise VerificationFailed(f"transaction {digest.hex()}", why)
        return VerifiedTx(found.raw, found.height, found.index, results[found.index])

    async def _provable(self, store: str, key: bytes) -> QueryAnswer | None:
        """An answer with a proof; None as long as the chain is too young for any."""
        try:
            return await self._query(store, key, prove=True)
        except QueryRefused as refusal:
            if refusal.code != TOO_EARLY:
                raise
            return None

    async def _query(self, store: str, key: bytes, *, prove: bool) -> QueryAnswer:
        answer = await self._rpc.abci_query(f"/store/{store}/key", key, prove=prove)
        if answer.code != 0:
            raise QueryRefused(answer.code, answer.log)
        if answer.key != key:
            raise VerificationFailed(f"value at {store}/{key!r}", f"the answer is for the key {answer.key[:255]!r}")
        return answer

    async def _verified(self, path: bytes, answer: QueryAnswer) -> VerifiedValue:
        body = _opened(path, answer.value)
        state = await self.headers.at(answer.height + 1)
        verify_value(state, self._stores, path, body, answer.proof_ops)
        return VerifiedValue(path, body, answer.height, state)


def _opened(path: bytes, value: bytes) -> bytes:
    try:
        return merkle.open_value(path, value)
    except ProofInvalid as error:
        raise VerificationFailed(f"value at {path!r}", str(error)) from error


def _entries(value: bytes, prefix: bytes, after: bytes | None) -> list[tuple[bytes, bytes]]:
    """Entries in strictly ascending order under the prefix: otherwise a caller that pages on might never end."""
    try:
        plain = codec.decode_plain(value, most=_SCAN_BYTES)
    except Malformed as error:
        raise AnswerMalformed("scan", str(error)) from error
    if not isinstance(plain, list):
        raise AnswerMalformed("scan", "expected is a list")
    entries: list[tuple[bytes, bytes]] = []
    last = after
    for item in plain:
        if not isinstance(item, list) or len(item) != 2 or not all(type(part) is bytes for part in item):
            raise AnswerMalformed("scan", "an entry is not a path and a body")
        path, body = item
        if not path.startswith(prefix) or len(path) > limits.PATH_BYTES or (last is not None and path <= last):
            raise AnswerMalformed("scan", f"{path[:255]!r} is not under the prefix, or out of order")
        entries.append((path, body))
        last = path
    return entries
