"""What every payload store does, whichever way it keeps its blocks.

A store holds payloads by CID and believes nothing: what ``get`` returns has been verified against the CID,
block by block, and never exceeds the caller's bound. ``payload_cid`` needs no store: a commitment names the
CID of a payload that nobody has seen yet, and only when the ledger has accepted it does ``put`` publish
(commit, then publish).

Every method is idempotent, so a caller may repeat it after a crash or a ``StoreUnavailable``.
"""

from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from .cid import Cid
from .errors import PayloadCorrupt, PayloadMalformed, PayloadNotFound, PayloadOverLimit, StoreUnavailable
from .unixfs import payload_cid

__all__ = [
    "Cid",
    "PayloadCorrupt",
    "PayloadMalformed",
    "PayloadNotFound",
    "PayloadOverLimit",
    "PayloadStore",
    "StoreKind",
    "StoreUnavailable",
    "payload_cid",
]


class StoreKind(StrEnum):
    """The stores there are, by the names that profiles and manifests give them."""

    KUBO = "kubo"  # An IPFS node, by its RPC.
    LOCAL = "local"  # The embedded block folder.


@runtime_checkable
class PayloadStore(Protocol):
    """A place for payloads. Any method may raise StoreUnavailable. Use it as an async context manager."""

    async def put(self, data: bytes) -> Cid:
        """Publish a payload here and pin it.

        Gives ``payload_cid(data)``; raises when it could not be kept whole.
        """
        ...

    async def get(self, cid: Cid, max_bytes: int) -> bytes:
        """The payload, verified, at most ``max_bytes`` long.

        Raises PayloadNotFound, PayloadCorrupt (PayloadMalformed when its publisher is to blame),
        PayloadOverLimit.
        """
        ...

    async def has(self, cid: Cid) -> bool:
        """Whether the whole payload is kept here. Asks nobody else, and does not read the leaves."""
        ...

    async def pin(self, cid: Cid) -> None:
        """Keep a payload until it is unpinned; fetches what is missing if the store can.

        Raises PayloadNotFound.
        """
        ...

    async def unpin(self, cid: Cid) -> None:
        """Let a payload go when space is needed. Nothing happens if it was not pinned."""
        ...

    async def delete(self, cid: Cid) -> None:
        """Unpin a payload and drop each of its blocks that no other pin needs.

        Nothing happens if it is not here.
        """
        ...

    async def close(self) -> None:
        """Release connections. The store cannot be used afterwards."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
