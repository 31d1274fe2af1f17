"""What goes on while processes die: every member of the consortium signs real transactions at a steady rate.

Three kinds of business, all of which an honest ledger accepts without end: motions that are put to the vote and
defeated, rounds from the opening to the promotion of a version, and keys that are enrolled and
revoked. Members know what was decided from blocks (``witness``), as a client does, and send what is not decided again.
"""

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random

from client_sdk.documents.strict_json import AnswerMalformed
from client_sdk.reads.refusals import events_of
from client_sdk.rpc import RpcClient
from client_sdk.rpc.errors import RpcError
from contracts.kernel import Event, Message, codec, envelope, limits
from contracts.kernel.types import Purpose
from contracts.transition import Expired, Replayed

from .members import Members
from .witness import Decided, Witness

VALID_BLOCKS = 60
RESEND_SECONDS = 2.0
REFUSALS_MAX = 4  # Before a member believes that it is not the node that lags behind.
_PAUSE_SECONDS = 0.3
WAITING = (Replayed.code, Expired.code)  # Decided already, or never will be: blocks tell which.


class Refused(Exception):
    """Several nodes refused a transaction, or a block did."""

    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class NotDecided(Exception):
    """A transaction expired before any block included it."""


@dataclass
class Desk:
    """Where members hand in transactions: signed once, sent to one node after the other until a block decides."""

    members: Members
    witness: Witness
    rate: float
    """Transactions a second, at most, over all members."""
    rng: Random
    counts: Counter[str] = field(default_factory=Counter)
    _clients: list[RpcClient] = field(default_factory=list)
    _free_at: float = 0.0

    def __post_init__(self) -> None:
        self._clients = [RpcClient((address,), call_seconds=2.0) for address in self.witness.addresses.values()]

    async def close(self) -> None:
        """Close connections."""
        for client in self._clients:
            await client.close()

    async def submit(self, organisation: str, message: Message) -> tuple[Event, ...]:
        """Sign and send a message until it is decided; its events. Raises Refused, NotDecided."""
        await self._turn()
        valid_until = self.witness.height + VALID_BLOCKS
        raw = self._sealed(organisation, message, valid_until)
        digest = sha256(raw).digest()
        outcome = self.witness.outcome(digest)
        self.counts["signed"] += 1
        try:
            decided = await self._until_decided(raw, outcome, valid_until)
        finally:
            self.witness.forget(digest)
        if decided.code != 0:
            raise Refused(decided.code)
        return events_of(decided.data)

    async def _until_decided(self, raw: bytes, outcome: asyncio.Future[Decided], valid_until: int) -> Decided:
        refusals = 0
        while True:
            code = await self._offer(raw)
            if code not in (None, 0, *WAITING):
                self.counts[f"refused at the door: {code}"] += 1
                refusals += 1
                if refusals == REFUSALS_MAX:
                    raise Refused(code or 0)
            patience = RESEND_SECONDS if code in (0, *WAITING) else _PAUSE_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    return await asyncio.shield(outcome)
            if self.witness.height > valid_until:
                self.counts["expired"] += 1
                raise NotDecided
            self.counts["sent again"] += 1

    async def _offer(self, raw: bytes) -> int | None:
        """CheckTx of any node; None when it does not answer or has seen the bytes before."""
        try:
            return (await self.rng.choice(self._clients).broadcast_tx_sync(raw)).code
        except (RpcError, AnswerMalformed):
            return None

    def _sealed(self, organisation: str, message: Message, valid_until: int) -> bytes:
        keys = self.members[organisation]
        return envelope.seal(
            keys.human if message.purpose is Purpose.HUMAN else keys.worker,
            self.members.ledger,
            tag=message.tag,
            body=codec.shape_of(type(message)).pack(message, ""),
            nonce=secrets.token_bytes(limits.NONCE_BYTES),
            valid_until=valid_until,
        )

    async def _turn(self) -> None:
        """Keep to the rate."""
        loop = asyncio.get_running_loop()
        self._free_at = max(self._free_at, loop.time()) + 1 / self.rate
        await asyncio.sleep(self._free_at - loop.time() - 1 / self.rate)


Business = Callable[[Desk], Awaitable[None]]


@dataclass
class Load:
    """Businesses that go on until the block ends. A business that fails begins anew, and the failure is counted."""

    desk: Desk
    businesses: tuple[Business, ...]
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> "Load":
        self._tasks = [asyncio.create_task(self._keep_on(business)) for business in self.businesses]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.desk.close()
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def _keep_on(self, business: Business) -> None:
        while True:
            try:
                await business(self.desk)
                self.desk.counts[f"done: {business.__name__.replace('_', ' ')}"] += 1
            except Refused as refused:
                self.desk.counts[f"given up, refused: {refused.code}"] += 1
            except NotDecided:
                self.desk.counts["given up, not decided"] += 1
                await asyncio.sleep(_PAUSE_SECONDS)
