"""Terms of a task written by people: a TOML file in the units of the record, with artefacts as files beside it.

Every field of ``contracts.terms.Terms`` appears under its own name; ``inputs``, ``initial`` and ``canary`` are paths,
relative to the file. What a file leaves to ``DEFAULTS`` and to the canary set itself, members see in full before they
vote (``fedledger proposal show``). Everything else has no default, least of all what the price follows from.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from contracts.kernel import codec
from contracts.terms import Artefact, BreakdownPoint, CommitTiming, Terms, TermsInconsistent, require_consistent
from learning.refusals import PayloadRefused

from ..documents import strict_toml
from ..documents.strict_toml import TomlInvalid
from ..errors import Kind, SdkError
from . import artefacts
from .artefacts import ArtefactRefused

ARTEFACTS = ("inputs", "initial", "canary")
LONG_COMMIT_MS: Final = 60_000
DAY_MS: Final = 24 * 3600 * 1000


def _timing(document: Mapping[str, Any]) -> str:
    """At an instant fixed before training, where the phase is long enough for the timing to tell much."""
    commit = _table(document, "phases").get("commit_ms")
    is_long = isinstance(commit, int) and commit > LONG_COMMIT_MS
    return (CommitTiming.AT_INSTANT if is_long else CommitTiming.WHEN_READY).value


def _faults(document: Mapping[str, Any]) -> int:
    """As many Byzantine verifiers as this many can withstand: 3f + 1 of them beside any aggregator."""
    named = document.get("verifiers")
    return max(0, (len(named) - 2) // 3) if isinstance(named, list) else 0


# What a file may leave out, by its path, and what stands in for it, which may depend on the rest of the file.
DEFAULTS: Final[Mapping[str, Callable[[Mapping[str, Any]], Any]]] = {
    "phases.blocks": lambda _: 3,
    "phases.commits": _timing,
    "verifier_faults": _faults,
    "retention_ms": lambda _: 7 * DAY_MS,
}


class TermsFileInvalid(SdkError, ValueError):
    """The file is not readable terms; the message names file and field."""

    kind = Kind.USAGE
    hint = "Compare with chain_config/tasks/breast-cancer.toml and docs/protocol.md."


def load(path: Path) -> tuple[Terms, dict[str, bytes]]:
    """The terms in a file, and the bytes of their artefacts by name, to be put into a store.

    Raises TermsFileInvalid.
    """
    document = _document(path)
    data = {name: _artefact(path, document, name) for name in ARTEFACTS}
    described = {name: artefacts.describe(content) for name, content in data.items()}
    counted = _canary_records(path, data)
    terms = build({"canary_records": counted, **document}, described, source=str(path))
    if terms.canary_records != counted:
        raise TermsFileInvalid(f"{path}: canary_records: is {terms.canary_records}, the canary set has {counted}")
    _require_usable(path, terms, data)
    return terms, data


def build(document: dict[str, Any], described: dict[str, Artefact], *, source: str) -> Terms:
    """Terms from a document's plain fields, with the defaults, and described artefacts. Raises TermsFileInvalid."""
    plain = {key: value for key, value in _with_defaults(document).items() if key not in ARTEFACTS}
    known = [field.name for field in fields(Terms)]
    unknown = [key for key in plain if key not in known]
    if unknown:
        raise TermsFileInvalid(f"{source}: unknown field {unknown[0]}")
    try:
        for name, artefact in described.items():
            plain[name] = codec.shape_of(Artefact).pack(artefact, name)
        terms: Terms = codec.shape_of(Terms).unpack(plain, "")
    except codec.Malformed as error:
        raise TermsFileInvalid(f"{source}: {error}") from error
    _require_consistent(terms, source)
    return terms


def parse(raw: bytes, source: str) -> dict[str, Any]:
    """A file's plain fields; ``source`` is what errors call it. Raises TermsFileInvalid."""
    try:
        return strict_toml.parse(raw)
    except TomlInvalid as error:
        raise TermsFileInvalid(f"{source} {error}") from error


def _require_consistent(terms: Terms, source: str) -> None:
    """What the ledger will ask of the terms, asked now, and told by field."""
    try:
        require_consistent(terms)
    except TermsInconsistent as error:
        raise TermsFileInvalid(f"{source}: {error.facts['field']!s}: {error.facts['why']!s}") from error
    except BreakdownPoint as error:
        what = f"{terms.estimator.kind} with byzantine = {terms.estimator.byzantine}"
        raise TermsFileInvalid(f"{source}: estimator.minimum: {what} takes more updates") from error


def _with_defaults(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document, with what it leaves out. A table that is missing or none stays so, to be named as such."""
    whole = dict(document)
    for path, default in DEFAULTS.items():
        table, _, field = path.rpartition(".")
        if not table:
            whole.setdefault(field, default(document))
        elif isinstance(whole.get(table), Mapping):
            whole[table] = {field: default(document), **whole[table]}
    return whole


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = document.get(name)
    return table if isinstance(table, Mapping) else {}


def _canary_records(path: Path, data: Mapping[str, bytes]) -> int:
    """How many records a score is a number of."""
    try:
        return len(artefacts.decode_canary(data["canary"], artefacts.decode_inputs(data["inputs"])).targets)
    except ArtefactRefused as error:
        raise TermsFileInvalid(f"{path}: {error}") from error


def _document(path: Path) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise TermsFileInvalid(f"{path} cannot be read: {error.strerror}") from error
    return parse(raw, str(path))


def _require_usable(path: Path, terms: Terms, data: dict[str, bytes]) -> None:
    """The artefacts fit the terms and each other: members vote on digests, which do not show that they would not."""
    manifest = artefacts.model_manifest(terms.task, 0, None, terms.update.scale_bits)
    try:
        artefacts.decode_model(data["initial"], manifest, artefacts.decode_inputs(data["inputs"]).layout)
    except ArtefactRefused as error:
        raise TermsFileInvalid(f"{path}: {error}") from error
    except PayloadRefused as error:
        raise TermsFileInvalid(f"{path}: initial: {error}") from error


def _artefact(path: Path, document: dict[str, Any], name: str) -> bytes:
    named = document.get(name)
    if not isinstance(named, str):
        raise TermsFileInvalid(f"{path}: {name} must be the path of a file")
    try:
        return (path.parent / named).read_bytes()
    except OSError as error:
        raise TermsFileInvalid(f"{path}: {name}: {named} cannot be read: {error.strerror}") from error
