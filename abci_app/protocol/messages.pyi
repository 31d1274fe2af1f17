"""Written by scripts/gen_protos.py from abci.binpb: edit the .proto files instead."""
# ruff: noqa: A002, N802 - the names are the wire's and protobuf's, not ours to choose

from collections.abc import Iterable
from typing import Final

from google.protobuf.internal.containers import (
    RepeatedCompositeFieldContainer,
    RepeatedScalarFieldContainer,
)
from google.protobuf.message import Message

from . import blocks

class CheckTxType:
    NEW: Final = 0
    RECHECK: Final = 1
    @staticmethod
    def Name(number: int) -> str: ...
    @staticmethod
    def Value(name: str) -> int: ...

class MisbehaviorType:
    UNKNOWN: Final = 0
    DUPLICATE_VOTE: Final = 1
    LIGHT_CLIENT_ATTACK: Final = 2
    @staticmethod
    def Name(number: int) -> str: ...
    @staticmethod
    def Value(name: str) -> int: ...

class Request(Message):
    @property
    def echo(self) -> RequestEcho: ...
    @property
    def flush(self) -> RequestFlush: ...
    @property
    def info(self) -> RequestInfo: ...
    @property
    def init_chain(self) -> RequestInitChain: ...
    @property
    def query(self) -> RequestQuery: ...
    @property
    def check_tx(self) -> RequestCheckTx: ...
    @property
    def commit(self) -> RequestCommit: ...
    @property
    def list_snapshots(self) -> RequestListSnapshots: ...
    @property
    def offer_snapshot(self) -> RequestOfferSnapshot: ...
    @property
    def load_snapshot_chunk(self) -> RequestLoadSnapshotChunk: ...
    @property
    def apply_snapshot_chunk(self) -> RequestApplySnapshotChunk: ...
    @property
    def prepare_proposal(self) -> RequestPrepareProposal: ...
    @property
    def process_proposal(self) -> RequestProcessProposal: ...
    @property
    def extend_vote(self) -> RequestExtendVote: ...
    @property
    def verify_vote_extension(self) -> RequestVerifyVoteExtension: ...
    @property
    def finalize_block(self) -> RequestFinalizeBlock: ...
    @property
    def insert_tx(self) -> RequestInsertTx: ...
    @property
    def reap_txs(self) -> RequestReapTxs: ...
    def __init__(
        self,
        *,
        echo: RequestEcho | None = None,
        flush: RequestFlush | None = None,
        info: RequestInfo | None = None,
        init_chain: RequestInitChain | None = None,
        query: RequestQuery | None = None,
        check_tx: RequestCheckTx | None = None,
        commit: RequestCommit | None = None,
        list_snapshots: RequestListSnapshots | None = None,
        offer_snapshot: RequestOfferSnapshot | None = None,
        load_snapshot_chunk: RequestLoadSnapshotChunk | None = None,
        apply_snapshot_chunk: RequestApplySnapshotChunk | None = None,
        prepare_proposal: RequestPrepareProposal | None = None,
        process_proposal: RequestProcessProposal | None = None,
        extend_vote: RequestExtendVote | None = None,
        verify_vote_extension: RequestVerifyVoteExtension | None = None,
        finalize_block: RequestFinalizeBlock | None = None,
        insert_tx: RequestInsertTx | None = None,
        reap_txs: RequestReapTxs | None = None,
    ) -> None: ...

class RequestEcho(Message):
    message: str
    def __init__(
        self,
        *,
        message: str | None = None,
    ) -> None: ...

class RequestFlush(Message):
    def __init__(self) -> None: ...

class RequestInfo(Message):
    version: str
    block_version: int
    p2p_version: int
    abci_version: str
    def __init__(
        self,
        *,
        version: str | None = None,
        block_version: int | None = None,
        p2p_version: int | None = None,
        abci_version: str | None = None,
    ) -> None: ...

class RequestInitChain(Message):
    @property
    def time(self) -> blocks.Timestamp: ...
    chain_id: str
    @property
    def consensus_params(self) -> blocks.ConsensusParams: ...
    @property
    def validators(self) -> RepeatedCompositeFieldContainer[ValidatorUpdate]: ...
    app_state_bytes: bytes
    initial_height: int
    def __init__(
        self,
        *,
        time: blocks.Timestamp | None = None,
        chain_id: str | None = None,
        consensus_params: blocks.ConsensusParams | None = None,
        validators: Iterable[ValidatorUpdate] | None = None,
        app_state_bytes: bytes | None = None,
        initial_height: int | None = None,
    ) -> None: ...

