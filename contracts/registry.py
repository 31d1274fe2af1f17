"""The contracts, and the versions of the rules that are made of them.

The order is the order of imports: a contract may use those above it. Adding a contract is its file and one line here;
its number says where its store stands and which codes are its own. Once a version decides blocks somewhere it stays as
it is for good, and what comes later is a version that follows it (CONTRIBUTING.md).
"""

from typing import Final

from . import (
    ballots,
    contributions,
    governance,
    identity,
    membership,
    models,
    privacy_budget,
    reputation,
    rounds,
    thefts,
    upgrades,
    validators,
)
from .kernel import Contract
from .rulebook import Rulebook, Rules

CONTRACTS: Final[tuple[Contract, ...]] = (
    reputation.CONTRACT,
    identity.CONTRACT,
    rounds.CONTRACT,
    privacy_budget.CONTRACT,
    contributions.CONTRACT,
    thefts.CONTRACT,
    models.CONTRACT,
    ballots.CONTRACT,
    validators.CONTRACT,
    upgrades.CONTRACT,
    membership.CONTRACT,
    governance.CONTRACT,
)

RULES: Final = Rulebook(Rules.first(CONTRACTS))
