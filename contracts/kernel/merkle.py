"""Merkle hashing and proofs: what the ledger's root commits to, and how anyone checks a value under it.

Three trees stand one above the other. Each is CometBFT's (RFC 6962 shape; leaf = SHA-256(00 | len key | key
| 20 | SHA-256(value)), inner node = SHA-256(01 | left | right)), and a proof is a chain of exactly three of
its ``simple:v`` operators, so that a stock ``cometbft light`` proxy verifies it too:

1. the entries of one bucket, sorted by key: key → committed value;
2. the 2^16 buckets of one contract, at fixed places: empty key → root of the bucket;
3. the contracts ("stores"), in the fixed order of the registry: name → root of its buckets.

A path is ``<store>/<key>``; its bucket is the first 16 bits of SHA-256(path). A committed value is
SHA-256(path) | body with a body that is never empty, so **no committed value is 32 bytes long**. Otherwise
a member could store a digest that is the root of a tree of its own making, and a lying node could prepend
an operator that leads from any value to that digest. The verifier also fixes what the operators may say:
their number, their keys, the sizes of the two upper trees and the places in them.

Left to others: proofs that nothing is at a path (``absence``), building the trees (``state_tree``), headers
and the signatures over the root (``client_sdk``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple

from . import limits
from .crypto import sha256
from .varint import BadVarint, read_uvarint, uvarint

DIGEST_BYTES: Final = 32
BUCKET_BITS: Final = 16
BUCKETS: Final = 1 << BUCKET_BITS
EMPTY_ROOT: Final = sha256(b"")  # CometBFT's root of a tree without leaves.
OPERATOR: Final = "simple:v"
OPERATORS: Final = 3
LEAVES_MAX: Final = 2**32  # Of one tree in a proof, so that a walk ends after 32 levels.
_OPERATOR_BYTES_MAX: Final = 2_048  # 255 bytes of key, a leaf and 32 aunts need at most 1,400.


class ProofInvalid(ValueError):
    """A proof that does not prove what it is presented for. ``what`` names the part that is wrong."""

    kind: ClassVar[str] = "refused"

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")
        self.what = what
        self.why = why


# Hashing ----------------------------------------------------------------------------------------


def leaf_hash(key: bytes, value: bytes) -> bytes:
    """The leaf of a key and a value, as CometBFT's ``ValueOp`` computes it."""
    return hashed_leaf(key, sha256(value))


def hashed_leaf(key: bytes, value_hash: bytes) -> bytes:
    """The leaf of a key and the SHA-256 of its value: no other key and hash have the same one."""
    return sha256(b"\x00" + uvarint(len(key)) + key + b"\x20" + value_hash)


def inner_hash(children: bytes | bytearray) -> bytes:
    """The node above two digests, given side by side."""
    return sha256(b"\x01" + children)


def tree_root(leaves: bytes) -> bytes:
    """The root over leaf hashes, given side by side (32 bytes each); EMPTY_ROOT over none.

    Nodes are paired level by level and an odd last one moves up unchanged, which gives the tree of RFC 6962
    section 2.1 (a split at the largest power of two below n).
    """
    if not leaves:
        return EMPTY_ROOT
    while len(leaves) > DIGEST_BYTES:
        leaves = _level_above(leaves)
    return leaves


def root_of_stores(roots: Mapping[str, bytes]) -> bytes:
    """The root of a whole state, the next header's application hash, from the roots of its stores in their order."""
    return tree_root(b"".join([leaf_hash(name.encode("ascii"), root) for name, root in roots.items()]))


def tree_aunts(leaves: bytes, index: int) -> tuple[bytes, ...]:
    """The siblings on the way from a leaf to the root, lowest first. Raises IndexError: no such leaf."""
    if not 0 <= index < len(leaves) // DIGEST_BYTES:
        raise IndexError(f"leaf {index} of {len(leaves) // DIGEST_BYTES}")
    aunts = []
    while len(leaves) > DIGEST_BYTES:
        sibling = (index ^ 1) * DIGEST_BYTES
        if sibling < len(leaves):
            aunts.append(leaves[sibling : sibling + DIGEST_BYTES])
        leaves = _level_above(leaves)
        index >>= 1
    return tuple(aunts)


