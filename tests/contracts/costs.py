"""Who has paid for which round, counted from the events of the ledger and nothing else of it."""

from contracts.contributions import Committed, Reserved, Withdrawn
from contracts.kernel import Event
from contracts.kernel.renyi import Curve
from contracts.privacy_budget import NOTHING
from contracts.rounds import Charged, PhaseBegan, RoundVoided
from contracts.terms import Phase
from tests.contracts.accounts import PRICE


class Costs:
    """The organisations that reserved, committed and paid, by round."""

    def __init__(self) -> None:
        self.reserved: dict[int, set[str]] = {}
        self.committed: dict[int, set[str]] = {}
        self.paid: dict[int, set[str]] = {}

    def copy(self) -> "Costs":
        twin = Costs()
        for name in ("reserved", "committed", "paid"):
            setattr(twin, name, {number: {*names} for number, names in getattr(self, name).items()})
        return twin

    def note(self, events: tuple[Event, ...]) -> None:
        for event in events:
            match event:
                case Reserved(_, number, name):
                    self.reserved.setdefault(number, set()).add(name)
                case Withdrawn(_, number, name):
                    self.reserved[number].remove(name)
                case Committed(_, number, name):
                    self.committed.setdefault(number, set()).add(name)
                case PhaseBegan(_, number, Phase.ATTESTING) | RoundVoided(_, number, _, Charged.ALL):
                    self.paid[number] = {*self.reserved[number]}
                case RoundVoided(_, number, _, Charged.ABSENT):
                    self.paid[number] = self.reserved[number] - self.committed.get(number, set())

    def spent(self, name: str, before: int) -> Curve:
        """What a member has spent in all, that had paid for so many rounds before."""
        curve = NOTHING
        for _ in range(before + sum(name in names for names in self.paid.values())):
            curve += PRICE
        return curve
