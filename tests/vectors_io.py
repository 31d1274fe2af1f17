"""Published test vectors: how a test writes one, and how a normal run holds the file to it.

A vector is one transaction on one state, with everything another implementation needs to arrive at the same result:
the situation it starts from (a named setup file, then further steps), the block, the bytes, and the code, data, writes
and root that follow. Its name is the test's name, its reason the test's docstring, its folder the test's module.
``tests/test_vectors.py`` replays the files through ``transition`` alone.
"""

import inspect
import json
from pathlib import Path
from typing import Any

from campaigns.harness.chain import BlockStep, Chain, Step, Who, accepted, facts_of
from campaigns.harness.consortium import SETUPS, Setup
from contracts.kernel import Event, Message, Rejected, codec, envelope
from contracts.kernel.codec import Malformed
from contracts.kernel.rules import Fact, text
from contracts.registry import RULES
from contracts.transition import Result

FOLDER = Path(__file__).parent / "vectors"
SETUP = "setup"
ABSENCE = "absence"  # Proofs, not transactions: written and replayed apart.


class Drift(AssertionError):
    """A vector file is not what the code produces: a rule, an encoding or the test has changed."""


class VectorWriter:
    """What the ``vector`` fixture gives: one decided transaction, checked and recorded."""

    def __init__(self, contract: str, claim: str, why: str, *, write: bool) -> None:
        self._path = FOLDER / contract / f"{claim}.json"
        self._why = why
        self._write = write
        self._recorded = False

    def accepted(self, chain: Chain, who: Who, message: Message) -> tuple[Event, ...]:
        """The transaction must be accepted; its events."""
        return accepted(self._decided(chain, chain.seal(who, message)))

    def refused(self, chain: Chain, refusal: type[Rejected], who: Who, message: Message) -> dict[str, Fact]:
        """The transaction must be refused like this; the facts."""
        return self.refused_raw(chain, refusal, chain.seal(who, message))

    def refused_raw(self, chain: Chain, refusal: type[Rejected], raw: bytes) -> dict[str, Fact]:
        """As ``refused``, for bytes that a member could not have sealed by ``Chain.seal``."""
        result = self._decided(chain, raw)
        assert result.code == refusal.code, f"expected {refusal.__name__}, got {result.code} {result.log}"
        return facts_of(result)

    def _decided(self, chain: Chain, raw: bytes) -> Result:
        assert not self._recorded, "a test records one vector"
        self._recorded = True
        stated = {"why": self._why, "chain_id": chain.chain_id, "setup": chain.setup, "steps": _steps(chain.steps)}
        pre_root, block = chain.root, chain.next_block()
        (result,) = chain.block(raw)
        content = {
            **stated,
            "pre_root": pre_root.hex(),
            "block": {"height": block.height, "time_ms": block.time_ms},
            "tx": raw.hex(),
            "message": _message(raw),
            "code": result.code,
            "data": result.data.hex(),
            **_reading(result),
            "writes": [[path.decode(), body and body.hex()] for path, body in result.writes],
            "root": chain.root.hex(),
        }
        settle(self._path, content, write=self._write)
        for setup in _chain_of_setups(chain.setup):
            settle(FOLDER / SETUP / f"{setup.name}.json", _setup(setup), write=self._write)
        return result


def settle(path: Path, content: dict[str, Any], *, write: bool) -> None:
    """Write a vector file, or fail when the committed one differs."""
    written = json.dumps(content, indent=1, ensure_ascii=True) + "\n"
    if write:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(written, encoding="ascii")
    elif not path.exists():
        raise Drift(f"{path.relative_to(FOLDER)} is missing: run `make vectors` and look at what it adds")
    elif path.read_text(encoding="ascii") != written:
        raise Drift(f"{path.relative_to(FOLDER)} differs: run `make vectors` and look at the difference")


def readable(value: Any) -> Any:
    """Plain data as JSON that people read: bytes as hexadecimal."""
    if isinstance(value, dict):
        return {key: readable(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [readable(entry) for entry in value]
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, (int, str, bool)) or value is None else repr(value)


def _reading(result: Result) -> dict[str, Any]:
    """What the data says, for people."""
    plain = codec.decode_plain(result.data, most=100_000)
    if result.code == 0:
        return {"events": readable(plain)}
    return {
        "refusal": RULES.refusals[result.code].__name__,
        "facts": {name: text(fact) for name, fact in plain.items()},
    }


def _message(raw: bytes) -> Any:
    """What the bytes say, for people; null when they are no envelope."""
    try:
        signed = envelope.parse(raw)
    except Malformed:
        return None
    return {
        "type": signed.tag,
        "key": signed.key.hex(),
        "chain_id": signed.ledger.chain_id,
        "genesis": signed.ledger.genesis.hex(),
        "valid_until": signed.valid_until,
        "nonce": signed.nonce.hex(),
        "body": readable(signed.body),
    }


def _setup(setup: Setup) -> dict[str, Any]:
    begin = {"extends": setup.extends} if setup.extends else {"genesis": setup.genesis.hex()}
    return {**begin, "steps": _steps(setup.steps), "root": setup.root.hex()}


def _steps(steps: tuple[Step, ...]) -> list[dict[str, Any]]:
    return [
        {"height": step.height, "time_ms": step.time_ms, "txs": [raw.hex() for raw in step.txs]}
        if isinstance(step, BlockStep)
        else {"given": [[path.decode(), body and body.hex()] for path, body in step.writes]}
        for step in steps
    ]


def _chain_of_setups(name: str) -> list[Setup]:
    found = []
    while name:
        found.append(SETUPS[name])
        name = SETUPS[name].extends
    return found


def writer_for(function: Any, module: str, *, write: bool) -> VectorWriter:
    """The writer for one test: its claim, its reason and its contract follow from where and how it is written."""
    why = inspect.getdoc(function)
    assert why, f"{function.__name__} needs a docstring: it is what the vector says about itself"
    contract = module.rsplit(".", 1)[-1].removeprefix("test_")
    return VectorWriter(contract, function.__name__.removeprefix("test_"), " ".join(why.split()), write=write)
