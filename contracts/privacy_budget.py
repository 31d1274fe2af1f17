"""Privacy budgets: what every dataset and every organisation has spent, and the refusal before it is overspent.

A budget belongs to (organisation, registered dataset) under a cap of the organisation, never to a key: neither a new
key nor a new dataset name refills it. It is kept as a Rényi curve; a charge is one addition, and a limit on ε is one
comparison, at the one order that was fixed with the promise: so it holds also for prices that are chosen as one goes
(``kernel.renyi``). Every ε here is at that order, and cumulative, because the ε of rounds do not add.

A hold names the round and the seat it was made for, and what became of it is read from that round
(``rounds.bill_of``): held until the barrier, then spent; free where the round ended before anything was revealed.
Accounts are brought up to date where they are read, and written when they are next charged: nothing is swept.

Invariants: spent + holds stays within the limit; spent never falls; a round that reveals nothing costs nothing, unless
its seat stayed away after training had started.

What the ledger cannot see is the noise itself: it enforces what was declared (``docs/privacy.md``).
"""

from dataclasses import dataclass, replace
from typing import Annotated, Final, Protocol

from . import identity, rounds, tasks
from .kernel import (
    Context,
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
from .kernel.types import (
    DatasetId,
    DeltaInverse,
    Items,
    NanoEpsilon,
    OrgId,
    RenyiOrder,
    RoundNumber,
    SeatNumber,
    TaskId,
)
from .promises import Promise
from .rounds import Bill

NOTHING: Final = renyi.ZERO


class Hold(Record):
    """The price of a round, held back for a seat in it. What became of it is the round's to say."""

    task: TaskId
    round: RoundNumber
    seat: SeatNumber


class Account(Record):
    """Privacy loss as of the last charge, and the rounds it was held for. The limit lives with its owner."""

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


class Now(Protocol):
    """A block: when it was made, and its height. A handler's context is one."""

    @property
    def time_ms(self) -> int:
        """Block time, in milliseconds since the Unix epoch."""

    @property
    def height(self) -> int:
        """The block's height."""


class BudgetHeld(Event):
    """A price was held back; ε is cumulative, this hold included."""

    organisation: OrgId
    dataset: DatasetId
    epsilon: NanoEpsilon  # Cumulative with this hold.


class BudgetExceeded(
    Rejected,
    code=401,
    hint="No reset, second key or new dataset refills a budget. `fedledger budget show` says what is left.",
):
    """The charge would take the dataset or its organisation past its privacy limit (ε in 10⁻⁹)."""


class TooManyHolds(Rejected, code=402, hint="Commit or let lapse an open reservation first."):
    """The account holds back as many reservations as it may."""


def hold(view: View, organisation: OrgId, dataset: DatasetId, entry: Hold, ctx: Context) -> Outcome:
    """Hold a round's price back on the dataset's and the organisation's accounts.

    Rejects: UnknownDataset, BudgetExceeded, TooManyHolds.
    """
    registered = identity.require_dataset(view, organisation, dataset)
    member = identity.require_member(view, organisation)
    narrow = _held(dataset_account(view, organisation, dataset, ctx), entry)
    wide = _held(organisation_account(view, organisation, ctx), entry)
    _require_within(view, "dataset", narrow, registered.promise)
    _require_within(view, "organisation", wide, member.cap)
    epsilon = epsilon_of(_total(view, narrow), registered.promise)
    return Outcome(
        (DATASET_ACCOUNTS.put((organisation, dataset), narrow), ORGANISATION_ACCOUNTS.put(organisation, wide)),
        (BudgetHeld(organisation, dataset, epsilon),),
    )


def release(view: View, organisation: OrgId, dataset: DatasetId, entry: Hold, ctx: Context) -> Outcome:
    """Give a hold back. The caller has checked that its round has not begun to train."""
    narrow, wide = dataset_account(view, organisation, dataset, ctx), organisation_account(view, organisation, ctx)
    return Outcome((
        DATASET_ACCOUNTS.put((organisation, dataset), _without(narrow, entry)),
        ORGANISATION_ACCOUNTS.put(organisation, _without(wide, entry)),
    ))  # fmt: skip


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


def quote(view: View, organisation: OrgId, dataset: DatasetId, price: Curve, now: Now) -> Quote:
    """What holding a price back would lead to at a block. Rejects: UnknownOrganisation, UnknownDataset."""
    member = identity.require_member(view, organisation)
    registered = identity.require_dataset(view, organisation, dataset)
    narrow, wide = dataset_account(view, organisation, dataset, now), organisation_account(view, organisation, now)
    promise, cap = registered.promise, member.cap
    before = standing(view, narrow, promise)
    after, whole = (_total(view, account) + price for account in (narrow, wide))
    room = max(len(narrow.holds), len(wide.holds)) < limits.HOLDS_PER_ACCOUNT
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
        affordable=room and fits(after, promise) and fits(whole, cap),
    )


def dataset_account(view: View, organisation: OrgId, dataset: DatasetId, now: Now) -> Account:
    """The dataset's account at a block; one that was never charged is empty."""
    return _settled(view, DATASET_ACCOUNTS.get(view, (organisation, dataset)) or Account(NOTHING, ()), now)


def organisation_account(view: View, organisation: OrgId, now: Now) -> Account:
    """The organisation's account at a block, over all its datasets."""
    return _settled(view, ORGANISATION_ACCOUNTS.get(view, organisation) or Account(NOTHING, ()), now)


def standing(view: View, account: Account, promise: Promise) -> Standing:
    """An account that is up to date against its promise."""
    spent, total = account.spent, _total(view, account)
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


def _settled(view: View, account: Account, now: Now) -> Account:
    """The account with every hold whose round has come far enough turned into spent budget, or dropped."""
    spent, held = account.spent, []
    for entry in account.holds:
        current = rounds.ROUNDS.at(view, (entry.task, entry.round))
        match rounds.bill_of(current, entry.seat, now.time_ms, now.height):
            case Bill.HELD:
                held.append(entry)
            case Bill.SPENT:
                spent += _price(view, entry)
            case Bill.FREE:
                pass
    return account if len(held) == len(account.holds) else Account(spent, tuple(held))


def _held(account: Account, entry: Hold) -> Account:
    require(len(account.holds) < limits.HOLDS_PER_ACCOUNT, lambda: TooManyHolds(limit=limits.HOLDS_PER_ACCOUNT))
    return replace(account, holds=(*account.holds, entry))


def _without(account: Account, entry: Hold) -> Account:
    if entry not in account.holds:
        raise InvariantBroken("a live reservation has no hold")
    return replace(account, holds=tuple(other for other in account.holds if other != entry))


def _total(view: View, account: Account) -> Curve:
    total = account.spent
    for entry in account.holds:
        total += _price(view, entry)
    return total


def _price(view: View, entry: Hold) -> Curve:
    return tasks.TASKS.at(view, entry.task).price


def _require_within(view: View, account: str, wanted: Account, promise: Promise) -> None:
    total = _total(view, wanted)
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
