"""Privacy budgets, counted a second time: rounds that were spent, rounds that are held, and what still fits.

The contract keeps curves and brings an account up to date when it next writes it. Here every seat that was ever
reserved is kept, and every question is answered from the whole list: what became of each is for its round to say
(``courses``). An account's order, where nobody chose it, and what converting at it takes, are found in decimals.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal, localcontext
from fractions import Fraction
from functools import cache

from contracts.kernel.renyi import ORDERS, Curve
from contracts.privacy_budget import NOTHING
from contracts.terms import price_of

from .agreement import Block, Violation
from .members import TERMS_OF

Place = tuple[str, int]  # A task, and the number of one of its rounds.
Bill = Callable[[Place, str, Block], str]


@dataclass
class Debt:
    """What one dataset, or all of an organisation's, has promised, round by round."""

    organisation: str
    limit: int
    delta_inverse: int
    order_milli: int
    bill: Bill
    places: list[Place] = field(default_factory=list)

    def spent_curve(self, block: Block) -> Curve:
        """The loss of every round that it has to pay for."""
        return self._curve_of(block, ("spent",))

    def total_curve(self, block: Block) -> Curve:
        """The loss of every round that it has to pay for, or may have to."""
        return self._curve_of(block, ("spent", "held"))

    def epsilon(self, block: Block) -> int:
        """The same in nano-ε."""
        return self.epsilon_of(self.total_curve(block))

    def epsilon_of(self, curve: Curve) -> int:
        """The ε of a loss at the account's order, in nano-ε."""
        cost = curve.at(self.order_milli)
        return cost + offset(self.order_milli, self.delta_inverse) if cost else 0

    def _curve_of(self, block: Block, bills: tuple[str, ...]) -> Curve:
        return curve_of(tuple(place[0] for place in self.places if self.bill(place, self.organisation, block) in bills))


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

    def __init__(self, bill: Bill) -> None:
        self.datasets: dict[tuple[str, str], Debt] = {}
        self.organisations: dict[str, Debt] = {}
        self._bill = bill

    def cap(self, organisation: str, epsilon: int, delta_inverse: int, order_milli: int | None) -> None:
        """A new organisation."""
        order = order_milli or order_for(epsilon, delta_inverse)
        self.organisations[organisation] = Debt(organisation, epsilon, delta_inverse, order, self._bill)

    def limit(self, organisation: str, dataset: str, epsilon: int, delta_inverse: int, order_milli: int | None) -> None:
        """A new dataset."""
        order = order_milli or order_for(epsilon, delta_inverse)
        self.datasets[(organisation, dataset)] = Debt(organisation, epsilon, delta_inverse, order, self._bill)

    def hold(self, organisation: str, dataset: str, place: Place, block: Block) -> None:
        """An accepted reservation, which its round knows of. Raises Violation when it exceeds a limit."""
        for debt in self._both(organisation, dataset):
            debt.places.append(place)
            if debt.epsilon(block) > debt.limit:
                raise Violation("budget", f"{organisation}: a reservation for {place} exceeds the limit {debt.limit}")

    def release(self, organisation: str, dataset: str, place: Place) -> None:
        """A seat that was given back."""
        for debt in self._both(organisation, dataset):
            debt.places.remove(place)

    def must_not_afford(self, organisation: str, dataset: str, place: Place, block: Block) -> None:
        """A reservation that was refused for its price. Raises Violation when there was room for it."""
        excess = False
        for debt in self._both(organisation, dataset):
            wanted = debt.total_curve(block) + curve_of(place[:1])
            excess = excess or debt.epsilon_of(wanted) > debt.limit
        if not excess:
            raise Violation("budget", f"{organisation}: a reservation for {place} was refused though it fits")

    def _both(self, organisation: str, dataset: str) -> tuple[Debt, Debt]:
        return self.datasets[(organisation, dataset)], self.organisations[organisation]
