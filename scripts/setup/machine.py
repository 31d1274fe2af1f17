"""What this machine offers and what it lacks, said before anything is downloaded.

Each check answers with one Finding. Leaves to others: deciding what has to be done, and printing.
"""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from scripts.setup.pins import PinError, Version, parse_version, show_version

MEBIBYTE = 1 << 20
DISK_MARGIN = 512 * MEBIBYTE
"""Left over after set-up: a devnet needs room for its blocks."""

PROBE_SECONDS = 20
"""A program that does not tell its version within this time counts as absent."""


class Fitness(Enum):
    """How a check ended."""

    OK = "ok"
    ADVICE = "note"
    MISSING = "MISSING"


@dataclass(frozen=True)
class Finding:
    """One thing that set-up looked at."""

    subject: str
    verdict: Fitness
    detail: str
    remedy: str = ""
    """What to do about it, for everything that is not OK."""


def ask(*command: str | Path, environment: Mapping[str, str] | None = None) -> str | None:
    """Run a program that prints one answer; None when it is absent, fails or does not end in time."""
    try:
        ran = subprocess.run(
            [os.fspath(part) for part in command],
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
            env=None if environment is None else {**os.environ, **environment},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return ran.stdout.strip()


def version_of(*command: str | Path, environment: Mapping[str, str] | None = None) -> Version | None:
    """Return the first dotted number that a program prints; None when it prints none."""
    answer = ask(*command, environment=environment)
    try:
        return None if answer is None else parse_version(answer)
    except PinError:
        return None


def check_system() -> Finding:
    """Unix sockets and process groups carry the whole devnet, so Linux or macOS it is."""
    detail = f"{platform.system()} {platform.machine()}, {os.cpu_count() or 1} cores"
    if platform.system() in {"Linux", "Darwin"}:
        return Finding("system", Fitness.OK, detail)
    return Finding("system", Fitness.MISSING, detail, "use Linux or macOS; on Windows, WSL 2")


def check_python(uv: Path | None) -> Finding:
    """The version was checked at the door; what may lack is the means to install the first package."""
    detail = f"{platform.python_version()} ({sys.executable})"
    if uv is not None or _can_make_environments():
        return Finding("Python", Fitness.OK, detail)
    return Finding(
        "Python",
        Fitness.MISSING,
        f"{detail}, without the venv and ensurepip modules, and there is no uv",
        "install uv, or the rest of Python (on Debian and Ubuntu: apt-get install python3-venv)",
    )


def check_compiler() -> Finding:
    """Both nodes compile without C; a Python package that has no wheel for this machine does not."""
    for name in (os.environ.get("CC", "cc"), "gcc", "clang"):
        if found := shutil.which(name):
            version = version_of(found, "-dumpfullversion") or version_of(found, "--version")
            return Finding("C compiler", Fitness.OK, f"{name} {show_version(version) if version else ''}".strip())
    return Finding(
        "C compiler",
        Fitness.ADVICE,
        "none found",
        "only a Python package without a wheel for this machine needs one (on Debian: apt-get install gcc)",
    )


def check_git() -> Finding:
    """Set-up itself does not call git; working on the repository does."""
    version = version_of("git", "--version")
    if version is not None:
        return Finding("git", Fitness.OK, show_version(version))
    return Finding("git", Fitness.ADVICE, "none found", "to work on the repository, install git")


def check_go(found: tuple[Path, Version] | None, minimum: Version) -> Finding:
    """The system's Go when it is new enough; otherwise a Go toolchain comes as a Python package."""
    if found is not None:
        return Finding("Go", Fitness.OK, f"{show_version(found[1])} ({found[0]})")
    wanted = f"none of at least {show_version(minimum)} on PATH"
    if platform.machine().lower() in {"x86_64", "amd64", "aarch64", "arm64"}:
        return Finding("Go", Fitness.OK, f"{wanted}: one will be installed into .toolchain")
    return Finding(
        "Go",
        Fitness.MISSING,
        wanted,
        f"no Go is packaged for {platform.machine()}: install one and put it on PATH",
    )


def check_disk(needs: Iterable[tuple[Path, int]]) -> Finding:
    """Compare what each folder will receive, in bytes, with what its file system has left."""
    wanted: dict[int, int] = {}
    places: dict[int, Path] = {}
    for folder, size in needs:
        place = _existing_parent(folder)
        device = place.stat().st_dev
        wanted[device] = wanted.get(device, DISK_MARGIN) + size
        places.setdefault(device, place)
    short = []
    for device, size in wanted.items():
        free = shutil.disk_usage(places[device]).free
        if free < size:
            short.append(f"{places[device]} has {show_size(free)} free, {show_size(size)} are needed")
    if short:
        return Finding("disk", Fitness.MISSING, "; ".join(short), "make room, or clone onto a larger disk")
    free = min(shutil.disk_usage(place).free for place in places.values()) if places else 0
    return Finding("disk", Fitness.OK, f"{show_size(free)} free")


def show_size(size: int) -> str:
    """Write a number of bytes as people say it: "350 MB", "4.6 GB" (decimal units)."""
    if size >= 1_000_000_000:
        return f"{size / 1e9:.1f} GB"
    return f"{size // 1_000_000} MB"


def _can_make_environments() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("venv", "ensurepip"))


def _existing_parent(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())
