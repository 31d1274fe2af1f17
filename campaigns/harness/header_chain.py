"""A chain of signed headers for tests, built with CometBFT's rules as ``cometbft_blocks`` states them.

Hashes and sign bytes come from protobuf there, so the light client's hand-written encoders are held to another
implementation. Keys follow from names. ``forge`` signs anything: a liar with keys is part of the tests.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from nacl.signing import SigningKey

from abci_app.protocol import blocks as b
from abci_app.protocol import messages as m
from client_sdk import light
from client_sdk.light.headers import BlockId
from contracts.kernel import merkle

from . import cometbft_blocks as rules

CHAIN_ID = "header-chain"
START_NS = 1_700_000_000 * rules.SECOND
BLOCK_NS = rules.SECOND
EMPTY = merkle.EMPTY_ROOT
NOBODY = BlockId(b"", 0, b"")


def key(name: str) -> SigningKey:
    return SigningKey(hashlib.sha256(name.encode()).digest())


@dataclass(frozen=True)
class Members:
    """A validator set with everybody's keys: ``Members.of(ann=10, bob=10)``."""

    ordered: tuple[rules.Validator, ...]
    keys: dict[bytes, SigningKey]

    @classmethod
    def of(cls, **powers: int) -> "Members":
        keys = {name: key(name) for name in powers}
        members = [rules.Validator(bytes(keys[name].verify_key), power) for name, power in powers.items()]
        by_address = {one.address: keys[name] for name, one in zip(powers, members, strict=True)}
        return cls(rules.ordered(members), by_address)

    @property
    def set(self) -> light.ValidatorSet:
        return light.ValidatorSet(tuple(light.Validator(one.pub_key, one.power) for one in self.ordered))

    def position(self, name: str) -> int:
        return [one.pub_key for one in self.ordered].index(bytes(key(name).verify_key))


FOUR = Members.of(ann=10, bob=10, cem=10, dee=10)


@dataclass
class HeaderChain:
    """Blocks on top of each other; ``following`` is who signs the block after the next."""

    current: Members = FOUR
    following: Members = FOUR
    chain_id: str = CHAIN_ID
    blocks: dict[int, tuple[light.SignedHeader, Members]] = field(default_factory=dict)
    txs: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    results: dict[int, tuple[light.TxResult, ...]] = field(default_factory=dict)
    app_hash: bytes = EMPTY

    @property
    def height(self) -> int:
        return len(self.blocks)

    @property
    def genesis(self) -> dict[str, object]:
        first = self.blocks[1][1] if self.blocks else self.current
        return genesis_document(first, self.chain_id)

    def header(self, height: int) -> light.Header:
        return self.blocks[height][0].header

    def signed(self, height: int) -> light.SignedHeader:
        return self.blocks[height][0]

    def validators(self, height: int) -> light.ValidatorSet:
        return self.blocks[height][1].set

    def add(
        self,
        txs: Sequence[bytes] = (),
        results: Sequence[light.TxResult] = (),
        app_hash: bytes | None = None,
        after_next: Members | None = None,
        absent: Iterable[int] = (),
        version: int = 1,
    ) -> light.SignedHeader:
        """Make the next block. ``app_hash`` is the state it leads to, which the header after it will carry.

        ``version`` is that of the rules that decide it.
        """
        height = self.height + 1
        previous = self.blocks[height - 1][0] if self.blocks else None
        header = light.Header(
            version_block=rules.BLOCK_PROTOCOL,
            version_app=version,
            chain_id=self.chain_id,
            height=height,
            time_ns=START_NS + (height - 1) * BLOCK_NS,
            last_block_id=previous.commit.block_id if previous else NOBODY,
            last_commit_hash=rules.commit_hash(commit_proto(previous.commit)) if previous else EMPTY,
            data_hash=rules.data_hash(txs),
            validators_hash=rules.validators_hash(self.current.ordered),
            next_validators_hash=rules.validators_hash(self.following.ordered),
            consensus_hash=hashlib.sha256(b"parameters").digest(),
            app_hash=self.app_hash,
            last_results_hash=rules.results_hash(map(result_proto, self.results.get(height - 1, ()))),
            evidence_hash=EMPTY,
            proposer_address=self.current.ordered[0].address,
        )
        signed = forge(header, self.current, absent=absent)
        self.blocks[height] = (signed, self.current)
        self.txs[height], self.results[height] = tuple(txs), tuple(results)
        self.current, self.following = self.following, after_next or self.following
        self.app_hash = self.app_hash if app_hash is None else app_hash
        return signed

    def grow(self, count: int) -> "HeaderChain":
        for _ in range(count):
            self.add()
        return self


