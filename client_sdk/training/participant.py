"""One contribution from hold to service: reserve, train, journal, commit, and serve past the barrier.

Where a contribution stands is proved from the ledger, and what it consists of is in the journal, so a participant that
was killed anywhere goes on where it was: nothing is spent twice, nothing is trained twice, and no payload leaves the
house while anybody can still commit. ``seat`` says what to do next; here it is done.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import replace

from contracts import contributions, identity, privacy_budget, rounds, tasks
from contracts.ballots import AdvanceRound
from contracts.contributions import AlreadyCommitted, AlreadyReserved, NoiseSource, NotPrivate
from contracts.kernel import View, crypto
from contracts.registry import RULES
from contracts.rounds import PhaseNotOver, PhaseOver, Round, RoundEnded, WrongPhase
from contracts.terms import Phase
from contracts.transition import parse, past_message_of
from learning.payload import Owner, decode_payload, encode_payload
from learning.refusals import PayloadRefused
from learning.tensors import Int32

from ..client import AcceptedTx, LedgerClient, NotDecided, Signed
from ..errors import SdkError
from ..light import TrustExpired
from ..payloads import confidential
from ..payloads.cid import Cid
from ..payloads.errors import PayloadError
from ..payloads.store import PayloadStore, payload_cid
from ..reads.queries import Moment
from . import artefacts
from .journal import Entry, Journal
from .offers import PASSING, Offers
from .outcomes import (
    CommitMissed,
    Contribution,
    PayloadLost,
    RoundCameToNothing,
    TrainingInterrupted,
    UpdateUnfit,
)
from .seat import Seen, Step, next_step, why_void
from .task import TaskView, load_version, recipients
from .trainer import Trainer

Tamper = Callable[[Int32], Int32]
_log = logging.getLogger(__name__)


class Participant:
    """Takes part in one task with one dataset."""

    def __init__(
        self,
        client: LedgerClient,
        store: PayloadStore,
        journal: Journal,
        organisation: str,
        dataset: str,
        task: TaskView,
    ) -> None:
        self.client = client
        self.store = store
        self.journal = journal
        self.organisation = organisation
        self.dataset = dataset
        self.task = task

    async def rounds(self) -> AsyncGenerator[int, None]:
        """The rounds in which this dataset has something left to do: see ``offers``. Raises TrustExpired."""
        looking = Offers(self.client, self.journal, self.organisation, self.dataset, self.task)
        async with aclosing(looking.rounds()) as numbers:
            async for number in numbers:
                yield number

    async def contribute(self, number: int, trainer: Trainer, tamper: Tamper | None = None) -> Contribution:
        """Contribute to a round, from wherever this contribution stands, until its payload is served.

        Waits for the round's phases: hours, where the terms say so. Raises the ledger's refusals (BudgetExceeded
        before anything is trained, PhaseOver, NotPrivate, KeyIsRevoked, …), RoundCameToNothing, CommitMissed,
        UpdateUnfit, TrainingInterrupted, PayloadLost, TrustExpired. ``tamper`` changes the update before it is
        encoded, and commits to it whatever it is: for attack experiments.
        """
        if not trainer.private:
            raise NotPrivate(noise=NoiseSource.REPRODUCIBLE)  # As the ledger would say, after the training was paid.
        known = await self._seated(number)
        async with aclosing(self.client.rpc.heads.latest()) as heights:
            async for height in heights:
                try:
                    made = await self._went_on(number, max(known, height - 1), trainer, tamper)
                except TrustExpired:
                    raise
                except PASSING as error:
                    _log.warning("round %d waits for a node: %s", number, error)
                    continue
                if made is not None:
                    return made
        raise AssertionError("heads never end")

    async def reserve(self, number: int) -> AcceptedTx | None:
        """Take this organisation's seat, and hold the round's price; None when it has it already.

        Raises AlreadyReserved when the seat is another dataset's, and the ledger's other refusals.
        """
        message = contributions.Reserve(self.task.name, number, self.dataset)
        try:
            return await self.client.submit(message)
        except AlreadyReserved:
            return None

    async def withdraw(self, number: int) -> AcceptedTx:
        """Give the seat back, which costs nothing until training may start.

        Raises WrongPhase or PhaseOver when it may, NotReserved, and the ledger's other refusals.
        """
        return await self.client.submit(contributions.Withdraw(self.task.name, number))

    async def look(self, number: int, *, at_least: int = 0) -> Seen:
        """A round and our seat in it, proved.

        Raises UnknownRound, NotReserved, and AlreadyReserved when the seat is another dataset's.
        """
        async with self.client.at(at_least) as view:
            return await view.run(lambda state: self._seen(state, number, view.now))

    async def train(self, number: int, current: Round, trainer: Trainer, tamper: Tamper | None = None) -> Entry:
        """Train once, and journal the commitment and the payload. Raises UpdateUnfit, and what loading a version does.

        That training starts is journalled only when everything that it needs is there.
        """
        terms, layout = self.task.terms, self.task.inputs.layout
        version, base = await load_version(self.client, self.store, self.task, current.base)
        readers = await self.readers(number)
        self.journal.keep(Entry.started(terms.task, number, self.dataset))
        update = await asyncio.to_thread(trainer.update, terms, base)
        units = update.units if tamper is None else tamper(update.units)
        owner = Owner(self.organisation, self.dataset, secrets.token_bytes(32).hex())
        digest = version.artefact.digest
        manifest = artefacts.update_manifest(terms.task, number, digest, terms.update.scale_bits, owner)
        plaintext = encode_payload(units, manifest, layout)
        payload = confidential.encrypt(plaintext, readers)
        if tamper is None:
            self._require_fit(number, digest, plaintext, payload)
        signed = await self.client.sign(self._commitment(number, current, plaintext, payload, trainer))
        entry = Entry(terms.task, number, self.dataset, signed.raw, signed.valid_until, payload)
        self.journal.keep(entry)
        return entry

    async def readers(self, number: int) -> tuple[str, ...]:
        """Whom the payload is encrypted to. Raises what ``task.recipients`` does."""
        return await recipients(self.client, self.task, number)

    async def commit(self, entry: Entry, seen: Seen) -> None:
        """Send the journalled commitment until it is decided, after a look at which the seat had none.

        Bytes that were decided before that look are of no more use: a report took them out, or a thief's were first,
        and that report took those out. The same payload is committed to anew then. Raises the ledger's refusals.
        """
        if parse(entry.envelope).key != self.client.signing_key:
            entry = await self._signed_again(entry)  # Its key was replaced, after a theft perhaps. The payload stays.
        while True:
            try:
                accepted = await self.client.send(Signed(entry.envelope, entry.valid_until))
            except NotDecided:
                entry = await self._signed_again(entry)  # It expired unseen and can no longer be included.
            except AlreadyCommitted:  # Whose that is the next look tells.
                await self._signed_again(entry)
                return
            else:
                if accepted.height < seen.now.height:
                    await self._signed_again(entry)  # The next look finds the seat as it was, and sends that.
                return

    async def _seated(self, number: int) -> int:
        """Reserve, unless we have: from which height on the ledger proves that we hold the seat.

        Whether we have is one node's word, which costs a refusal at most.
        """
        if await self.client.peek(rounds.ROUNDS, (self.task.name, number)) is None:
            raise rounds.UnknownRound(task=self.task.name, round=number)
        seat = await self.client.peek(contributions.SEATS, (self.task.name, number, self.organisation))
        taken = await self.reserve(number) if seat is None else None
        return (await self.client.rpc.status()).height if taken is None else taken.height

    async def _went_on(
        self, number: int, at_least: int, trainer: Trainer, tamper: Tamper | None
    ) -> Contribution | None:
        """Do whatever is due; the contribution, once it is whole."""
        while True:
            seen = await self.look(number, at_least=at_least)
            entry = self.journal.find(self.task.name, number, self.dataset)
            match next_step(seen, entry):
                case Step.WAIT:
                    return None
                case Step.ADVANCE:
                    await self._advance(number)
                    return None
                case Step.TRAIN:
                    await self.train(number, seen.current, trainer, tamper)
                case Step.COMMIT:
                    assert entry is not None
                    with suppress(PhaseOver, WrongPhase):  # What that means for us, the next look tells.
                        await self.commit(entry, seen)
                    return None
                case Step.SERVE:
                    assert entry is not None
                    self._require_ours(number, seen, entry)
                    if not await self._served(seen, entry):
                        return None
                    self.journal.destroy(self.task.name, number, self.dataset)
                    return await self._contribution(number, seen)
                case Step.READ_BACK:
                    await self._require_served(number, seen)
                    return await self._contribution(number, seen)
                case end:
                    raise self._ended(end, number, seen)

    def _ended(self, step: Step, number: int, seen: Seen) -> SdkError:
        """How a contribution ended that came to nothing; what is left of it is destroyed where that is for the best."""
        match step:
            case Step.VOID:
                self.journal.destroy(self.task.name, number, self.dataset)
                return RoundCameToNothing(number, why_void(seen.current), seen.pays)
            case Step.MISSED:
                self.journal.destroy(self.task.name, number, self.dataset)
                return CommitMissed(number)
            case Step.INTERRUPTED:
                return TrainingInterrupted(number)
            case _:
                return self._lost(number)

    async def _advance(self, number: int) -> None:
        with suppress(PhaseNotOver, RoundEnded):  # Somebody else was first.
            await self.client.submit(AdvanceRound(self.task.name, number))

    async def _served(self, seen: Seen, entry: Entry) -> bool:
        """Put the payload into the store; a store that fails is tried again as long as anybody fetches."""
        try:
            await self.store.put(entry.payload)
        except PayloadError as error:
            if seen.current.phase in rounds.OVER:
                raise
            _log.warning("the payload of round %d is not served yet, trying again: %s", entry.round, error)
            return False
        return True

    async def _require_served(self, number: int, seen: Seen) -> None:
        """While it is fetched, the payload is in the store. Raises PayloadLost."""
        made = seen.seat.commitment
        assert made is not None, "past the barrier this step is for seats that have committed"
        fetched = seen.current.phase in (Phase.COMMITTING, Phase.ATTESTING)
        if fetched and not await self.store.has(Cid.parse(made.cid)):
            raise self._lost(number)

    def _require_ours(self, number: int, seen: Seen, entry: Entry) -> None:
        """What the seat has committed to is what the journal holds; else that is of no use. Raises PayloadLost."""
        made = seen.seat.commitment
        assert made is not None, "past the barrier this step is for seats that have committed"
        if made.cid != str(payload_cid(entry.payload)):
            self.journal.destroy(self.task.name, number, self.dataset)
            raise PayloadLost(
                f"round {number} of {self.task.name}: key {made.signer.hex()} has committed in this seat's name, and "
                "not to what was trained here"
            )

    def _lost(self, number: int) -> PayloadLost:
        return PayloadLost(f"round {number} of {self.task.name}: the journal has no payload for {self.dataset}")

    def _require_fit(self, number: int, base: bytes, plaintext: bytes, payload: bytes) -> None:
        """Hold our payload to what its receivers will hold it to. Raises UpdateUnfit."""
        owner = Owner(self.organisation, self.dataset)
        expected = artefacts.update_expectation(self.task.terms, number, base, self.task.inputs.layout, owner)
        try:
            decode_payload(plaintext, expected)
        except PayloadRefused as refusal:
            field = "norm" if refusal.reason == "over_norm" else "payload"
            raise UpdateUnfit(number, field, f"{refusal.reason}: {refusal}") from refusal
        most = self.task.terms.update.max_bytes
        if len(payload) > most:
            raise UpdateUnfit(number, "size", f"{len(payload)} bytes, the terms allow {most}")

    def _commitment(
        self, number: int, current: Round, plaintext: bytes, payload: bytes, trainer: Trainer
    ) -> contributions.Commit:
        return contributions.Commit(
            task=self.task.name,
            round=number,
            cid=str(payload_cid(payload)),
            digest=crypto.sha256(plaintext),
            size=len(payload),
            base=current.base,
            mechanism=self.task.terms.mechanism,
            noise=NoiseSource.OS_ENTROPY if trainer.private else NoiseSource.REPRODUCIBLE,
            code=trainer.code,
        )

    async def _signed_again(self, entry: Entry) -> Entry:
        signed = await self.client.sign(past_message_of(RULES, parse(entry.envelope)))
        entry = replace(entry, envelope=signed.raw, valid_until=signed.valid_until)
        self.journal.keep(entry)
        return entry

    def _seen(self, view: View, number: int, now: Moment) -> Seen:
        current = rounds.require_round(view, self.task.name, number)
        seat = contributions.require_seat(view, self.task.name, number, self.organisation)
        if seat.dataset != self.dataset:
            raise AlreadyReserved(organisation=self.organisation, dataset=seat.dataset)
        return Seen(self.task.terms, current, seat, now)

    async def _contribution(self, number: int, seen: Seen) -> Contribution:
        """What it cost: proved, no older than now."""
        made = seen.seat.commitment
        assert made is not None, "past the barrier this step is for seats that have committed"
        height = (await self.client.rpc.status()).height
        async with self.client.at(height) as view:
            charged, spent = await view.run(lambda state: self._accounted(state, view.now))
        return Contribution(number, made.place.height, made.cid, charged, spent, made.size)

    def _accounted(self, view: View, now: Moment) -> tuple[int, int]:
        task = tasks.require_task(view, self.task.name)
        promise = identity.require_dataset(view, self.organisation, self.dataset).promise
        account = privacy_budget.dataset_account(view, self.organisation, self.dataset, now)
        return privacy_budget.epsilon_of(task.price, promise), privacy_budget.epsilon_of(account.spent, promise)
