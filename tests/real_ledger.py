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
    address = f"unix://{folder}/abci.sock"
    command = [sys.executable, *program, "--home", str(folder / "app"), "--address", address]
    with (folder / "app.log").open("wb") as log:
        application = await asyncio.create_subprocess_exec(*command, cwd=comet.ROOT, stdout=log, stderr=log)
    try:
        async with comet.running(folder / "net", application=address, edit_genesis=_found) as [node]:
            yield json.loads((node.home / "config" / "genesis.json").read_text()), node
    finally:
        with suppress(ProcessLookupError):
            application.kill()
        await application.wait()


def _found(home: Path) -> None:
    give_genesis(home, consortium.founded_by())
