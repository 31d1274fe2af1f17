"""What is recorded with every block that changed the state: the hash of each contract.

The hashes lead to the application hash of the block, so whoever has the next header can check them. They say in
which contract, and since when, two nodes differ. A record names the version of the rules whose stores these are. It
begins with eight bytes of a SHA-256 over its height and the rest, because nothing else in the store covers the older
ones.
"""

from collections.abc import Mapping
from typing import Final

from contracts.kernel import crypto
from contracts.kernel.merkle import DIGEST_BYTES, root_of_stores
from contracts.rulebook import Rulebook, UnknownRules

from .interface import Recorded, StoreDamaged

_SEAL_BYTES: Final = 8
_VERSION_BYTES: Final = 4


def record_of(height: int, app_version: int, roots: Mapping[str, bytes]) -> bytes:
    """What a store keeps under a height: a version of the rules, and the hashes of its stores in their order."""
    content = app_version.to_bytes(_VERSION_BYTES, "big") + b"".join(roots.values())
    return _seal(height, content) + content


def roots_of(book: Rulebook, recorded: Recorded) -> dict[str, bytes]:
    """The hash of each contract. Raises StoreDamaged."""
    seal, content = recorded.record[:_SEAL_BYTES], recorded.record[_SEAL_BYTES:]
    try:
        stores = book.of(int.from_bytes(content[:_VERSION_BYTES], "big")).stores
    except UnknownRules:
        stores = ()
    hashes = content[_VERSION_BYTES:]
    if not stores or seal != _seal(recorded.height, content) or len(hashes) != len(stores) * DIGEST_BYTES:
        raise StoreDamaged(f"the record of height {recorded.height} is not what was written")
    return {name: hashes[at * DIGEST_BYTES : (at + 1) * DIGEST_BYTES] for at, name in enumerate(stores)}


def app_hash_of(book: Rulebook, recorded: Recorded) -> bytes:
    """The application hash that the recorded hashes lead to. Raises StoreDamaged."""
    return root_of_stores(roots_of(book, recorded))


def _seal(height: int, content: bytes) -> bytes:
    return crypto.sha256(height.to_bytes(8, "big") + content)[:_SEAL_BYTES]
