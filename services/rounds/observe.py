"""Reading what ``round`` decides on: a task's last round, its attestations and its ballots, at a block time."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TypeVar

from client_sdk.client import LedgerClient
from client_sdk.light import CannotVerify, VerificationFailed
from client_sdk.payloads.errors import PayloadError
from client_sdk.rpc import AnswerMalformed, HeightUnavailable, RpcError
from client_sdk.training.artefacts import ArtefactRefused
from client_sdk.training.task import TaskView, VersionUnfit
from contracts import ballot_box, identity, rounds, tasks
from contracts.ballot_box import Attestation, Ballot
from contracts.kernel import View
from contracts.rounds import Round
from contracts.tasks import Task
from contracts.terms import Phase

from .round import Observation

# What another block, node or copy may put right: a service says so and goes on.
PASSING = (RpcError, AnswerMalformed, VerificationFailed, CannotVerify, PayloadError, ArtefactRefused, VersionUnfit)
_log = logging.getLogger(__name__)
Said = TypeVar("Said", Attestation, Ballot)


async def observe(client: LedgerClient, task: TaskView, organisation: str) -> Observation:
    """The task's state by one node's word: what is done about it, the ledger checks again, or a proof is asked for."""
    status, state = await client.rpc.status(), await client.peek(tasks.TASKS, task.name)
    if state is None:
        raise tasks.UnknownTask(task=task.name)
    last: Round | None = None
    if state.rounds:
        last = await client.peek(rounds.ROUNDS, (task.name, state.rounds))
    return Observation(
        organisation=organisation,
        now=status.time_ns // 1_000_000,
        height=status.height,
        terms=task.terms,
        task=state,
        last=last,
        opened=await _opened_ms(client, state) if last is None else 0,
        attested=await _attested(client, task, state.rounds, last, organisation),
        box=await _box(client, task, state.rounds, last, organisation),
    )


async def on_blocks(client: LedgerClient, task: TaskView, organisation: str) -> AsyncIterator[Observation]:
    """An observation now and after every new block; a slow reader skips to the newest.

    Goes on when nodes do not answer for a while. Raises at the start only: UnknownTask, rpc.NodeUnavailable.
    """
    yield await observe(client, task, organisation)
    async with aclosing(client.rpc.heads.latest()) as heights:
        async for _ in heights:
            try:
                seen = await observe(client, task, organisation)
            except (*PASSING, tasks.UnknownTask) as error:  # There was a task: a node that is behind knows none.
                _log.warning("cannot look at the ledger, trying again: %s", error)
                continue
            yield seen
            await asyncio.sleep(0)


async def is_finished(client: LedgerClient, task: TaskView) -> bool:
    """Whether the ledger proves that a task has had all its rounds, and the last one is not under way any more."""
    number, last = await client.ask(lambda state: _last_round(state, task.name))
    return number >= task.terms.max_rounds and last is not None and last.phase in rounds.OVER


def _last_round(view: View, name: str) -> tuple[int, Round | None]:
    number = tasks.require_task(view, name).rounds
    return number, rounds.ROUNDS.get(view, (name, number))


async def _opened_ms(client: LedgerClient, state: Task) -> int:
    """Block time at which the task was opened, in ms; 0, which is long ago, if the node has forgotten."""
    try:
        return (await client.rpc.commit(state.opened_at)).header.time_ns // 1_000_000
    except HeightUnavailable:
        return 0


async def _attested(
    client: LedgerClient, task: TaskView, number: int, last: Round | None, organisation: str
) -> tuple[Attestation, ...]:
    if last is None or last.phase not in (Phase.ATTESTING, Phase.SEALING):
        return ()
    record = await client.peek(ballot_box.ATTESTATIONS, (task.name, number))
    return await _standing(client, record.rows if record else (), organisation)


async def _box(
    client: LedgerClient, task: TaskView, number: int, last: Round | None, organisation: str
) -> tuple[Ballot, ...]:
    if last is None or last.phase not in (Phase.SEALING, Phase.OPENING):
        return ()
    record = await client.peek(ballot_box.BOXES, (task.name, number))
    return await _standing(client, record.ballots if record else (), organisation)


async def _standing(client: LedgerClient, said: tuple[Said, ...], organisation: str) -> tuple[Said, ...]:
    """What verifiers said, without what a key of ours said that turned out stolen: it is for us to say it anew."""
    kept = []
    for one in said:
        if one.organisation == organisation:
            key = await client.peek(identity.KEYS, one.signer)
            if key is not None and not identity.is_good(key, one.place):
                continue
        kept.append(one)
    return tuple(kept)
