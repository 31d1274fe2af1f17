"""On four real validators, a member that floods through all of them delays nobody's revocation."""

import asyncio
from pathlib import Path

import pytest

from abci_app.pool.shares import ALLOWANCES, POOL_SHARE_FULL, everything
from campaigns import flood
from devnet.errors import BinaryMissing

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_a_flood_through_every_node_delays_no_revocation_by_more_than_a_block(tmp_path: Path) -> None:
    """The block that is on its way when a revocation is accepted cannot hold it; the one after it does."""
    plan = flood.Plan(quiet_seconds=0, flood_seconds=6, tasks=3)
    try:
        result = asyncio.run(flood.measure(tmp_path / "net", plan))
    except BinaryMissing as missing:
        pytest.skip(f"{missing}: run `make setup`")
    told = result["flood"]
    assert told["revocations"] == 6
    assert told["own_revocations"] == 2
    assert told["blocks_waited_most"] <= 2, told
    assert told["answers"]["0"] >= min(allowance.transactions for allowance in ALLOWANCES.values())
    assert told["answers"][str(POOL_SHARE_FULL)] > 0, "it was a flood all the time"
    assert told["pool_most"] < everything().transactions / 256
    assert result["failures_in_logs"] == 0
