"""``fedledger budget``: privacy loss so far, and what a round would add."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import access, options, units
from .access import Access
from .commands import noun, verb
from .output import Fields, Format, Line, Rows, emit

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
    opened = Access(ledger, who, output=output)
    organisation, _ = opened.actor(access.WORKER)
    quoted = opened.read(lambda client: _quote(client, organisation, dataset, task))
    fits = "within" if quoted["affordable"] else "over"
    emit(
        output,
        quoted,
        Fields(
            {
                "dataset": f"{organisation}/{dataset}",
                "one round costs": f"ε = {units.epsilon(quoted['price'])}",
                "spent or held": f"ε = {units.epsilon(quoted['spent'] + quoted['held'])}",
                "after it": f"ε = {units.epsilon(quoted['after'])} (rounds compose, their ε do not add)",
                "limit": f"ε = {units.epsilon(quoted['limit'])} at δ = {units.delta(quoted['delta_inverse'])}",
                "organisation": f"ε = {units.epsilon(quoted['organisation_after'])} after it, "
                f"of {units.epsilon(quoted['organisation_cap'])} over all its datasets",
                "so the next round is": f"{fits} the limits",
            }
        ),
        Line(units.EPSILON_MEANS),
    )


@verb(app, "show", example="budget show hospital-a")
def show(
    organisation: Annotated[str, typer.Argument(metavar="[ORG]", help="Whose; without it, everybody's.")] = "",
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


async def _quote(client: "LedgerClient", organisation: str, name: str, task: str) -> dict[str, Any]:
    from contracts import identity, privacy_budget, rounds
    from contracts.kernel import limits

    from .reading import block_time

    state = await client.get(rounds.TASKS, task)
    if state is None:
        raise rounds.UnknownTask(task=task)
    dataset = await client.get(identity.DATASETS, (organisation, name))
    member = await client.get(identity.ORGANISATIONS, organisation)
    if member is None:
        raise identity.UnknownOrganisation(organisation=organisation)
    if dataset is None:
        raise identity.UnknownDataset(organisation=organisation, dataset=name)
    now = await block_time(client)
    narrow = await client.get(privacy_budget.DATASET_ACCOUNTS, (organisation, name)) or privacy_budget.EMPTY
    wide = await client.get(privacy_budget.ORGANISATION_ACCOUNTS, organisation) or privacy_budget.EMPTY
    after, whole = (
        privacy_budget.composed(privacy_budget.committed(account, now), state.price) for account in (narrow, wide)
    )
    standing = privacy_budget.standing(narrow, dataset.epsilon_limit, dataset.delta_inverse, now)
    return {
        "dataset": name,
        "price": privacy_budget.epsilon_of(state.price, dataset.delta_inverse),
        "spent": standing.spent,
        "held": standing.held,
        "after": privacy_budget.epsilon_of(after, dataset.delta_inverse),
        "limit": dataset.epsilon_limit,
        "delta_inverse": dataset.delta_inverse,
        "organisation_after": privacy_budget.epsilon_of(whole, limits.DELTA_INVERSE_MIN),
        "organisation_cap": member.epsilon_cap,
        "affordable": privacy_budget.fits(after, dataset.epsilon_limit, dataset.delta_inverse)
        and privacy_budget.fits(whole, member.epsilon_cap, limits.DELTA_INVERSE_MIN),
    }
