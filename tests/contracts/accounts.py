"""What tests read from privacy accounts: an account at a block, where it stands, and what one round means for it."""

from campaigns.harness.chain import Chain, Member
from campaigns.harness.consortium import DATASET, DELTA_INVERSE, HOSPITAL_A, HOSPITALS, LIMIT, MECHANISM, PROMISE, TASK
from contracts import privacy_budget
from contracts.identity import DATASETS
from contracts.kernel.renyi import Curve
from contracts.privacy_budget import NOTHING, Account, Now, Standing
from contracts.rounds import Bill
from contracts.terms import price_of

PRICE = price_of(MECHANISM)


def epsilon(rounds_spent: int) -> int:
    """ε of this many rounds together: their curves add, their ε do not."""
    curve = NOTHING
    for _ in range(rounds_spent):
        curve += PRICE
    return privacy_budget.epsilon_of(curve, PROMISE)


def least(rounds_spent: int) -> int:
    """ε of this many rounds at the order that suits them best."""
    curve = Curve.of(rounds_spent * cost for cost in PRICE.costs())
    return privacy_budget.least_epsilon_of(curve, DELTA_INVERSE)


def account_of(chain: Chain, member: Member = HOSPITAL_A, dataset: str = DATASET, now: Now | None = None) -> Account:
    """The account at a block: as of the last one, if none is named."""
    return privacy_budget.dataset_account(chain.view, member.name, dataset, now or chain)


def standing_of(chain: Chain, member: Member = HOSPITAL_A, dataset: str = DATASET, now: Now | None = None) -> Standing:
    registered = DATASETS.at(chain.view, (member.name, dataset))
    account = account_of(chain, member, dataset, now)
    return privacy_budget.standing(chain.view, account, registered.promise)


def standing(*, spent: int, held: int, least: int) -> Standing:
    """Where an account stands whose promise is every dataset's."""
    return Standing(LIMIT, DELTA_INVERSE, PROMISE.order_milli, spent, held, least)


def bill(chain: Chain, member: Member, number: int = 1, now: Now | None = None) -> Bill:
    """What one round means for a member that was charged for no other, read from its account."""
    narrow = account_of(chain, member, now=now)
    wide = privacy_budget.organisation_account(chain.view, member.name, now or chain)
    assert narrow == wide, "the dataset's account is not the organisation's"
    if narrow.holds:
        assert [(hold.task, hold.round) for hold in narrow.holds] == [(TASK, number)]
        return Bill.HELD
    return Bill.SPENT if narrow.spent == PRICE else Bill.FREE


def bills(chain: Chain, now: Now | None = None) -> tuple[Bill, ...]:
    """The bills of the four hospitals for round 1."""
    return tuple(bill(chain, hospital, now=now) for hospital in HOSPITALS)
