"""The authenticated state of a node: the Merkle trees over every entry, built from writes, batch by batch.

A ``StateVersion`` never changes. Writes give a new one that shares with the old every part they did not
touch, so a block can be staged (FinalizeBlock needs its root) before it is adopted (Commit), and proofs
against the version before stay possible for as long as somebody holds it. ``StateTree`` holds the newest
few.

The 2^16 buckets of a store hang under four levels of branches with 16 children each. A branch keeps the
binary Merkle tree over its children's digests as one heap of 32 x 32 bytes, and all untouched branches of
one level are the same object: an empty store costs nothing, an update copies four kilobytes and hashes
about 30 times. A bucket keeps its sorted keys and their leaf hashes; bodies live in the node's store.

A bucket is hashed anew as a whole, in time linear in its entries: three at 2·10^5 entries of one store,
sixteen at 10^6. A member can grind paths into one bucket, at 2^16 hashes each; its quota bounds how many.

Left to others: the shape and meaning of what is hashed, and verification (``merkle``); durability
(``abci_app``).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, NamedTuple, TypeAlias

from .absence import AbsenceProof, Gap, Neighbour
from .crypto import sha256
from .merkle import (
    BUCKETS,
    DIGEST_BYTES,
    EMPTY_ROOT,
    Proof,
    Step,
    bucket_at,
    bucket_of,
    commit_value,
    inner_hash,
    leaf_hash,
    split_path,
    tree_aunts,
    tree_root,
    value_at,
)

VERSIONS_KEPT: Final = 2  # A proof at height H is checked against header H+1, so H-1 must still be provable.
_FAN_BITS: Final = 4
_FAN: Final = 1 << _FAN_BITS
_LEVELS: Final = 4
assert _FAN**_LEVELS == BUCKETS

Writes: TypeAlias = Mapping[bytes, bytes | None]  # Path → body, or None to remove the entry.
_Leaves: TypeAlias = dict[bytes, bytes | None]  # Key → leaf hash, or None to remove the entry.


class PathAbsent(LookupError):
    """There is no entry at this path, so no proof of one."""

    kind: ClassVar[str] = "refused"


class PathPresent(LookupError):
    """There is an entry at this path, so no proof that there is none."""

    kind: ClassVar[str] = "refused"


class VersionNotKept(LookupError):
    """The version asked for is not held any more, or does not exist yet."""

    kind: ClassVar[str] = "refused"


class StaleStage(RuntimeError):
    """A staged version is not the successor of the version it is adopted over."""

    kind: ClassVar[str] = "bug"


# Buckets and branches ---------------------------------------------------------------------------


class _Bucket(NamedTuple):
    keys: tuple[bytes, ...]  # Sorted.
    leaves: bytes  # Their leaf hashes, side by side.

    def merged(self, changes: _Leaves) -> "_Bucket":
        leaves = {key: self.leaf(at) for at, key in enumerate(self.keys)}
        for key, leaf in changes.items():
            if leaf is None:
                leaves.pop(key, None)
            else:
                leaves[key] = leaf
        keys = tuple(sorted(leaves))
        return _Bucket(keys, b"".join([leaves[key] for key in keys]))

    def leaf(self, at: int) -> bytes:
        return self.leaves[at * DIGEST_BYTES : (at + 1) * DIGEST_BYTES]

    @property
    def digest(self) -> bytes:
        """The bucket's leaf in the tree of buckets."""
        return leaf_hash(b"", tree_root(self.leaves))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Branch:
    children: "tuple[_Branch | _Bucket, ...]"  # Sixteen.
    heap: bytes  # Digest of node i at 32·i: node 1 on top, i above 2i and 2i+1, the children at 16..31.

    def replaced(self, changes: "Mapping[int, _Branch | _Bucket]") -> "_Branch":
        """This branch with some children exchanged; every node above them is hashed once."""
        children, heap = list(self.children), bytearray(self.heap)
        for slot, child in changes.items():
            children[slot] = child
            at = (_FAN + slot) * DIGEST_BYTES
            heap[at : at + DIGEST_BYTES] = child.digest
        touched = [_FAN + slot for slot in changes]
        while touched[0] > 1:
            touched = list({node >> 1: None for node in touched})
            for node in touched:
                at = node * DIGEST_BYTES
                heap[at : at + DIGEST_BYTES] = inner_hash(heap[2 * at : 2 * at + 2 * DIGEST_BYTES])
        return _Branch(tuple(children), bytes(heap))

    def node(self, number: int) -> bytes:
        return self.heap[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES]

    @property
    def digest(self) -> bytes:
        return self.node(1)


_NO_ENTRIES: Final = _Bucket((), b"")


def _empty_store() -> _Branch:
    child: _Branch | _Bucket = _NO_ENTRIES
    for _ in range(_LEVELS):
        bare = _Branch((child,) * _FAN, bytes(2 * _FAN * DIGEST_BYTES))
        child = bare.replaced(dict.fromkeys(range(_FAN), child))
    assert isinstance(child, _Branch)
    return child


