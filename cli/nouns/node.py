"""``fedledger node``: what a single node has stored. Verbs that need the node's own package are added by it."""

from typing import TYPE_CHECKING, Annotated

import typer

from .. import options
from ..access import Access
from ..commands import noun, verb
from ..output import Fields, Format, Line, Rows, emit

if TYPE_CHECKING:
    from client_sdk.client import LedgerClient
    from client_sdk.reads.contract_roots import ContractRoots

app = noun()


@verb(app, "roots", example="node roots --height 1200")
def roots(
    height: Annotated[
        int, typer.Option("--height", metavar="N", min=0, help="After which block; 0 for the newest that is provable.")
    ] = 0,
    ledger: options.Ledger = options.DEVNET,
    output: options.Output = Format.TXT,
) -> None:
    """Show the hash of every contract's state after a block, proved by the header of the next block.

    Two nodes that show other hashes at one height have parted: `fedledger node diff-state` says where.
    """

    async def work(client: "LedgerClient") -> "ContractRoots":
        from client_sdk.reads.contract_roots import contract_roots

        wanted = height or max(1, (await client.rpc.status()).height - 1)
        return await contract_roots(client.rpc, client.reader.headers, wanted)

    found = Access(ledger, output=output).read(work)
    emit(
        output,
        found,
        Fields({"height": found.height, "unchanged since": found.since, "recorded from": found.oldest}),
        Rows(("contract", "hash"), list(found.roots.items())),
        Line(f"They lead to the application hash in the header of block {found.height + 1}."),
    )
