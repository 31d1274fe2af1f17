"""What ``node fsck`` and ``node diff-state`` found: as data for programs, and as blocks for people.

Left to others: the checks and the comparison (``abci_app.inspection``), the printing (``output``).
"""

import json
from typing import TYPE_CHECKING, Any

from .output import Block, Fields, Line, Rows, plain

if TYPE_CHECKING:
    from abci_app.inspection.diff_state import Difference
    from abci_app.inspection.fsck import Report


def fsck_data(report: "Report") -> dict[str, Any]:
    """A check of a store, for programs."""
    version, pages = report.version, report.pages
    return {
        "store": report.folder,
        "damaged": bool(report.findings),
        "height": version and version.height,
        "app_hash": version and version.app_hash,
        "entries": report.entries,
        "heights_recorded": report.records,
        "pages_used": pages and pages.used,
        "pages_free": pages and pages.free,
        "findings": report.findings,
        "findings_not_listed": report.unlisted,
    }


def fsck_blocks(report: "Report") -> list[Block]:
    """A check of a store, for people."""
    from abci_app.store.recovery import RESTORE

    fields: dict[str, object] = {"store": report.folder}
    if report.version is not None:
        fields |= {"height": report.version.height, "app hash": report.version.app_hash}
        fields["checked"] = f"{report.entries:,} records, the hashes recorded at {report.records:,} heights"
    if report.pages is not None and report.pages.transaction:
        fields["pages"] = f"{report.pages.used:,} used, {report.pages.free:,} free"
    if not report.findings:
        return [Fields(fields), Line("Nothing is wrong.")]
    rows = [(one.where, _one_line(one.key) or None, _one_line(one.wrong)) for one in report.findings]
    more = [Line(f"… and {report.unlisted:,} more")] if report.unlisted else []
    count = len(report.findings) + report.unlisted
    said = f"The store is damaged: {count:,} finding{'s' if count > 1 else ''}."
    table = Rows(("where", "key", "what is wrong"), rows)
    return [Fields(fields), table, *more, Line(said), Line(f"What to do: {RESTORE}.")]


def diff_data(found: "Difference") -> dict[str, Any]:
    """A comparison of two nodes, for programs."""
    first = found.first
    return {
        "same": found.same,
        "height": found.height,
        "contracts": found.since,
        "first": first and {"path": _path(first.path), "a": first.a, "b": first.b},
        "changed": found.changed,
        "only_a": found.only_a,
        "only_b": found.only_b,
        "not_compared": found.not_compared or None,
    }


def diff_blocks(found: "Difference", a: str, b: str) -> list[Block]:
    """A comparison of two nodes, for people; ``a`` and ``b`` are how they were called."""
    head = Fields({"A": a, "B": b, "compared at": f"height {found.height}"})
    if found.same and not found.not_compared:
        return [head, Line("They are the same.")]
    if found.same:
        said = "The hashes of all contracts are the same, and each node's entries are those of its hashes."
        return [head, Line(said), Line(f"The keys were not compared one by one: {found.not_compared}.")]
    return [head, *_contracts(found), *_keys(found)]


def _contracts(found: "Difference") -> list[Block]:
    if not found.since:
        return [Line("The recorded hashes are the same and the entries are not: check both with 'node fsck'.")]
    rows = [(one.contract, f"{'' if one.known else 'at or before '}{one.height}") for one in found.since]
    return [Rows(("contract", "differs since height"), rows)]


def _keys(found: "Difference") -> list[Block]:
    if found.first is None:
        return [Line(f"The keys were not compared: {found.not_compared}.")] if found.not_compared else []
    values = [("A", _value(found.first.a)), ("B", _value(found.first.b))]
    counts = f"{found.changed:,} keys have other values, {found.only_a:,} are only in A, {found.only_b:,} only in B."
    key = Line(f"First differing key: {_one_line(_path(found.first.path))}")
    return [key, Rows(("node", "value"), values), Line(counts)]


def _value(value: object) -> str:
    return json.dumps(plain(value), ensure_ascii=False)


def _path(path: bytes) -> str:
    return path.decode("ascii", "backslashreplace")


def _one_line(text: str) -> str:
    """What a damaged store says may hold a line break, which would let it write lines of ours."""
    return text.replace("\n", "\\n")