class RequestQuery(Message):
    data: bytes
    path: str
    height: int
    prove: bool
    def __init__(
        self,
        *,
        data: bytes | None = None,
        path: str | None = None,
        height: int | None = None,
        prove: bool | None = None,
    ) -> None: ...

class RequestCheckTx(Message):
    tx: bytes
    type: int
    def __init__(
        self,
        *,
        tx: bytes | None = None,
        type: int | None = None,
    ) -> None: ...

class RequestInsertTx(Message):
    tx: bytes
    def __init__(
        self,
        *,
        tx: bytes | None = None,
    ) -> None: ...

class RequestReapTxs(Message):
    max_bytes: int
    max_gas: int
    def __init__(
        self,
        *,
        max_bytes: int | None = None,
        max_gas: int | None = None,
    ) -> None: ...

class RequestCommit(Message):
    def __init__(self) -> None: ...

class RequestListSnapshots(Message):
    def __init__(self) -> None: ...

class RequestOfferSnapshot(Message):
    @property
    def snapshot(self) -> Snapshot: ...
    app_hash: bytes
    def __init__(
        self,
        *,
        snapshot: Snapshot | None = None,
        app_hash: bytes | None = None,
    ) -> None: ...

class RequestLoadSnapshotChunk(Message):
    height: int
    format: int
    chunk: int
    def __init__(
        self,
        *,
        height: int | None = None,
        format: int | None = None,
        chunk: int | None = None,
    ) -> None: ...

class RequestApplySnapshotChunk(Message):
    index: int
    chunk: bytes
    sender: str
    def __init__(
        self,
        *,
        index: int | None = None,
        chunk: bytes | None = None,
        sender: str | None = None,
    ) -> None: ...

class RequestPrepareProposal(Message):
    max_tx_bytes: int
    @property
    def txs(self) -> RepeatedScalarFieldContainer[bytes]: ...
    @property
    def local_last_commit(self) -> ExtendedCommitInfo: ...
    @property
    def misbehavior(self) -> RepeatedCompositeFieldContainer[Misbehavior]: ...
    height: int
    @property
    def time(self) -> blocks.Timestamp: ...
    next_validators_hash: bytes
    proposer_address: bytes
    def __init__(
        self,
        *,
        max_tx_bytes: int | None = None,
        txs: Iterable[bytes] | None = None,
        local_last_commit: ExtendedCommitInfo | None = None,
        misbehavior: Iterable[Misbehavior] | None = None,
        height: int | None = None,
        time: blocks.Timestamp | None = None,
        next_validators_hash: bytes | None = None,
        proposer_address: bytes | None = None,
    ) -> None: ...

class RequestProcessProposal(Message):
    @property
    def txs(self) -> RepeatedScalarFieldContainer[bytes]: ...
    @property
    def proposed_last_commit(self) -> CommitInfo: ...
    @property
    def misbehavior(self) -> RepeatedCompositeFieldContainer[Misbehavior]: ...
    hash: bytes
    height: int
    @property
    def time(self) -> blocks.Timestamp: ...
    next_validators_hash: bytes
    proposer_address: bytes
    def __init__(
        self,
        *,
        txs: Iterable[bytes] | None = None,
        proposed_last_commit: CommitInfo | None = None,
        misbehavior: Iterable[Misbehavior] | None = None,
        hash: bytes | None = None,
        height: int | None = None,
        time: blocks.Timestamp | None = None,
        next_validators_hash: bytes | None = None,
        proposer_address: bytes | None = None,
    ) -> None: ...

class RequestExtendVote(Message):
    hash: bytes
    height: int
    @property
    def time(self) -> blocks.Timestamp: ...
    @property
    def txs(self) -> RepeatedScalarFieldContainer[bytes]: ...
    @property
    def proposed_last_commit(self) -> CommitInfo: ...
    @property
    def misbehavior(self) -> RepeatedCompositeFieldContainer[Misbehavior]: ...
    next_validators_hash: bytes
    proposer_address: bytes
    def __init__(
        self,
        *,
        hash: bytes | None = None,
        height: int | None = None,
        time: blocks.Timestamp | None = None,
        txs: Iterable[bytes] | None = None,
        proposed_last_commit: CommitInfo | None = None,
        misbehavior: Iterable[Misbehavior] | None = None,
        next_validators_hash: bytes | None = None,
        proposer_address: bytes | None = None,
    ) -> None: ...