def climb(total: int, index: int, leaf: bytes, aunts: Sequence[bytes]) -> bytes:
    """The root that a leaf, its place among ``total`` leaves and its aunts lead to. Raises ProofInvalid.

    Every aunt must be used and have 32 bytes, so one leaf at one place has one proof.
    """
    if not 0 < total <= LEAVES_MAX or not 0 <= index < total:
        raise ProofInvalid("place", f"leaf {index} of {total}, at most {LEAVES_MAX}")
    if len(leaf) != DIGEST_BYTES or any(len(aunt) != DIGEST_BYTES for aunt in aunts):
        raise ProofInvalid("digests", "a leaf or an aunt does not have 32 bytes")
    used, digest = 0, leaf
    while total > 1:
        if index ^ 1 < total:
            if used == len(aunts):
                raise ProofInvalid("aunts", f"{used} are too few")
            aunt = aunts[used]
            digest = inner_hash(aunt + digest if index & 1 else digest + aunt)
            used += 1
        index >>= 1
        total = (total + 1) >> 1
    if used != len(aunts):
        raise ProofInvalid("aunts", f"{len(aunts)} given, {used} needed")
    return digest


def _level_above(level: bytes) -> bytes:
    pairs = len(level) // (2 * DIGEST_BYTES) * 2 * DIGEST_BYTES
    nodes = [inner_hash(level[at : at + 2 * DIGEST_BYTES]) for at in range(0, pairs, 2 * DIGEST_BYTES)]
    return b"".join((*nodes, level[pairs:]))


# Paths and committed values ---------------------------------------------------------------------


def split_path(path: bytes) -> tuple[str, bytes]:
    """The store and the key of a path. Raises ValueError when a path could not be committed or queried.

    A key that begins with ``x:`` is refused: CometBFT's key paths read it as hexadecimal.
    """
    name, slash, key = path.partition(b"/")
    if len(path) > limits.PATH_BYTES:
        raise ValueError(f"a path has {len(path)} bytes, allowed are {limits.PATH_BYTES}")
    if not slash or not name or not key or key.startswith(b"x:") or not name.isascii():
        raise ValueError(f"{path!r} is not <store>/<key>, or its key begins with 'x:'")
    return name.decode("ascii"), key


def bucket_of(path: bytes) -> int:
    """The bucket of a path in its store: the first 16 bits of its hash, so buckets fill evenly."""
    return bucket_at(sha256(path))


def bucket_at(path_hash: bytes) -> int:
    """The same from the path's SHA-256."""
    return int.from_bytes(path_hash[:2], "big")


def commit_value(path: bytes, body: bytes) -> bytes:
    """The bytes committed at a path: SHA-256(path) | body. Raises ValueError for an empty body."""
    return value_at(path, sha256(path), body)


def value_at(path: bytes, path_hash: bytes, body: bytes) -> bytes:
    """The same where the path's SHA-256 is known."""
    if not body:
        raise ValueError(f"{path!r}: an empty body would make the committed value 32 bytes long")
    return path_hash + body


def open_value(path: bytes, value: bytes) -> bytes:
    """The body within a committed value. Raises ProofInvalid when the value was not committed at this path."""
    if len(value) <= DIGEST_BYTES or value[:DIGEST_BYTES] != sha256(path):
        raise ProofInvalid("value", f"it does not begin with the hash of the path {path!r}, or has no body")
    return value[DIGEST_BYTES:]


# Proofs -----------------------------------------------------------------------------------------


class ProofOp(NamedTuple):
    """CometBFT's ``tendermint.crypto.ProofOp``, field for field."""

    type: str
    key: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Step:
    """One ``simple:v`` operator: a key, and the way from its leaf to the root of one tree."""

    key: bytes
    total: int  # Leaves of the tree.
    index: int  # Place of the leaf, from 0.
    leaf: bytes
    aunts: tuple[bytes, ...]  # Lowest first.

    def root_over(self, value: bytes) -> bytes:
        """The root of the tree in which this step places the value. Raises ProofInvalid."""
        if leaf_hash(self.key, value) != self.leaf:
            raise ProofInvalid("leaf", f"it is not the leaf of {self.key!r} and the value")
        return climb(self.total, self.index, self.leaf, self.aunts)

    def encode(self) -> ProofOp:
        """As an operator of CometBFT's ``ProofOps``."""
        return ProofOp(OPERATOR, self.key, _encode_step(self))

    @classmethod
    def decode(cls, operator: ProofOp) -> "Step":
        """Read what ``encode`` writes and nothing else. Raises ProofInvalid."""
        return _decode_step(*operator)


@dataclass(frozen=True, slots=True)
class Proof:
    """Steps from an entry through its bucket, its store and the stores. Proves nothing until verified."""

    steps: tuple[Step, ...]

    def encode(self) -> tuple[ProofOp, ...]:
        """As the operators of CometBFT's ``ProofOps``."""
        return tuple(step.encode() for step in self.steps)

    @classmethod
    def decode(cls, operators: Sequence[ProofOp]) -> "Proof":
        """Read what ``encode`` writes and nothing else. Raises ProofInvalid."""
        require_operators(len(operators), OPERATORS)
        return cls(tuple(map(Step.decode, operators)))


