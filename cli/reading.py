"""Lists as whole as the ledger's rules can show them: names from a node, everything else proved, all at one height.

A node can leave a name out of a scan; it cannot change what stands under one. Where the rules count what there is, the
count is proved too, and a list that falls short says so. Where they keep none, the list says that instead. What the
rules number (rounds, versions, proposals) or list themselves (models) needs no scan and lacks nothing.

Left to others: what is shown of it (the nouns).
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from .output import Listing

if TYPE_CHECKING:
    from client_sdk.client import LedgerClient
    from client_sdk.reads.queries import Moment
    from contracts.kernel import Map, View

R = TypeVar("R")
T = TypeVar("T")
Name = tuple[str, ...]
_RETRIES: Final = 2  # Something may be added between the scan and the proofs.


async def listing(
    client: "LedgerClient",
    state: "Map[R]",
    read: "Callable[[View, Sequence[Name], Moment], tuple[Sequence[T], int | None]]",
    *,
    prefix: str = "",
) -> Listing[T]:
    """The entries of a map: ``read(view, names, moment)`` gives them and their count, all on one proved state.

    ``names`` are those that a node knows under the prefix. ``read`` runs more than once.
    """
    found = await _listed(client, state, read, prefix)
    for _ in range(_RETRIES):
        if found.counted in (None, len(found.entries)):
            break
        found = await _listed(client, state, read, prefix)
    return found


async def _listed(
    client: "LedgerClient",
    state: "Map[R]",
    read: "Callable[[View, Sequence[Name], Moment], tuple[Sequence[T], int | None]]",
    prefix: str,
) -> Listing[T]:
    names = [name for name, _ in await client.scan(state, prefix)]
    async with client.at() as view:
        entries, counted = await view.run(lambda proved: read(proved, names, view.now))
    return Listing(tuple(entries), counted)


def present(state: "Map[R]", view: "View", names: Sequence[Name]) -> list[tuple[Name, R]]:
    """The records under these names; a name of which nothing is proved is left out."""
    found = ((name, state.get(view, name)) for name in names)
    return [(name, record) for name, record in found if record is not None]
