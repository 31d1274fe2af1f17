"""Files that only their owner may read: how secrets are put on disk, and refused when others could read them.

A private file has mode 0600 (or stricter) and belongs to this user, as does the directory it is in, with mode
0700. Reading checks both on the open descriptor, follows no symbolic link, and is bounded. Writing is atomic:
a new file appears whole or not at all, and never takes the place of another; a replacement is whole before
the old one goes.
"""

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from ..errors import Kind, SdkError

_OTHERS: Final = 0o077


class PrivateFileError(SdkError):
    """Root of this module's refusals."""

    kind = Kind.ACCESS


class ExposedFile(PrivateFileError):
    """A secret that others may read or replace."""

    def __init__(self, path: Path, why: str, hint: str) -> None:
        super().__init__(f"{path}: {why}", hint=hint)
        self.path = path


class FileTooLarge(PrivateFileError):
    """More than a secret of this kind can be."""

    hint = "Is this the right file?"

    def __init__(self, path: Path, bytes_max: int) -> None:
        super().__init__(f"{path}: more than {bytes_max} bytes")
        self.path = path


def make_private_directory(directory: Path) -> None:
    """Make a directory for this user alone, and refuse an existing one that is not.

    Raises ExposedFile, OSError.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    refuse_exposed(directory, directory.stat(), "700")


def read_private(path: Path, *, bytes_max: int) -> bytes:
    """A private file's content. Raises FileNotFoundError, ExposedFile, FileTooLarge, OSError."""
    refuse_exposed(path.parent, path.parent.stat(), "700")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if path.is_symlink():
            raise ExposedFile(path, "is a symbolic link", "Name the file itself.") from error
        raise
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ExposedFile(path, "is not a regular file", "Name a file.")
        refuse_exposed(path, status, "600")
        content = file.read(bytes_max + 1)
    if len(content) > bytes_max:
        raise FileTooLarge(path, bytes_max)
    return content


def create_private(path: Path, content: bytes) -> None:
    """Write a new private file. Raises FileExistsError and leaves what is there; ExposedFile, OSError."""
    make_private_directory(path.parent)
    temporary = _written(path, content)
    try:
        os.link(temporary, path)  # Unlike a rename, fails when the name is taken.
    finally:
        temporary.unlink()
    sync_directory(path.parent)


def replace_private(path: Path, content: bytes) -> None:
    """Write a private file in the place of an old one. Raises ExposedFile, OSError."""
    make_private_directory(path.parent)
    temporary = _written(path, content)
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise
    sync_directory(path.parent)


def refuse_exposed(path: Path, status: os.stat_result, mode: str) -> None:
    """Refuse what another user owns or may use; ``mode`` is what the hint asks for. Raises ExposedFile."""
    if status.st_uid != os.geteuid():
        hint = "Secrets are read by their owner only: run as that user, or make a key of your own."
        raise ExposedFile(path, f"belongs to user {status.st_uid}, not to you", hint)
    if stat.S_IMODE(status.st_mode) & _OTHERS:
        hint = f"Run: chmod {mode} {path}"
        raise ExposedFile(path, f"others may use it (mode {stat.S_IMODE(status.st_mode):04o})", hint)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable: a file's own fsync does not. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _written(path: Path, content: bytes) -> Path:
    """A temporary file beside ``path``, durable, mode 0600."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException as error:
        temporary.unlink()
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # A full disk does not say which file it had no room for.
        raise
    return temporary
