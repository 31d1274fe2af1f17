"""The aggregator: opens and closes rounds, proposes the recomputed candidate, in its turn.

A shell around ``round.next_command``. It keeps no state of its own that matters: killed and started again, it looks at
the ledger and goes on. What it proposes, every verifier recomputes.
"""

import logging
from collections.abc import Callable

from client_sdk.client import NotDecided
from contracts.kernel import Rejected
from contracts.lineage import Candidate
from contracts.models import ProposeVersion
from contracts.rounds import CloseRound, OpenRound, TooFewEligible, require_aggregator

from ..rounds.gather import Gatherer
from ..rounds.observe import PASSING, is_over, on_blocks
from ..rounds.recompute import NothingToPropose, Recomputed
from ..rounds.round import Command, Observation, next_command

_log = logging.getLogger(__name__)
Forge = Callable[[Candidate], Candidate]
Say = Callable[[str], None]


class Aggregator:
    """Runs one task's rounds for one organisation until its terms allow no more.

    ``pause`` asks, before each opening, whether to wait (so that an operator can hold the next round back).
    ``forge`` changes a candidate before it is proposed: for attack experiments. Raises NotYourTask for an organisation
    that the terms do not name as an aggregator.
    """

    def __init__(
        self,
        gatherer: Gatherer,
        organisation: str,
        *,
        say: Say = _log.info,
        pause: Callable[[], bool] = lambda: False,
        forge: Forge | None = None,
    ) -> None:
        require_aggregator(gatherer.task.terms, organisation)
        self._gatherer = gatherer
        self._client = gatherer.client
        self._task = gatherer.task
        self._organisation = organisation
        self._say = say
        self._pause = pause
        self._forge = forge
        self._hopeless: set[int] = set()  # Rounds with too few good payloads: they pass.

    async def run(self) -> None:
        """Act on every block until the task is finished. Raises UnknownTask, and NodeUnavailable if no node answers."""
        async for seen in on_blocks(self._client, self._task, self._organisation):
            command = next_command(seen)
            try:
                if command is Command.STOP and await is_over(self._client, self._task):  # Not by a node's word.
                    self._say(f"task {self._task.name} has had all its rounds")
                    return
                await self.act(command, seen)
            except (Rejected, NotDecided) as refusal:
                # Somebody else was first, or a deadline passed meanwhile: the next block shows what is left to do.
                _log.info("%s was refused: %s", command, refusal)
            except PASSING as error:
                _log.warning("%s failed, trying again: %s", command, error)

    async def act(self, command: Command, seen: Observation) -> None:
        """Carry out one command. Raises the ledger's refusals, NotDecided, and what ``observe.PASSING`` lists."""
        number = seen.task.rounds
        if command is Command.OPEN and not self._pause():
            await self._open(number + 1)
        elif command is Command.CLOSE:
            await self._client.submit(CloseRound(self._task.name, number))
            self._say(f"closed round {number}")
        elif command is Command.PROPOSE and number not in self._hopeless:
            await self._propose(number, seen)

    async def _open(self, number: int) -> None:
        try:
            await self._client.submit(OpenRound(self._task.name))
        except TooFewEligible as refusal:
            _log.debug("waiting for participants: %s", refusal)
            return
        self._say(f"opened round {number}")

    async def _propose(self, number: int, seen: Observation) -> None:
        if seen.last is None:
            return
        try:
            made = await self._gatherer.recompute(number)
        except NothingToPropose as error:
            self._hopeless.add(number)
            self._say(f"nothing to propose in round {number}: {error}")
            return
        candidate = await self._published(made)
        await self._client.submit(ProposeVersion(candidate))
        self._say(f"proposed a version for round {number}")

    async def _published(self, made: Recomputed) -> Candidate:
        """Serve the version's bytes before anybody votes on them."""
        await self._gatherer.store.put(made.model)
        return made.candidate if self._forge is None else self._forge(made.candidate)
