"""The options that commands share, spelled and explained once."""

from pathlib import Path
from typing import Annotated

import typer

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
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask, do it.")]