class RequestVerifyVoteExtension(Message):
    hash: bytes
    validator_address: bytes
    height: int
    vote_extension: bytes
    def __init__(
        self,
        *,
        hash: bytes | None = None,
        validator_address: bytes | None = None,
        height: int | None = None,
        vote_extension: bytes | None = None,
    ) -> None: ...

class RequestFinalizeBlock(Message):
    @property
    def txs(self) -> RepeatedScalarFieldContainer[bytes]: ...
    @property
    def decided_last_commit(self) -> CommitInfo: ...
    @property
    def misbehavior(self) -> RepeatedCompositeFieldContainer[Misbehavior]: ...
    hash: bytes
    height: int
    @property
    def time(self) -> blocks.Timestamp: ...
    next_validators_hash: bytes
    proposer_address: bytes
    def __init__(
        self,
        *,
        txs: Iterable[bytes] | None = None,
        decided_last_commit: CommitInfo | None = None,
        misbehavior: Iterable[Misbehavior] | None = None,
        hash: bytes | None = None,
        height: int | None = None,
        time: blocks.Timestamp | None = None,
        next_validators_hash: bytes | None = None,
        proposer_address: bytes | None = None,
    ) -> None: ...

class Response(Message):
    @property
    def exception(self) -> ResponseException: ...
    @property
    def echo(self) -> ResponseEcho: ...
    @property
    def flush(self) -> ResponseFlush: ...
    @property
    def info(self) -> ResponseInfo: ...
    @property
    def init_chain(self) -> ResponseInitChain: ...
    @property
    def query(self) -> ResponseQuery: ...
    @property
    def check_tx(self) -> ResponseCheckTx: ...
    @property
    def commit(self) -> ResponseCommit: ...
    @property
    def list_snapshots(self) -> ResponseListSnapshots: ...
    @property
    def offer_snapshot(self) -> ResponseOfferSnapshot: ...
    @property
    def load_snapshot_chunk(self) -> ResponseLoadSnapshotChunk: ...
    @property
    def apply_snapshot_chunk(self) -> ResponseApplySnapshotChunk: ...
    @property
    def prepare_proposal(self) -> ResponsePrepareProposal: ...
    @property
    def process_proposal(self) -> ResponseProcessProposal: ...
    @property
    def extend_vote(self) -> ResponseExtendVote: ...
    @property
    def verify_vote_extension(self) -> ResponseVerifyVoteExtension: ...
    @property
    def finalize_block(self) -> ResponseFinalizeBlock: ...
    @property
    def insert_tx(self) -> ResponseInsertTx: ...
    @property
    def reap_txs(self) -> ResponseReapTxs: ...
    def __init__(
        self,
        *,
        exception: ResponseException | None = None,
        echo: ResponseEcho | None = None,
        flush: ResponseFlush | None = None,
        info: ResponseInfo | None = None,
        init_chain: ResponseInitChain | None = None,
        query: ResponseQuery | None = None,
        check_tx: ResponseCheckTx | None = None,
        commit: ResponseCommit | None = None,
        list_snapshots: ResponseListSnapshots | None = None,
        offer_snapshot: ResponseOfferSnapshot | None = None,
        load_snapshot_chunk: ResponseLoadSnapshotChunk | None = None,
        apply_snapshot_chunk: ResponseApplySnapshotChunk | None = None,
        prepare_proposal: ResponsePrepareProposal | None = None,
        process_proposal: ResponseProcessProposal | None = None,
        extend_vote: ResponseExtendVote | None = None,
        verify_vote_extension: ResponseVerifyVoteExtension | None = None,
        finalize_block: ResponseFinalizeBlock | None = None,
        insert_tx: ResponseInsertTx | None = None,
        reap_txs: ResponseReapTxs | None = None,
    ) -> None: ...

class ResponseException(Message):
    error: str
    def __init__(
        self,
        *,
        error: str | None = None,
    ) -> None: ...

class ResponseEcho(Message):
    message: str
    def __init__(
        self,
        *,
        message: str | None = None,
    ) -> None: ...

class ResponseFlush(Message):
    def __init__(self) -> None: ...

class ResponseInfo(Message):
    data: str
    version: str
    app_version: int
    last_block_height: int
    last_block_app_hash: bytes
    def __init__(
        self,
        *,
        data: str | None = None,
        version: str | None = None,
        app_version: int | None = None,
        last_block_height: int | None = None,
        last_block_app_hash: bytes | None = None,
    ) -> None: ...

