"""Privacy budgets, counted a second time: rounds that were spent, rounds that are held, and what still fits.

The contract keeps curves and drops lapsed holds when it next writes an account. Here every accepted reservation and
commitment is kept for ever, and every question is answered from the whole list; an account's order, where nobody chose
it, and what converting at it takes, are found in decimals.
"""

from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal, localcontext
from fractions import Fraction
from functools import cache

from contracts.kernel.renyi import ORDERS, Curve
from contracts.privacy_budget import NOTHING
from contracts.terms import price_of

from .agreement import Violation
from .members import TERMS_OF


@dataclass
class Debt:
    """What one dataset, or all of an organisation's, has spent and held, round by round."""

    limit: int
    delta_inverse: int
    order_milli: int
    spent: list[str] = field(default_factory=list)  # Tasks, one entry for each accepted commitment.
    holds: dict[tuple[str, int, str], int] = field(default_factory=dict)  # (task, round, dataset) → when it lapses.

    def spent_curve(self) -> Curve:
        """The loss of every commitment."""
        return curve_of(tuple(self.spent))

    def total_curve(self, now: int) -> Curve:
        """The loss of every commitment, and of every reservation that may still become one."""
        return curve_of((*self.spent, *(task for (task, _, _), until in self.holds.items() if now < until)))

    def epsilon(self, now: int) -> int:
        """The same in nano-ε."""
        cost = self.total_curve(now).at(self.order_milli)
        return cost + offset(self.order_milli, self.delta_inverse) if cost else 0


@cache
def offset(order_milli: int, delta_inverse: int) -> int:
    """What converting to ε takes at an order, in nano-ε, rounded up: Canonne, Kamath and Steinke's formula."""
    with localcontext(prec=50):
        order = Decimal(order_milli) / 1_000
        exact = ((order - 1) / order).ln() + (Decimal(delta_inverse) / order).ln() / (order - 1)
        return int((exact * 10**9).to_integral_value(ROUND_CEILING))


@cache
def order_for(limit: int, delta_inverse: int) -> int:
    """The order of an account whose owner chose none: the most room per order, and of equals the lowest."""
    return max(ORDERS, key=lambda order: (Fraction(limit - offset(order, delta_inverse), order), -order))


@cache
def curve_of(tasks: tuple[str, ...]) -> Curve:
    """The sum of one round's price for every task named."""
    prices = [price_of(TERMS_OF[task].mechanism).costs() for task in tasks]
    return Curve.of(map(sum, zip(*prices, strict=True))) if prices else NOTHING


class Purse:
    """The debts of all datasets, and of all organisations over theirs."""

    def __init__(self) -> None:
        self.datasets: dict[tuple[str, str], Debt] = {}
        self.organisations: dict[str, Debt] = {}

    def cap(self, organisation: str, epsilon: int, delta_inverse: int, order_milli: int | None) -> None:
        """A new organisation."""
        order = order_milli or order_for(epsilon, delta_inverse)
        self.organisations[organisation] = Debt(epsilon, delta_inverse, order)

    def limit(self, organisation: str, dataset: str, epsilon: int, delta_inverse: int, order_milli: int | None) -> None:
        """A new dataset."""
        order = order_milli or order_for(epsilon, delta_inverse)
        self.datasets[(organisation, dataset)] = Debt(epsilon, delta_inverse, order)

    def hold(self, organisation: str, dataset: str, place: tuple[str, int], until: int, now: int) -> None:
        """An accepted reservation. Raises Violation when it exceeds a limit."""
        for debt in self._both(organisation, dataset):
            debt.holds[(*place, dataset)] = until
            if debt.epsilon(now) > debt.limit:
                raise Violation("budget", f"{organisation}: a reservation for {place} exceeds the limit {debt.limit}")

    def must_not_afford(self, organisation: str, dataset: str, place: tuple[str, int], until: int, now: int) -> None:
        """A reservation that was refused for its price. Raises Violation when there was room for it."""
        excess = False
        for debt in self._both(organisation, dataset):
            debt.holds[(*place, dataset)] = until
            excess = excess or debt.epsilon(now) > debt.limit
            del debt.holds[(*place, dataset)]
        if not excess:
            raise Violation("budget", f"{organisation}: a reservation for {place} was refused though it fits")

    def spend(self, organisation: str, dataset: str, place: tuple[str, int], now: int) -> None:
        """An accepted commitment. Raises Violation when nothing was held for it."""
        for debt in self._both(organisation, dataset):
            until = debt.holds.pop((*place, dataset), None)
            if until is None or now >= until:
                raise Violation("budget", f"{organisation}: a commitment for {place} without a live reservation")
            debt.spent.append(place[0])

    def _both(self, organisation: str, dataset: str) -> tuple[Debt, Debt]:
        return self.datasets[(organisation, dataset)], self.organisations[organisation]
