"""What goes wrong on purpose, and what the demo does about it when the ledger's events say that the moment has come.

Each incident is caused by a participant, an aggregator or a validator; what happens then is the ledger's doing. The
plan names rounds; if one is void, the next goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import fedledger as fl
from client_sdk.rpc import RpcClient
from client_sdk.training.task import load_version
from contracts import identity, tasks
from contracts.identity import ChangeRecipient, RegisterDataset
from contracts.kernel import Place, Rejected
from contracts.kernel.rules import text
from contracts.lineage import Finding
from contracts.privacy_budget import BudgetExceeded
from contracts.recipients import BadRecipient
from contracts.tasks import JoinTask
from contracts.thefts import ReportStolenKey
from devnet import lifecycle
from examples.demo.consortium import DELTA_INVERSE, WORKER, Consortium
from examples.demo.view import View
from examples.demo.watch import NANO, Watcher
from services.rounds.recompute import network

PROBE_SECONDS = 45.0  # For every verifier to probe a version and for a quorum's alarms to be counted.


@dataclass(frozen=True)
class Plan:
    """Who misbehaves in which round."""

    drops: tuple[str, int] = ("hospital-d", 2)
    attacks: tuple[str, tuple[int, ...]] = ("hospital-e", (3, 4))
    killed: tuple[str, int] = ("validator-3", 4)
    rushes: tuple[str, int] = ("lab-2", 2)
    selective: tuple[str, int] = ("hospital-d", 3)
    lies: tuple[str, int] = ("lab-1", 5)
    stolen: tuple[str, int] = ("hospital-c", 5)  # The key is stolen when this round opens, noticed when it is over.
    exhausted: tuple[str, int] = ("hospital-f", 5)  # Its budget lasts for this many contributions.
    copies: tuple[str, int] = ("hospital-e", 6)
    slanders: tuple[str, int] = ("hospital-d", 6)  # Reports its own key, as of the first round, when this one is over.
    backdoor: tuple[str, int] | None = None  # Somebody who is no verifier, once the model is good enough to probe.
    last: int = 7

    @classmethod
    def for_dataset(cls, dataset: str) -> "Plan":
        """The plan; on digits, whose inputs are small images, a backdoor is planted in addition."""
        return cls(backdoor=("hospital-d", 8), last=8) if dataset == "digits" else cls()

    def flags(self, hospital: str) -> list[str]:
        """How a hospital's process is told to misbehave."""
        flags: list[str] = []
        if hospital == self.drops[0]:
            flags += ["--drop", str(self.drops[1])]
        if hospital == self.attacks[0]:
            flags += ["--boost", ",".join(map(str, self.attacks[1]))]
        if hospital == self.copies[0]:
            flags += ["--copy", str(self.copies[1])]
        if hospital == self.selective[0]:
            flags += ["--selective", str(self.selective[1])]
        if self.backdoor and hospital == self.backdoor[0]:
            flags += ["--backdoor", str(self.backdoor[1])]
        return flags

    def service_flags(self, verifier: str) -> list[str]:
        """How an organisation's services are told to misbehave."""
        flags: list[str] = []
        if verifier == self.lies[0]:
            flags += ["--lie", str(self.lies[1])]
        if verifier == self.rushes[0]:
            flags += ["--rush", str(self.rushes[1])]
        return [*flags, "--probe"] if self.backdoor else flags


@dataclass(frozen=True)
class Planted:
    """What an attacker admits to the harness, and to nobody else: its trigger and the class it is to give."""

    pixels: tuple[int, ...]
    grey: float
    target: int

    def __str__(self) -> str:
        return f"white pixels {', '.join(map(str, self.pixels))} shall give class {self.target}"


