"""A campaign as data: what is committed under ``docs/data`` and what the tables of ``docs/reliability.md`` show."""

import math
import os
import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from contracts.registry import RULES
from devnet.manifest import Timeouts

from .campaign import Killed, Outcome
from .plan import Victim

ERRORS_MAX = 300  # Characters of one fault: a log's end can be long.


def report(
    outcome: Outcome,
    *,
    seed: int,
    pace: Timeouts,
    rate: float,
    counts: Mapping[str, int],
    codes: Mapping[int, int],
    cometbft: str,
) -> dict[str, Any]:
    """Everything worth keeping of a campaign, as JSON."""
    audited = outcome.audit
    return {
        "held": outcome.held,
        "seed": seed,
        "kills": len(outcome.kills),
        "seconds": round(outcome.seconds, 1),
        "pace": pace.value,
        "machine": {"cpus": os.cpu_count(), "model": _processor()},
        "versions": {"cometbft": cometbft, "python": platform.python_version(), "rules": RULES.newest.version},
        "load": {
            "most per second": rate,
            "acknowledged": audited.transactions,
            "results": {str(code): count for code, count in sorted(codes.items())},
            "counts": dict(sorted(counts.items())),
        },
        "blocks": audited.heights,
        "abci calls": outcome.calls,
        "faults": [fault[:ERRORS_MAX] for fault in audited.faults],
        "not found by hash": audited.not_indexed,
        "by victim": {
            victim.value: figures for victim in Victim if (figures := _figures(outcome.kills, victim)) is not None
        },
        "by phase": {phase.value: count for phase, count in Counter(one.death.phase for one in outcome.kills).items()},
        "list": [_row(killed) for killed in outcome.kills],
    }


def _figures(kills: Iterable[Killed], victim: Victim) -> dict[str, Any] | None:
    mine = [killed for killed in kills if killed.death.victim is victim]
    if not mine:
        return None
    return {
        "kills": len(mine),
        "held": sum(1 for killed in mine if not killed.faults),
        "seconds": _spread([killed.seconds for killed in mine]),
        "restart seconds": _spread([killed.restart_seconds for killed in mine]),
        "longest gap": round(max(killed.longest_gap for killed in mine), 1),
        "hung": sum(killed.hung for killed in mine),
        "most missed": max(killed.missed for killed in mine),
    }


def _spread(values: list[float]) -> dict[str, float]:
    """The middle (nearest rank) and the largest."""
    return {"p50": round(sorted(values)[math.ceil(len(values) / 2) - 1], 1), "max": round(max(values), 1)}


def _row(killed: Killed) -> dict[str, Any]:
    death, died_at = killed.death, killed.died_at
    after = "" if died_at is None else f"{died_at.method} {'answered' if died_at.answered else 'asked'}"
    return {
        "number": death.number,
        "victim": death.victim.value,
        "validators": [number + 1 for number in death.validators],
        "phase": death.phase.value,
        "died after": after,
        "height": killed.height,
        "hold": death.hold,
        "missed": killed.missed,
        "seconds": round(killed.seconds, 2),
        "restart seconds": round(killed.restart_seconds, 2),
        "longest gap": round(killed.longest_gap, 2),
        "hung": killed.hung,
        "verdict": "held" if not killed.faults else "; ".join(fault[:ERRORS_MAX] for fault in killed.faults),
    }


def _processor() -> str:
    """The processor's name, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
