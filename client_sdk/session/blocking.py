"""The ledger for programs that are not asynchronous: what a data owner's training script imports.

    ledger = connect(":devnet:", key="hospital-a/worker")
    task = ledger.task("breast-cancer")
    for rnd in ledger.rounds(task, dataset="wdbc-a"):
        receipt = rnd.contribute(trainer)

A thread runs the asynchronous core; every method here hands it one coroutine and waits. Closing the ledger, or leaving
its ``with`` block, ends the thread.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from contracts import models
from contracts.kernel import Message
from contracts.tasks import JoinTask
from learning import fixed
from learning.tensors import unflatten

from ..client import AcceptedTx, LedgerClient
from ..reads.budgets import outlook
from ..secrets import keys
from ..training.outcomes import Contribution
from ..training.participant import Participant, Tamper
from ..training.task import TaskView, load_version, open_task
from ..training.trainer import Trainer
from . import Session, open_session
from .profile import find_profile

T = TypeVar("T")
NANO = 10**9


@dataclass(frozen=True)
class Quote:
    """What the next round would cost a dataset. All values are ε at the dataset's δ."""

    dataset: str
    price: float  # Of one round alone.
    spent: float  # With what is held back.
    after: float  # Cumulative, with this round: rounds compose, their ε do not add.
    limit: float
    affordable: bool

    def __str__(self) -> str:
        verdict = "within" if self.affordable else "over"
        return (
            f"{self.dataset}: one round costs ε = {self.price:.2f}; spent {self.spent:.2f}, "
            f"after it {self.after:.2f}, {verdict} the limit {self.limit:.2f}"
        )


class Round:
    """A round that waits for this dataset's contribution."""

    def __init__(self, ledger: "Ledger", participant: Participant, number: int) -> None:
        self._ledger, self._participant = ledger, participant
        self.number = number

    def contribute(self, trainer: Trainer, *, tamper: Tamper | None = None) -> Contribution:
        """Take the seat, train, commit, and past the barrier serve the update. Waits for the round's phases meanwhile.

        Raises the ledger's refusals, before training when the budget is spent; RoundCameToNothing, CommitMissed,
        UpdateUnfit, TrainingInterrupted, PayloadLost, TrustExpired.
        """
        return self._ledger.run(self._participant.contribute(self.number, trainer, tamper))

    def reserve(self) -> AcceptedTx | None:
        """Only take the seat and hold the budget: who does not commit once training has started pays for the round."""
        return self._ledger.run(self._participant.reserve(self.number))

    def withdraw(self) -> AcceptedTx:
        """Give the seat back, which is free until training starts. Raises NotReserved, WrongPhase, PhaseOver."""
        return self._ledger.run(self._participant.withdraw(self.number))


