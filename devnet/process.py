"""One child process of the supervisor: started on a tether, logged to a file, asked to stop before it is killed."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from . import tether
from .errors import ProcessFailed
from .layout import REPOSITORY

STOP_SECONDS: Final = 10.0
_KILL_SECONDS: Final = 10.0
_TAIL_BYTES: Final = 2_000


class ProcessKind(StrEnum):
    """What a process is."""

    APPLICATION = "application"
    NODE = "node"
    KUBO = "kubo"


class ProcessStatus(StrEnum):
    """Where a process is in its life."""

    STOPPED = "stopped"  # Not started yet, or stopped because it was asked to.
    STARTING = "starting"  # Runs, but has not answered.
    RUNNING = "running"
    ENDED = "ended"  # Nobody asked it to stop: it failed, or was killed.


@dataclass(frozen=True, slots=True)
class Command:
    """How to run a process. ``argv[0]`` is an absolute path."""

    name: str
    kind: ProcessKind
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path


class Child:
    """A process that can be started, stopped and started again. ``changed`` is called whenever its status changes."""

    def __init__(self, command: Command, changed: Callable[[], None]) -> None:
        self.command = command
        self.status = ProcessStatus.STOPPED
        self.exit_code: int | None = None
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._is_wanted = False

    @property
    def pid(self) -> int | None:
        """The process id while it lives."""
        return self._process.pid if self._process is not None and self.is_alive else None

    @property
    def is_alive(self) -> bool:
        """Whether the process is there, answering or not."""
        return self.status in {ProcessStatus.STARTING, ProcessStatus.RUNNING}

    async def start(self) -> None:
        """Start the process; whether it works is for its first answer to show. Raises ProcessFailed."""
        assert not self.is_alive, f"{self.command.name} runs already"
        argv = [sys.executable, "-I", "-S", str(tether.__file__), str(os.getpid()), *self.command.argv]
        log = os.open(self.command.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self.command.environment),
                cwd=REPOSITORY,  # Where `python -m abci_app` finds the packages beside this one.
                start_new_session=True,  # Ctrl-C reaches us; we decide when the process goes.
            )
        except OSError as error:
            raise self.failed(f"cannot be started: {error.strerror}") from error
        finally:
            os.close(log)
        self._is_wanted, self.exit_code = True, None
        self._watch = asyncio.create_task(self._watched(self._process))
        self._enter(ProcessStatus.STARTING)

    def answered(self) -> None:
        """Note that the process does what it is for."""
        if self.status is ProcessStatus.STARTING:
            self._enter(ProcessStatus.RUNNING)

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens if the process is gone."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def stop(self) -> None:
        """Ask the process to end, kill it if it has not within STOP_SECONDS. Nothing happens if it does not run."""
        if not self.is_alive:
            return
        self._is_wanted = False
        self.send(signal.SIGTERM)
        if not await self.ended_within(STOP_SECONDS):
            self.send(signal.SIGKILL)
            await self.ended_within(_KILL_SECONDS)

    async def ended_within(self, seconds: float) -> bool:
        """Wait for the process to end. False if it still lives after that time."""
        if self._watch is None:
            return True
        await asyncio.wait((self._watch,), timeout=seconds)
        return self._watch.done()

    def failed(self, why: str) -> ProcessFailed:
        """The error for this process, with the end of its log."""
        return ProcessFailed(self.command.name, why, self.command.log, log_tail(self.command.log))

    async def _watched(self, process: asyncio.subprocess.Process) -> None:
        self.exit_code = await process.wait()
        self._enter(ProcessStatus.ENDED if self._is_wanted else ProcessStatus.STOPPED)

    def _enter(self, status: ProcessStatus) -> None:
        self.status = status
        self._changed()


def log_tail(log: Path) -> str:
    """The last lines of a log, at most 2 kB; empty when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            return file.read(_TAIL_BYTES).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return ""


def exit_text(code: int) -> str:
    """An exit code in words: a status, or the signal that ended the process."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
