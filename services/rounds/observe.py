"""Reading what ``round`` decides on: a task's last round and its proposals, at a block time."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing

from client_sdk.client import LedgerClient
from client_sdk.light import CannotVerify, VerificationFailed
from client_sdk.payloads.errors import PayloadError
from client_sdk.rpc import AnswerMalformed, HeightUnavailable, RpcError
from client_sdk.training.artefacts import ArtefactRefused
from client_sdk.training.task import TaskView, VersionUnfit
from contracts import lineage, rounds
from contracts.kernel import View
from contracts.lineage import Version
from contracts.rounds import Round, Task

from .round import Observation

# What another block, node or copy may put right: a service says so and goes on.
PASSING = (RpcError, AnswerMalformed, VerificationFailed, CannotVerify, PayloadError, ArtefactRefused, VersionUnfit)
_log = logging.getLogger(__name__)


async def observe(client: LedgerClient, task: TaskView, organisation: str) -> Observation:
    """The task's state by one node's word, which is enough: what is done about it, the ledger checks again."""
    now, state = (await client.rpc.status()).time_ns // 1_000_000, await client.peek(rounds.TASKS, task.name)
    if state is None:
        raise rounds.UnknownTask(task=task.name)
    last: Round | None = None
    if state.rounds:
        last = await client.peek(rounds.ROUNDS, (task.name, state.rounds))
    versions = await _versions_of(client, task, state.rounds) if last is not None else {}
    opened = await _opened_ms(client, state) if last is None else 0
    return Observation(organisation, now, task.terms, state, last, versions, opened)


async def on_blocks(client: LedgerClient, task: TaskView, organisation: str) -> AsyncIterator[Observation]:
    """An observation now and after every new block; a slow reader skips to the newest.

    Goes on when nodes do not answer for a while. Raises at the start only: UnknownTask, rpc.NodeUnavailable.
    """
    yield await observe(client, task, organisation)
    async with aclosing(client.rpc.heads.latest()) as heights:
        async for _ in heights:
            try:
                seen = await observe(client, task, organisation)
            except (*PASSING, rounds.UnknownTask) as error:  # There was a task: a node that is behind knows none.
                _log.warning("cannot look at the ledger, trying again: %s", error)
                continue
            yield seen
            await asyncio.sleep(0)


async def is_over(client: LedgerClient, task: TaskView) -> bool:
    """Whether the ledger proves that a task has had all its rounds, and the last one is not under way any more."""
    async with client.at() as view:
        number, last = await view.run(lambda state: _last_round(state, task.name))
    if number < task.terms.max_rounds or last is None or last.status is rounds.RoundStatus.OPEN:
        return False
    closed = last.status is rounds.RoundStatus.CLOSED
    return not closed or rounds.turn_of(task.terms, last, view.time_ms) >= len(task.terms.aggregators)


def _last_round(view: View, name: str) -> tuple[int, Round | None]:
    number = rounds.require_task(view, name).rounds
    return number, rounds.ROUNDS.get(view, (name, number))


async def _opened_ms(client: LedgerClient, state: Task) -> int:
    """Block time at which the task was opened, in ms; 0, which is long ago, if the node has forgotten."""
    try:
        return (await client.rpc.commit(state.opened_at)).header.time_ns // 1_000_000
    except HeightUnavailable:
        return 0


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