class Ledger:
    """One organisation's view of the ledger. Use it as a context manager, or ``close`` it."""

    def __init__(
        self, target: str, key: str | None, passphrase_file: Path | None, organisation: str, *, trust_node: bool = False
    ) -> None:
        profile = find_profile(target, organisation)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fedledger", daemon=True)
        self._thread.start()
        self._exits = contextlib.AsyncExitStack()
        try:
            self.session: Session = self.run(
                self._exits.enter_async_context(open_session(profile, key, passphrase_file, trust_node=trust_node))
            )
        except BaseException:
            self._stop()
            raise

    @property
    def organisation(self) -> str:
        """Who this ledger acts for."""
        return self.session.organisation

    @property
    def client(self) -> LedgerClient:
        """The asynchronous client underneath; its coroutines run with ``run``."""
        return self.session.client

    def task(self, name: str) -> TaskView:
        """A task's terms, from proved state, and its public inputs. Raises UnknownTask."""
        return self.run(open_task(self.client, self.session.store, name))

    def quote(self, task: TaskView, dataset: str) -> Quote:
        """What the next round would cost, by the ledger's own arithmetic. Raises UnknownDataset."""
        return self.run(self._quote(task, dataset))

    def join(self, task: TaskView, dataset: str) -> AcceptedTx:
        """Consent, with a human key, to the task's terms for a dataset."""
        return self.submit(JoinTask(task.name, dataset, task.digest))

    def rounds(self, task: TaskView, dataset: str) -> Iterator[Round]:
        """The rounds that wait for this dataset, as they open, starting with one left unfinished by a restart."""
        session = self.session
        participant = Participant(self.client, session.store, session.journal, self.organisation, dataset, task)
        for number in self._each(participant.rounds()):
            yield Round(self, participant, number)

    def load(self, model: str, into: Any = None, version: int | None = None) -> Any:
        """A promoted version, verified from the ledger down to the bytes: the current one unless named.

        ``into``: a torch module to load the parameters into, which is returned; without one, the named arrays.
        Raises VersionUnfit for a version that failed its canary, was quarantined or rolled back.
        """
        tensors = self.run(self._tensors(model, version))
        if into is None:
            return tensors
        import torch

        into.load_state_dict({name: torch.from_numpy(values) for name, values in tensors.items()})
        return into

    def submit(self, message: Message) -> AcceptedTx:
        """Sign a message and wait until the ledger has decided it. Raises its typed refusal."""
        return self.run(self.client.submit(message))

    def receipt(self, digest: bytes) -> bytes:
        """A file that proves offline that a transaction was accepted (docs/receipts.md), by the transaction's hash.

        Waits for the block after its own. Raises receipts.NoReceipt, receipts.ReceiptError.
        """
        from ..receipts import encode, export

        return encode(self.run(export.transaction(self.client, digest)))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run one coroutine of the asynchronous core and wait for it. Ctrl-C, or whatever ends the wait, cancels it."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Close connections and end the thread. What other threads wait for is cancelled."""
        if self._thread.is_alive():
            try:
                self.run(self._exits.aclose())
            finally:
                self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _quote(self, task: TaskView, name: str) -> Quote:
        async with self.client.at() as view:
            seen = await view.run(lambda state: outlook(state, self.organisation, name, task.name, view.now))
        return Quote(
            dataset=name,
            price=seen.price / NANO,
            spent=(seen.spent + seen.held) / NANO,
            after=seen.after / NANO,
            limit=min(seen.limit, seen.organisation_cap) / NANO,
            affordable=seen.affordable,
        )

    async def _tensors(self, model: str, number: int | None) -> dict[str, Any]:
        record = await self.client.ask(lambda state: models.require_model(state, model))
        task = await open_task(self.client, self.session.store, record.task)
        wanted = record.current if number is None else number
        _, units = await load_version(self.client, self.session.store, task, wanted)
        return unflatten(fixed.to_float(units, task.terms.update.scale_bits), task.inputs.layout)

    def _each(self, source: AsyncIterator[T]) -> Iterator[T]:
        while (item := self.run(_next(source))) is not None:
            yield item

    def _stop(self) -> None:
        self.run(_end_others())  # Else another thread that waits for one would wait for ever.
        self.run(self._loop.shutdown_asyncgens())  # Rounds that somebody stopped asking for.
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        if not self._thread.is_alive():
            self._loop.close()


def connect(
    target: str = ":devnet:", *, key: str, passphrase_file: Path | str | None = None, trust_node: bool = False
) -> Ledger:
    """Open the ledger as ``organisation/key``, for example ``hospital-a/worker``.

    ``target``: ``:devnet:``, a devnet's home, or a profile file. ``trust_node`` turns verification off: whatever the
    node says is believed, which is only sensible for a node of your own. Raises keys.KeyringError,
    passphrase.PassphraseError, ProfileInvalid, rpc.NodeUnavailable.
    """
    organisation, name = keys.split_reference(key)
    file = None if passphrase_file is None else Path(passphrase_file)
    return Ledger(target, name, file, organisation, trust_node=trust_node)


async def _next(source: AsyncIterator[T]) -> T | None:
    return await anext(source, None)  # StopAsyncIteration cannot cross a future.


async def _end_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
