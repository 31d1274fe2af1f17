"""``fedledger dataset``: what an organisation holds, and the privacy limit that its records are promised."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import access, options, units
from ..access import Access
from ..commands import noun, verb
from ..output import Format, Line, Listing, Rows, emit, plain
from ..reading import Name, listing, present

if TYPE_CHECKING:
    from client_sdk.client import AcceptedTx, LedgerClient
    from client_sdk.reads.queries import Moment
    from client_sdk.secrets.keys import Keyring
    from contracts.kernel import View

app = noun()


@verb(app, "register", example="dataset register wdbc-a --class breast-cancer --epsilon-limit 4 --as hospital-a/human")
def register(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The dataset's name in your organisation.")],
    data_class: Annotated[
        str, typer.Option("--class", metavar="CLASS", help="What kind of data it is: tasks ask for one.")
    ],
    epsilon_limit: Annotated[
        float, typer.Option("--epsilon-limit", min=0, max=100, help="Most ε that may ever be spent on its records.")
    ],
    delta: options.Delta = 1e-5,
    order: options.Order = None,
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Register a dataset under a privacy limit that can never be raised or refilled.

    Only its name, class and limit go to the ledger. The records stay where they are.
    """
    from contracts.identity import RegisterDataset
    from contracts.promises import promised as resolved

    limit = round(epsilon_limit * units.NANO)
    message = RegisterDataset(name, data_class, limit, *options.delta_and_order(delta, order))

    async def work(client: "LedgerClient", ring: "Keyring") -> "AcceptedTx":
        return await access.submit(client, message)

    accepted = Access(ledger, who, passphrase_file, output).act(access.HUMAN, work)
    chosen = resolved(limit, message.delta_inverse, message.order_milli)
    promise = units.promise(chosen.epsilon, chosen.delta_inverse, chosen.order_milli)
    emit(
        output,
        {**plain(message), **plain(chosen), "height": accepted.height, "transaction": accepted.hash},
        Line(f"Registered {name} in block {accepted.height}: its records are promised at most {promise}."),
        Line(units.EPSILON_MEANS),
    )


@verb(app, "show", example="dataset show hospital-a")
def show(
    organisation: Annotated[str, typer.Argument(metavar="ORG", help="Whose; without it, everybody's.")] = "",
    ledger: options.Ledger = options.DEVNET,
    who: options.Who = "",
    output: options.Output = Format.TXT,
) -> None:
    """Show registered datasets with their classes and limits. `fedledger budget show` has what was spent."""
    listed = Access(ledger, who, output=output).read(lambda client: _datasets(client, organisation))
    rows = [
        (f"{each['organisation']}/{each['dataset']}", each["data_class"], *promised(each["promise"]),
         each["registered_at"])
        for each in listed.entries
    ]  # fmt: skip
    columns = ("dataset", "class", "ε limit", "δ", "order", "since block")
    table = Rows(columns, rows, empty="No datasets are registered.")
    emit(output, listed.entries, table, Line(units.EPSILON_MEANS), listed=listed)


async def _datasets(client: "LedgerClient", organisation: str) -> Listing[dict[str, Any]]:
    from contracts import identity

    def datasets(view: "View", names: Sequence[Name], _now: "Moment") -> tuple[list[dict[str, Any]], int | None]:
        found = present(identity.DATASETS, view, names)
        listed = [{"organisation": owner, "dataset": name, **plain(record)} for (owner, name), record in found]
        return listed, counted(view, organisation)

    return await listing(client, identity.DATASETS, datasets, prefix=f"{organisation}/" if organisation else "")


def promised(promise: dict[str, Any]) -> tuple[str, str, str]:
    """A promise as three cells of a row: ε, δ, order."""
    return (
        units.epsilon(promise["epsilon"]),
        units.delta(promise["delta_inverse"]),
        units.order(promise["order_milli"]),
    )


def counted(view: "View", organisation: str) -> int | None:
    """How many datasets an organisation has; over all organisations the ledger keeps no count.

    Rejects: UnknownOrganisation.
    """
    from contracts import identity

    return identity.require_member(view, organisation).datasets if organisation else None
