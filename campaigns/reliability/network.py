"""The network under attack: a real devnet, with a relay between each node and its application, and ``strike``.

``Devnet`` starts, restarts and stops the processes as it does for everybody. What is added is where an application
listens, and a kill without any of the supervisor's manners: the signal leaves within the call.
"""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from client_sdk.payloads.store import StoreKind
from devnet.layout import shipped_manifest
from devnet.manifest import Manifest, Timeouts, load_manifest
from devnet.process import Child, Command, ProcessKind
from devnet.supervisor import Devnet

from .relay import Relay

HANG_SECONDS = 240.0  # It catches what hangs, on a machine that may be busy; nothing is claimed about speed.
ALONE_SECONDS = 10.0  # For CometBFT to end by itself when its application is gone. Then it is ended.
_POLL_SECONDS = 0.01


class RelayedDevnet(Devnet):
    """A devnet whose every node reaches its application through a relay; ``relays`` has them by validator."""

    def __init__(self, manifest: Manifest, home: Path) -> None:
        super().__init__(manifest, home)
        self.relays: dict[str, Relay] = {}
        self._sockets = Path(tempfile.mkdtemp(prefix="reliability-"))  # Short: a socket's path has little room.

    def strike(self, names: Iterable[str]) -> None:
        """Kill processes now, by SIGKILL; those that are gone already stay gone."""
        for name in names:
            self._children[name].send(signal.SIGKILL)

    def pids(self, validator: str) -> tuple[int | None, int | None]:
        """The processes of a validator, application and node, while they live."""
        return self._children[f"{validator}-app"].pid, self._children[f"{validator}-node"].pid

    async def gone(self, names: Iterable[str], within: float = HANG_SECONDS) -> bool:
        """Wait for processes to end. False when one still lives after so many seconds."""
        ended = await asyncio.gather(*(self._children[name].ended_within(within) for name in names))
        return all(ended)

    async def stop(self) -> None:
        """Stop the network, then the relays."""
        await super().stop()
        for relay in self.relays.values():
            await relay.close()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def _commands(self) -> Iterable[Command]:
        for command in super()._commands():
            if command.kind is not ProcessKind.APPLICATION:
                yield command
                continue
            validator = next(wired for wired in self.validators if wired.application == command.name)
            relay = Relay(validator.socket, self._sockets / f"{validator.name}.sock")
            self.relays[validator.name] = relay
            front, back = f"unix://{relay.front}", f"unix://{relay.back}"
            assert front in command.argv, "the application is not told where to listen as it was"
            yield replace(command, argv=tuple(back if part == front else part for part in command.argv))

    async def _start_child(self, child: Child) -> None:
        for wired in self.validators:
            relay = self.relays[wired.name]
            if wired.application == child.command.name and not relay.serves:
                await relay.serve()
        await super()._start_child(child)


@asynccontextmanager
async def network(pace: Timeouts, home: Path | None = None) -> AsyncIterator[RelayedDevnet]:
    """The standard devnet, with the embedded payload store, in a folder of its own that is deleted afterwards."""
    manifest = load_manifest(shipped_manifest()).varied(store=StoreKind.LOCAL, timeouts=pace)
    folder = home or Path(tempfile.mkdtemp(prefix="kills-"))
    try:
        async with RelayedDevnet(manifest, folder / "devnet") as net:
            yield net
    finally:
        if home is None:
            shutil.rmtree(folder, ignore_errors=True)
