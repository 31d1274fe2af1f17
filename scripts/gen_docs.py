"""Writes the tables of ``docs/protocol.md`` and all of ``docs/codes.md`` from the declarations in ``contracts``.

``docs/cli.md`` is the help of every command, which needs the project to be installed. The tables of
``docs/benchmarks.md`` come from ``benchmarks/results``, those of ``docs/reliability.md`` and ``docs/hostile-input.md``
from ``docs/data``, the table and the picture of the packages from the syntax trees (``scripts.structure``).

    python -m scripts.gen_docs            rewrite what has changed
    python -m scripts.gen_docs --check    exit 1 when a committed file differs from what would be written

The prose of ``docs/protocol.md`` is written by hand. Between ``<!-- generated: NAME -->`` and ``<!-- end -->`` stands
what this script knows how to write; a marker without a block, or a block without a marker, is an error, so a new
contract cannot be forgotten. What a field or a bound means is read from the comment beside it in the source.
"""

import argparse
import ast
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import fields
from enum import Enum
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, cast, get_args, get_type_hints

from benchmarks.measuring import tables
from cli import reference
from client_sdk.reads.refusals import NODE_REFUSALS
from contracts import transition
from contracts.kernel import Contract, Message, Record, Rejected, codec, limits, types
from contracts.kernel.rules import name_of, refusals_of
from contracts.registry import CONTRACTS, RULES
from contracts.rulebook import OF_NO_CONTRACT
from scripts import docs_examples, docs_facade, docs_hostile, docs_reliability
from scripts.structure import picture, report
from scripts.structure.shape import Shape
from scripts.structure.sources import read

ROOT = Path(__file__).resolve().parents[1]
PROTOCOL, CODES, CLI, BENCHMARKS, RELIABILITY, HOSTILE, ARCHITECTURE = (
    ROOT / "docs" / f"{name}.md"
    for name in ("protocol", "codes", "cli", "benchmarks", "reliability", "hostile-input", "architecture")
)
FACADE = ROOT / "fedledger.py"
MAP = ROOT / "docs" / "images" / "map.svg"
VECTORS = ROOT / "tests" / "vectors"
_BLOCK = re.compile(r"<!-- generated: ([a-z_ ]+) -->\n.*?<!-- end -->", re.DOTALL)
_REFUSALS = {refusal.__name__: refusal for refusal in RULES.refusals.values()}


class MarkersDiffer(ValueError):
    """The markers in ``docs/protocol.md`` are not exactly the blocks that this script writes."""


def main() -> int:
    """Write the files, or with ``--check`` say which would change."""
    parser = argparse.ArgumentParser(description="Write the generated parts of docs/.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when something would change")
    check = parser.parse_args().check
    changed = stale()
    for path, content in _wanted().items():
        if not check and path in changed:
            path.write_text(content, encoding="utf-8")
    for path in changed:
        sys.stdout.write(f"{'stale' if check else 'written'}: {path.relative_to(ROOT)}\n")
    return 1 if check and changed else 0


def stale() -> list[Path]:
    """The files that differ from what would be written."""
    return [path for path, content in _wanted().items() if not path.exists() or path.read_text() != content]


def _wanted() -> dict[Path, str]:
    protocol = render(PROTOCOL.read_text(encoding="utf-8"), blocks())
    measured = render(BENCHMARKS.read_text(encoding="utf-8"), tables.blocks())
    withstood = render(HOSTILE.read_text(encoding="utf-8"), docs_hostile.blocks())
    survived = render(RELIABILITY.read_text(encoding="utf-8"), docs_reliability.blocks())
    shape = Shape(read(ROOT))
    return {
        ARCHITECTURE: render(ARCHITECTURE.read_text(encoding="utf-8"), report.blocks(shape)),
        MAP: picture.svg(shape),
        PROTOCOL: protocol,
        CODES: codes(),
        CLI: reference.markdown(),
        BENCHMARKS: measured,
        RELIABILITY: survived,
        HOSTILE: withstood,
        FACADE: docs_facade.rendered(FACADE.read_text(encoding="utf-8")),
    }


