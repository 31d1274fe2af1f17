"""``fedledger upgrade``: which version of the rules decides blocks, and how the members go over to a later one."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import access, options
from ..access import Access
from ..commands import noun, verb
from ..output import Fields, Format, emit, plain

if TYPE_CHECKING:
    from client_sdk.client import LedgerClient
    from client_sdk.secrets.keys import Keyring
    from contracts.governance import Action

app = noun()
_Version = Annotated[int, typer.Argument(metavar="VERSION", min=1, help="A version of the rules.")]


@verb(app, "show", example="upgrade show")
def show(
    ledger: options.Ledger = options.DEVNET,
    who: options.Who = "",
    output: options.Output = Format.TXT,
) -> None:
    """Show which version of the rules decides blocks, which one follows, and which this program knows."""
    from contracts import upgrades
    from contracts.registry import RULES

    now = Access(ledger, who, output=output).ask(upgrades.IN_FORCE.at)
    coming = now.next
    shown = {
        "in force": f"version {now.version}, from block {now.since} on",
        "scheduled": f"version {coming.version}, from block {coming.height} on" if coming else "nothing",
        "known here": ", ".join(map(str, RULES.known)),
    }
    if now.called_off is not None:
        shown["called off"] = f"version {now.called_off}: the state could not be led over to it"
    if coming is not None and coming.version not in RULES.known:
        shown["to do"] = f"Install a fedledger that knows version {coming.version} before block {coming.height - 1}."
    emit(output, {**plain(now), "known": list(RULES.known)}, Fields(shown))


@verb(app, "schedule", example="upgrade schedule 2 --at 250000 --as lab-1/human")
def schedule(
    version: _Version,
    height: Annotated[int, typer.Option("--at", metavar="HEIGHT", min=1, help="The first block under its rules.")],
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Propose to the members to go over to a later version of the rules at a height.

    They vote with `fedledger proposal vote`. Every operator installs a program that knows the version before that
    height: one that does not know it stops there. Leave them days, not blocks.
    """
    from contracts.governance import ScheduleUpgrade

    what = f"to go over to version {version} of the rules at block {height}"
    _propose(Access(ledger, who, passphrase_file, output), ScheduleUpgrade(version, height), what, output)


@verb(app, "cancel", example="upgrade cancel 2 --as lab-1/human")
def cancel(
    version: _Version,
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Propose to the members to stay with the rules that are in force.

    The vote must settle two blocks before the height of the upgrade at the latest.
    """
    from contracts.governance import CancelUpgrade

    what = f"to cancel the upgrade to version {version}"
    _propose(Access(ledger, who, passphrase_file, output), CancelUpgrade(version), what, output)


def _propose(opened: Access, action: "Action", what: str, output: Format) -> None:
    from contracts.governance import Propose

    from .proposal import announce

    async def work(client: "LedgerClient", ring: "Keyring") -> Any:
        return await access.submit(client, Propose(action))

    announce(output, opened.act(access.HUMAN, work), what)
