"""Reads the modules of a checkout and the statements by which they import each other.

An import is *lazy* when it stands in a function or under ``if TYPE_CHECKING``: it takes no part in loading the module.
Not seen: names that are put together at run time (``import_module`` in ``fedledger.py`` and ``cli/app.py``), and that
importing ``a.b`` runs the ``__init__`` of ``a``. Leaves to others: what the imports amount to.
"""

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from scripts.structure.arrows import OURS


@dataclass(frozen=True)
class Import:
    """One statement, and one module of ours that it names."""

    source: str
    target: str
    line: int
    lazy: bool


@dataclass(frozen=True)
class Module:
    """One file."""

    path: str
    lines: int
    imports: tuple[Import, ...] = ()

    @property
    def name(self) -> str:
        """The dotted name under which it is imported."""
        return name_of(self.path)

    @property
    def package(self) -> str:
        """The folder at the root of the checkout, or the file itself where it stands there alone."""
        return PurePosixPath(self.path).with_suffix("").parts[0]

    @property
    def room(self) -> str | None:
        """The folder of the package that it stands in; None when it stands in the package itself."""
        parts = PurePosixPath(self.path).parts
        return parts[1] if len(parts) > 2 else None


def name_of(path: str) -> str:
    """The dotted name of a file; a package's is that of its folder."""
    parts = PurePosixPath(path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def read(root: Path) -> list[Module]:
    """Every module below a checkout, in the order of their paths. Packages that it does not have are left out."""
    paths = [path for name in OURS for path in (root / f"{name}.py", *(root / name).rglob("*.py")) if path.is_file()]
    texts = {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in sorted(paths)}
    return modules_of(texts)


def modules_of(texts: dict[str, str]) -> list[Module]:
    """The modules of some files, given as text by their path. Raises SyntaxError."""
    known = {name_of(path) for path in texts}
    return [
        Module(path, len(text.splitlines()), tuple(imports(ast.parse(text), path, known)))
        for path, text in texts.items()
    ]


def imports(tree: ast.Module, path: str, known: Collection[str]) -> Iterator[Import]:
    """The imports of a file that lead to known modules, each statement once for a module, in the order of the text."""
    source = name_of(path)
    for node, lazy in _statements(tree, lazy=False):
        targets = dict.fromkeys(_resolve(name, known) for name in _named(node, path))
        yield from (Import(source, target, node.lineno, lazy) for target in targets if target and target != source)


def _statements(node: ast.AST, *, lazy: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, lazy
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _statements(child, lazy=True)
        elif isinstance(child, ast.If) and ast.unparse(child.test).rpartition(".")[2] == "TYPE_CHECKING":
            yield from _statements(ast.Module(child.body, []), lazy=True)
            yield from _statements(ast.Module(child.orelse, []), lazy=lazy)
        else:
            yield from _statements(child, lazy=lazy)


def _named(node: ast.Import | ast.ImportFrom, path: str) -> list[str]:
    """What a statement names, absolutely: modules, or names in them."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    package = PurePosixPath(path).parts[:-1]
    above = package[: len(package) - node.level + 1] if node.level else ()
    base = ".".join((*above, *([node.module] if node.module else [])))
    return [f"{base}.{alias.name}" for alias in node.names]


def _resolve(name: str, known: Collection[str]) -> str | None:
    """The module that a name is, or is in."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None