def render(text: str, generated: dict[str, str]) -> str:
    """The text with every block's content exchanged. Raises MarkersDiffer."""
    named = [match.group(1) for match in _BLOCK.finditer(text)]
    if sorted(named) != sorted(generated):
        raise MarkersDiffer(f"markers {sorted(named)}, blocks {sorted(generated)}")
    return _BLOCK.sub(lambda m: f"<!-- generated: {m.group(1)} -->\n{generated[m.group(1)]}\n<!-- end -->", text)


def blocks() -> dict[str, str]:
    """Every generated block by its name."""
    return {
        "messages": _messages(),
        "types": _types(),
        "limits": _limits(),
        "stores": "\n".join(f"{place}. `{name}`" for place, name in enumerate(RULES.newest.stores)),
        "genesis": _records([transition.Genesis]),
        "transition refusals": _refusals(refusals_of(OF_NO_CONTRACT)),
        "envelope example": docs_examples.envelope_example(),
        "state example": docs_examples.state_example(),
        **{contract.name: _contract(contract) for contract in CONTRACTS},
    }


# The chapters -----------------------------------------------------------------------------------


def _messages() -> str:
    rows = [
        (f"`{message.tag}`", message.purpose, message.role or "any", message.lane.name.lower(), _first_line(message))
        for message in _all_messages()
    ]
    return _table(("type", "key", "role", "lane", "meaning"), rows)


def _contract(contract: Contract) -> str:
    parts = [_message(message, contract) for message in contract.handlers]
    if contract.events():
        rows = [(f"`{event.tag}`", _field_list(event), _first_line(event)) for event in contract.events()]
        parts += ["#### Events", _table(("type", "fields", "meaning"), rows)]
    state = [(f"`{_path(item)}`", f"`{item.record.__name__}`", _first_line(item.record)) for item in contract.state]
    parts += ["#### State", _table(("path", "record", "meaning"), state)]
    parts += [_records(_plain_records(contract)), _choices(contract)]
    if contract.refusals():
        parts += ["#### Refusals", _refusals(contract.refusals())]
    return "\n\n".join(part for part in parts if part)


def _message(message: type[Message], contract: Contract) -> str:
    role = f", role {message.role}" if message.role else ""
    signed = f"Signed by a {message.purpose} key{role}; lane {message.lane.name.lower()}."
    rejects = (inspect.getdoc(contract.handlers[message]) or "").partition("Rejects:")[2].split("\n\n")[0]
    names = [name for name in re.findall(r"[A-Z]\w+", rejects) if name in _REFUSALS]
    refused = ", ".join(_code_link(_REFUSALS[name]) for name in names) or " ".join(rejects.split()).rstrip(".")
    head = f"#### `{message.tag}`\n\n{_document(message)}\n\n{signed}"
    return f"{head}\n\n{_field_table(message)}\n\nRefused as: {refused}."


def _records(records: Iterable[type[Record]]) -> str:
    return "\n\n".join(
        f"#### Record `{kind.__name__}`\n\n{_document(kind)}\n\n{_field_table(kind)}" for kind in records
    )


def _choices(contract: Contract) -> str:
    found = [
        kind
        for module in _modules(contract)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Enum) and kind.__module__ == module.__name__
    ]
    parts = (f"#### Choice `{kind.__name__}`\n\n{_document(kind)}\n\n{_members(kind)}" for kind in found)
    return "\n\n".join(parts)


def _members(kind: type[Enum]) -> str:
    comments = _comments(kind)
    if not comments:
        return "One of " + ", ".join(f"`{member.value}`" for member in kind) + "."
    return _table(("value", "meaning"), [(f"`{member.value}`", comments.get(member.name, "")) for member in kind])


