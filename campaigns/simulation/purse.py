"""Privacy budgets, counted a second time: rounds that were spent, rounds that are held, and what still fits.

The contract keeps curves and brings an account up to date when it next writes it. Here every seat that was ever
reserved is kept, and every question is answered from the whole list: what became of each is for its round to say
(``courses``).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from contracts.kernel import renyi
from contracts.privacy_budget import NOTHING
from contracts.terms import Curve, price_of

from ..harness.consortium import DELTA_INVERSE
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
        curve = self.total_curve(block)
        return renyi.epsilon_nano(curve, self.delta_inverse)[0] if curve != NOTHING else 0

    def _curve_of(self, block: Block, bills: tuple[str, ...]) -> Curve:
        return curve_of(tuple(place[0] for place in self.places if self.bill(place, self.organisation, block) in bills))


@cache
def curve_of(tasks: tuple[str, ...]) -> Curve:
    """The sum of one round's price for every task named."""
    prices = [price_of(TERMS_OF[task].mechanism) for task in tasks]
    return tuple(sum(costs) for costs in zip(*prices, strict=True)) if prices else NOTHING


class Purse:
    """The debts of all datasets, and of all organisations over theirs."""

    def __init__(self, bill: Bill) -> None:
        self.datasets: dict[tuple[str, str], Debt] = {}
        self.organisations: dict[str, Debt] = {}
        self._bill = bill

    def cap(self, organisation: str, epsilon: int) -> None:
        """A new organisation."""
        self.organisations[organisation] = Debt(organisation, epsilon, DELTA_INVERSE, self._bill)

    def limit(self, organisation: str, dataset: str, epsilon: int, delta_inverse: int) -> None:
        """A new dataset."""
        self.datasets[(organisation, dataset)] = Debt(organisation, epsilon, delta_inverse, self._bill)

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
            wanted = renyi.compose(debt.total_curve(block), curve_of(place[:1]))
            excess = excess or renyi.epsilon_nano(wanted, debt.delta_inverse)[0] > debt.limit
        if not excess:
            raise Violation("budget", f"{organisation}: a reservation for {place} was refused though it fits")

    def _both(self, organisation: str, dataset: str) -> tuple[Debt, Debt]:
        return self.datasets[(organisation, dataset)], self.organisations[organisation]