def verify(root: bytes, stores: Sequence[str], path: bytes, body: bytes, proof: Proof) -> None:
    """Check that the state of this root, over these stores in order, holds this body at this path.

    Raises ProofInvalid otherwise, and ValueError for a path or a body that no state could hold.
    """
    store, key = split_path(path)
    if store not in stores:
        raise ProofInvalid("store", f"{store!r} is none of the ledger's stores")
    require_operators(len(proof.steps), OPERATORS)
    entry, bucket, contract = proof.steps
    _require_key("entry", entry, key)
    # Its place is not fixed, nor proved: places that turn left and right alike on the way up cannot be told apart.
    require_way_up(stores, path, bucket, contract)
    digest = commit_value(path, body)
    for step in proof.steps:
        digest = step.root_over(digest)
    require_root(root, digest)


def require_operators(given: int, needed: int) -> None:
    """A proof has exactly this many operators. Raises ProofInvalid."""
    if given != needed:
        raise ProofInvalid("operators", f"{given} given, exactly {needed} are needed")


def require_way_up(stores: Sequence[str], path: bytes, bucket: Step, contract: Step) -> None:
    """The upper two steps have the keys and places that a path of one of these stores fixes. Raises ProofInvalid."""
    store, _ = split_path(path)
    _require_key("bucket", bucket, b"")
    _require_place("bucket", bucket, BUCKETS, bucket_of(path))
    _require_key("store", contract, store.encode("ascii"))
    _require_place("store", contract, len(stores), stores.index(store))


def require_root(root: bytes, digest: bytes) -> None:
    """A proof leads to this root. Raises ProofInvalid."""
    if digest != root:
        raise ProofInvalid("root", f"the proof leads to {digest.hex()}, expected is {root.hex()}")


def _require_key(name: str, step: Step, key: bytes) -> None:
    if step.key != key:
        raise ProofInvalid(f"{name} key", f"it is {step.key!r}, expected is {key!r}")


def _require_place(name: str, step: Step, total: int, index: int) -> None:
    if (step.total, step.index) != (total, index):
        why = f"it is {step.index} of {step.total}, expected is {index} of {total}"
        raise ProofInvalid(f"{name} place", why)


# Protobuf: ValueOp { bytes key = 1; Proof proof = 2; },
#           Proof { int64 total = 1; int64 index = 2; bytes leaf_hash = 3; repeated bytes aunts = 4; }


def _encode_step(step: Step) -> bytes:
    proof = b"".join(
        (
            b"\x08" + uvarint(step.total) if step.total else b"",
            b"\x10" + uvarint(step.index) if step.index else b"",
            b"\x1a" + _delimited(step.leaf) if step.leaf else b"",
            *(b"\x22" + _delimited(aunt) for aunt in step.aunts),
        )
    )
    return (b"\x0a" + _delimited(step.key) if step.key else b"") + b"\x12" + _delimited(proof)


def _decode_step(kind: str, key: bytes, data: bytes) -> Step:
    """Parse with tolerance, then insist on the bytes we would write: that leaves one spelling per step."""
    if kind != OPERATOR:
        raise ProofInvalid("operator", f"its type is {kind!r}, expected is {OPERATOR!r}")
    if len(data) > _OPERATOR_BYTES_MAX:
        raise ProofInvalid("operator", f"{len(data)} bytes, at most {_OPERATOR_BYTES_MAX} are allowed")
    total = index = 0
    leaf, aunts = b"", []
    proof = {tag: content for tag, content, _ in _fields(data)}.get(0x12, b"")
    for tag, content, number in _fields(proof):
        if tag == 0x08:
            total = number
        elif tag == 0x10:
            index = number
        elif tag == 0x1A:
            leaf = content
        elif tag == 0x22:
            aunts.append(content)
    step = Step(key, total, index, leaf, tuple(aunts))
    if _encode_step(step) != data:
        raise ProofInvalid("operator", "its data is not the canonical encoding of a ValueOp with this key")
    if not 0 <= index < total:
        raise ProofInvalid("operator", f"there is no place {index} among {total}")
    return step


def _fields(message: bytes) -> list[tuple[int, bytes, int]]:
    """The fields of a protobuf message as (tag, content, number), all read as varint or length-delimited."""
    found, at = [], 0
    while at < len(message):
        tag = message[at]
        try:
            number, at = read_uvarint(message, at + 1)
        except BadVarint as error:
            raise ProofInvalid("operator", f"in its data {error}") from error
        content = b""
        if tag & 7 == 2:
            content = message[at : at + number]
            at += number
        found.append((tag, content, number))
    return found


def _delimited(content: bytes) -> bytes:
    return uvarint(len(content)) + content
