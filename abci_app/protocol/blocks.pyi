"""Written by scripts/gen_protos.py from abci.binpb: edit the .proto files instead."""
# ruff: noqa: A002, N802 - the names are the wire's and protobuf's, not ours to choose

from collections.abc import Iterable
from typing import Final

from google.protobuf.internal.containers import (
    RepeatedCompositeFieldContainer,
    RepeatedScalarFieldContainer,
)
from google.protobuf.message import Message

class Duration(Message):
    seconds: int
    nanos: int
    def __init__(
        self,
        *,
        seconds: int | None = None,
        nanos: int | None = None,
    ) -> None: ...

class Timestamp(Message):
    seconds: int
    nanos: int
    def __init__(
        self,
        *,
        seconds: int | None = None,
        nanos: int | None = None,
    ) -> None: ...

class PublicKey(Message):
    ed25519: bytes
    secp256k1: bytes
    bls12381: bytes
    mldsa65: bytes
    secp256k1eth: bytes
    def __init__(
        self,
        *,
        ed25519: bytes | None = None,
        secp256k1: bytes | None = None,
        bls12381: bytes | None = None,
        mldsa65: bytes | None = None,
        secp256k1eth: bytes | None = None,
    ) -> None: ...

class Proof(Message):
    total: int
    index: int
    leaf_hash: bytes
    @property
    def aunts(self) -> RepeatedScalarFieldContainer[bytes]: ...
    def __init__(
        self,
        *,
        total: int | None = None,
        index: int | None = None,
        leaf_hash: bytes | None = None,
        aunts: Iterable[bytes] | None = None,
    ) -> None: ...

class ValueOp(Message):
    key: bytes
    @property
    def proof(self) -> Proof: ...
    def __init__(
        self,
        *,
        key: bytes | None = None,
        proof: Proof | None = None,
    ) -> None: ...

class ProofOp(Message):
    type: str
    key: bytes
    data: bytes
    def __init__(
        self,
        *,
        type: str | None = None,
        key: bytes | None = None,
        data: bytes | None = None,
    ) -> None: ...

class ProofOps(Message):
    @property
    def ops(self) -> RepeatedCompositeFieldContainer[ProofOp]: ...
    def __init__(
        self,
        *,
        ops: Iterable[ProofOp] | None = None,
    ) -> None: ...

class Consensus(Message):
    block: int
    app: int
    def __init__(
        self,
        *,
        block: int | None = None,
        app: int | None = None,
    ) -> None: ...

class BlockIDFlag:
    BLOCK_ID_FLAG_UNKNOWN: Final = 0
    BLOCK_ID_FLAG_ABSENT: Final = 1
    BLOCK_ID_FLAG_COMMIT: Final = 2
    BLOCK_ID_FLAG_NIL: Final = 3
    @staticmethod
    def Name(number: int) -> str: ...
    @staticmethod
    def Value(name: str) -> int: ...

class SignedMsgType:
    SIGNED_MSG_TYPE_UNKNOWN: Final = 0
    SIGNED_MSG_TYPE_PREVOTE: Final = 1
    SIGNED_MSG_TYPE_PRECOMMIT: Final = 2
    SIGNED_MSG_TYPE_PROPOSAL: Final = 32
    @staticmethod
    def Name(number: int) -> str: ...
    @staticmethod
    def Value(name: str) -> int: ...

class ConsensusParams(Message):
    @property
    def block(self) -> BlockParams: ...
    @property
    def evidence(self) -> EvidenceParams: ...
    @property
    def validator(self) -> ValidatorParams: ...
    @property
    def version(self) -> VersionParams: ...
    @property
    def abci(self) -> ABCIParams: ...
    @property
    def authority(self) -> AuthorityParams: ...
    def __init__(
        self,
        *,
        block: BlockParams | None = None,
        evidence: EvidenceParams | None = None,
        validator: ValidatorParams | None = None,
        version: VersionParams | None = None,
        abci: ABCIParams | None = None,
        authority: AuthorityParams | None = None,
    ) -> None: ...

class BlockParams(Message):
    max_bytes: int
    max_gas: int
    def __init__(
        self,
        *,
        max_bytes: int | None = None,
        max_gas: int | None = None,
    ) -> None: ...

class EvidenceParams(Message):
    max_age_num_blocks: int
    @property
    def max_age_duration(self) -> Duration: ...
    max_bytes: int
    def __init__(
        self,
        *,
        max_age_num_blocks: int | None = None,
        max_age_duration: Duration | None = None,
        max_bytes: int | None = None,
    ) -> None: ...

class ValidatorParams(Message):
    @property
    def pub_key_types(self) -> RepeatedScalarFieldContainer[str]: ...
    def __init__(
        self,
        *,
        pub_key_types: Iterable[str] | None = None,
    ) -> None: ...

class VersionParams(Message):
    app: int
    def __init__(
        self,
        *,
        app: int | None = None,
    ) -> None: ...

class ABCIParams(Message):
    vote_extensions_enable_height: int
    def __init__(
        self,
        *,
        vote_extensions_enable_height: int | None = None,
    ) -> None: ...

class AuthorityParams(Message):
    authority: str
    def __init__(
        self,
        *,
        authority: str | None = None,
    ) -> None: ...