def forge(
    header: light.Header,
    signers: Members,
    *,
    absent: Iterable[int] = (),
    chain_id: str | None = None,
    time_ns: int | None = None,
) -> light.SignedHeader:
    """A header with a commit by these signers, true or not."""
    block = rules.Block(header_proto(header), (), b.Commit())
    commit = rules.signed_commit(
        block, chain_id or header.chain_id, signers.ordered, signers.keys, time_ns or header.time_ns, absent
    )
    return light.SignedHeader(header, commit_of(commit))


def edited(signed: light.SignedHeader, **changes: object) -> light.SignedHeader:
    """The same commit over another header, which then does not name it."""
    return replace(signed, header=replace(signed.header, **changes))


def genesis_document(members: Members, chain_id: str = CHAIN_ID) -> dict[str, object]:
    return {
        "genesis_time": "2023-11-14T22:13:20Z",
        "chain_id": chain_id,
        "initial_height": "1",
        "validators": [
            {
                "address": one.address.hex().upper(),
                "pub_key": {"type": "tendermint/PubKeyEd25519", "value": base64.b64encode(one.pub_key).decode()},
                "power": str(one.power),
                "name": "",
            }
            for one in reversed(members.ordered)
        ],
        "app_hash": "",
    }


def header_proto(header: light.Header) -> b.Header:
    same = ("chain_id", "height", "app_hash", "data_hash", "last_results_hash", "consensus_hash", "evidence_hash")
    also = ("last_commit_hash", "validators_hash", "next_validators_hash", "proposer_address")
    return b.Header(
        version=b.Consensus(block=header.version_block, app=header.version_app),
        time=rules.timestamp(header.time_ns),
        last_block_id=block_id_proto(header.last_block_id),
        **{name: getattr(header, name) for name in (*same, *also)},
    )


def block_id_proto(block_id: BlockId) -> b.BlockID:
    parts = b.PartSetHeader(total=block_id.parts_total, hash=block_id.parts_hash)
    return b.BlockID(hash=block_id.hash, part_set_header=parts)


def commit_proto(commit: light.Commit) -> b.Commit:
    return b.Commit(
        height=commit.height,
        round=commit.round,
        block_id=block_id_proto(commit.block_id),
        signatures=[
            b.CommitSig(
                block_id_flag=one.flag,
                validator_address=one.address,
                timestamp=rules.timestamp(one.time_ns) if one.address else rules.NO_TIME,
                signature=one.signature,
            )
            for one in commit.signatures
        ],
    )


def commit_of(commit: b.Commit) -> light.Commit:
    parts = commit.block_id.part_set_header
    return light.Commit(
        commit.height,
        commit.round,
        BlockId(commit.block_id.hash, parts.total, parts.hash),
        tuple(
            light.CommitSignature(
                light.Flag(one.block_id_flag),
                one.validator_address,
                rules.nanoseconds(one.timestamp) if one.validator_address else 0,
                one.signature,
            )
            for one in commit.signatures
        ),
    )


def result_proto(result: light.TxResult) -> m.ExecTxResult:
    return m.ExecTxResult(
        code=result.code, data=result.data, gas_wanted=result.gas_wanted, gas_used=result.gas_used, log=result.log
    )
