"""A user's own binary wins when its version is exactly the pinned one, and is refused otherwise."""

import io
import os
from pathlib import Path

import pytest

from scripts.setup.go_tools import adopt_stage, binary, build_stage, check_own_binary
from scripts.setup.machine import Fitness
from scripts.setup.pins import Clone, GoTool, show_version
from scripts.setup.screen import Screen
from scripts.setup.stages import StageFailed, run_lanes
from tests.scripts.conftest import MakeProgram


@pytest.fixture(params=[0, 1], ids=["cometbft", "kubo"])
def tool(request: pytest.FixtureRequest, clone: Clone) -> GoTool:
    return clone.go_tools[request.param]


def test_no_named_binary_is_nothing_to_judge(tool: GoTool) -> None:
    assert check_own_binary(tool, {}) is None
    assert check_own_binary(tool, {tool.variable: ""}) is None


@pytest.mark.parametrize("form", ["{}", "v{}", "{}+deadbeef"])
def test_a_binary_of_the_pinned_version_is_accepted(tool: GoTool, make_program: MakeProgram, form: str) -> None:
    path = make_program("node", form.format(show_version(tool.version)))
    finding = check_own_binary(tool, {tool.variable: str(path)})
    assert finding is not None
    assert finding.verdict is Fitness.OK


@pytest.mark.parametrize("answer", ["0.38.25", "0.1.0", "", "{}-rc1", "{}0", "1{}"])
def test_a_binary_of_any_other_version_is_refused(tool: GoTool, make_program: MakeProgram, answer: str) -> None:
    path = make_program("node", answer.format(show_version(tool.version)))
    finding = check_own_binary(tool, {tool.variable: str(path)})
    assert finding is not None
    assert finding.verdict is Fitness.MISSING
    assert show_version(tool.version) in finding.detail + finding.remedy
    assert tool.variable in finding.remedy


def test_a_named_binary_that_cannot_run_is_refused(tool: GoTool, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("not executable")
    for named in (tmp_path / "nowhere", plain):
        finding = check_own_binary(tool, {tool.variable: str(named)})
        assert finding is not None
        assert finding.verdict is Fitness.MISSING
        assert "no program" in finding.detail


def test_an_accepted_binary_is_what_the_project_finds(clone: Clone, tool: GoTool, make_program: MakeProgram) -> None:
    own = make_program("node", show_version(tool.version))
    stage = adopt_stage(clone, tool, own)
    run_lanes([[stage]], clone.root, clone.logs, Screen(io.StringIO()))
    assert binary(clone, tool).resolve() == own
    assert stage.stamp.stands()


def test_a_binary_replaced_behind_its_name_is_judged_again(
    clone: Clone, tool: GoTool, make_program: MakeProgram
) -> None:
    own = make_program("node", show_version(tool.version))
    run_lanes([[adopt_stage(clone, tool, own)]], clone.root, clone.logs, Screen(io.StringIO()))
    make_program("node", "0.38.25")
    os.utime(own, ns=(0, 0))
    again = adopt_stage(clone, tool, own)
    assert not again.stamp.stands()
    with pytest.raises(StageFailed, match="needs exactly"):
        run_lanes([[again]], clone.root, clone.logs, Screen(io.StringIO()))


def test_adopting_a_binary_leaves_a_compiled_one_to_be_made_again_later(
    clone: Clone, tool: GoTool, make_program: MakeProgram
) -> None:
    own = make_program("node", show_version(tool.version))
    run_lanes([[adopt_stage(clone, tool, own)]], clone.root, clone.logs, Screen(io.StringIO()))
    assert not build_stage(clone, tool).stamp.stands()


def test_a_compiled_binary_of_another_version_is_not_kept(
    clone: Clone, tool: GoTool, make_program: MakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A Go that tells a fine version of itself, and "compiles" a program that tells a wrong one.
    go = make_program("go", "go1.99.0")
    go.write_text(
        '#!/bin/sh\nif [ "$1" = env ]; then echo go1.99.0; exit; fi\n'
        'while [ "$1" != -o ]; do shift; done\nprintf "#!/bin/sh\\necho 9.9.9\\n" > "$2"; chmod +x "$2"\n'
    )
    monkeypatch.setenv("PATH", f"{go.parent}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(StageFailed, match="does not report version"):
        run_lanes([[build_stage(clone, tool)]], clone.root, clone.logs, Screen(io.StringIO()))
    assert not binary(clone, tool).exists()


def test_a_new_pin_calls_for_a_new_build(clone: Clone, tool: GoTool) -> None:
    before = build_stage(clone, tool).stamp.key
    tool.go_sum.write_text(tool.go_sum.read_text() + "\n")
    assert build_stage(clone, tool).stamp.key != before
