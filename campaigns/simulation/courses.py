"""The rounds of all tasks, kept a second time: who takes part in a task, and the course of each of its rounds.

``course`` has the rules of one round; here are those between rounds: joining, leaving, opening the next one, and what
becomes of a round when the version it started from falls.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from contracts.contributions import Reserve
from contracts.rounds import OpenRound
from contracts.tasks import JoinTask, LeaveTask
from contracts.terms import Phase, Terms

from .agreement import Block, Violation
from .course import Course, Live, RoundMessage, Said, Signed


@dataclass
class Part:
    """An organisation's part in a task."""

    datasets: list[str]
    from_round: int
    left: bool = False


@dataclass
class Enterprise:
    """A task: its terms, the organisations by number, their parts, its rounds."""

    terms: Terms
    roster: dict[str, int] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    rounds: list[Course] = field(default_factory=list)

    @property
    def present(self) -> frozenset[str]:
        """Who has joined and not left."""
        return frozenset(name for name, part in self.parts.items() if not part.left)


class Courses:
    """Everything about rounds that accepted messages have led to."""

    def __init__(self, live: Live) -> None:
        self.tasks: dict[str, Enterprise] = {}
        self._live = live

    def __iter__(self) -> Iterator[Course]:
        return (course for task in self.tasks.values() for course in task.rounds)

    def of(self, task: str, number: int) -> Course:
        """The course of a round. Raises Violation for one that was never opened."""
        known = self.tasks.get(task)
        if known is None or not 0 < number <= len(known.rounds):
            raise Violation("phases", f"{task} {number}: nobody opened it")
        return known.rounds[number - 1]

    def bill(self, place: tuple[str, int], organisation: str, block: Block) -> str:
        """What a round means for the price of an organisation's seat: ``held``, ``spent`` or ``free``."""
        return self.of(*place).bill(organisation, block)

    def enter(self, message: RoundMessage, organisation: str, signed: Signed, block: Block) -> Course:
        """An accepted message about a round, which is returned. Raises Violation."""
        course = self.of(message.task, message.round)
        if isinstance(message, Reserve):
            self._require_part(course, organisation, message.dataset)
        course.enter(message, organisation, signed, block)
        return course

    def would_accept(self, message: RoundMessage, block: Block) -> bool:
        """Whether the round of a message is in the phase for it."""
        return self.of(message.task, message.round).would_accept(message, block)

    def join(self, message: JoinTask, organisation: str) -> None:
        """An accepted consent: the first one gives the organisation its number, for good."""
        task = self.tasks[message.task]
        part = task.parts.get(organisation)
        if part is None:
            task.roster[organisation] = len(task.roster)
        if part is None or part.left:
            task.parts[organisation] = Part([message.dataset], len(task.rounds) + 1)
        else:
            part.datasets.append(message.dataset)

    def leave(self, message: LeaveTask, organisation: str) -> None:
        """An accepted withdrawal of consent."""
        self.tasks[message.task].parts[organisation].left = True

    def open(self, message: OpenRound, base: int, block: Block) -> Course:
        """An accepted opening. Raises Violation when the round before is not over."""
        task = self.tasks[message.task]
        if task.rounds:
            last = task.rounds[-1]
            if last.phase in (Phase.RESERVING, Phase.COMMITTING):
                last.catch_up(block)
            if not last.is_over:
                raise Violation("phases", f"{last.name}: the next round was opened in {last.phase}")
        course = Course(task.terms, len(task.rounds) + 1, base, task.present, task.roster, self._live)
        course.begin(Phase.RESERVING, block)
        task.rounds.append(course)
        return course

    def disown(self, organisation: str, block: Block) -> None:
        """A key of an organisation was reported stolen."""
        for course in self:
            course.disown(organisation, block)

    def fall(self, task: str, block: Block) -> list[Said]:
        """The current version fell: a round under way from it is void. Returns what is said of whom for that."""
        last = self.tasks[task].rounds[-1:]
        if not last or last[0].is_over:
            return []
        last[0].stop(block)
        return last[0].verdicts

    def _require_part(self, course: Course, organisation: str, dataset: str) -> None:
        part = self.tasks[course.terms.task].parts.get(organisation)
        consents = part is not None and not part.left and dataset in part.datasets and part.from_round <= course.number
        if not consents:
            raise Violation("conduct", f"{course.name}: {organisation} has a seat and has not joined, or has left")
