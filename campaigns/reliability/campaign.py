"""One campaign: kill, look what happens, start again, wait until the victim has caught up, and judge. Then the next.

What counts as held after one death: the survivors went on deciding blocks if they were enough to, and decided nothing
if they were not; nobody else died; the victim came back by itself from its own disk, caught up, and every application
is in the state that the chain says. The whole is held at the end, by ``audit`` and by the grammar of ABCI.

CometBFT is to stop when its application is gone. Where it hangs instead, it is killed as a supervisor would, and
counted: nothing is lost by that but the time until somebody notices.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from client_sdk.documents.strict_json import AnswerMalformed
from client_sdk.rpc.errors import RpcError
from devnet.errors import ProcessFailed

from ..harness import grammar
from .audit import Audit, asking, audit, disagreements
from .network import ALONE_SECONDS, HANG_SECONDS, RelayedDevnet
from .plan import INTERVALS, LONG_HOLD, MOMENT_OF, WITHIN, Death, Phase, Victim
from .relay import Moment, Trap
from .witness import Witness

AIM_SECONDS = 120.0  # For the moment that is aimed at to come.
SETTLE_SECONDS = 0.7  # For what was decided at the death to be seen.
SECOND_DEATH_SECONDS = 3.0  # Within this time of starting again.
CALM_BLOCKS = 3  # Between two deaths.
UNDER_WAY = 1  # Blocks that may have had their votes when too many died.
BLOCKED_SECONDS_MAX = 0.05
_POLL_SECONDS = 0.05


@dataclass
class Killed:
    """What one death did."""

    death: Death
    died_at: Moment | None
    """The last thing the victim's node and application had said to each other."""
    height: int
    seconds: float = 0.0
    """From the death to the last victim having caught up."""
    restart_seconds: float = 0.0
    """The same, from when it was started again."""
    missed: int = 0
    """Blocks decided before it was started again."""
    longest_gap: float = 0.0
    """Seconds without a block, from the death to having caught up."""
    hung: bool = False
    """Whether CometBFT did not stop by itself when its application was gone, and had to be killed too."""
    faults: list[str] = field(default_factory=list)


@dataclass
class Outcome:
    """A whole campaign."""

    kills: list[Killed]
    audit: Audit
    calls: int
    """ABCI calls that were recorded and held to the grammar."""
    seconds: float

    @property
    def held(self) -> bool:
        """Whether nothing at all went wrong."""
        return not self.audit.faults and not any(killed.faults for killed in self.kills)


