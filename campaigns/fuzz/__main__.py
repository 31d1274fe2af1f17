"""Fuzzing from the command line: every target or some, for a time or a number of cases, or one case again::

    python -m campaigns.fuzz --target all --seconds 60 --seed 7 --report fuzz.json
    python -m campaigns.fuzz --target records --seed 7 --case 384
    python -m campaigns.fuzz --target envelope --seconds 600 --engine atheris
    python -m campaigns.fuzz --target envelope --input .fuzz/envelope-crash-1b4f

``--seconds`` and ``--cases`` are per target. What fails says how to see it again.
"""

import argparse
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from . import engine, with_atheris
from .targets import TARGETS

ALL = "all"


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for. Returns the exit status: 1 when a case broke a promise."""
    options = _parser().parse_args(arguments)
    logging.getLogger("abci_app").setLevel(logging.CRITICAL)  # It says when it rejects a proposal.
    names = tuple(TARGETS) if options.target == ALL else (options.target,)
    if options.engine == "atheris":
        return _under_atheris(names, options)
    reports = [_report(name, options) for name in names]
    _summarise(options, {report.target: _described(report) for report in reports})
    return 1 if any(report.findings for report in reports) else 0


def _summarise(options: argparse.Namespace, targets: dict[str, dict[str, Any]]) -> None:
    cases = sum(target["cases"] for target in targets.values())
    summary = {"engine": options.engine, "seed": options.seed, "cases": cases, "targets": targets}
    if options.report:
        options.report.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


def _report(name: str, options: argparse.Namespace) -> engine.Report:
    began = time.monotonic()
    if options.input is not None:
        report = engine.judge(TARGETS[name], options.input.read_bytes())
    elif options.case is not None:
        report = engine.replay(TARGETS[name], options.seed, options.case)
    else:
        seconds = options.seconds if options.cases is None else None
        report = engine.run(
            TARGETS[name], options.seed, cases=options.cases, seconds=seconds, measured=options.measured
        )
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in report.outcomes.most_common(4))
    print(f"{name:17} {report.cases:>10,} cases in {time.monotonic() - began:6.1f} s: {outcomes}", flush=True)
    for finding in report.findings:
        print(f"FAILED {finding}", file=sys.stderr)
    return report


def _described(report: engine.Report) -> dict[str, Any]:
    return {
        "cases": report.cases,
        "outcomes": dict(report.outcomes.most_common()),
        "slowest_ms": round(report.slowest * 1_000, 1),
        "findings": [str(finding) for finding in report.findings],
    }


def _under_atheris(names: tuple[str, ...], options: argparse.Namespace) -> int:
    if not with_atheris.is_installed():
        print("atheris is not installed, or not made for this machine: `make fuzz` installs it", file=sys.stderr)
        return 2
    options.findings.mkdir(parents=True, exist_ok=True)
    described: dict[str, dict[str, Any]] = {}
    for name in names:
        ran = with_atheris.run(name, options.seed, int(options.seconds), options.findings)
        cases, findings = with_atheris.executed(ran.stderr), [ran.stderr[-4_000:]] if ran.returncode else []
        print(f"{name:17} {cases:>10,} cases, exit status {ran.returncode}", flush=True)
        for finding in findings:
            print(finding, file=sys.stderr)
        described[name] = {"cases": cases, "findings": findings}
    _summarise(options, described)
    return 1 if any(target["findings"] for target in described.values()) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m campaigns.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", choices=(ALL, *TARGETS), default=ALL, help="default %(default)s")
    parser.add_argument("--seconds", type=float, default=10, help="for each target (default %(default)s)")
    parser.add_argument("--cases", type=int, help="for each target, instead of a time")
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")
    parser.add_argument("--case", type=int, help="only this case of the seed")
    parser.add_argument("--input", type=Path, help="only the bytes of this file")
    parser.add_argument("--engine", choices=("mutator", "atheris"), default="mutator", help="default %(default)s")
    parser.add_argument(
        "--measured",
        action="store_true",
        help="hold each case to its memory and its lines too, at a tenth of the speed",
    )
    parser.add_argument("--report", type=Path, help="also write a summary to this file")
    parser.add_argument(
        "--findings", type=Path, default=Path(".fuzz"), help="where atheris leaves failing cases (default %(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
