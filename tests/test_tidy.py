"""The house rules, held over the repository; and each rule held over a planted violation."""

import ast
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from contracts.registry import RULES
from scripts import gen_docs
from scripts.structure import arrows, sources
from scripts.structure.shape import Shape
from tests import tidy
from tests.tidy import ROOT, Violation

SOURCES = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in tidy.files(".py")}
PACKAGES = (*arrows.OURS, "fedledger.py")
TREES = {path: ast.parse(source) for path, source in SOURCES.items()}
MODULES = sources.modules_of({path: text for path, text in SOURCES.items() if path.split("/")[0] in PACKAGES})
CORE = [path for path in TREES if path.startswith("contracts/")]
VECTORS = sorted((ROOT / "tests" / "vectors").glob("*/*.json"))


def none(violations: Iterable[Violation]) -> None:
    found = [str(violation) for violation in violations]
    assert not found, "\n" + "\n".join(found)


# --- the repository ---


def test_packages_import_only_in_the_direction_of_the_arrows() -> None:
    none(found for path, tree in TREES.items() for found in tidy.broken_arrows(tree, path))


def test_every_arrow_that_is_allowed_is_drawn() -> None:
    assert Shape(MODULES).unused() == [], "take it out of scripts/structure/arrows.py"


def test_a_row_of_the_arrows_names_only_rows_above_it() -> None:
    rows = list(arrows.ARROWS)
    for place, targets in enumerate(arrows.ARROWS.values()):
        assert set(targets) <= set(rows[:place])


def test_imports_are_relative_inside_a_package_and_absolute_across() -> None:
    none(found for path, tree in TREES.items() for found in tidy.crooked_imports(tree, path))


def test_nothing_imports_itself_in_a_circle() -> None:
    none(tidy.circular_imports(MODULES))


def test_the_core_imports_nothing_that_could_differ_between_machines() -> None:
    none(found for path in CORE for found in tidy.foreign_imports(TREES[path], path))


def test_the_core_says_nothing_that_could_differ_between_replicas() -> None:
    none(found for path in CORE for found in tidy.indeterminate(TREES[path], path))


def test_files_functions_and_lines_stay_within_their_bounds() -> None:
    none(found for path, tree in TREES.items() for found in tidy.oversized(SOURCES[path], tree, path))


def test_no_seed_is_seen_outside_the_keyring() -> None:
    none(found for path, tree in TREES.items() for found in tidy.seeds_seen(tree, path))
    assert planted(tidy.seeds_seen, "crypto.sign(key.seed, b'')", "cli/nouns/key.py") == ["a key's seed"]
    assert planted(tidy.seeds_seen, "crypto.sign(self.seed, b'')", "client_sdk/secrets/keys.py") == []


def test_nothing_has_a_name_that_says_nothing() -> None:
    none(found for path, tree in TREES.items() for found in tidy.vague(tree, path))


def test_every_module_says_what_it_holds() -> None:
    none(found for path, tree in TREES.items() for found in tidy.undocumented(tree, path))


def test_nobody_is_shown_the_raw_text_of_a_system_error() -> None:
    none(found for path, tree in TREES.items() for found in tidy.raw_system_errors(tree, path))


def test_what_a_docstring_says_is_raised_is_there() -> None:
    known = tidy.classes(TREES)
    none(found for path, tree in TREES.items() for found in tidy.unknown_raises(tree, path, known))


