"""What a participant must not lose from the moment its training starts until its payload is served.

That training has started is on disk before it starts, and the encrypted payload with the signed commitment before the
first byte is sent. So a restart sends the same payload again, and never trains a second time under one reservation.
One file an entry, written whole or not at all. It is destroyed when the payload is in the store, or when the round has
ended before its barrier: then nothing of the training is left.
"""

from pathlib import Path
from typing import Annotated, Self

from contracts.kernel import Record, codec
from contracts.kernel.types import DatasetId, Height, Length, RoundNumber, TaskId

from ..errors import Kind, SdkError
from ..secrets.private_files import replace_private, sync_directory

_ENTRY_BYTES_MAX = 2**31
Bytes = Annotated[bytes, Length(0, _ENTRY_BYTES_MAX)]


class Entry(Record):
    """One training: what it came to, once it has; until then the bytes are empty."""

    task: TaskId
    round: RoundNumber
    dataset: DatasetId
    envelope: Bytes  # The signed commitment.
    valid_until: Height  # Until when that is worth sending.
    payload: Bytes  # As it will be served: encrypted. Its salt is inside.

    @classmethod
    def started(cls, task: str, number: int, dataset: str) -> Self:
        """The entry of a training that is about to start."""
        return cls(task, number, dataset, b"", 0, b"")

    @property
    def is_trained(self) -> bool:
        """Whether the training came to an end."""
        return bool(self.payload)


class JournalDamaged(SdkError):
    """An entry cannot be read."""

    kind = Kind.REFUSED
    hint = "Do not train again for this round: its price is spent, whether anything is committed or not."


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

    def rounds(self, task: str, dataset: str) -> list[int]:
        """The rounds of a task that have an entry, in order."""
        found = (path.name.partition("-") for path in (self._folder / task).glob(f"*-{dataset}.entry"))
        return sorted(int(number) for number, _, rest in found if rest == f"{dataset}.entry")

    def keep(self, entry: Entry) -> None:
        """Make an entry durable, replacing an earlier one of the same round. Raises ExposedFile, OSError."""
        replace_private(self._path(entry.task, entry.round, entry.dataset), entry.encode())

    def destroy(self, task: str, number: int, dataset: str) -> None:
        """Drop an entry for good: its payload is served, or its round came to nothing."""
        path = self._path(task, number, dataset)
        if path.exists():
            path.unlink()
            sync_directory(path.parent)

    def _path(self, task: str, number: int, dataset: str) -> Path:
        return self._folder / task / f"{number:010d}-{dataset}.entry"
