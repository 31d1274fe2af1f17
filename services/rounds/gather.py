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
from .recompute import Answer, Base, Recomputed, Row
from .round import attest_by

_ATTEMPTS = 3
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

    async def fetch(self, number: int, seat: int, *, copies: bool = False) -> bool:
        """Fetch one seat's payload, unless it is held; with ``copies``, also from who shares it. Whether it is held.

        Raises what ``committed`` does; a store that has nothing good is no error.
        """
        wanted = (await self.committed(number))[seat]
        if seat in self._plaintexts:
            return True
        made = wanted.commitment
        sources = [(made.cid, made.size)]
        if copies:
            record = await self.client.peek(ballot_box.SHARES, (self.task.name, number, wanted.organisation))
            sources += [(copy.cid, copy.size) for copy in record.copies] if record else []
        for cid, size in sources:
            found = await self._matching(cid, size, wanted)
            if found is not None:
                if self._round == number:  # Not when the next round has begun meanwhile.
                    self._plaintexts[seat] = found
                return True
        return False

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

    async def recompute(self, number: int) -> Recomputed:
        """The candidate that follows from a round whose set is agreed: for who looks at it afterwards.

        Raises NothingFollows, PayloadsMissing, WrongPhase, UnknownRound, and what loading and reading raise.
        """
        found = await self._recomputed(number)
        if found.made is None:
            raise recompute.NothingFollows(found.why_none)
        return found.made

    async def verify(self, version: int) -> Answer:
        """What follows from the round that a version came from. Raises UnknownVersion, and as ``recompute``."""
        decided = await self.client.ask(lambda view: models.require_version(view, self.task.model, version))
        return await self._recomputed(decided.round)

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

    async def _recomputed(self, number: int) -> Answer:
        current = await self.round(number)
        if not bitmap.count(current.agreed):
            raise rounds.WrongPhase(phase=current.phase, wanted=Phase.SEALING)
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(self.client.rpc.patience.payload)
            got = [await self.fetch(number, seat, copies=True) for seat in bitmap.numbers(current.agreed)]
            if all(got):
                return await self.answer(number, current)
        missing = [seat for seat in bitmap.numbers(current.agreed) if seat not in self._plaintexts]
        names = tuple(self._committed[seat].organisation for seat in missing)
        now = (await self.client.rpc.status()).time_ns // 1_000_000
        raise PayloadsMissing(number, names, expired=now > current.until + self.task.terms.retention_ms)

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

    async def _matching(self, cid: str, size: int, wanted: Committed) -> bytes | None:
        """The committed plaintext, if that is what can be had and read at an address; kept under that address then."""
        try:
            ciphertext = await self.store.get(Cid.parse(cid), size)
            plaintext = confidential.decrypt(ciphertext, *self.identities, max_bytes=size)
        except PayloadError as error:
            _log.info("no payload of %s at %s: %s", wanted.organisation, cid, error)
            return None
        if crypto.sha256(plaintext) != wanted.commitment.digest:
            _log.info("at %s is not what %s committed to", cid, wanted.organisation)
            return None
        await self._keep(ciphertext)
        return plaintext

    async def _keep(self, ciphertext: bytes) -> None:
        try:
            await self.store.put(ciphertext)
        except PayloadError as error:
            _log.warning("a payload is held and not served: %s", error)
