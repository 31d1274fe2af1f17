"""Which rounds a participant is offered: those it can still do something in, whatever one node says or does not."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from campaigns.harness import consortium
from campaigns.harness.consortium import DATASET, HOSPITAL_A, HOSPITAL_B, HOSPITALS, TASK, let_pass, round_of
from client_sdk.light import CannotVerify, TrustExpired
from client_sdk.rpc import AnswerMalformed, NodeUnavailable
from client_sdk.training.journal import Entry
from client_sdk.training.participant import Participant
from contracts import rounds, tasks
from contracts.tasks import LeaveTask
from contracts.terms import Phase
from tests import local_task
from tests.local_task import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = local_task.opened(tmp_path)
    world.open_round()
    return world


class LookedEnough(Exception):
    """A participant has looked at the ledger as often as it was let."""


def offered(world: World, taking_part: Participant, looks: int = 5) -> list[int]:
    """The rounds that a participant is offered in so many looks at its task, without taking part."""
    left = iter(range(looks))
    peek = taking_part.client.peek

    async def counted(state: Any, key: Any = ()) -> Any:
        if state is tasks.TASKS and next(left, None) is None:
            raise LookedEnough
        found = await peek(state, key)
        if state is tasks.TASKS:
            world.node.let_pass(1)  # Every look is answered by another block, so there is a next one.
        return found

    async def listen() -> list[int]:
        found: list[int] = []
        with suppress(LookedEnough):
            async for number in taking_part.rounds():
                found.append(number)  # noqa: PERF401 - what was found before the end counts.
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(taking_part.client, "peek", counted)
        return asyncio.run(listen())


def journalled(world: World, number: int = 1) -> None:
    world.participant(HOSPITAL_A).journal.keep(Entry(TASK, number, DATASET, b"signed", 7, b"sealed"))


def reserved(world: World) -> None:
    for hospital in HOSPITALS:
        world.chain.submit(hospital, consortium.reserve())


def committed(world: World) -> None:
    reserved(world)
    for hospital in HOSPITALS:
        world.chain.submit(hospital, consortium.commit())


SITUATIONS: dict[str, tuple[Callable[[World], Any], list[int]]] = {
    "nothing done": (lambda _world: None, [1]),
    "reserved": (lambda world: world.chain.submit(HOSPITAL_A, consortium.reserve()), [1]),
    "training": (reserved, [1]),
    "past the barrier, served": (committed, []),
    "past the barrier, journalled": (lambda world: (committed(world), journalled(world)), [1]),
    "left the task": (lambda world: world.chain.submit(HOSPITAL_A, LeaveTask(TASK)), []),
    "void": (
        lambda world: world.chain.given(rounds.ROUNDS.put((TASK, 1), replace(round_of(world.chain), phase=Phase.VOID))),
        [],
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_restart_is_offered_the_round_it_left_unless_that_is_done(world: World, situation: str) -> None:
    arrange, numbers = SITUATIONS[situation]
    arrange(world)
    assert offered(world, world.participant(HOSPITAL_A)) == numbers


def test_what_is_left_in_the_journal_is_offered_first_and_once(world: World) -> None:
    """Also a round that is long over: its payload is destroyed, or served, before the next one begins."""
    second = replace(round_of(world.chain), phase=Phase.RESERVING)
    task = tasks.TASKS.at(world.chain.view, TASK)
    world.chain.given(
        tasks.TASKS.put(TASK, replace(task, rounds=2)),
        rounds.ROUNDS.put((TASK, 1), replace(second, phase=Phase.VOID)),
        rounds.ROUNDS.put((TASK, 2), second),
    )
    journalled(world)
    assert offered(world, world.participant(HOSPITAL_A)) == [1, 2]
    journalled(world, 2)
    assert offered(world, world.participant(HOSPITAL_A)) == [1, 2]


def test_a_round_in_which_nobody_can_reserve_any_more_is_offered_to_who_has_a_seat_only(world: World) -> None:
    world.chain.submit(HOSPITAL_B, consortium.reserve())
    let_pass(world.chain)
    world.chain.block()
    assert offered(world, world.participant(HOSPITAL_A)) == []
    assert offered(world, world.participant(HOSPITAL_B)) == [1]


def test_a_dataset_that_has_not_joined_is_offered_nothing_nor_is_one_beside_the_seat(world: World) -> None:
    stranger = world.participant(HOSPITAL_A)
    stranger.dataset = "another"
    assert offered(world, stranger) == []
    world.chain.submit(HOSPITAL_A, consortium.reserve())
    assert offered(world, stranger) == []


def test_who_joined_while_a_round_was_open_is_offered_the_next_one(world: World) -> None:
    part = tasks.PARTICIPATIONS.at(world.chain.view, (TASK, HOSPITAL_A.name))
    world.chain.given(tasks.PARTICIPATIONS.put((TASK, HOSPITAL_A.name), replace(part, from_round=2)))
    assert offered(world, world.participant(HOSPITAL_A)) == []


def test_a_node_that_makes_rounds_up_does_not_make_a_participant_deaf(world: World) -> None:
    """It says once that the last round of the task is over; the ledger proves that it is not."""
    taking_part = world.participant(HOSPITAL_A)
    peek, last = taking_part.client.peek, world.task.terms.max_rounds
    lies = iter([True])

    async def lying(state: Any, key: Any = ()) -> Any:
        found = await peek(state, key)
        if state is tasks.TASKS and next(lies, False):
            world.node.let_pass(1)
            return replace(found, rounds=last)
        if key == (TASK, last):
            return replace(rounds.ROUNDS.at(world.chain.view, (TASK, 1)), phase=Phase.DECIDED)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(taking_part.client, "peek", lying)
        assert offered(world, taking_part) == [1]


@pytest.mark.parametrize(
    "failure",
    [
        NodeUnavailable(["node"], ["restarting"]),
        AnswerMalformed("status", "nonsense"),
        CannotVerify("header 9", "behind"),
    ],
    ids=["unavailable", "malformed", "behind"],
)
def test_a_look_that_fails_is_made_again(world: World, failure: Exception) -> None:
    taking_part = world.participant(HOSPITAL_A)
    peek, failures = taking_part.client.peek, iter([failure])

    async def failing(state: Any, key: Any = ()) -> Any:
        if state is rounds.ROUNDS and (error := next(failures, None)) is not None:
            raise error
        return await peek(state, key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(taking_part.client, "peek", failing)
        assert offered(world, taking_part) == [1]


def test_an_expired_trust_ends_the_rounds(world: World) -> None:
    taking_part = world.participant(HOSPITAL_A)

    async def expired(_state: Any, _key: Any = ()) -> Any:
        raise TrustExpired("header 1", "it is old")

    async def listen() -> list[int]:
        return [number async for number in taking_part.rounds()]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(taking_part.client, "peek", expired)
        with pytest.raises(TrustExpired):
            asyncio.run(listen())


def test_the_rounds_end_with_the_task(world: World) -> None:
    task = tasks.TASKS.at(world.chain.view, TASK)
    last = world.task.terms.max_rounds
    over = replace(round_of(world.chain), phase=Phase.DECIDED)
    ended = replace(task, rounds=last, trained=last)
    world.chain.given(tasks.TASKS.put(TASK, ended), rounds.ROUNDS.put((TASK, last), over))

    async def all_of_them() -> list[int]:
        return [number async for number in world.participant(HOSPITAL_A).rounds()]

    assert asyncio.run(all_of_them()) == []
