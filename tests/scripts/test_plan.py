"""The plan holds what is left to do, and asks the machine only about that."""

import importlib.util
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from scripts.setup import python_env
from scripts.setup.machine import Fitness, check_disk, check_go, check_python, show_size
from scripts.setup.pins import Clone, show_version
from scripts.setup.plan import Plan, look_around, make_plan
from scripts.setup.stages import Stage
from tests.scripts.conftest import MakeProgram


def names(stages: tuple[Stage, ...]) -> list[str]:
    return [stage.name for stage in stages]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with neither uv nor Go."""
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))


@pytest.fixture
def equipped(monkeypatch: pytest.MonkeyPatch, make_program: MakeProgram) -> None:
    """A machine with a new enough uv and Go, and nothing else."""
    make_program("uv", "uv 0.13.9")
    monkeypatch.setenv("PATH", str(make_program("go", "go1.99.0").parent))


@pytest.mark.usefixtures("bare")
def test_a_bare_machine_gets_its_installer_and_its_compiler(clone: Clone) -> None:
    plan = make_plan(clone, clone.go_tools, {}, with_train=True)
    assert names(plan.installer) == ["uv"]
    assert names(plan.python) == ["python", "torch"]
    assert names(plan.go) == ["go", "cometbft", "kubo"]


@pytest.mark.usefixtures("equipped")
def test_what_the_machine_has_is_used(clone: Clone) -> None:
    plan = make_plan(clone, clone.go_tools, {}, with_train=False)
    assert names(plan.stages()) == ["python", "cometbft", "kubo"]


@pytest.mark.parametrize(("uv", "go"), [("uv 0.7.22", "go1.99.0"), ("uv 0.13.9", "go1.26.4"), ("error", "error")])
def test_tools_that_are_too_old_count_as_absent(
    clone: Clone, make_program: MakeProgram, monkeypatch: pytest.MonkeyPatch, uv: str, go: str
) -> None:
    make_program("uv", uv)
    monkeypatch.setenv("PATH", str(make_program("go", go).parent))
    plan = make_plan(clone, clone.go_tools, {}, with_train=False)
    assert ("uv" in names(plan.installer)) == (uv != "uv 0.13.9")
    assert ("go" in names(plan.go)) == (go != "go1.99.0")


@pytest.mark.usefixtures("bare")
def test_lint_and_types_need_no_nodes(clone: Clone) -> None:
    plan = make_plan(clone, (), {}, with_train=False)
    assert names(plan.stages()) == ["uv", "python"]


@pytest.mark.usefixtures("bare")
def test_named_binaries_need_no_compiler(clone: Clone, make_program: MakeProgram) -> None:
    environment = {tool.variable: str(make_program(tool.binary, show_version(tool.version))) for tool in clone.go_tools}
    plan = make_plan(clone, clone.go_tools, environment, with_train=False)
    assert names(plan.go) == ["cometbft", "kubo"]
    assert all("your own" in stage.purpose for stage in plan.go)


@pytest.mark.usefixtures("bare")
def test_nothing_is_asked_of_a_machine_where_all_is_done(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    for stage in make_plan(clone, clone.go_tools, {}, with_train=True).stages():
        for product in stage.stamp.products:
            product.parent.mkdir(parents=True, exist_ok=True)
            product.touch()
        stage.stamp.write()
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a program was started"))
    assert make_plan(clone, clone.go_tools, {}, with_train=True) == Plan()


@pytest.mark.usefixtures("equipped")
def test_checking_style_does_not_reinstall_the_project(clone: Clone) -> None:
    def key() -> str:
        return python_env.python_stage(clone).stamp.key

    before = key()
    pyproject = clone.root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text() + "\n[tool.other]\nsetting = 1\n")
    assert key() == before
    pyproject.write_text(pyproject.read_text().replace('version = "0.1.0"', 'version = "0.2.0"'))
    assert key() != before


@pytest.mark.usefixtures("equipped")
@pytest.mark.parametrize(
    ("machine", "python", "stages"),
    [
        (("Linux", "x86_64"), (3, 11, 7), ["python", "fuzz"]),
        (("Linux", "aarch64"), (3, 11, 7), ["python"]),
        (("Darwin", "x86_64"), (3, 11, 7), ["python"]),
        (("Linux", "x86_64"), (3, 14, 0), ["python"]),
    ],
)
def test_atheris_is_installed_where_it_has_wheels_and_missed_nowhere(
    clone: Clone, monkeypatch: pytest.MonkeyPatch, machine: tuple[str, str], python: tuple[int, ...], stages: list[str]
) -> None:
    monkeypatch.setattr(platform, "system", lambda: machine[0])
    monkeypatch.setattr(platform, "machine", lambda: machine[1])
    monkeypatch.setattr(sys, "version_info", python)
    assert names(make_plan(clone, (), {}, with_train=False, with_fuzz=True).python) == stages


@pytest.mark.usefixtures("bare")
def test_a_full_disk_is_said_before_anything_is_downloaded(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 9 * 10**8, 10**8))
    plan = make_plan(clone, clone.go_tools, {}, with_train=False)
    lacking = [finding for finding in look_around(clone, plan) if finding.verdict is Fitness.MISSING]
    assert [finding.subject for finding in lacking] == ["disk"]
    assert "100 MB free" in lacking[0].detail
    assert lacking[0].remedy


def test_needs_on_one_file_system_are_added_up(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    assert check_disk([(tmp_path / "a", free // 4), (tmp_path / "b", free // 4)]).verdict is Fitness.OK
    assert check_disk([(tmp_path / "a", free // 4), (tmp_path / "b", free)]).verdict is Fitness.MISSING


def test_a_python_without_ensurepip_needs_uv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert check_python(None).verdict is Fitness.MISSING
    assert "python3-venv" in check_python(None).remedy
    assert check_python(tmp_path / "uv").verdict is Fitness.OK


def test_a_processor_without_a_packaged_go_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert check_go(None, (1, 26, 5)).verdict is Fitness.MISSING
    assert check_go((Path("go"), (1, 26, 8)), (1, 26, 5)).verdict is Fitness.OK


def test_an_environment_is_adopted_only_where_it_was_made(tmp_path: Path) -> None:
    made = tmp_path / "here" / ".venv"
    venv.create(made)
    assert python_env.is_usable(made)
    moved = made.parent.rename(tmp_path / "there") / ".venv"
    assert not python_env.is_usable(moved)
    assert not python_env.is_usable(made)


@pytest.mark.parametrize(("size", "text"), [(0, "0 MB"), (350_000_000, "350 MB"), (4_640_000_000, "4.6 GB")])
def test_sizes_are_written_as_people_say_them(size: int, text: str) -> None:
    assert show_size(size) == text
