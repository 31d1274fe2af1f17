"""The registry: what must hold among the contracts, and that a slip is noticed when the process starts."""

import inspect
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts import identity, registry, transition
from contracts.kernel import Event, Lane, Map, Message, Record, Rejected, codec, limits
from contracts.kernel.merkle import split_path
from contracts.kernel.types import Purpose
from contracts.registry import CONTRACTS, HANDLERS, STORES, RegistryInconsistent
from tests.vectors_io import FOLDER

REFUSALS = list(Rejected.by_code.values())


def test_the_declarations_hold_together() -> None:
    registry.check()


def test_the_stores_are_the_replay_marks_and_the_contracts_in_their_order() -> None:
    """The order of the stores is part of every application hash: it may grow at the end and never change."""
    assert STORES == (
        "replay",
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


def test_every_message_has_one_handler_and_every_handler_a_message() -> None:
    assert sorted(message.tag for message in HANDLERS) == sorted(Message.by_tag)


def test_every_refusal_belongs_to_a_contract_or_to_the_transition() -> None:
    owned = [refusal for contract in CONTRACTS for refusal in contract.refusals()]
    assert {*owned, *registry.kernel_refusals()} == {*REFUSALS}


def test_every_event_belongs_to_a_contract() -> None:
    assert {event for contract in CONTRACTS for event in contract.events()} == {*Event.by_tag.values()}


def test_code_1_is_nobody_s_and_0_means_accepted() -> None:
    assert {0, transition.INTERNAL_ERROR}.isdisjoint(Rejected.by_code)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.__name__)
def test_every_refusal_says_what_it_means_and_what_to_do(refusal: type[Rejected]) -> None:
    assert refusal.meaning().endswith(".")
    assert refusal.hint.endswith(".")
    assert refusal.hint.isascii()


@pytest.mark.parametrize("message", HANDLERS, ids=lambda message: message.tag)
def test_every_message_and_its_handler_are_documented(message: type[Message]) -> None:
    assert inspect.getdoc(message)
    handler = HANDLERS[message]
    documented = inspect.getdoc(handler) or ""
    assert "Rejects:" in documented
    assert refusals_named(message) or message.tag == "governance/propose"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*/*.json")), ids=lambda path: path.stem)
def test_a_refusal_that_a_vector_shows_is_documented_at_its_handler(path: Path) -> None:
    """So that the lists in docs/protocol.md are true. Proposing documents that it refuses what applying would."""
    shown = json.loads(path.read_text())
    if shown.get("code", 0) > 100 and shown["message"] and shown["message"]["type"] != "governance/propose":
        message = Message.by_tag[shown["message"]["type"]]
        before_dispatch = (identity.UnknownKey.code, identity.KeyIsRevoked.code, identity.MemberInactive.code)
        assert shown["refusal"] in refusals_named(message) or shown["code"] in before_dispatch


def refusals_named(message: type[Message]) -> list[str]:
    """The refusals that a handler's docstring lists; each must exist."""
    listed = (inspect.getdoc(HANDLERS[message]) or "").partition("Rejects:")[2].partition("\n\n")[0]
    named = re.findall(r"\b[A-Z][A-Za-z]+", listed)
    names = [refusal.__name__ for refusal in REFUSALS]
    assert all(name in names for name in named), named
    return named


def test_a_code_that_is_not_dense_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "CONTRACTS", (replace(identity.CONTRACT, number=2),))
    with pytest.raises(RegistryInconsistent, match="not dense"):
        registry.check()


def test_a_path_outside_its_contract_s_store_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    stray = replace(identity.CONTRACT, state=(*identity.CONTRACT.state, Map("models/stray", identity.Key, "key")))
    monkeypatch.setattr(registry, "CONTRACTS", (stray,))
    with pytest.raises(RegistryInconsistent, match="outside its store"):
        registry.check()


def test_a_path_declared_twice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "CONTRACTS", (identity.CONTRACT, identity.CONTRACT))
    with pytest.raises(RegistryInconsistent, match="twice"):
        registry.check()


def test_a_message_without_a_handler_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Message.by_tag, "identity/forgotten", identity.AddKey)
    monkeypatch.delitem(registry.HANDLERS, identity.AddKey)
    with pytest.raises(RegistryInconsistent, match="identity/add-key"):
        registry.check()


def test_a_code_or_a_tag_cannot_be_given_twice() -> None:
    with pytest.raises(TypeError, match="taken"):
        type("Again", (Rejected,), {"__doc__": "x"}, code=identity.UnknownKey.code, hint="x.")
    with pytest.raises(TypeError, match="taken"):
        type("AddKey", (Message,), {"__module__": "contracts.identity"}, purpose=Purpose.HUMAN, lane=Lane.ROUND)
    with pytest.raises(TypeError, match="taken"):
        type("KeyAdded", (Event,), {"__module__": "contracts.identity"})


def test_a_refusal_without_a_docstring_is_no_refusal() -> None:
    with pytest.raises(TypeError, match="docstring"):
        type("Silent", (Rejected,), {}, code=99_999, hint="x.")
    assert 99_999 not in Rejected.by_code


def test_every_state_path_can_be_committed_and_queried() -> None:
    for contract in CONTRACTS:
        for item in contract.state:
            store, _ = split_path(item.path(("x",) * len(item.key_names)))
            assert store == contract.name


def test_the_longest_path_of_every_map_fits_the_store() -> None:
    longest: dict[str, Any] = {"round": 10**9, "version": 10**9, "number": 2**62, "public key": bytes(32)}
    for contract in CONTRACTS:
        for item in contract.state:
            item.path(tuple(longest.get(name, "x" * limits.NAME_CHARS) for name in item.key_names))


def test_every_declared_record_has_a_shape() -> None:
    def subclasses(kind: type) -> list[type]:
        return [below for direct in kind.__subclasses__() for below in (direct, *subclasses(direct))]

    declared = [
        kind for kind in subclasses(Record) if kind.__module__.startswith("contracts.") and kind not in (Message, Event)
    ]
    assert len(declared) > 60
    for kind in declared:
        assert codec.shape_of(kind).description == kind.__name__
