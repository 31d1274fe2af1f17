"""One contribution from hold to publication: reserve, train, journal, commit, publish.

Where a contribution stands is read from the ledger, and what it consists of from the journal, so a participant that
was killed anywhere goes on where it was: nothing is spent twice, nothing is trained twice, nothing is published that
was not accepted.

==============  ===================================================================
the seat says   what happens
==============  ===================================================================
invited         reserve: the budget is held before anything is trained
reserved        train, encrypt, journal, commit; or send the journalled bytes again
committed       put the journalled payload into the store, then say so
published       nothing: the receipt is read back
==============  ===================================================================
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace

from contracts import contributions, identity, privacy_budget, rounds
from contracts.contributions import AlreadyCommitted, AlreadyPublished, AlreadyReserved, NoiseSource
from contracts.kernel import View, crypto
from contracts.rounds import Progress, Round, UnknownTask
from contracts.transition import message_of, parse
from learning.payload import encode_payload
from learning.tensors import Int32

from ..client import AcceptedTx, LedgerClient, NotDecided, Signed
from ..errors import Kind, SdkError
from ..light import CannotVerify, TrustExpired, VerificationFailed
from ..payloads import confidential
from ..payloads.store import PayloadStore, payload_cid
from ..rpc import AnswerMalformed, RpcError
from . import artefacts
from .journal import Entry, Journal
from .task import TaskView, load_version, recipients
from .trainer import Trainer

Tamper = Callable[[Int32], Int32]
_PASSING = (
    RpcError,
    AnswerMalformed,
    VerificationFailed,
    CannotVerify,
    UnknownTask,
)  # Of a node; others may do better.
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Contribution:
    """What a round cost and where it is recorded. ε values are at the dataset's δ, in 10⁻⁹."""

    round: int
    height: int  # Of the accepted commitment.
    cid: str
    charged: int  # ε of this round alone; rounds compose, these do not add.
    spent: int  # Cumulative ε of the dataset with this round.
    bytes: int  # Of the published payload.


