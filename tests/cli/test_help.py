"""Help: complete, quick, and one spelling for everything."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from campaigns.harness.consortium import LAB
from cli import app, reference

ROOT = Path(__file__).parents[2]
HEAVY = (
    "numpy",
    "aiohttp",
    "torch",
    "sklearn",
    "safetensors",
    "pyrage",
    "cbrrr",
    "nacl",
    "pydantic",
    "rich",
    "lmdb",
    "contracts",
    "abci_app",
)


def commands() -> dict[str, Any]:
    """Every command by what one types for it."""

    def walk(command: Any, ctx: typer.Context) -> Any:
        yield ctx.command_path, command
        for name in command.list_commands(ctx) if hasattr(command, "list_commands") else ():
            below = command.get_command(ctx, name)
            yield from walk(below, typer.Context(below, info_name=name, parent=ctx))

    root = app.command()
    return dict(walk(root, typer.Context(root, info_name="fedledger")))


def verbs() -> dict[str, Any]:
    return {path: command for path, command in commands().items() if not hasattr(command, "list_commands")}


def test_the_promised_commands_are_there():
    promised = {
        "devnet": "up status logs kill restart down",
        "key": "create show enrol revoke report-stolen",
        "org": "enrol show",
        "proposal": "show vote",
        "dataset": "register show",
        "task": "create show join leave",
        "budget": "quote show",
        "participant": "run",
        "round": "list show advance watch",
        "model": "history show fetch rollback",
        "tx": "show",
        "receipt": "export verify",
    }
    wanted = {f"fedledger {noun} {verb}" for noun, each in promised.items() for verb in each.split()}
    assert wanted | {"fedledger explain", "fedledger doctor"} <= verbs().keys()


def test_every_command_says_what_it_does_and_shows_an_example():
    for path, command in verbs().items():
        assert (command.help or "").strip(), path
        assert command.epilog.startswith(f"Example: {path}"), path


def test_every_option_is_explained_and_spelled_with_hyphens():
    for path, command in commands().items():
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{path} {parameter.name}"
            for spelling in (*parameter.opts, *parameter.secondary_opts):
                assert re.fullmatch(r"--[a-z]+(-[a-z]+)*|-V", spelling) or parameter.param_type_name == "argument"
        assert re.fullmatch(r"fedledger( [a-z]+(-[a-z]+)*)*", path)


@pytest.mark.parametrize("path", sorted(verbs()))
def test_the_help_of_every_command_renders(path, run):
    ran = run(*path.split()[1:], "--help")
    assert ran.status == 0
    assert ran.out.startswith(f"Usage: {path}")
    assert ran.err == ""


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["org"], ["org", "--help"], ["model", "fetch", "--help"], ["node", "fsck", "--help"]]
)
def test_help_loads_nothing_heavy(arguments):
    code = (
        "import sys; from cli import main\n"
        f"status = main({arguments!r}); sys.stderr.write(','.join(sorted(sys.modules))); sys.exit(status)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded = {name.partition(".")[0] for name in ran.stderr.split(",")}
    assert "cli" in loaded
    assert not loaded & {*HEAVY}
    assert "Usage: fedledger" in ran.stdout


@pytest.mark.parametrize("missing", ["typer", "rich"])
@pytest.mark.parametrize("arguments", [[], ["--help"], ["key", "show", "--format", "json"], ["--debug"]])
def test_without_its_extra_the_command_line_says_so_in_one_line(missing, arguments):
    code = f"import sys\nsys.modules[{missing!r}] = None\nfrom cli import main\nsys.exit(main({arguments!r}))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr == f"fedledger: {missing} is not installed: the command line needs the extra fedledger[cli]\n"


def test_ls_is_understood_and_not_shown(run, members):
    assert "ls" not in run("round", "--help").out.split()
    assert "UNKNOWN_TASK" in run("round", "ls", "nothing", *members().of(LAB)).err


def test_the_reference_has_every_command_once():
    document = reference.markdown()
    assert document == reference.markdown()
    for path in commands():
        assert document.count(f"# `{path}`\n") == 1
    assert max(map(len, document.splitlines())) <= 130


def test_the_shell_gets_its_completions():
    settings = {"_FEDLEDGER_COMPLETE": "complete_bash", "COMP_WORDS": "fedledger part", "COMP_CWORD": "1"}
    command = [sys.executable, "-m", "cli"]
    ran = subprocess.run(command, env=settings, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ran.stdout.split() == ["participant"]
    assert ran.stderr == ""


def test_the_version_is_told(run):
    for option in ("--version", "-V"):
        ran = run(option)
        assert ran.status == 0
        assert ran.out.startswith("fedledger ")
