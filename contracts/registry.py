"""The tuple of contracts, and what must hold among them: tags, paths and codes are unique, dense and complete.

The order is the order of imports: a contract may use those above it. Adding a contract is its file and one line here.
"""

from typing import ClassVar

from . import contributions, governance, identity, membership, models, privacy_budget, reputation, rounds, validators
from .kernel import Contract, Message, replay
from .kernel.rules import Handler, refusals_of

CONTRACTS: tuple[Contract, ...] = (
    identity.CONTRACT,
    privacy_budget.CONTRACT,
    reputation.CONTRACT,
    rounds.CONTRACT,
    contributions.CONTRACT,
    models.CONTRACT,
    validators.CONTRACT,
    membership.CONTRACT,
    governance.CONTRACT,
)

# The authenticated stores, in the order of their roots, which is that of their age: new ones are appended, never
# inserted, wherever their contract stands among the imports.
STORES: tuple[str, ...] = (
    replay.SEEN.prefix.split("/")[0],
    "identity",
    "privacy_budget",
    "reputation",
    "rounds",
    "contributions",
    "models",
    "governance",
    "validators",
    "membership",
)

HANDLERS: dict[type[Message], Handler] = {
    message: handler for contract in CONTRACTS for message, handler in contract.handlers.items()
}


class RegistryInconsistent(RuntimeError):
    """Two contracts claim the same thing, or one forgot to declare something."""

    kind: ClassVar[str] = "bug"


def check() -> None:
    """Hold the declarations to each other. Runs at import; raises RegistryInconsistent."""
    _check_paths()
    _check_codes()
    undeclared = [tag for tag, message in Message.by_tag.items() if message not in HANDLERS]
    if undeclared:
        raise RegistryInconsistent(f"messages without a handler: {undeclared}")
    _check_stores()


def _check_stores() -> None:
    if sorted(STORES[1:]) != sorted(contract.name for contract in CONTRACTS):
        raise RegistryInconsistent(f"the stores {STORES[1:]} are not those of the contracts")


def _check_paths() -> None:
    paths = [item.prefix for contract in CONTRACTS for item in contract.state]
    if len(paths) != len(dict.fromkeys(paths)):
        raise RegistryInconsistent("a state path is declared twice")
    for contract in CONTRACTS:
        strangers = [item.prefix for item in contract.state if item.prefix.split("/")[0] != contract.name]
        if strangers:
            raise RegistryInconsistent(f"{contract.name} declares paths outside its store: {strangers}")


def _check_codes() -> None:
    for contract in CONTRACTS:
        codes = [refusal.code for refusal in contract.refusals()]
        first = contract.number * 100 + 1
        if codes != list(range(first, first + len(codes))):
            raise RegistryInconsistent(f"{contract.name}: codes {codes} are not dense from {first}")


def kernel_refusals() -> tuple[type, ...]:
    """The refusals that belong to no contract: what ``transition`` itself says."""
    return refusals_of("contracts.transition")


check()
