"""What a siege counts, and what it holds against the ledger."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from abci_app.pool.shares import ALLOWANCES, POOL_SHARE_FULL

from .kinds import Attack, Kind

FAULTS_MAX = 50
IN_CACHE = "in the node's cache"
BY_THE_NODE = "by the node"
_SMALLEST_SHARE = min(allowance.size for allowance in ALLOWANCES.values())


@dataclass
class Tally:
    """Attacks by kind and by what became of them: a code, or a refusal before the application."""

    outcomes: dict[Kind, Counter[str]] = field(default_factory=lambda: {kind: Counter() for kind in Kind})
    faults: list[str] = field(default_factory=list)

    @property
    def attacks(self) -> int:
        """How many were made."""
        return sum(counter.total() for counter in self.outcomes.values())

    def refused(self, attack: Attack, code: int, data: bytes, log: str) -> None:
        """The application's word on an attack. A fault unless it is the right reason, and says more than its code."""
        self.outcomes[attack.kind][str(code)] += 1
        if code == POOL_SHARE_FULL and len(attack.raw) > _SMALLEST_SHARE:
            return  # The node's own refusal, before anything is verified: it says that it is one of size.
        if not attack.is_right(code):
            self.fault(f"{attack.kind}: code {code} {log}: {attack.raw.hex()[:400]}")
        elif not data or not log:
            self.fault(f"{attack.kind}: code {code} without facts: {attack.raw.hex()[:400]}")

    def turned_away(self, attack: Attack, by: str) -> None:
        """A refusal by CometBFT itself."""
        self.outcomes[attack.kind][by] += 1

    def fault(self, what: str) -> None:
        """Something that must not be."""
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(what)

    def add(self, other: "Tally") -> None:
        """Take in what another process counted."""
        for kind, counter in other.outcomes.items():
            self.outcomes[kind].update(counter)
        self.faults += other.faults

    def described(self) -> dict[str, Any]:
        """For a report."""
        return {
            "attacks": self.attacks,
            "outcomes": {str(kind): dict(sorted(counts.items())) for kind, counts in self.outcomes.items() if counts},
            "faults": self.faults,
        }
