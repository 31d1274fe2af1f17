"""Results as they are kept: ``benchmarks/results/NAME.json`` with the machine they were measured on."""

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from devnet import binaries

ROOT: Final = Path(__file__).resolve().parents[2]
RESULTS: Final = Path(__file__).resolve().parents[1] / "results"
_PACKAGES: Final = ("aiohttp", "cbrrr", "lmdb", "protobuf", "pynacl")


def path_of(name: str) -> Path:
    """Where a benchmark's results are kept."""
    return RESULTS / f"{name}.json"


def load(path: Path) -> dict[str, Any]:
    """Earlier results; nothing when there are none."""
    if not path.exists():
        return {}
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def save(path: Path, results: dict[str, Any]) -> None:
    """Write results with the machine, in place of earlier ones: whole, or not at all."""
    document = {"machine": machine(), "command": command(), **results}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)


def command() -> str:
    """How this process was called, as the README writes it."""
    name = Path(sys.argv[0]).stem
    return " ".join(["python -m benchmarks", *([] if name == "__main__" else [name]), *sys.argv[1:]])


def now() -> str:
    """The time, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def machine() -> dict[str, Any]:
    """What the figures depend on: processor, memory, system, versions."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "cometbft": _cometbft(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
    }


def revision() -> str:
    """The commit that is checked out, with ``+`` when files differ from it; unknown outside of a checkout."""
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        return commit + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def load_average() -> float:
    """Processes that wanted to run, over the last minute: what else the machine was doing."""
    return round(os.getloadavg()[0], 2)


def _git(*arguments: str) -> str:
    ran = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _cometbft() -> str:
    ran = subprocess.run([str(binaries.find(binaries.COMETBFT)), "version"], capture_output=True, text=True, check=True)
    return ran.stdout.strip()
