"""The aggregator: opens rounds, and writes down that a phase is over, in its turn.

A shell around ``round.to_lead``. It decides nothing: what a round comes to, the verifiers' ballots say; every
aggregator of the terms is one of them, and runs a verifier too. It keeps no state that matters: killed and started
again, it looks at the ledger and goes on.
"""

import logging
from collections.abc import Callable

from client_sdk.client import NotDecided
from contracts.ballots import AdvanceRound
from contracts.kernel import Rejected
from contracts.rounds import OpenRound
from contracts.tasks import require_aggregator

from ..rounds.gather import Gatherer
from ..rounds.observe import PASSING, is_finished, on_blocks
from ..rounds.round import Command, Observation, to_lead

_log = logging.getLogger(__name__)
Say = Callable[[str], None]


class Aggregator:
    """Runs one task's rounds for one organisation until its terms allow no more.

    ``pause`` asks, before each opening, whether to wait (so that an operator can hold the next round back). Raises
    NotYourTask for an organisation that the terms do not name as an aggregator.
    """

    def __init__(
        self,
        gatherer: Gatherer,
        organisation: str,
        *,
        say: Say = _log.info,
        pause: Callable[[], bool] = lambda: False,
    ) -> None:
        require_aggregator(gatherer.task.terms, organisation)
        self._client = gatherer.client
        self._task = gatherer.task
        self._organisation = organisation
        self._say = say
        self._pause = pause

    async def run(self) -> None:
        """Act on every block until the task is finished. Raises UnknownTask, and NodeUnavailable if no node answers."""
        async for seen in on_blocks(self._client, self._task, self._organisation):
            command = to_lead(seen)
            try:
                if command is Command.STOP and await is_finished(self._client, self._task):  # Not by a node's word.
                    self._say(f"task {self._task.name} has had all its rounds")
                    return
                await self.act(command, seen)
            except (Rejected, NotDecided) as refusal:
                # Somebody else was first, or could be: the next block shows what is left to do.
                _log.info("%s was refused: %s", command, refusal)
            except PASSING as error:
                _log.warning("%s failed, trying again: %s", command, error)

    async def act(self, command: Command, seen: Observation) -> None:
        """Carry out one command. Raises the ledger's refusals, NotDecided, and what ``observe.PASSING`` lists."""
        number = seen.task.rounds
        if command is Command.OPEN and not self._pause():
            await self._client.submit(OpenRound(self._task.name))
            self._say(f"opened round {number + 1}")
        elif command is Command.ADVANCE and seen.last is not None:
            await self._client.submit(AdvanceRound(self._task.name, number))
            self._say(f"round {number}: {seen.last.phase} is over")
