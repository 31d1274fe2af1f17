"""Checks everything that a node has stored, and names what is wrong.

From the outside in, because each step relies on the one before: the files, the structure of the database
(``pages``), the facts of the last commit and the roots of both versions (``recovery``), then every entry: that a
contract declares its path, that its record decodes and encodes to the same bytes, that replay marks fit the height; and
every recorded hash. A running node is not disturbed: one version of its store is read, which it leaves alone meanwhile.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from contracts.kernel.merkle import split_path
from contracts.kernel.state_tree import StateTree
from contracts.registry import RULES
from contracts.rulebook import Rulebook, Rules

from ..store import lmdb_store, recovery
from ..store.history import app_hash_of, roots_of
from ..store.interface import Snapshot, StoreDamaged, StoreError, Version
from ..store.pages import Pages
from .stored_records import fault_of

FINDINGS_MAX: Final = 1_000
_PROGRESS_ENTRIES: Final = 20_000


class NoStore(StoreError):
    """There is no application's store in a folder."""

    hint = "Name the home of a node, as its application was started with --home."

    def __init__(self, home: Path) -> None:
        super().__init__(f"{home}: there is no store of a node")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong: in which part of the store, at which key or page, and what."""

    where: str
    key: str
    wrong: str


@dataclass(slots=True)
class Report:
    """What was checked and what was found. Sizes are numbers of pages and of entries."""

    folder: Path
    version: Version | None = None
    pages: Pages | None = None
    entries: int = 0
    records: int = 0
    findings: list[Finding] = field(default_factory=list)
    unlisted: int = 0
    """Findings over FINDINGS_MAX, which are only counted."""

    def add(self, where: str, key: str, wrong: str) -> None:
        """One more finding."""
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(Finding(where, key, wrong))
        else:
            self.unlisted += 1


def store_folder(home: Path) -> Path:
    """Where the store of a node is: ``ledger`` in its home. Raises NoStore."""
    for folder in (home / "ledger", home):
        if any((folder / name).exists() for name in ("store.json", "data.mdb")):
            return folder
    raise NoStore(home)


def examine(home: Path, progress: Callable[[str], None] = lambda _: None, book: Rulebook = RULES) -> Report:
    """Check the store of a node. Raises NoStore, StoreFormatUnknown, NewerRules."""
    report = Report(store_folder(home))
    progress("checking the pages of the database")
    try:
        with lmdb_store.inspect(report.folder) as (pages, snapshot):
            _pages(report, pages)
            if snapshot is not None:
                _contents(book, report, snapshot, progress)
    except StoreDamaged as error:
        report.add("files", "", str(error))
    return report


def _pages(report: Report, pages: Pages) -> None:
    report.pages = pages
    for fault in pages.faults:
        report.add("pages", f"page {fault.page} ({fault.tree})", fault.wrong)
    if pages.lost:
        report.add("pages", "", f"{pages.lost} pages are neither used nor free")


def _contents(book: Rulebook, report: Report, snapshot: Snapshot, progress: Callable[[str], None]) -> None:
    report.version = snapshot.version
    try:
        recovery.last_block(snapshot)
    except recovery.Damaged as error:
        report.add("notes", "", error.what)
    try:
        rules, rules_before = recovery.rules_of(book, snapshot.version), recovery.rules_of(book, snapshot.previous)
    except recovery.NewerRules:
        if not report.findings:
            raise
        return  # Nobody can tell which rules these are: it was found above that the version is not what was written.
    for number, (path, body) in enumerate(snapshot.scan(b""), start=1):
        report.entries = number
        if number % _PROGRESS_ENTRIES == 0:
            progress(f"checking the records: {number:,}")
        _entry(rules, report, "state", path, body)
    for path, before in snapshot.undo():
        if before is not None:
            _entry(rules_before, report, "previous", path, before)
    progress(f"hashing {report.entries:,} records")
    try:
        recovery.rebuilt_tree(book, snapshot)
    except recovery.Damaged as error:
        report.add("state", ", ".join(_differing(book, snapshot)), error.what)
    progress("checking the recorded hashes")
    _history(book, report, snapshot)


def _entry(rules: Rules, report: Report, where: str, path: bytes, body: bytes) -> None:
    wrong = fault_of(rules, path, body, report.version.height if report.version else 0)
    if wrong is not None:
        report.add(where, _text(path), wrong)


def _differing(book: Rulebook, snapshot: Snapshot) -> Iterator[str]:
    """The contracts whose entries do not hash to what was recorded of them."""
    recorded = snapshot.recorded(snapshot.version.height)
    try:
        expected = roots_of(book, recorded) if recorded else {}
    except StoreDamaged:
        return
    for name, root in expected.items():
        held = ((path, body) for path, body in snapshot.scan(f"{name}/".encode()) if _is_committable(path, body))
        if StateTree(tuple(expected), 0, held).latest.store_roots()[name] != root:
            yield f"{name}/"


def _history(book: Rulebook, report: Report, snapshot: Snapshot) -> None:
    for recorded in snapshot.history():
        report.records += 1
        try:
            roots_of(book, recorded)
        except StoreDamaged as error:
            report.add("history", str(recorded.height), str(error))
        if recorded.height > snapshot.version.height:
            report.add("history", str(recorded.height), f"it is later than the newest block {snapshot.version.height}")
    before, previous = snapshot.recorded(snapshot.previous.height), snapshot.previous
    try:
        if before is not None and app_hash_of(book, before) != previous.app_hash:
            report.add("history", str(before.height), f"it does not lead to the app hash of height {previous.height}")
    except StoreDamaged:
        return  # It was found above.


def _is_committable(path: bytes, body: bytes) -> bool:
    try:
        return bool(body) and bool(split_path(path))
    except ValueError:
        return False


def _text(path: bytes) -> str:
    return path.decode("ascii", "backslashreplace")