class PayloadLost(SdkError):
    """The ledger holds a commitment of ours whose payload this machine does not have."""

    kind = Kind.REFUSED
    hint = "Restore the journal folder. Without the payload the contribution counts as missing; its budget is spent."


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

    async def rounds(self) -> AsyncIterator[int]:
        """The numbers of rounds in which this dataset has something left to do, as they come, until there are none.

        Starts with the current round, so that a restart resumes it. A round whose deadline for this dataset's next
        step has passed is no work any more. Goes on when nodes do not answer for a while, or not with the truth.
        Raises TrustExpired.
        """
        done = 0
        async with aclosing(self.client.rpc.heads.latest()) as heights:
            async for _ in heights:
                try:
                    number, has_work = await self._looked(done)
                    if has_work:
                        yield number
                    done = number
                    if done >= self.task.terms.max_rounds:
                        if await self._all_opened():
                            return
                        done = 0  # A node made the rounds up: look again.
                except TrustExpired:
                    raise
                except _PASSING as error:
                    _log.warning("cannot look at the ledger, trying again: %s", error)

    async def contribute(self, number: int, trainer: Trainer, tamper: Tamper | None = None) -> Contribution:
        """Contribute to a round, from wherever this contribution stands.

        Raises the ledger's refusals (BudgetExceeded before anything is trained, DeadlinePassed, …), PayloadLost.
        ``tamper`` changes the update before it is encoded: for attack experiments.
        """
        current = await self._peek(number)
        if current is None:
            raise rounds.UnknownRound(task=self.task.name, round=number)
        progress = rounds.require_seat(current, self.organisation, self.dataset).progress
        if progress is Progress.INVITED:
            await self.reserve(number)
        if progress in (Progress.INVITED, Progress.RESERVED):
            await self.commit(number, current, trainer, tamper)
        if progress is not Progress.PUBLISHED:
            await self.publish(number)
        self.journal.forget(self.task.name, number, self.dataset)
        return await self._account(number)

    async def reserve(self, number: int) -> AcceptedTx | None:
        """Hold the round's price; None when it is held already."""
        message = contributions.Reserve(self.task.name, number, self.dataset)
        try:
            return await self.client.submit(message)
        except AlreadyReserved:
            return None

    async def commit(self, number: int, current: Round, trainer: Trainer, tamper: Tamper | None = None) -> None:
        """Send the journalled commitment; train and journal one first if there is none."""
        entry = self.journal.find(self.task.name, number, self.dataset)
        if entry is None:
            entry = await self._trained(number, current, trainer, tamper)
        elif parse(entry.envelope).key != self.client.signing_key:
            entry = await self._signed_again(entry)  # Its key was replaced, after a theft perhaps. The payload stays.
        with suppress(AlreadyCommitted):
            while True:
                try:
                    await self.client.send(Signed(entry.envelope, entry.valid_until))
                except NotDecided:
                    # It expired unseen and can no longer be included, so the same payload may be committed to anew.
                    entry = await self._signed_again(entry)
                else:
                    return

    async def publish(self, number: int) -> None:
        """Serve the committed payload, and only then say so.

        That the commitment was accepted is read with its proof first: a node's word would be enough to make us serve
        an update that nobody was charged for. Raises PayloadLost, NotCommitted.
        """
        entry = self.journal.find(self.task.name, number, self.dataset)
        if entry is None:
            raise PayloadLost(f"round {number} of {self.task.name}: the journal has no payload for {self.dataset}")
        await self._require_committed(number, entry.payload)
        await self.store.put(entry.payload)
        with suppress(AlreadyPublished):
            await self.client.submit(contributions.Publish(self.task.name, number, self.dataset))

    async def _require_committed(self, number: int, payload: bytes) -> None:
        now = (await self.client.rpc.status()).height
        key = (self.task.name, number, self.organisation, self.dataset)
        record = await self.client.get(contributions.COMMITMENTS, key, at_least=now)
        if record is None or record.cid != str(payload_cid(payload)):
            raise contributions.NotCommitted(dataset=self.dataset)

    async def _trained(self, number: int, current: Round, trainer: Trainer, tamper: Tamper | None) -> Entry:
        terms, layout = self.task.terms, self.task.inputs.layout
        rounds.require_before(current.commit_by, await self._now())  # What could not be committed is not trained.
        version, base = await load_version(self.client, self.store, self.task, current.base)
        update = await asyncio.to_thread(trainer.update, terms, base)
        units = update.units if tamper is None else tamper(update.units)
        manifest = artefacts.update_manifest(terms.task, number, version.artefact.digest, terms.update.scale_bits)
        plaintext = encode_payload(units, manifest, layout)
        payload = confidential.encrypt(plaintext, await recipients(self.client, self.task))
        message = self._commitment(number, current, plaintext, payload, trainer)
        signed = await self.client.sign(message)
        entry = Entry(terms.task, number, self.dataset, signed.raw, signed.valid_until, payload)
        self.journal.keep(entry)
        return entry

    def _commitment(
        self, number: int, current: Round, plaintext: bytes, payload: bytes, trainer: Trainer
    ) -> contributions.Commit:
        return contributions.Commit(
            task=self.task.name,
            round=number,
            dataset=self.dataset,
            cid=str(payload_cid(payload)),
            digest=crypto.sha256(plaintext),
            size=len(payload),
            base=current.base,
            mechanism=self.task.terms.mechanism,
            noise=NoiseSource.OS_ENTROPY if trainer.private else NoiseSource.REPRODUCIBLE,
            code=trainer.code,
        )

    async def _signed_again(self, entry: Entry) -> Entry:
        signed = await self.client.sign(message_of(parse(entry.envelope)))
        entry = replace(entry, envelope=signed.raw, valid_until=signed.valid_until)
        self.journal.keep(entry)
        return entry

    async def _account(self, number: int) -> Contribution:
        """Read the contribution back from proved state, no older than now."""
        now = (await self.client.rpc.status()).height
        return await self.client.ask(lambda view: self._accounted(view, number), at_least=now)

    def _accounted(self, view: View, number: int) -> Contribution:
        key = (self.task.name, number, self.organisation, self.dataset)
        record = contributions.COMMITMENTS.get(view, key)
        task = rounds.require_task(view, self.task.name)
        promise = identity.require_dataset(view, self.organisation, self.dataset).promise
        account = privacy_budget.dataset_account(view, self.organisation, self.dataset)
        if record is None:
            raise PayloadLost(f"round {number} of {self.task.name}: the ledger shows no commitment of {self.dataset}")
        return Contribution(
            round=number,
            height=record.height,
            cid=record.cid,
            charged=privacy_budget.epsilon_of(task.price, promise),
            spent=privacy_budget.epsilon_of(account.spent, promise),
            bytes=record.size,
        )

    async def _looked(self, done: int) -> tuple[int, bool]:
        """Up to which round nothing is left to look at, by a node's word, and whether that one has work for us."""
        task = await self.client.peek(rounds.TASKS, self.task.name)
        number = task.rounds if task else 0
        current = await self._peek(number) if number > done else None
        if current is None:
            return done, False
        if self._has_work(current, await self._now()):
            return number, True
        return (done if current.status is rounds.RoundStatus.OPEN else number), False

    async def _all_opened(self) -> bool:
        """Whether the ledger proves that the task has opened all its rounds: a node's word would make us deaf."""
        task = await self.client.ask(lambda view: rounds.require_task(view, self.task.name))
        return task.rounds >= self.task.terms.max_rounds

    async def _peek(self, number: int) -> Round | None:
        return await self.client.peek(rounds.ROUNDS, (self.task.name, number))

    async def _now(self) -> int:
        """Block time of the newest block, in ms: what deadlines are held against."""
        return (await self.client.rpc.status()).time_ns // 1_000_000

    def _has_work(self, current: Round, now: int) -> bool:
        if current.status is not rounds.RoundStatus.OPEN:
            return False
        seats = {(seat.organisation, seat.dataset): seat for seat in current.seats}
        seat = seats.get((self.organisation, self.dataset))
        return seat is not None and rounds.may_move(seat, current, now)
