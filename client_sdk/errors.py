"""What every error of the client has: a kind, a hint, and the hint in each traceback. And the system's own, in words.

The kind says whose move is next, and it is fixed for a class. Each package declares its own errors under ``SdkError``,
beside the code that raises them. ``contracts``, ``learning`` and ``abci_app`` cannot import this module: their classes
name their kind with the same words.
"""

from enum import StrEnum
from typing import ClassVar


class Kind(StrEnum):
    """Whose move is next. Six kinds, which never mix."""

    REFUSED = "refused"  # Somebody looked at it and said no, or it is not what it should be. Again gives the same.
    ACCESS = "access"  # No connection, no key, no permission of somebody else's.
    TIMEOUT = "timeout"  # No answer in time; it may still come.
    USAGE = "usage"  # The call, or a file that it names, is wrong.
    ENVIRONMENT = "environment"  # What this machine did: disk, memory, permissions, a library that is missing.
    BUG = "bug"  # Ours: to be reported.


class SdkError(Exception):
    """Root of the client's errors. ``hint`` says what to do next, ``kind`` whose move that is.

    ``exit_status`` is the command line's, for an error that has one of its own; all others have their kind's.
    """

    kind: ClassVar[Kind]
    exit_status: ClassVar[int | None] = None
    hint: str = ""

    def __init__(self, *args: object, hint: str | None = None) -> None:
        super().__init__(*args)
        if hint is not None:
            self.hint = hint
        if self.hint:
            self.add_note(f"What to do: {self.hint}")


def in_words(error: OSError) -> str:
    """What the system said, with the files it was about and without its number: for a message of ours."""
    files = " and ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    said = error.strerror or str(error) or type(error).__name__
    return f"{files}: {said}" if files else said
