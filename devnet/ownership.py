"""Who runs a home, and what outlived whom: the supervisor's lock, and how its processes are recognised and ended.

A process is known by its id *and* the time it began: ids are used again, and a signal meant for a node of last week
must not reach somebody's editor. On Linux a tether leaves nothing behind; elsewhere a supervisor that is killed does.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from .errors import AlreadyRunning
from .layout import Layout

_PROCESSES: Final = Path("/proc")  # Linux.
_GRACE_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.05


def hold(layout: Layout, seconds: float = 2.0) -> int:
    """Become the one supervisor of a home, until the descriptor is closed or this process dies.

    Blocks for up to ``seconds`` while another holds it: a process that was killed is seen to be dead a moment before
    the kernel has closed its files. Raises AlreadyRunning.
    """
    descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise AlreadyRunning(f"the devnet in {layout.home} runs already") from None
            time.sleep(_POLL_SECONDS)
        else:
            return descriptor


def began_of(pid: int) -> str | None:
    """When a process began, in a form that no other process of that id shares; None if it is gone or a zombie."""
    if _PROCESSES.is_dir():
        try:
            # The name in parentheses may hold anything; state is the first field after it, start time the 20th.
            fields = (_PROCESSES / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            boot = (_PROCESSES / "sys/kernel/random/boot_id").read_text("ascii").strip()
        except OSError:
            return None
        return None if fields[0] in {"Z", "X"} else f"{boot}/{fields[19]}"
    shown = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False, timeout=10
    )
    return shown.stdout.strip() or None


def is_same_process(pid: int, began: str | None) -> bool:
    """Whether the process that began then still lives."""
    return began is not None and began_of(pid) == began


def end_leftovers(processes: Iterable[tuple[int, str | None]]) -> None:
    """End those processes, given as (id, began), that still live: asked first, then killed. Blocks up to 20 s."""
    left = [process for process in processes if is_same_process(*process)]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid, _ in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + _GRACE_SECONDS
        while left and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            left = [process for process in left if is_same_process(*process)]
