"""A devnet that outlives the command that started it, steered from any shell: up, status, logs, kill, restart, down.

Each function takes the devnet's home and returns typed results; printing them is the command line's work.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from . import binaries, control
from .daemon import LOG_NAME
from .errors import AlreadyRunning, NoDevnet, NotRunning, SupervisorFailed, UnknownProcess
from .foundation import erase, prepare
from .layout import REPOSITORY, Layout, shipped_manifest
from .manifest import Manifest, load_manifest
from .ownership import began_of, end_leftovers, hold
from .process import log_tail
from .readiness import NodeHealth, node_health
from .state import DevnetState, Phase, ProcessRecord, ValidatorRecord, living, read_state, stopped, write_state
from .supervisor import START_SECONDS

_POLL_SECONDS: Final = 0.05
_UP_SECONDS: Final = 2 * START_SECONDS
_STEER_SECONDS: Final = START_SECONDS + 30.0
_DOWN_SECONDS: Final = 60.0
_FOLLOW_SECONDS: Final = 0.2
_TAIL_LINES_MAX: Final = 10_000
_LINE_BYTES: Final = 512  # How much of a log is read for each line that is asked for.


@dataclass(frozen=True, slots=True)
class ValidatorStatus:
    """One validator; ``health`` is None when its node does not answer."""

    record: ValidatorRecord
    health: NodeHealth | None


@dataclass(frozen=True, slots=True)
class DevnetStatus:
    """A devnet as it is now. ``supervisor`` is None unless one runs it."""

    home: Path
    phase: Phase
    chain_id: str
    genesis_sha256: str
    supervisor: int | None
    validators: tuple[ValidatorStatus, ...]
    processes: tuple[ProcessRecord, ...]
    kubo: tuple[str, ...]
    error: str | None
    hint: str | None


def up(
    home: Path,
    manifest: Manifest | None = None,
    *,
    reset: bool = False,
    changed: Callable[[DevnetState], None] | None = None,
) -> DevnetStatus:
    """Start a devnet, the one that is in this home if there is one, and return when all of it answers.

    Without a manifest it is the home's own, else the standard one. ``reset`` deletes what the home held: another
    chain begins. ``changed`` is called with each new state while it starts.

    Raises AlreadyRunning, BinaryMissing, HomeDiffers, HomeOccupied, NotEnoughDisk, ManifestInvalid, SupervisorFailed,
    OSError.
    """
    layout = Layout(home.absolute())
    if layout.manifest.is_file():
        os.close(hold(layout))  # Raises AlreadyRunning.
        if reset:
            erase(layout)
    if manifest is None:
        manifest = load_manifest(layout.manifest if layout.manifest.is_file() else shipped_manifest())
    binaries.require(manifest)
    prepare(layout, manifest)
    supervisor = _spawn(layout)
    try:
        _await_ready(layout, supervisor, changed)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.kill(supervisor, signal.SIGTERM)
        raise
    return status(home)


def status(home: Path) -> DevnetStatus:
    """What runs, and what every node says of itself. Raises NoDevnet, StateUnreadable."""
    state = _state(home)
    is_held = state.phase in {Phase.STARTING, Phase.READY, Phase.STOPPING}
    healths = asyncio.run(_healths(state)) if is_held else [None] * len(state.validators)
    return DevnetStatus(
        home=home.absolute(),
        phase=state.phase,
        chain_id=state.chain_id,
        genesis_sha256=state.genesis_sha256,
        supervisor=state.supervisor_pid if is_held else None,
        validators=tuple(map(ValidatorStatus, state.validators, healths)),
        processes=state.processes,
        kubo=state.kubo,
        error=state.error,
        hint=state.hint,
    )


def logs(home: Path, name: str, *, lines: int = 50, follow: bool = False) -> Iterator[str]:
    """The last lines of the log of a process, a validator's node, or ``supervisor``; with ``follow``, then new ones.

    Raises NoDevnet, UnknownProcess, StateUnreadable at the call, not at the first line.
    """
    layout, state = Layout(home.absolute()), _state(home)
    known = (LOG_NAME, *(record.name for record in state.processes))
    process = f"{name}-node" if any(name == one.name for one in state.validators) else name
    if process not in known:
        raise UnknownProcess(name, known)
    return _lines(layout.log(process), min(lines, _TAIL_LINES_MAX), follow)


def kill(home: Path, name: str, number: signal.Signals = signal.SIGKILL) -> DevnetStatus:
    """Send a signal to a process, or to both of a validator.

    Raises NoDevnet, NotRunning, UnknownProcess, SupervisorFailed (what the supervisor says), StateUnreadable.
    """
    control.ask(_control(home, name), {"do": "kill", "name": name, "signal": int(number)}, _STEER_SECONDS)
    return status(home)


def restart(home: Path, name: str) -> DevnetStatus:
    """Restart a process or a validator and return when it answers. Raises as ``kill``."""
    control.ask(_control(home, name), {"do": "restart", "name": name}, _STEER_SECONDS)
    return status(home)


def down(home: Path, *, delete: bool = False) -> DevnetStatus:
    """Stop a devnet, whoever runs it and also if nobody does any more; ``delete`` then removes its home.

    Raises NoDevnet, SupervisorFailed, StateUnreadable, OSError.
    """
    layout, state = Layout(home.absolute()), _state(home)
    with contextlib.suppress(NotRunning):
        control.ask(_control(home), {"do": "stop"}, _DOWN_SECONDS)
    try:
        os.close(hold(layout, _DOWN_SECONDS))
    except AlreadyRunning:
        raise _supervisor_failed(layout, f"did not end within {_DOWN_SECONDS:g} s") from None
    if state.phase is Phase.LOST:
        end_leftovers(living(state))
        write_state(layout.state, stopped(state))
    last = status(home)
    if delete:
        erase(layout)
    return last


def _state(home: Path) -> DevnetState:
    state = read_state(Layout(home.absolute()).state)
    if state is None:
        raise NoDevnet(f"no devnet was ever started in {home.absolute()}")
    return state


def _control(home: Path, name: str | None = None) -> Path:
    """The supervisor's socket, once it is clear that there is one, and that what it shall act on exists."""
    state = _state(home)
    if state.phase not in {Phase.STARTING, Phase.READY}:
        raise NotRunning(f"the devnet in {home.absolute()} is {state.phase}")
    known = (*(record.name for record in state.validators), *(record.name for record in state.processes))
    if name is not None and name not in known:
        raise UnknownProcess(name, known)
    return Path(state.control)


