"""The stages that install Python packages: the installer itself, the locked environment, PyTorch.

Every package but PyTorch is installed from a lock with hashes. PyTorch's builds differ per platform and
index, so it is pinned by version only, and a user's UV_TORCH_BACKEND is honoured. Leaves to others: running
the stages.
"""

import json
import platform
import shutil
import sys
import tomllib
from pathlib import Path

from scripts.setup.machine import ask, version_of
from scripts.setup.pins import Clone, Version, parse_version, pinned
from scripts.setup.stages import Cost, Shell, Stage
from scripts.setup.stamps import Stamp, fingerprint

MINIMUM_PYTHON: Version = (3, 11)
MINIMUM_UV: Version = (0, 8)
"""The first that knows `uv venv --clear`."""
FUZZING_PYTHONS: tuple[Version, ...] = ((3, 11), (3, 12), (3, 13))
"""Those that the locked atheris has wheels for."""

NETWORK_HINT = (
    "The package index could not be used? uv does not read pip's settings: "
    "a mirror goes into UV_DEFAULT_INDEX, a proxy into HTTPS_PROXY, and UV_SYSTEM_CERTS=1 trusts what this "
    "machine trusts."
)
UV_SETTINGS = {"UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never"}


def system_uv() -> Path | None:
    """Return the uv on PATH when it works and is new enough."""
    found = shutil.which("uv")
    version = version_of(found, "--version") if found else None
    return Path(found) if found and version and version >= MINIMUM_UV else None


def own_uv(clone: Clone) -> Path:
    """Return the place of the uv that set-up installs when the machine has none."""
    return clone.toolchain / "uv" / "bin" / "uv"


def find_uv(clone: Clone) -> Path:
    """Return the uv to use: the machine's when it will do, else the one that set-up installs."""
    return system_uv() or own_uv(clone)


def uv_stage(clone: Clone) -> Stage:
    """Install uv from its lock, by pip, into an environment of its own."""
    lock = clone.requirements("uv.txt")
    home = clone.toolchain / "uv"

    def perform(shell: Shell) -> None:
        shell.run(sys.executable, "-m", "venv", "--clear", home)
        shell.run(home / "bin" / "python", "-m", "pip", "install", "--require-hashes", "-r", lock)

    return Stage(
        name="uv",
        purpose=f"uv {pinned('uv', clone.requirements('uv.in'))}, the installer",
        stamp=Stamp(home / "stamp", fingerprint(["uv", lock.read_bytes()]), (own_uv(clone),)),
        cost=Cost(download=25_000_000, disk=75_000_000, seconds=8),
        perform=perform,
        hint="pip could not install uv. Installing uv by other means and putting it on PATH works as well.",
    )


def python_stage(clone: Clone) -> Stage:
    """Install every package that running, testing and checking needs, then this project itself, editable."""
    lock = clone.requirements("dev.txt")
    project = tomllib.loads((clone.root / "pyproject.toml").read_text())
    declared = {
        "project": project["project"],
        "build": project["build-system"],
        "hatch": project["tool"]["hatch"],
    }

    def perform(shell: Shell) -> None:
        uv = find_uv(clone)
        if not is_usable(clone.venv):
            shell.run(uv, "venv", "--clear", "--no-project", "--python", sys.executable, clone.venv)
        install = (uv, "pip", "install", "--python", clone.python)
        shell.run(*install, "--require-hashes", "-r", lock, set_variables=UV_SETTINGS)
        # Built by the hatchling of the lock: an isolated build would download an unhashed one.
        shell.run(*install, "--no-deps", "--no-build-isolation", "--editable", clone.root, set_variables=UV_SETTINGS)

    packages = sum("==" in line for line in lock.read_text().splitlines())
    return Stage(
        name="python",
        purpose=f"{packages} Python packages, each checked against its hash",
        stamp=Stamp(
            clone.venv / "fedledger-setup.stamp",
            fingerprint(["python", lock.read_bytes(), json.dumps(declared, sort_keys=True), str(clone.root)]),
            (clone.python, clone.venv / "bin" / "fedledger"),
        ),
        cost=Cost(download=155_000_000, disk=345_000_000, seconds=10),
        perform=perform,
        hint=NETWORK_HINT,
    )


def torch_stage(clone: Clone) -> Stage:
    """Install PyTorch into the same environment, without moving anything that the lock fixed."""
    wanted = clone.requirements("train.in")
    lock = clone.requirements("dev.txt")

    def perform(shell: Shell) -> None:
        install = (find_uv(clone), "pip", "install", "--python", clone.python)
        shell.run(*install, "-r", wanted, "-c", lock, set_variables=UV_SETTINGS)
        shell.run(clone.python, "-c", "import torch; print(torch.__version__, torch.version.cuda)")

    return Stage(
        name="torch",
        purpose=f"PyTorch {pinned('torch', wanted)} for training with neural networks",
        stamp=Stamp(
            clone.venv / "fedledger-torch.stamp",
            fingerprint(["torch", wanted.read_bytes(), lock.read_bytes()]),
            (clone.python,),
        ),
        cost=Cost(download=2_800_000_000, disk=4_600_000_000, seconds=60),
        perform=perform,
        hint=f"{NETWORK_HINT} Where PyTorch's own index is reachable, UV_TORCH_BACKEND=cpu saves 4 GB.",
    )


def can_fuzz() -> bool:
    """Tell whether atheris is made for this machine and this Python: elsewhere there is the other engine."""
    system = (platform.system(), platform.machine(), platform.python_implementation())
    return system == ("Linux", "x86_64", "CPython") and sys.version_info[:2] in FUZZING_PYTHONS


def fuzz_stage(clone: Clone) -> Stage:
    """Install atheris, which the tests can do without, into the same environment."""
    lock = clone.requirements("fuzz.txt")

    def perform(shell: Shell) -> None:
        install = (find_uv(clone), "pip", "install", "--python", clone.python)
        shell.run(*install, "--require-hashes", "--only-binary", ":all:", "-r", lock, set_variables=UV_SETTINGS)

    return Stage(
        name="fuzz",
        purpose=f"atheris {pinned('atheris', clone.requirements('fuzz.in'))}, libFuzzer for Python",
        stamp=Stamp(
            clone.venv / "fedledger-fuzz.stamp",
            fingerprint(["fuzz", lock.read_bytes()]),
            (clone.python,),
        ),
        cost=Cost(download=32_000_000, disk=110_000_000, seconds=5),
        perform=perform,
        hint=NETWORK_HINT,
    )


def is_usable(venv: Path) -> bool:
    """Tell whether an environment can be adopted: its Python runs, is new enough, and it was made in this place.

    The programs in a moved environment still name the Python of the old place.
    """
    answer = ask(venv / "bin" / "python", "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    if answer is None or parse_version(answer) < MINIMUM_PYTHON:
        return False
    activate = venv / "bin" / "activate"
    return activate.exists() and str(venv) in activate.read_text()