_EMPTY_STORE: Final = _empty_store()


def _slot(bucket: int, level: int) -> int:
    """Which child of a branch at this level (0 is the top) leads to the bucket."""
    return bucket >> _FAN_BITS * (_LEVELS - 1 - level) & (_FAN - 1)


def _route(store: _Branch, bucket: int) -> tuple[list[_Branch], _Bucket]:
    """The branches from the top of a store down to a bucket, and the bucket."""
    branches: list[_Branch] = []
    child: _Branch | _Bucket = store
    while isinstance(child, _Branch):
        branches.append(child)
        child = child.children[_slot(bucket, len(branches) - 1)]
    return branches, child


def _updated(store: _Branch, changes: Mapping[int, _Leaves]) -> _Branch:
    """The store with the leaves of some buckets changed, level by level from the buckets to the top."""
    routes = {bucket: _route(store, bucket) for bucket in changes}
    pending: dict[int, _Branch | _Bucket] = {
        bucket: routes[bucket][1].merged(leaves) for bucket, leaves in changes.items()
    }
    branch_at = {bucket >> _FAN_BITS: route[0] for bucket, route in routes.items()}
    for level in reversed(range(_LEVELS)):
        grouped: dict[int, dict[int, _Branch | _Bucket]] = {}
        for place, child in pending.items():
            grouped.setdefault(place >> _FAN_BITS, {})[place & (_FAN - 1)] = child
        pending = {place: branch_at[place][level].replaced(slots) for place, slots in grouped.items()}
        branch_at = {place >> _FAN_BITS: branches for place, branches in branch_at.items()}
    top = pending[0]
    assert isinstance(top, _Branch)
    return top


# Versions ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class StateVersion:
    """The whole authenticated state at one version: the height of the block that produced it. Immutable."""

    version: int
    stores: tuple[str, ...]
    root: bytes  # What the next header carries as its app hash.
    parent_root: bytes  # The root this version was staged over.
    _branches: tuple[_Branch, ...] = field(repr=False)

    def store_roots(self) -> dict[str, bytes]:
        """The root of every store, in the ledger's order."""
        return {name: branch.digest for name, branch in zip(self.stores, self._branches, strict=True)}

    def staged(self, writes: Writes, stores: Sequence[str] | None = None) -> "StateVersion":
        """The next version, with these writes; this one stays as it is.

        Removing what is not there changes nothing. With ``stores``, the next version has them: these, then new ones.
        Raises ValueError for a path of no store, a path that cannot be queried, an empty body, or other stores.
        """
        names = self.stores if stores is None else _checked_stores(stores)
        if names[: len(self.stores)] != self.stores:
            raise ValueError(f"the stores {names} do not begin with {self.stores}")
        before = self._branches + (_EMPTY_STORE,) * (len(names) - len(self.stores))
        branches = _written(names, before, writes.items())
        return _version(self.version + 1, names, self.root, branches)

    def prove(self, path: bytes) -> Proof:
        """A proof of the entry at a path. Raises PathAbsent, and ValueError for a path of no store."""
        key, at, entries, bucket, store = self._found(path)
        if at == len(entries.keys) or entries.keys[at] != key:
            raise PathAbsent(f"nothing at {path!r} in version {self.version}")
        entry = Step(key, len(entries.keys), at, entries.leaf(at), tree_aunts(entries.leaves, at))
        return Proof((entry, bucket, store))

    def prove_absence(self, path: bytes, body_of: Callable[[bytes], bytes | None]) -> AbsenceProof:
        """A proof that nothing is at a path.

        ``body_of`` gives the bodies of this version by path; it is asked for at most two. Raises PathPresent,
        PathAbsent when it lacks one of them, and ValueError for a path of no store.
        """
        key, at, entries, bucket, store = self._found(path)
        total = len(entries.keys)
        if at < total and entries.keys[at] == key:
            raise PathPresent(f"something is at {path!r} in version {self.version}")

        def neighbour(index: int) -> Neighbour | None:
            if not 0 <= index < total:
                return None
            beside = store.key + b"/" + entries.keys[index]
            body = body_of(beside)
            if body is None:
                raise PathAbsent(f"there is no body for {beside!r} in version {self.version}")
            return Neighbour(entries.keys[index], sha256(commit_value(beside, body)), tree_aunts(entries.leaves, index))

        return AbsenceProof(key, Gap(total, at, neighbour(at - 1), neighbour(at)), bucket, store)

    def _found(self, path: bytes) -> tuple[bytes, int, _Bucket, Step, Step]:
        """The key of a path, where it stands or would stand in its bucket, and the steps from there to the root."""
        name, key = split_path(path)
        place, bucket = _store_index(self.stores, name), bucket_of(path)
        branches, entries = _route(self._branches[place], bucket)
        contracts = _store_leaves(self.stores, self._branches)
        store = Step(
            name.encode("ascii"),
            len(self.stores),
            place,
            contracts[place * DIGEST_BYTES : (place + 1) * DIGEST_BYTES],
            tree_aunts(contracts, place),
        )
        upper = Step(b"", BUCKETS, bucket, entries.digest, _bucket_aunts(branches, bucket))
        return key, sum(1 for held in entries.keys if held < key), entries, upper, store


