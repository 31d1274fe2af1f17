"""Reading the ledger without trusting a node: every value is held against a header that the validators signed.

An answer for height H is proved by the app hash in header H+1, through exactly the tree position that belongs to the
path; that nothing is at a path is proved by what stands beside it in its bucket (``contracts.kernel.absence``). The
header is trusted because of who signed it. A node that answers for another key, another height or another value than
it proves, or that denies an entry, is refused (``light.VerificationFailed``).

What is *not* proved: names found by ``scan``, which a node can leave out, and that there is no newer state: a node can
hold back, it cannot invent. Ask with ``at_least`` to read what you have seen committed.
"""

import asyncio

from contracts.registry import RULES
from contracts.rulebook import Rulebook

from ..light import (
    CannotVerify,
    TrustedState,
    TxResult,
    VerificationFailed,
    rules_of,
    verify_absence,
    verify_results,
    verify_transaction,
    verify_value,
)
from ..rpc import AnswerMalformed, QueryAnswer, RpcClient
from . import queries
from .checkpoints import CheckpointFile
from .queries import DecidedTx, Entry, NotYet, Point
from .trusted_headers import TrustedHeaders


class VerifiedReader:
    """Verified reads through any node. Raises, beside what is named, what ``RpcClient`` and ``light`` raise."""

    def __init__(
        self,
        rpc: RpcClient,
        root: TrustedState,
        *,
        checkpoints: CheckpointFile | None = None,
        book: Rulebook = RULES,
    ) -> None:
        """``root`` is what trust begins with: ``light.trust_genesis`` of a genesis from a member you trust."""
        self._rpc = rpc
        self._book = book
        self.headers = TrustedHeaders(rpc, root, checkpoints=checkpoints)

    async def newest(self, at_least: int = 0) -> Point:
        """The newest height that can be proved: the one before the newest, for the next header proves it.

        Raises CannotVerify when none as new as asked for comes in time.
        """
        until = self._deadline()
        while True:
            seen = self._rpc.heads.height
            height = (await self._rpc.abci_info()).height - 1
            if height >= max(at_least, 1):
                break
            if not await self._rpc.heads.beyond(seen, until):
                raise self._too_late("the newest state", at_least)
        state = await self.headers.at(height + 1)
        return Point(height, state.time_ns // 1_000_000)

    async def read(self, path: bytes, *, at_least: int = 0, at: int = 0) -> Entry:
        """What is at a path, or that nothing is: at a height, or in a state at least as new as after ``at_least``.

        A state can be proved once the block after it is committed, so reading one's own write waits for one block.
        Raises VerificationFailed; CannotVerify when no such state comes in time; NotKept for a height that is gone;
        QueryRefused; ValueError for a path that no state could hold.
        """
        until = self._deadline()
        while True:
            seen = self._rpc.heads.height
            answer = await self._provable(path, at)
            if answer is not None and answer.height >= max(at_least, 1):
                return await self._verified(path, answer)
            if not await self._rpc.heads.beyond(seen, until):
                raise self._too_late(f"value at {path!r}", max(at, at_least))

    async def unverified(self, path: bytes) -> bytes | None:
        """The newest bytes at a path by one node's word: for watching, never for deciding."""
        return await queries.newest(self._rpc, path)

    async def scan(self, prefix: bytes, after: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        """Up to ``limit`` (at most 500) entries under a prefix, strictly after a path, by one node's word.

        Fewer than ``limit`` does not mean the end; an empty list does.
        """
        return await queries.scan(self._rpc, prefix, after, limit)

    async def results(self, height: int) -> tuple[TxResult, ...]:
        """What each transaction of a block did, proved by the next header, which is waited for; logs are not proved."""
        results = await self._rpc.block_results(height)
        verify_results(await self.headers.at(height + 1), results)
        return results

    async def transaction(self, digest: bytes) -> DecidedTx | None:
        """A decided transaction by the SHA-256 of its bytes, proved with its result; None if the node knows of none."""
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
        return DecidedTx(found.raw, found.height, found.index, results[found.index])

    async def _provable(self, path: bytes, height: int) -> QueryAnswer | None:
        """An answer with a proof; None as long as the chain is too young for one."""
        try:
            return await queries.ask(self._rpc, path, prove=True, height=height)
        except NotYet:
            return None

    async def _verified(self, path: bytes, answer: QueryAnswer) -> Entry:
        body = queries.opened(path, answer.value) if answer.value else None
        state = await self.headers.at(answer.height + 1)
        stores = rules_of(state, self._book).stores
        if body is None:
            verify_absence(state, stores, path, answer.proof_ops)
        else:
            verify_value(state, stores, path, body, answer.proof_ops)
        return Entry(path, body, answer.height, state, tuple(answer.proof_ops))

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._rpc.patience.state

    def _too_late(self, what: str, at_least: int) -> CannotVerify:
        why = f"no node proved a state after block {at_least} within {self._rpc.patience.state:g} s"
        return CannotVerify(what, why)
