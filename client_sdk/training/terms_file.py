"""Terms of a task written by people: a TOML file in the units of the record, with artefacts as files beside it.

Every field of ``contracts.terms.Terms`` appears under its own name; ``inputs``, ``initial`` and ``canary`` are paths,
relative to the file. Nothing has a default: what members vote on is what the file says.
"""

from dataclasses import fields
from pathlib import Path
from typing import Any

from contracts.kernel import codec
from contracts.terms import Artefact, Terms
from learning.refusals import PayloadRefused

from ..documents import strict_toml
from ..documents.strict_toml import TomlInvalid
from ..errors import Kind, SdkError
from . import artefacts
from .artefacts import ArtefactRefused

ARTEFACTS = ("inputs", "initial", "canary")


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
    terms = build(document, described, source=str(path))
    _require_usable(path, terms, data)
    return terms, data


def build(document: dict[str, Any], described: dict[str, Artefact], *, source: str) -> Terms:
    """Terms from a document's plain fields and described artefacts. Raises TermsFileInvalid."""
    plain = {key: value for key, value in document.items() if key not in ARTEFACTS}
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
    return terms


def parse(raw: bytes, source: str) -> dict[str, Any]:
    """A file's plain fields; ``source`` is what errors call it. Raises TermsFileInvalid."""
    try:
        return strict_toml.parse(raw)
    except TomlInvalid as error:
        raise TermsFileInvalid(f"{source} {error}") from error


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
        inputs = artefacts.decode_inputs(data["inputs"])
        artefacts.decode_canary(data["canary"], inputs)
        artefacts.decode_model(data["initial"], manifest, inputs.layout)
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
