"""Where things are in the clone, and which versions are wanted.

No version is written here: each is read from the one file that pins it (`scripts/toolchain/*/go.mod`,
`requirements/*`), so there is nothing to keep in step. Leaves to others: getting any of it.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

Version = tuple[int, ...]


class PinError(ValueError):
    """A file that pins a version does not say what it must."""


def parse_version(text: str) -> Version:
    """Read the first dotted number in `text`: "go1.26.8" is (1, 26, 8). Raises PinError if there is none."""
    found = re.search(r"\d+(?:\.\d+)+", text)
    if found is None:
        raise PinError(f"no version number in {text!r}")
    return tuple(int(part) for part in found.group().split("."))


def show_version(version: Version) -> str:
    """Write (1, 26, 8) as "1.26.8"."""
    return ".".join(map(str, version))


@dataclass(frozen=True)
class GoTool:
    """A program compiled from one pinned Go module: `scripts/toolchain/<name>/{go.mod,go.sum}`."""

    name: str
    """Folder name, and the stage's name."""
    title: str
    """What people call it."""
    binary: str
    """File name in `.toolchain/bin`."""
    variable: str
    """Environment variable by which a user's own binary wins."""
    version_arguments: tuple[str, ...]
    """What makes the program print its version."""
    folder: Path

    @property
    def go_mod(self) -> Path:
        """The file that pins the module and the Go it needs."""
        return self.folder / "go.mod"

    @property
    def go_sum(self) -> Path:
        """The hashes of everything the build reads."""
        return self.folder / "go.sum"

    @cached_property
    def package(self) -> str:
        """Import path of the program, from the `tool` line."""
        return _only(r"^tool\s+(\S+)$", self.go_mod)

    @cached_property
    def version(self) -> Version:
        """Version of the module that holds the program, from its `require` line."""
        for module, version in re.findall(r"^\s*(?:require\s+)?(\S+) v([\d.]+)", self.go_mod.read_text(), re.MULTILINE):
            if f"{self.package}/".startswith(f"{module}/"):
                return parse_version(version)
        raise PinError(f"{self.go_mod} requires no module that holds {self.package}")

    @cached_property
    def minimum_go(self) -> Version:
        """The oldest Go that may compile it, from the `go` line."""
        return parse_version(_only(r"^go\s+(\S+)$", self.go_mod))


@dataclass(frozen=True)
class Clone:
    """The places of one clone of the repository."""

    root: Path

    @property
    def venv(self) -> Path:
        """The project's own Python environment."""
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        """The interpreter of that environment."""
        return self.venv / "bin" / "python"

    @property
    def toolchain(self) -> Path:
        """Everything else that set-up makes."""
        return self.root / ".toolchain"

    @property
    def logs(self) -> Path:
        """One log per stage, of its latest run."""
        return self.toolchain / "logs"

    def requirements(self, name: str) -> Path:
        """Return a file of `requirements/`."""
        return self.root / "requirements" / name

    @cached_property
    def go_tools(self) -> tuple[GoTool, GoTool]:
        """CometBFT and Kubo, in the order they are compiled."""
        folder = self.root / "scripts" / "toolchain"
        return (
            GoTool("cometbft", "CometBFT", "cometbft", "COMETBFT_BIN", ("version",), folder / "cometbft"),
            GoTool("kubo", "Kubo", "ipfs", "IPFS_BIN", ("version", "--number"), folder / "kubo"),
        )


def pinned(requirement: str, path: Path) -> str:
    """Return the version that `path` pins `requirement` to with `==`. Raises PinError when it does not."""
    return _only(rf"^{re.escape(requirement)}==([^\s;\\]+)", path)


def _only(pattern: str, path: Path) -> str:
    found: list[str] = re.findall(pattern, path.read_text(), re.MULTILINE)
    if len(found) != 1:
        raise PinError(f"{path} has {len(found)} lines like {pattern!r}, one is expected")
    return found[0]
