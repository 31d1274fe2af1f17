"""The options that commands share, spelled and explained once."""

from pathlib import Path
from typing import Annotated

import typer

from .errors import CliError
from .output import Format

DEVNET = ":devnet:"

Ledger = Annotated[
    str,
    typer.Option(
        "--ledger",
        envvar="FEDLEDGER_LEDGER",
        metavar=":devnet:|PATH",
        help="Where the ledger is: the devnet of this directory, a devnet's home, or a member's profile.toml.",
    ),
]
Who = Annotated[
    str,
    typer.Option(
        "--as",
        envvar="FEDLEDGER_AS",
        metavar="ORG[/KEY]",
        show_default=False,
        help="Whose key acts. Without KEY it is 'human' or 'worker', whichever the command needs.",
    ),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        envvar="FEDLEDGER_PASSPHRASE_FILE",
        metavar="FILE",
        help="File with the keyring's passphrase, or a pipe. Else the profile's own, else you are asked.",
    ),
]
Output = Annotated[
    Format,
    typer.Option(
        "--format",
        metavar="txt|json|jsonl",
        help="Tables for people, one JSON envelope, or a line of JSON for each item.",
    ),
]
Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="DIR",
        help="The devnet's home. Else 'devnet' under FEDLEDGER_HOME, else the nearest .fedledger/devnet.",
    ),
]
Delta = Annotated[float, typer.Option("--delta", help="δ of that promise, at most 1e-5.")]
Order = Annotated[
    float | None,
    typer.Option(
        "--order",
        show_default=False,
        help="The Rényi order at which it is held. Without it, the one that follows from ε and δ.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask, do it.")]


def delta_and_order(delta: float, order: float | None) -> tuple[int, int | None]:
    """δ as its inverse, and a chosen order in thousandths. Raises CliError for a δ that nobody may promise."""
    if not 0 < delta <= 1e-5:
        raise CliError("USAGE", f"--delta: {delta:g} is not above 0 and at most 1e-5", "Use 1e-5 or less.")
    return round(1 / delta), None if order is None else round(order * 1000)
