"""Reading what ``round`` decides on: a task's last round and its proposals, at a block time."""

import asyncio
from collections.abc import AsyncIterator

from client_sdk.client import LedgerClient
from client_sdk.training.task import TaskView
from contracts import lineage, rounds
from contracts.lineage import Version
from contracts.rounds import Round

from .round import Observation


async def observe(client: LedgerClient, task: TaskView, organisation: str) -> Observation:
    """The task's state by one node's word, which is enough: what is done about it, the ledger checks again."""
    now, state = (await client.rpc.status()).time_ns // 1_000_000, await client.peek(rounds.TASKS, task.name)
    if state is None:
        raise rounds.UnknownTask(task=task.name)
    last: Round | None = None
    if state.rounds:
        last = await client.peek(rounds.ROUNDS, (task.name, state.rounds))
    versions = await _versions_of(client, task, state.rounds) if last is not None else {}
    return Observation(organisation, now, task.terms, state, last, versions)


async def on_blocks(client: LedgerClient, task: TaskView, organisation: str) -> AsyncIterator[Observation]:
    """An observation now and after every new block; a slow reader skips to the newest."""
    yield await observe(client, task, organisation)
    height = (await client.rpc.status()).height
    async for newest in client.rpc.new_blocks(height):
        if newest < (await client.rpc.status()).height:
            continue
        yield await observe(client, task, organisation)
        await asyncio.sleep(0)


async def _versions_of(client: LedgerClient, task: TaskView, number: int) -> dict[int, Version]:
    model = await client.peek(lineage.MODELS, task.model)
    found: dict[int, Version] = {}
    candidate = model.latest if model else 0
    while candidate > 0:
        version = await client.peek(lineage.VERSIONS, (task.model, candidate))
        if version is None or version.round != number:
            break
        found[candidate] = version
        candidate -= 1
    return found
