"""The ledger as a member's program sees it: submit and know what became of it, read and know that it is true.

``submit`` signs once, journals nothing, and sends *the same bytes* until they are decided or can no longer be: a
repeat cannot be decided twice, because the ledger remembers the signed structure. Results, events and values come from
a reader: ``verified`` checks each against a header that more than two thirds of the validators signed, ``trusting``
takes a node's word. That nothing was decided (``NotDecided``), and a refusal before the transaction entered a block,
are always a node's word: no block shows them.

One client serves one asyncio loop. ``client_sdk.session.blocking`` wraps it for programs that are not asynchronous.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from contracts.kernel import Event, InvariantBroken, Map, Message, View, codec, crypto, envelope, limits
from contracts.kernel.envelope import LedgerId, Signer
from contracts.kernel.state import Key
from contracts.registry import RULES
from contracts.rulebook import Rulebook
from contracts.transition import Expired, Replayed

from ..errors import Kind, SdkError
from ..light import CannotVerify, TrustExpired, TxResult
from ..reads.queries import DecidedTx, Reader
from ..reads.refusals import PoolShareFull, events_of, refusal_of
from ..reads.view import LedgerView
from ..rpc import AnswerMalformed, HeightPruned, HeightUnavailable, NodeError, NodeUnavailable, RpcClient, TxInCache
from .standstill import Standstill

R = TypeVar("R")
T = TypeVar("T")
VALIDITY_BLOCKS = 100  # How long a transaction is worth sending again: 30 s under load, some minutes when idle.
SCANNED_MAX = 100_000  # Entries of a scan: a node can invent them for ever.
_SCAN_PAGE = 200


class NoSigner(SdkError):
    """The client was opened to read only."""

    kind = Kind.ACCESS
    hint = "Say whose key acts: --as ORG/KEY, or FEDLEDGER_AS."


class NotDecided(SdkError, TimeoutError):
    """No node asked knows of the transaction, and it has expired: if it was not included, it can no longer be.

    It is the index of a node that says so, and CometBFT may lose entries of it when it is killed (docs/reliability.md):
    look at what the transaction would have changed before you sign a new one.
    """

    kind = Kind.TIMEOUT
    hint = (
        "Check that the chain makes blocks (`fedledger devnet status`, `fedledger doctor`), see whether its effect is "
        "there, then try again."
    )


@dataclass(frozen=True)
class AcceptedTx:
    """An accepted transaction: where it was included and what happened, as proved as the client's reader proves."""

    hash: bytes
    height: int
    events: tuple[Event, ...]

    def event(self, kind: type[R]) -> R:
        """The first event of a kind. Raises LookupError when there is none."""
        for event in self.events:
            if isinstance(event, kind):
                return event
        raise LookupError(f"the transaction announced no {kind.__name__}")


@dataclass(frozen=True)
class Signed:
    """A transaction's final bytes: safe to keep and to send any number of times."""

    raw: bytes
    valid_until: int


