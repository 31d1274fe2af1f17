"""What a participant must not lose between signing a commitment and publishing its payload.

The signed commitment and the encrypted payload are on disk before the first byte is sent. A restart sends the same
bytes again; it never trains again under a reservation whose result may already have left the machine. One file an
entry, written whole or not at all.
"""

import os
from pathlib import Path
from typing import Annotated

from contracts.kernel import Record, codec
from contracts.kernel.types import DatasetId, Height, Length, RoundNumber, TaskId

from ..errors import Kind, SdkError

_ENTRY_BYTES_MAX = 2**31
Bytes = Annotated[bytes, Length(0, _ENTRY_BYTES_MAX)]


class Entry(Record):
    """One commitment: the envelope's bytes, until when they are worth sending, and the payload they commit to."""

    task: TaskId
    round: RoundNumber
    dataset: DatasetId
    envelope: Bytes
    valid_until: Height
    payload: Bytes  # As it will be published: encrypted.


class JournalDamaged(SdkError):
    """An entry cannot be read."""

    kind = Kind.REFUSED
    hint = "Do not train again for this round; the reservation lapses by itself if nothing was committed."


class Journal:
    """The entries of one organisation, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, task: str, number: int, dataset: str) -> Entry | None:
        """The entry of a round, or None. Raises JournalDamaged."""
        path = self._path(task, number, dataset)
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return codec.decode(Entry, raw, most=_ENTRY_BYTES_MAX)
        except codec.Malformed as error:
            raise JournalDamaged(f"{path}: {error}") from error

    def keep(self, entry: Entry) -> None:
        """Make an entry durable, replacing an earlier one of the same round."""
        path = self._path(entry.task, entry.round, entry.dataset)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        with unfinished.open("wb") as file:
            file.write(entry.encode())
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        _sync_folder(path.parent)

    def forget(self, task: str, number: int, dataset: str) -> None:
        """Drop an entry whose payload is published, or whose round is over."""
        self._path(task, number, dataset).unlink(missing_ok=True)

    def _path(self, task: str, number: int, dataset: str) -> Path:
        return self._folder / task / f"{number:010d}-{dataset}.entry"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
