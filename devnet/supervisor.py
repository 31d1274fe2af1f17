"""Runs a devnet: starts its processes in order, knows their state, kills, restarts and stops them.

An application starts before its node, because CometBFT waits three seconds before it tries again; a node stops before
its application, because CometBFT calls it a failure when the application goes. Nothing is restarted that was not asked
for: what happens to a network whose members fail is what a devnet is there to show.

``lifecycle`` does the same from another process; ``control`` carries its requests.
"""

import asyncio
import logging
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from itertools import combinations
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import aiohttp

from client_sdk.errors import in_words
from client_sdk.payloads import kubo_node
from client_sdk.payloads.kubo_node import KuboNode, KuboNodeSpec
from client_sdk.secrets.private_files import PrivateFileError

from . import binaries, control, wiring
from .errors import DevnetError, NotRunning, ProcessNotRunning, UnknownProcess
from .foundation import genesis_facts, prepare, require_disk
from .layout import Layout
from .manifest import Application, Manifest
from .ownership import began_of, end_leftovers, hold
from .process import Child, Command, ProcessKind
from .readiness import NodeHealth, application_answers, kubo_answers, node_health, until_ready
from .state import DevnetState, Phase, ValidatorRecord, living, read_state, record_of, write_state
from .wiring import ValidatorWiring, Wiring

START_SECONDS: Final = 60.0
KILL_SECONDS: Final = 10.0
_log: Final = logging.getLogger(__name__)


