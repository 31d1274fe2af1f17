"""What a program sees of its own acts: what a stolen key said in its name is not there, so that it says it anew."""

import asyncio
from pathlib import Path

import pytest

from campaigns.harness import consortium
from campaigns.harness.consortium import HOSPITAL_D, LAB
from contracts import thefts
from contracts.kernel import Place
from services.rounds.observe import observe
from services.rounds.round import Observation
from tests import local_task
from tests.local_task import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return local_task.opened(tmp_path)


def seen(world: World, organisation: str) -> Observation:
    return asyncio.run(observe(world.node.client(), world.task, organisation))


def test_what_a_stolen_key_of_ours_said_is_not_ours_and_what_others_said_is_shown_as_it_is(world: World) -> None:
    chain = world.chain
    number = world.open_round()
    consortium.contribute(chain, number)
    consortium.attest_all(chain, number, by=[HOSPITAL_D, LAB])
    assert [row.organisation for row in seen(world, HOSPITAL_D.name).attested] == [HOSPITAL_D.name, LAB.name]
    chain.submit(HOSPITAL_D, thefts.ReportStolenKey(HOSPITAL_D.worker.public, Place(chain.height, 0)))
    assert [row.organisation for row in seen(world, HOSPITAL_D.name).attested] == [LAB.name]
    assert [row.organisation for row in seen(world, LAB.name).attested] == [HOSPITAL_D.name, LAB.name]
