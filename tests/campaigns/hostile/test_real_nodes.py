"""Hostile transactions against four real validators. `make hostile ARGS="--count 10000"` sends more."""

import asyncio

import pytest

from campaigns.hostile import real_node
from campaigns.hostile.kinds import Kind
from devnet.errors import BinaryMissing

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]  # Only a network that hangs takes so long.
ATTACKS = 500


def test_real_validators_refuse_every_attack_for_its_reason_and_stay_alive_and_agreed() -> None:
    try:
        report = asyncio.run(real_node.besiege(1, ATTACKS))
    except BinaryMissing as missing:
        pytest.skip(f"{missing}: run `make setup`")
    assert report["faults"] == []
    assert report["attacks"] == ATTACKS
    assert len(report["outcomes"]) > len(Kind) - 3, "nearly every kind was sent"
    assert report["honest"]["accepted"] > 30
    assert report["honest"]["expired"] == 0, "nothing that may be in a block waits for two hundred of them"
    assert report["processes that lived"] == 2 * report["validators"] == 8
