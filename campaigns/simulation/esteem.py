"""Reputation, counted a second time: in floating point, from the verdicts that were announced.

What the ledger says of a score must be within ``TOLERANCE`` of this; whom it turns away for its reputation, and whom it
does not, must be right wherever that is not too close to tell. What an act earned is remembered with its key and place,
and taken back when its organisation reports that key as stolen before it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from contracts.kernel import Place
from contracts.reputation import MERITS_KEPT, Verdict

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


@dataclass(frozen=True)
class Merit:
    """What an act earned, and when."""

    signer: bytes
    place: Place
    gain: float
    at_ms: int


class Esteem:
    """Every organisation's score, its time, and the last five verdicts on its updates."""

    def __init__(self) -> None:
        self._scores: dict[str, tuple[float, int]] = {}
        self._flags: dict[str, list[bool]] = {}
        self._merits: dict[str, list[Merit]] = {}

    def at(self, organisation: str, block: Block) -> float:
        """The score as of a block."""
        score, when = self._scores.get(organisation, (0.0, block.time_ms))
        return float(score * 0.5 ** ((block.time_ms - when) / WEEK_MS))

    def judge(
        self, organisation: str, verdict: Verdict, act: tuple[bytes, Place] | None, announced: int, block: Block
    ) -> bool:
        """A verdict on an act, and the score that was announced with it. Returns whether that is merit to remember.

        Raises Violation where they disagree.
        """
        flags = self._flags.setdefault(organisation, [])
        if verdict in (Verdict.ACCEPTED, Verdict.FILTERED):
            flags.append(verdict is Verdict.FILTERED)
        harmless = verdict is Verdict.FILTERED and sum(flags[-5:]) < 2
        before = self.at(organisation, block)
        score = min(1e6, max(-1e6, before + (0 if harmless else WORTH[verdict])))
        self._scores[organisation] = (score, block.time_ms)
        if abs(score - announced) > TOLERANCE:
            raise Violation("reputation", f"{organisation}: {announced} after {verdict}, should be {score:.0f}")
        if act is None or score - before < 1:
            return False
        kept = [*self._merits.get(organisation, []), Merit(*act, score - before, block.time_ms)]
        self._merits[organisation] = kept[-MERITS_KEPT:]
        return True

    def disown(
        self, organisation: str, live: Callable[[bytes, Place], bool], announced: list[int], block: Block
    ) -> None:
        """Keys were reported as stolen: what they earned since then is taken back. Raises Violation."""
        merits = self._merits.get(organisation, [])
        taken = [one for one in merits if not live(one.signer, one.place)]
        if len(announced) != bool(taken):
            raise Violation("disowned merit", f"{organisation}: {announced} is said of {len(taken)} disowned acts")
        if not taken:
            return
        self._merits[organisation] = [one for one in merits if one not in taken]
        owed = sum(one.gain * 0.5 ** ((block.time_ms - one.at_ms) / WEEK_MS) for one in taken)
        score = max(-1e6, self.at(organisation, block) - owed)
        self._scores[organisation] = (score, block.time_ms)
        if abs(score - announced[0]) > TOLERANCE + len(taken):
            raise Violation("disowned merit", f"{organisation}: {announced[0]} is left, should be {score:.0f}")

    def require_trusted(self, organisation: str, least: int, block: Block) -> None:
        """It did what only the trusted may. Raises Violation."""
        if self.at(organisation, block) < least - TOLERANCE:
            raise Violation("conduct", f"{organisation} acts at {self.at(organisation, block):.0f}, below {least}")

    def require_distrusted(self, organisation: str, least: int, block: Block) -> None:
        """It was turned away for its reputation. Raises Violation."""
        if self.at(organisation, block) > least + TOLERANCE:
            raise Violation("conduct", f"{organisation} is turned away at {self.at(organisation, block):.0f}")
