"""Privacy budgets, counted a second time: rounds that were spent, rounds that are held, and what still fits.

The contract keeps curves and drops lapsed holds when it next writes an account. Here every accepted reservation and
commitment is kept for ever, and every question is answered from the whole list.
"""

from dataclasses import dataclass, field
from functools import cache

from contracts.kernel import renyi
from contracts.kernel.renyi import Curve
from contracts.privacy_budget import NOTHING
from contracts.terms import price_of

from ..harness.consortium import DELTA_INVERSE
from .agreement import Violation
from .members import TERMS_OF


@dataclass
class Debt:
    """What one dataset, or all of an organisation's, has spent and held, round by round."""

    limit: int
    delta_inverse: int
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
        curve = self.total_curve(now)
        return renyi.epsilon_nano(curve, self.delta_inverse)[0] if curve != NOTHING else 0


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

    def cap(self, organisation: str, epsilon: int) -> None:
        """A new organisation."""
        self.organisations[organisation] = Debt(epsilon, DELTA_INVERSE)

    def limit(self, organisation: str, dataset: str, epsilon: int, delta_inverse: int) -> None:
        """A new dataset."""
        self.datasets[(organisation, dataset)] = Debt(epsilon, delta_inverse)

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
