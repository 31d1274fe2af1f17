"""The tables of ``docs/benchmarks.md``, from the results that are kept: nothing in them is written by hand.

A result that is not there yet is said to be missing. Ratios are taken pair by pair and their median is shown, beside
every single value.
"""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any, Final

from benchmarks.measuring import record
from benchmarks.measuring.figures import ratio

MISSING: Final = "Not measured yet."
RATIO_AIMS: Final = {
    ("cheapest", 1): 0.5,
    ("cheapest", 4): 0.4,
    ("contribution, 64 seats", 1): 0.35,
    ("contribution, 64 seats", 4): 0.25,
    ("contribution, 256 seats", 1): 0.35,
    ("contribution, 256 seats", 4): 0.25,
}
STAGE_AIMS: Final = {"cheapest": 2.5, "contribution, 64 seats": 4.0, "contribution, 256 seats": 4.0}
"""In Ed25519 verifications of the same process: all stages of a transaction, the mean over a contribution's steps."""
LATENCY_AIM: Final = 1.3  # p50 over kvstore's, at 20 transactions a second.
PAPER_MS: Final = 335.0  # The paper's commit latency at a block interval of 300 ms.
_FUNCTIONS: Final = 12
_STAGES: Final = (
    ("CheckTx", "CheckTx, new"),
    ("recheck", "CheckTx, recheck"),
    ("PrepareProposal", "PrepareProposal"),
    ("ProcessProposal", "ProcessProposal"),
    ("FinalizeBlock", "FinalizeBlock"),
    ("Commit", "Commit"),
    ("query with proof", "query with proof (each)"),
)

Json = dict[str, Any]


def blocks() -> dict[str, str]:
    """Every generated block of ``docs/benchmarks.md`` by its name."""
    found = {
        name: record.load(record.path_of(name))
        for name in ("throughput", "stages", "messages", "growth", "start", "demo")
    }
    return {
        "machine": machine(found),
        "throughput": throughput(found["throughput"].get("runs", [])),
        "latency": latency(found["throughput"].get("runs", [])),
        "processor time": processor_time(found["throughput"].get("runs", [])),
        "stages": stages(found["stages"].get("workloads", {})),
        "stage aims": stage_aims(found["stages"].get("workloads", {})),
        "profile": profiles(found["stages"].get("workloads", {})),
        "messages": messages(found["messages"].get("sizes", [])),
        "growth": growth(found["growth"].get("sizes", [])),
        "start": starts(found["start"].get("starts", {})),
        "size": sizes(found["start"].get("sizes", {})),
        "demo": demo(found["demo"]),
    }


def machine(found: dict[str, Json]) -> str:
    """On what each result was measured, when, at which commit, and how to repeat it."""
    rows = []
    for name, result in found.items():
        if result:
            runs = result.get("runs") if name == "throughput" else None
            ends = [run["at"] for run in runs] if runs else [result["at"]]
            commits = sorted({run["revision"] for run in runs} if runs else {result["revision"]})
            days = " to ".join(sorted({min(ends)[:10], max(ends)[:10]}))
            file = f"[{name}.json](../benchmarks/results/{name}.json)"
            rows.append((file, f"`{result['command']}`", days, ", ".join(f"`{commit}`" for commit in commits)))
    if not rows:
        return MISSING
    kinds = {_machine_line(result["machine"]): None for result in found.values() if result}
    return "\n".join(f"- {line}" for line in kinds) + "\n\n" + table(("raw data", "command", "day", "commit"), rows)


def throughput(runs: Sequence[Json]) -> str:
    """Committed transactions per second, side by side."""
    rows = []
    for point, ours, theirs in _pairs(runs):
        mine, other = ([run["throughput"]["per_second"] for run in side] for side in (ours, theirs))
        reached = median(map(ratio, mine, other))
        aim = RATIO_AIMS.get(point[:2])
        interval = _median_of(ours, "throughput", "interval_p50_ms")
        reached_aim = _verdict(aim, reached, least=True)
        cells = (_each(mine), _each(other), f"**{reached:.2f}**", reached_aim, f"{interval:.0f}", _bytes(ours))
        rows.append((*point, *cells))
    head = ("transaction", "validators", "profile", "connections", "fedledger tx/s", "kvstore tx/s", "ratio", "aim")
    return table((*head, "block interval p50, ms", "bytes"), rows)


