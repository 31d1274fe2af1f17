"""Processes that outlived their supervisor: how they are recognised, and how they are ended.

A process is known by its id *and* the time it began: ids are used again, and a signal meant for a node of last week
must not reach somebody's editor. On Linux a tether leaves nothing behind; elsewhere a supervisor that is killed does.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_PROCESSES: Final = Path("/proc")  # Linux.
_GRACE_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.05


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
