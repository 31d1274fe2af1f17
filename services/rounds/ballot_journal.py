"""What a verifier must not lose between sealing a ballot and opening it: an unopened ballot pays.

The salt and all that the ballot says are on disk before the seal is sent, so a restart opens what was sealed, and
seals the same again where the seal was not decided. A task has one round under way, so there is one file a task; the
next ballot takes its place.
"""

from pathlib import Path
from typing import Annotated

from client_sdk.errors import Kind, SdkError
from client_sdk.secrets.private_files import replace_private
from contracts.ballot_box import Statement, seal_of
from contracts.ballots import OpenBallot, Seal
from contracts.kernel import Record, codec
from contracts.kernel.types import Count, Digest, Length, OrgId, RoundNumber, Seats, TaskId
from contracts.lineage import Candidate, candidate_digest

_ENTRY_BYTES_MAX = 2**31


class SealedBallot(Record):
    """A ballot, what hides it, and the bytes of the version it names: they are served when it is opened."""

    task: TaskId
    round: RoundNumber
    agreed: Seats  # A ballot over another set was aborted: its set had a stolen key's contribution in it.
    salt: Digest
    candidate: Candidate
    correct: Count
    model: Annotated[bytes, Length(0, _ENTRY_BYTES_MAX)]  # Empty where nothing follows from the set.

    def seal(self, organisation: OrgId) -> Seal:
        """The message that seals it."""
        named = candidate_digest(self.candidate)
        said = Statement(organisation, self.task, self.round, self.salt, named, self.correct)
        return Seal(self.task, self.round, self.agreed, seal_of(said))

    def opening(self) -> OpenBallot:
        """The message that opens it."""
        return OpenBallot(self.task, self.round, self.salt, self.candidate, self.correct)


class BallotDamaged(SdkError):
    """The journalled ballot of a task cannot be read."""

    kind = Kind.REFUSED
    hint = "Remove the file: a ballot that was sealed stays unopened, and pays; the next round is not affected."


class BallotJournal:
    """The last ballot of each task, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, task: str, number: int, agreed: bytes) -> SealedBallot | None:
        """The ballot of a round over this agreed set, or None. Raises BallotDamaged."""
        try:
            raw = self._path(task).read_bytes()
        except FileNotFoundError:
            return None
        try:
            found = codec.decode(SealedBallot, raw, most=_ENTRY_BYTES_MAX)
        except codec.Malformed as error:
            raise BallotDamaged(f"{self._path(task)}: {error}") from error
        return found if (found.round, found.agreed) == (number, agreed) else None

    def keep(self, ballot: SealedBallot) -> None:
        """Make a ballot durable, in the place of the task's last one. Raises ExposedFile, OSError."""
        replace_private(self._path(ballot.task), ballot.encode())

    def _path(self, task: str) -> Path:
        return self._folder / f"{task}.ballot"
