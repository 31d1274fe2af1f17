"""The demo's worker processes: hospitals, aggregators and verifiers, each on its own, watched by one reader each."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from devnet.layout import REPOSITORY

Hear = Callable[[str, dict[str, Any]], None]
_STOP_SECONDS = 10.0
_LINE_BYTES = 64 * 1024


class Workers:
    """Starts processes, passes on what they say, and ends them by their process ids."""

    def __init__(self, logs: Path, hear: Hear) -> None:
        self._logs = logs
        self._hear = hear
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._readers: list[asyncio.Task[None]] = []
        self._ready: dict[str, asyncio.Event] = {}
        self._stopping = False

    async def start(self, name: str, module: str, *arguments: str) -> None:
        """Start ``python -m module`` under a name; its errors go to a log of that name."""
        with (self._logs / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                *arguments,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=REPOSITORY,
                limit=_LINE_BYTES,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        self._processes[name] = process
        self._ready[name] = asyncio.Event()
        self._readers.append(asyncio.create_task(self._read(name, process)))

    async def ready(self) -> None:
        """Wait until every process has said that it is ready. Raises WorkerDied."""
        await asyncio.gather(*(event.wait() for event in self._ready.values()))
        for reader in self._readers:
            if reader.done():
                reader.result()  # A bug of ours: nobody would hear the process any more.
        for name, process in self._processes.items():
            if process.returncode not in (None, 0):
                raise WorkerDied(name, process.returncode or 0, self._logs / f"{name}.log")

    async def stop(self) -> None:
        """End every process: politely, then not. Raises what a reader of theirs has raised."""
        self._stopping = True
        living = [process for process in self._processes.values() if process.returncode is None]
        for process in living:
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                for process in living:
                    await process.wait()
        except TimeoutError:
            for process in living:
                if process.returncode is None:
                    process.kill()
            for process in living:
                await process.wait()
        for reader in self._readers:
            reader.cancel()
        for ended in await asyncio.gather(*self._readers, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended  # A bug of ours: from then on nobody heard the process.

    async def _read(self, name: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                try:
                    said = json.loads(line)
                except ValueError:
                    continue  # A library's print: the log has what matters.
                if said.get("event") == "ready":
                    self._ready[name].set()
                self._hear(name, said)
            code = await process.wait()
        finally:
            self._ready[name].set()  # Also when we fail: whoever waits for it must hear why.
        if code != 0 and not self._stopping:
            self._hear(name, {"event": "died", "code": code, "log": str(self._logs / f"{name}.log")})


class WorkerDied(RuntimeError):
    """A process ended before it was ready."""

    def __init__(self, name: str, code: int, log: Path) -> None:
        tail = log.read_text(errors="replace")[-1500:] if log.is_file() else ""
        super().__init__(f"{name} ended with code {code}; its log {log} ends:\n{tail}")
