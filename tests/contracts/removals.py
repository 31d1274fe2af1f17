"""Taking a rule away for a moment, and the claim that must then fail: what ``test_each_*_matters`` are made of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import InternalError
from campaigns.harness.consortium import HOSPITAL_A
from contracts.governance import Action, Propose
from contracts.kernel import Rejected

Claim = Callable[[], None]
Removal = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Rule:
    """One rule, how to take it away, and the claim that holds it."""

    name: str
    remove: Removal
    claim: Claim


def require_falls(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim holds with the rule, and falls without it."""
    rule.claim()
    with monkeypatch.context() as patch:
        rule.remove(patch)
        with pytest.raises((AssertionError, Rejected)) as fallen:
            rule.claim()
    assert not isinstance(fallen.value, InternalError), "the rule broke, it did not go"


def instead(owner: Any, name: str, with_: Any) -> Removal:
    """Put something else in a rule's place."""
    return lambda patch: patch.setattr(owner, name, with_)


def without(refusal: type[Rejected], contract: Any) -> Removal:
    """Nothing that a contract decides is refused for this."""
    require = contract.require

    def lenient(condition: bool, refused: Callable[[], Rejected]) -> None:
        if condition or not isinstance(refused(), refusal):
            require(condition, refused)

    return instead(contract, "require", lenient)


def refusing(refusal: type[Rejected], action: Action) -> Claim:
    """The claim that a proposal is refused like this among seven members of whom four run a validator."""

    def claim() -> None:
        consortium.founded().refused(refusal, HOSPITAL_A, Propose(action))

    return claim


def always(value: Any) -> Callable[..., Any]:
    return lambda *_, **__: value