def latency(runs: Sequence[Json]) -> str:
    """From sending to the block being committed, at 20 transactions a second."""
    rows = []
    for point, ours, theirs in _pairs(runs):
        mine, other = ([run["latency"]["p50_ms"] for run in side] for side in (ours, theirs))
        reached = median(map(ratio, mine, other))
        paper = _verdict(PAPER_MS, median(mine), least=False) if point[2] == "consortium" else ""
        cells = (_three(ours), _three(theirs), f"**{reached:.2f}**", _verdict(LATENCY_AIM, reached, least=False))
        rows.append((*point, *cells, paper))
    head = ("transaction", "validators", "profile", "connections", "fedledger p50 / p95 / p99, ms")
    return table((*head, "kvstore p50 / p95 / p99, ms", "ratio of p50", "aim", "p50, ms"), rows)


def processor_time(runs: Sequence[Json]) -> str:
    """Processor time for each committed transaction under full load, over all processes of a kind."""
    rows = []
    for point, ours, theirs in _pairs(runs):
        for name, side in (("fedledger", ours), ("kvstore", theirs)):
            kinds = [f"{_median_of(side, 'cpu_us_per_transaction', kind):.0f}" for kind in _KINDS]
            cores = [f"{_median_of(side, 'cpu_cores', kind):.2f}" for kind in _KINDS]
            rows.append((*point, name, *kinds, " / ".join(cores)))
    head = ("transaction", "validators", "profile", "connections", "ledger", "application, µs", "CometBFT, µs")
    return table((*head, "generator, µs", "cores: application / CometBFT / generator"), rows)


def stages(workloads: dict[str, Json]) -> str:
    """Processor time of one node's application for each transaction, in microseconds and in verifications."""
    columns = [
        (_column(workload, kind), measured["verification_us"], row, measured["pressed"]["kinds"][kind])
        for workload, measured in workloads.items()
        for kind, row in measured["kinds"].items()
    ]
    rows: list[tuple[object, ...]] = [
        (label, *(_micro(row["stages"].get(stage)) for _, _, row, _ in columns))
        for stage, label in _STAGES
    ]  # fmt: skip
    rows += [
        ("**sum, with one recheck**", *(f"**{row['total_us']:.0f}**" for _, _, row, _ in columns)),
        ("one verification", *(f"{verification:.0f}" for _, verification, _, _ in columns)),
        ("**sum, in verifications**", *(f"**{row['verifications']:.1f}**" for _, _, row, _ in columns)),
        ("CheckTx, new, under pressure", *(_micro(pressed["stages"]["CheckTx"]) for _, _, _, pressed in columns)),
        (
            "**sum under pressure, in verifications**",
            *(f"**{pressed['verifications']:.1f}**" for *_, pressed in columns),
        ),
    ]
    return table(("processor time, µs", *(name for name, *_ in columns)), rows if columns else [])


def stage_aims(workloads: dict[str, Json]) -> str:
    """What the issue's yardstick says: the mean over the kinds of a workload, in verifications."""
    rows = []
    for workload, measured in workloads.items():
        calm, pressed = (_mean(found["kinds"]) for found in (measured, measured["pressed"]))
        verdict = _verdict(STAGE_AIMS.get(workload), pressed, least=False)
        rows.append((workload, f"{calm:.1f}", f"{pressed:.1f}", verdict))
    return table(("transaction", "verifications", "under pressure", "aim"), rows)


def _mean(kinds: Json) -> float:
    return sum(float(row["verifications"]) for row in kinds.values()) / len(kinds)


def messages(measured: Sequence[Json]) -> str:
    """Processor time of each message at each size of the state, and how much the largest adds to the smallest."""
    rows = []
    for name in measured[0]["messages_us"] if measured else ():
        times = [size["messages_us"][name] for size in measured]
        growth_ = f"{ratio(times[-1], times[0]):.2f}" if len(times) > 1 else ""
        rows.append((f"`{name}`", *(f"{each:.0f}" for each in times), growth_))
    if measured:
        rows.append(("one verification", *(f"{size['verification_us']:.0f}" for size in measured), ""))
    sizes_ = (f"{size['entries']:,} entries" for size in measured)
    return table(("processor time, µs", *sizes_, "last by first"), rows)


def profiles(workloads: dict[str, Json]) -> str:
    """The functions that take most of the time themselves, with their share of it."""
    parts = []
    for name, measured in workloads.items():
        rows = [
            (f"`{row['function']}`", f"{row['own_share']:.1%}", f"{row['share']:.1%}")
            for row in measured["profile"]["own_share"][:_FUNCTIONS]
        ]
        parts.append(f"{name}:\n\n" + table(("function", "itself", "with what it calls"), rows))
    return "\n\n".join(parts) or MISSING


