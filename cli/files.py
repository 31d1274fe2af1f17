"""Writing the file that a command was asked for: whole, or not at all.

What is no file (a pipe, a device) is written to as it is.
"""

import os
import tempfile
from pathlib import Path

from .errors import CliError


def require_free(path: Path, *, force: bool) -> None:
    """Refuse to replace a file unasked, before the work that makes its contents."""
    if path.exists() and not force:
        raise CliError("FILE_EXISTS", f"{path} is there already", "Name another file, or add --force.")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file in place of an older one. When that fails, what was there before is there still.

    A link leads to the file that is replaced. Raises OSError, which names the file that was asked for.
    """
    unfinished = None
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)  # Replacing it would take /dev/null from everybody.
            return
        place = path.resolve()
        descriptor, unfinished = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o666 & ~_umask())
        Path(unfinished).replace(place)
    except OSError as error:
        if unfinished is not None:
            Path(unfinished).unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
