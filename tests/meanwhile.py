"""Others at work, and block time that passes, while a program under test runs on the same loop (``local_task``)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from campaigns.harness.chain import Member
from campaigns.harness.consortium import HOSPITALS, MODEL, VERIFIERS
from client_sdk.training.participant import Participant
from contracts import lineage
from services.rounds.gather import Gatherer
from services.verifier.verifier import Verifier
from tests.local_task import World

Job = Callable[[], Coroutine[Any, Any, Any]]


@asynccontextmanager
async def at_work(world: World, jobs: Iterable[Job]) -> AsyncIterator[None]:
    """Run jobs while the block lasts. When nothing more happens, whoever waits is cancelled."""
    waiting = asyncio.current_task()
    tasks = [asyncio.ensure_future(job()) for job in jobs]
    clock = asyncio.ensure_future(world.clock.run(lambda: False))
    if waiting is not None:
        clock.add_done_callback(lambda done: done.cancelled() or waiting.cancel())
    try:
        yield
    finally:
        for task in (*tasks, clock):
            task.cancel()
        await asyncio.gather(*tasks, clock, return_exceptions=True)


def stop_the_clock_at_work(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Block time does not pass while a program trains or recomputes, whoever made it."""
    for kind, name in ((Participant, "train"), (Gatherer, "answer")):
        monkeypatch.setattr(kind, name, _still(world, getattr(kind, name)))


def hospitals(world: World, number: int = 1, members: Iterable[Member] = HOSPITALS) -> list[Job]:
    """Each contributes to a round."""
    return [lambda member=member: world.contribution(member, number) for member in members]  # type: ignore[misc]


def verifiers(world: World, members: Iterable[Member] = VERIFIERS) -> list[Job]:
    """Each verifies whatever comes."""
    return [
        lambda member=member: Verifier(world.gatherer(member), member.name, world.ballots(member)).run()  # type: ignore[misc]
        for member in members
    ]


def decide(world: World, number: int = 1) -> None:
    """Play a round that is open from its reservations to its version."""

    async def played() -> None:
        async with at_work(world, verifiers(world)):
            await asyncio.gather(*(job() for job in hospitals(world, number)))
            await until_promoted(world, number)

    asyncio.run(played())


async def until_promoted(world: World, version: int = 1) -> None:
    """Wait for a version."""
    heights = world.node.heads.latest()
    with suppress(StopAsyncIteration):
        while lineage.MODELS.at(world.chain.view, MODEL).current < version:
            await anext(heights)
    await heights.aclose()  # type: ignore[attr-defined]


def _still(world: World, original: Callable[..., Any]) -> Callable[..., Any]:
    async def working(self: Any, *arguments: Any, **options: Any) -> Any:
        with world.clock.working():
            return await original(self, *arguments, **options)

    return working
