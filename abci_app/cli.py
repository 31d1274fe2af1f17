"""What this package adds to the command line: ``node fsck`` and ``node diff-state``.

Mounted through the entry-point group ``fedledger.cli``. This package may not import the client's, so it prints its few
tables itself; failures are raised, and the command line says what they mean. Everything that reads a store is imported
inside a command: without the extra ``[node]`` the commands say what is missing.
"""

import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from .inspection.diff_state import Difference
    from .inspection.fsck import Report

EXIT_DAMAGED: Final = 9
EXIT_DIFFERENT: Final = 10
_SCHEMA_VERSION: Final = 1

node = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


class NodeExtraMissing(RuntimeError):
    """The packages that a node needs are not installed."""

    hint = "Install them: the extra [node] of this distribution."


class Format(StrEnum):
    """How a result is printed."""

    TXT = "txt"
    JSON = "json"
    JSONL = "jsonl"


_Output = Annotated[
    Format, typer.Option("--format", metavar="txt|json|jsonl", help="For people, or one JSON document.")
]


@node.callback()
def _verbs() -> None:
    # Typer makes a command of a group with one verb, unless it has a callback.
    pass


@node.command("fsck", epilog="Example: fedledger node fsck --home .fedledger/devnet/nodes/validator-1")
def fsck(
    home: Annotated[Path, typer.Option("--home", metavar="DIR", help="The node's data folder; it may be running.")],
    output: _Output = Format.TXT,
) -> None:
    """Check everything that a node has stored, and name what is wrong. Changes nothing.

    Exit status: 0 nothing is wrong, 9 the store is damaged, 2 it cannot be opened.
    """
    _require_extra()
    from .inspection import fsck as checks

    with _Progress(output) as progress:
        report = checks.examine(home, progress.say)
    damaged = bool(report.findings)
    if output is Format.TXT:
        _write_lines(_fsck_lines(report))
    else:
        _write_json(output, _fsck_data(report))
    if damaged:
        raise typer.Exit(EXIT_DAMAGED)


@node.command("diff-state", epilog="Example: fedledger node diff-state nodes/validator-1 http://127.0.0.1:26657")
def diff_state(
    a: Annotated[str, typer.Argument(metavar="A", help="A node: its data folder, or the address of its RPC.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The node to compare it with.")],
    output: _Output = Format.TXT,
) -> None:
    """Compare the states of two nodes: since which block they differ, in which contracts, and at which key first.

    Exit status: 0 the same, 10 different, 1 no height at which both can be compared, 2 one cannot be read.
    """
    _require_extra()
    from .inspection import diff_state as comparison
    from .inspection.sources import opened

    if _same_place(a, b):
        raise typer.BadParameter("A and B are the same node")
    with _Progress(output) as progress:
        progress.say(f"comparing {a} with {b}")
        with opened(a) as ours, opened(b) as theirs:
            found = comparison.compare(ours, theirs)
    if output is Format.TXT:
        _write_lines(_diff_lines(found, a, b))
    else:
        _write_json(output, _diff_data(found))
    if not found.same:
        raise typer.Exit(EXIT_DIFFERENT)


# What is printed ----------------------------------------------------------------------------------


def _fsck_data(report: "Report") -> dict[str, Any]:
    version, pages = report.version, report.pages
    return {
        "store": str(report.folder),
        "damaged": bool(report.findings),
        "height": version and version.height,
        "app_hash": version and version.app_hash.hex(),
        "entries": report.entries,
        "heights_recorded": report.records,
        "pages_used": pages and pages.used,
        "pages_free": pages and pages.free,
        "findings": [finding._asdict() for finding in report.findings],
        "findings_not_listed": report.unlisted,
    }


