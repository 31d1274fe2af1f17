"""What CometBFT's headers, commits and validator sets hold, and the hashes that bind them together.

Everything here is data and pure functions of data: nothing is checked against anybody's signature (``verify``), and
bytes are laid out in ``encoding``. Hashes have 32 bytes, or none where CometBFT leaves them out. Times are integer
nanoseconds since the Unix epoch.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Final

from contracts.kernel import merkle
from contracts.kernel.crypto import PUBLIC_KEY_BYTES, sha256

from . import encoding
from .errors import VerificationFailed

ADDRESS_BYTES: Final = 20
BLOCK_PROTOCOL: Final = 11  # CometBFT's block format: the same in 0.34 to 0.40.
VALIDATORS_MAX: Final = 1_000  # A consortium's; CometBFT itself stops at 10,000.
POWER_MAX: Final = (2**63 - 1) // 8  # CometBFT's bound on a set's total.


def root_of(leaves: Iterable[bytes]) -> bytes:
    """CometBFT's Merkle root over encoded leaves (RFC 6962)."""
    return merkle.tree_root(b"".join(sha256(b"\x00" + leaf) for leaf in leaves))


@dataclass(frozen=True, slots=True)
class BlockId:
    """What validators sign: a header's hash, and the root of the parts in which its block travels."""

    hash: bytes
    parts_total: int
    parts_hash: bytes


@dataclass(frozen=True)
class Header:
    """The fourteen fields of a block's header, in the order in which they are hashed."""

    version_block: int
    version_app: int
    chain_id: str
    height: int
    time_ns: int
    last_block_id: BlockId
    last_commit_hash: bytes
    data_hash: bytes
    validators_hash: bytes
    next_validators_hash: bytes
    consensus_hash: bytes
    app_hash: bytes  # Of the state *before* this block: what height - 1 led to.
    last_results_hash: bytes  # Of the results of height - 1.
    evidence_hash: bytes
    proposer_address: bytes

    @cached_property
    def hash(self) -> bytes:
        """The block's hash (CometBFT ``Header.Hash``)."""
        hashes = (
            self.last_commit_hash,
            self.data_hash,
            self.validators_hash,
            self.next_validators_hash,
            self.consensus_hash,
            self.app_hash,
            self.last_results_hash,
            self.evidence_hash,
            self.proposer_address,
        )
        return root_of(
            (
                encoding.integers((1, self.version_block), (2, self.version_app)),
                encoding.text(1, self.chain_id),
                encoding.integers((1, self.height)),
                encoding.timestamp(self.time_ns),
                encoding.block_id(
                    self.last_block_id.hash, self.last_block_id.parts_total, self.last_block_id.parts_hash
                ),
                *(encoding.octets(1, value) for value in hashes),
            )
        )


class Flag(IntEnum):
    """What one validator's entry in a commit is about."""

    ABSENT = 1
    COMMIT = 2
    NIL = 3


@dataclass(frozen=True, slots=True)
class CommitSignature:
    """One validator's precommit, or its absence."""

    flag: Flag
    address: bytes
    time_ns: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """The precommits for one block, one entry per validator, in the order of the set."""

    height: int
    round: int
    block_id: BlockId
    signatures: tuple[CommitSignature, ...]

    def sign_bytes(self, chain_id: str, index: int) -> bytes:
        """What the validator at ``index`` signed if it precommitted this block: its length-delimited CanonicalVote."""
        return encoding.precommit(
            chain_id,
            self.height,
            self.round,
            encoding.block_id(self.block_id.hash, self.block_id.parts_total, self.block_id.parts_hash),
            self.signatures[index].time_ns,
        )


@dataclass(frozen=True, slots=True)
class SignedHeader:
    """A header with the commit that is said to have decided it."""

    header: Header
    commit: Commit


@dataclass(frozen=True, slots=True)
class Validator:
    """An Ed25519 key and its voting power."""

    public: bytes
    power: int

    @property
    def address(self) -> bytes:
        """What blocks call it: the first 20 bytes of the key's SHA-256."""
        return sha256(self.public)[:ADDRESS_BYTES]


@dataclass(frozen=True)
class ValidatorSet:
    """Validators in CometBFT's order, each once, each with some power. Raises VerificationFailed otherwise."""

    members: tuple[Validator, ...]

    def __post_init__(self) -> None:
        """Refuse what no chain can have: the counting of votes relies on it."""
        if not 0 < len(self.members) <= VALIDATORS_MAX:
            raise VerificationFailed("validators", f"{len(self.members)} of them, allowed are 1 to {VALIDATORS_MAX}")
        if any(one.power <= 0 or len(one.public) != PUBLIC_KEY_BYTES for one in self.members):
            raise VerificationFailed("validators", "one has no voting power, or no Ed25519 key")
        if self.power > POWER_MAX:
            raise VerificationFailed("validators", f"their power {self.power} exceeds {POWER_MAX}")
        if len(self.powers) != len(self.members):
            raise VerificationFailed("validators", "one of them appears twice")

    @classmethod
    def ordered(cls, members: Iterable[Validator]) -> "ValidatorSet":
        """A set in the order CometBFT keeps: the strongest first, then by address."""
        return cls(tuple(sorted(members, key=lambda one: (-one.power, one.address))))

    @cached_property
    def power(self) -> int:
        """The voting power of all together."""
        return sum(one.power for one in self.members)

    @cached_property
    def powers(self) -> dict[bytes, int]:
        """Voting power by public key."""
        return {one.public: one.power for one in self.members}

    @cached_property
    def hash(self) -> bytes:
        """What headers call this set (CometBFT ``ValidatorSet.Hash``)."""
        return root_of(encoding.validator(one.public, one.power) for one in self.members)


@dataclass(frozen=True, slots=True)
class TxResult:
    """What a transaction did. The next header covers code, data and gas; ``log`` is one node's word."""

    code: int
    data: bytes
    gas_wanted: int = 0
    gas_used: int = 0
    log: str = ""

    @property
    def leaf(self) -> bytes:
        """The covered part, as CometBFT encodes it (``DeterministicExecTxResult``)."""
        return encoding.tx_result(self.code, self.data, self.gas_wanted, self.gas_used)


@dataclass(frozen=True, slots=True)
class Genesis:
    """The part of CometBFT's genesis document that trust begins with."""

    chain_id: str
    time_ns: int
    initial_height: int
    validators: ValidatorSet
