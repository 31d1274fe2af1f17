"""A participant's own records, read from a file: raw inputs (n, features…) and integer classes (n,).

``.npz`` and ``.safetensors`` hold the arrays ``inputs`` and ``targets``; a ``.csv`` has a header line, numeric columns,
and one column of classes, as numbers from 0 or as the names that the task gives them. Nothing is unpickled, and nothing
is fitted on the records: transforms are constants of the task.
"""

import csv
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors
import safetensors.numpy

from learning.tensors import Records

from .errors import CliError

_ARRAYS: Final = ("inputs", "targets")
_FORMS: Final = "Give a .npz or .safetensors file with the arrays 'inputs' and 'targets', or a .csv file with a header."


class RecordsUnreadable(CliError):
    """The file holds no records of a form that is read here."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__("RECORDS_UNREADABLE", f"{path}: {why}", _FORMS)


def read_records(path: Path, target: str, classes: Sequence[str]) -> tuple[Records, Records]:
    """Inputs and targets in a file. ``target`` names a CSV's column of classes. Raises RecordsUnreadable, OSError."""
    readers: dict[str, Callable[[], tuple[Any, Any]]] = {
        ".npz": lambda: _from_npz(path),
        ".safetensors": lambda: _from_safetensors(path),
        ".csv": lambda: _from_csv(path, target, classes),
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise RecordsUnreadable(path, f"{path.suffix or 'a name without an ending'} is no form of records")
    inputs, targets = reader()
    return _checked(path, inputs, targets, len(classes))


def _from_npz(path: Path) -> tuple[Any, Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:  # noqa: TID251 - with allow_pickle=False it unpickles nothing
            return _arrays(path, {name: archive[name] for name in _ARRAYS if name in archive})
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise RecordsUnreadable(path, f"no archive of plain arrays: {error}") from error


def _from_safetensors(path: Path) -> tuple[Any, Any]:
    try:
        return _arrays(path, safetensors.numpy.load_file(path))
    except safetensors.SafetensorError as error:
        raise RecordsUnreadable(path, f"no safetensors file: {error}") from error


def _arrays(path: Path, found: dict[str, Any]) -> tuple[Any, Any]:
    missing = [name for name in _ARRAYS if name not in found]
    if missing:
        raise RecordsUnreadable(path, f"it has no array {missing[0]!r}")
    return found["inputs"], found["targets"]


def _from_csv(path: Path, target: str, classes: Sequence[str]) -> tuple[Any, Any]:
    try:
        return _columns(path, target, classes)
    except (csv.Error, UnicodeDecodeError) as error:
        raise RecordsUnreadable(path, f"no table of text: {error}") from error


def _columns(path: Path, target: str, classes: Sequence[str]) -> tuple[Any, Any]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if target not in header:
            raise RecordsUnreadable(path, f"it has no column {target!r}; its header is {', '.join(header)[:200]}")
        place = header.index(target)
        inputs, targets = [], []
        for row in reader:
            if len(row) != len(header):
                raise RecordsUnreadable(
                    path, f"line {reader.line_num} has {len(row)} columns, the header {len(header)}"
                )
            targets.append(_class(path, reader.line_num, row.pop(place), classes))
            inputs.append([_number(path, reader.line_num, text) for text in row])
    return np.array(inputs, np.float64).reshape(len(inputs), len(header) - 1), np.array(targets, np.int64)


def _class(path: Path, line: int, text: str, classes: Sequence[str]) -> int:
    if text in classes:
        return classes.index(text)
    try:
        return int(text)
    except ValueError:
        known = ", ".join(classes)
        raise RecordsUnreadable(path, f"line {line}: {text[:40]!r} is no class; the task has {known}") from None


def _number(path: Path, line: int, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise RecordsUnreadable(path, f"line {line}: {text[:40]!r} is no number") from None


def _checked(path: Path, inputs: Any, targets: Any, classes: int) -> tuple[Records, Records]:
    if inputs.ndim < 2 or targets.ndim != 1 or len(inputs) != len(targets):
        raise RecordsUnreadable(path, f"inputs of shape {inputs.shape} do not go with targets of shape {targets.shape}")
    if len(inputs) == 0:
        raise RecordsUnreadable(path, "it holds no record")
    if inputs.dtype.kind not in "fiu" or targets.dtype.kind not in "iu":
        raise RecordsUnreadable(
            path, f"inputs are {inputs.dtype}, targets {targets.dtype}; numbers and integers are read"
        )
    if targets.min() < 0 or targets.max() >= classes:
        raise RecordsUnreadable(path, f"a target is outside 0 to {classes - 1}, the classes of the task")
    return inputs, targets