def growth(measured: Sequence[Json]) -> str:
    """What a node costs as its state grows."""
    rows = [
        (
            f"{row['entries']:,}",
            row["finalize_p50_ms"],
            row["commit_p50_ms"],
            row["block_p95_ms"],
            f"{row['query_p50_us']:.0f} / {row['query_p95_us']:.0f}",
            row["restart_s"],
            row["memory_mib"],
            row["database_mib"],
            f"{row['proof_bytes']:.0f} (most {row['proof_bytes_most']})",
        )
        for row in measured
    ]
    head = ("entries", "FinalizeBlock p50, ms", "Commit p50, ms", "both p95, ms", "query p50 / p95, µs")
    return table((*head, "restart, s", "memory, MiB", "database, MiB", "proof, bytes"), rows)


def starts(measured: dict[str, Json]) -> str:
    """Wall time of whole processes."""
    rows = [(f"`{name}`", row["median_ms"], row["p95_ms"], row["repeats"]) for name, row in measured.items()]
    return table(("process", "median, ms", "p95, ms", "repeats"), rows)


def sizes(measured: dict[str, Json]) -> str:
    """What an installation weighs."""
    rows = [
        (name, row["distributions"], row["mib"], ", ".join(f"{key} {mib}" for key, mib in row["heaviest_mib"].items()))
        for name, row in measured.items()
    ]
    return table(("install", "distributions", "MiB", "heaviest, MiB"), rows)


def demo(result: Json) -> str:
    """The demo's parts."""
    if not result:
        return MISSING
    runs = result["runs"]
    rows: list[tuple[object, ...]] = [
        (
            name,
            seconds,
            ", ".join(str(part["seconds"]) for run in runs for part in run["parts"] if part["name"] == name),
        )
        for name, seconds in result["median_seconds"].items()
    ]
    whole = [run["seconds"] for run in runs]
    rows.append(("**the whole demo**", f"**{median(whole):.1f}**", ", ".join(map(str, whole))))
    return table((f"part ({result['dataset']}, {result['store']})", "median, s", "each run, s"), rows)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table, or that there is nothing yet."""
    lines = [head, ["---"] * len(head), *rows]
    if len(lines) == 2:
        return MISSING
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


_KINDS: Final = ("application", "node", "generator")
Point = tuple[str, int, str, int]


def _pairs(runs: Sequence[Json]) -> list[tuple[Point, list[Json], list[Json]]]:
    """For each point, fedledger's and kvstore's runs of the pairs that are whole, pair by pair."""
    found: dict[Point, dict[str, dict[int, Json]]] = {}
    for run in runs:
        point = (run["workload"], run["validators"], run["profile"], run["pressure"]["connections"])
        found.setdefault(point, {}).setdefault(run["application"], {})[run["pair"]] = run
    whole = []
    for point, sides in sorted(found.items()):
        ours, theirs = sides.get("fedledger", {}), sides.get("kvstore", {})
        both = sorted(ours.keys() & theirs.keys())
        if both:
            whole.append((point, [ours[pair] for pair in both], [theirs[pair] for pair in both]))
    return whole


def _median_of(runs: Sequence[Json], part: str, name: str) -> float:
    return float(median(run[part].get(name, 0.0) for run in runs))


def _each(values: Iterable[float]) -> str:
    return ", ".join(f"{value:,.0f}" for value in values)


def _three(runs: Sequence[Json]) -> str:
    return "; ".join(" / ".join(f"{run['latency'][f'p{percent}_ms']:.0f}" for percent in (50, 95, 99)) for run in runs)


def _bytes(runs: Sequence[Json]) -> str:
    sent = runs[-1]["tx_bytes"]
    return f"{sent['least']} to {sent['most']}, mean {sent['mean']}"


def _column(workload: str, kind: str) -> str:
    return workload.replace("contribution", kind)


def _micro(stage: Json | None) -> str:
    return "" if stage is None else f"{stage['cpu_us']:.0f}"


def _verdict(aim: float | None, reached: float, *, least: bool) -> str:
    if aim is None:
        return ""
    is_met = reached >= aim if least else reached <= aim
    return f"{'≥' if least else '≤'} {aim:g}: {'met' if is_met else 'missed'}"


def _machine_line(found: Json) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    return (
        f"{found['processor']}, {found['cores']} cores, {found['memory_gib']} GiB of memory; {found['system']}; "
        f"Python {found['python']}; CometBFT {found['cometbft']}; {packages}"
    )
