"""Where a passphrase comes from: a file, a file descriptor, a file named by the environment, or a person.

Never from the command line and never from the environment itself: other processes can read both. A file must
be private (mode 0600 or stricter, ours); a pipe or descriptor is taken as it is, so ``<(pass show …)`` and
systemd's ``LoadCredential`` work. One trailing line break is not part of a passphrase.
"""

import getpass
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..errors import Kind, SdkError
from .private_files import refuse_exposed

FILE_VARIABLE: Final = "FEDLEDGER_PASSPHRASE_FILE"
BYTES_MAX: Final = 1024
NEW_CHARS_MIN: Final = 8


class PassphraseError(SdkError):
    """Root of this module's refusals."""

    kind = Kind.ACCESS


class NoPassphrase(PassphraseError):
    """No source was given and there is no terminal to ask at."""

    hint = f"Give --passphrase-file FILE (a pipe such as /dev/fd/3 is one too), or set {FILE_VARIABLE} to its name."

    def __init__(self) -> None:
        super().__init__("a passphrase is needed, and there is no terminal to ask for it")


class InvalidPassphrase(PassphraseError, ValueError):
    """Empty, too long, too short for a new key, not UTF-8, or typed differently the second time."""

    hint = f"A passphrase has {NEW_CHARS_MIN} characters or more and at most {BYTES_MAX} bytes."


def read_passphrase(
    *,
    file: Path | None = None,
    descriptor: int | None = None,
    prompt: str | None = None,
    is_new: bool = False,
    environment: Mapping[str, str] = os.environ,
) -> str:
    """The passphrase, from ``file``, else ``descriptor``, else the environment's file, else a person.

    ``prompt`` is what a person is asked, twice when ``is_new``; None never asks. Raises NoPassphrase,
    InvalidPassphrase, ExposedFile, OSError.
    """
    if file is not None:
        passphrase = _decoded(_read_file(file))
    elif descriptor is not None:
        with os.fdopen(descriptor, "rb", closefd=False) as source:
            passphrase = _decoded(source.read(BYTES_MAX + 3))
    elif environment.get(FILE_VARIABLE):
        passphrase = _decoded(_read_file(Path(environment[FILE_VARIABLE])))
    elif prompt is not None and sys.stdin.isatty():
        passphrase = getpass.getpass(f"{prompt}: ")
        if is_new and getpass.getpass(f"{prompt}, again: ") != passphrase:
            raise InvalidPassphrase("the two passphrases differ")
    else:
        raise NoPassphrase
    check_passphrase(passphrase, is_new=is_new)
    return passphrase


def check_passphrase(passphrase: str, *, is_new: bool) -> None:
    """Refuse what cannot protect a key.

    Only a new passphrase is held to a least length. Raises InvalidPassphrase.
    """
    if not passphrase:
        raise InvalidPassphrase("the passphrase is empty")
    if len(passphrase.encode("utf-8")) > BYTES_MAX:
        raise InvalidPassphrase(f"the passphrase has more than {BYTES_MAX} bytes")
    if is_new and len(passphrase) < NEW_CHARS_MIN:
        raise InvalidPassphrase(f"the passphrase has fewer than {NEW_CHARS_MIN} characters")


def _read_file(path: Path) -> bytes:
    with path.open("rb") as source:
        status = os.fstat(source.fileno())
        if stat.S_ISREG(status.st_mode):
            refuse_exposed(path, status, "600")
        return source.read(BYTES_MAX + 3)


def _decoded(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidPassphrase("the passphrase is not UTF-8 text") from error
    return text.removesuffix("\n").removesuffix("\r")
