"""What is offered to the cluster in one block: honest intentions, incidents, and hostile transactions.

The order is the seed's. Honest members are diligent to a degree, and a hurried one sends the steps of a round at once.
"""

from contracts.contributions import Reserve
from contracts.kernel import Lane, View
from contracts.rounds import ROUNDS

from ..harness.chain import Member
from .elections import Elections
from .hostile import Attacker
from .incidents import incident
from .lifecycle import Lifecycle, choose_limits
from .members import PLAIN_TERMS, SAMPLED_TERMS, TERMS_OF, Clerk, stream

TASKS = ((PLAIN_TERMS,), (PLAIN_TERMS,), (PLAIN_TERMS, SAMPLED_TERMS), (SAMPLED_TERMS,))
HONEST_MAX = 14  # Transactions in a block; what is left is still due in the next one.


class Workload:
    """All senders of one seed."""

    def __init__(self, seed: int) -> None:
        self._rng = rng = stream(seed, "workload")
        self.clerk = Clerk(seed)
        tasks = rng.choice(TASKS)
        self._life = Lifecycle(stream(seed, "life"), tasks, choose_limits(rng))
        self._elections = Elections(stream(seed, "elections"))
        self.attacker = Attacker(stream(seed, "attacker"), self.clerk, self._life)
        self.idle = False
        self._diligence = rng.choice((0.9, 0.97, 1.0))
        self._hostility = rng.choice((0.0, 0.1, 0.25))
        self._unrest = rng.choice((0.1, 0.1, 1.0, 1.0, 1.0))
        self._hurry = rng.choice((0.0, 0.0, 0.2))

    def offered(self, view: View, height: int, time_ms: int) -> list[bytes]:
        """Transactions for the block after ``height``, which comes at about ``time_ms``."""
        rng, self.clerk.height = self._rng, height
        wanted = [pair for pair in self._life.due(view, height, time_ms) if rng.random() < self._diligence]
        acting = any(message.lane in (Lane.ROUND, Lane.CONTRIBUTION) for _, message in wanted)
        self.idle = not acting and (not wanted or self._life.has_round_under_way(view))
        offers: list[bytes] = []
        for who, message in wanted[:HONEST_MAX]:
            offers.append(self.clerk.seal(self._life.signer(who, message), message))
            if isinstance(message, Reserve) and rng.random() < self._hurry:
                offers += self._rest_of_round(view, who, message)
        for voter, motion in self._elections.due(view, height, time_ms):
            offers.append(self.clerk.seal(voter, motion))
        mishaps = incident(rng, self._life, view, height) if rng.random() < self._unrest else []
        for someone, message in mishaps:
            offers.append(self.clerk.seal(self._life.signer(someone, message), message))
        while rng.random() < self._hostility:
            offers.insert(rng.randint(0, len(offers)), self.attacker.transaction(view))
        return offers

    def _rest_of_round(self, view: View, who: Member, reserve: Reserve) -> list[bytes]:
        """What follows a reservation, before anybody knows whether training starts."""
        terms = TERMS_OF[reserve.task]
        commit = self._life.acts.commitment(terms, reserve.round, ROUNDS.at(view, (reserve.task, reserve.round)))
        return [self.clerk.seal(self._life.signer(who, commit), commit)]
