"""``fedledger node``: what a single node has stored.

``fsck`` and ``diff-state`` look into stores with ``abci_app.inspection``, which is imported inside them: without the
extra ``[node]`` they say what is missing, and ``roots`` works all the same.
"""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from client_sdk.errors import Kind, SdkError

from .. import node_reports, options
from ..access import Access
from ..commands import noun, verb
from ..errors import Exit
from ..output import Fields, Format, Line, Rows, emit, working

if TYPE_CHECKING:
    from abci_app.inspection.sources import Source
    from client_sdk.client import LedgerClient
    from client_sdk.reads.contract_roots import ContractRoots

app = noun()


class NodeExtraMissing(SdkError):
    """The packages that a node needs are not installed."""

    kind = Kind.ENVIRONMENT
    hint = "Install them: the extra [node] of this distribution."


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


@verb(app, "fsck", example="node fsck --home .fedledger/devnet/nodes/validator-1")
def fsck(
    home: Annotated[Path, typer.Option("--home", metavar="DIR", help="The node's data folder; it may be running.")],
    output: options.Output = Format.TXT,
) -> None:
    """Check everything that a node has stored, and name what is wrong. Changes nothing.

    Exit status: 0 nothing is wrong, 9 the store is damaged, 2 it cannot be opened.
    """
    _require_extra()
    from abci_app.inspection.fsck import examine

    with working(output, f"checking {home}") as progress:
        report = examine(home, progress.say)
    emit(output, node_reports.fsck_data(report), *node_reports.fsck_blocks(report))
    if report.findings:
        raise typer.Exit(Exit.STORE_DAMAGED)


@verb(app, "diff-state", example="node diff-state nodes/validator-1 http://127.0.0.1:26657")
def diff_state(
    a: Annotated[str, typer.Argument(metavar="A", help="A node: its data folder, or the address of its RPC.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The node to compare it with.")],
    output: options.Output = Format.TXT,
) -> None:
    """Compare the states of two nodes: since which block they differ, in which contracts, and at which key first.

    Exit status: 0 the same, 10 different, 1 no height at which both can be compared, 2 one cannot be read.
    """
    _require_extra()
    from abci_app.inspection.diff_state import compare

    if _same_place(a, b):
        raise typer.BadParameter("A and B are the same node")
    with working(output, f"comparing {a} with {b}"), _opened(a) as ours, _opened(b) as theirs:
        found = compare(ours, theirs)
    emit(output, node_reports.diff_data(found), *node_reports.diff_blocks(found, a, b))
    if not found.same:
        raise typer.Exit(Exit.STATES_DIFFER)


def _opened(name: str) -> "AbstractContextManager[Source]":
    if name.startswith(("http://", "https://")):
        from ..node_source import opened_node

        return opened_node(name)
    from abci_app.inspection.sources import opened_folder

    return opened_folder(name)


def _same_place(a: str, b: str) -> bool:
    if "://" in a or "://" in b:
        return a == b
    return Path(a).resolve() == Path(b).resolve()


def _require_extra() -> None:
    try:
        import google.protobuf  # noqa: F401 - Only whether it is there.
        import lmdb  # noqa: F401 - Only whether it is there.
    except ModuleNotFoundError as error:
        raise NodeExtraMissing(f"the package {error.name} is not installed") from error
