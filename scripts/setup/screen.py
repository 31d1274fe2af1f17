"""What a person sees: a first screen before anything is downloaded, then one line per event.

On a terminal a last line counts the seconds; elsewhere a line now and then says that work goes on. Leaves
to others: every fact that it prints.
"""

import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from scripts.setup.machine import Finding, Fitness, show_size
from scripts.setup.plan import Plan
from scripts.setup.stages import Stage, StageFailed

STILL_ALIVE_SECONDS = 30
"""How often a log without a terminal is told that work goes on."""


def show_duration(seconds: float) -> str:
    """Write a time as people say it: "0.4 s", "12 s", "2 min 05 s"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


@dataclass
class Screen:
    """Prints to one stream, from any thread."""

    stream: TextIO = field(default_factory=lambda: sys.stdout)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _alive_told: float = 0.0
    _ticking: bool = False

    def line(self, text: str = "") -> None:
        """Print one line, above the ticking one if there is any."""
        with self._lock:
            self._wipe()
            print(text, file=self.stream, flush=True)

    def findings(self, findings: Sequence[Finding]) -> None:
        """Print what this machine offers, and for what lacks, what to do."""
        self.line("  this machine")
        for finding in findings:
            mark = "" if finding.verdict is Fitness.OK else f"{finding.verdict.value}: "
            self.line(f"    {finding.subject:<12} {mark}{finding.detail}")
            if finding.remedy:
                self.line(f"    {'':<12} -> {finding.remedy}")

    def plan(self, plan: Plan, logs: Path) -> None:
        """Print what will be done, what it costs, and where to read along."""
        stages = plan.stages()
        width = max(len(stage.purpose) for stage in stages)
        self.line("  to do")
        for stage in stages:
            self.line(f"    {stage.name:<12} {stage.purpose:<{width}}  about {show_duration(stage.cost.seconds)}")
        costs = [stage.cost for stage in stages]
        download, disk, cache = (sum(getattr(cost, part) for cost in costs) for part in ("download", "disk", "cache"))
        seconds = max(sum(stage.cost.seconds for stage in lane) for lane in (*plan.lanes(), plan.installer))
        kept = f"{show_size(disk)} of disk" + (f" and {show_size(cache)} of caches" if cache else "")
        self.line(
            f"  in all at most {show_size(download)} to download, {kept}, "
            f"about {max(1, round(seconds / 60))} min on two cores"
        )
        self.line(f"  logs in {logs}; when it is cut short, the same command goes on from there")
        self.line()

    def started(self, stage: Stage) -> None:
        """Tell that a stage begins."""
        self.line(f"  start  {stage.name}")

    def finished(self, stage: Stage, seconds: float) -> None:
        """Tell that a stage has its result."""
        self.line(f"  done   {stage.name:<9} {show_duration(seconds):>12}")

    def waiting(self, seconds: float, running: Sequence[str]) -> None:
        """Show that work goes on."""
        if not running:
            return
        text = f"  {show_duration(round(seconds)):>6}  {', '.join(running)} …"
        if self.stream.isatty():
            with self._lock:
                self._wipe()
                print(text, end="", file=self.stream, flush=True)
                self._ticking = True
        elif seconds - self._alive_told >= STILL_ALIVE_SECONDS:
            self._alive_told = seconds
            self.line(text)

    def failure(self, error: StageFailed) -> None:
        """Print which stage failed, the end of its log, and what to do next."""
        self.line()
        self.line(f"  FAILED {error.stage.name}: {error.reason}")
        for text in error.tail():
            self.line(f"    | {text}")
        self.line(f"  the whole log: {error.log}")
        if error.stage.hint:
            self.line(f"  -> {error.stage.hint}")
        self.line("  -> the same command resumes at this stage; what is done stays done")

    def _wipe(self) -> None:
        if self._ticking:
            print("\r\x1b[K", end="", file=self.stream)
            self._ticking = False