class ResponseInitChain(Message):
    @property
    def consensus_params(self) -> blocks.ConsensusParams: ...
    @property
    def validators(self) -> RepeatedCompositeFieldContainer[ValidatorUpdate]: ...
    app_hash: bytes
    def __init__(
        self,
        *,
        consensus_params: blocks.ConsensusParams | None = None,
        validators: Iterable[ValidatorUpdate] | None = None,
        app_hash: bytes | None = None,
    ) -> None: ...

class ResponseQuery(Message):
    code: int
    log: str
    info: str
    index: int
    key: bytes
    value: bytes
    @property
    def proof_ops(self) -> blocks.ProofOps: ...
    height: int
    codespace: str
    def __init__(
        self,
        *,
        code: int | None = None,
        log: str | None = None,
        info: str | None = None,
        index: int | None = None,
        key: bytes | None = None,
        value: bytes | None = None,
        proof_ops: blocks.ProofOps | None = None,
        height: int | None = None,
        codespace: str | None = None,
    ) -> None: ...

class ResponseCheckTx(Message):
    code: int
    data: bytes
    log: str
    info: str
    gas_wanted: int
    gas_used: int
    @property
    def events(self) -> RepeatedCompositeFieldContainer[Event]: ...
    codespace: str
    def __init__(
        self,
        *,
        code: int | None = None,
        data: bytes | None = None,
        log: str | None = None,
        info: str | None = None,
        gas_wanted: int | None = None,
        gas_used: int | None = None,
        events: Iterable[Event] | None = None,
        codespace: str | None = None,
    ) -> None: ...

class ResponseInsertTx(Message):
    code: int
    def __init__(
        self,
        *,
        code: int | None = None,
    ) -> None: ...

class ResponseReapTxs(Message):
    @property
    def txs(self) -> RepeatedScalarFieldContainer[bytes]: ...
    def __init__(
        self,
        *,
        txs: Iterable[bytes] | None = None,
    ) -> None: ...

class ResponseCommit(Message):
    retain_height: int
    def __init__(
        self,
        *,
        retain_height: int | None = None,
    ) -> None: ...

class ResponseListSnapshots(Message):
    @property
    def snapshots(self) -> RepeatedCompositeFieldContainer[Snapshot]: ...
    def __init__(
        self,
        *,
        snapshots: Iterable[Snapshot] | None = None,
    ) -> None: ...

class ResponseOfferSnapshot(Message):
    UNKNOWN: Final = 0
    ACCEPT: Final = 1
    ABORT: Final = 2
    REJECT: Final = 3
    REJECT_FORMAT: Final = 4
    REJECT_SENDER: Final = 5
    result: int
    def __init__(
        self,
        *,
        result: int | None = None,
    ) -> None: ...

class ResponseLoadSnapshotChunk(Message):
    chunk: bytes
    def __init__(
        self,
        *,
        chunk: bytes | None = None,
    ) -> None: ...

