"""The same targets under libFuzzer: atheris follows which code a case reaches and keeps what reaches more.

Cases come from our own mutator, which libFuzzer drives, so they stay as close to real bytes as in the other engine.
libFuzzer takes over its process, so each target has one of its own (``run``); this module is its program::

    python -m campaigns.fuzz.with_atheris envelope 1 60

Exit status 1 and a file in the folder of findings when a case breaks a promise.
"""

import importlib
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random

_INSTRUMENTED = ("contracts", "abci_app", "client_sdk", "learning")
_MEMORY_MIB = 2_048
_CASE_SECONDS = 240  # Of wall time: it catches a case that hangs, on however busy a machine.
_GRACE_SECONDS = 270


def is_installed() -> bool:
    """Whether atheris is there: it has wheels for Linux on x86-64 only."""
    return importlib.util.find_spec("atheris") is not None


def run(name: str, seed: int, seconds: int, findings: Path) -> subprocess.CompletedProcess[str]:
    """Fuzz one target for a while. What libFuzzer says is in the result's ``stderr``."""
    command = [sys.executable, "-m", __name__, name, str(seed), str(seconds), str(findings)]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds + _GRACE_SECONDS, check=False)


def executed(said: str) -> int:
    """How many cases libFuzzer says it ran."""
    line = next((line for line in said.splitlines() if "number_of_executed_units" in line), "0")
    return int(line.rpartition(" ")[2])


def main(name: str, seed: str, seconds: str, findings: str) -> None:
    """The program. Never returns: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=list(_INSTRUMENTED)):
        targets = importlib.import_module("campaigns.fuzz.targets")
    target = targets.TARGETS[name]
    mutator = target.mutator()

    def once(raw: bytes) -> None:
        try:
            target.run(raw)
        except target.refusals:
            return

    def change(raw: bytes, most: int, number: int) -> bytes:
        return mutator.changed(Random(number), bytes(raw))[:most]

    with tempfile.TemporaryDirectory(prefix="fuzz-corpus-") as folder:
        for number, raw in enumerate(target.samples()):
            (Path(folder) / f"{number:04d}").write_bytes(raw)
        options = {
            "seed": seed,
            "max_total_time": seconds,
            "max_len": 1 << 17,
            "timeout": _CASE_SECONDS,
            "rss_limit_mb": _MEMORY_MIB,
            "print_final_stats": 1,
            "artifact_prefix": f"{findings}/{name}-",
        }
        arguments = [__name__, *(f"-{option}={value}" for option, value in options.items()), folder]
        atheris.Setup(arguments, once, custom_mutator=change)
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
