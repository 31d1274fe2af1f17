"""The house rules as checks over source text; each names what to write instead.

``tests/test_tidy.py`` runs them over the repository, and over planted violations, so that a rule that has stopped
biting is noticed. Everything here reads syntax trees and text; nothing is imported from the code it judges, but for
what reads its structure (``scripts.structure``, which has the table of allowed arrows) and the registry, whose order
is that of the imports.
"""

import ast
import builtins
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from contracts.registry import CONTRACTS
from scripts.structure.arrows import ARROWS, OURS, SHIPPED
from scripts.structure.shape import Shape
from scripts.structure.sources import Module

ROOT = Path(__file__).resolve().parents[1]
IGNORED = (".git", ".venv", ".toolchain", ".fedledger", "build", "dist")
TEXT = (
    ".cfg",
    ".in",
    ".json",
    ".lock",
    ".md",
    ".mod",
    ".proto",
    ".py",
    ".pyi",
    ".service",
    ".toml",
    ".txt",
    ".yaml",
    ".yml",
)

FILE_LINES = 500
FUNCTION_LINES = 60  # Without its docstring.
LINE_CHARS = 120
_PRAGMA = re.compile(r"\s+# (noqa|type):.*$")  # An excuse does not make a line long.

# Inside these a package imports itself relatively. Elsewhere modules are run as files, too, or are found by pytest.
RELATIVE = ("contracts", "learning", "abci_app", "client_sdk", "devnet", "services", "cli", "campaigns")

# Within the core: each module may import those before it, and the kernel. The kernel imports no contract.
_EARLIER = {"models": "ballot_box"}  # What ballots owe is settled also when a version falls.


def _contract_order() -> Iterator[str]:
    """Modules from low to high: as the registry has their contracts, but for those that stand earlier."""
    for name in (module.removeprefix("contracts.") for contract in CONTRACTS for module in contract.modules):
        if name in _EARLIER:
            yield _EARLIER[name]
        if name not in _EARLIER.values():
            yield name
    yield from ("rulebook", "registry", "transition")


CONTRACT_ORDER = tuple(_contract_order())
CORE_STANDARD_LIBRARY = (
    "collections.abc",
    "dataclasses",
    "enum",
    "functools",
    "hashlib",
    "inspect",
    "operator",
    "re",
    "types",
    "typing",
)
CORE_PACKAGES = {"nacl": "contracts/kernel/crypto.py", "cbrrr": "contracts/kernel/codec.py"}

# What the core must not say, because two replicas could understand it differently, and what to say instead.
BANNED_CALLS = {
    "float": "integers in a stated unit",
    "complex": "integers in a stated unit",
    "round": "kernel.fixed_point, which names the direction",
    "set": "dict.fromkeys or a tuple: a set's order differs between processes",
    "frozenset": "dict.fromkeys or a tuple: a set's order differs between processes",
    "hash": "kernel.crypto.sha256",
    "id": "a key from the record itself",
    "open": "an argument: the core does no I/O",
    "print": "an Event, or the log of a Result",
    "input": "an argument: the core does no I/O",
    "eval": "a declared Record",
    "exec": "a declared Record",
    "globals": "an argument",
    "locals": "an argument",
    "__import__": "an import at the top",
}
BANNED_METHODS = dict.fromkeys(
    (
        *("capitalize", "casefold", "swapcase", "title"),
        *("isalnum", "isalpha", "isdecimal", "isdigit", "isidentifier", "isnumeric", "isprintable"),
    ),
    "a Text bound: Unicode's tables differ between Python versions",
)
VAGUE_NAMES = ("utils", "util", "common", "helpers", "helper", "misc", "manager", "managers")
# Written apart, because this file may not name an index either.
INDEX_HOSTS = tuple(
    "".join(parts)
    for parts in (
        ("py", "pi.org"),
        ("python", "hosted"),
        ("npm", "js"),
        ("proxy.", "golang"),
        ("sum.", "golang"),
        ("index", "-url"),
        ("arti", "factory"),
        ("nex", "us"),
    )
)


