"""The task file that is shipped as an example is the demo's task, field for field."""

import tomllib
from pathlib import Path

from client_sdk.training import terms_file
from examples.demo import data, task

SHIPPED = Path(__file__).resolve().parents[2] / "chain_config" / "tasks" / "breast-cancer.toml"
VERIFIERS = ("hospital-a", "hospital-b", "lab-1", "lab-2", "auditor")


def test_the_shipped_task_file_is_the_demos_task() -> None:
    prepared = task.prepare("breast-cancer", data.deal("breast-cancer", 6, 1), initial_seed=1, verifiers=VERIFIERS)
    document = tomllib.loads(SHIPPED.read_text(encoding="utf-8"))
    document["canary_records"] = prepared.terms.canary_records  # Counted in the file that is named.
    artefacts = {name: getattr(prepared.terms, name) for name in terms_file.ARTEFACTS}
    assert terms_file.build(document, artefacts, source=str(SHIPPED)) == prepared.terms
