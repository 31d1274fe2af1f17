"""The structure as it is read and added up, and the text, figures and picture made of it."""

import json
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from scripts.setup.command import ROOT
from scripts.structure import arrows, layers, picture, report
from scripts.structure.circles import circles
from scripts.structure.shape import Arrow, Package, Room, Shape
from scripts.structure.sources import Import, modules_of, read

TEXTS = {
    "contracts/__init__.py": '"""Rules."""\n',
    "contracts/kernel/codec.py": "import hashlib\n",
    "contracts/rounds.py": "from .kernel import codec\nfrom .kernel.codec import encode\n",
    "client_sdk/client.py": "from contracts import rounds\nif TYPE_CHECKING:\n    import contracts.kernel.codec\n",
    "fedledger.py": "def f():\n    from client_sdk.client import connect\n",
    "tests/test_all.py": "import contracts.rounds, contracts.kernel.codec, client_sdk.client\n" + "\n" * 400,
}
SHAPE = Shape(modules_of(TEXTS))


# --- reading ---


@pytest.mark.parametrize(
    ("path", "source", "found"),
    [
        ("cli/app.py", "import os, cli.nouns.key as k", [("cli.nouns.key", False)]),
        ("cli/app.py", "from .nouns import key, main", [("cli.nouns.key", False), ("cli", False)]),
        ("cli/app.py", "from .nouns.key import KEY, TWICE", [("cli.nouns.key", False)]),
        ("cli/nouns/key.py", "from .. import app", [("cli.app", False)]),
        ("cli/nouns/key.py", "async def f():\n    from ..app import main", [("cli.app", True)]),
        ("cli/app.py", "class A:\n    from .nouns import key", [("cli.nouns.key", False)]),
        ("cli/app.py", "try:\n    from .nouns import key\nexcept ImportError: pass", [("cli.nouns.key", False)]),
        ("cli/app.py", "if typing.TYPE_CHECKING:\n    from .nouns import key", [("cli.nouns.key", True)]),
        ("cli/app.py", "if TYPE_CHECKING: pass\nelse:\n    from .nouns import key", [("cli.nouns.key", False)]),
        ("cli/app.py", "from . import app", []),
    ],
)
def test_an_import_leads_to_the_module_it_means(path: str, source: str, found: list[tuple[str, bool]]) -> None:
    texts = {"cli/__init__.py": "", "cli/app.py": "", "cli/nouns/key.py": "", path: source}
    [module] = [module for module in modules_of(texts) if module.path == path]
    assert [(each.target, each.lazy) for each in module.imports] == found


def test_a_module_knows_its_package_and_its_room() -> None:
    placed = {module.name: (module.package, module.room) for module in SHAPE.modules}
    assert placed["contracts"] == ("contracts", None)
    assert placed["contracts.kernel.codec"] == ("contracts", "kernel")
    assert placed["fedledger"] == ("fedledger", None)


def test_this_repository_is_read_whole() -> None:
    shape = Shape(read(ROOT))
    assert [package.name for package in shape.packages()] == list(arrows.OURS)
    assert len(shape.modules) > 300


# --- circles ---


def test_circles_are_found_and_a_mere_way_is_not_one() -> None:
    graph = {"a": ["b"], "b": ["c", "a"], "c": ["d"], "d": ["e"], "e": ["d", "f"], "g": ["a", "g"]}
    assert circles(graph) == [("a", "b"), ("d", "e")]
    assert circles({"a": ["b", "c"], "b": ["d"], "c": ["d"]}) == []
    assert circles({}) == []


def test_a_circle_may_be_longer_than_a_stack_is_deep() -> None:
    names = [f"m{place:05}" for place in range(5000)]
    assert circles({name: [after] for name, after in pairwise([*names, names[0]])}) == [tuple(names)]


# --- adding up ---


def test_packages_count_their_rooms_modules_and_lines() -> None:
    assert SHAPE.packages()[0] == Package("contracts", 3, 4, (Room("kernel", 1, 1),))
    assert SHAPE.top_level("contracts") == ["kernel", "rounds"]
    assert [module.path for module in SHAPE.large()] == ["tests/test_all.py"]


def test_an_arrow_counts_statements_and_the_lazy_ones_among_them() -> None:
    assert SHAPE.arrows() == [
        Arrow("client_sdk", "contracts", 2, 1),
        Arrow("fedledger", "client_sdk", 1, 1),
        Arrow("tests", "contracts", 1, 0),
        Arrow("tests", "client_sdk", 1, 0),
    ]


