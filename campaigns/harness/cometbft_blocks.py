"""Blocks, commits and validator sets as CometBFT builds, hashes and signs them. No node, no application.

Everything is real: headers hash by CometBFT's rules and commits carry Ed25519 signatures, so a light client
can be tested against them. Source: CometBFT v0.39, ``types/{block,validator_set,canonical,tx,params}.go``
and ``crypto/merkle``. What is left out: evidence (always none) and vote extensions.

Go marshals an embedded message that cannot be nil also when it is empty, and a zero time as year 1: hence
``SetInParent`` and ``NO_TIME`` below.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nacl.signing import SigningKey

from abci_app.protocol import blocks as b
from abci_app.protocol import messages as m
from abci_app.protocol.framing import frame
from contracts.kernel.varint import uvarint

SECOND = 10**9  # Times are integer nanoseconds since the epoch.
NO_TIME = b.Timestamp(seconds=-62_135_596_800)
BLOCK_PROTOCOL = 11
PART_BYTES = 65_536
TOTAL_POWER_MAX = (2**63 - 1) // 8

ABSENT = b.BlockIDFlag.BLOCK_ID_FLAG_ABSENT
COMMIT = b.BlockIDFlag.BLOCK_ID_FLAG_COMMIT


@dataclass(frozen=True)
class Validator:
    """A public key and its voting power."""

    pub_key: bytes
    power: int

    @property
    def address(self) -> bytes:
        return hashlib.sha256(self.pub_key).digest()[:20]

    def update(self) -> m.ValidatorUpdate:
        return m.ValidatorUpdate(pub_key=b.PublicKey(ed25519=self.pub_key), power=self.power)

    def info(self) -> m.Validator:
        return m.Validator(address=self.address, power=self.power)


@dataclass(frozen=True)
class Block:
    """A header, its transactions, and the commit of the block before."""

    header: b.Header
    txs: tuple[bytes, ...]
    last_commit: b.Commit

    @property
    def height(self) -> int:
        return self.header.height

    @property
    def hash(self) -> bytes:
        return header_hash(self.header)

    @property
    def id(self) -> b.BlockID:
        """What votes are for: the header's hash, and the root of the parts the block travels in."""
        data = b.Data(txs=self.txs).SerializeToString()
        fields = ((1, self.header.SerializeToString()), (2, data), (3, b""), (4, _commit_bytes(self.last_commit)))
        whole = b"".join(uvarint(number << 3 | 2) + frame(body) for number, body in fields)
        parts = [whole[at : at + PART_BYTES] for at in range(0, len(whole), PART_BYTES)]
        return b.BlockID(hash=self.hash, part_set_header=b.PartSetHeader(total=len(parts), hash=merkle_root(parts)))


class UpdateRefused(Exception):
    """CometBFT stops the node for these validator updates."""


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + merkle_root(leaves[:split]) + merkle_root(leaves[split:])).digest()


def header_hash(header: b.Header) -> bytes:
    return merkle_root(
        [
            header.version.SerializeToString(),
            _wrapped(header.chain_id.encode()),
            b"\x08" + uvarint(header.height),
            header.time.SerializeToString(),
            _id_bytes(header.last_block_id),
            *map(
                _wrapped,
                (
                    header.last_commit_hash,
                    header.data_hash,
                    header.validators_hash,
                    header.next_validators_hash,
                    header.consensus_hash,
                    header.app_hash,
                    header.last_results_hash,
                    header.evidence_hash,
                    header.proposer_address,
                ),
            ),
        ]
    )


def data_hash(txs: Iterable[bytes]) -> bytes:
    return merkle_root([hashlib.sha256(tx).digest() for tx in txs])


def results_hash(results: Iterable[m.ExecTxResult]) -> bytes:
    """Of code, data and gas alone: the rest of a result may differ between nodes."""
    return merkle_root(
        [
            m.ExecTxResult(
                code=one.code, data=one.data, gas_wanted=one.gas_wanted, gas_used=one.gas_used
            ).SerializeToString()
            for one in results
        ]
    )


def validators_hash(validators: Iterable[Validator]) -> bytes:
    return merkle_root(
        [
            b.SimpleValidator(pub_key=b.PublicKey(ed25519=one.pub_key), voting_power=one.power).SerializeToString()
            for one in validators
        ]
    )