def test_no_committed_file_names_a_package_index_or_a_path_of_one_machine() -> None:
    paths = [*tidy.files(*tidy.TEXT), ROOT / "Makefile"]
    texts = ((str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in paths)
    none(found for path, text in texts for found in tidy.addresses(text, path))


# --- vectors and docs ---


def test_every_error_code_has_a_negative_vector() -> None:
    shown = {json.loads(path.read_text()).get("code") for path in VECTORS}
    missing = [f"{code} {kind.__name__}" for code, kind in sorted(RULES.refusals.items()) if code not in shown]
    assert not missing, "write a test marked `vectors` for each, named for the sin"


def test_every_vector_is_written_by_a_test_that_still_exists() -> None:
    claims = {
        f"{Path(path).stem.removeprefix('test_')}/{node.name.removeprefix('test_')}"
        for path, tree in TREES.items()
        if path.startswith("tests/contracts/")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and any("mark.vectors" in ast.unparse(mark) for mark in node.decorator_list)
    }
    written = {f"{path.parent.name}/{path.stem}" for path in VECTORS if path.parent.name != "setup"}
    assert written == claims, "delete tests/vectors and run `make vectors`"


def test_vector_files_stay_small() -> None:
    large = [f"{path.name}: {path.stat().st_size}" for path in VECTORS if path.stat().st_size > 30_000]
    assert not large, "start from a later stage of campaigns/harness/consortium.py"


def test_the_tables_in_the_docs_are_current() -> None:
    assert gen_docs.stale() == [], "run `make docs`"


# --- the rules themselves ---


def planted(check: Callable[..., Iterable[Violation]], source: str, path: str) -> list[str]:
    return [violation.rule for violation in check(ast.parse(source), path)]


@pytest.mark.parametrize(
    ("path", "source", "rule"),
    [
        ("contracts/rounds.py", "import abci_app", "contracts imports abci_app"),
        ("contracts/rounds.py", "from learning import fixed", "contracts imports learning"),
        ("learning/fixed.py", "import contracts.kernel", "learning imports contracts"),
        ("abci_app/protocol/server.py", "from client_sdk.secrets.keys import Key", "abci_app imports client_sdk"),
        ("client_sdk/secrets/keys.py", "def f():\n    import abci_app.store.interface", "client_sdk imports abci_app"),
        ("client_sdk/secrets/keys.py", "from services.aggregator import round", "client_sdk imports services"),
        ("services/main.py", "import abci_app", "services imports abci_app"),
        ("abci_app/inspection/fsck.py", "def f():\n    from cli import output", "abci_app imports cli"),
        ("devnet/layout.py", "from cli.output import Format", "devnet imports cli"),
        ("abci_app/protocol/server.py", "from tests import chain", "abci_app imports tests"),
        ("campaigns/flood.py", "from tests import real_ledger", "campaigns imports tests"),
        ("campaigns/flood.py", "from cli import main", "campaigns imports cli"),
        ("examples/demo/run.py", "import tests.local_ledger", "examples imports tests"),
        ("examples/demo/run.py", "from campaigns.harness import chain", "examples imports campaigns"),
        ("benchmarks/stages.py", "from tests.real_ledger import Ledger", "benchmarks imports tests"),
        ("scripts/gen_docs.py", "def f():\n    from tests import tidy", "scripts imports tests"),
        ("contracts/identity.py", "from . import governance", "identity imports governance"),
        ("contracts/rounds.py", "from .models import VERSIONS", "rounds imports models"),
        ("contracts/rounds.py", "from contracts.lineage import VERSIONS", "rounds imports lineage"),
        ("contracts/governance.py", "from .registry import HANDLERS", "governance imports registry"),
        ("contracts/kernel/state.py", "from .. import identity", "the kernel imports contracts.identity"),
        ("contracts/kernel/state.py", "from ..identity import KEYS", "the kernel imports contracts.identity"),
        ("contracts/tokens.py", "x = 1", "tokens has no place among the contracts"),
    ],
)
def test_an_import_against_the_arrows_is_found(path: str, source: str, rule: str) -> None:
    assert planted(tidy.broken_arrows, source, path) == [rule]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "contracts/models.py",
            "from . import identity, lineage\nfrom .kernel import View\nfrom .kernel.types import OrgId",
        ),
        ("contracts/kernel/state.py", "from . import codec\nfrom .rules import Record"),
        ("services/main.py", "import client_sdk\nfrom contracts import identity\nimport numpy"),
        ("campaigns/harness/chain.py", "import contracts, abci_app, client_sdk, devnet"),
    ],
)
def test_an_import_along_the_arrows_is_fine(path: str, source: str) -> None:
    assert planted(tidy.broken_arrows, source, path) == []


