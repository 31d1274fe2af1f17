"""A clone to set up, and programs that only tell a version."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.setup.command import ROOT
from scripts.setup.pins import Clone

MakeProgram = Callable[[str, str], Path]


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """The files that decide about set-up, in a folder where nothing has been set up yet."""
    root = tmp_path / "clone"
    shutil.copytree(ROOT / "requirements", root / "requirements")
    shutil.copytree(ROOT / "scripts" / "toolchain", root / "scripts" / "toolchain")
    shutil.copy(ROOT / "pyproject.toml", root)
    return Clone(root)


@pytest.fixture
def make_program(tmp_path: Path) -> MakeProgram:
    """Make a program of a given name that answers every question with the same line."""

    def make(name: str, answer: str) -> Path:
        path = tmp_path / "programs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\necho '{answer}'\n")
        path.chmod(0o755)
        return path

    return make
