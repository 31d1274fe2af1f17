"""Privacy budgets as members ask for them: functions of the ledger's state, to be run on a proved one (``view``).

The arithmetic is the ledger's own (``contracts.privacy_budget``); live holds count, as they do when the ledger decides,
and what became of a hold is judged at the block whose header proves the state. Everything is in 10⁻⁹ of ε at the
account's order.
"""

from contracts import identity, privacy_budget, rounds, tasks
from contracts.kernel import View
from contracts.privacy_budget import Account, Hold, Quote, Standing
from contracts.promises import Promise

from .queries import Moment
from .view import every


def outlook(view: View, organisation: str, dataset: str, task: str, now: Moment) -> Quote:
    """What the next round of a task would cost a dataset.

    Rejects: UnknownTask, UnknownOrganisation, UnknownDataset.
    """
    price = tasks.require_task(view, task).price
    return privacy_budget.quote(view, organisation, dataset, price, now)


def dataset_standing(view: View, organisation: str, name: str, now: Moment) -> tuple[Standing, tuple[Hold, ...]]:
    """A dataset's account, and the seats that its budget is held back for. Rejects: UnknownDataset."""
    dataset = identity.require_dataset(view, organisation, name)
    account = privacy_budget.dataset_account(view, organisation, name, now)
    return _stands(view, account, dataset.promise)


def organisation_standing(view: View, organisation: str, now: Moment) -> tuple[Standing, tuple[Hold, ...]]:
    """An organisation's account over all its datasets, and its holds. Rejects: UnknownOrganisation."""
    member = identity.require_member(view, organisation)
    return _stands(view, privacy_budget.organisation_account(view, organisation, now), member.cap)


def fetch_holds(view: View, organisations: list[str], datasets: list[tuple[str, str]]) -> None:
    """Ask in one go for what many accounts are settled from: the accounts, and the rounds and prices they hold for."""
    whole = [privacy_budget.ORGANISATION_ACCOUNTS.get(view, name) for name in organisations]
    narrow = [privacy_budget.DATASET_ACCOUNTS.get(view, key) for key in datasets]
    holds = [hold for account in (*whole, *narrow) if account is not None for hold in account.holds]
    every(rounds.ROUNDS, view, dict.fromkeys((hold.task, hold.round) for hold in holds))
    every(tasks.TASKS, view, dict.fromkeys(hold.task for hold in holds))


def _stands(view: View, account: Account, promise: Promise) -> tuple[Standing, tuple[Hold, ...]]:
    return privacy_budget.standing(view, account, promise), account.holds