@pytest.mark.parametrize(
    ("path", "source", "rule"),
    [
        ("learning/robust.py", "import learning.fixed", "learning imports learning.fixed by its whole name"),
        ("cli/app.py", "from cli import output", "cli imports cli by its whole name"),
        ("cli/app.py", "def f():\n    from cli.output import note", "cli imports cli.output by its whole name"),
        (
            "campaigns/fuzz/engine.py",
            "from campaigns.harness import chain",
            "campaigns imports campaigns.harness by its",
        ),
        ("devnet/state.py", "from ..client_sdk import session", "..client_sdk leads out of devnet"),
        ("client_sdk/rpc/client.py", "from ... import contracts", "... leads out of client_sdk"),
    ],
)
def test_an_import_in_the_wrong_form_is_found(path: str, source: str, rule: str) -> None:
    (found,) = planted(tidy.crooked_imports, source, path)
    assert found.startswith(rule)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("client_sdk/rpc/client.py", "from ..light import headers\nfrom contracts.kernel import codec"),
        ("tests/cli/test_help.py", "from tests import local_ledger"),
        ("scripts/setup/plan.py", "from scripts.setup import machine"),
        ("fedledger.py", "import fedledger"),
    ],
)
def test_an_import_in_the_right_form_is_fine(path: str, source: str) -> None:
    assert planted(tidy.crooked_imports, source, path) == []


@pytest.mark.parametrize(
    ("texts", "rule"),
    [
        (
            {"cli/a.py": "import devnet.b", "devnet/b.py": "def f():\n    import cli.a"},
            "packages in a circle: cli, devnet",
        ),
        (
            {"cli/x/a.py": "from ..y import b", "cli/y/b.py": "pass", "cli/y/c.py": "def f():\n    from ..x import a"},
            "rooms in a circle: cli/x, cli/y",
        ),
        (
            {"cli/x/a.py": "from . import b", "cli/x/b.py": "from .c import C", "cli/x/c.py": "from .a import A"},
            "modules in a circle: cli.x.a, cli.x.b, cli.x.c",
        ),
    ],
)
def test_a_circle_is_found(texts: dict[str, str], rule: str) -> None:
    assert [found.rule for found in tidy.circular_imports(sources.modules_of(texts))] == [rule]


def test_two_modules_of_a_room_may_know_each_other_when_one_waits() -> None:
    texts = {"cli/x/a.py": "from . import b", "cli/x/b.py": "def f():\n    from . import a"}
    assert list(tidy.circular_imports(sources.modules_of(texts))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import random",
        "from os import environ",
        "import locale",
        "from datetime import datetime",
        "import secrets",
        "import json",
        "import numpy",
        "def f():\n    import time",
        "import nacl",
        "import cbrrr",
        "import collections",
    ],
)
def test_a_foreign_import_in_the_core_is_found(source: str) -> None:
    (rule,) = planted(tidy.foreign_imports, source, "contracts/rounds.py")
    assert rule.startswith("the core imports ")


def test_each_package_of_the_core_is_used_in_its_one_file() -> None:
    for package, path in tidy.CORE_PACKAGES.items():
        assert planted(tidy.foreign_imports, f"import {package}", path) == []


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("x = 0.5", "the float 0.5"),
        ("x = 1e3", "the float 1000.0"),
        ("x = 2j", "the float 2j"),
        ("x = a / b", "true division"),
        ("x /= 2", "true division"),
        ("x = {a, b}", "a set"),
        ("x = {a for a in b}", "a set"),
        ("x = set(a)", "set()"),
        ("x = frozenset(a)", "frozenset()"),
        ("x = hash(a)", "hash()"),
        ("x = id(a)", "id()"),
        ("x = float(a)", "float()"),
        ("x = round(a)", "round()"),
        ("x = open(a)", "open()"),
        ("x = eval(a)", "eval()"),
        ("x = a.isdigit()", ".isdigit()"),
        ("x = a.casefold()", ".casefold()"),
        ("x = re.compile('a')", "a pattern over Unicode"),
        ("async def f(): pass", "asynchronous code"),
        ("def f():\n    global x", "state outside the state"),
        ("def f(n):\n    return f(n - 1)", "f calls itself"),
    ],
)
def test_an_indeterminate_statement_in_the_core_is_found(source: str, rule: str) -> None:
    assert planted(tidy.indeterminate, source, "contracts/rounds.py") == [rule]


@pytest.mark.parametrize(
    "source", ["x = a // b", "x = {a: b}", "x = re.compile('a', re.ASCII)", "x = 'a / b'", "x = -3"]
)
def test_a_determinate_statement_in_the_core_is_fine(source: str) -> None:
    assert planted(tidy.indeterminate, source, "contracts/rounds.py") == []


