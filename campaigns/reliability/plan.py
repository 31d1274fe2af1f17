"""Who is killed, and when: fifty deaths, or any number, that follow from a seed alone.

The moments are relative to what a node is doing, so a seed gives the same plan on every machine and never the same
interleaving: real processes are not replayed, the seeded simulation is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle, islice
from random import Random

from .relay import Moment


class Victim(StrEnum):
    """What dies at once."""

    APPLICATION = "application"
    NODE = "CometBFT"
    BOTH = "both of a validator"
    TWO = "two validators"
    ALL = "all four validators"


class Phase(StrEnum):
    """What the first victim is doing when it dies."""

    ANY = "any moment"  # Within two block intervals, whatever it does then.
    PROPOSED = "proposal made"  # PrepareProposal is answered, and nobody has seen the proposal.
    JUDGED = "proposal judged"  # ProcessProposal is answered, the vote is not sent.
    EXECUTING = "executing"  # Somewhere within FinalizeBlock.
    EXECUTED = "executed"  # FinalizeBlock is answered, and CometBFT does not know it.
    COMMITTING = "committing"  # Somewhere within Commit.
    COMMITTED = "committed"  # Commit is answered, and CometBFT does not know it.
    STARTING = "starting again"  # Twice: at any moment, and again while it starts.


MOMENT_OF = {
    Phase.PROPOSED: Moment("prepare_proposal", answered=True),
    Phase.JUDGED: Moment("process_proposal", answered=True),
    Phase.EXECUTING: Moment("finalize_block", answered=False),
    Phase.EXECUTED: Moment("finalize_block", answered=True),
    Phase.COMMITTING: Moment("commit", answered=False),
    Phase.COMMITTED: Moment("commit", answered=True),
}
WITHIN = {Phase.EXECUTING: "finalize_block", Phase.COMMITTING: "commit"}
"""The calls in whose middle a victim dies."""

# The first four are one of each, for the short run of CI. Of twenty-five: ten applications, eight nodes, four of
# both, two pairs of validators, and everybody once.
_VICTIMS = (
    *(Victim.APPLICATION, Victim.NODE, Victim.BOTH, Victim.TWO),
    *(Victim.APPLICATION, Victim.NODE) * 3,
    *(Victim.APPLICATION, Victim.BOTH, Victim.NODE, Victim.ALL),
    *(Victim.APPLICATION, Victim.NODE) * 3,
    *(Victim.TWO, Victim.BOTH, Victim.APPLICATION, Victim.APPLICATION, Victim.BOTH),
)
LONG_HOLD = 4.0  # Seconds: longer than the rounds that three of four lose to a missing proposer.
_PHASES = (*(phase for phase in Phase if phase is not Phase.ANY), Phase.ANY, Phase.ANY, Phase.ANY)
_HOLDS = (0.0, 0.0, 1.0, LONG_HOLD)  # Seconds before anybody notices and restarts what died.
_HOLD_TOGETHER = 2.0  # Long enough to see that nothing is decided meanwhile.
INTERVALS = 2.0


@dataclass(frozen=True)
class Death:
    """One entry of a plan. ``validators`` count from 0; the first is the one that is aimed at."""

    number: int
    victim: Victim
    validators: tuple[int, ...]
    phase: Phase
    fraction: float
    """Where within the phase, from 0 to 1."""
    hold: float
    """Seconds until what died is started again."""

    @property
    def stops_the_chain(self) -> bool:
        """Whether less than two thirds of the power are left."""
        return len(self.validators) > 1


def deaths(
    count: int, seed: int, *, victim: Victim | None = None, phase: Phase | None = None, validators: int = 4
) -> Iterator[Death]:
    """A plan of so many deaths; all of one kind of victim or in one phase, if one is named."""
    rng = Random(f"{seed} kills")
    victims = list(islice(cycle(_VICTIMS if victim is None else (victim,)), count))
    phases = list(islice(cycle(_PHASES if phase is None else (phase,)), count))
    rng.shuffle(victims)
    rng.shuffle(phases)
    for number, (who, when) in enumerate(zip(victims, phases, strict=True), 1):
        how_many = {Victim.TWO: 2, Victim.ALL: validators}.get(who, 1)
        chosen = tuple(rng.sample(range(validators), how_many))
        hold = _HOLD_TOGETHER if how_many > 1 else rng.choice(_HOLDS)
        yield Death(number, who, chosen, when, rng.random(), hold)
