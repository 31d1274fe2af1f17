"""Stages are done once, resumed when cut short, and the first failure stops every lane."""

import io
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.setup.screen import Screen
from scripts.setup.stages import Cost, Shell, Stage, StageFailed, exclusive, run_lanes
from scripts.setup.stamps import Stamp


@pytest.fixture
def screen() -> Screen:
    return Screen(io.StringIO())


def make_stage(folder: Path, name: str, perform: Callable[[Shell], None], *products: Path) -> Stage:
    return Stage(name, f"the {name}", Stamp(folder / f"{name}.stamp", name, products), Cost(0, 0, 1), perform, "a hint")


def python(code: str) -> tuple[str, str, str]:
    return (sys.executable, "-c", code)


def test_a_finished_stage_is_not_done_again(tmp_path: Path, screen: Screen) -> None:
    done: list[str] = []
    stage = make_stage(tmp_path, "one", lambda shell: done.append(shell.stage.name))
    for _ in range(2):
        run_lanes([[stage]], tmp_path, tmp_path / "logs", screen)
    assert done == ["one"]


def test_what_came_before_a_failure_stays_done(tmp_path: Path, screen: Screen) -> None:
    done: list[str] = []
    fine = make_stage(tmp_path, "fine", lambda shell: done.append("fine"))
    broken = make_stage(tmp_path, "broken", lambda shell: shell.run(*python("raise SystemExit('no space left')")))
    for _ in range(2):
        with pytest.raises(StageFailed, match="ended with code 1"):
            run_lanes([[fine, broken]], tmp_path, tmp_path / "logs", screen)
    assert done == ["fine"]


def test_a_failure_shows_the_end_of_its_log_and_what_to_do(tmp_path: Path, screen: Screen) -> None:
    broken = make_stage(tmp_path, "broken", lambda shell: shell.run(*python("raise SystemExit('no space left')")))
    with pytest.raises(StageFailed) as caught:
        run_lanes([[broken]], tmp_path, tmp_path / "logs", screen)
    screen.failure(caught.value)
    assert isinstance(screen.stream, io.StringIO)
    shown = screen.stream.getvalue()
    for part in ("FAILED broken", "| no space left", str(tmp_path / "logs" / "broken.log"), "a hint", "resumes"):
        assert part in shown


def test_a_program_that_is_not_there_is_a_failure_of_its_stage(tmp_path: Path, screen: Screen) -> None:
    broken = make_stage(tmp_path, "broken", lambda shell: shell.run(tmp_path / "nothing"))
    with pytest.raises(StageFailed, match="cannot start"):
        run_lanes([[broken]], tmp_path, tmp_path / "logs", screen)


def test_a_stage_that_makes_nothing_is_a_failure(tmp_path: Path, screen: Screen) -> None:
    idle = make_stage(tmp_path, "idle", lambda shell: None, tmp_path / "product")
    with pytest.raises(StageFailed, match="without making"):
        run_lanes([[idle]], tmp_path, tmp_path / "logs", screen)


def test_a_stage_cut_short_loses_the_stamp_of_its_former_result(tmp_path: Path, screen: Screen) -> None:
    fails = False

    def perform(shell: Shell) -> None:
        if fails:
            raise shell.failure("cut short")

    before = make_stage(tmp_path, "one", perform)
    run_lanes([[before]], tmp_path, tmp_path / "logs", screen)
    fails = True
    after = Stage("one", "the one", Stamp(before.stamp.path, "other inputs", ()), Cost(0, 0, 1), perform)
    with pytest.raises(StageFailed, match="cut short"):
        run_lanes([[after]], tmp_path, tmp_path / "logs", screen)
    assert not before.stamp.stands()


def test_a_failure_in_one_lane_ends_the_command_of_the_other(tmp_path: Path, screen: Screen) -> None:
    marker = tmp_path / "running"
    ended: list[str] = []

    def sleep(shell: Shell) -> None:
        try:
            shell.run(*python(f"import pathlib, time; pathlib.Path({str(marker)!r}).touch(); time.sleep(50)"))
        finally:
            ended.append("sleeper")

    def fail_once_the_other_runs(shell: Shell) -> None:
        while not marker.exists():
            threading.Event().wait(0.01)
        raise shell.failure("on purpose")

    sleeper, failing = make_stage(tmp_path, "sleeper", sleep), make_stage(tmp_path, "failing", fail_once_the_other_runs)
    with pytest.raises(StageFailed, match="on purpose"):
        run_lanes([[sleeper], [failing]], tmp_path, tmp_path / "logs", screen)
    assert ended == ["sleeper"]
    assert not sleeper.stamp.stands()


def test_a_command_sees_the_variables_of_its_stage(tmp_path: Path, screen: Screen) -> None:
    show = python("import os; print(os.environ['CGO_ENABLED'])")
    stage = make_stage(tmp_path, "one", lambda shell: shell.run(*show, set_variables={"CGO_ENABLED": "0"}))
    run_lanes([[stage]], tmp_path, tmp_path / "logs", screen)
    assert (tmp_path / "logs" / "one.log").read_text().splitlines()[-1] == "0"


def test_two_set_ups_of_one_clone_take_turns(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    code = (
        "import pathlib, sys; from scripts.setup.stages import exclusive\n"
        "with exclusive(pathlib.Path(sys.argv[1]), lambda: print('waiting', flush=True)): print('mine', flush=True)"
    )
    root = Path(__file__).resolve().parents[2]
    with exclusive(lock, lambda: pytest.fail("nobody else holds the lock")):
        other = subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE, text=True, cwd=root)
        assert other.stdout is not None
        assert other.stdout.readline() == "waiting\n"
    with other:
        assert other.stdout.read() == "mine\n"
    assert other.returncode == 0
