"""Runs a target on cases of its mutator and says what became of them. A case that breaks a promise is a ``Finding``.

A case must end by itself: in an answer or in one of the target's refusals, within a bounded amount of memory and a
bounded number of lines of Python. Both are the same on every machine under any load; they are looked at where
``measured`` is asked for, and whenever one case is run alone. How long the slowest case took is reported and proves
nothing: of time there is only a limit that names a case which took far too long, once it has ended.
"""

import time
import traceback
import tracemalloc
from collections import Counter
from dataclasses import dataclass, field
from itertools import count

from ..harness.work import lines_of
from .targets import Target

LINES_MAX = 5_000_000  # For one case: three times what the longest terms take that are read.
HANG_SECONDS = 30.0  # Of processor time, for one case: more than a hundred times what any takes.
MEMORY_MAX = 64 << 20  # Bytes beyond what was held before the case.
FINDINGS_MAX = 20
ACCEPTED = "accepted"


@dataclass(frozen=True)
class Finding:
    """A case that broke a promise, and how to see it again."""

    target: str
    seed: int
    case: int
    raw: bytes
    what: str

    def __str__(self) -> str:
        again = f"python -m campaigns.fuzz --target {self.target} --seed {self.seed} --case {self.case}"
        return f"{self.target}: {self.what}\n  again: {again}\n  {len(self.raw)} bytes: {self.raw[:200].hex()}"


@dataclass
class Report:
    """What became of a target's cases."""

    target: str
    seed: int
    outcomes: Counter[str] = field(default_factory=Counter)
    """By the refusal's name; ``accepted`` for what was accepted."""
    findings: list[Finding] = field(default_factory=list)
    slowest: float = 0.0
    """Seconds of processor time."""
    most_memory: int = 0
    """Bytes, where it was measured."""
    most_lines: int = 0
    """Of Python, where they were counted."""

    @property
    def cases(self) -> int:
        """How many were run."""
        return self.outcomes.total() + len(self.findings)


def run(
    target: Target, seed: int, *, cases: int | None = None, seconds: float | None = None, measured: bool = False
) -> Report:
    """Run this many cases, or as many as fit into this time. ``measured`` holds each to its memory and lines too."""
    report, mutator = Report(target.name, seed), target.mutator()
    ends = time.monotonic() + seconds if seconds is not None else float("inf")
    if measured:
        tracemalloc.start()
    try:
        for number in range(cases) if cases is not None else count():
            _try(target, report, number, mutator.case(_stream(target, seed), number), measured=measured)
            if len(report.findings) == FINDINGS_MAX or time.monotonic() > ends:
                break
    finally:
        tracemalloc.stop()
    return report


def replay(target: Target, seed: int, number: int) -> Report:
    """One case again, measured."""
    return _alone(target, Report(target.name, seed), number, target.mutator().case(_stream(target, seed), number))


def judge(target: Target, raw: bytes) -> Report:
    """Bytes from elsewhere, measured."""
    return _alone(target, Report(target.name, 0), 0, raw)


def verdict(target: Target, raw: bytes) -> str:
    """How the target takes these bytes: ``accepted``, or the refusal's name. Anything else that it raises, passes."""
    try:
        target.run(raw)
    except target.refusals as refusal:
        return type(refusal).__name__
    return ACCEPTED


def _alone(target: Target, report: Report, number: int, raw: bytes) -> Report:
    tracemalloc.start()
    try:
        _try(target, report, number, raw, measured=True)
    finally:
        tracemalloc.stop()
    return report


def _stream(target: Target, seed: int) -> str:
    return f"{target.name} {seed}"


def _try(target: Target, report: Report, number: int, raw: bytes, *, measured: bool = False) -> None:
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    began = time.process_time()
    try:
        outcome = verdict(target, raw)
        seconds, memory = time.process_time() - began, tracemalloc.get_traced_memory()[1] - before
        lines = lines_of(lambda: verdict(target, raw), LINES_MAX) if measured else 0
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a panic in a Rust extension is no Exception.
        what = "".join(traceback.format_exception(error)[-6:])
        report.findings.append(Finding(target.name, report.seed, number, raw, what))
        return
    report.slowest, report.most_lines = max(report.slowest, seconds), max(report.most_lines, lines)
    report.most_memory = max(report.most_memory, memory)
    if seconds > HANG_SECONDS:
        report.findings.append(Finding(target.name, report.seed, number, raw, f"it hung for {seconds:.0f} s"))
    elif memory > MEMORY_MAX:
        report.findings.append(Finding(target.name, report.seed, number, raw, f"it took {memory >> 20} MiB"))
    else:
        report.outcomes[outcome] += 1
