"""The tables of ``docs/hostile-input.md``: what was thrown at the ledger, and what became of it.

Made of what ``campaigns.hostile`` and ``campaigns.fuzz`` reported, under ``docs/data``.
"""

import json
from pathlib import Path
from typing import Any, Final

from client_sdk.reads.refusals import NODE_REFUSALS
from contracts.kernel.rules import name_of
from contracts.registry import RULES

DATA: Final = Path(__file__).resolve().parents[1] / "docs" / "data"
_LISTED_MAX: Final = 4


def blocks() -> dict[str, str]:
    """Every generated block by its name."""
    network, application = _read("hostile_network"), _read("hostile_application")
    fuzz, atheris = _read("fuzz_mutator"), _read("fuzz_atheris")
    return {
        "hostile network": f"{_siege(network)}\n\n{_network(network)}",
        "hostile application": f"{_siege(application)}\n\n{_application(application)}",
        "fuzz": _targets(fuzz, atheris),
    }


def _read(name: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    return report


def _siege(report: dict[str, Any]) -> str:
    rows = [
        f"| {kind} | {sum(outcomes.values()):,} | {_outcomes(outcomes)} |"
        for kind, outcomes in report["outcomes"].items()
    ]
    return "\n".join(("| what is wrong with it | sent | refused |", "| --- | ---: | --- |", *rows))


def _outcomes(outcomes: dict[str, int]) -> str:
    ranked = sorted(outcomes.items(), key=lambda one: (-one[1], one[0]))
    listed = _LISTED_MAX if len(ranked) > _LISTED_MAX + 1 else len(ranked)
    shown, rest = [f"{_named(code)} {count:,}" for code, count in ranked[:listed]], ranked[listed:]
    return ", ".join(shown) + (f", {len(rest)} more codes {sum(count for _, count in rest):,}" if rest else "")


def _named(code: str) -> str:
    if not code.isdigit():
        return code
    if int(code) in NODE_REFUSALS:
        return f"`{NODE_REFUSALS[int(code)].name}`"
    return f"`{name_of(RULES.refusals[int(code)])}`"


def _network(report: dict[str, Any]) -> str:
    honest = report["honest"]
    return (
        f"- {report['attacks']:,} attacks of seed {report['seed']} on {report['validators']} validators, in"
        f" {report['blocks']:,} blocks and {report['seconds']:.0f} s. Accepted: {_accepted(report)}. Held against the"
        f" ledger: {len(report['faults'])}.\n"
        f"- In between, {honest['accepted']:,} of {honest['sent']:,} honest transactions were accepted."
        f" Refused in their blocks: {_outcomes(honest['refused in blocks, by code']) or 'none'}; without a block, as"
        f" the rules foresee: {_outcomes(honest['refused before a block, by code']) or 'none'};"
        f" expired: {honest['expired']}.\n"
        f"- All {report['processes that lived']} processes are the same ones as before, and make blocks."
    )


def _application(report: dict[str, Any]) -> str:
    counts = report["counts"]
    return (
        f"- {report['attacks']:,} attacks of {report['seeds']['count']} seeds, in {counts['hostile blocks']:,} blocks"
        f" of nothing else. Accepted: {_accepted(report)}. Held against the ledger: {len(report['faults'])}.\n"
        f"- {counts['hostile proposals rejected']:,} of these blocks had to be rejected as proposals, and were;"
        f" {counts['hostile proposals accepted']:,} were within the rules of a proposal, and were accepted.\n"
        f"- In between, {counts['honest transactions accepted']:,} honest transactions were accepted."
    )


def _accepted(report: dict[str, Any]) -> int:
    return sum(outcomes.get("0", 0) for outcomes in report["outcomes"].values())


def _targets(mutator: dict[str, Any], atheris: dict[str, Any]) -> str:
    rows = []
    for name, target in mutator["targets"].items():
        accepted = target["outcomes"].get("accepted", 0)
        led = atheris["targets"][name]
        rows.append(
            f"| {name} | {target['cases']:,} | {accepted:,} | {target['slowest_ms']:,.0f} ms | {led['cases']:,} "
            f"| {len(target['findings']) + len(led['findings'])} |"
        )
    head = (
        "| target | cases | accepted | slowest case | cases led by coverage | findings |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    )
    total = f"| **all** | **{mutator['cases']:,}** | | | **{atheris['cases']:,}** | |"
    return "\n".join((*head, *rows, total))
