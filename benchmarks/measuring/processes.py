"""Processor time and memory of processes, from Linux's /proc."""

import os
from collections.abc import Mapping
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all its threads so far, proc(5). Raises FileNotFoundError."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    fields = text.rpartition(")")[2].split()  # The name before may hold anything.
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_bytes(pid: int | str = "self", field: str = "VmRSS") -> int:
    """Resident memory of a process, or another field of /proc/PID/status that is in kB."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/{pid}/status has no {field}")


def cpu_by_kind(pids: Mapping[str, list[int]]) -> dict[str, float]:
    """Processor seconds so far, summed over the processes of each kind."""
    return {kind: sum(map(cpu_seconds, members)) for kind, members in pids.items()}