def _fsck_lines(report: "Report") -> list[str]:
    from .store.recovery import RESTORE

    lines = _fields({"store": report.folder})
    if report.version is not None:
        lines += _fields({"height": report.version.height, "app hash": report.version.app_hash.hex()})
        lines += _fields({"checked": f"{report.entries:,} records, the hashes recorded at {report.records:,} heights"})
    if report.pages is not None and report.pages.transaction:
        lines += _fields({"pages": f"{report.pages.used:,} used, {report.pages.free:,} free"})
    if not report.findings:
        return [*lines, "", "Nothing is wrong."]
    rows = [(one.where, one.key or "-", one.wrong) for one in report.findings]
    more = [f"… and {report.unlisted:,} more"] if report.unlisted else []
    count = len(report.findings) + report.unlisted
    said = f"The store is damaged: {count:,} finding{'s' if count > 1 else ''}."
    return [*lines, "", *_table(("where", "key", "what is wrong"), rows), *more, "", said, f"What to do: {RESTORE}."]


def _diff_data(found: "Difference") -> dict[str, Any]:
    from .inspection.stored_records import described

    first = found.first and {
        "path": found.first.path.decode("ascii", "backslashreplace"),
        "a": described(found.first.path, found.first.a),
        "b": described(found.first.path, found.first.b),
    }
    return {
        "same": found.same,
        "height": found.height,
        "contracts": [one._asdict() for one in found.since],
        "first": first,
        "changed": found.changed,
        "only_a": found.only_a,
        "only_b": found.only_b,
        "not_compared": found.not_compared or None,
    }


def _diff_lines(found: "Difference", a: str, b: str) -> list[str]:
    lines = _fields({"A": a, "B": b, "compared at": f"height {found.height}"})
    if found.same and not found.not_compared:
        return [*lines, "", "They are the same."]
    if found.same:
        said = "The hashes of all contracts are the same, and each node's entries are those of its hashes."
        return [*lines, "", said, f"The keys were not compared one by one: {found.not_compared}."]
    if found.since:
        rows = [(one.contract, f"{'' if one.known else 'at or before '}{one.height}") for one in found.since]
        lines += ["", *_table(("contract", "differs since height"), rows)]
    else:
        lines += ["", "The recorded hashes are the same and the entries are not: check both with 'node fsck'."]
    if found.first is not None:
        first = _diff_data(found)["first"]
        rows = [("A", _json(first["a"])), ("B", _json(first["b"]))]
        counts = (
            f"{found.changed:,} keys have other values, {found.only_a:,} are only in A, {found.only_b:,} only in B."
        )
        lines += ["", f"First differing key: {first['path']}", *_table(("node", "value"), rows), "", counts]
    elif found.not_compared:
        lines += ["", f"The keys were not compared: {found.not_compared}."]
    return lines


def _fields(values: dict[str, object]) -> list[str]:
    return [f"{name:<13}{value}" for name, value in values.items()]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    table = [columns, *rows]
    widths = [max(len(row[place]) for row in table) for place in range(len(columns) - 1)]
    cells = ([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]] for row in table)
    return ["  ".join(row).rstrip() for row in cells]


def _write_lines(lines: Sequence[str]) -> None:
    for line in lines:
        shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)
        sys.stdout.write(f"{shown}\n")
    sys.stdout.flush()


def _write_json(output: Format, data: dict[str, Any]) -> None:
    document = data if output is Format.JSONL else {"schema_version": _SCHEMA_VERSION, "status": "ok", "data": data}
    sys.stdout.write(f"{_json(document)}\n")
    sys.stdout.flush()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


class _Progress:
    """One line on a terminal, over which the next is written; nothing where nobody watches."""

    def __init__(self, output: Format) -> None:
        self._watched = output is Format.TXT and sys.stderr.isatty()

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.say("")

    def say(self, text: str) -> None:
        """Replace the line."""
        if self._watched:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()


# What is given -------------------------------------------------------------------------------------


def _require_extra() -> None:
    try:
        import google.protobuf  # noqa: F401 - Only whether it is there.
        import lmdb  # noqa: F401 - Only whether it is there.
    except ModuleNotFoundError as error:
        raise NodeExtraMissing(f"the package {error.name} is not installed") from error


def _same_place(a: str, b: str) -> bool:
    if "://" in a or "://" in b:
        return a == b
    return Path(a).resolve() == Path(b).resolve()
