"""Reputation, counted a second time: in floating point, from the verdicts that were announced.

What the ledger says of a score must be within ``TOLERANCE`` of this; whom it turns away for its reputation, and whom it
does not, must be right wherever that is not too close to tell.
"""

from contracts.reputation import Verdict

from .agreement import Block, Violation

WEEK_MS = 7 * 24 * 3600 * 1000  # In which half of it is forgotten.
TOLERANCE = 20  # Millionths.
WORTH = {
    Verdict.ACCEPTED: 50_000,
    Verdict.FILTERED: -100_000,
    Verdict.REFUSED: -400_000,
    Verdict.MISSING: -200_000,
    Verdict.CONFIRMED: 10_000,
    Verdict.CONTRADICTED: -500_000,
    Verdict.UNOPENED: -200_000,
}


class Esteem:
    """Every organisation's score, its time, and the last five verdicts on its updates."""

    def __init__(self) -> None:
        self._scores: dict[str, tuple[float, int]] = {}
        self._flags: dict[str, list[bool]] = {}

    def at(self, organisation: str, block: Block) -> float:
        """The score as of a block."""
        score, when = self._scores.get(organisation, (0.0, block.time_ms))
        return float(score * 0.5 ** ((block.time_ms - when) / WEEK_MS))

    def judge(self, organisation: str, verdict: Verdict, announced: int, block: Block) -> None:
        """A verdict, and the score that was announced with it. Raises Violation where they disagree."""
        flags = self._flags.setdefault(organisation, [])
        if verdict in (Verdict.ACCEPTED, Verdict.FILTERED):
            flags.append(verdict is Verdict.FILTERED)
        harmless = verdict is Verdict.FILTERED and sum(flags[-5:]) < 2
        score = self.at(organisation, block) + (0 if harmless else WORTH[verdict])
        score = min(1e6, max(-1e6, score))
        self._scores[organisation] = (score, block.time_ms)
        if abs(score - announced) > TOLERANCE:
            raise Violation("reputation", f"{organisation}: {announced} after {verdict}, should be {score:.0f}")

    def require_trusted(self, organisation: str, least: int, block: Block) -> None:
        """It did what only the trusted may. Raises Violation."""
        if self.at(organisation, block) < least - TOLERANCE:
            raise Violation("conduct", f"{organisation} acts at {self.at(organisation, block):.0f}, below {least}")

    def require_distrusted(self, organisation: str, least: int, block: Block) -> None:
        """It was turned away for its reputation. Raises Violation."""
        if self.at(organisation, block) > least + TOLERANCE:
            raise Violation("conduct", f"{organisation} is turned away at {self.at(organisation, block):.0f}")
