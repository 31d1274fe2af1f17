"""What is recorded with every block that changed the state: the hash of each contract.

The hashes lead to the application hash of the block, so whoever has the next header can check them. They say in
which contract, and since when, two nodes differ. A record begins with eight bytes of a SHA-256 over its height and
hashes, because nothing else in the store covers the older ones.
"""

from collections.abc import Mapping
from typing import Final

from contracts.kernel import crypto
from contracts.kernel.merkle import DIGEST_BYTES, root_of_stores
from contracts.transition import STORES

from .interface import Recorded, StoreDamaged

_SEAL_BYTES: Final = 8


def record_of(height: int, roots: Mapping[str, bytes]) -> bytes:
    """What a store keeps under a height: the hash of each contract, in the ledger's order."""
    hashes = b"".join(roots.values())
    return _seal(height, hashes) + hashes


def roots_of(recorded: Recorded) -> dict[str, bytes]:
    """The hash of each contract. Raises StoreDamaged.

    A record may be older than a contract that was added later: it has as many hashes as there were contracts.
    """
    hashes = recorded.record[_SEAL_BYTES:]
    count, rest = divmod(len(hashes), DIGEST_BYTES)
    if recorded.record[:_SEAL_BYTES] != _seal(recorded.height, hashes) or rest or not 0 < count <= len(STORES):
        raise StoreDamaged(f"the record of height {recorded.height} is not what was written")
    return {name: hashes[at * DIGEST_BYTES : (at + 1) * DIGEST_BYTES] for at, name in enumerate(STORES[:count])}


def app_hash_of(recorded: Recorded) -> bytes:
    """The application hash that the recorded hashes lead to. Raises StoreDamaged."""
    return root_of_stores(roots_of(recorded))


def _seal(height: int, hashes: bytes) -> bytes:
    return crypto.sha256(height.to_bytes(8, "big") + hashes)[:_SEAL_BYTES]