class Devnet:
    """A devnet run by this process: ``async with Devnet(manifest, home) as net``.

    Its processes end with the block, and also if this process dies. ``changed`` is called with the state whenever a
    process, or the network as a whole, enters another one.
    """

    def __init__(self, manifest: Manifest, home: Path, changed: Callable[[DevnetState], None] | None = None) -> None:
        self.manifest = manifest
        self.layout = Layout(home.absolute())
        self.closed = asyncio.Event()
        """Set once the network has been stopped, from here or from another shell."""
        self._changed = changed
        self._phase = Phase.STOPPED
        self._failure: BaseException | None = None
        self._facts = ("", "")
        self._wiring = Wiring(self.layout.run, (), ())
        self._children: dict[str, Child] = {}
        self._lock: int | None = None
        self._control: control.Server | None = None
        self._session: aiohttp.ClientSession | None = None
        self._beginning: asyncio.Task[None] | None = None
        self._steering = asyncio.Lock()

    @property
    def chain_id(self) -> str:
        """The chain's id, of this devnet alone."""
        return self._facts[0]

    @property
    def validators(self) -> tuple[ValidatorWiring, ...]:
        """Where the validators listen."""
        return self._wiring.validators

    @property
    def kubo(self) -> tuple[KuboNodeSpec, ...]:
        """Where the Kubo nodes listen."""
        return self._wiring.kubo

    @property
    def state(self) -> DevnetState:
        """What other shells read."""
        chain_id, genesis_sha256 = self._facts
        failure = self._failure
        return DevnetState(
            phase=self._phase,
            chain_id=chain_id,
            genesis_sha256=genesis_sha256,
            supervisor_pid=os.getpid(),
            supervisor_began=began_of(os.getpid()),
            control=str(self._wiring.control),
            processes=tuple(map(record_of, self._children.values())),
            validators=tuple(ValidatorRecord(v.name, v.operator, v.rpc) for v in self.validators),
            kubo=tuple(spec.rpc_url for spec in self.kubo),
            error=None if failure is None else _said(failure),
            hint=None if failure is None else getattr(failure, "hint", DevnetError.hint),
        )

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Prepare the home, start everything and return when every process has answered.

        Raises the errors of this package (NotRunning when it was stopped meanwhile), KuboNodeFailed, StoreUnavailable,
        OSError; nothing is left running then.
        """
        binaries.require(self.manifest)
        await asyncio.to_thread(prepare, self.layout, self.manifest)
        self._lock = hold(self.layout)  # Not in a thread: cancelled there, it would leave the lock to nobody.
        self._failure = None
        self.closed.clear()
        self._beginning = asyncio.create_task(self._start())
        try:
            await self._beginning
        except BaseException as error:
            self._failure = error
            await self._stop(Phase.FAILED)
            own = asyncio.current_task()
            if self._beginning.cancelled() and own is not None and not own.cancelling():
                raise NotRunning(f"the devnet in {self.layout.home} was stopped while it was started") from None
            raise

    async def stop(self) -> None:
        """Stop every process, nodes first. Nothing happens if the network does not run."""
        if self._beginning is not None and not self._beginning.done():
            self._beginning.cancel()
            await self.closed.wait()
            return
        async with self._steering:
            if self._lock is not None:
                await self._stop(Phase.STOPPED)

    async def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a process, or to both of a validator, and see a deadly one do its work.

        Raises UnknownProcess, ProcessNotRunning.
        """
        async with self._steering:
            alive = [child for child in self._named(name) if child.is_alive]
            if not alive:
                raise ProcessNotRunning(name)
            for child in alive:
                child.send(number)
            if number in {signal.SIGKILL, signal.SIGTERM, signal.SIGINT}:
                await asyncio.gather(*(child.ended_within(KILL_SECONDS) for child in alive))

    async def restart(self, name: str) -> None:
        """Stop what runs of a process or a validator, start it and wait until it answers.

        A node has then caught up with the others, unless it is the only one. An application's node is restarted with
        it: CometBFT does not go on without its application. Raises UnknownProcess, NotRunning, ProcessFailed.
        """
        async with self._steering:
            if self._phase is not Phase.READY:
                raise NotRunning(f"the devnet in {self.layout.home} is {self._phase}")
            children = self._named(name)
            if children[0].command.kind is ProcessKind.APPLICATION:
                children = self._named(name.removesuffix("-app"))
            await _stop_all(children)
            for child in children:
                await self._start_child(child)
            if children[0].command.kind is ProcessKind.KUBO:
                await self._connect_kubo()

    async def health(self, validator: str) -> NodeHealth | None:
        """What a validator's node says of itself; None when it does not answer. Raises UnknownProcess."""
        assert self._session is not None, "the devnet does not run"
        for wired in self.validators:
            if wired.name == validator:
                return await node_health(self._session, wired.rpc)
        raise UnknownProcess(validator, tuple(wired.name for wired in self.validators))

    async def _start(self) -> None:
        require_disk(self.layout.home)
        await asyncio.to_thread(self._clear_leftovers)
        self._facts = genesis_facts(self.layout)
        self._wiring = await asyncio.to_thread(wiring.wire, self.layout, self.manifest)
        self._children = {command.name: Child(command, self._write) for command in self._commands()}
        self._session = aiohttp.ClientSession()
        self._control = await control.serve(self._wiring.control, self)
        self._enter(Phase.STARTING)
        await _together([self._start_kubo(), *(self._start_validator(wired) for wired in self.validators)])
        self._enter(Phase.READY)

    def _clear_leftovers(self) -> None:
        """End what a supervisor that was killed left running, and remove its folder of sockets. We hold its lock."""
        state = read_state(self.layout.state)
        if state is not None and state.phase is Phase.LOST:
            end_leftovers(living(state))
            runtime = Path(state.control).parent
            if wiring.is_temporary(runtime):
                shutil.rmtree(runtime, ignore_errors=True)

    def _commands(self) -> Iterable[Command]:
        for wired in self.validators:
            if self.manifest.application is Application.FEDLEDGER:
                yield wiring.application_command(self.layout, wired, sys.executable)
            yield wiring.node_command(self.layout, wired)
        for name, spec in zip(self.manifest.kubo_nodes, self.kubo, strict=True):
            yield wiring.kubo_command(self.layout, name, spec)

    async def _start_validator(self, wired: ValidatorWiring) -> None:
        for child in self._named(wired.name):
            await self._start_child(child)

    async def _start_kubo(self) -> None:
        if self.kubo:
            await kubo_node.initialise_swarm(self.kubo)
            await _together([self._start_child(self._children[name]) for name in self.manifest.kubo_nodes])
            await self._connect_kubo()

    async def _connect_kubo(self) -> None:
        """Connect the nodes now: by themselves they would too, after a while."""
        named = zip(self.manifest.kubo_nodes, self.kubo, strict=True)
        nodes = [KuboNode(spec) for name, spec in named if self._children[name].is_alive]
        await _together([node.connect(other) for node, other in combinations(nodes, 2)])

    async def _start_child(self, child: Child) -> None:
        await child.start()
        await until_ready(child, self._probe(child), START_SECONDS)

    def _probe(self, child: Child) -> Callable[[], Awaitable[bool]]:
        """What a process of this kind must answer to be ready."""
        name = child.command.name
        match child.command.kind:
            case ProcessKind.APPLICATION:
                return partial(application_answers, next(v.socket for v in self.validators if v.application == name))
            case ProcessKind.NODE:
                return partial(self._is_in_step, child, next(v.name for v in self.validators if v.node == name))
            case ProcessKind.KUBO:
                return partial(kubo_answers, self.kubo[self.manifest.kubo_nodes.index(name)].rpc_url)

    async def _is_in_step(self, node: Child, validator: str) -> bool:
        """Whether a node has a block and has caught up, unless no other node runs that could tell it."""
        health = await self.health(validator)
        nodes = (child for child in self._children.values() if child.command.kind is ProcessKind.NODE)
        is_alone = not any(child.is_alive for child in nodes if child is not node)
        return health is not None and health.height >= 1 and (is_alone or not health.catching_up)

    async def _stop(self, last: Phase) -> None:
        self._enter(Phase.STOPPING)
        await _stop_all(self._children.values())
        if self._session is not None:
            await self._session.close()
        if self._control is not None:
            self._control.close()
        wiring.unwire(self._wiring)
        self._enter(last)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        self.closed.set()

    def _named(self, name: str) -> list[Child]:
        """A process, or a validator's two in the order they start. Raises UnknownProcess."""
        found = [self._children[each] for each in (name, f"{name}-app", f"{name}-node") if each in self._children]
        if not found:
            raise UnknownProcess(name, (*self.manifest.validators, *self._children))
        return found

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._write()

    def _write(self) -> None:
        state = self.state
        try:
            write_state(self.layout.state, state)
        except (OSError, PrivateFileError) as error:  # A full disk must not keep us from stopping processes.
            _log.error("cannot write %s: %s", self.layout.state, error)
        if self._changed is not None:
            self._changed(state)


def _said(failure: BaseException) -> str:
    return in_words(failure) if isinstance(failure, OSError) else str(failure) or type(failure).__name__


async def _stop_all(children: Iterable[Child]) -> None:
    children = list(children)
    nodes = [child for child in children if child.command.kind is ProcessKind.NODE]
    await asyncio.gather(*(child.stop() for child in nodes))
    await asyncio.gather(*(child.stop() for child in children))


async def _together(steps: Iterable[Awaitable[None]]) -> None:
    """Do all at once. When one fails the others are cancelled, and its error is raised as it is."""
    tasks = [asyncio.ensure_future(step) for step in steps]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
