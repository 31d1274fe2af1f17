"""What CometBFT answers, as typed data, and the strict reading of it. Shapes: CometBFT v0.39.4, ``rpc/core/types``.

Each ``read_*`` takes the ``result`` of a call, uses the fields named and ignores the others. Everything here is one
node's word: ``client_sdk.light`` says what of it is true, and reads headers, commits and validators
(``light.documents``).
"""

from dataclasses import dataclass
from typing import Final

from contracts.kernel.crypto import sha256
from contracts.kernel.merkle import DIGEST_BYTES, ProofOp

from ..documents.strict_json import INT64_MAX, UINT32_MAX, Answer, AnswerMalformed
from ..light.documents import ADDRESS, APP_HASH, CHAIN_ID_CHARS, DIGEST, HASH, NAME_CHARS, read_header
from ..light.headers import Header, TxResult
from ..light.proofs import Inclusion

_LOG_CHARS: Final = 64 << 10
_DATA_BYTES: Final = 4 << 20
_TX_BYTES: Final = 4 << 20
_TXS: Final = 200_000
_OPERATORS: Final = 64
_AUNTS: Final = 64
_PEERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """What a node says of itself and of its place on the chain. ``height`` is 0 before the first block."""

    chain_id: str
    node_id: str
    moniker: str
    version: str
    height: int
    time_ns: int
    block_hash: bytes
    app_hash: bytes
    earliest_height: int
    catching_up: bool
    validator_address: bytes
    voting_power: int


@dataclass(frozen=True, slots=True)
class Checked:
    """What the application said of a transaction offered to the mempool. Code 0 does not mean that it is in it."""

    code: int
    data: bytes
    log: str
    hash: bytes


@dataclass(frozen=True, slots=True)
class FoundTx:
    """A transaction that was decided, where, and with what result."""

    hash: bytes
    height: int
    index: int
    raw: bytes
    result: TxResult
    place: Inclusion | None

    @property
    def code(self) -> int:
        """The result's code."""
        return self.result.code

    @property
    def data(self) -> bytes:
        """The result's data."""
        return self.result.data

    @property
    def log(self) -> str:
        """The result's log: this node's word."""
        return self.result.log


@dataclass(frozen=True, slots=True)
class Block:
    """A header and its transactions."""

    header: Header
    txs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """What the application answered to a query. Without verification, one node's word."""

    code: int
    key: bytes
    value: bytes
    proof_ops: tuple[ProofOp, ...]
    height: int
    log: str


@dataclass(frozen=True, slots=True)
class ApplicationInfo:
    """The application behind a node, at its last commit."""

    data: str
    version: str
    app_version: int
    height: int
    app_hash: bytes


@dataclass(frozen=True, slots=True)
class ConsensusParams:
    """The limits on blocks at a height; -1 is none."""

    height: int
    block_bytes_max: int
    block_gas_max: int


@dataclass(frozen=True, slots=True)
class Peer:
    """A node that this one is connected to."""

    node_id: str
    moniker: str
    remote_ip: str
    outbound: bool


@dataclass(frozen=True, slots=True)
class NetInfo:
    """A node's place in the network."""

    listening: bool
    peers: tuple[Peer, ...]


# Blocks, transactions, the application ----------------------------------------------------------


def read_status(result: Answer) -> NodeStatus:
    """The answer to ``status``."""
    node, sync, validator = result["node_info"], result["sync_info"], result["validator_info"]
    return NodeStatus(
        chain_id=node["network"].text(CHAIN_ID_CHARS),
        node_id=node["id"].text(NAME_CHARS),
        moniker=node["moniker"].text(NAME_CHARS),
        version=node["version"].text(NAME_CHARS),
        height=_height(sync["latest_block_height"]),
        time_ns=sync["latest_block_time"].time_ns(),
        block_hash=sync["latest_block_hash"].hexadecimal(HASH),
        app_hash=sync["latest_app_hash"].hexadecimal(APP_HASH),
        earliest_height=_height(sync["earliest_block_height"]),
        catching_up=sync["catching_up"].flag(),
        validator_address=validator["address"].hexadecimal(ADDRESS),
        voting_power=validator["voting_power"].integer(0, INT64_MAX),
    )


def read_block(result: Answer) -> Block:
    """The answer to ``block``."""
    block = result["block"]
    txs = block["data"].get("txs")
    listed = [] if txs is None else txs.items(_TXS)
    return Block(read_header(block["header"]), tuple(raw.base64(_TX_BYTES) for raw in listed))


def read_block_results(result: Answer) -> tuple[TxResult, ...]:
    """The answer to ``block_results``: what each transaction did, in order."""
    results = result.get("txs_results")
    return () if results is None else tuple(_tx_result(item) for item in results.items(_TXS))


