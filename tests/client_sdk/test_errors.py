"""What the system said, as people read it."""

import errno
import os

import pytest

from client_sdk.errors import in_words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.toml"), "a.toml: No such file or directory"),
        (FileExistsError(errno.EEXIST, "File exists", "a", None, "b"), "a and b: File exists"),
        (OSError("no folder with a path short enough"), "no folder with a path short enough"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_a_system_error_is_told_with_its_files_and_without_its_number(error: OSError, words: str) -> None:
    assert in_words(error) == words
