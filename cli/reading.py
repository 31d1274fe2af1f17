"""Reading many records: the names a node knows, then every value proved.

Left to others: what is shown of them (the nouns).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from client_sdk.client import LedgerClient
    from contracts.kernel import Map

R = TypeVar("R")
K = TypeVar("K")
T = TypeVar("T")
_AT_ONCE: Final = 8


async def records(client: "LedgerClient", state: "Map[R]", prefix: str = "") -> list[tuple[tuple[str, ...], R]]:
    """All records under a prefix, with their keys. A node can leave some out, but not change any."""
    names = await client.keys(state, prefix)  # Text as in paths: hexadecimal, padded numbers; ``get`` takes it so.
    found = await each(names, lambda name: client.get(state, name))
    return [(name, record) for name, record in zip(names, found, strict=True) if record is not None]


async def each(keys: Sequence[K], read: Callable[[K], Awaitable[T]]) -> list[T]:
    """One read for each key, a few at a time, in order."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(key: K) -> T:
        async with turns:
            return await read(key)

    return list(await asyncio.gather(*map(one, keys)))
