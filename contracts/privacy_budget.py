"""Privacy budgets: what every dataset and every organisation has spent, and the refusal before it is overspent.

A budget belongs to (organisation, registered dataset) under a cap of the organisation, never to a key: neither a new
key nor a new dataset name refills it. It is kept as a Rényi curve; a charge is one addition, and a limit on ε is one
comparison, at the one order that was fixed with the promise: so it holds also for prices that are chosen as one goes
(``kernel.renyi``). Every ε here is at that order, and cumulative, because the ε of rounds do not add.

Invariants: spent + live holds stays within the limit; spent never falls; a hold that nobody commits lapses by block
time alone, so a stalled round cannot lock anyone's budget. Lapsed holds are ignored where they are read and dropped
where the account is next written: nothing is swept.

What the ledger cannot see is the noise itself: it enforces what was declared (``docs/privacy.md``).
"""

from dataclasses import dataclass, replace
from typing import Annotated, Final

from . import identity
from .identity import Promise
from .kernel import (
    Contract,
    Event,
    InvariantBroken,
    Map,
    Outcome,
    Record,
    Rejected,
    View,
    limits,
    renyi,
    require,
)
from .kernel.renyi import Curve
from .kernel.types import DatasetId, DeltaInverse, Digest, Items, NanoEpsilon, OrgId, RenyiOrder, TimeMs

NOTHING: Final = renyi.ZERO
_NO_RESERVATION: Digest = bytes(32)


class Hold(Record):
    """A price held back for one reservation until its commitment or its deadline."""

    reservation: Digest
    price: Curve
    until: TimeMs


class Account(Record):
    """Privacy loss so far, and what is held back. The limit lives with the dataset or the organisation."""

    spent: Curve
    holds: Annotated[tuple[Hold, ...], Items(0, limits.HOLDS_PER_ACCOUNT)]


class Standing(Record):
    """An account against its limit, all in nano-ε at the account's order: for quotes, refusals and audit."""

    limit: NanoEpsilon
    delta_inverse: DeltaInverse
    order_milli: RenyiOrder
    spent: NanoEpsilon
    held: NanoEpsilon  # Cumulative ε with live holds included, minus spent.
    least: NanoEpsilon  # Spent and held over all orders: valid only for prices that were fixed beforehand.


DATASET_ACCOUNTS = Map("privacy_budget/datasets", Account, "organisation", "dataset")
ORGANISATION_ACCOUNTS = Map("privacy_budget/organisations", Account, "organisation")


class BudgetHeld(Event):
    """A price was held back; ε is cumulative, this hold included."""

    organisation: OrgId
    dataset: DatasetId
    epsilon: NanoEpsilon  # Cumulative with this hold.
    until: TimeMs


class BudgetSpent(Event):
    """A held price was spent; ε is cumulative."""

    organisation: OrgId
    dataset: DatasetId
    epsilon: NanoEpsilon  # Cumulative.


class BudgetExceeded(
    Rejected,
    code=401,
    hint="No reset, second key or new dataset refills a budget. `fedledger budget show` says what is left.",
):
    """The charge would take the dataset or its organisation past its privacy limit (ε in 10⁻⁹)."""


class TooManyHolds(Rejected, code=402, hint="Commit or let lapse an open reservation first."):
    """The account holds back as many reservations as it may."""


def hold(
    view: View,
    organisation: OrgId,
    dataset: DatasetId,
    price: Curve,
    *,
    reservation: Digest,
    until: TimeMs,
    now: TimeMs,
) -> Outcome:
    """Hold a price back on the dataset's and the organisation's accounts; ``now`` is block time.

    Rejects: UnknownDataset, BudgetExceeded, TooManyHolds.
    """
    entry = Hold(reservation, price, until)
    registered = identity.require_dataset(view, organisation, dataset)
    member = identity.require_member(view, organisation)
    narrow = _held(dataset_account(view, organisation, dataset), entry, now)
    wide = _held(organisation_account(view, organisation), entry, now)
    _require_within("dataset", narrow, registered.promise)
    _require_within("organisation", wide, member.cap)
    epsilon = epsilon_of(_total(narrow), registered.promise)
    return Outcome(
        (DATASET_ACCOUNTS.put((organisation, dataset), narrow), ORGANISATION_ACCOUNTS.put(organisation, wide)),
        (BudgetHeld(organisation, dataset, epsilon, until),),
    )


def spend(view: View, organisation: OrgId, dataset: DatasetId, *, reservation: Digest, now: TimeMs) -> Outcome:
    """Turn a live hold into spent budget. The caller has checked that the reservation's deadline lies ahead."""
    registered = identity.require_dataset(view, organisation, dataset)
    narrow = _settled(dataset_account(view, organisation, dataset), reservation, now)
    wide = _settled(organisation_account(view, organisation), reservation, now)
    return Outcome(
        (DATASET_ACCOUNTS.put((organisation, dataset), narrow), ORGANISATION_ACCOUNTS.put(organisation, wide)),
        (BudgetSpent(organisation, dataset, epsilon_of(narrow.spent, registered.promise)),),
    )


