"""The tables of ``docs/reliability.md``, from the reports under ``docs/data``: nothing in them is written by hand.

``kills.json`` is the report of ``campaigns/reliability``, ``simulation.json`` that of ``campaigns/simulation``.
"""

import json
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
DATA: Final = ROOT / "docs" / "data"
MISSING: Final = "Not measured yet."

Json = dict[str, Any]


def blocks() -> dict[str, str]:
    """Every generated block of ``docs/reliability.md`` by its name."""
    kills, simulated = _load("kills"), _load("simulation")
    return {
        "kills": _kills(kills) if kills else MISSING,
        "kills one by one": _one_by_one(kills) if kills else MISSING,
        "simulation": _simulation(simulated) if simulated else MISSING,
        "planted": _planted(simulated) if simulated else MISSING,
    }


def _load(name: str) -> Json | None:
    path = DATA / f"{name}.json"
    if not path.exists():
        return None
    report: Json = json.loads(path.read_text(encoding="utf-8"))
    return report


# Kills ------------------------------------------------------------------------------------------


def _kills(report: Json) -> str:
    machine, versions, load = report["machine"], report["versions"], report["load"]
    held = sum(1 for killed in report["list"] if killed["verdict"] == "held")
    missing = sum(report["not found by hash"].values())
    rows = [
        (
            victim,
            one["kills"],
            one["held"],
            _span(one["seconds"]),
            _span(one["restart seconds"]),
            f"{one['longest gap']:.1f}",
            one["most missed"],
        )
        for victim, one in report["by victim"].items()
    ]
    head = (
        "killed",
        "times",
        "held",
        "death to caught up, s",
        "start to caught up, s",
        "longest gap, s",
        "most missed",
    )
    alone = [one for one in report["list"] if one["victim"] == "application"]
    agreed = "yes" if not report["faults"] else "NO"
    facts = [
        f"{report['kills']} deaths of seed {report['seed']}, {held} of which held, in {report['seconds']:,.0f} s.",
        f"{report['blocks']:,} blocks with {load['acknowledged']:,} acknowledged transactions.",
        f"All of them on all four nodes, at the same height with the same result: {agreed}.",
        f"{missing:,} look-ups of an acknowledged transaction by its hash found nothing, on all nodes together.",
        f"{report['abci calls']:,} recorded ABCI calls of all four nodes, held to the grammar.",
        f"CometBFT hung after {sum(one['hung'] for one in alone)} of {len(alone)} deaths of its application alone.",
        f"CometBFT {versions['cometbft']}, Python {versions['python']}, application version {versions['application']}.",
        f"Machine: {machine['cpus']} × {machine['model']}; pace `{report['pace']}`.",
    ]
    faults = [f"- **Fault:** {fault}" for fault in report["faults"]]
    return "\n".join([_table(head, rows), "", *(f"- {fact}" for fact in facts), *faults])


def _one_by_one(report: Json) -> str:
    head = ("#", "killed", "validators", "phase", "last call", "height", "missed", "s", "gap, s", "verdict")
    rows = [
        (
            one["number"],
            one["victim"],
            ", ".join(map(str, one["validators"])),
            one["phase"],
            one["died after"] or "none",
            one["height"],
            one["missed"],
            f"{one['seconds']:.1f}",
            f"{one['longest gap']:.1f}",
            one["verdict"] + (", CometBFT hung" if one["hung"] else ""),
        )
        for one in report["list"]
    ]
    return _table(head, rows)


def _span(figures: Json) -> str:
    return f"{figures['p50']:.1f}, at most {figures['max']:.1f}"


# Simulation -------------------------------------------------------------------------------------


def _simulation(report: Json) -> str:
    seeds, decided = report["seeds"], report["transactions"]["decided"]
    first, last = seeds["first"], seeds["first"] + seeds["count"] - 1
    failed = ", ".join(f"{one['seed']} ({one['why']})" for one in seeds["failed"]) or "none"
    figures = [
        ("seeds", f"{first} to {last}"),
        ("failed", failed),
        ("replicas in each", report["replicas"]),
        ("blocks", f"{report['blocks']:,}"),
        ("transactions decided", f"{sum(decided.values()):,}, of which {decided.get('0 ACCEPTED', 0):,} accepted"),
        ("kinds of refusal met", len(decided) - 1),
        ("crashes", f"{sum(report['crashes'].values()):,}"),
        ("Byzantine proposals", f"{sum(report['byzantine proposals'].values()):,}"),
        *((name, f"{count:,}") for name, count in report["counts"].items()),
    ]
    crashes = [(point, f"{count:,}") for point, count in report["crashes"].items()]
    invariants = [f"{place}. {name}" for place, name in enumerate(report["invariants"], 1)]
    return "\n".join(
        [
            _table(("what", "how many"), figures),
            "",
            _table(("died at", "times"), crashes),
            "",
            "Held after every block, on top of the agreement of all replicas:",
            "",
            *invariants,
        ]
    )


def _planted(report: Json) -> str:
    rows = [
        (f"`{name}`", one["what"], one["noticed by"], "two interpreters" if one["seed"] is None else one["seed"])
        for name, one in report.get("planted", {}).items()
    ]
    return _table(("planted bug", "what is wrong", "noticed by", "first seed"), rows) if rows else MISSING


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
