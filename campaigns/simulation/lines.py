"""The versions of a model, kept a second time: parents, scores, what stands and what fell.

Here the gate looks at every version that was promoted and has not fallen, and a fall at every version in turn; the
ledger remembers one best version and walks jump pointers.
"""

from dataclasses import dataclass, field

from contracts.lineage import VersionDecided, VersionStatus
from contracts.models import RaiseAlarm
from contracts.terms import Terms

from .agreement import Violation
from .course import Course, Decision, Live, Signed

STANDING = VersionStatus.PROMOTED  # Of the current version and its ancestors, while none of them has fallen.


@dataclass
class Entry:
    """A version: where it came from, how it scored, whether it fell, and whether along with one further up."""

    parent: int
    correct: int
    digest: bytes
    status: VersionStatus
    along: bool = False


@dataclass
class Line:
    """A model. ``alarms`` has who raised one on which version, with the key and the place of each."""

    terms: Terms
    versions: list[Entry] = field(default_factory=list)
    current: int = 0
    alarms: dict[int, dict[str, Signed]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.versions.append(Entry(0, 0, self.terms.initial.digest, STANDING))

    def status(self, number: int) -> VersionStatus:
        """Where a version stands."""
        status = self.versions[number].status
        return VersionStatus.SUPERSEDED if status is STANDING and number != self.current else status

    def best(self) -> int:
        """The best score among the versions that were promoted and have not fallen."""
        return max(entry.correct for entry in self.versions if entry.status is STANDING)

    def decide(self, course: Course, decision: Decision) -> tuple[int, VersionStatus]:
        """A new version, promoted if it is at most the margin below the best one."""
        below, total = self.best() - decision.correct, self.terms.canary_records
        passes = below * 1_000_000 <= self.terms.canary_margin_ppm * total
        status = STANDING if passes else VersionStatus.FAILED_CANARY
        self.versions.append(Entry(course.base, decision.correct, decision.digest, status))
        number = len(self.versions) - 1
        if passes:
            self.current = number
        return number, status

    def alarm(self, message: RaiseAlarm, organisation: str, signed: Signed) -> None:
        """An accepted alarm. An organisation's newest one counts."""
        self.alarms.setdefault(message.version, {})[organisation] = signed

    def fall(self, event: VersionDecided, live: Live) -> None:
        """A version of the line falls, with all that descends from it. Raises Violation when it may not.

        What fell along with one before stands where this one does from now on: it is further up. What was marked stays.
        """
        name, number = self.terms.model, event.version
        if number == 0 or number not in self._ancestry(self.current):
            raise Violation("rollback", f"{name} {number} falls and is not in the line of {self.current}")
        if event.status is VersionStatus.QUARANTINED:
            good = [one for one in self.alarms.get(number, {}).values() if live(*one)]
            if 3 * len(good) <= 2 * len(self.terms.verifiers):
                raise Violation("alarms", f"{name} {number} is quarantined by {len(good)} good alarms")
        fallen = [one for one in range(len(self.versions)) if number in self._ancestry(one)]
        for one in fallen:
            entry = self.versions[one]
            if entry.status is STANDING or entry.along:
                entry.status, entry.along = event.status, one != number
        self.current = self.versions[number].parent

    def restore(self, event: VersionDecided) -> None:
        """The version that a fall leads back to. Raises Violation for another one."""
        if event.version != self.current or self.versions[event.version].status is not STANDING:
            raise Violation("rollback", f"{self.terms.model} {event.version} is restored, should be {self.current}")

    def _ancestry(self, number: int) -> list[int]:
        """A version and its ancestors, back to the first."""
        line = [number]
        while line[-1]:
            line.append(self.versions[line[-1]].parent)
        return line