class ResponseApplySnapshotChunk(Message):
    UNKNOWN: Final = 0
    ACCEPT: Final = 1
    ABORT: Final = 2
    RETRY: Final = 3
    RETRY_SNAPSHOT: Final = 4
    REJECT_SNAPSHOT: Final = 5
    result: int
    @property
    def refetch_chunks(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def reject_senders(self) -> RepeatedScalarFieldContainer[str]: ...
    def __init__(
        self,
        *,
        result: int | None = None,
        refetch_chunks: Iterable[int] | None = None,
        reject_senders: Iterable[str] | None = None,
    ) -> None: ...

class ResponsePrepareProposal(Message):
    @property
    def txs(self) -> RepeatedScalarFieldContainer[bytes]: ...
    def __init__(
        self,
        *,
        txs: Iterable[bytes] | None = None,
    ) -> None: ...

class ResponseProcessProposal(Message):
    UNKNOWN: Final = 0
    ACCEPT: Final = 1
    REJECT: Final = 2
    status: int
    def __init__(
        self,
        *,
        status: int | None = None,
    ) -> None: ...

class ResponseExtendVote(Message):
    vote_extension: bytes
    def __init__(
        self,
        *,
        vote_extension: bytes | None = None,
    ) -> None: ...

class ResponseVerifyVoteExtension(Message):
    UNKNOWN: Final = 0
    ACCEPT: Final = 1
    REJECT: Final = 2
    status: int
    def __init__(
        self,
        *,
        status: int | None = None,
    ) -> None: ...

class ResponseFinalizeBlock(Message):
    @property
    def events(self) -> RepeatedCompositeFieldContainer[Event]: ...
    @property
    def tx_results(self) -> RepeatedCompositeFieldContainer[ExecTxResult]: ...
    @property
    def validator_updates(self) -> RepeatedCompositeFieldContainer[ValidatorUpdate]: ...
    @property
    def consensus_param_updates(self) -> blocks.ConsensusParams: ...
    app_hash: bytes
    def __init__(
        self,
        *,
        events: Iterable[Event] | None = None,
        tx_results: Iterable[ExecTxResult] | None = None,
        validator_updates: Iterable[ValidatorUpdate] | None = None,
        consensus_param_updates: blocks.ConsensusParams | None = None,
        app_hash: bytes | None = None,
    ) -> None: ...

class CommitInfo(Message):
    round: int
    @property
    def votes(self) -> RepeatedCompositeFieldContainer[VoteInfo]: ...
    def __init__(
        self,
        *,
        round: int | None = None,
        votes: Iterable[VoteInfo] | None = None,
    ) -> None: ...

class ExtendedCommitInfo(Message):
    round: int
    @property
    def votes(self) -> RepeatedCompositeFieldContainer[ExtendedVoteInfo]: ...
    def __init__(
        self,
        *,
        round: int | None = None,
        votes: Iterable[ExtendedVoteInfo] | None = None,
    ) -> None: ...

class Event(Message):
    type: str
    @property
    def attributes(self) -> RepeatedCompositeFieldContainer[EventAttribute]: ...
    def __init__(
        self,
        *,
        type: str | None = None,
        attributes: Iterable[EventAttribute] | None = None,
    ) -> None: ...

class EventAttribute(Message):
    key: str
    value: str
    index: bool
    def __init__(
        self,
        *,
        key: str | None = None,
        value: str | None = None,
        index: bool | None = None,
    ) -> None: ...

class ExecTxResult(Message):
    code: int
    data: bytes
    log: str
    info: str
    gas_wanted: int
    gas_used: int
    @property
    def events(self) -> RepeatedCompositeFieldContainer[Event]: ...
    codespace: str
    def __init__(
        self,
        *,
        code: int | None = None,
        data: bytes | None = None,
        log: str | None = None,
        info: str | None = None,
        gas_wanted: int | None = None,
        gas_used: int | None = None,
        events: Iterable[Event] | None = None,
        codespace: str | None = None,
    ) -> None: ...

class Validator(Message):
    address: bytes
    power: int
    def __init__(
        self,
        *,
        address: bytes | None = None,
        power: int | None = None,
    ) -> None: ...

class ValidatorUpdate(Message):
    @property
    def pub_key(self) -> blocks.PublicKey: ...
    power: int
    def __init__(
        self,
        *,
        pub_key: blocks.PublicKey | None = None,
        power: int | None = None,
    ) -> None: ...

class VoteInfo(Message):
    @property
    def validator(self) -> Validator: ...
    block_id_flag: int
    def __init__(
        self,
        *,
        validator: Validator | None = None,
        block_id_flag: int | None = None,
    ) -> None: ...

class ExtendedVoteInfo(Message):
    @property
    def validator(self) -> Validator: ...
    vote_extension: bytes
    extension_signature: bytes
    block_id_flag: int
    def __init__(
        self,
        *,
        validator: Validator | None = None,
        vote_extension: bytes | None = None,
        extension_signature: bytes | None = None,
        block_id_flag: int | None = None,
    ) -> None: ...

class Misbehavior(Message):
    type: int
    @property
    def validator(self) -> Validator: ...
    height: int
    @property
    def time(self) -> blocks.Timestamp: ...
    total_voting_power: int
    def __init__(
        self,
        *,
        type: int | None = None,
        validator: Validator | None = None,
        height: int | None = None,
        time: blocks.Timestamp | None = None,
        total_voting_power: int | None = None,
    ) -> None: ...

class Snapshot(Message):
    height: int
    format: int
    chunks: int
    hash: bytes
    metadata: bytes
    def __init__(
        self,
        *,
        height: int | None = None,
        format: int | None = None,
        chunks: int | None = None,
        hash: bytes | None = None,
        metadata: bytes | None = None,
    ) -> None: ...
