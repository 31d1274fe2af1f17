"""The command tree: one noun for each module of ``nouns``, imported when one of its verbs is called.

So ``--help`` loads none of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, Final

import typer

from .commands import Noun
from .trust import OPTION, VARIABLE

PROGRAM: Final = "fedledger"
# A noun's module has a Typer application ``app``; a verb without a noun is an application of one command.
NOUNS: Final[Mapping[str, str]] = {
    "devnet": "Run a whole network on this machine, for development and demonstrations.",
    "key": "Make, show, enrol and revoke keys.",
    "org": "Enrol organisations and show them.",
    "proposal": "What the members vote on: admissions, tasks, rollbacks, validators, upgrades.",
    "validator": "Whose nodes decide blocks: list, admit, remove.",
    "upgrade": "Which version of the rules decides blocks: show, schedule, cancel.",
    "dataset": "Register datasets and show them.",
    "task": "Create, show and join training tasks.",
    "budget": "Privacy budgets: what was spent, what a round would cost.",
    "participant": "Train on your own records, under the ledger's rules.",
    "aggregator": "Run the rounds of a task.",
    "verifier": "Recompute proposed versions and vote on them.",
    "round": "Follow the rounds of a task.",
    "model": "Versions of a model: history, download, rollback.",
    "tx": "Look up transactions.",
    "receipt": "Proofs of what the ledger accepted, as files that are checked offline.",
    "node": "What a single node has stored: check it, compare two.",
    "explain": "Say what an error code means and what to do.",
    "doctor": "Check this machine, the nodes and your keys.",
}


@dataclass(frozen=True)
class Listed:
    """A noun in the listing: what the help of a group needs to know of it."""

    help: str
    hidden: bool = False

    def get_short_help_str(self, limit: int = 45) -> str:
        """The line beside the name."""
        return self.help


class Root(Noun):
    """The nouns, loaded one by one when they are called."""

    _listing = False

    def list_commands(self, ctx: Any) -> list[str]:
        """Every noun."""
        return list(NOUNS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The noun with its verbs; for the help's listing only its line."""
        if self._listing:
            return Listed(NOUNS[cmd_name])
        if cmd_name in NOUNS and cmd_name not in self.commands:
            self.commands[cmd_name] = _built(cmd_name)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the nouns without loading them."""
        self._listing = True
        try:
            super().format_commands(ctx, formatter)
        finally:
            self._listing = False


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"{PROGRAM} {version()}")
        raise typer.Exit


app = typer.Typer(cls=Root, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback(
    epilog="Exit status: 0 done, 1 refused or failed, 2 no connection, no access or this machine cannot, 3 timeout, "
    "4 wrong usage, 5 a bug; "
    "6 to 8 are of receipts (receipt verify --help), 9 and 10 of nodes (node fsck --help)."
)
def root(
    show_version: Annotated[
        bool, typer.Option("--version", "-V", is_eager=True, callback=_version, help="Show the version and exit.")
    ] = False,
    _debug: Annotated[
        bool, typer.Option("--debug", envvar="FEDLEDGER_DEBUG", help="Show tracebacks and the program's log.")
    ] = False,
    _trust_node: Annotated[
        bool,
        typer.Option(
            OPTION, envvar=VARIABLE, help="Believe the node: read without verification, and say so. Nothing is signed."
        ),
    ] = False,
) -> None:
    """Govern federated learning between organisations on a ledger that none of them controls.

    Commands are `fedledger NOUN VERB`. Each has --help with an example. To begin: `fedledger devnet up`.
    """


def version() -> str:
    """The installed version of this distribution."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed(PROGRAM)
    except PackageNotFoundError:
        return "(run from its source)"


def command() -> Any:
    """The whole program as one command."""
    return typer.main.get_command(app)


def _built(name: str) -> Any:
    """A noun's command with all its verbs."""
    built: Any = typer.main.get_command(import_module(f".nouns.{name}", __package__).app)
    built.name = name
    built.help = built.help or NOUNS[name]
    return built


__all__ = ["NOUNS", "PROGRAM", "app", "command", "version"]