@dataclass
class Campaign:
    """Deaths in a network that ``witness`` watches."""

    net: RelayedDevnet
    witness: Witness
    told: Callable[[Killed], None]
    kills: list[Killed] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    async def kill(self, death: Death) -> Killed:
        """One death and what follows. Faults are in what is returned; only a broken harness raises."""
        await self.witness.beyond(self.witness.height + CALM_BLOCKS)
        validators = [self.net.validators[number].name for number in death.validators]
        others = [wired.name for wired in self.net.validators if wired.name not in validators]
        processes = [name for validator in validators for name in _processes(death.victim, validator)]
        before = {name: self.net.pids(name) for name in others}
        killed, struck_at = await self._strike(death, validators[0], processes)
        await self._fall(killed, validators, processes)
        started_at = time.monotonic()
        await self._rise(killed, validators, processes)
        caught_up_at = time.monotonic()
        killed.seconds, killed.restart_seconds = caught_up_at - struck_at, caught_up_at - started_at
        killed.longest_gap = self.witness.longest_gap(struck_at, caught_up_at)
        killed.faults += await self._judged()
        killed.faults += [f"{name} is not what it was" for name in others if self.net.pids(name) != before[name]]
        killed.faults += [
            f"a process of {wired.name} is gone" for wired in self.net.validators if None in self.net.pids(wired.name)
        ]
        self.kills.append(killed)
        self.told(killed)
        return killed

    async def conclude(self) -> Outcome:
        """The last comparisons."""
        result = await audit(self._addresses, self.witness)
        for name, relay in self.net.relays.items():
            try:
                grammar.check(relay.calls)
            except grammar.IllegalCall as illegal:
                result.faults.append(f"{name}: {illegal}")
            result.faults += [f"{name} was told that {who} signed twice" for who in dict.fromkeys(relay.misbehaviour)]
        calls = sum(len(relay.calls) for relay in self.net.relays.values())
        return Outcome(self.kills, result, calls, time.monotonic() - self.began)

    @property
    def _addresses(self) -> dict[str, str]:
        return {wired.name: wired.rpc for wired in self.net.validators}

    async def _judged(self) -> list[str]:
        """Whether every application is in the agreed state, and blocks go on."""
        try:
            return await disagreements(self._addresses, self.witness)
        except TimeoutError:
            return ["no new block is decided"]
        except (RpcError, AnswerMalformed) as error:
            return [f"a node does not answer: {error}"]

    async def _strike(self, death: Death, aimed: str, processes: list[str]) -> tuple[Killed, float]:
        """Kill at the moment that was planned; where it does not come, at any."""
        relay, loop = self.net.relays[aimed], asyncio.get_running_loop()
        struck: asyncio.Future[tuple[Killed, float]] = loop.create_future()

        def strike() -> None:
            if not struck.done():
                self.net.strike(processes)
                struck.set_result((Killed(death, relay.last, self.witness.height), time.monotonic()))

        def strike_within() -> None:
            time.sleep(death.fraction * min(relay.took.get(WITHIN[death.phase], 0.0), BLOCKED_SECONDS_MAX))
            strike()

        def spring() -> None:
            """Within a call: once the message, held here until we return, has been passed on. A timer would be late."""
            if death.phase in WITHIN:
                loop.call_soon(strike_within)
            else:
                strike()

        if death.phase in MOMENT_OF:
            relay.trap = Trap(MOMENT_OF[death.phase], spring)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AIM_SECONDS):
                    await asyncio.shield(struck)
            relay.trap = None
        else:
            await asyncio.sleep(death.fraction * INTERVALS * self.witness.interval())
        strike()
        return struck.result()

    async def _fall(self, killed: Killed, validators: list[str], processes: list[str]) -> None:
        """See the dead off, and what the survivors do meanwhile."""
        death, faults = killed.death, killed.faults
        if not await self.net.gone(processes):
            faults.append("a killed process lives")
        if death.victim is Victim.APPLICATION and not await self.net.gone(
            (f"{name}-node" for name in validators), ALONE_SECONDS
        ):
            killed.hung = True
            self.net.strike(f"{name}-node" for name in validators)
        if death.victim is Victim.NODE and any(self.net.pids(name)[0] is None for name in validators):
            faults.append("an application ended because its node was gone")
        await asyncio.sleep(SETTLE_SECONDS if death.hold else 0.0)
        settled = self.witness.height
        await asyncio.sleep(death.hold)
        if death.stops_the_chain and self.witness.height > settled + UNDER_WAY:
            faults.append(f"blocks {settled + 1} to {self.witness.height} were decided without a quorum")
        if not death.stops_the_chain and death.hold >= LONG_HOLD:
            try:
                async with asyncio.timeout(HANG_SECONDS):
                    await self.witness.beyond(killed.height)
            except TimeoutError:
                faults.append("three of four validators decided nothing")
        killed.missed = self.witness.height - killed.height

    async def _rise(self, killed: Killed, validators: list[str], processes: list[str]) -> None:
        """Start again what died, once more if it is killed meanwhile, and wait until it has caught up."""
        death = killed.death
        if death.phase is Phase.STARTING:
            starting = asyncio.create_task(self._start(death.victim, validators))
            await asyncio.sleep(death.fraction * SECOND_DEATH_SECONDS)
            self.net.strike(processes)
            with contextlib.suppress(ProcessFailed):
                await starting
            await self.net.gone(processes)
        try:
            await self._start(death.victim, validators)
        except ProcessFailed as failed:
            killed.faults.append(f"it did not start again: {failed}")
            return
        if not await self._caught_up(validators):
            killed.faults.append(f"it did not catch up within {HANG_SECONDS:g} s")

    async def _start(self, victim: Victim, validators: list[str]) -> None:
        for name in validators:
            await self.net.restart({Victim.APPLICATION: f"{name}-app", Victim.NODE: f"{name}-node"}.get(victim, name))

    async def _caught_up(self, validators: list[str]) -> bool:
        """Wait until the victims' applications have every block that anybody has, and one new block is decided."""
        goal = max(self.witness.heights.values()) + 1
        deadline = time.monotonic() + HANG_SECONDS
        for wired in self.net.validators:
            while wired.name in validators:
                with contextlib.suppress(RpcError, AnswerMalformed):
                    async with asking(wired.rpc) as rpc:
                        if (await rpc.abci_info()).height >= goal:
                            break
                if time.monotonic() > deadline:
                    return False
                await asyncio.sleep(_POLL_SECONDS)
        return True


def _processes(victim: Victim, validator: str) -> tuple[str, ...]:
    application, node = f"{validator}-app", f"{validator}-node"
    return {Victim.APPLICATION: (application,), Victim.NODE: (node,)}.get(victim, (application, node))
