"""Support for claims about one participant: the other hospitals, what was spent, and a moment to stop at."""

import asyncio
from collections.abc import Callable
from typing import Any

from campaigns.harness import consortium
from campaigns.harness.chain import Member
from campaigns.harness.consortium import (
    DATASET,
    HOSPITAL_A,
    HOSPITALS,
    seat_of,
)
from client_sdk.payloads.cid import Cid
from client_sdk.training.outcomes import (
    Contribution,
)
from contracts import privacy_budget
from contracts.terms import price_of
from tests.local_task import CountingTrainer, World

OTHERS = HOSPITALS[1:]
OWNER = (HOSPITAL_A.name, DATASET)
PRICE = price_of(consortium.MECHANISM)


def now(world: World) -> privacy_budget.Now:
    """The block to come."""
    return world.chain.next_block()


def spent(world: World, member: Member = HOSPITAL_A) -> tuple[int, ...]:
    return privacy_budget.dataset_account(world.chain.view, member.name, DATASET, now(world)).spent


def holds(world: World) -> int:
    return len(privacy_budget.dataset_account(world.chain.view, *OWNER, now(world)).holds)


def together(world: World, trainer: CountingTrainer, *, others: tuple[Member, ...] = OTHERS) -> Contribution:
    """The first hospital's contribution, while the others contribute too."""
    mine = world.participant(HOSPITAL_A).contribute(1, trainer)
    made: Contribution = world.run(mine, *(world.contribution(other) for other in others))[0]
    return made


def reserved_by_all(world: World) -> None:
    """The three others and the first hospital hold seats: training may start."""
    for member in HOSPITALS:
        world.chain.submit(member, consortium.reserve())


def committed_by_others(world: World) -> None:
    """The three others have committed to something."""
    for member in OTHERS:
        world.chain.submit(member, consortium.commit())


def stored(world: World, made: Contribution) -> bytes:
    return asyncio.run(world.store.get(Cid.parse(made.cid), made.bytes))


def the_moment(world: World, reached: Callable[[], bool], *jobs: Any) -> None:
    """Run jobs up to a moment."""
    asyncio.run(world.until(reached, *jobs))


def has_committed(world: World, member: Member = HOSPITAL_A) -> bool:
    return seat_of(world.chain, member).commitment is not None
