"""A participant whose key was stolen commits to what it had trained once the theft is reported, and trains once."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from campaigns.harness import consortium
from campaigns.harness.consortium import DATASET, HOSPITAL_A, TASK, cid, seat_of
from client_sdk.payloads.store import payload_cid
from client_sdk.training.journal import Entry
from client_sdk.training.outcomes import PayloadLost
from client_sdk.training.participant import Participant
from client_sdk.training.seat import Seen
from contracts.identity import AddKey, KeyIsRevoked
from contracts.kernel import Place
from contracts.kernel.types import Purpose
from contracts.terms import Phase
from contracts.thefts import ReportStolenKey
from tests import local_task
from tests.client_sdk.training.taking_part import (
    OTHERS,
    PRICE,
    has_committed,
    reserved_by_all,
    spent,
    stored,
    the_moment,
)
from tests.local_task import World

SECOND = HOSPITAL_A.key(Purpose.WORKLOAD, 1)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """All hold seats; the first hospital has two worker keys, and a thief has the first of them from here on."""
    world = local_task.opened(tmp_path)
    world.open_round()
    world.chain.submit(HOSPITAL_A, AddKey(SECOND.enrolment(world.chain.ledger.genesis)))
    reserved_by_all(world)
    return world


def report(world: World, height: int) -> None:
    world.chain.submit(HOSPITAL_A, ReportStolenKey(HOSPITAL_A.worker.public, Place(height, 0)))


def a_thief_commits(world: World) -> None:
    world.chain.submit(HOSPITAL_A, consortium.commit(cid=cid("a thief's")))


def with_the_second_key(world: World) -> Participant:
    taking_part = world.participant(HOSPITAL_A)
    taking_part.client = world.clock.watched(world.node.client(SECOND), "sign")
    return taking_part


def made_by(world: World) -> tuple[bytes, str]:
    made = seat_of(world.chain, HOSPITAL_A).commitment
    assert made is not None
    return made.signer, made.cid


@pytest.mark.parametrize("first", ["before it is looked at", "in the same moment"])
def test_who_reports_a_thief_s_commitment_commits_to_what_it_had_trained(
    world: World, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """In the same moment: its own commitment is refused, because the thief's is there."""
    trainer, since = world.trainer(HOSPITAL_A), world.chain.height
    taking_part = with_the_second_key(world)
    look, train, commit = taking_part.look, taking_part.train, taking_part.commit
    tried, looks = iter([True]), iter([False, False, True])

    async def training(*arguments: Any) -> Any:
        made = await train(*arguments)
        if first == "before it is looked at":
            a_thief_commits(world)
        return made

    async def committing(entry: Entry, seen: Seen) -> None:
        if first == "in the same moment" and next(tried, False):
            a_thief_commits(world)
        await commit(entry, seen)

    async def looking(number: int, *, at_least: int = 0) -> Seen:
        """It sees the thief's commitment three times until that is reported."""
        seen = await look(number, at_least=at_least)
        if seen.has_committed and next(looks, False):
            assert seen.current.phase is Phase.COMMITTING
            report(world, since)
        return seen

    for name, method in {"look": looking, "train": training, "commit": committing}.items():
        monkeypatch.setattr(taking_part, name, method)
    the_moment(
        world,
        lambda: has_committed(world) and made_by(world)[0] == SECOND.public,
        taking_part.contribute(1, trainer),
    )
    made = world.run(with_the_second_key(world).contribute(1, trainer), *map(world.contribution, OTHERS))[0]
    assert made_by(world) == (SECOND.public, made.cid)
    assert stored(world, made)
    assert trainer.trained == 1
    assert spent(world) == PRICE


def test_a_commitment_of_one_s_own_by_a_key_that_was_reported_is_made_anew_with_the_next_key(world: World) -> None:
    trainer, since = world.trainer(HOSPITAL_A), world.chain.height
    the_moment(world, lambda: has_committed(world), world.participant(HOSPITAL_A).contribute(1, trainer))
    first = made_by(world)
    report(world, since)
    made = world.run(with_the_second_key(world).contribute(1, trainer), *map(world.contribution, OTHERS))[0]
    assert made_by(world) == (SECOND.public, made.cid) == (SECOND.public, first[1])
    assert stored(world, made)
    assert trainer.trained == 1


def test_whose_own_key_was_reported_is_told_so_and_keeps_what_it_trained(world: World) -> None:
    trainer, since = world.trainer(HOSPITAL_A), world.chain.height
    the_moment(world, lambda: has_committed(world), world.participant(HOSPITAL_A).contribute(1, trainer))
    report(world, since)
    with pytest.raises(KeyIsRevoked):
        world.run(world.participant(HOSPITAL_A).contribute(1, trainer))
    entry = world.participant(HOSPITAL_A).journal.find(TASK, 1, DATASET)
    assert entry is not None
    assert entry.is_trained


def test_a_thief_s_commitment_that_reached_the_barrier_is_not_told_as_one_s_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was trained here is of no use then: it stays in its house, and is destroyed."""
    taking_part, trained = with_the_second_key(world), []
    train = taking_part.train

    async def overtaken(*arguments: Any) -> Any:
        trained.append(await train(*arguments))
        a_thief_commits(world)
        return trained[0]

    monkeypatch.setattr(taking_part, "train", overtaken)
    jobs = [taking_part.contribute(1, world.trainer(HOSPITAL_A)), *map(world.contribution, OTHERS)]
    with pytest.raises(PayloadLost, match=HOSPITAL_A.worker.public.hex()):
        world.run(*jobs)
    assert not asyncio.run(world.store.has(payload_cid(trained[0].payload)))
    assert taking_part.journal.rounds(TASK, DATASET) == []
