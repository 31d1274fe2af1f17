"""How fast the SDK and the command line start, and what an installation weighs: ``python -m benchmarks start``.

Whole processes, from their start to their end, many times, in turn so that a disturbance hits all of them. Sizes are
those of the installed files of every distribution that an extra needs, by its own record, bytecode left out.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks.load.network import manifest
from benchmarks.measuring import figures, record
from client_sdk.session.homes import HOME_VARIABLE
from devnet.manifest import Application, Timeouts
from devnet.supervisor import Devnet

NAME = "start"
PROGRAM = "fedledger"
_CLI = str(Path(sys.executable).with_name(PROGRAM))


def main() -> int:
    """Measure starts and sizes. Returns the exit status."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="fedledger-bench-") as folder:
        starts = asyncio.run(_with_a_node(Path(folder), options.repeats))
    sizes = {extra or "bare": size_of(PROGRAM, extra) for extra in ("", "cli", "node")}
    for name, row in (*starts.items(), *sizes.items()):
        print(name, row)
    record.save(options.output, {"at": record.now(), "revision": record.revision(), "starts": starts, "sizes": sizes})
    return 0


async def _with_a_node(folder: Path, repeats: int) -> dict[str, Any]:
    """The starts, while one validator runs that the query can ask."""
    described = manifest(Application.FEDLEDGER, 1, Timeouts.CONSORTIUM, members=4)
    async with Devnet(described, folder / "devnet"):
        return await asyncio.to_thread(starts_of, commands(), repeats, folder)


def commands() -> dict[str, list[str]]:
    """What is started."""
    return {
        "python, nothing imported": [sys.executable, "-c", "pass"],
        "import fedledger": [sys.executable, "-c", "import fedledger"],
        "fedledger.connect, looked up": [sys.executable, "-c", "import fedledger; fedledger.connect"],
        "fedledger --version": [_CLI, "--version"],
        "fedledger --help": [_CLI, "--help"],
        "fedledger org show --help": [_CLI, "org", "show", "--help"],
        "fedledger org show --format json": [_CLI, "org", "show", "--format", "json"],
    }


def starts_of(wanted: dict[str, list[str]], repeats: int, home: Path) -> dict[str, Any]:
    """Median and p95 of each command's wall time, in milliseconds; once before, so that files are in memory."""
    times: dict[str, list[float]] = {name: [] for name in wanted}
    for number in range(repeats + 1):
        for name, argv in wanted.items():
            began = time.perf_counter()
            subprocess.run(
                argv,
                env={**os.environ, HOME_VARIABLE: str(home)},
                cwd=record.ROOT,
                stdout=subprocess.DEVNULL,
                check=True,
                timeout=60,
            )
            if number:
                times[name].append(time.perf_counter() - began)
    return {
        name: {
            "median_ms": round(median(seconds) * 1000),
            "p95_ms": round(figures.percentile(seconds, 95) * 1000),
            "repeats": repeats,
        }
        for name, seconds in times.items()
    }


def size_of(name: str, extra: str) -> dict[str, Any]:
    """The distributions that a distribution with an extra needs, itself included, and their installed bytes."""
    needed = {key: _bytes_of(key) for key in sorted(needs(name, extra))}
    heaviest = sorted(needed, key=lambda key: -needed[key])[:6]
    return {
        "distributions": len(needed),
        "mib": round(sum(needed.values()) / 2**20, 1),
        "heaviest_mib": {key: round(needed[key] / 2**20, 1) for key in heaviest},
    }


def needs(name: str, extra: str = "") -> set[str]:
    """Names of everything that has to be installed, transitively, on this machine."""
    found: set[str] = set()
    waiting = [(canonicalize_name(name), extra)]
    done: set[tuple[str, str]] = set()
    while waiting:
        current, wanted = waiting.pop()
        if (current, wanted) in done:
            continue
        done.add((current, wanted))
        found.add(current)
        for line in metadata.requires(current) or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": wanted}):
                key = canonicalize_name(requirement.name)
                waiting += [(key, each) for each in ("", *sorted(requirement.extras))]
    return found


def _bytes_of(name: str) -> int:
    """Installed bytes of one distribution; of this project, those of the packages that its wheel holds."""
    if name == PROGRAM:
        roots = [record.ROOT / part for part in _packages()]
        files = [path for root in roots for path in (root.rglob("*") if root.is_dir() else (root,)) if path.is_file()]
        return sum(path.stat().st_size for path in files if path.suffix != ".pyc")
    distribution = metadata.distribution(name)
    paths = [Path(str(distribution.locate_file(file))) for file in distribution.files or ()]
    return sum(path.stat().st_size for path in paths if path.suffix != ".pyc" and path.is_file())


def _packages() -> list[str]:
    document = tomllib.loads((record.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages: list[str] = document["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    return packages


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks start", description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--output", type=Path, default=record.path_of(NAME))
    return parser


if __name__ == "__main__":
    sys.exit(main())
