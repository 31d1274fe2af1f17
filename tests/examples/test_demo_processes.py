"""The demo's workers and its watcher: what fails in them is heard by whoever waits for them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from examples.demo.processes import WorkerDied, Workers
from examples.demo.view import Lines
from examples.demo.watch import WatchEnded, Watcher

READY = 'print(\'{"event": "ready"}\', flush=True)'


def module(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> str:
    """A module that a worker can run, by its name."""
    (folder / "worker_of_a_test.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return "worker_of_a_test"


def test_a_worker_that_ends_before_it_is_ready_is_reported_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = module(tmp_path, monkeypatch, "raise SystemExit('no records')")

    async def scenario() -> None:
        workers = Workers(tmp_path, lambda _name, _said: None)
        try:
            await workers.start("hospital", name)
            with pytest.raises(WorkerDied, match="no records"):
                await workers.ready()
        finally:
            await workers.stop()

    asyncio.run(scenario())


def test_a_fault_in_what_hears_the_workers_does_not_leave_everybody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = module(tmp_path, monkeypatch, f"{READY}; import time; time.sleep(600)")

    async def scenario() -> None:
        def hear(_name: str, said: dict[str, Any]) -> None:
            raise LookupError(f"nobody knows {said['event']}")

        workers = Workers(tmp_path, hear)
        try:
            await workers.start("hospital", name)
            with pytest.raises(LookupError, match="ready"):
                await workers.ready()
            [process] = workers._processes.values()
        finally:
            with pytest.raises(LookupError, match="ready"):  # Also for who never asked whether they are ready.
                await workers.stop()
        assert process.returncode is not None
        assert all(reader.done() for reader in workers._readers)

    asyncio.run(scenario())


def watching(blocks: Any) -> Watcher:
    session: Any = SimpleNamespace(client=SimpleNamespace(events=blocks))
    nothing: Any = None
    return Watcher(session, nothing, nothing, Lines(as_json=True))


def test_nobody_waits_for_ever_for_a_watcher_that_failed() -> None:
    async def blocks(after: int) -> AsyncIterator[tuple[int, tuple[()]]]:
        yield after + 1, ()
        raise ConnectionError("the header is another chain's")

    async def scenario() -> None:
        watcher = watching(blocks)
        following = asyncio.create_task(watcher.run(4))
        with pytest.raises(WatchEnded):
            await watcher.until(lambda: watcher.is_open(1))
        assert watcher.height == 5
        await watcher.until(lambda: watcher.height == 5)  # What has been seen is seen.
        with pytest.raises(ConnectionError, match="another chain"):
            await following

    asyncio.run(scenario())