@dataclass(frozen=True)
class Violation:
    """A broken rule, where, and what to do instead."""

    path: str
    line: int
    rule: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}; instead: {self.instead}"


def files(*suffixes: str, root: Path = ROOT) -> list[Path]:
    """Files of the repository with these endings, without what tools and set-up leave behind."""
    found = []
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        hidden = any(part in IGNORED or part.endswith(("_cache", ".egg-info")) for part in parts)
        if path.suffix in suffixes and path.is_file() and not hidden and "__pycache__" not in parts:
            found.append(path)
    return found


# Imports ----------------------------------------------------------------------------------------


def imported(tree: ast.AST, path: str) -> Iterator[tuple[int, str]]:
    """Every module a file imports, absolutely named, wherever the statement stands."""
    package = list(Path(path).with_suffix("").parts[:-1])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            # `from . import x` may import a module x; `from .m import x` is about m.
            names = [f"{base}.{alias.name}" for alias in node.names] if not node.module else [base]
            yield from ((node.lineno, name) for name in names)


def broken_arrows(tree: ast.AST, path: str) -> Iterator[Violation]:
    """Imports against the direction of the packages, and within the core against its order."""
    owner = Path(path).with_suffix("").parts[0]
    if owner not in ARROWS:
        return
    for line, name in imported(tree, path):
        target = name.split(".")[0]
        if target in OURS and target != owner and target not in ARROWS[owner]:
            seen = ", ".join((owner, *ARROWS[owner]))
            yield Violation(path, line, f"{owner} imports {target}", f"{owner} sees only {seen}")
    if owner == "contracts":
        yield from _broken_core_order(tree, path)


def _broken_core_order(tree: ast.AST, path: str) -> Iterator[Violation]:
    parts = Path(path).with_suffix("").parts
    in_kernel = parts[1] == "kernel"
    known = in_kernel or parts[1] in (*CONTRACT_ORDER, "__init__")
    if not known:
        yield Violation(
            path,
            1,
            f"{parts[1]} has no place among the contracts",
            "name it in a contract's modules",
        )
        return
    place = 0 if in_kernel or parts[1] == "__init__" else CONTRACT_ORDER.index(parts[1])
    for line, name in imported(tree, path):
        target = name.split(".")
        if target[0] != "contracts" or len(target) == 1 or target[1] == "kernel":
            continue
        if in_kernel:
            yield Violation(path, line, f"the kernel imports {name}", "the kernel knows no contract")
        elif target[1] in CONTRACT_ORDER and CONTRACT_ORDER.index(target[1]) >= place:
            yield Violation(path, line, f"{parts[1]} imports {target[1]}", "lower never imports higher: pass a value")


def seeds_seen(tree: ast.AST, path: str) -> Iterator[Violation]:
    """Where a secret seed is touched in what ships: only where keys are kept, and where the core signs with one."""
    if Path(path).parts[0] not in SHIPPED or path.startswith("client_sdk/secrets/"):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "seed":
            yield Violation(path, node.lineno, "a key's seed", "a Signer, which has a public key and sign()")


def crooked_imports(tree: ast.AST, path: str) -> Iterator[Violation]:
    """Absolute imports within a package, and relative ones that lead out of it."""
    *folders, _ = Path(path).parts
    if not folders or folders[0] not in RELATIVE:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level > len(folders):
            rule = f"{'.' * node.level}{node.module or ''} leads out of {folders[0]}"
            yield Violation(path, node.lineno, rule, "absolute across packages")
        elif isinstance(node, ast.Import | ast.ImportFrom) and not getattr(node, "level", 0):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
            for name in names:
                if name.split(".")[0] == folders[0]:
                    yield Violation(path, node.lineno, f"{folders[0]} imports {name} by its whole name", "from .")


def circular_imports(modules: list[Module]) -> Iterator[Violation]:
    """Packages and rooms that import each other in the end, by any import; modules that do so when they are loaded."""
    shape = Shape(modules)
    paths = {module.name: module.path for module in modules}
    kinds = {
        "packages": shape.package_circles(),
        "rooms": shape.room_circles(),
        "modules": shape.loading_circles(),
    }
    for kind, found in kinds.items():
        for circle in found:
            first = circle.imports[0]
            rule = f"{kind} in a circle: {', '.join(circle.names)}"
            yield Violation(
                paths[first.source], first.line, rule, "move what both need below both (`make map` lists all)"
            )


