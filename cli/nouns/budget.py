"""``fedledger budget``: privacy loss so far, and what a round would add."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import access, options, units
from ..access import Access
from ..commands import noun, verb
from ..output import Fields, Format, Line, Rows, emit, plain

if TYPE_CHECKING:
    from client_sdk.client import LedgerClient

app = noun()


@verb(app, "quote", example="budget quote breast-cancer --dataset wdbc-a --as hospital-a")
def quote(
    task: Annotated[str, typer.Argument(metavar="TASK", help="The task.")],
    dataset: Annotated[str, typer.Option("--dataset", help="Your registered dataset.")],
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    output: options.Output = Format.TXT,
) -> None:
    """Say what the next round of a task would cost a dataset, by the ledger's own arithmetic."""
    from client_sdk.reads.budgets import outlook

    opened = Access(ledger, who, output=output)
    organisation, _ = opened.actor(access.WORKER)
    quoted = opened.read(lambda client: outlook(client, organisation, dataset, task))
    emit(
        output,
        {"organisation": organisation, "dataset": dataset, **plain(quoted)},
        Fields(
            {
                "dataset": f"{organisation}/{dataset}",
                "one round costs": f"ε = {units.epsilon(quoted.price)}",
                "spent or held": f"ε = {units.epsilon(quoted.spent + quoted.held)}",
                "after it": f"ε = {units.epsilon(quoted.after)} (rounds compose, their ε do not add)",
                "limit": f"ε = {units.epsilon(quoted.limit)} at δ = {units.delta(quoted.delta_inverse)}",
                "organisation": f"ε = {units.epsilon(quoted.organisation_after)} after it, "
                f"of {units.epsilon(quoted.organisation_cap)} over all its datasets",
                "so the next round is": "within the limits" if quoted.affordable else "REFUSED: over a limit",
            }
        ),
        Line(units.EPSILON_MEANS),
    )


@verb(app, "show", example="budget show hospital-a")
def show(
    organisation: Annotated[str, typer.Argument(metavar="ORG", help="Whose; without it, everybody's.")] = "",
    ledger: options.Ledger = options.DEVNET,
    who: options.Who = "",
    output: options.Output = Format.TXT,
) -> None:
    """Show what every dataset and every organisation has spent of its privacy budget."""
    accounts = Access(ledger, who, output=output).read(lambda client: _accounts(client, organisation))
    rows = [
        (each["account"], units.epsilon(each["spent"]), units.epsilon(each["held"]), units.epsilon(each["limit"]),
         units.delta(each["delta_inverse"]), _bar(each["spent"] + each["held"], each["limit"]))
        for each in accounts
    ]  # fmt: skip
    columns = ("account", "ε spent", "ε held", "ε limit", "δ", "used")
    emit(output, accounts, Rows(columns, rows, empty="No datasets are registered."), Line(units.EPSILON_MEANS))


async def _accounts(client: "LedgerClient", organisation: str) -> list[dict[str, Any]]:
    """The account of every organisation, and below it those of its datasets."""
    from client_sdk.reads.budgets import block_time, dataset_standing, organisation_standing
    from contracts import identity
    from contracts.kernel import limits

    from ..reading import records

    if organisation and await client.get(identity.ORGANISATIONS, organisation) is None:
        raise identity.UnknownOrganisation(organisation=organisation)
    now = await block_time(client)
    datasets = await records(client, identity.DATASETS, f"{organisation}/" if organisation else "")
    accounts: list[dict[str, Any]] = []
    owners = dict.fromkeys(owner for (owner, _), _ in datasets)
    for owner in owners:
        whole = await organisation_standing(client, owner, now)
        accounts.append({"account": owner, **plain(whole), "delta_inverse": limits.DELTA_INVERSE_MIN})
        for (_, name), dataset in (each for each in datasets if each[0][0] == owner):
            one = await dataset_standing(client, owner, name, now)
            accounts.append({"account": f"{owner}/{name}", **plain(one), "delta_inverse": dataset.delta_inverse})
    return accounts


def _bar(used: int, limit: int) -> str:
    """How much of a limit is used, in tenths."""
    tenths = min(10, -(-10 * used // limit)) if limit else 0
    return "█" * tenths + "░" * (10 - tenths)
