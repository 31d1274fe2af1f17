"""``fedledger budget``: privacy loss so far, and what a round would add."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import access, options, units
from ..access import Access
from ..commands import noun, verb
from ..output import Fields, Format, Line, Listing, Rows, emit, plain
from ..reading import Name, listing, present

if TYPE_CHECKING:
    from client_sdk.client import LedgerClient
    from client_sdk.reads.queries import Moment
    from contracts.kernel import View
    from contracts.privacy_budget import Hold, Quote, Standing

app = noun()
_LEAST_MEANS = "* Over all orders: valid only for prices fixed beforehand. Limits are held at the account's order."


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
    quoted: Quote = opened.judge(lambda view, now: outlook(view, organisation, dataset, task, now))
    cap = units.promise(quoted.organisation_cap, quoted.organisation_delta_inverse, quoted.organisation_order_milli)
    emit(
        output,
        {"organisation": organisation, "dataset": dataset, **plain(quoted)},
        Fields(
            {
                "dataset": f"{organisation}/{dataset}",
                "one round costs": f"ε = {units.epsilon(quoted.price)}",
                "spent or held": f"ε = {units.epsilon(quoted.spent + quoted.held)}",
                "after it": f"ε = {units.epsilon(quoted.after)} (rounds compose, their ε do not add)",
                "limit": units.promise(quoted.limit, quoted.delta_inverse, quoted.order_milli),
                "organisation": f"ε = {units.epsilon(quoted.organisation_after)} after it, over all its datasets",
                "organisation's cap": cap,
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
    """Show what every dataset and every organisation has spent of its privacy budget, and what it holds back for whom.

    A hold is spent at its round's barrier, or free where the round ends before; it is judged at a verified block, also
    while nobody has written that down.
    """
    accounts = Access(ledger, who, output=output).read(lambda client: _accounts(client, organisation))
    rows = [
        (each["account"], units.epsilon(each["spent"]), units.epsilon(each["held"]), units.epsilon(each["limit"]),
         units.delta(each["delta_inverse"]), units.order(each["order_milli"]), _bar(each), units.epsilon(each["least"]),
         [f"{hold['task']} round {hold['round']}" for hold in each["holds"]])
        for each in accounts.entries
    ]  # fmt: skip
    columns = ("account", "ε spent", "ε held", "ε limit", "δ", "order", "used", "ε least*", "held for")
    table = Rows(columns, rows, empty="No datasets are registered.")
    emit(output, accounts.entries, table, Line(_LEAST_MEANS), Line(units.EPSILON_MEANS), listed=accounts)


async def _accounts(client: "LedgerClient", organisation: str) -> Listing[dict[str, Any]]:
    """The account of every organisation that has datasets, and below it those of its datasets."""
    from client_sdk.reads.budgets import dataset_standing, fetch_holds, organisation_standing
    from client_sdk.reads.view import every
    from contracts import identity

    from .dataset import counted

    def accounts(view: "View", names: Sequence[Name], now: "Moment") -> tuple[list[dict[str, Any]], int | None]:
        datasets = present(identity.DATASETS, view, names)
        owners = dict.fromkeys(owner for (owner, _), _ in datasets)
        # In one go: what follows asks for one after the other.
        every(identity.ORGANISATIONS, view, owners)
        fetch_holds(view, list(owners), [(owner, name) for (owner, name), _ in datasets])
        listed: list[dict[str, Any]] = []
        for owner in owners:
            listed.append(_account(owner, *organisation_standing(view, owner, now)))
            listed.extend(
                _account(f"{owner}/{name}", *dataset_standing(view, owner, name, now))
                for (other, name), _ in datasets
                if other == owner
            )
        count = counted(view, organisation)
        return listed, None if count is None else count + len(owners)

    return await listing(client, identity.DATASETS, accounts, prefix=f"{organisation}/" if organisation else "")


def _account(name: str, standing: "Standing", holds: "Sequence[Hold]") -> dict[str, Any]:
    return {"account": name, **plain(standing), "holds": plain(holds)}


def _bar(account: dict[str, Any]) -> str:
    """How much of what a limit admits is used, in tenths: of the cost, since converting takes the same at any."""
    from contracts.kernel import renyi

    order, delta_inverse, used = account["order_milli"], account["delta_inverse"], account["spent"] + account["held"]
    room = renyi.room_at(account["limit"], order, delta_inverse)
    cost = max(0, used - renyi.offset_at(order, delta_inverse))
    tenths = min(10, -(-10 * cost // room)) if room > 0 else 0
    return "█" * tenths + "░" * (10 - tenths)
