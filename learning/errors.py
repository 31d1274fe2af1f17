"""The root of what this package refuses. Each module declares its own refusals next to its rules."""

from typing import ClassVar


class LearningError(ValueError):
    """Data that a rule of this package refuses.

    `reason` is a fixed slug that programs may match on and that never changes meaning;
    `facts` holds the values the failed check compared (`limit=…, actual=…`).
    A wrong call (bad code rather than bad data) is a `TypeError` instead.
    """

    reason: ClassVar[str] = "refused"

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.facts = facts
