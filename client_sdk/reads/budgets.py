"""Privacy budgets as members ask for them: functions of the ledger's state, to be run on a proved one (``view``).

The arithmetic is the ledger's own (``contracts.privacy_budget``); live holds count, as they do when the ledger decides.
Everything is in 10⁻⁹ of ε at the account's order; ``now`` is block time, ms.
"""

from contracts import identity, privacy_budget, rounds
from contracts.kernel import View
from contracts.privacy_budget import Quote, Standing


def outlook(view: View, organisation: str, dataset: str, task: str, now: int) -> Quote:
    """What the next round of a task would cost a dataset.

    Rejects: UnknownTask, UnknownOrganisation, UnknownDataset.
    """
    price = rounds.require_task(view, task).price
    return privacy_budget.quote(view, organisation, dataset, price, now)


def dataset_standing(view: View, organisation: str, name: str, now: int) -> Standing:
    """A dataset's account. Rejects: UnknownDataset."""
    dataset = identity.require_dataset(view, organisation, name)
    account = privacy_budget.dataset_account(view, organisation, name)
    return privacy_budget.standing(account, dataset.promise, now)


def organisation_standing(view: View, organisation: str, now: int) -> Standing:
    """An organisation's account over all its datasets, against its cap. Rejects: UnknownOrganisation."""
    member = identity.require_member(view, organisation)
    account = privacy_budget.organisation_account(view, organisation)
    return privacy_budget.standing(account, member.cap, now)
