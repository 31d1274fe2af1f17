"""The published vectors, replayed through ``contracts.transition`` and nothing of the test harness.

What another implementation would do: start from the genesis, decide the blocks, put in the given entries, decide the
one transaction, and compare. Kept apart from the harness that writes the files, so that both would have to be wrong
in the same way.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from contracts import transition
from contracts.kernel.absence import AbsenceProof, verify_absence
from contracts.kernel.merkle import ProofInvalid, ProofOp
from contracts.kernel.state_tree import StateTree, StateVersion
from contracts.registry import CONTRACTS, RULES
from contracts.transition import BlockContext, Result, Transaction

FOLDER = Path(__file__).parent / "vectors"
SETUPS = sorted(path.stem for path in (FOLDER / "setup").glob("*.json"))
PROOFS = sorted(path.stem for path in (FOLDER / "absence").glob("*.json"))
VECTORS = sorted(
    str(path.relative_to(FOLDER)) for path in FOLDER.glob("*/*.json") if path.parent.name not in ("setup", "absence")
)


class Ledger:
    """State as a plain dictionary, and its root."""

    def __init__(self, entries: dict[bytes, bytes], tree: StateVersion) -> None:
        self.entries = entries
        self.tree = tree

    def get(self, path: bytes) -> bytes | None:
        return self.entries.get(path)

    def scan(self, prefix: bytes, after: bytes | None = None, limit: int = 100) -> Iterator[tuple[bytes, bytes]]:
        matching = (path for path in sorted(self.entries) if path.startswith(prefix) and path > (after or b""))
        for path, _ in zip(matching, range(limit), strict=False):
            yield path, self.entries[path]

    def written(self, writes: dict[bytes, bytes | None]) -> "Ledger":
        merged = {**self.entries, **writes}
        return Ledger({path: body for path, body in merged.items() if body is not None}, self.tree.staged(writes))

    def decided(self, chain_id: str, block: dict[str, Any], txs: list[str]) -> tuple["Ledger", tuple[Result, ...]]:
        context = BlockContext(chain_id, block["height"], block["time_ms"])
        decided = map(Transaction, map(bytes.fromhex, txs))
        results, writes = transition.apply_block(RULES.of(1), self, decided, context)
        return self.written(writes), results


@cache
def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / name).read_text(encoding="ascii"))
    return content


@cache
def reached(setup: str, chain_id: str) -> Ledger:
    """The ledger at the end of a setup file."""
    stated = read(f"setup/{setup}.json")
    if "genesis" in stated:
        outcome = transition.genesis(RULES.of(1), bytes.fromhex(stated["genesis"]), chain_id)
        ledger = Ledger({}, StateTree(RULES.of(1).stores).latest).written(dict(outcome.writes))
    else:
        ledger = reached(stated["extends"], chain_id)
    return after(ledger, chain_id, stated["steps"])


def after(ledger: Ledger, chain_id: str, steps: list[dict[str, Any]]) -> Ledger:
    for step in steps:
        if "given" in step:
            entries = {path.encode(): body and bytes.fromhex(body) for path, body in step["given"]}
            ledger = ledger.written(entries)
        else:
            ledger, _ = ledger.decided(chain_id, step, step["txs"])
    return ledger


@pytest.mark.parametrize("setup", SETUPS)
def test_a_setup_leads_to_its_root(setup: str) -> None:
    assert reached(setup, "fedledger-test").tree.root.hex() == read(f"setup/{setup}.json")["root"]


@pytest.mark.parametrize("name", VECTORS)
def test_a_vector_replays_to_its_code_data_writes_and_root(name: str) -> None:
    stated = read(name)
    before = after(reached(stated["setup"], stated["chain_id"]), stated["chain_id"], stated["steps"])
    assert before.tree.root.hex() == stated["pre_root"]
    ledger, (result,) = before.decided(stated["chain_id"], stated["block"], [stated["tx"]])
    assert result.code == stated["code"]
    assert result.data.hex() == stated["data"]
    assert [[path.decode(), body and body.hex()] for path, body in result.writes] == stated["writes"]
    assert ledger.tree.root.hex() == stated["root"]


@pytest.mark.parametrize("name", PROOFS)
def test_a_proof_of_absence_is_judged_as_its_vector_says(name: str) -> None:
    stated = read(f"absence/{name}.json")
    operators = [ProofOp(op["type"], bytes.fromhex(op["key"]), bytes.fromhex(op["data"])) for op in stated["operators"]]
    try:
        root, path = bytes.fromhex(stated["root"]), stated["path"].encode()
        verify_absence(root, stated["stores"], path, AbsenceProof.decode(operators))
        verdict = "absent"
    except ProofInvalid as error:
        verdict = f"refused: {error.what}"
    assert verdict == stated["verdict"]


def test_there_are_vectors_of_every_kind_of_absence_proof_and_of_forgeries() -> None:
    assert sum(name.startswith("absence_") for name in PROOFS) == 5
    assert len(PROOFS) >= 15


def test_there_are_vectors_of_every_contract_with_messages() -> None:
    folders = {Path(name).parent.name for name in VECTORS}
    with_messages = {contract.name for contract in CONTRACTS if contract.handlers}
    assert folders >= {"transition", "privacy_budget"} | with_messages
