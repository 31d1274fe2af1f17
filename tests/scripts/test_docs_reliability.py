"""The tables of ``docs/reliability.md``: what reports say is shown, what went wrong above all."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from scripts import docs_reliability, gen_docs

KILLED = {
    "number": 1,
    "victim": "application",
    "validators": [2],
    "phase": "committing",
    "died after": "commit asked",
    "height": 40,
    "hold": 0.0,
    "missed": 3,
    "seconds": 6.61,
    "restart seconds": 5.0,
    "longest gap": 1.42,
    "hung": True,
    "verdict": "held",
}
SPREAD = {"p50": 6.6, "max": 6.6}
KILLS = {
    "held": True,
    "seed": 1,
    "kills": 1,
    "seconds": 30.0,
    "pace": "fast",
    "machine": {"cpus": 2, "model": "a processor"},
    "versions": {"cometbft": "0.39.4", "python": "3.11.7", "application": 1},
    "load": {"acknowledged": 1_234},
    "blocks": 77,
    "abci calls": 5_000,
    "faults": [],
    "not found by hash": {"validator-1": 0, "validator-2": 2},
    "by victim": {
        "application": {
            "kills": 1,
            "held": 1,
            "seconds": SPREAD,
            "restart seconds": SPREAD,
            "longest gap": 1.4,
            "hung": 1,
            "most missed": 3,
        }
    },
    "list": [KILLED],
}


def shown(folder: Path, monkeypatch: pytest.MonkeyPatch, **reports: Any) -> dict[str, str]:
    monkeypatch.setattr(docs_reliability, "DATA", folder)
    for name, report in reports.items():
        (folder / f"{name}.json").write_text(json.dumps(report), encoding="utf-8")
    return docs_reliability.blocks()


def test_what_was_not_measured_is_said_to_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(shown(tmp_path, monkeypatch).values()) == {docs_reliability.MISSING}


def test_a_campaign_shows_its_figures_and_every_death(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = shown(tmp_path, monkeypatch, kills=KILLS)
    assert "| application | 1 | 1 | 6.6, at most 6.6 |" in blocks["kills"]
    assert "77 blocks with 1,234 acknowledged transactions." in blocks["kills"]
    assert "result: yes." in blocks["kills"]
    assert "hung after 1 of 1 deaths" in blocks["kills"]
    assert "2 look-ups" in blocks["kills"]
    assert "| 1 | application | 2 | committing | commit asked | 40 | 3 |" in blocks["kills one by one"]
    assert "held, CometBFT hung" in blocks["kills one by one"]


def test_what_did_not_hold_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = copy.deepcopy(KILLS)
    failed.update(held=False, faults=["validator-2: height 5 is another block"])
    failed["list"][0]["verdict"] = "it did not catch up"  # type: ignore[index]
    blocks = shown(tmp_path, monkeypatch, kills=failed)
    assert "1 deaths of seed 1, 0 of which held" in blocks["kills"]
    assert "result: NO." in blocks["kills"]
    assert "**Fault:** validator-2: height 5 is another block" in blocks["kills"]
    assert "it did not catch up" in blocks["kills one by one"]


def test_the_document_has_a_place_for_every_block() -> None:
    text = gen_docs.RELIABILITY.read_text(encoding="utf-8")
    blocks = docs_reliability.blocks()
    once = gen_docs.render(text, blocks)
    assert gen_docs.render(once, blocks) == once
