"""Every planted bug is noticed within the seeds of continuous integration, by the checker that is there for it."""

import pytest

from campaigns.simulation.plant import ANOTHER_INTERPRETER
from campaigns.simulation.planted import PLANTS
from campaigns.simulation.seeds import CI_SEEDS, SeedFailed, simulate

IN_PROCESS = [name for name, plant in PLANTS.items() if plant.noticed_by != ANOTHER_INTERPRETER]


def first_failure(seeds: range, replicas: int) -> SeedFailed | None:
    for seed in seeds:
        try:
            simulate(seed, replicas)
        except SeedFailed as failed:
            return failed
    return None


@pytest.mark.parametrize("name", IN_PROCESS)
def test_a_planted_bug_is_noticed_by_the_checker_that_is_there_for_it(name: str) -> None:
    with PLANTS[name].installed():
        failed = first_failure(range(CI_SEEDS), PLANTS[name].replicas)
    assert failed is not None, f"no seed noticed: {PLANTS[name].what}"
    assert failed.why.startswith(PLANTS[name].noticed_by)
    assert f"--seed {failed.seed}" in str(failed)