class LedgerClient:
    """Reads and writes one ledger through its nodes."""

    def __init__(
        self, rpc: RpcClient, reader: Reader, ledger: LedgerId, signer: Signer | None = None, book: Rulebook = RULES
    ) -> None:
        """``book`` is the versions of the rules whose events, refusals and proofs are understood."""
        self.rpc = rpc
        self.book = book
        self.reader = reader
        self.ledger = ledger
        self._signer = signer

    @property
    def signing_key(self) -> bytes | None:
        """The public key that this client signs with; None when it only reads."""
        return None if self._signer is None else self._signer.public

    async def submit(self, message: Message, *, at_least: int = 0) -> AcceptedTx:
        """Sign a message, send it and wait for its proved result, which takes one block more than to be included.

        ``at_least`` is the height of what the message builds on, where somebody else's client was told of it: the node
        asked may be behind theirs, and would refuse what it cannot know. It is waited for.
        Raises the ledger's typed refusal, NotDecided, NodeUnavailable, VerificationFailed, CannotVerify, or LedgerBug.
        """
        if at_least:
            await self.reader.newest(at_least)
        return await self.send(await self.sign(message))

    async def sign(self, message: Message, validity: int = VALIDITY_BLOCKS) -> Signed:
        """Make a message's final bytes, valid for a number of blocks. Raises NoSigner, codec.Malformed."""
        if self._signer is None:
            raise NoSigner("this client was opened without a key")
        height = (await self.rpc.status()).height
        valid_until = height + min(validity, limits.TX_VALIDITY_BLOCKS - 1)
        raw = await asyncio.to_thread(  # A token, or an agent that asks a person, may take its time.
            envelope.seal,
            self._signer,
            self.ledger,
            tag=message.tag,
            body=codec.shape_of(type(message)).pack(message, ""),
            nonce=secrets.token_bytes(limits.NONCE_BYTES),
            valid_until=valid_until,
        )
        return Signed(raw, valid_until)

    async def send(self, signed: Signed) -> AcceptedTx:
        """Send bytes until they are decided. A transaction that was decided before gives its first result.

        What a node accepted and later dropped from its pool is offered again, so its sender learns why: a refusal is
        raised, an expiry is NotDecided. Outlasts nodes that do not answer for a while, or not with a proof. While the
        chain stands still nothing expires: it waits, and the log says so once. Raises as ``submit``.
        """
        digest = crypto.sha256(signed.raw)  # CometBFT names a transaction by the hash of its bytes.
        patience, heads, loop = self.rpc.patience, self.rpc.heads, asyncio.get_running_loop()
        resend_at, give_up_at = 0.0, loop.time() + patience.outage
        told = ""  # Why the node that was asked last does not let it wait.
        standing = Standstill(digest, patience.outage)
        while True:
            seen = heads.height
            try:
                if loop.time() >= resend_at:
                    resend_at = loop.time() + patience.resend
                    told = await self._offer(signed, digest)
                # In this order: what is not found once its last height has passed never will be.
                height = (await self.rpc.status()).height
                standing.notice(height, loop.time())
                known = await self.rpc.tx(digest)
                decided = None if known is None else await self.reader.transaction(digest)
                if height > signed.valid_until:  # The look-up may have been another node's, which is behind.
                    height = min(height, (await self.rpc.status()).height)
            except TrustExpired:
                raise
            except (NodeUnavailable, HeightUnavailable, CannotVerify):
                if loop.time() >= give_up_at:
                    raise
            else:
                give_up_at = loop.time() + patience.outage
                if decided is not None and decided.result.code != Expired.code:
                    return _accepted(self.book, digest, decided)
                unseen = known is None or decided is not None  # Known and not shown is not unseen.
                if unseen and height > signed.valid_until:
                    raise NotDecided(
                        f"transaction {digest.hex()} was not included by height {signed.valid_until}{told}"
                    )
            await heads.beyond(seen, loop.time() + patience.resend)

    @asynccontextmanager
    async def at(self, at_least: int = 0) -> AsyncIterator[LedgerView]:
        """The state at one height, as new as a node can prove and at least as new as after this block.

        ``await view.run(rule)`` runs a function of the ledger on it: see ``client_sdk.reads.view``.
        """
        yield LedgerView(self.reader, await self.reader.newest(at_least))

    async def ask(self, rule: Callable[[View], T], *, at_least: int = 0) -> T:
        """What one function of the ledger answers on the newest state. Raises as ``LedgerView.run``."""
        async with self.at(at_least) as view:
            return await view.run(rule)

    async def get(self, state: Map[R], key: Key = (), *, at_least: int = 0) -> R | None:
        """The record at a key after a block of at least this height, or None when there is none: both proved."""
        entry = await self.reader.read(state.path(key), at_least=at_least)
        return None if entry.body is None else state.read(entry.body)

    async def peek(self, state: Map[R], key: Key = ()) -> R | None:
        """The newest record at a key by one node's word: for watching, never for deciding.

        Raises AnswerMalformed for bytes that are no such record.
        """
        raw = await self.reader.unverified(state.path(key))
        try:
            return None if raw is None else state.read(raw)
        except InvariantBroken as error:  # Not the ledger's: nothing was proved.
            raise AnswerMalformed("abci_query.value", str(error)) from error

    async def scan(self, state: Map[R], prefix: str = "") -> list[tuple[tuple[str, ...], R]]:
        """The entries of a map under a prefix of its keys, in order, by one node's word: it can leave out or invent.

        Keys are text, as in paths: hexadecimal, padded numbers; ``get`` and rules take them so. Raises AnswerMalformed
        for what is no entry of the map, and for more than SCANNED_MAX of them.
        """
        start = f"{state.prefix}/{prefix}".encode("ascii")
        found: list[tuple[tuple[str, ...], R]] = []
        after: bytes | None = None
        while True:
            page = await self.reader.scan(start, after, _SCAN_PAGE)
            if not page:
                return found
            try:
                found += [(_key_of(state, path), state.read(body)) for path, body in page]
            except InvariantBroken as error:
                raise AnswerMalformed("scan", str(error)) from error
            if len(found) > SCANNED_MAX:
                raise AnswerMalformed("scan", f"it goes on after {SCANNED_MAX} entries")
            after = page[-1][0]

    async def events(self, after: int) -> AsyncGenerator[tuple[int, tuple[Event, ...]], None]:
        """Every later block's height with the events of its accepted transactions; no height is left out.

        A block is told when the next one is there, which proves its results. Outlasts nodes that do not answer for a
        while, or are behind the one that told the height. Stop by leaving the loop, best within
        ``contextlib.aclosing``.
        Raises VerificationFailed, CannotVerify, HeightPruned, NodeUnavailable.
        """
        async with aclosing(self.rpc.heads.after(after)) as heights:
            async for newest in heights:
                height = newest - 1
                if height > after:
                    results = await self._results(height)
                    happened = [
                        event for result in results if result.code == 0 for event in events_of(result.data, self.book)
                    ]
                    yield height, tuple(happened)

    async def close(self) -> None:
        """Close connections."""
        await self.rpc.close()

    async def _results(self, height: int) -> tuple[TxResult, ...]:
        """The results of a block that some node has committed, from whichever node answers by and by."""
        until = asyncio.get_running_loop().time() + self.rpc.patience.outage
        while True:
            seen = self.rpc.heads.height
            try:
                return await self.reader.results(height)
            except (NodeUnavailable, HeightUnavailable) as error:
                if isinstance(error, HeightPruned) or not await self.rpc.heads.beyond(seen, until):
                    raise

    async def _offer(self, signed: Signed, digest: bytes) -> str:
        """Offer the bytes to a node, and say what keeps them out for now.

        A refusal of CheckTx is final unless the look-up knows better, or it is only that the node's pool is full.
        """
        try:
            checked = await self.rpc.broadcast_tx_sync(signed.raw)
        except (TxInCache, NodeUnavailable):
            return ""  # It has it already, or there is no answer: keep asking what became of it.
        except NodeError as error:
            return f": {error}"  # Its pool is full, for example.
        if checked.code == 0:
            return ""
        refusal = refusal_of(checked.code, checked.data, checked.log, self.book)
        if isinstance(refusal, Replayed | Expired):
            return ""  # Decided already, or it never will be: the next look-up tells which.
        if isinstance(refusal, PoolShareFull):
            return f": {refusal}"
        if await self.rpc.tx(digest) is None:
            raise refusal
        return ""


def _accepted(book: Rulebook, digest: bytes, decided: DecidedTx) -> AcceptedTx:
    if decided.result.code != 0:
        raise refusal_of(decided.result.code, decided.result.data, book=book)
    return AcceptedTx(digest, decided.height, events_of(decided.result.data, book))


def _key_of(state: Map[R], path: bytes) -> tuple[str, ...]:
    """The key of an entry as a node names it, which may be a key of no map."""
    key = state.key_of(path) if path.isascii() else ()
    if len(key) != len(state.key_names):
        raise AnswerMalformed("scan", f"{path[:255]!r} is no entry of {state.prefix}")
    return key
