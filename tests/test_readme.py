"""What the README says is run: its commands, its Python names; and the files that the documents name exist."""

import re
import subprocess
from pathlib import Path

import pytest

import fedledger

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
# The end-to-end suite runs the demo itself; here it is only held to be the command that the Makefile has.
ELSEWHERE = ["make demo"]


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in ELSEWHERE])
def test_a_command_of_the_readme_works(command: str) -> None:
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_demo_is_what_the_makefile_runs() -> None:
    assert set(ELSEWHERE) <= set(COMMANDS)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^demo:.*\n(\t.*\n)*\t@\$\(PY\) -m examples\.demo \$\(ARGS\)$", makefile, re.MULTILINE)


def test_the_python_names_in_the_readme_exist() -> None:
    names = set(re.findall(r"\bfl\.([A-Za-z_]+)", README))
    assert {"connect", "Trainer"} <= names
    for name in names:
        getattr(fedledger, name)


def test_the_files_that_the_documents_link_to_exist() -> None:
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    links = [
        (document, target)
        for document in documents
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    ]
    missing = [
        f"{document.relative_to(ROOT)} → {target}"
        for document, target in links
        if not (document.parent / target).exists()
    ]
    assert not missing


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_the_paths_that_a_document_names_exist(name: str) -> None:
    """Between backticks: what begins with a folder of this repository, or is a file at its root. ``<name>`` is open."""
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    text = re.sub(r"```.*?```", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.DOTALL)
    named = re.findall(r"`([\w.*/-]+)`", text)
    paths = [
        path
        for path in named
        if (path.split("/")[0] in folders and "/" in path) or re.fullmatch(r"[A-Za-z]\w*\.\w{2,4}", path)
    ]
    assert len(paths) > 3
    assert not [path for path in paths if not list(ROOT.glob(path.rstrip("/")))]