@dataclass(frozen=True)
class Quote:
    """What a price would do to the two accounts that bear it, in nano-ε at their orders; cumulative but ``price``."""

    price: NanoEpsilon  # Alone, as the first on the account: ε of rounds do not add.
    spent: NanoEpsilon
    held: NanoEpsilon
    after: NanoEpsilon
    limit: NanoEpsilon
    delta_inverse: DeltaInverse
    order_milli: RenyiOrder
    organisation_after: NanoEpsilon  # Over all datasets of the organisation.
    organisation_cap: NanoEpsilon
    organisation_delta_inverse: DeltaInverse
    organisation_order_milli: RenyiOrder
    affordable: bool  # Whether ``hold`` would accept it now.


def quote(view: View, organisation: OrgId, dataset: DatasetId, price: Curve, now: TimeMs) -> Quote:
    """What holding a price back would lead to at a block time. Rejects: UnknownOrganisation, UnknownDataset."""
    member = identity.require_member(view, organisation)
    registered = identity.require_dataset(view, organisation, dataset)
    narrow, wide = dataset_account(view, organisation, dataset), organisation_account(view, organisation)
    promise, cap = registered.promise, member.cap
    before = standing(narrow, promise, now)
    after, whole = (_total(_live(account, now)) + price for account in (narrow, wide))
    return Quote(
        price=epsilon_of(price, promise),
        spent=before.spent,
        held=before.held,
        after=epsilon_of(after, promise),
        limit=promise.epsilon,
        delta_inverse=promise.delta_inverse,
        order_milli=promise.order_milli,
        organisation_after=epsilon_of(whole, cap),
        organisation_cap=cap.epsilon,
        organisation_delta_inverse=cap.delta_inverse,
        organisation_order_milli=cap.order_milli,
        affordable=_would_hold(view, organisation, dataset, price, now),
    )


def dataset_account(view: View, organisation: OrgId, dataset: DatasetId) -> Account:
    """The dataset's account; one that was never charged is empty."""
    return DATASET_ACCOUNTS.get(view, (organisation, dataset)) or Account(NOTHING, ())


def organisation_account(view: View, organisation: OrgId) -> Account:
    """The organisation's account over all its datasets."""
    return ORGANISATION_ACCOUNTS.get(view, organisation) or Account(NOTHING, ())


def standing(account: Account, promise: Promise, now: TimeMs) -> Standing:
    """The account against its promise at a block time."""
    spent, total = account.spent, _total(_live(account, now))
    return Standing(
        limit=promise.epsilon,
        delta_inverse=promise.delta_inverse,
        order_milli=promise.order_milli,
        spent=epsilon_of(spent, promise),
        held=epsilon_of(total, promise) - epsilon_of(spent, promise),
        least=least_epsilon_of(total, promise.delta_inverse),
    )


def epsilon_of(curve: Curve, promise: Promise) -> NanoEpsilon:
    """ε of a curve at the order and the δ of a promise, rounded up; an untouched account has lost nothing."""
    return min(renyi.epsilon_at(curve, promise.order_milli, promise.delta_inverse), limits.EPSILON_NANO_MAX)


def least_epsilon_of(curve: Curve, delta_inverse: DeltaInverse) -> NanoEpsilon:
    """The least ε over all orders: of one price, or of prices that were fixed beforehand. No limit is held to it."""
    return min(renyi.least_epsilon(curve, delta_inverse)[0], limits.EPSILON_NANO_MAX)


def fits(curve: Curve, promise: Promise) -> bool:
    """Whether a loss keeps a promise: the very check that a hold passes."""
    return renyi.within(promise.epsilon, curve, promise.order_milli, promise.delta_inverse)


def _would_hold(view: View, organisation: OrgId, dataset: DatasetId, price: Curve, now: TimeMs) -> bool:
    try:
        hold(view, organisation, dataset, price, reservation=_NO_RESERVATION, until=now + 1, now=now)
    except (BudgetExceeded, TooManyHolds):
        return False
    return True


def _held(account: Account, entry: Hold, now: TimeMs) -> Account:
    live = _live(account, now)
    require(len(live.holds) < limits.HOLDS_PER_ACCOUNT, lambda: TooManyHolds(limit=limits.HOLDS_PER_ACCOUNT))
    return replace(live, holds=(*live.holds, entry))


def _settled(account: Account, reservation: Digest, now: TimeMs) -> Account:
    live = _live(account, now)
    mine = tuple(entry for entry in live.holds if entry.reservation == reservation)
    if len(mine) != 1:
        raise InvariantBroken("a live reservation has no hold")
    others = tuple(entry for entry in live.holds if entry.reservation != reservation)
    return Account(live.spent + mine[0].price, others)


def _live(account: Account, now: TimeMs) -> Account:
    """The account without its lapsed holds."""
    return replace(account, holds=tuple(entry for entry in account.holds if now < entry.until))


def _total(account: Account) -> Curve:
    total = account.spent
    for entry in account.holds:
        total += entry.price
    return total


def _require_within(account: str, wanted: Account, promise: Promise) -> None:
    total = _total(wanted)
    require(
        fits(total, promise),
        lambda: BudgetExceeded(
            account=account,
            spent=epsilon_of(wanted.spent, promise),
            wanted=epsilon_of(total, promise),
            limit=promise.epsilon,
            order_milli=promise.order_milli,
        ),
    )


CONTRACT = Contract(
    name="privacy_budget",
    number=4,
    state=(DATASET_ACCOUNTS, ORGANISATION_ACCOUNTS),
    handlers={},
    modules=(__name__,),
)
