"""The real ledger on one real CometBFT validator, for as long as a test needs it."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from campaigns.harness import comet, consortium
from tests.real_genesis import give_genesis


@asynccontextmanager
async def ledger(folder: Path, program: Sequence[str] = ("-m", "abci_app")) -> AsyncIterator[tuple[Any, comet.Node]]:
    """One validator of the founded consortium: its genesis document and its node. ``program`` is what Python runs."""
    network = comet.running(folder / "net", application=address_in(folder), edit_genesis=_found)
    async with Program(folder, program), network as [node]:
        yield _genesis_of(node), node


@asynccontextmanager
async def founded(folder: Path) -> AsyncIterator[tuple[Any, comet.Node]]:
    """The same before anything runs: ``Program`` and the node are started, and ended, by whoever asked."""
    async with comet.prepared(folder / "net", application=address_in(folder), edit_genesis=_found) as [node]:
        yield _genesis_of(node), node


def address_in(folder: Path) -> str:
    """Where the application of a folder listens."""
    return f"unix://{folder}/abci.sock"


class Program:
    """The process of an application over the store of a folder, while the context is open."""

    def __init__(self, folder: Path, program: Sequence[str] = ("-m", "abci_app")) -> None:
        self._command = [sys.executable, *program, "--home", str(folder / "app"), "--address", address_in(folder)]
        self.log = folder / "app.log"

    async def __aenter__(self) -> "Program":
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(*self._command, cwd=comet.ROOT, stdout=log, stderr=log)
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


def _genesis_of(node: comet.Node) -> Any:
    return json.loads((node.home / "config" / "genesis.json").read_text())


def _found(home: Path) -> None:
    give_genesis(home, consortium.founded_by())