class StateTree:
    """The newest versions of the authenticated state: ``stage``, then ``adopt``.

    ``keep`` versions can be proved against; sharing makes an old one cost only what changed since.
    """

    def __init__(
        self,
        stores: Sequence[str],
        version: int = 0,
        entries: Iterable[tuple[bytes, bytes]] = (),
        keep: int = VERSIONS_KEPT,
    ) -> None:
        """The state at a version from all its entries (path, body), in any order.

        Empty for a new ledger, all of the store's after a restart or a state sync. Raises ValueError for no
        stores, for names that repeat or cannot begin a path, and as ``StateVersion.staged`` for the
        entries.
        """
        names = _checked_stores(stores)
        branches = _written(names, (_EMPTY_STORE,) * len(names), entries)
        self._keep = keep
        self._versions = [_version(version, names, EMPTY_ROOT, branches)]

    @property
    def latest(self) -> StateVersion:
        """The version adopted last."""
        return self._versions[-1]

    @property
    def root(self) -> bytes:
        """The root of the latest version, 32 bytes."""
        return self.latest.root

    @property
    def version(self) -> int:
        """The number of the latest version."""
        return self.latest.version

    def at(self, version: int) -> StateVersion:
        """A version that is still held. Raises VersionNotKept."""
        for held in self._versions:
            if held.version == version:
                return held
        raise VersionNotKept(f"version {version} is not in {self._versions[0].version}..{self.version}")

    def stage(self, writes: Writes, stores: Sequence[str] | None = None) -> StateVersion:
        """A successor of the latest version, not yet adopted: many may be staged, at most one is adopted."""
        return self.latest.staged(writes, stores)

    def adopt(self, staged: StateVersion) -> None:
        """Make a staged version the latest. Raises StaleStage when it was staged over another one."""
        if (staged.version, staged.parent_root) != (self.version + 1, self.root):
            raise StaleStage(f"version {staged.version} was not staged over the latest, {self.version}")
        self._versions = [*self._versions, staged][-self._keep :]

    def apply(self, writes: Writes, stores: Sequence[str] | None = None) -> None:
        """Stage and adopt in one step."""
        self.adopt(self.stage(writes, stores))

    def prove(self, path: bytes, version: int | None = None) -> Proof:
        """A proof of an entry in a held version, by default the latest. Raises PathAbsent, VersionNotKept."""
        return (self.latest if version is None else self.at(version)).prove(path)


def _checked_stores(stores: Sequence[str]) -> tuple[str, ...]:
    if not stores or len(dict.fromkeys(stores)) != len(stores):
        raise ValueError(f"the stores {stores} are none, or repeat a name")
    for name in stores:
        if split_path(f"{name}/key".encode()) != (name, b"key"):
            raise ValueError(f"{name!r} cannot be the name of a store")
    return tuple(stores)


def _version(number: int, stores: tuple[str, ...], parent_root: bytes, branches: tuple[_Branch, ...]) -> StateVersion:
    return StateVersion(number, stores, tree_root(_store_leaves(stores, branches)), parent_root, branches)


def _written(
    stores: tuple[str, ...], branches: tuple[_Branch, ...], entries: Iterable[tuple[bytes, bytes | None]]
) -> tuple[_Branch, ...]:
    """The stores with these entries written: their leaf hashes by store and bucket, then each store once."""
    changes: dict[str, dict[int, _Leaves]] = {}
    for path, body in entries:
        name, key = split_path(path)
        path_hash = sha256(path)
        leaf = None if body is None else leaf_hash(key, value_at(path, path_hash, body))
        changes.setdefault(name, {}).setdefault(bucket_at(path_hash), {})[key] = leaf
    after = list(branches)
    for name, buckets in changes.items():
        place = _store_index(stores, name)
        after[place] = _updated(after[place], buckets)
    return tuple(after)


def _store_index(stores: tuple[str, ...], name: str) -> int:
    if name not in stores:
        raise ValueError(f"{name!r} is none of the stores {stores}")
    return stores.index(name)


def _store_leaves(stores: Sequence[str], branches: Sequence[_Branch]) -> bytes:
    """The leaves of the top tree, side by side."""
    return b"".join(
        leaf_hash(name.encode("ascii"), branch.digest) for name, branch in zip(stores, branches, strict=True)
    )


def _bucket_aunts(branches: Sequence[_Branch], bucket: int) -> tuple[bytes, ...]:
    """The siblings between a bucket and the root of its store, lowest first: four from each branch."""
    aunts = []
    for level in reversed(range(_LEVELS)):
        node = _FAN + _slot(bucket, level)
        while node > 1:
            aunts.append(branches[level].node(node ^ 1))
            node >>= 1
    return tuple(aunts)
