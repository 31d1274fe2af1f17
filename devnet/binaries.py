"""Where the programs are that a devnet runs: named by the environment, else built by ``make setup``."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .errors import BinaryMissing
from .layout import REPOSITORY
from .manifest import Manifest


@dataclass(frozen=True, slots=True)
class Program:
    """A program of the toolchain."""

    title: str
    file_name: str
    variable: str
    """The environment variable by which a user's own build wins."""


COMETBFT: Final = Program("CometBFT", "cometbft", "COMETBFT_BIN")
KUBO: Final = Program("Kubo", "ipfs", "IPFS_BIN")


def find(program: Program, environment: Mapping[str, str] = os.environ) -> Path:
    """The program's absolute path. Raises BinaryMissing."""
    given = environment.get(program.variable)
    path = Path(given).absolute() if given else REPOSITORY / ".toolchain" / "bin" / program.file_name
    if not path.is_file():
        raise BinaryMissing(program.title, program.variable, path, "there is no such file")
    if not os.access(path, os.X_OK):
        raise BinaryMissing(program.title, program.variable, path, "it may not be executed")
    return path


def require(manifest: Manifest) -> None:
    """Refuse to begin what a missing program would end. Raises BinaryMissing."""
    find(COMETBFT)
    if manifest.kubo_nodes:
        find(KUBO)
