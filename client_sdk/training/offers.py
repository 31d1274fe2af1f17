"""Which rounds have something left to do for a dataset, as they come: what a participant listens to.

By one node's word, which is enough to look at a round: what is done about one is proved (``participant``).
"""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from contracts import contributions, rounds, tasks
from contracts.rounds import Round
from contracts.tasks import UnknownTask
from contracts.terms import Phase

from ..client import LedgerClient
from ..light import CannotVerify, TrustExpired, VerificationFailed
from ..rpc import AnswerMalformed, RpcError
from .journal import Journal
from .task import TaskView

PASSING = (RpcError, AnswerMalformed, VerificationFailed, CannotVerify, UnknownTask)
"""What is wrong with a node, and not with the ledger: another one, or the same one later, may do better."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Offers:
    """Looks at one task for one dataset."""

    client: LedgerClient
    journal: Journal
    organisation: str
    dataset: str
    task: TaskView

    async def rounds(self) -> AsyncGenerator[int, None]:
        """The numbers of rounds in which this dataset has something left to do, as they come, until there are none.

        Begins with the rounds that the journal holds something of, then the current one, so that a restart resumes
        them. Each is told once. Goes on when nodes do not answer for a while, or not with the truth.
        Raises TrustExpired.
        """
        done = 0
        for left in self.journal.rounds(self.task.name, self.dataset):
            done = left
            yield left
        async with aclosing(self.client.rpc.heads.latest()) as heights:
            async for _ in heights:
                try:
                    number, has_work = await self._looked(done)
                    if has_work:
                        yield number
                    done = number
                    if done >= self.task.terms.max_rounds:
                        if await self._all_opened():
                            return
                        done = 0  # A node made the rounds up: look again.
                except TrustExpired:
                    raise
                except PASSING as error:
                    _log.warning("cannot look at the ledger, trying again: %s", error)

    async def _looked(self, done: int) -> tuple[int, bool]:
        """Up to which round nothing is left to look at, by a node's word, and whether that one has work for us."""
        task = await self.client.peek(tasks.TASKS, self.task.name)
        number = task.rounds if task else 0
        current = await self._peek(number) if number > done else None
        if current is None:
            return done, False
        if current.phase in rounds.OVER:
            return number, False
        if await self._has_work(number, current):
            return number, True
        return (done if current.phase is Phase.RESERVING else number), False

    async def _has_work(self, number: int, current: Round) -> bool:
        """Whether a round under way has a seat for this dataset that is ours, or can be taken."""
        seat = await self.client.peek(contributions.SEATS, (self.task.name, number, self.organisation))
        if seat is not None:
            return seat.dataset == self.dataset and (
                current.phase in (Phase.RESERVING, Phase.COMMITTING) or self._is_journalled(number)
            )
        part = await self.client.peek(tasks.PARTICIPATIONS, (self.task.name, self.organisation))
        joined = part is not None and not part.left and part.from_round <= number and self.dataset in part.datasets
        status = await self.client.rpc.status()
        over = rounds.is_over(current, status.time_ns // 1_000_000, status.height + 1)
        return joined and current.phase is Phase.RESERVING and not over

    def _is_journalled(self, number: int) -> bool:
        return number in self.journal.rounds(self.task.name, self.dataset)

    async def _all_opened(self) -> bool:
        """Whether the ledger proves that the task has opened all its rounds: a node's word would make us deaf."""
        task = await self.client.ask(lambda view: tasks.require_task(view, self.task.name))
        return task.trained >= self.task.terms.max_rounds

    async def _peek(self, number: int) -> Round | None:
        return await self.client.peek(rounds.ROUNDS, (self.task.name, number))
