"""The root of what this package refuses. Each module declares its own refusals next to its rules."""

from typing import ClassVar


class LearningError(ValueError):
    """Data that a rule of this package refuses.

    `reason` is a fixed slug that programs may match on and that never changes meaning;
    `facts` holds the values the failed check compared (`limit=…, actual=…`);
    `hint` says what to do next, and stands in every traceback.
    A wrong call (bad code rather than bad data) is a `TypeError` instead.
    """

    kind: ClassVar[str] = "refused"
    hint: ClassVar[str] = "Compare your records and your model with 'fedledger task show'."
    reason: ClassVar[str] = "refused"

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.facts = facts
        self.add_note(f"What to do: {self.hint}")
