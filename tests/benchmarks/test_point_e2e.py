import asyncio

import pytest

from benchmarks.load.point import Point, Pressure, Workload, run
from devnet.manifest import Application, Timeouts

pytestmark = pytest.mark.e2e
SHORT = Pressure(seconds=1.0, latency_seconds=1.0, window=200, tasks=4)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("workload", list(Workload))
def test_both_ledgers_commit_what_they_are_sent_and_say_what_it_cost(workload) -> None:
    sizes = []
    ours = asyncio.run(run(Point(Application.FEDLEDGER, workload, 1, Timeouts.FAST), SHORT, sizes))
    theirs = asyncio.run(run(Point(Application.KVSTORE, workload, 1, Timeouts.FAST), SHORT, sizes))
    assert set(sizes) == {size for size in sizes if 250 < size < 700}
    for measured in (ours, theirs):
        throughput, latency = measured["throughput"], measured["latency"]
        assert throughput["accepted"] > 0
        assert throughput["refused_in_blocks"] == throughput["signed_late"] == 0
        assert latency["samples"] + latency["not_sent"] == 20
        assert latency["unseen"] == 0
        assert latency["p50_ms"] <= latency["p95_ms"] <= latency["p99_ms"]
        assert measured["cpu_us_per_transaction"]["node"] > 0
    assert ours["cpu_us_per_transaction"]["application"] > 0
    assert theirs["cpu_us_per_transaction"]["application"] == 0
    assert theirs["tx_bytes"]["least"] >= min(sizes)