def params_hash(params: b.ConsensusParams) -> bytes:
    hashed = b.HashedParams(block_max_bytes=params.block.max_bytes, block_max_gas=params.block.max_gas)
    return hashlib.sha256(hashed.SerializeToString()).digest()


def commit_hash(commit: b.Commit) -> bytes:
    return merkle_root([one.SerializeToString() for one in commit.signatures])


def ordered(validators: Iterable[Validator]) -> tuple[Validator, ...]:
    """As a set keeps them: by power, the strongest first, then by address."""
    return tuple(sorted(validators, key=lambda one: (-one.power, one.address)))


def changed(validators: tuple[Validator, ...], updates: Iterable[m.ValidatorUpdate]) -> tuple[Validator, ...]:
    """A set after the application's updates. Raises UpdateRefused for each mistake that stops a node."""
    members, seen = {one.address: one for one in validators}, set[bytes]()
    for update in updates:
        if update.power and update.pub_key.WhichOneof("sum") != "ed25519":
            raise UpdateRefused("a validator update with a key that is not Ed25519")
        one = Validator(update.pub_key.ed25519, update.power)
        if one.address in seen:
            raise UpdateRefused(f"duplicate validator update for {one.address.hex()}")
        if one.power < 0:
            raise UpdateRefused(f"voting power can't be negative: {one.power}")
        if one.power == 0 and one.address not in members:
            raise UpdateRefused(f"failed to find validator {one.address.hex()} to remove")
        seen.add(one.address)
        if one.power:
            members[one.address] = one
        else:
            del members[one.address]
    if not members:
        raise UpdateRefused("applying the validator changes would result in an empty set")
    if sum(one.power for one in members.values()) > TOTAL_POWER_MAX:
        raise UpdateRefused(f"total voting power exceeds {TOTAL_POWER_MAX}")
    return ordered(members.values())


def signed_commit(
    block: Block,
    chain_id: str,
    validators: Sequence[Validator],
    keys: dict[bytes, SigningKey],
    time: int,
    absent: Iterable[int] = (),
) -> b.Commit:
    """The precommits of round 0 for a block, each at ``time``.

    Missing are those at the positions ``absent`` in the set, and of validators whose keys are not known.
    """
    block_id, missing = block.id, set(absent)
    statement = frame(
        b.CanonicalVote(
            type=b.SignedMsgType.SIGNED_MSG_TYPE_PRECOMMIT,
            height=block.height,
            block_id=b.CanonicalBlockID(
                hash=block_id.hash,
                part_set_header=b.CanonicalPartSetHeader(
                    total=block_id.part_set_header.total, hash=block_id.part_set_header.hash
                ),
            ),
            timestamp=timestamp(time),
            chain_id=chain_id,
        ).SerializeToString()
    )
    signatures = [
        b.CommitSig(block_id_flag=ABSENT, timestamp=NO_TIME)
        if position in missing or one.address not in keys
        else b.CommitSig(
            block_id_flag=COMMIT,
            validator_address=one.address,
            timestamp=timestamp(time),
            signature=keys[one.address].sign(statement).signature,
        )
        for position, one in enumerate(validators)
    ]
    return b.Commit(height=block.height, block_id=block_id, signatures=signatures)


def timestamp(nanoseconds: int) -> b.Timestamp:
    seconds, nanos = divmod(nanoseconds, SECOND)
    return b.Timestamp(seconds=seconds, nanos=nanos)


def nanoseconds(time: b.Timestamp) -> int:
    return time.seconds * SECOND + time.nanos


def _wrapped(value: bytes) -> bytes:
    """A string or bytes as google.protobuf.{String,Bytes}Value; nothing when empty."""
    return b"\x0a" + frame(value) if value else b""


def _id_bytes(block_id: b.BlockID) -> bytes:
    always = b.BlockID()
    always.CopyFrom(block_id)
    always.part_set_header.SetInParent()
    return always.SerializeToString()


def _commit_bytes(commit: b.Commit) -> bytes:
    always = b.Commit()
    always.CopyFrom(commit)
    always.block_id.part_set_header.SetInParent()
    return always.SerializeToString()