async def _healths(state: DevnetState) -> list[NodeHealth | None]:
    async with aiohttp.ClientSession() as session:
        return list(await asyncio.gather(*(node_health(session, record.rpc) for record in state.validators)))


def _spawn(layout: Layout) -> int:
    """Start the supervisor and return its process id: it has left us for good by then."""
    started = subprocess.run(
        [sys.executable, "-m", "devnet.daemon", "--home", str(layout.home)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        start_new_session=True,
        check=False,
        timeout=START_SECONDS,
    )
    try:
        return int(started.stdout)
    except ValueError:
        raise _supervisor_failed(layout, f"ended with exit code {started.returncode}") from None


def _await_ready(layout: Layout, supervisor: int, changed: Callable[[DevnetState], None] | None) -> None:
    last: DevnetState | None = None
    deadline = time.monotonic() + _UP_SECONDS
    while time.monotonic() < deadline:
        state = read_state(layout.state)
        if state is not None and state.supervisor_pid == supervisor:
            if changed is not None and state != last:
                changed(state)
            last = state
            if state.phase is Phase.READY:
                return
            if state.phase is Phase.FAILED:
                raise SupervisorFailed(state.error or "unknown error", state.hint or "")
        if began_of(supervisor) is None:
            raise _supervisor_failed(layout, "ended")
        time.sleep(_POLL_SECONDS)
    raise _supervisor_failed(layout, f"did not have the network ready within {_UP_SECONDS:g} s")


def _supervisor_failed(layout: Layout, why: str) -> SupervisorFailed:
    log = layout.log(LOG_NAME)
    return SupervisorFailed(f"the supervisor {why}; its log ends:\n{log_tail(log) or '(empty)'}", f"Read {log}.")


def _lines(log: Path, lines: int, follow: bool) -> Iterator[str]:
    try:
        file = log.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(max(0, log.stat().st_size - lines * _LINE_BYTES))
        *whole, rest = file.read().split(b"\n")
        if not follow:
            whole += [rest] if rest else []
        yield from (line.decode("utf-8", "replace") for line in whole[max(0, len(whole) - lines) :])
        while follow:
            rest += file.readline()
            if rest.endswith(b"\n"):
                yield rest.decode("utf-8", "replace").removesuffix("\n")
                rest = b""
            else:  # The end, for now; perhaps in the middle of a line.
                time.sleep(_FOLLOW_SECONDS)
