"""Privacy budgets as a member reads them: what an account has spent, and what a round would add.

The arithmetic is the ledger's own (``contracts.privacy_budget``), on proved records; live holds count, as they do when
the ledger decides. Everything is in 10⁻⁹ of ε.
"""

from dataclasses import dataclass

from contracts import identity, privacy_budget, rounds
from contracts.identity import Dataset, Organisation, UnknownDataset, UnknownOrganisation
from contracts.kernel import limits
from contracts.kernel.types import DeltaInverse, NanoEpsilon
from contracts.privacy_budget import NOTHING, Account, Curve, Standing
from contracts.rounds import UnknownTask

from ..client import LedgerClient


@dataclass(frozen=True)
class Outlook:
    """A dataset before and after the next round of a task. Cumulative but for ``price``: ε of rounds do not add."""

    price: NanoEpsilon  # Of one round alone.
    spent: NanoEpsilon
    held: NanoEpsilon
    after: NanoEpsilon
    limit: NanoEpsilon
    delta_inverse: DeltaInverse
    organisation_after: NanoEpsilon  # Over all datasets of the organisation, at δ = 10⁻⁵.
    organisation_cap: NanoEpsilon
    affordable: bool  # Whether the ledger would accept the reservation now.


async def outlook(client: LedgerClient, organisation: str, name: str, task: str) -> Outlook:
    """What the next round would cost a dataset. Raises UnknownTask, UnknownOrganisation, UnknownDataset."""
    state = await client.get(rounds.TASKS, task)
    if state is None:
        raise UnknownTask(task=task)
    member, dataset = await _owner(client, organisation), await _dataset(client, organisation, name)
    now = await block_time(client)
    narrow = await client.get(privacy_budget.DATASET_ACCOUNTS, (organisation, name)) or Account(NOTHING, ())
    wide = await client.get(privacy_budget.ORGANISATION_ACCOUNTS, organisation) or Account(NOTHING, ())
    after = privacy_budget.composed(_committed(narrow, now), state.price)
    whole = privacy_budget.composed(_committed(wide, now), state.price)
    standing = privacy_budget.standing(narrow, dataset.epsilon_limit, dataset.delta_inverse, now)
    return Outlook(
        price=privacy_budget.epsilon_of(state.price, dataset.delta_inverse),
        spent=standing.spent,
        held=standing.held,
        after=privacy_budget.epsilon_of(after, dataset.delta_inverse),
        limit=dataset.epsilon_limit,
        delta_inverse=dataset.delta_inverse,
        organisation_after=privacy_budget.epsilon_of(whole, limits.DELTA_INVERSE_MIN),
        organisation_cap=member.epsilon_cap,
        affordable=privacy_budget.fits(after, dataset.epsilon_limit, dataset.delta_inverse)
        and privacy_budget.fits(whole, member.epsilon_cap, limits.DELTA_INVERSE_MIN),
    )


async def dataset_standing(client: LedgerClient, organisation: str, name: str, now: int) -> Standing:
    """A dataset's account at a block time, ms. Raises UnknownDataset."""
    dataset = await _dataset(client, organisation, name)
    account = await client.get(privacy_budget.DATASET_ACCOUNTS, (organisation, name)) or Account(NOTHING, ())
    return privacy_budget.standing(account, dataset.epsilon_limit, dataset.delta_inverse, now)


async def organisation_standing(client: LedgerClient, organisation: str, now: int) -> Standing:
    """An organisation's account over all its datasets, at δ = 10⁻⁵. Raises UnknownOrganisation."""
    member = await _owner(client, organisation)
    account = await client.get(privacy_budget.ORGANISATION_ACCOUNTS, organisation) or Account(NOTHING, ())
    return privacy_budget.standing(account, member.epsilon_cap, limits.DELTA_INVERSE_MIN, now)


async def block_time(client: LedgerClient) -> int:
    """The newest block's time, ms, by one node's word."""
    return (await client.rpc.status()).time_ns // 1_000_000


async def _owner(client: LedgerClient, organisation: str) -> Organisation:
    member = await client.get(identity.ORGANISATIONS, organisation)
    if member is None:
        raise UnknownOrganisation(organisation=organisation)
    return member


async def _dataset(client: LedgerClient, organisation: str, name: str) -> Dataset:
    dataset = await client.get(identity.DATASETS, (organisation, name))
    if dataset is None:
        raise UnknownDataset(organisation=organisation, dataset=name)
    return dataset


def _committed(account: Account, now: int) -> Curve:
    """What was spent with what is held back at a block time."""
    total = account.spent
    for hold in account.holds:
        if now < hold.until:
            total = privacy_budget.composed(total, hold.price)
    return total
