"""The command: checks first, then the work. `python3 -m scripts.setup --help` says what may be asked.

Leaves to others: each check, each stage and every line that is printed.
"""

import argparse
import os
import signal
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from scripts.setup.go_tools import drop_own_caches
from scripts.setup.machine import Finding, Fitness
from scripts.setup.pins import Clone
from scripts.setup.plan import Plan, judge_named_binaries, look_around, make_plan
from scripts.setup.screen import Screen, show_duration
from scripts.setup.stages import StageFailed, exclusive, run_lanes

ROOT = Path(__file__).resolve().parents[2]
INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Set up what the arguments ask for. Returns the exit code: 0 done, 1 something is missing or failed."""
    wish = _parse(arguments)
    screen, clone, began = Screen(), Clone(ROOT), time.monotonic()
    tools = () if wish.python_only else clone.go_tools
    named = judge_named_binaries(tools, os.environ)
    plan = make_plan(clone, tools, os.environ, with_train=wish.with_train, with_fuzz=wish.with_fuzz)
    if not plan.stages() and not wish.check and not _lacking(named):
        screen.line(f"set-up: everything is in place ({show_duration(time.monotonic() - began)})")
        return 0

    screen.line("fedledger set-up")
    findings = [*look_around(clone, plan), *named]
    screen.findings(findings)
    if _lacking(findings):
        screen.line("  nothing was changed: first see to what is MISSING above")
        return 1
    if not plan.stages():
        screen.line("  everything is in place")
        return 0
    screen.plan(plan, clone.logs)
    return 0 if wish.check else _work(clone, plan, screen, began)


def _work(clone: Clone, plan: Plan, screen: Screen, began: float) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    lanes = plan.lanes() if (os.cpu_count() or 1) > 1 else [plan.stages()]
    try:
        with exclusive(clone.toolchain / "lock", lambda: screen.line("  waiting for another set-up of this clone")):
            for group in ([plan.installer], lanes):
                run_lanes(group, clone.root, clone.logs, screen)
            if plan.go:
                drop_own_caches(clone)
    except StageFailed as error:
        screen.failure(error)
        return 1
    except KeyboardInterrupt:
        screen.line("  interrupted; the same command goes on from here")
        return INTERRUPTED
    screen.line(f"  set up in {show_duration(time.monotonic() - began)}")
    return 0


def _lacking(findings: Iterable[Finding]) -> bool:
    return any(finding.verdict is Fitness.MISSING for finding in findings)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python3 -m scripts.setup",
        description="Sets the project up in this clone. Downloads once, then works offline.",
        epilog="COMETBFT_BIN and IPFS_BIN may name binaries of your own, of exactly the pinned versions.",
    )
    parser.add_argument("--check", action="store_true", help="only tell what is missing and what would be done")
    parser.add_argument("--with-train", action="store_true", help="PyTorch too (4.6 GB on Linux)")
    parser.add_argument("--with-fuzz", action="store_true", help="atheris too, where it has wheels")
    parser.add_argument("--python-only", action="store_true", help="no nodes: enough for lint, types and unit tests")
    return parser.parse_args(arguments)