def _refusals(refusals: Iterable[type[Rejected]]) -> str:
    return _table(("code", "meaning"), [(_code_link(refusal), refusal.meaning()) for refusal in refusals])


def _types() -> str:
    comments = _comments(types)
    rows = []
    for name, annotation in vars(types).items():
        if hasattr(annotation, "__metadata__"):
            bound = annotation.__metadata__[0]
            pattern = f", matching `{bound.pattern.pattern}`" if isinstance(bound, types.Text) else ""
            rows.append(
                (f"`{name}`", _numbers(codec.shape_of(annotation).description) + pattern, comments.get(name, ""))
            )
        elif isinstance(annotation, type) and issubclass(annotation, Enum) and annotation.__module__ == types.__name__:
            rows.append((f"`{name}`", codec.shape_of(annotation).description, _first_line(annotation)))
    return _table(("type", "bounds", "meaning"), rows)


def _limits() -> str:
    comments = _comments(limits)
    rows = [
        (f"`{name}`", _numbers(str(value)), comments.get(name, ""))
        for name, value in vars(limits).items()
        if name.isupper() and isinstance(value, int)
    ]
    return _table(("limit", "value", "meaning"), rows)


def codes() -> str:
    """All of ``docs/codes.md``: one heading per code, with its facts and the vectors that show it."""
    owners = {refusal: contract.name for contract in CONTRACTS for refusal in contract.refusals()}
    parts = [_CODES_HEAD]
    for code, refusal in sorted(RULES.refusals.items()):
        shown = [path for path in _vector_files() if json.loads(path.read_text())["code"] == code]
        links = ", ".join(f"[{path.stem.replace('_', ' ')}](../{path.relative_to(ROOT)})" for path in shown)
        facts = ", ".join(f"`{name}`" for name in _facts().get(refusal.__name__, {})) or "none"
        parts.append(
            f"## {code} {name_of(refusal)}\n\n{refusal.meaning()}\n\n- **What to do:** {refusal.hint}\n"
            f"- **Facts:** {facts}\n- **From:** `{owners.get(refusal, 'transition')}`\n- **Seen in:** {links}"
        )
    parts.append(_NODE_CODES_HEAD)
    for code, own in sorted(NODE_REFUSALS.items()):
        facts = ", ".join(f"`{name}`" for name in own.fact_names)
        parts.append(
            f"## {code} {own.name}\n\n{_first_line(own)}\n\n- **What to do:** {own.hint}\n- **Facts:** {facts}"
        )
    return "\n\n".join(parts) + "\n"


_CODES_HEAD = """# Result codes

Every transaction that a block includes has a code. The code, and the facts that come with it, are part of what the
next block's header commits to: anyone can prove them. Codes are never reused. `fedledger explain CODE` prints the
same text.

This file is written by `make docs` from the declarations in `contracts/`.

## 0 OK

The transaction was accepted; its result lists the events.

## 1 INTERNAL_ERROR

A handler raised something that is no refusal: a bug of ours. The transaction changed nothing, on every replica.

- **What to do:** Report it with the transaction's bytes. Sending it again does not help."""

_NODE_CODES_HEAD = """# Codes of a node

What follows is not the ledger's. A node answers it to a transaction that it is offered (CheckTx), in the codespace
`fedledger-node`. No block contains it, other nodes may answer otherwise, and nothing was decided."""


# Reading the source -----------------------------------------------------------------------------


def _field_table(kind: type[Record]) -> str:
    comments = _comments(kind)
    rows = [(f"`{name}`", cell, comments.get(name, "")) for name, cell in _cells(kind)]
    return _table(("field", "type", "meaning"), rows)


def _field_list(kind: type[Record]) -> str:
    return ", ".join(f"`{name}`" for name, _ in _cells(kind)) or "none"


