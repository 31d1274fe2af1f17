"""``fedledger verifier``: recomputing proposed versions, and voting on them."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from .. import options
from ..access import Access
from ..commands import noun, verb
from ..output import Format
from ..serving import serve

if TYPE_CHECKING:
    from services.rounds.gather import Gatherer

app = noun()
_Task = Annotated[str, typer.Argument(metavar="TASK", help="A task whose terms name your organisation for this.")]


@verb(app, "run", example="verifier run breast-cancer --as hospital-a/worker")
def run(
    task: _Task,
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Recompute every proposed version and vote with the digest that comes out, until it is stopped."""
    from services.verifier.verifier import Verifier

    def service(gatherer: "Gatherer", organisation: str, say: Callable[[str], None]) -> Awaitable[None]:
        return Verifier(gatherer, organisation, say=say).run()

    serve(Access(ledger, who, passphrase_file, output), task, service)
