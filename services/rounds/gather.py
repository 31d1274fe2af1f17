"""Fetching what a round's candidate is computed from: payloads, the base version, the canary set.

A payload is held when its bytes decrypt with this organisation's identity to what was committed to by the salted
digest; nothing else is asked of it here, and who could not be fetched is judged by nobody alone (``ballots``). What is
held is put into this organisation's own store under its first address, so that a participant which served a few has
served all. Commitments are proved: past the barrier they do not change.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from client_sdk.client import LedgerClient
from client_sdk.errors import Kind, SdkError
from client_sdk.payloads import confidential
from client_sdk.payloads.cid import Cid
from client_sdk.payloads.errors import PayloadError
from client_sdk.payloads.store import PayloadStore
from client_sdk.reads.queries import Moment
from client_sdk.reads.view import every
from client_sdk.training.artefacts import CanarySet
from client_sdk.training.task import TaskView, load_canary, load_version
from contracts import ballot_box, contributions, models, rounds, tasks
from contracts.contributions import Commitment, Seat
from contracts.kernel import View, bitmap, crypto
from contracts.kernel.types import OrgId, Seats
from contracts.rounds import Charged, Round
from contracts.terms import Phase

from . import recompute
from .recompute import Answer, Base, Row
from .round import attest_by

_ATTEMPTS = 3
_AT_ONCE = 4  # Payloads asked of one organisation: who shares what nobody has delays only itself.
_log = logging.getLogger(__name__)


class PayloadsMissing(SdkError):
    """Payloads of an agreed set cannot be had. The message says whether they may have expired."""

    kind = Kind.REFUSED
    hint = "Ask an organisation that verified the round, or try again when more of them are online."

    def __init__(self, number: int, organisations: tuple[OrgId, ...], *, expired: bool) -> None:
        why = "the terms let recipients drop them by now" if expired else "nobody who was asked has them"
        super().__init__(f"payloads of round {number} are missing ({', '.join(organisations)}): {why}")
        self.round, self.organisations, self.expired = number, organisations, expired


@dataclass(frozen=True)
class Committed:
    """A seat past the barrier: whose it is, and what it committed to."""

    organisation: OrgId
    seat: Seat
    commitment: Commitment


@dataclass(frozen=True)
class Source:
    """Where a payload may lie: at its owner's, or at a verifier's that shares a copy."""

    organisation: OrgId
    cid: str
    size: int


@dataclass
class Gatherer:
    """Fetches and recomputes one task's rounds for one organisation, with its own reads, payloads and identities."""

    client: LedgerClient
    store: PayloadStore
    task: TaskView
    identities: tuple[str, ...]  # This organisation's age identities.
    _canary: CanarySet | None = field(default=None, init=False)
    _round: int = field(default=0, init=False)  # The one that the following are of.
    _committed: Mapping[int, Committed] = field(default_factory=dict, init=False)  # By seat number.
    _plaintexts: dict[int, bytes] = field(default_factory=dict, init=False)
    _asking: dict[OrgId, asyncio.Semaphore] = field(default_factory=dict, init=False)

    async def committed(self, number: int) -> Mapping[int, Committed]:
        """What was committed to in a round, by seat number: proved, and final.

        Raises WrongPhase until it is proved that nobody can commit any more, UnknownRound, and what reads raise.
        """
        if self._round != number:
            async with self.client.at() as view:
                found = await view.run(lambda state: self._past_barrier(state, number, view.now))
            self._round, self._committed, self._plaintexts = number, found, {}
        return self._committed

    def held(self, number: int) -> Seats:
        """The seats of a round whose payloads this organisation holds."""
        return bitmap.of(self._plaintexts) if self._round == number else bitmap.NOTHING

    def plaintext(self, seat: int) -> bytes:
        """What a seat of the round that was asked for last committed to. Raises KeyError when it is not held."""
        return self._plaintexts[seat]

    async def sources(self, number: int, seat: int, *, copies: bool) -> list[Source]:
        """Where one seat's payload may lie: its first address, and with ``copies`` those who share it.

        Raises what ``committed`` does.
        """
        wanted = (await self.committed(number))[seat]
        first = Source(wanted.organisation, wanted.commitment.cid, wanted.commitment.size)
        if not copies:
            return [first]
        record = await self.client.peek(ballot_box.SHARES, (self.task.name, number, wanted.organisation))
        shared = record.copies if record else ()
        return [first, *(Source(copy.organisation, copy.cid, copy.size) for copy in shared)]

    async def fetch(self, number: int, seat: int, *, copies: bool = False) -> bool:
        """Fetch one seat's payload from all its sources at once, unless it is held. Whether it is held.

        Raises what ``committed`` does; a store that has nothing good is no error.
        """
        if seat in await self._held_of(number):
            return True
        sources = await self.sources(number, seat, copies=copies)
        asked = [asyncio.create_task(self.fetch_from(number, seat, source)) for source in sources]
        try:
            for answered in asyncio.as_completed(asked):
                if await answered:
                    return True
            return False
        finally:
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def fetch_from(self, number: int, seat: int, source: Source) -> bool:
        """Fetch one seat's payload from one source. Whether it is held now. Raises what ``committed`` does.

        A source that does not answer keeps nobody but itself waiting: each organisation is asked for a few at once.
        """
        async with self._asking.setdefault(source.organisation, asyncio.Semaphore(_AT_ONCE)):
            if seat in await self._held_of(number):
                return True
            found = await self._matching(source, self._committed[seat])
        if found is not None and self._round == number:  # Not when the next round has begun meanwhile.
            self._plaintexts[seat] = found
        return found is not None

    async def answer(self, number: int, current: Round) -> Answer:
        """What follows from an agreed set, all of which is held. Raises as ``committed`` and ``load_version``."""
        committed = await self.committed(number)
        rows = {
            seat: Row(one.organisation, one.seat.dataset, one.seat.weight, self._plaintexts[seat])
            for seat, one in committed.items()
            if bitmap.has(current.agreed, seat)
        }
        version, units = await load_version(self.client, self.store, self.task, current.base)
        base, canary = Base(current.base, version.artefact.digest, units), await self.canary()
        return await asyncio.to_thread(
            recompute.answer, self.task.terms, number, current.agreed, rows, base, self.task.inputs, canary
        )

    async def recompute(self, number: int) -> Answer:
        """What follows from a round whose set is agreed: for who looks at it afterwards.

        Raises PayloadsMissing, WrongPhase, UnknownRound, and what loading and reading raise.
        """
        current = await self.round(number)
        if not bitmap.count(current.agreed):
            raise rounds.WrongPhase(phase=current.phase, wanted=Phase.SEALING)
        seats = bitmap.numbers(current.agreed)
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(self.client.rpc.patience.payload)
            got = [await self.fetch(number, seat, copies=True) for seat in seats]
            if all(got):
                return await self.answer(number, current)
        names = tuple(self._committed[seat].organisation for seat in seats if seat not in self._plaintexts)
        now = (await self.client.rpc.status()).time_ns // 1_000_000
        raise PayloadsMissing(number, names, expired=now > current.until + self.task.terms.retention_ms)

    async def verify(self, version: int) -> Answer:
        """What follows from the round that a version came from. Raises UnknownVersion, and as ``recompute``."""
        decided = await self.client.ask(lambda view: models.require_version(view, self.task.model, version))
        return await self.recompute(decided.round)

    async def canary(self) -> CanarySet:
        """The task's canary set, fetched once."""
        if self._canary is None:
            self._canary = await load_canary(self.store, self.task)
        return self._canary

    async def round(self, number: int, *, at_least: int = 0) -> Round:
        """A round as it is written, proved. Raises UnknownRound, and what reads raise."""
        return await self.client.ask(lambda view: rounds.require_round(view, self.task.name, number), at_least=at_least)

    async def is_time_to_attest(self, number: int) -> bool:
        """Whether it is proved that verifiers attest what they hold by now, whatever is missing."""
        async with self.client.at() as view:
            current = await view.run(lambda state: rounds.require_round(state, self.task.name, number))
            return current.phase is Phase.ATTESTING and view.time_ms >= attest_by(self.task.terms, current)

    def _past_barrier(self, view: View, number: int, now: Moment) -> Mapping[int, Committed]:
        current = rounds.require_round(view, self.task.name, number)
        if rounds.charged_of(current, now.time_ms, now.height) is not Charged.ALL:
            raise rounds.WrongPhase(phase=current.phase, wanted=Phase.ATTESTING)
        owners = tasks.organisations_of(view, self.task.name, current.committed)
        seats = every(contributions.SEATS, view, [(self.task.name, number, owner) for owner in owners])
        return {
            seat.number: Committed(owner, seat, seat.commitment)
            for owner, seat in zip(owners, seats, strict=True)
            if seat.commitment is not None
        }

    async def _held_of(self, number: int) -> Mapping[int, bytes]:
        await self.committed(number)
        return self._plaintexts

    async def _matching(self, source: Source, wanted: Committed) -> bytes | None:
        """The committed plaintext, if that is what can be had and read there; kept under that address then."""
        try:
            ciphertext = await self.store.get(Cid.parse(source.cid), source.size)
            plaintext = confidential.decrypt(ciphertext, *self.identities, max_bytes=source.size)
        except PayloadError as error:
            _log.info("no payload of %s at %s: %s", wanted.organisation, source.cid, error)
            return None
        if crypto.sha256(plaintext) != wanted.commitment.digest:
            _log.info("at %s is not what %s committed to", source.cid, wanted.organisation)
            return None
        await self._keep(ciphertext)
        return plaintext

    async def _keep(self, ciphertext: bytes) -> None:
        try:
            await self.store.put(ciphertext)
        except PayloadError as error:
            _log.warning("a payload is held and not served: %s", error)