def _cells(kind: type[Record]) -> list[tuple[str, str]]:
    """The fields of a record with their types, by name where a type has one and by its bounds where not."""
    hints = get_type_hints(kind, include_extras=True)
    written = {
        node.target.id: node.annotation
        for node in ast.walk(_tree(kind))
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    names = [field.name for field in fields(cast("type[Any]", kind))]
    return [(name, _cell(written[name], hints[name])) for name in names]


def _cell(written: ast.expr, hint: Any) -> str:
    named = isinstance(written, ast.Name) and (hasattr(types, written.id) or isinstance(hint, type))
    if isinstance(hint, type) and issubclass(hint, types.Packed):
        return codec.shape_of(hint).description
    if named or not hasattr(hint, "__metadata__"):
        return f"`{ast.unparse(written)}`".replace("|", "or")
    bound = hint.__metadata__[0]
    if isinstance(bound, types.Items) and isinstance(written, ast.Subscript):
        entry = written.slice.elts[0].slice.elts[0]  # type: ignore[attr-defined]
        return f"list of {_cell(entry, get_args(get_args(hint)[0])[0])}, {bound.low} to {_numbers(str(bound.high))}"
    return _numbers(codec.shape_of(hint).description)


def _comments(source: type | ModuleType) -> dict[str, str]:
    """Names and the comments on their lines."""
    found = {}
    for line in inspect.getsource(source).splitlines():
        match = re.match(r"\s*(\w+)\s*[:=].*?\s\s# (.*)$", line)
        if match:
            found[match.group(1)] = match.group(2)
    return found


def _tree(kind: type) -> ast.Module:
    return ast.parse(textwrap.dedent(inspect.getsource(kind)))


@cache
def _facts() -> dict[str, dict[str, None]]:
    """The names under which each refusal states its facts, wherever it is raised."""
    found: dict[str, dict[str, None]] = {}
    for path in sorted((ROOT / "contracts").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                named = dict.fromkeys(keyword.arg for keyword in node.keywords if keyword.arg)
                found[name] = {**found.get(name, {}), **named}
    return found


def _vector_files() -> list[Path]:
    return sorted(path for path in VECTORS.glob("*/*.json") if path.parent.name not in ("setup", "absence"))


def _plain_records(contract: Contract) -> list[type[Record]]:
    """What the contract declares besides messages and events."""
    return [
        kind
        for module in _modules(contract)
        for kind in vars(module).values()
        if isinstance(kind, type) and kind.__module__ == module.__name__ and kind.__bases__ == (Record,)
    ]


def _modules(contract: Contract) -> list[ModuleType]:
    return [sys.modules[name] for name in contract.modules]


def _all_messages() -> list[type[Message]]:
    return [message for contract in CONTRACTS for message in contract.handlers]


# Markdown ---------------------------------------------------------------------------------------


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    if not rows:
        return "No fields."
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _code_link(refusal: type[Rejected]) -> str:
    anchor = f"{refusal.code}-{name_of(refusal).lower()}"
    return f"[{refusal.code} {name_of(refusal)}](codes.md#{anchor})"


def _path(item: Any) -> str:
    return "/".join((item.prefix, *(f"<{name}>" for name in item.key_names)))


def _document(kind: type) -> str:
    return " ".join((inspect.getdoc(kind) or "").split())


def _first_line(kind: type) -> str:
    return (inspect.getdoc(kind) or "").splitlines()[0]


def _numbers(text: str) -> str:
    """Large numbers as people read them, and a range of one number as that number."""
    text = re.sub(r"\b(\d+)\.\.\1\b", r"\1", text)
    return re.sub(r"\d{5,}", lambda match: _number(int(match.group())), text)


def _number(value: int) -> str:
    if value.bit_count() == 1 and value > 10**5:
        return f"2^{value.bit_length() - 1}"
    return f"{value:_}".replace("_", ",")


if __name__ == "__main__":
    sys.exit(main())
