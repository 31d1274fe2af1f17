"""Each benchmark's own code on a tiny size: that it measures what it says, never how fast anything is."""

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks import demo, growth, messages, stages, start, throughput
from benchmarks.load.network import manifest
from benchmarks.load.point import SEATS, Point, Workload
from benchmarks.load.process import Node, UnexpectedResult
from benchmarks.measuring import record, tables
from campaigns.harness import consortium
from contracts import lineage, tasks
from contracts.registry import RULES
from contracts.rounds import OpenRound
from devnet.manifest import Application, Timeouts
from scripts import gen_docs


@pytest.mark.parametrize(
    ("workload", "kinds"), [(Workload.CHEAPEST, ["recipient"]), (Workload.CONTRIBUTION, ["reserve", "commit"])]
)
def test_stages_pass_real_transactions_through_every_call(workload, kinds, monkeypatch) -> None:
    monkeypatch.setattr(stages, "BLOCK_TXS", 32)
    monkeypatch.setattr(stages, "QUERIES", 3)
    monkeypatch.setitem(SEATS, Workload.CONTRIBUTION, 32)
    found = stages.measured(workload, 4)
    assert list(found["kinds"]) == kinds
    calls = Counter({
        stage: sum(row["stages"].get(stage, {"calls_for": 0})["calls_for"] for row in found["kinds"].values())
        for stage in (*stages.STAGES, "query with proof")
    })  # fmt: skip
    assert calls == {
        "CheckTx": 128,
        "recheck": 96,
        "PrepareProposal": 128,
        "ProcessProposal": 128,
        "FinalizeBlock": 128,
        "Commit": 128,
        "query with proof": 3,
    }
    assert found["verification_us"] > 0
    for row in found["kinds"].values():
        assert all(stage["cpu_us"] > 0 for stage in row["stages"].values())
        # Whatever the machine: a signature is verified once, in CheckTx.
        assert row["verifications"] == pytest.approx(row["total_us"] / found["verification_us"], rel=0.05)
    assert any("apply_tx" in row["function"] for row in found["profile"]["share"])
    assert all(0 <= row["own_share"] <= 1 for row in found["profile"]["own_share"])


def test_every_message_of_the_registry_has_its_cost(tmp_path) -> None:
    assert {name.partition(",")[0] for name in messages.CASES} == set(RULES.messages)
    with messages.filled(tmp_path, 200) as ledger:
        found = messages.measured(ledger, 1)
    assert set(found["messages_us"]) == set(messages.CASES)
    assert all(spent > 0 for spent in (found["verification_us"], *found["messages_us"].values()))
    text = tables.messages([{"entries": size, **found} for size in (100, 10_000)])
    assert all(f"`{tag}" in text for tag in RULES.messages)


def test_a_ledger_of_any_age_has_the_history_that_its_rules_would_have_left(tmp_path) -> None:
    """The jumps of a long line are those that promoting its versions one by one would have made."""
    with messages.filled(tmp_path, 500) as ledger:
        model = lineage.MODELS.at(ledger.view, consortium.MODEL)
        assert model.current == tasks.TASKS.at(ledger.view, consortium.TASK).rounds > 30
        for number in range(1, model.current + 1):
            made = consortium.version_of(ledger, number)
            assert (made.depth, made.jump) == lineage.child_of(ledger.view, consortium.MODEL, number - 1)


