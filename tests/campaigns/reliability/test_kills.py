"""Continuous integration's campaign: four deaths on a real network, one of each kind, each where it hurts.

Fifty of them, at moments drawn from a seed, are ``make reliability``; ``docs/reliability.md`` has their table.
"""

import asyncio

import pytest

from campaigns.reliability.__main__ import run
from campaigns.reliability.plan import Death, Phase, Victim
from contracts import rounds
from devnet.errors import BinaryMissing
from devnet.manifest import Timeouts

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

LATE = (rounds.PhaseOver.code, rounds.WrongPhase.code, rounds.PhaseNotOver.code, rounds.RoundEnded.code)
PLAN = (
    Death(1, Victim.APPLICATION, (0,), Phase.COMMITTING, 0.5, hold=0.0),
    Death(2, Victim.NODE, (1,), Phase.EXECUTED, 0.5, hold=0.0),
    Death(3, Victim.TWO, (2, 3), Phase.EXECUTING, 0.5, hold=1.0),
    Death(4, Victim.BOTH, (3,), Phase.ANY, 0.5, hold=0.0),
)


def test_killed_processes_come_back_in_the_agreed_state_and_nothing_acknowledged_is_lost() -> None:
    try:
        report = asyncio.run(run(PLAN, 1, Timeouts.FAST))
    except BinaryMissing as missing:
        pytest.skip(f"{missing}: run `make setup`")
    assert [(row["number"], row["verdict"]) for row in report["list"]] == [(one.number, "held") for one in PLAN]
    assert report["faults"] == []
    assert report["held"]
    # It was under load, and the moments aimed at were met.
    assert report["load"]["acknowledged"] > 50
    assert report["load"]["results"].get("0", 0) > 50
    assert set(report["load"]["results"]) <= {"0", *map(str, LATE)}, (
        "refused in a block is only what an outage made late"
    )
    assert [row["died after"] for row in report["list"][:3]] == [
        "commit asked",
        "finalize_block answered",
        "finalize_block asked",
    ]
