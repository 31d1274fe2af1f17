"""``fedledger aggregator``: running the rounds of a task."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from .. import options
from ..access import Access
from ..commands import noun, verb
from ..output import Format
from ..serving import serve

if TYPE_CHECKING:
    from client_sdk.session import Session
    from services.rounds.gather import Gatherer

app = noun()
_Task = Annotated[str, typer.Argument(metavar="TASK", help="A task whose terms name your organisation for this.")]


@verb(app, "run", example="aggregator run breast-cancer --as lab-1/worker")
def run(
    task: _Task,
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Open the rounds of a task, and see to it that their phases advance, until the task is finished.

    It decides nothing: what a round comes to, the ballots of the verifiers say. Your organisation is one of those, so
    run `fedledger verifier run` beside it. It keeps no state: killed and started again, it looks at the ledger and goes
    on. A stand-by runs the same command.
    """
    from services.aggregator.aggregator import Aggregator

    def service(session: "Session", gatherer: "Gatherer", say: Callable[[str], None]) -> Awaitable[None]:
        return Aggregator(gatherer, session.organisation, say=say).run()

    serve(Access(ledger, who, passphrase_file, output), task, service)
