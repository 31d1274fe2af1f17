"""The seeds of continuous integration, and what a seed promises: the same run from its number alone, everywhere."""

import copy
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from campaigns.simulation.__main__ import main
from campaigns.simulation.checkers import CHECKERS
from campaigns.simulation.plant import ANOTHER_INTERPRETER
from campaigns.simulation.planted import PLANTS
from campaigns.simulation.seeds import BLOCKS_MIN, CI_SEEDS, SeedFailed, simulate
from tests import effort

ROOT = Path(__file__).parents[3]
SEEDS_TOGETHER = 20
# What twenty seeds come by many times, so that a workload which has dried up is noticed.
REACHED = (
    *("crashes: decided", "crashes: executing", "crashes: executed", "crashes: committing", "crashes: durable"),
    *("crashes: committed", "crashes in a start or replay", "replays from genesis", "rounds lost"),
    *("byzantine proposals: refused", "byzantine proposals: replays", "byzantine proposals rejected"),
    *("event: contributions/committed", "event: ballots/attested", "event: ballots/set-agreed"),
    *("event: ballots/sealed", "event: ballots/opened", "event: ballots/round-decided", "event: rounds/round-voided"),
    *("event: lineage/version-decided promoted", "event: tasks/task-left", "phases that lapsed"),
    *("event: identity/key-revoked", "event: governance/proposal-decided failed", "result: 7 REPLAYED"),
    "event: reputation/reputation-changed",
    *("event: validators/validator-admitted", "event: validators/validator-removed"),
)
FRESH_SEEDS = (3, 8, 19)  # One replica on LMDB; a replay from genesis; all replicas on LMDB.
ENVIRONMENTS = (
    {"PYTHONHASHSEED": "1", "LC_ALL": "C", "TZ": "UTC"},
    {"PYTHONHASHSEED": "4711", "LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu"},
)


@pytest.mark.parametrize("first", range(0, effort.examples(CI_SEEDS), SEEDS_TOGETHER))
def test_every_replica_agrees_and_every_invariant_holds_on_the_seeds_of_ci(first: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(first, first + SEEDS_TOGETHER):
        seen += simulate(seed).counts
    assert seen["checks"] > SEEDS_TOGETHER * BLOCKS_MIN * len(CHECKERS)
    assert not [name for name in REACHED if not seen[name]], "the seeds do not reach what they are there for"


def run(seed: int, environment: dict[str, str], *others: str) -> str:
    """The log of a seed in a fresh interpreter."""
    command = [sys.executable, "-m", "campaigns.simulation", "--seed", str(seed), *others]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("seed", FRESH_SEEDS)
def test_a_seed_has_the_same_log_in_interpreters_of_other_hash_seeds_locales_and_time_zones(seed: int) -> None:
    report = simulate(seed)
    for environment in ENVIRONMENTS:
        assert run(seed, environment).splitlines() == [*report.log, report.digest]


def test_state_in_the_order_of_a_set_is_noticed_by_another_interpreter() -> None:
    """All replicas of one process order a set alike: only another hash seed shows it."""
    plant = PLANTS["set-order"]
    assert plant.noticed_by == ANOTHER_INTERPRETER
    logs = [run(FRESH_SEEDS[0], environment, "--plant", "set-order") for environment in ENVIRONMENTS]
    assert logs[0] != logs[1]


def test_a_failing_seed_says_how_to_repeat_it_and_fails_again_in_the_same_way(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with PLANTS["forgotten-write"].installed():
        with pytest.raises(SeedFailed) as failed:
            simulate(0)
        with pytest.raises(SeedFailed) as again:
            simulate(0)
        assert main(["--seed", "0"]) == 1
    assert "repeat it: python -m campaigns.simulation --seed 0" in str(failed.value)
    assert str(again.value) == str(failed.value)
    assert str(failed.value) in capsys.readouterr().err


def test_a_seed_that_fails_in_another_process_is_told_as_one_that_fails_here() -> None:
    failed = SeedFailed(7, "who pays: somebody else", ["a block", "another"], 1)
    told = copy.copy(failed)  # Asks what a pool of processes asks: of what to make it again.
    assert (told.seed, told.why, str(told)) == (7, failed.why, str(failed))


def test_the_report_counts_seeds_blocks_crashes_and_outcomes(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    assert main(["--seeds", "3", "--first", "7", "--blocks", "9", "--report", str(target)]) == 0
    report = json.loads(target.read_text())
    assert report["seeds"] == {"first": 7, "count": 3, "failed": []}
    assert report["blocks"] == 27
    assert sum(report["crashes"].values()) > 0
    assert report["counts"]["checks"] == 27 * len(report["invariants"]) == 27 * len(CHECKERS)
    decided, events = report["transactions"]["decided"], report["events"]
    assert decided["0 ACCEPTED"] >= events["identity/key-added"] > 0