def test_what_is_too_long_is_found() -> None:
    long_function = "def f():\n    '''Says what.\n\n    And why.\n    '''\n" + "    x = 1\n" * tidy.FUNCTION_LINES
    cases = {
        "x = 1\n" * (tidy.FILE_LINES + 1): ["501 lines in a file"],
        "x = 1\n" * tidy.FILE_LINES: [],
        "#" * (tidy.LINE_CHARS + 1): ["121 characters in a line"],
        "#" * tidy.LINE_CHARS: [],
        long_function: ["f has 61 lines"],
        long_function.removesuffix("    x = 1\n"): [],
    }
    for source, rules in cases.items():
        assert [found.rule for found in tidy.oversized(source, ast.parse(source), "x.py")] == rules


@pytest.mark.parametrize(
    "path", ["client_sdk/utils.py", "services/common/round.py", "learning/misc.py", "tests/file_helpers.py"]
)
def test_a_name_that_says_nothing_is_found(path: str) -> None:
    assert len(planted(tidy.vague, "x = 1", path)) == 1
    assert planted(tidy.vague, "class KeyManager: pass", "client_sdk/secrets/keys.py") == ["a class called KeyManager"]


def test_a_module_without_a_docstring_is_found_and_an_empty_one_is_not() -> None:
    assert planted(tidy.undocumented, "x = 1", "client_sdk/secrets/keys.py") == ["no docstring"]
    assert planted(tidy.undocumented, "", "tests/__init__.py") == []


@pytest.mark.parametrize(
    ("caught", "shown", "is_raw"),
    [
        ("OSError", "f'{path}: {error}'", True),
        ("(ValueError, OSError)", "str(error)", True),
        ("OSError", "f'{path}: {error.strerror}'", False),
        ("OSError", "why(error)", False),
        ("ValueError", "f'{path}: {error}'", False),
    ],
)
def test_a_raw_system_error_is_found(caught: str, shown: str, is_raw: bool) -> None:
    source = f"try:\n    f()\nexcept {caught} as error:\n    raise Wrong({shown}) from error"
    assert planted(tidy.raw_system_errors, source, "cli/app.py") == ["the raw text of an OSError"] * is_raw
    assert planted(tidy.raw_system_errors, source, "tests/test_tidy.py") == []


@pytest.mark.parametrize(
    ("said", "unknown"),
    [
        ("Raises NodeGone.", ["NodeGone"]),
        ("Raises also NodeGone, NodeError, light.NodeError; else the ledger's UnknownRound.", ["NodeGone", "light."]),
        ("Raises NodeError, errors.NodeError, ValueError or subprocess.CalledProcessError.", []),
        ("Raises OSError for more than 2 MiB, such as a BatchNorm.", []),
    ],
)
def test_a_docstring_that_promises_an_error_that_is_gone_is_found(said: str, unknown: list[str]) -> None:
    known = {"NodeError": {"client_sdk.rpc.errors", "client_sdk.rpc"}, "UnknownRound": {"contracts.rounds"}}
    found = tidy.unknown_raises(ast.parse(f'def f():\n    "Asks.  {said}"'), "cli/app.py", known)
    rules = [violation.rule for violation in found]
    assert len(rules) == len(unknown)
    assert all(rule.startswith(name) for rule, name in zip(rules, unknown, strict=True))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("requirements/base.txt", "numpy @ https://example.org/numpy.whl"),
        ("pyproject.toml", 'index-url = "x"'),
        ("docs/setup.md", f"download it from {tidy.INDEX_HOSTS[0]}"),
        ("docs/setup.md", "see /" + "work/main"),
        ("scripts/x.py", "HOME = '/" + "root/.cache'"),
    ],
)
def test_an_address_is_found(path: str, text: str) -> None:
    assert len(list(tidy.addresses(text, path))) == 1


def test_every_ban_names_its_replacement() -> None:
    for bans in (tidy.BANNED_CALLS, tidy.BANNED_METHODS):
        assert all(instead.strip() for instead in bans.values())
    every = [
        *tidy.broken_arrows(ast.parse("import abci_app"), "contracts/rounds.py"),
        *tidy.foreign_imports(ast.parse("import time"), "contracts/rounds.py"),
        *tidy.indeterminate(ast.parse("x = 1 / 2"), "contracts/rounds.py"),
    ]
    assert all(found.instead and found.instead in str(found) for found in every)
