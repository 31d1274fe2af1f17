"""The menu of benchmarks."""

import runpy
import sys

import pytest

from benchmarks import __main__ as menu
from benchmarks.measuring import record


def test_a_result_records_the_command_that_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: list[str] = []
    monkeypatch.setattr(sys, "argv", ["/somewhere/benchmarks/__main__.py", "stages", "--blocks", "3"])
    monkeypatch.setattr(runpy, "run_module", lambda *_, **__: recorded.append(record.command()))
    assert menu.main() == 0
    assert recorded == ["python -m benchmarks stages --blocks 3"]