def test_arrows_are_compared_with_the_table() -> None:
    shape = Shape(modules_of({"contracts/a.py": "import learning.b", "learning/b.py": "", "client_sdk/c.py": ""}))
    assert shape.forbidden() == [Arrow("contracts", "learning", 1, 0)]
    assert shape.unused() == [("client_sdk", "contracts"), ("client_sdk", "learning")]


def test_a_circle_comes_with_the_statements_that_make_it() -> None:
    texts = {"cli/x/a.py": "from ..y import b\nfrom ..b import q", "cli/y/b.py": "import cli.x.a", "cli/b.py": ""}
    [circle] = Shape(modules_of(texts)).room_circles()
    assert circle.names == ("cli/x", "cli/y")
    assert circle.imports == (Import("cli.x.a", "cli.y.b", 1, False), Import("cli.y.b", "cli.x.a", 1, False))


def test_what_ships_is_what_the_distribution_lists() -> None:
    hatch = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {name.removesuffix(".py") for name in hatch["only-include"]} == {*arrows.SHIPPED, "chain_config"}


# --- showing ---


@pytest.mark.parametrize(
    ("lines", "said"), [(0, 50), (42, 50), (690, 700), (726, 750), (5643, 5600), (9999, 10000), (31274, 31000)]
)
def test_lines_are_rounded_so_that_an_edit_does_not_change_the_documents(lines: int, said: int) -> None:
    assert report.about(lines) == said


def test_the_text_names_every_package_arrow_and_large_module() -> None:
    text = report.text(SHAPE)
    assert "client_sdk -> contracts       2    1 lazy" in text
    assert "  401 tests/test_all.py" in text
    assert "circles among packages\n  none" in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_the_picture_is_well_formed_equal_each_time_and_says_in_words_what_it_shows() -> None:
    drawn = picture.svg(SHAPE)
    assert drawn == picture.svg(Shape(modules_of(TEXTS)))
    root = ET.fromstring(drawn)
    space = "{http://www.w3.org/2000/svg}"
    assert root.findtext(f"{space}title")
    assert "client_sdk imports contracts" in (root.findtext(f"{space}desc") or "")
    names = [text.text for text in root.iter(f"{space}text") if text.get("class") == "name"]
    assert names == ["contracts", "client_sdk", "fedledger", "tests"]


def test_the_picture_leaves_out_what_other_arrows_imply_and_shows_what_is_wrong() -> None:
    assert "tests imports contracts</title>" not in picture.svg(SHAPE)
    wrong = Shape(modules_of({"contracts/a.py": "import learning.b", "learning/b.py": "import contracts.a"}))
    assert picture.svg(wrong).count('class="arrow wrong"') == 2


def test_boxes_stand_above_what_they_import_and_no_two_overlap() -> None:
    names = ["a", "b", "c", "d", "e"]
    edges = [("b", "a"), ("c", "a"), ("d", "b"), ("d", "c"), ("e", "d"), ("e", "a")]
    kept = layers.without_detours(edges)
    assert ("e", "a") not in kept
    layout = layers.lay_out(names, edges, dict.fromkeys(names, 100.0), 20.0, 400.0)
    assert [[stop for stop in layer if stop in names] for layer in layout.layers] == [["a"], ["b", "c"], ["d"], ["e"]]
    assert layout.ways["e", "a"] == ("e", "e>a@2", "e>a@1", "a")
    for layer in layout.layers:
        wide = [100.0 if stop in names else layers.LANE for stop in layer]
        for (left, before), (right, after) in pairwise(zip(layer, wide, strict=True)):
            assert layout.middle[right] - layout.middle[left] >= (before + after) / 2 + 20.0 - 1e-6


def test_the_command_draws_another_checkout_and_tells_by_its_status_what_is_wrong(tmp_path) -> None:
    (tmp_path / "cli").mkdir()
    (tmp_path / "cli" / "a.py").write_text("from . import b\n")
    (tmp_path / "cli" / "b.py").write_text("from . import a\n")
    command = [sys.executable, "-m", "scripts.map", "--json", "--root", tmp_path, "--svg", tmp_path / "map.svg"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["circles"]["modules_when_loaded"] == [["cli.a", "cli.b"]]
    assert (tmp_path / "map.svg").read_text().startswith("<svg")
    assert done.returncode == 1
