"""Good bytes to begin with: real transactions, records, proofs, answers and payloads, the same in every run.

What the ledger writes comes from the published vectors; what CometBFT answers from a recording of real nodes; the rest
is made here by the encoders. Nothing is random: age files, which are, are kept as they were once written.
"""

import base64
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from contracts.kernel import codec, crypto, envelope
from contracts.kernel.codec import Malformed
from contracts.kernel.merkle import ProofOp
from contracts.origin import ORIGIN, Origin
from contracts.registry import RULES

_HERE = Path(__file__).parent
_TESTS = _HERE.parents[1] / "tests"
_VECTORS = _TESTS / "vectors"
_RECORDED = _TESTS / "client_sdk" / "data" / "cometbft-0.39.4.json"


def recorded() -> dict[str, Any]:
    """What a real network of four validators answered."""
    content: dict[str, Any] = json.loads(_RECORDED.read_text("utf-8"))
    return content


def sample(name: str) -> bytes:
    """A file of ``samples``, written once because it cannot be written twice alike."""
    return (_HERE / "samples" / name).read_bytes()


def shipped(path: str) -> bytes:
    """A file of ``chain_config``."""
    return (_HERE.parents[1] / "chain_config" / path).read_bytes()


@cache
def transactions() -> tuple[bytes, ...]:
    """Real transactions: of every message at least one."""
    found: dict[str, list[bytes]] = {}
    for raw in _transactions():
        try:
            of_kind = found.setdefault(envelope.parse(raw).tag, [])
        except Malformed:
            continue  # Vectors have broken ones as well; the mutator makes its own.
        if len(of_kind) < 6:
            of_kind.append(raw)
    return tuple(raw for tag in sorted(found) for raw in found[tag])


@cache
def records() -> tuple[tuple[type, bytes], ...]:
    """Real records with their types: messages, events and state, of every kind as many as differ in length."""
    found: dict[tuple[str, int], tuple[type, bytes]] = {}
    for kind, raw in _records():
        found.setdefault((kind.__qualname__, len(raw)), (kind, raw))
    return tuple(found[name] for name in sorted(found))


@cache
def results() -> tuple[bytes, ...]:
    """The provable data of real results: events of acceptances, facts of refusals."""
    return tuple(sorted({bytes.fromhex(one["data"]) for one in _vectors() if "data" in one}))


def absences() -> tuple[tuple[ProofOp, ...], ...]:
    """Operators of proofs that nothing is there, true and false ones."""
    stated = (
        json.loads(path.read_text("ascii"))["operators"] for path in sorted((_VECTORS / "absence").glob("*.json"))
    )
    return tuple(
        tuple(ProofOp(one["type"], bytes.fromhex(one["key"]), bytes.fromhex(one["data"])) for one in operators)
        for operators in stated
    )


def genesis() -> bytes:
    """The ledger's own genesis."""
    stated: str = json.loads((_VECTORS / "setup" / "founded.json").read_text("ascii"))["genesis"]
    return bytes.fromhex(stated)


def answers() -> tuple[bytes, ...]:
    """Answers of CometBFT's RPC, each a JSON document."""
    real = recorded()
    chosen = [real["tx"], real["genesis"], *_SHORT_ANSWERS]
    for method in ("commit", "validators", "block", "block_results"):
        by_length = {len(json.dumps(answer)): answer for answer in real[method].values()}
        chosen += [by_length[length] for length in sorted(by_length)[-6:]]
    return tuple(json.dumps(answer, separators=(",", ":")).encode() for answer in chosen)


def _vectors() -> Iterator[dict[str, Any]]:
    for path in sorted(_VECTORS.glob("*/*.json")):
        yield json.loads(path.read_text("ascii"))


def _transactions() -> Iterator[bytes]:
    for one in _vectors():
        if "tx" in one:
            yield bytes.fromhex(one["tx"])
        for step in one.get("steps", ()):
            yield from map(bytes.fromhex, step.get("txs", ()))


def _records() -> Iterator[tuple[type, bytes]]:
    for raw in transactions():
        said = envelope.parse(raw)
        kind = RULES.messages.get(said.tag)
        if kind is not None:
            yield kind, codec.encode_plain(said.body)
    yield Origin, ORIGIN.set(Origin(crypto.sha256(genesis()))).body or b""  # Only a genesis writes it.
    for one in _vectors():
        for path, body in one.get("writes", ()):
            kind_of_map = RULES.newest.map_of(path.encode())
            if kind_of_map is not None and body:
                yield kind_of_map.record, bytes.fromhex(body)
        if one.get("code") == 0:
            for tag, fields in codec.decode_plain(bytes.fromhex(one["data"]), most=1 << 20):
                yield RULES.events[tag], codec.encode_plain(fields)


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


_HASH = "5B62A12C52BE55AE6BDBC1A696E0426AAFC298221F536E06E4EBE483E7667378"
# Calls that the recording does not have, in the form in which CometBFT 0.39.4 answers them.
_SHORT_ANSWERS: tuple[dict[str, Any], ...] = (
    {
        "node_info": {"id": "ab" * 20, "network": "ledger", "version": "0.39.4", "moniker": "validator-1", "other": {}},
        "sync_info": {
            "latest_block_hash": _HASH,
            "latest_app_hash": _HASH,
            "latest_block_height": "17",
            "latest_block_time": "2026-11-23T04:05:06.789012345Z",
            "earliest_block_height": "1",
            "catching_up": False,
        },
        "validator_info": {"address": "AB" * 20, "pub_key": {"type": "x", "value": "AA=="}, "voting_power": "10"},
    },
    {"code": 0, "data": "A0", "log": "", "codespace": "fedledger", "hash": _HASH},
    {"code": 7, "data": "", "log": "REPLAYED", "codespace": "fedledger", "hash": _HASH},
    {
        "response": {
            "code": 0,
            "log": "",
            "info": "",
            "index": "0",
            "key": _b64(b"organisations/lab"),
            "value": _b64(b"\xa1" * 40),
            "proofOps": {"ops": [{"type": "simple:v", "key": "", "data": _b64(b"\x12\x04\x08\x01\x1a\x00")}] * 3},
            "height": "16",
            "codespace": "",
        }
    },
    {"response": {"data": "fedledger", "version": "rules/1", "app_version": "1", "last_block_height": "17"}},
    {"block_height": "17", "consensus_params": {"block": {"max_bytes": "4194304", "max_gas": "-1"}}},
    {
        "listening": True,
        "n_peers": "1",
        "peers": [
            {"node_info": {"id": "cd" * 20, "moniker": "validator-2"}, "remote_ip": "127.0.0.1", "is_outbound": True}
        ],
    },
)
