"""The locked requirements: hashed, free of addresses, and in step with what the project declares."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from scripts.setup.command import ROOT
from scripts.setup.pins import pinned

FOLDER = ROOT / "requirements"
LOCKS = sorted(path.name for path in FOLDER.glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def locked(name: str) -> dict[str, set[str]]:
    """Return the versions that a lock holds for each package; markers may give a package two."""
    found: dict[str, set[str]] = {}
    for package, version in re.findall(r"^([a-z0-9-]+)==([^\s;]+)", (FOLDER / name).read_text(), re.MULTILINE):
        found.setdefault(package, set()).add(version)
    return found


def declared(name: str) -> list[Requirement]:
    """Return the requirements that a lock was made from."""
    extras = PROJECT["optional-dependencies"]
    lines = {
        "base.txt": PROJECT["dependencies"],
        "node.txt": PROJECT["dependencies"] + extras["cli"] + extras["node"],
        "dev.txt": PROJECT["dependencies"]
        + extras["cli"]
        + extras["node"]
        + extras["demo"]
        + [line for raw in (FOLDER / "dev.in").read_text().splitlines() if (line := raw.split("#")[0].strip())],
    }[name]
    return [Requirement(line) for line in lines]


def test_there_is_a_lock_for_each_way_to_install() -> None:
    assert LOCKS == ["base.txt", "dev.txt", "fuzz.txt", "go.txt", "node.txt", "uv.txt"]


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_no_requirements_file_holds_an_address(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_a_hash(name: str) -> None:
    entries = re.split(r"^(?=\S)", (FOLDER / name).read_text(), flags=re.MULTILINE)[1:]
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9-]+==", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


@pytest.mark.parametrize("name", ["base.txt", "node.txt", "dev.txt"])
def test_a_lock_satisfies_what_the_project_declares(name: str) -> None:
    versions = locked(name)
    for requirement in declared(name):
        package = requirement.name.lower()
        assert package in versions, f"{package} is declared and not locked: run `make lock`"
        assert all(version in requirement.specifier for version in versions[package]), requirement


@pytest.mark.parametrize(("smaller", "larger"), [("base.txt", "node.txt"), ("node.txt", "dev.txt")])
def test_one_package_has_one_version_in_every_lock(smaller: str, larger: str) -> None:
    assert locked(smaller).items() <= locked(larger).items()


@pytest.mark.parametrize("package", ["pynacl", "cbrrr"])
def test_what_decides_the_verdict_on_bytes_is_pinned_in_the_project_itself(package: str) -> None:
    [requirement] = [entry for entry in declared("base.txt") if entry.name == package]
    assert [specifier.operator for specifier in requirement.specifier] == ["=="]


def test_the_bare_install_has_no_command_line() -> None:
    assert not {"typer", "rich"} & locked("base.txt").keys()
    assert {"typer", "rich"} <= locked("node.txt").keys()


@pytest.mark.parametrize("name", LOCKS)
def test_torch_is_in_no_lock(name: str) -> None:
    assert not {"torch", "triton"} & locked(name).keys()
    assert not [package for package in locked(name) if package.startswith("nvidia")]


def test_the_pinned_torch_is_one_that_the_train_extra_allows() -> None:
    [requirement] = [Requirement(line) for line in PROJECT["optional-dependencies"]["train"]]
    assert pinned("torch", FOLDER / "train.in") in requirement.specifier