def test_a_message_that_is_refused_is_no_measurement(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(messages.CASES, "rounds/open-round", lambda _: (consortium.AUDITOR, OpenRound("none")))
    with messages.filled(tmp_path, 100) as ledger, pytest.raises(ValueError, match="rounds/open-round is refused"):
        messages.measured(ledger, 1)


def test_a_workload_that_is_refused_is_no_measurement(tmp_path) -> None:
    with Node.of(tmp_path, manifest(Application.FEDLEDGER, 1, Timeouts.FAST, 2)) as node:
        with pytest.raises(UnexpectedResult, match="code 2"):
            node.enter([b"not a transaction"])
        with pytest.raises(UnexpectedResult, match="1 transactions offered, 0 proposed"):
            node.block([b"not a transaction"])


def test_growth_measures_the_state_that_it_filled(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(growth, "BLOCKS", 2)
    monkeypatch.setattr(growth, "BLOCK_WRITES", 10)
    monkeypatch.setattr(growth, "QUERIES", 5)
    growth.fill(tmp_path, 0, 60)
    growth.fill(tmp_path, 60, 200)
    small = growth.measured(tmp_path, 200)
    with Node.reopened(tmp_path) as node:
        entries = sum(1 for _ in node.store.scan(b"contributions/"))
    assert (small["entries"], entries) == (200, 200)
    assert small["database_mib"] > 0
    assert 500 < small["proof_bytes"] < 2_000
    growth.fill(tmp_path, 200, 6_000)
    assert growth.database_bytes(tmp_path / "ledger") > small["database_mib"] * 2**20


def test_an_installation_counts_what_it_needs_and_no_more() -> None:
    bare, cli, node = (start.needs("fedledger", extra) for extra in ("", "cli", "node"))
    assert {"fedledger", "pynacl", "cffi"} <= bare
    assert {"typer", "rich"} <= cli - bare
    assert node - bare == {"lmdb", "protobuf"}
    assert "pytest" not in node
    size = start.size_of("fedledger", "")
    assert size["distributions"] == len(bare)
    assert size["mib"] > sum(size["heaviest_mib"].values()) / 2


def test_starts_run_whole_processes_and_see_them_fail(tmp_path) -> None:
    rows = start.starts_of({"nothing": [sys.executable, "-c", "pass"]}, 2, tmp_path)
    assert rows["nothing"]["repeats"] == 2
    assert rows["nothing"]["median_ms"] > 0
    with pytest.raises(subprocess.CalledProcessError):
        start.starts_of({"failing": [sys.executable, "-c", "raise SystemExit(3)"]}, 1, tmp_path)


def test_the_demos_parts_follow_its_headlines() -> None:
    lines = [
        (1.0, {"type": "stage", "text": "starting"}),
        (2.5, {"type": "event", "text": "ready"}),
        (4.0, {"type": "stage", "text": "training"}),
        (9.0, {"type": "round", "round": 1, "outcome": "promoted"}),
        (20.0, {"type": "summary"}),
    ]
    found = demo.parts_of(lines, 21.5)
    assert [(part["name"], part["seconds"]) for part in found["parts"]] == [
        (demo.START, 1.0),
        ("starting", 3.0),
        ("training", 16.0),
        (demo.END, 1.5),
    ]
    assert found["rounds"] == [{"round": 1, "outcome": "promoted", "at": 9.0}]
    assert sum(part["seconds"] for part in found["parts"]) == found["seconds"] == 21.5


# Throughput: the plan, and what is made of its results -------------------------------------------


CROWDED = Workload.CROWDED.value


def options(**changes):
    plain = {
        "pairs": 2,
        "workloads": [Workload.CHEAPEST],
        "validators": [1],
        "profiles": [Timeouts.FAST],
        "connections": [64],
    }
    return argparse.Namespace(**{**plain, **changes})


def done(
    application,
    pair=1,
    per_second=1000.0,
    p50=10.0,
    workload="cheapest",
    validators=1,
    profile="fast",
    connections=64,
):
    return {
        "application": application,
        "workload": workload,
        "validators": validators,
        "profile": profile,
        "pair": pair,
        "throughput": {"per_second": per_second, "interval_p50_ms": 25.0},
        "latency": {"p50_ms": p50, "p95_ms": p50 * 2, "p99_ms": p50 * 3},
        "cpu_us_per_transaction": {"application": 100.0, "node": 150.0, "generator": 30.0},
        "cpu_cores": {"application": 0.5, "node": 0.7, "generator": 0.1},
        "tx_bytes": {"mean": 314, "least": 313, "most": 314},
        "sizes": [(313, 2), (314, 1)],
        "pressure": {"connections": connections},
    }


def test_the_applications_take_turns_so_that_drift_hits_both() -> None:
    order = [(str(point.application), pair) for point, pair in throughput.planned(options())]
    assert order == [("fedledger", 1), ("kvstore", 1), ("fedledger", 2), ("kvstore", 2)]


def test_the_kvstore_is_given_the_sizes_that_fedledger_sent() -> None:
    point = Point(Application.KVSTORE, Workload.CHEAPEST, 1, Timeouts.FAST)
    assert throughput.sizes_for(point, [done("fedledger")]) == [313, 313, 314]
    assert throughput.sizes_for(point, [done("fedledger", validators=4)]) == []
    assert throughput.sizes_for(point, [done("fedledger", connections=8)]) == []
    assert throughput.compact([314, 313, 313]) == [(313, 2), (314, 1)]


def test_a_run_that_is_kept_is_not_repeated(tmp_path, monkeypatch) -> None:
    measured = []

    async def run(point, _pressure, sizes):
        measured.append(point.application)
        sizes[:] = [314]
        return done(point.application.value, per_second=1.0)

    path = tmp_path / "throughput.json"
    path.write_text(json.dumps({"runs": [done("fedledger"), done("kvstore")]}))
    monkeypatch.setattr(throughput, "run", run)
    monkeypatch.setattr(record, "machine", dict)
    arguments = ["throughput", "--pairs", "2", "--validators", "1", "--profiles", "fast", "--workloads", "cheapest"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--output", str(path)])
    assert throughput.main() == 0
    assert measured == [Application.FEDLEDGER, Application.KVSTORE]
    kept = json.loads(path.read_text())["runs"]
    assert [(run["application"], run["pair"]) for run in kept] == [
        ("fedledger", 1), ("kvstore", 1), ("fedledger", 1), ("kvstore", 1),
    ]  # fmt: skip


def test_a_run_that_fails_is_left_to_the_next_call_and_the_others_go_on(tmp_path: Path, monkeypatch) -> None:
    async def run(point: Point, _pressure: Any, sizes: list[int]) -> dict[str, Any]:
        if point.validators == 1:
            raise TimeoutError
        sizes[:] = [314]
        return done(point.application.value, validators=4)

    path = tmp_path / "throughput.json"
    monkeypatch.setattr(throughput, "run", run)
    monkeypatch.setattr(record, "machine", dict)
    monkeypatch.setattr(
        sys,
        "argv",
        ["t", "--pairs", "1", "--profiles", "fast", "--workloads", "cheapest", "--output", str(path)],
    )
    assert throughput.main() == 1
    assert [run["validators"] for run in json.loads(path.read_text())["runs"]] == [4, 4]


def test_ratios_are_taken_pair_by_pair_and_their_median_is_held_to_the_aim() -> None:
    runs = [
        done("fedledger", 1, 600.0, 13.0), done("kvstore", 1, 1000.0, 10.0),
        done("fedledger", 2, 1400.0, 10.0), done("kvstore", 2, 2000.0, 10.0),
        done("fedledger", 3, 9000.0),
    ]  # fmt: skip
    text = tables.throughput(runs)
    assert "600, 1,400" in text, "every value is shown, and half a pair is none"
    assert "**0.65** | ≥ 0.5: met" in text
    assert "**1.15** | ≤ 1.3: met" in tables.latency(runs)
    missed = tables.throughput(
        [done("fedledger", workload=CROWDED, per_second=300.0), done("kvstore", workload=CROWDED)]
    )
    assert "**0.30** | ≥ 0.35: missed" in missed


def test_runs_of_different_numbers_of_connections_are_not_compared() -> None:
    runs = [
        done("fedledger", per_second=500.0), done("kvstore", per_second=1000.0),
        done("fedledger", per_second=900.0, connections=256), done("kvstore", per_second=1000.0, connections=256),
    ]  # fmt: skip
    text = tables.throughput(runs)
    assert "| 64 | 500 | 1,000 | **0.50**" in text
    assert "| 256 | 900 | 1,000 | **0.90**" in text


def test_a_contribution_step_is_the_mean_of_its_kinds_and_held_to_the_aim() -> None:
    kinds = {kind: {"verifications": value} for kind, value in (("reserve", 5.0), ("commit", 2.5))}
    calm, cheap = {"kinds": {"one": {"verifications": 9.0}}}, {"kinds": {"cheapest": {"verifications": 2.6}}}
    text = tables.stage_aims({
        CROWDED: {**calm, "pressed": {"kinds": kinds}}, "cheapest": {**calm, "pressed": cheap},
    })  # fmt: skip
    assert "| 9.0 | 3.8 | ≤ 4: met |" in text
    assert "| 9.0 | 2.6 | ≤ 2.5: missed |" in text


def test_the_papers_latency_is_compared_at_its_own_block_interval_only() -> None:
    slow = [done("fedledger", p50=340.0, profile="consortium"), done("kvstore", p50=300.0, profile="consortium")]
    assert "≤ 335: missed" in tables.latency(slow)
    assert "335" not in tables.latency([done("fedledger"), done("kvstore")])


def test_what_is_not_measured_yet_is_said_to_be_missing(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    assert set(tables.blocks().values()) == {tables.MISSING}


def test_the_page_has_a_place_for_every_table() -> None:
    gen_docs.render(gen_docs.BENCHMARKS.read_text(encoding="utf-8"), tables.blocks())  # Raises MarkersDiffer.