def foreign_imports(tree: ast.AST, path: str) -> Iterator[Violation]:
    """What the core imports beside itself: a few modules of the standard library and two packages, one file each."""
    for line, name in imported(tree, path):
        top = name.split(".")[0]
        if top == "contracts" or name in CORE_STANDARD_LIBRARY:
            continue
        if top in CORE_PACKAGES and path == CORE_PACKAGES[top]:
            continue
        instead = f"through {CORE_PACKAGES[top]}" if top in CORE_PACKAGES else "an argument, or a module on the list"
        kind = "standard library" if top in sys.stdlib_module_names else "package"
        yield Violation(path, line, f"the core imports {name} ({kind})", instead)


# Determinism ------------------------------------------------------------------------------------


def indeterminate(tree: ast.AST, path: str) -> Iterator[Violation]:
    """What two replicas might compute differently, as far as syntax shows it."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, (float, complex)):
            yield Violation(path, line, f"the float {node.value}", "integers in a stated unit")
        elif isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, ast.Div):
            yield Violation(path, line, "true division", "// with its direction stated, or kernel.fixed_point")
        elif isinstance(node, (ast.Set, ast.SetComp)):
            yield Violation(path, line, "a set", BANNED_CALLS["set"])
        elif isinstance(node, (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)):
            yield Violation(path, line, "asynchronous code", "a value: the shell waits, the core decides")
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            yield Violation(path, line, "state outside the state", "an argument and a result")
        elif isinstance(node, ast.Call):
            yield from _banned_call(node, path)
        elif isinstance(node, ast.FunctionDef) and _calls(node, node.name):
            yield Violation(path, line, f"{node.name} calls itself", "a loop: the recursion limit is the machine's")


def _banned_call(node: ast.Call, path: str) -> Iterator[Violation]:
    if isinstance(node.func, ast.Name) and node.func.id in BANNED_CALLS:
        yield Violation(path, node.lineno, f"{node.func.id}()", BANNED_CALLS[node.func.id])
    if isinstance(node.func, ast.Attribute):
        if node.func.attr in BANNED_METHODS:
            yield Violation(path, node.lineno, f".{node.func.attr}()", BANNED_METHODS[node.func.attr])
        if ast.unparse(node.func) == "re.compile" and "re.ASCII" not in ast.unparse(node):
            yield Violation(path, node.lineno, "a pattern over Unicode", "re.compile(…, re.ASCII)")


def _calls(function: ast.FunctionDef, name: str) -> bool:
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
        for node in ast.walk(function)
    )


# Sizes and names --------------------------------------------------------------------------------


def oversized(source: str, tree: ast.AST, path: str) -> Iterator[Violation]:
    """Files, functions and lines past their bound."""
    lines = source.splitlines()
    if len(lines) > FILE_LINES:
        yield Violation(path, len(lines), f"{len(lines)} lines in a file", f"split it; at most {FILE_LINES}")
    for number, line in enumerate(lines, start=1):
        length = len(_PRAGMA.sub("", line))
        if length > LINE_CHARS:
            yield Violation(path, number, f"{length} characters in a line", f"at most {LINE_CHARS}")
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = _code_lines(node)
            if length > FUNCTION_LINES:
                rule = f"{node.name} has {length} lines"
                yield Violation(path, node.lineno, rule, f"name its parts; at most {FUNCTION_LINES}")


def _code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        length -= (first.end_lineno or first.lineno) - first.lineno + 1
    return length


def vague(tree: ast.AST, path: str) -> Iterator[Violation]:
    """Names that say nothing about what they hold."""
    instead = "the name of the one thing it does"
    for part in Path(path).with_suffix("").parts:
        if any(word in VAGUE_NAMES for word in part.lower().split("_")):
            yield Violation(path, 1, f"a file or folder called {part}", instead)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            words = re.findall(r"[A-Z][a-z]+", node.name)
            if words and words[-1].lower() in VAGUE_NAMES:
                yield Violation(path, node.lineno, f"a class called {node.name}", instead)


def undocumented(tree: ast.Module, path: str) -> Iterator[Violation]:
    """Modules that do not say what they hold."""
    if tree.body and ast.get_docstring(tree) is None and not Path(path).name.startswith("test_"):
        yield Violation(path, 1, "no docstring", "what the module holds, and what it leaves to others")


# Errors -----------------------------------------------------------------------------------------


def raw_system_errors(tree: ast.AST, path: str) -> Iterator[Violation]:
    """Python's own text of an OSError shown to people: it has a number, and the file's name a second time or never."""
    if Path(path).parts[0] not in SHIPPED:
        return
    for handler in ast.walk(tree):
        if not isinstance(handler, ast.ExceptHandler) or handler.type is None or handler.name is None:
            continue
        kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        if "OSError" not in [ast.unparse(kind) for kind in kinds]:
            continue
        for node in ast.walk(handler):
            shown = ast.unparse(node.value) if isinstance(node, ast.FormattedValue) and node.conversion == -1 else ""
            if shown == handler.name or (isinstance(node, ast.Call) and ast.unparse(node) == f"str({handler.name})"):
                instead = "client_sdk.errors.in_words, or error.strerror; of a peer, client_sdk.unreachable.why"
                yield Violation(path, node.lineno, "the raw text of an OSError", instead)


def classes(trees: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Where each class can be found: by its name, the dotted names of the modules that declare or import it."""
    found: dict[str, set[str]] = {}
    for path, tree in trees.items():
        module = ".".join(Path(path).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(tree):
            names = [node.name] if isinstance(node, ast.ClassDef) else []
            if isinstance(node, ast.ImportFrom):
                names = [alias.asname or alias.name for alias in node.names]
            for name in names:
                found.setdefault(name, set()).add(module)
    return found


def unknown_raises(tree: ast.AST, path: str, known: dict[str, set[str]]) -> Iterator[Violation]:
    """Classes that a docstring says are raised, and that are nowhere."""
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for name in _said_to_be_raised(ast.get_docstring(node) or ""):
            *where, last = name.split(".")
            homes = known.get(last, set())
            by_path = any(f".{module}.".find(f".{'.'.join(where)}.") >= 0 for module in homes) if where else bool(homes)
            if not by_path and not hasattr(builtins, name) and not _is_standard(name):
                line = getattr(node, "lineno", 1)
                yield Violation(path, line, f"{name} is raised, says a docstring", "the name of a class that is there")


def _said_to_be_raised(text: str) -> Iterator[str]:
    for sentence in re.findall(r"\bRaises\b(.*?)(?:\.\s|\.?$)", text, re.DOTALL):
        # What stands in a list of names; prose between them names other things, too.
        yield from re.findall(r"(?:^|[,;:]|\bor|\band|\balso|\bthe)\s+((?:[a-z_]+\.)*[A-Z][a-z]+[A-Z]\w*)", sentence)


def _is_standard(name: str) -> bool:
    module, _, last = name.rpartition(".")
    return module in sys.stdlib_module_names and hasattr(import_module(module), last)


# Text -------------------------------------------------------------------------------------------


def addresses(text: str, path: str) -> Iterator[Violation]:
    """Package indexes and paths of one machine, which no committed file may name."""
    requirements = path.startswith("requirements/")
    home = "/" + "work/"
    for number, line in enumerate(text.splitlines(), start=1):
        if requirements and "://" in line:
            yield Violation(
                path, number, "an address in a requirements file", "name and version; the index is the user's"
            )
        if any(host in line for host in INDEX_HOSTS) and path not in ("tests/tidy.py", "tests/test_tidy.py"):
            yield Violation(path, number, "the name of a package index", "leave the index to the user's settings")
        if home in line or "/" + "root/" in line:
            yield Violation(path, number, "a path of one machine", "a path relative to the repository")