def read_checked(result: Answer) -> Checked:
    """The answer to ``broadcast_tx_sync``."""
    return Checked(
        code=result["code"].integer(0, UINT32_MAX),
        data=result["data"].any_hexadecimal(_DATA_BYTES),
        log=result["log"].text(_LOG_CHARS),
        hash=result["hash"].hexadecimal(DIGEST),
    )


def read_tx(result: Answer) -> FoundTx:
    """The answer to ``tx``. Raises AnswerMalformed also when the bytes do not have the hash given."""
    raw, digest, proof = result["tx"].base64(_TX_BYTES), result["hash"].hexadecimal(DIGEST), result.get("proof")
    if sha256(raw) != digest:
        raise AnswerMalformed("tx.hash", "it is not that of the transaction")
    return FoundTx(
        hash=digest,
        height=_height(result["height"], 1),
        index=result["index"].integer(0, UINT32_MAX),
        raw=raw,
        result=_tx_result(result["tx_result"]),
        place=None if proof is None else _inclusion(proof["proof"]),
    )


def read_query(result: Answer) -> QueryAnswer:
    """The answer to ``abci_query``."""
    response = result["response"]
    proof = response.get("proofOps")
    operators = [] if proof is None else proof["ops"].items(_OPERATORS)
    return QueryAnswer(
        code=response["code"].integer(0, UINT32_MAX),
        key=_bytes(response, "key", _DATA_BYTES),
        value=_bytes(response, "value", _DATA_BYTES),
        proof_ops=tuple(
            ProofOp(one["type"].text(NAME_CHARS), _bytes(one, "key", NAME_CHARS), _bytes(one, "data", _LOG_CHARS))
            for one in operators
        ),
        height=_height(response["height"]),
        log=response["log"].text(_LOG_CHARS),
    )


def read_abci_info(result: Answer) -> ApplicationInfo:
    """The answer to ``abci_info``. Go leaves out what is zero or empty."""
    response = result["response"]
    version, height = response.get("app_version"), response.get("last_block_height")
    data, software = response.get("data"), response.get("version")
    return ApplicationInfo(
        data="" if data is None else data.text(_LOG_CHARS),
        version="" if software is None else software.text(NAME_CHARS),
        app_version=0 if version is None else version.integer(0, INT64_MAX),
        height=0 if height is None else _height(height),
        app_hash=_bytes(response, "last_block_app_hash", DIGEST_BYTES),
    )


def read_consensus_params(result: Answer) -> ConsensusParams:
    """The answer to ``consensus_params``."""
    block = result["consensus_params"]["block"]
    return ConsensusParams(
        height=_height(result["block_height"]),
        block_bytes_max=block["max_bytes"].integer(-1, INT64_MAX),
        block_gas_max=block["max_gas"].integer(-1, INT64_MAX),
    )


def read_net_info(result: Answer) -> NetInfo:
    """The answer to ``net_info``."""
    peers = result.get("peers")
    return NetInfo(
        listening=result["listening"].flag(),
        peers=tuple(
            Peer(
                node_id=peer["node_info"]["id"].text(NAME_CHARS),
                moniker=peer["node_info"]["moniker"].text(NAME_CHARS),
                remote_ip=peer["remote_ip"].text(NAME_CHARS),
                outbound=peer["is_outbound"].flag(),
            )
            for peer in ([] if peers is None else peers.items(_PEERS))
        ),
    )


# Parts ------------------------------------------------------------------------------------------


def _height(answer: Answer, least: int = 0) -> int:
    return answer.integer(least, INT64_MAX)


def _bytes(answer: Answer, name: str, most: int) -> bytes:
    """Bytes that Go writes as null, or leaves out, when there are none."""
    found = answer.get(name)
    return b"" if found is None else found.base64(most)


def _tx_result(answer: Answer) -> TxResult:
    return TxResult(
        code=answer["code"].integer(0, UINT32_MAX),
        data=_bytes(answer, "data", _DATA_BYTES),
        gas_wanted=answer["gas_wanted"].integer(-INT64_MAX - 1, INT64_MAX),
        gas_used=answer["gas_used"].integer(-INT64_MAX - 1, INT64_MAX),
        log=answer["log"].text(_LOG_CHARS),
    )


def _inclusion(answer: Answer) -> Inclusion:
    return Inclusion(
        total=answer["total"].integer(0, INT64_MAX),
        index=answer["index"].integer(0, INT64_MAX),
        aunts=tuple(aunt.base64(DIGEST_BYTES) for aunt in answer["aunts"].items(_AUNTS)),
    )
