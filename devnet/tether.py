"""Runs a program that must not outlive the process that started it: ``python -I -S tether.py PID PROGRAM ARGS…``.

The kernel is asked to kill this process when its parent dies, however the parent dies; the request survives
``exec``, so the program takes this process over with its id, and nothing of Python remains. Elsewhere than on Linux
there is no such request: there the program simply runs.

A launcher rather than code between fork and exec, because the parent has threads, and a lock that one of them holds at
the fork stays locked in the child for ever. It imports nothing of this package: it starts in 20 ms.
"""

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_EXIT_NOT_EXECUTABLE = 126  # The shell's convention.


def main(arguments: list[str]) -> int:
    """Tether this process to its parent and become the program. Returns only when that fails."""
    parent, command = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # It died before we asked.
            return 0
    try:
        os.execv(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.stderr.write(f"cannot run {command[0]}: {error.strerror}\n")
    return _EXIT_NOT_EXECUTABLE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
