"""Following the ledger: events in, the round table and the story out.

The watcher reads every block's events through the SDK and keeps what the rest of the demo waits for. What it shows as
fact (versions, accuracies) it reads from proved state.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from client_sdk.session import Session
from client_sdk.training.task import TaskView, load_version
from contracts.ballots import RoundDecided, SetAgreed, Shared
from contracts.contributions import Committed, Reserved
from contracts.identity import KeyRevoked
from contracts.kernel import Event
from contracts.lineage import VersionDecided, VersionStatus
from contracts.privacy_budget import BudgetHeld
from contracts.reputation import ReputationChanged, Verdict
from contracts.rounds import Charged, PhaseBegan, RoundOpened, RoundVoided
from contracts.terms import Phase
from examples.demo.view import UNFINISHED, RoundRow, View
from learning import canary
from learning.tensors import Int64, Records
from services.rounds.recompute import network

NANO = 10**9
COSTLY = (Verdict.FILTERED, Verdict.REFUSED, Verdict.MISSING, Verdict.CONTRADICTED, Verdict.UNOPENED)
FAULTS = {
    Verdict.REFUSED: "its payload is refused",
    Verdict.MISSING: "its payload is missing",
    Verdict.CONTRADICTED: "its ballot is not what the quorum opened",
    Verdict.UNOPENED: "its ballot stays sealed",
}


class WatchEnded(RuntimeError):
    """The watcher failed, so that what is waited for would never be seen."""


@dataclass
class Watcher:
    """What has happened so far, by the ledger's own events."""

    session: Session
    task: TaskView
    test: tuple[Records, Int64]
    view: View
    rows: dict[int, RoundRow] = field(default_factory=dict)
    round_of: dict[int, int] = field(default_factory=dict)  # Version to round.
    opened_at: dict[int, int] = field(default_factory=dict)  # Round to height.
    reputation: dict[str, float] = field(default_factory=dict)
    height: int = 0
    _deciding: int = 0  # The round whose decision the next version is.
    _ended: bool = False
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def run(self, after: int) -> None:
        """Follow every block after a height, until cancelled."""
        try:
            async with aclosing(self.session.client.events(after)) as blocks:
                async for height, events in blocks:
                    for event in events:
                        await self._heard(height, event)
                    self.height = height
                    async with self._changed:
                        self._changed.notify_all()
        finally:
            self._ended = True
            async with self._changed:
                self._changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on what was seen holds. Raises WatchEnded when nothing more will be seen."""
        async with self._changed:
            await self._changed.wait_for(lambda: condition() or self._ended)
        if not condition():
            raise WatchEnded("the watcher ended before what was waited for: its own error says why")

    @property
    def newest_version(self) -> int:
        """The newest version that is in service."""
        return max((row.version for row in self.rows.values() if row.version and row.outcome == "promoted"), default=0)

    def is_open(self, number: int) -> bool:
        """Whether a round has been opened."""
        return number in self.rows

    def is_over(self, number: int) -> bool:
        """Whether a round has its decision, or is void."""
        return number in self.rows and self.rows[number].outcome not in UNFINISHED

    async def _heard(self, height: int, event: Event) -> None:
        if isinstance(event, RoundOpened):
            self.rows[event.round] = RoundRow(event.round)
            self.opened_at[event.round] = height
            self.view.tell(f"round {event.round} is open for {event.invited} participants, from v{event.base}")
        elif isinstance(event, VersionDecided):
            await self._decided(event)
        elif isinstance(event, Reserved | Committed | BudgetHeld):
            self._progressed(event)
        elif isinstance(event, PhaseBegan | RoundVoided | RoundDecided | SetAgreed | Shared):
            self._moved(event)
        elif isinstance(event, ReputationChanged):
            self._judged(event)
        elif isinstance(event, KeyRevoked):
            self.view.tell(f"a key of {event.organisation} is revoked as of height {event.height}", "odd")
        if self.rows:
            self.view.row(self.rows[max(self.rows)])

    def _progressed(self, event: Reserved | Committed | BudgetHeld) -> None:
        """A seat's step. Who has reserved and not committed counts as missing so far."""
        row = self.rows[max(self.rows)]
        match event:
            case Reserved():
                row.missing.append(event.organisation)
            case Committed():
                row.contributed.append(event.organisation)
                row.missing.remove(event.organisation)
            case BudgetHeld():
                row.epsilon[event.organisation] = event.epsilon / NANO

    def _moved(self, event: PhaseBegan | RoundVoided | RoundDecided | SetAgreed | Shared) -> None:
        row = self.rows[event.round]
        match event:
            case PhaseBegan():
                row.outcome = str(event.phase)
                if event.phase is Phase.ATTESTING and row.missing:
                    names = ", ".join(row.missing)
                    self.view.tell(f"{names} did not commit: it pays for its own absence, the others go on", "odd")
            case SetAgreed():
                if event.seats < len(row.contributed):
                    self.view.tell(f"{event.seats} of {len(row.contributed)} payloads are in the agreed set", "odd")
            case Shared():
                text = f"{event.verifier} serves {event.organisation}'s payload to the verifiers that could not have it"
                self.view.tell(text, "good")
            case RoundDecided():
                self._deciding = event.round
            case RoundVoided():
                row.outcome = f"void: {event.reason}"
                cost = "nobody has paid" if event.charged is not Charged.ALL else "its ε is spent"
                self.view.tell(f"round {event.round} is void: {event.reason}; {cost}", "odd")

    async def _decided(self, event: VersionDecided) -> None:
        if event.reason != "restored" and event.status in (VersionStatus.PROMOTED, VersionStatus.FAILED_CANARY):
            self.round_of[event.version] = self._deciding
        number = self.round_of.get(event.version)
        row = self.rows.get(number or 0)
        if event.status is VersionStatus.PROMOTED and event.reason == "restored":
            self.view.tell(f"v{event.version} is restored", "good")
        elif event.status is VersionStatus.PROMOTED and row is not None:
            row.version = event.version
            row.canary, row.held_out = await self._accuracies(event.version)
            row.outcome = "promoted"
            self.view.row(row)
        elif event.status is VersionStatus.FAILED_CANARY and row is not None:
            row.outcome = "failed canary"
            self.view.tell(f"v{event.version} fails its canary: {event.reason}", "odd")
        elif event.status in (VersionStatus.QUARANTINED, VersionStatus.ROLLED_BACK):
            if row is not None:
                row.outcome = str(event.status)
                self.view.row(row)
            self.view.tell(f"v{event.version} is {event.status}: {event.reason}", "odd")

    def _judged(self, event: ReputationChanged) -> None:
        name = event.organisation
        before = self.reputation.get(name, 0.0)
        now = self.reputation[name] = event.deviation / 1_000_000
        if event.verdict not in COSTLY:
            return
        cost = (
            f"its reputation goes from {before:+.2f} to {now:+.2f}"
            if now < before - 0.001
            else "that alone costs nothing"
        )
        if event.verdict is Verdict.FILTERED:
            self.rows[max(self.rows)].filtered.append(name)
            self.view.tell(f"the update of {name} is filtered as an outlier; {cost}", "odd")
        else:
            self.view.tell(f"{name}: {FAULTS[event.verdict]}; {cost}", "odd")

    async def _accuracies(self, number: int) -> tuple[float, float]:
        """Canary accuracy as voted on, and held-out accuracy as the harness finds it."""
        version, units = await load_version(self.session.client, self.session.store, self.task, number, fit_only=False)
        loaded = network(self.task.inputs, units, self.task.terms.update.scale_bits)
        inputs, targets = self.test
        score = await asyncio.to_thread(canary.score, loaded, self.task.inputs.transform(inputs), targets)
        return version.canary_correct / self.task.terms.canary_records, score.correct / score.total
