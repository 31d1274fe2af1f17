"""The commands that a person types: set-up, the menu, and the run that every change must pass."""

import ast
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.setup import command
from scripts.setup.command import ROOT
from scripts.setup.pins import Clone

Run = Callable[[str], subprocess.CompletedProcess[str]]


def test_an_old_python_reads_as_far_as_the_refusal() -> None:
    ast.parse((ROOT / "scripts" / "setup" / "__main__.py").read_text(), feature_version=(3, 7))
    ast.parse((ROOT / "scripts" / "setup" / "__init__.py").read_text(), feature_version=(3, 7))


def test_an_old_python_is_refused_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    with pytest.raises(SystemExit, match=r"needs Python 3\.11 or newer.*is 3\.9(?s:.*)make setup PYTHON="):
        runpy.run_module("scripts.setup", run_name="__main__")


def test_a_check_changes_nothing(
    clone: Clone, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "ROOT", clone.root)
    before = sorted(clone.root.rglob("*"))
    assert command.main(["--check"]) == 0
    shown = capsys.readouterr().out
    for part in ("this machine", "to do", "CometBFT", "Kubo", "to download", "of disk", "min on two cores", "logs in"):
        assert part in shown
    assert sorted(clone.root.rglob("*")) == before


def test_a_wrong_binary_stops_set_up_before_it_changes_anything(
    clone: Clone, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "ROOT", clone.root)
    monkeypatch.setenv("COMETBFT_BIN", str(tmp_path / "nowhere"))
    before = sorted(clone.root.rglob("*"))
    assert command.main([]) == 1
    assert "COMETBFT_BIN" in capsys.readouterr().out
    assert sorted(clone.root.rglob("*")) == before


def test_the_menu_has_a_line_for_every_target() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    [targets] = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in targets.split():
        assert re.search(rf"^  make {target} +\S", shown, re.MULTILINE), target


@pytest.fixture
def run_with_make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run .ci/run from a copy, with a `make` that only fails for one target."""

    def run(failing: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / ".ci").mkdir()
        shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
        programs = tmp_path / "programs"
        programs.mkdir()
        (programs / "make").write_text(f'#!/bin/sh\necho "making $1"\n[ "$1" != {failing} ]\n')
        (programs / "make").chmod(0o755)
        monkeypatch.setenv("PATH", str(programs), prepend=":")
        return subprocess.run(["bash", ".ci/run"], cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize(("target", "made"), [("lint", 1), ("types", 2), ("train-deps", 3), ("test", 4)])
def test_the_run_fails_when_one_stage_fails_and_names_it(run_with_make: Run, target: str, made: int) -> None:
    ran = run_with_make(target)
    assert ran.returncode != 0
    stage = "setup" if target == "train-deps" else target
    assert re.findall(r"FAILED in stage (\S*)", ran.stdout) == [stage]
    assert ran.stdout.count("making") == made


def test_the_run_passes_when_every_stage_passes_and_shows_their_times(run_with_make: Run) -> None:
    ran = run_with_make("nothing")
    assert ran.returncode == 0
    for stage in ("lint", "types", "setup", "test", "total"):
        assert re.search(rf"^{stage} +\d+ s$", ran.stdout, re.MULTILINE), stage


@pytest.mark.parametrize(
    ("failing", "last"),
    [
        ("", "make test: passed, unit and e2e"),
        ("[not e2e]", "make test: FAILED in: unit"),
        ("[e2e]", "make test: FAILED in: e2e"),
        ("[not e2e] [e2e]", "make test: FAILED in: unit e2e"),
    ],
    ids=["neither", "unit", "e2e", "both"],
)
def test_make_test_runs_both_stages_and_its_last_line_says_which_failed(
    tmp_path: Path, failing: str, last: str
) -> None:
    fake = tmp_path / "python"
    fake.write_text(f'#!/bin/sh\necho "tested $4"\ncase "{failing}" in *"[$4]"*) exit 1 ;; esac\n')
    fake.chmod(0o755)
    command = ["make", "--no-print-directory", "test", f"PY={fake}", "PYTHON=true", "TRAIN=yes"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert re.findall("^tested (.*)$", ran.stdout, re.MULTILINE) == ["not e2e", "e2e"]
    assert ran.stdout.splitlines()[-1] == last
    assert (ran.returncode == 0) is (not failing)
