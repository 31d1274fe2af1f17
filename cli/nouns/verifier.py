"""``fedledger verifier``: attesting, recomputing, and voting by sealed ballot."""

from collections.abc import Awaitable, Callable
from pathlib import Path
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


@verb(app, "run", example="verifier run breast-cancer --as hospital-a/worker")
def run(
    task: _Task,
    ballots: Annotated[
        Path | None,
        typer.Option(
            "--ballots", metavar="DIR", file_okay=False, help="Where sealed ballots are kept; else beside the keyring."
        ),
    ] = None,
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Fetch and attest payloads, recompute every agreed set, seal a ballot over it and open it, until it is stopped.

    What it seals is kept first: killed and started again, it opens what it sealed, for a ballot that stays sealed costs
    reputation. Keep the folder, and let one process use it.
    """
    from services.rounds.ballot_journal import BallotJournal
    from services.verifier.verifier import Verifier

    def service(session: "Session", gatherer: "Gatherer", say: Callable[[str], None]) -> Awaitable[None]:
        journal = BallotJournal(ballots or session.profile.keyring.parent / "ballots")
        return Verifier(gatherer, session.organisation, journal, say=say).run()

    serve(Access(ledger, who, passphrase_file, output), task, service)