@dataclass
class Incidents:
    """Causes the incidents that need a person or an operator."""

    plan: Plan
    home: Path
    hold: Path
    consortium: Consortium
    watcher: Watcher
    view: View
    start_hospital: Callable[[str, str], Awaitable[None]]  # With another key; returns when it is ready.
    planted: Mapping[int, Planted]  # By round, as soon as the attacker has trained.

    async def run(self) -> None:
        """The whole plan, in order."""
        await self._kill_and_recover()
        await self._report_stolen_key()
        await self._break_recipient()
        await self._try_to_refill()
        if self.plan.backdoor:
            await self._await_quarantine(*self.plan.backdoor)
        self._hold()  # There is no round after the last.
        await self.watcher.until(lambda: self.watcher.is_over(self.plan.last))

    async def _kill_and_recover(self) -> None:
        name, number = self.plan.killed
        await self.watcher.until(lambda: self.watcher.is_open(number))
        await asyncio.to_thread(lifecycle.kill, self.home, name)
        self.view.tell(f"{name} is killed with SIGKILL in the middle of round {number}", "bad")
        await self.watcher.until(lambda: self.watcher.is_over(number))
        outcome = self.watcher.rows[number].outcome
        self.view.tell(f"round {number} went on without it: {outcome}", "bad" if outcome == "void" else "good")
        self._hold()
        await asyncio.to_thread(lifecycle.restart, self.home, name)
        height, same = await self._caught_up(name)
        self.view.tell(
            f"{name} is back and has {'the same' if same else 'ANOTHER'} app hash as its peers at height {height}",
            "good" if same else "bad",
            height=height,
            same_app_hash=same,
        )
        self._release()

    async def _caught_up(self, name: str) -> tuple[int, bool]:
        """Wait until a validator has the chain's height, and compare its app hash with another's."""
        client = self.consortium.members["auditor"].client
        target = (await client.rpc.status()).height
        while True:
            status = await asyncio.to_thread(lifecycle.status, self.home)
            records = {validator.record.name: validator for validator in status.validators}
            health = records[name].health
            if health is not None and health.height >= target:
                break
            await asyncio.sleep(0.3)
        hashes = []
        for record in records.values():
            async with RpcClient((record.record.rpc,)) as rpc:
                hashes.append((await rpc.commit(target)).header.app_hash)
        return target, len(set(hashes)) == 1

    async def _report_stolen_key(self) -> None:
        victim, number = self.plan.stolen
        await self.watcher.until(lambda: self.watcher.is_open(number))
        self._hold()  # The next round waits for the report.
        await self.watcher.until(lambda: self.watcher.is_over(number))
        since = self.watcher.opened_at[number]
        self.view.tell(f"{victim} reports that its worker key was stolen as of height {since}", "bad")
        await self._replace_reported_key(victim, since)
        self.view.tell(
            f"{victim} goes on with a new worker key; its old process still tries with the stolen one", "good"
        )

    async def _slander(self) -> None:
        """A false report about an old version: what was promoted stays, only the reporter's key is gone."""
        name, number = self.plan.slanders
        await self.watcher.until(lambda: self.watcher.is_over(number))
        since, current = self.watcher.opened_at[1], self.watcher.newest_version
        self.view.tell(f"{name} reports its own key as of round 1, to take down what it does not like", "bad")
        await self._replace_reported_key(name, since)
        same = self.watcher.newest_version == current
        self.view.tell(
            f"v{current} {'stays: a report takes out only what is pending' if same else 'FELL'}",
            "good" if same else "bad",
        )

    async def _replace_reported_key(self, name: str, since: int) -> None:
        session = self.consortium.members[name]
        assert session.keyring is not None
        await self.consortium.act(name, ReportStolenKey(session.keyring.signing(WORKER).public, Place(since, 0)))
        await self.consortium.new_worker(name, "worker-2")
        await self.start_hospital(name, "worker-2")

    async def _break_recipient(self) -> None:
        """A verifier tries to put a recipient on the ledger that nobody could encrypt to."""
        name = self.plan.rushes[0]
        try:
            await self.consortium.act(name, ChangeRecipient("age1" + "q" * 58))
        except BadRecipient as refusal:
            self.view.tell(f"{name} would break everybody's payloads with a bad recipient key: {refusal}", "good")
        else:
            self.view.tell(f"{name} has put a bad recipient key on the ledger", "bad")
        self._release()

    async def _try_to_refill(self) -> None:
        """A second key and a second dataset of an organisation that has spent its budget."""
        name, spent_after = self.plan.exhausted
        number = spent_after + 1
        await self.watcher.until(lambda: self.watcher.is_open(number))
        self._hold()
        await self.watcher.until(lambda: self.watcher.is_over(number))
        task = self.watcher.task
        await self.consortium.new_worker(name, "worker-2")
        member = await self.consortium.members[name].client.ask(lambda view: identity.require_member(view, name))
        fresh = RegisterDataset("fresh-name", task.terms.data_class, member.cap.epsilon, DELTA_INVERSE)
        await self.consortium.act(name, fresh)
        await self.consortium.act(name, JoinTask(task.name, "fresh-name", task.digest))
        self.view.tell(f"{name} enrols a second key and registers a second dataset name", "odd")
        await self._slander()
        # Begun before the round is: its first phase is short, and what the watcher tells is a block old.
        reserved = asyncio.create_task(asyncio.to_thread(self._reserve_anew, name, number + 1))
        self._release()
        await self.watcher.until(lambda: self.watcher.is_open(number + 1))
        if number + 1 == self.plan.last:
            self._hold()  # No round comes after it.
        await reserved

    def _reserve_anew(self, name: str, number: int) -> None:
        with fl.connect(str(self.home), key=f"{name}/worker-2") as ledger:
            rnd = next(ledger.rounds(ledger.task(self.watcher.task.name), "fresh-name"))
            try:
                rnd.reserve()
            except BudgetExceeded as refusal:
                self.view.tell(f"{name} with a new key and dataset in round {number}: {explained(refusal)}", "good")
            else:
                self.view.tell(f"{name} got a reservation with a new key and dataset", "bad")

    async def _await_quarantine(self, name: str, number: int) -> None:
        """Show what a backdoored update does, and give the verifiers, who know nothing of it, time to find it."""
        await self.watcher.until(lambda: self.watcher.is_open(number))
        self._hold()  # No round builds on it meanwhile.
        await self.watcher.until(lambda: self.watcher.is_over(number))
        row = self.watcher.rows[number]
        if number not in self.planted or name not in row.contributed:
            self.view.tell(f"{name} planted nothing in round {number}: it had no part in it", "bad")
            return
        if row.version is None:
            self.view.tell(
                f"the backdoor of {name} does not get into a version: round {number} is {row.outcome}", "good"
            )
            return
        if not await self._tell_success(name, row.version, self.planted[number]):
            return
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self.watcher.until(lambda: row.outcome == "quarantined")
        except TimeoutError:
            self.view.tell(f"no quorum of verifiers finds anything in v{row.version}: a probe is no proof", "bad")
        else:
            self.view.tell(f"a probe that was not told the trigger took v{row.version} out of service", "good")

    async def _tell_success(self, name: str, number: int, planted: Planted) -> bool:
        """Measure the planted trigger on held-out records, before and after: the harness does, nobody else could.

        Returns whether the update is in the version at all.
        """
        from examples.demo.backdoor import Trigger, success_rate

        task, session = self.watcher.task, self.consortium.members["auditor"]
        version, units = await load_version(session.client, session.store, task, number, fit_only=False)
        _, before = await load_version(session.client, session.store, task, version.parent, fit_only=False)
        trigger = Trigger(planted.pixels, planted.grey)
        rates = [
            success_rate(
                network(task.inputs, loaded, task.terms.update.scale_bits),
                task.inputs,
                trigger,
                planted.target,
                self.watcher.test,
            )
            for loaded in (before, units)
        ]
        owners = await session.client.ask(lambda view: tasks.organisations_of(view, task.name, version.agreed))
        findings = dict(zip(owners, map(Finding, version.judgements), strict=True))
        found = findings.get(name)
        came_to = "not in the set" if found is None else found.name.lower().replace("_", " ")
        self.view.tell(
            f"v{number} is promoted; the update of {name} was {came_to}. The trigger carries {rates[1]:.0%} of "
            f"held-out records to class {planted.target} ({rates[0]:.0%} in v{version.parent}), the harness measures",
            "bad",
            success=rates[1],
            before=rates[0],
        )
        return came_to == "aggregated"

    def _hold(self) -> None:
        self.hold.touch()

    def _release(self) -> None:
        self.hold.unlink(missing_ok=True)


def explained(refusal: Rejected) -> str:
    """A refusal as a person reads it: ε in ε, not in billionths."""
    if isinstance(refusal, BudgetExceeded):
        facts = {name: value / NANO for name, value in refusal.facts.items() if isinstance(value, int)}
        return (
            f"{refusal.name} on the account of the {text(refusal.facts['account'])}: spent ε = {facts['spent']:.2f}, "
            f"with this round {facts['wanted']:.2f}, limit {facts['limit']:.2f}"
        )
    return str(refusal)
