"""Terms that people write: every field is named when it is missing or malformed, and artefacts must fit."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from client_sdk.documents import strict_toml
from client_sdk.training.terms_file import ARTEFACTS, DAY_MS, DEFAULTS, LONG_COMMIT_MS, TermsFileInvalid, build, load
from contracts.kernel import codec
from contracts.terms import CommitTiming, Terms
from tests.local_task import prepared

TERMS, DATA = prepared().terms, prepared().data
DESCRIBED = {name: getattr(TERMS, name) for name in ARTEFACTS}
PLAIN: dict[str, Any] = {
    name: value for name, value in codec.shape_of(Terms).pack(TERMS, "").items() if name not in ARTEFACTS
}


def leaves(table: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Every field with a plain value, by its path."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


FIELDS = sorted(leaves(PLAIN))
TABLES = sorted(name for name, value in PLAIN.items() if isinstance(value, dict))


def changed(path: str, value: Any = None) -> dict[str, Any]:
    """The document with one field changed, or left out."""
    document = copy.deepcopy(PLAIN)
    table, *rest = document, *path.split(".")
    for name in rest[:-1]:
        table = table[name]
    if value is None:
        del table[rest[-1]]
    else:
        table[rest[-1]] = value
    return document


def written(folder: Path, document: dict[str, Any], **files: bytes) -> Path:
    """The document as a TOML file, with its artefacts beside it."""
    lines = [f'{name} = "{name}.bin"' for name in ARTEFACTS]
    lines += [f"{name} = {_toml(value)}" for name, value in document.items() if not isinstance(value, dict)]
    for name, table in document.items():
        if isinstance(table, dict):
            lines += [f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
    for name, content in (DATA | files).items():
        (folder / f"{name}.bin").write_bytes(content)
    path = folder / "task.toml"
    path.write_text("\n".join(lines))
    return path


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def test_terms_are_read_as_they_are_written_with_the_bytes_of_their_artefacts(tmp_path: Path) -> None:
    assert load(written(tmp_path, PLAIN)) == (TERMS, DATA)


def test_all_fields_of_the_terms_are_in_these_tests() -> None:
    assert len(FIELDS) > 25
    assert set(TABLES) == {"phases", "estimator", "mechanism", "update"}
    assert set(DEFAULTS) < set(FIELDS)


@pytest.mark.parametrize("field", [name for name in FIELDS if name not in DEFAULTS])
def test_a_missing_field_is_named(field: str) -> None:
    with pytest.raises(TermsFileInvalid, match=rf"task\.toml: {field}: is missing"):
        build(changed(field), DESCRIBED, source="task.toml")


@pytest.mark.parametrize(
    "wrong", [1.5, True, "?", -(10**15), [[]]], ids=["float", "bool", "text", "low", "nested list"]
)
@pytest.mark.parametrize("field", FIELDS)
def test_a_field_of_the_wrong_kind_is_named(field: str, wrong: Any) -> None:
    with pytest.raises(TermsFileInvalid, match=rf"task\.toml: {field}\b"):
        build(changed(field, wrong), DESCRIBED, source="task.toml")


@pytest.mark.parametrize("table", TABLES)
def test_a_table_that_is_none_and_a_field_too_many_in_it_are_named(table: str) -> None:
    with pytest.raises(TermsFileInvalid, match=f"{table}: must be a map"):
        build(changed(table, 3), DESCRIBED, source="task.toml")
    with pytest.raises(TermsFileInvalid, match=rf"{table}\.\*: unknown field"):
        build(changed(f"{table}.epsilon", 1), DESCRIBED, source="task.toml")


def read(path: str, value: Any = None, **tables: Any) -> Terms:
    """The terms of a document without one field, with others changed before."""
    document = changed(path, value)
    for name, table in tables.items():
        document[name] = {**document[name], **table} if isinstance(table, dict) else table
    return build(document, DESCRIBED, source="task.toml")


@pytest.mark.parametrize(
    ("commit_ms", "timing"),
    [(LONG_COMMIT_MS, CommitTiming.WHEN_READY), (LONG_COMMIT_MS + 1, CommitTiming.AT_INSTANT)],
)
def test_commitments_leave_at_an_instant_where_the_phase_is_long_unless_the_file_says_otherwise(
    commit_ms: int, timing: CommitTiming
) -> None:
    assert read("phases.commits", phases={"commit_ms": commit_ms}).phases.commits is timing
    for named in CommitTiming:
        assert read("phases.commits", named.value, phases={"commit_ms": commit_ms}).phases.commits is named


def test_as_many_verifiers_may_be_byzantine_as_their_number_withstands() -> None:
    names = TERMS.verifiers
    for count, faults in ((3, 0), (4, 0), (5, 1), (6, 1)):
        verifiers = [*TERMS.aggregators, *(name for name in names if name not in TERMS.aggregators)][:count]
        assert read("verifier_faults", verifiers=verifiers).verifier_faults == faults
    with pytest.raises(TermsFileInvalid, match=r"task\.toml: verifier_faults: needs 3f\+1 voters"):
        read("verifier_faults", 2)


def test_the_other_defaults_are_what_members_see() -> None:
    assert read("retention_ms").retention_ms == 7 * DAY_MS
    assert read("phases.blocks").phases.blocks == 3


def test_fields_that_contradict_each_other_are_named_before_anybody_votes() -> None:
    for path, value, says in (
        ("estimator.minimum", 2, "estimator.minimum: median with byzantine = 1 takes more"),
        ("mechanism.sampling_num", 10, "mechanism.sampling_num: the rate is at most 1"),
        ("recipients", [TERMS.verifiers[0]], "recipients: leaves out a verifier"),
        ("aggregators", ["somebody-else"], "aggregators: names one that does not vote"),
    ):
        with pytest.raises(TermsFileInvalid, match=rf"task\.toml: {says}"):
            read(path, value)


def test_an_unknown_field_is_named_because_nothing_may_be_promised_beside_the_terms() -> None:
    with pytest.raises(TermsFileInvalid, match="unknown field epsilon"):
        build(changed("epsilon", 1), DESCRIBED, source="task.toml")


# Files ------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_not_text_not_toml_or_too_large_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "task.toml"
    for content, says in (
        (None, "cannot be read"),
        (b"\xff\xfe", "not UTF-8"),
        (b"= 3", "not TOML"),
        (b"#" * (strict_toml.BYTES_MAX + 1), "more than"),
    ):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(TermsFileInvalid, match=f"{path.name}.*{says}"):
            load(path)


@pytest.mark.parametrize("name", ARTEFACTS)
def test_an_artefact_that_is_missing_or_of_no_use_is_named(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, PLAIN)
    for content in (b"not of its form", b""):
        (tmp_path / f"{name}.bin").write_bytes(content)
        with pytest.raises(TermsFileInvalid, match=name):
            load(path)
    (tmp_path / f"{name}.bin").unlink()
    with pytest.raises(TermsFileInvalid, match=rf"{name}: {name}\.bin cannot be read"):
        load(path)
    path.write_text(path.read_text().replace(f'{name} = "{name}.bin"', f"{name} = 3"))
    with pytest.raises(TermsFileInvalid, match=f"{name} must be the path"):
        load(path)


def test_the_canary_set_says_itself_how_many_records_it_has(tmp_path: Path) -> None:
    assert load(written(tmp_path, changed("canary_records")))[0] == TERMS
    with pytest.raises(TermsFileInvalid, match=f"canary_records: is 7, the canary set has {TERMS.canary_records}"):
        load(written(tmp_path, changed("canary_records", 7)))


def test_an_initial_model_of_another_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TermsFileInvalid, match="initial"):
        load(written(tmp_path, changed("task", "another-task")))
    with pytest.raises(TermsFileInvalid, match="initial"):
        load(written(tmp_path, changed("update.scale_bits", 12)))
