"""What a receipt holds, as data. Nothing here is checked: see ``verify``."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from contracts.kernel import crypto

from ..light import Commit, CommitSignature, Flag, Header, SignedHeader, TxResult, ValidatorSet


@dataclass(frozen=True, slots=True)
class Way:
    """From a leaf to the root of a Merkle tree: the siblings, lowest first, and on which side of each the way comes.

    Bit i of ``turns`` is 1 when aunt i stands on the left. Size of the tree and place in it are left out on purpose:
    a root does not fix them, so they would be bytes that anybody can change.
    """

    turns: int
    aunts: tuple[bytes, ...]

    @classmethod
    def of(cls, total: int, index: int, aunts: Sequence[bytes]) -> "Way":
        """The way of leaf ``index`` among ``total``, with its aunts."""
        turns = used = 0
        while total > 1:
            if index ^ 1 < total:
                turns |= (index & 1) << used
                used += 1
            index >>= 1
            total = (total + 1) >> 1
        return cls(turns, tuple(aunts))


@dataclass(frozen=True)
class SignedBlock:
    """A header, the commit that decided it, and the validators of its height."""

    header: Header
    commit: Commit
    validators: ValidatorSet

    @property
    def signed(self) -> SignedHeader:
        """As the light client takes it."""
        return SignedHeader(self.header, self.commit)

    @classmethod
    def kept(cls, signed: SignedHeader, validators: ValidatorSet) -> "SignedBlock":
        """Keep of a commit only the precommits for the block that hold: every byte of a receipt must count."""
        commit, chain_id = signed.commit, signed.header.chain_id
        entries = tuple(
            entry
            if entry.flag is Flag.COMMIT
            and crypto.verify(validator.public, commit.sign_bytes(chain_id, index), entry.signature)
            else ABSENT
            for index, (entry, validator) in enumerate(zip(commit.signatures, validators.members, strict=True))
        )
        return cls(signed.header, Commit(commit.height, commit.round, commit.block_id, entries), validators)


ABSENT = CommitSignature(Flag.ABSENT, b"", 0, b"")


@dataclass(frozen=True)
class Acceptance:
    """A transaction, its place under a header's ``data_hash``, and its result under the next ``last_results_hash``.

    Both trees have one leaf per transaction, so one ``way.turns`` is the place in both.
    """

    transaction: bytes
    header: Header
    way: Way
    result: TxResult
    result_aunts: tuple[bytes, ...]

    @property
    def subject(self) -> str:
        """What the receipt is about: the transaction's hash."""
        return crypto.sha256(self.transaction).hex()


@dataclass(frozen=True)
class Holding:
    """A record at a path of the state: its way through its bucket, and the aunts in the two trees above.

    The places in those two follow from the path.
    """

    path: bytes
    body: bytes
    way: Way
    bucket_aunts: tuple[bytes, ...]
    store_aunts: tuple[bytes, ...]

    @property
    def subject(self) -> str:
        """What the receipt is about: the path."""
        return self.path.decode("ascii")


Proof: TypeAlias = Acceptance | Holding


@dataclass(frozen=True)
class Receipt:
    """A proof up to the header of ``block``, and blocks that lead a verifier to it.

    ``issuer`` and ``subject`` are what the receipt says of itself: the chain id, and the hash or the path.
    """

    issuer: str
    subject: str
    proof: Proof
    block: SignedBlock
    chain: tuple[SignedBlock, ...]

    @classmethod
    def about(cls, proof: Proof, blocks: Iterable[SignedBlock]) -> "Receipt":
        """A receipt for a proof; the last of the blocks is the one whose header the proof leads to."""
        *chain, block = blocks
        return cls(block.header.chain_id, proof.subject, proof, block, tuple(chain))

    @property
    def blocks(self) -> tuple[SignedBlock, ...]:
        """Every signed block, oldest first."""
        return (*self.chain, self.block)

    @property
    def height(self) -> int:
        """The block of the transaction, or the one after which the state held the record."""
        return self.block.header.height - 1
