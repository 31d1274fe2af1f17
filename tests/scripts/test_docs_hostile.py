"""The tables of hostile input say what the reports say."""

from typing import Any

import pytest

from campaigns.fuzz.targets import TARGETS
from campaigns.hostile.kinds import Kind
from scripts import docs_hostile


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    return docs_hostile.blocks()


@pytest.mark.parametrize("block", ["hostile network", "hostile application"])
def test_every_kind_of_attack_has_a_row(generated: dict[str, str], block: str) -> None:
    for kind in Kind:
        assert f"| {kind} | " in generated[block], "send the attacks again: see docs/hostile-input.md"
    assert "Accepted: 0. Held against the ledger: 0." in generated[block]


def test_every_target_has_a_row_and_no_finding(generated: dict[str, str]) -> None:
    rows = [row for row in generated["fuzz"].splitlines() if row.startswith("| ")][1:-1]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows if "---" not in row] == list(TARGETS)
    assert all(row.endswith("| 0 |") for row in rows if "---" not in row)


def test_codes_are_shown_by_their_names_and_rare_ones_together() -> None:
    outcomes: dict[str, Any] = {"2": 5, "100001": 1, "by the node": 9, "4": 2, "5": 1, "6": 1}
    shown = docs_hostile._outcomes(outcomes)
    assert shown.startswith("by the node 9, `MALFORMED_TRANSACTION` 5, `BAD_SIGNATURE` 2, `POOL_SHARE_FULL` 1")
    assert shown.endswith("2 more codes 2")
