"""Proofs that nothing is at a path: where in its bucket an entry would stand, and the entries on both sides of it.

The chain from the bucket to the root is that of a value (``merkle``): two ``simple:v`` operators at places that the
path fixes. Below them stands one operator of our own, ``fedledger:absent``, in which a ``Gap`` says: this bucket has
``total`` entries, and ``at`` of them come before the key. It shows the entry before and the entry after; at the edges
of the bucket one of them is missing, in an empty bucket both are.

Why that is enough, although nothing proves ``total`` and ``at``:

- The validators' root fixes the root of this bucket: the tree of buckets always has 65,536 leaves, so the place fixes
  every turn on the way. What they hashed there has its entries in strict order of keys, or is EMPTY_ROOT, the hash of
  no bytes at all, which is neither a leaf (00) nor an inner node (01).
- ``total`` and ``at`` are only a way to write *turns*: they fix, for a leaf, the left and right turns from the bucket's
  root down to it. An entry whose hashes lead up to the bucket's root by some turns is the entry to which these turns
  lead in the tree that was hashed: every node on the way has one preimage, and its first byte says whether it is a
  leaf. What tree a node *claims* does not matter, and two claims with the same turns are the same statement.
- In any binary tree the leaves ``at - 1`` and ``at`` are those between which the ways part once, left and right, and
  from there on turn only right, and only left. So they have no leaf between them in the tree that was hashed either.
  Leaf 0 turns only left and is the first one there too; leaf ``total - 1`` turns only right and is the last one.

So the verifier computes the two ways from one ``total`` and one ``at``, and never compares places that a node chose
freely. A leaf shows its key and the hash of its value, and is hashed anew: a key cannot be made up.

Left to others: hashing, and the way from the bucket up (``merkle``); finding the neighbours (``state_tree``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from . import codec, limits
from .codec import Malformed
from .merkle import (
    EMPTY_ROOT,
    LEAVES_MAX,
    OPERATORS,
    ProofInvalid,
    ProofOp,
    Step,
    climb,
    hashed_leaf,
    require_operators,
    require_root,
    require_way_up,
    split_path,
)
from .types import Digest, Items, Length, Range

OPERATOR: Final = "fedledger:absent"
_LEVELS_MAX: Final = (LEAVES_MAX - 1).bit_length()
_GAP_BYTES_MAX: Final = 4_096  # Two keys of 255 bytes and 32 aunts each need at most 2,900.


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An entry beside the gap: its key, the hash of its committed value, and the siblings on its way up."""

    key: Annotated[bytes, Length(1, limits.PATH_BYTES)]
    value_hash: Digest
    aunts: Annotated[tuple[Digest, ...], Items(0, _LEVELS_MAX)]  # Lowest first.

    def root_at(self, index: int, total: int) -> bytes:
        """The root of a bucket of ``total`` entries of which this is number ``index``. Raises ProofInvalid."""
        return climb(total, index, hashed_leaf(self.key, self.value_hash), self.aunts)


@dataclass(frozen=True, slots=True)
class Gap:
    """Where a key would stand among the sorted keys of a bucket, and what stands beside it."""

    total: Annotated[int, Range(0, LEAVES_MAX)]  # Entries of the bucket.
    at: Annotated[int, Range(0, LEAVES_MAX)]  # How many of them come before the gap.
    below: Neighbour | None
    above: Neighbour | None

    def root_around(self, key: bytes) -> bytes:
        """The root of the bucket in which the key falls into this gap. Raises ProofInvalid."""
        if self.at > self.total:
            raise ProofInvalid("place", f"gap {self.at} in a bucket of {self.total}")
        if (self.below is None) != (self.at == 0) or (self.above is None) != (self.at == self.total):
            raise ProofInvalid("neighbours", f"gap {self.at} of {self.total} shows one too few or too many")
        if self.below is not None and self.below.key >= key:
            raise ProofInvalid("below", f"{self.below.key!r} does not come before {key!r}")
        if self.above is not None and self.above.key <= key:
            raise ProofInvalid("above", f"{self.above.key!r} does not come after {key!r}")
        roots = []
        if self.below is not None:
            roots.append(self.below.root_at(self.at - 1, self.total))
        if self.above is not None:
            roots.append(self.above.root_at(self.at, self.total))
        if len(roots) == 2 and roots[0] != roots[1]:
            raise ProofInvalid("neighbours", "they lead to two roots")
        return roots[0] if roots else EMPTY_ROOT


@dataclass(frozen=True, slots=True)
class AbsenceProof:
    """A gap for a key in its bucket, and the steps through its store and the stores. Proves nothing until verified."""

    key: bytes
    gap: Gap
    bucket: Step
    store: Step

    def encode(self) -> tuple[ProofOp, ...]:
        """As the operators of CometBFT's ``ProofOps``. The gap's data is canonical DAG-CBOR."""
        return (ProofOp(OPERATOR, self.key, codec.encode(self.gap)), self.bucket.encode(), self.store.encode())

    @classmethod
    def decode(cls, operators: Sequence[ProofOp]) -> "AbsenceProof":
        """Read what ``encode`` writes and nothing else, of bounded size. Raises ProofInvalid."""
        require_operators(len(operators), OPERATORS)
        (kind, key, data), bucket, store = operators
        if kind != OPERATOR:
            raise ProofInvalid("operator", f"its type is {kind!r}, expected is {OPERATOR!r}")
        try:
            gap = codec.decode(Gap, data, most=_GAP_BYTES_MAX)
        except Malformed as error:
            raise ProofInvalid("gap", str(error)) from error
        return cls(key, gap, Step.decode(bucket), Step.decode(store))


def verify_absence(root: bytes, stores: Sequence[str], path: bytes, proof: AbsenceProof) -> None:
    """Check that the state of this root, over these stores in order, holds nothing at this path.

    Raises ProofInvalid otherwise, and ValueError for a path that no state could hold.
    """
    store, key = split_path(path)
    if store not in stores:
        raise ProofInvalid("store", f"{store!r} is none of the ledger's stores")
    if proof.key != key:
        raise ProofInvalid("key", f"it is {proof.key!r}, expected is {key!r}")
    require_way_up(stores, path, proof.bucket, proof.store)
    bucket_root = proof.gap.root_around(key)
    require_root(root, proof.store.root_over(proof.bucket.root_over(bucket_root)))
