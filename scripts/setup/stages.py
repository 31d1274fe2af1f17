"""Stages: units of set-up that are done once, resumed when cut short, and logged one file each.

A lane is a list of stages in order; lanes run side by side. The first failure stops every lane. Leaves to
others: what the stages do, and how progress looks.
"""

import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from scripts.setup.stamps import Stamp

TAIL_LINES = 15
"""How much of a failed stage's log is shown at once."""


class StageFailed(Exception):
    """A stage ended without its result."""

    def __init__(self, stage: "Stage", reason: str, log: Path) -> None:
        super().__init__(f"stage {stage.name}: {reason}")
        self.stage = stage
        self.reason = reason
        self.log = log

    def tail(self) -> list[str]:
        """Return the last lines of the stage's log."""
        try:
            return self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        except OSError:
            return []


class Stopped(Exception):
    """Another lane failed, or the user interrupted: this lane goes no further."""


@dataclass(frozen=True)
class Cost:
    """What a stage takes, measured cold on two cores, for the first screen and the disk check."""

    download: int
    """Bytes over the network."""
    disk: int
    """Bytes kept in the clone."""
    seconds: int
    cache: int = 0
    """Bytes kept in the user's caches, outside the clone."""


@dataclass(frozen=True)
class Stage:
    """One unit of set-up."""

    name: str
    purpose: str
    stamp: Stamp
    cost: Cost
    perform: Callable[["Shell"], None]
    hint: str = ""
    """What to try when it fails."""


class Progress(Protocol):
    """What a person is told while stages run."""

    def started(self, stage: Stage) -> None:
        """Tell that a stage begins."""

    def finished(self, stage: Stage, seconds: float) -> None:
        """Tell that a stage has its result."""

    def waiting(self, seconds: float, running: Sequence[str]) -> None:
        """Tell, about once a second, what is still running."""


@dataclass
class Children:
    """The processes that run now, so that a failure in one lane can end the others."""

    stopping: threading.Event = field(default_factory=threading.Event)
    _running: set[subprocess.Popen[bytes]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, command: Sequence[str], log: IO[bytes], cwd: Path, environment: Mapping[str, str]) -> int:
        """Run a command to its end in a process group of its own and return its exit code. Raises Stopped."""
        with self._lock:
            if self.stopping.is_set():
                raise Stopped
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=dict(environment),
                start_new_session=True,
            )
            self._running.add(process)
        try:
            code = process.wait()
        finally:
            with self._lock:
                self._running.discard(process)
        if self.stopping.is_set():
            raise Stopped
        return code

    def stop(self) -> None:
        """End every running command and its descendants; nothing starts after this."""
        with self._lock:
            self.stopping.set()
            for process in self._running:
                try:
                    os.killpg(process.pid, signal.SIGTERM)
                except ProcessLookupError:
                    continue


@dataclass(frozen=True)
class Shell:
    """What a stage may use to run commands: each goes to the stage's log, and must succeed."""

    stage: Stage
    root: Path
    log: Path
    children: Children

    def run(
        self,
        *command: str | Path,
        cwd: Path | None = None,
        set_variables: Mapping[str, str] | None = None,
        unset_variables: Sequence[str] = (),
    ) -> None:
        """Run one command. Raises StageFailed when it cannot start or ends with another code than 0."""
        words = [os.fspath(word) for word in command]
        environment = {**os.environ, **(set_variables or {})}
        for name in unset_variables:
            environment.pop(name, None)
        with self.log.open("ab") as log:
            log.write(f"$ {' '.join(words)}\n".encode())
            log.flush()
            try:
                code = self.children.start(words, log, cwd or self.root, environment)
            except OSError as error:
                raise self.failure(f"cannot start {words[0]}: {error.strerror}") from error
        if code != 0:
            raise self.failure(f"`{' '.join(words[:3])} …` ended with code {code}")

    def failure(self, reason: str) -> StageFailed:
        """Return the failure of this stage, to be raised."""
        return StageFailed(self.stage, reason, self.log)


@contextmanager
def exclusive(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of this clone's set-up, so that two runs never write the same folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run_stage(stage: Stage, root: Path, logs: Path, children: Children, progress: Progress) -> None:
    """Do one stage unless its stamp stands. Raises StageFailed, Stopped."""
    if stage.stamp.stands():
        return
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{stage.name}.log"
    log.write_bytes(b"")
    shell = Shell(stage, root, log, children)
    progress.started(stage)
    began = time.monotonic()
    stage.stamp.withdraw()
    stage.perform(shell)
    try:
        stage.stamp.write()
    except OSError as error:
        raise shell.failure(str(error)) from error
    progress.finished(stage, time.monotonic() - began)


def run_lanes(lanes: Sequence[Sequence[Stage]], root: Path, logs: Path, progress: Progress) -> None:
    """Run lanes side by side and wait for all. Raises the first StageFailed, after every lane has ended."""
    children = Children()
    running: dict[int, str] = {}
    failures: list[Exception] = []

    def follow(number: int, lane: Sequence[Stage]) -> None:
        try:
            for stage in lane:
                running[number] = stage.name
                run_stage(stage, root, logs, children, progress)
        except Stopped:
            pass
        except Exception as error:  # noqa: BLE001 - carried to the caller's thread and raised there
            failures.append(error)
            children.stop()
        finally:
            running.pop(number, None)

    threads = [threading.Thread(target=follow, args=pair, daemon=True) for pair in enumerate(lanes)]
    began = time.monotonic()
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(timeout=0.5)
            progress.waiting(time.monotonic() - began, [*running.values()])
    except KeyboardInterrupt:
        children.stop()
        for thread in threads:
            thread.join(timeout=10)
        raise
    if failures:
        raise failures[0]