class HashedParams(Message):
    block_max_bytes: int
    block_max_gas: int
    def __init__(
        self,
        *,
        block_max_bytes: int | None = None,
        block_max_gas: int | None = None,
    ) -> None: ...

class Validator(Message):
    address: bytes
    @property
    def pub_key(self) -> PublicKey: ...
    voting_power: int
    proposer_priority: int
    def __init__(
        self,
        *,
        address: bytes | None = None,
        pub_key: PublicKey | None = None,
        voting_power: int | None = None,
        proposer_priority: int | None = None,
    ) -> None: ...

class ValidatorSet(Message):
    @property
    def validators(self) -> RepeatedCompositeFieldContainer[Validator]: ...
    @property
    def proposer(self) -> Validator: ...
    total_voting_power: int
    def __init__(
        self,
        *,
        validators: Iterable[Validator] | None = None,
        proposer: Validator | None = None,
        total_voting_power: int | None = None,
    ) -> None: ...

class SimpleValidator(Message):
    @property
    def pub_key(self) -> PublicKey: ...
    voting_power: int
    def __init__(
        self,
        *,
        pub_key: PublicKey | None = None,
        voting_power: int | None = None,
    ) -> None: ...

class PartSetHeader(Message):
    total: int
    hash: bytes
    def __init__(
        self,
        *,
        total: int | None = None,
        hash: bytes | None = None,
    ) -> None: ...

class BlockID(Message):
    hash: bytes
    @property
    def part_set_header(self) -> PartSetHeader: ...
    def __init__(
        self,
        *,
        hash: bytes | None = None,
        part_set_header: PartSetHeader | None = None,
    ) -> None: ...

class Header(Message):
    @property
    def version(self) -> Consensus: ...
    chain_id: str
    height: int
    @property
    def time(self) -> Timestamp: ...
    @property
    def last_block_id(self) -> BlockID: ...
    last_commit_hash: bytes
    data_hash: bytes
    validators_hash: bytes
    next_validators_hash: bytes
    consensus_hash: bytes
    app_hash: bytes
    last_results_hash: bytes
    evidence_hash: bytes
    proposer_address: bytes
    def __init__(
        self,
        *,
        version: Consensus | None = None,
        chain_id: str | None = None,
        height: int | None = None,
        time: Timestamp | None = None,
        last_block_id: BlockID | None = None,
        last_commit_hash: bytes | None = None,
        data_hash: bytes | None = None,
        validators_hash: bytes | None = None,
        next_validators_hash: bytes | None = None,
        consensus_hash: bytes | None = None,
        app_hash: bytes | None = None,
        last_results_hash: bytes | None = None,
        evidence_hash: bytes | None = None,
        proposer_address: bytes | None = None,
    ) -> None: ...

class Data(Message):
    @property
    def txs(self) -> RepeatedScalarFieldContainer[bytes]: ...
    def __init__(
        self,
        *,
        txs: Iterable[bytes] | None = None,
    ) -> None: ...

class CommitSig(Message):
    block_id_flag: int
    validator_address: bytes
    @property
    def timestamp(self) -> Timestamp: ...
    signature: bytes
    def __init__(
        self,
        *,
        block_id_flag: int | None = None,
        validator_address: bytes | None = None,
        timestamp: Timestamp | None = None,
        signature: bytes | None = None,
    ) -> None: ...

class Commit(Message):
    height: int
    round: int
    @property
    def block_id(self) -> BlockID: ...
    @property
    def signatures(self) -> RepeatedCompositeFieldContainer[CommitSig]: ...
    def __init__(
        self,
        *,
        height: int | None = None,
        round: int | None = None,
        block_id: BlockID | None = None,
        signatures: Iterable[CommitSig] | None = None,
    ) -> None: ...

class SignedHeader(Message):
    @property
    def header(self) -> Header: ...
    @property
    def commit(self) -> Commit: ...
    def __init__(
        self,
        *,
        header: Header | None = None,
        commit: Commit | None = None,
    ) -> None: ...

class LightBlock(Message):
    @property
    def signed_header(self) -> SignedHeader: ...
    @property
    def validator_set(self) -> ValidatorSet: ...
    def __init__(
        self,
        *,
        signed_header: SignedHeader | None = None,
        validator_set: ValidatorSet | None = None,
    ) -> None: ...

class CanonicalPartSetHeader(Message):
    total: int
    hash: bytes
    def __init__(
        self,
        *,
        total: int | None = None,
        hash: bytes | None = None,
    ) -> None: ...

class CanonicalBlockID(Message):
    hash: bytes
    @property
    def part_set_header(self) -> CanonicalPartSetHeader: ...
    def __init__(
        self,
        *,
        hash: bytes | None = None,
        part_set_header: CanonicalPartSetHeader | None = None,
    ) -> None: ...

class CanonicalVote(Message):
    type: int
    height: int
    round: int
    @property
    def block_id(self) -> CanonicalBlockID: ...
    @property
    def timestamp(self) -> Timestamp: ...
    chain_id: str
    def __init__(
        self,
        *,
        type: int | None = None,
        height: int | None = None,
        round: int | None = None,
        block_id: CanonicalBlockID | None = None,
        timestamp: Timestamp | None = None,
        chain_id: str | None = None,
    ) -> None: ...
