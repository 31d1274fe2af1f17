"""Privacy budgets: what every dataset and every organisation has spent, and the refusal before it is overspent.

A budget belongs to (organisation, registered dataset) under a cap of the organisation, never to a key: neither a new
key nor a new dataset name refills it. It is kept as a Rényi curve at fixed integer orders; a charge is integer
addition, and a limit on ε is a filter on the composition (``kernel.renyi``).

A hold names the round and the seat it was made for, and what became of it is read from that round
(``rounds.bill_of``): held until the barrier, then spent; free where the round ended before anything was revealed.
Accounts are brought up to date where they are read, and written when they are next charged: nothing is swept.

Invariants: spent + holds stays within the limit; spent never falls; a round that reveals nothing costs nothing, unless
its seat stayed away after training had started.

What the ledger cannot see is the noise itself: it enforces what was declared (``docs/privacy.md``).
"""

from dataclasses import dataclass, replace
from typing import Annotated, Protocol

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
from .kernel.types import (
    DatasetId,
    DeltaInverse,
    Items,
    NanoEpsilon,
    OrgId,
    RoundNumber,
    SeatNumber,
    TaskId,
)
from .rounds import Bill
from .terms import Curve

NOTHING: Curve = renyi.ZERO


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
    """An account against its limit, all in nano-ε: for quotes, refusals and audit."""

    limit: NanoEpsilon
    spent: NanoEpsilon
    held: NanoEpsilon  # Cumulative ε with live holds included, minus spent.


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
    _require_within(view, "dataset", narrow, registered.epsilon_limit, registered.delta_inverse)
    _require_within(view, "organisation", wide, member.epsilon_cap, limits.DELTA_INVERSE_MIN)
    epsilon = epsilon_of(_total(view, narrow), registered.delta_inverse)
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
    """What a price would do to the two accounts that bear it, in nano-ε. All but ``price`` is cumulative."""

    price: NanoEpsilon  # Alone: ε of rounds do not add.
    spent: NanoEpsilon
    held: NanoEpsilon
    after: NanoEpsilon
    limit: NanoEpsilon
    delta_inverse: DeltaInverse
    organisation_after: NanoEpsilon  # Over all datasets of the organisation, at δ = 10⁻⁵.
    organisation_cap: NanoEpsilon
    affordable: bool  # Whether ``hold`` would accept it now.


def quote(view: View, organisation: OrgId, dataset: DatasetId, price: Curve, now: Now) -> Quote:
    """What holding a price back would lead to at a block. Rejects: UnknownOrganisation, UnknownDataset."""
    member = identity.require_member(view, organisation)
    registered = identity.require_dataset(view, organisation, dataset)
    narrow, wide = dataset_account(view, organisation, dataset, now), organisation_account(view, organisation, now)
    before = standing(view, narrow, registered.epsilon_limit, registered.delta_inverse)
    after, whole = (composed(_total(view, account), price) for account in (narrow, wide))
    room = max(len(narrow.holds), len(wide.holds)) < limits.HOLDS_PER_ACCOUNT
    within = fits(after, registered.epsilon_limit, registered.delta_inverse)
    capped = fits(whole, member.epsilon_cap, limits.DELTA_INVERSE_MIN)
    return Quote(
        price=epsilon_of(price, registered.delta_inverse),
        spent=before.spent,
        held=before.held,
        after=epsilon_of(after, registered.delta_inverse),
        limit=registered.epsilon_limit,
        delta_inverse=registered.delta_inverse,
        organisation_after=epsilon_of(whole, limits.DELTA_INVERSE_MIN),
        organisation_cap=member.epsilon_cap,
        affordable=room and within and capped,
    )


def dataset_account(view: View, organisation: OrgId, dataset: DatasetId, now: Now) -> Account:
    """The dataset's account at a block; one that was never charged is empty."""
    return _settled(view, DATASET_ACCOUNTS.get(view, (organisation, dataset)) or Account(NOTHING, ()), now)


def organisation_account(view: View, organisation: OrgId, now: Now) -> Account:
    """The organisation's account at a block, over all its datasets."""
    return _settled(view, ORGANISATION_ACCOUNTS.get(view, organisation) or Account(NOTHING, ()), now)


def standing(view: View, account: Account, limit: NanoEpsilon, delta_inverse: DeltaInverse) -> Standing:
    """An account that is up to date in ε: cumulative, because per-round ε do not add."""
    spent = epsilon_of(account.spent, delta_inverse)
    committed = epsilon_of(_total(view, account), delta_inverse)
    return Standing(limit, spent, committed - spent)


def epsilon_of(curve: Curve, delta_inverse: DeltaInverse) -> NanoEpsilon:
    """ε of a curve at δ = 1 / delta_inverse, rounded up; an untouched account has lost nothing."""
    if curve == NOTHING:
        return 0
    return min(renyi.epsilon_nano(curve, delta_inverse)[0], limits.EPSILON_NANO_MAX)


def composed(spent: Curve, price: Curve) -> Curve:
    """The loss of both together."""
    return renyi.compose(spent, price)


def fits(curve: Curve, limit: NanoEpsilon, delta_inverse: DeltaInverse) -> bool:
    """Whether a loss stays within a limit: the very check that a hold passes."""
    return renyi.within(limit, curve, delta_inverse)


def _settled(view: View, account: Account, now: Now) -> Account:
    """The account with every hold whose round has come far enough turned into spent budget, or dropped."""
    spent, held = account.spent, []
    for entry in account.holds:
        current = rounds.ROUNDS.at(view, (entry.task, entry.round))
        match rounds.bill_of(current, entry.seat, now.time_ms, now.height):
            case Bill.HELD:
                held.append(entry)
            case Bill.SPENT:
                spent = composed(spent, _price(view, entry))
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
        total = composed(total, _price(view, entry))
    return total


def _price(view: View, entry: Hold) -> Curve:
    return tasks.TASKS.at(view, entry.task).price


def _require_within(view: View, account: str, wanted: Account, limit: NanoEpsilon, delta_inverse: DeltaInverse) -> None:
    total = _total(view, wanted)
    require(
        fits(total, limit, delta_inverse),
        lambda: BudgetExceeded(
            account=account,
            spent=epsilon_of(wanted.spent, delta_inverse),
            wanted=epsilon_of(total, delta_inverse),
            limit=limit,
        ),
    )


CONTRACT = Contract(
    name="privacy_budget",
    number=4,
    state=(DATASET_ACCOUNTS, ORGANISATION_ACCOUNTS),
    handlers={},
    modules=(__name__,),
)
