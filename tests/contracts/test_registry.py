"""The registry: what must hold among the contracts, and that a slip is noticed when the process starts."""

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest

from contracts import identity, transition
from contracts.kernel import Event, Lane, Message, Record, Rejected, codec, limits
from contracts.kernel.merkle import split_path
from contracts.kernel.types import Purpose
from contracts.registry import CONTRACTS, RULES
from tests.vectors_io import FOLDER

REFUSALS = list(RULES.refusals.values())
HANDLERS = RULES.newest.handlers


def test_the_stores_are_the_replay_marks_and_then_the_contracts_by_number() -> None:
    """The order of the stores is part of every application hash: it may grow at the end and never change."""
    by_number = sorted(CONTRACTS, key=lambda contract: contract.number)
    assert RULES.of(1).stores == ("replay", *(contract.name for contract in by_number))


def test_every_message_has_one_handler_and_every_handler_a_message() -> None:
    declared = [message.tag for contract in CONTRACTS for message in contract.messages()]
    assert sorted(message.tag for message in HANDLERS) == sorted(declared) == sorted(RULES.messages)


def test_every_refusal_belongs_to_a_contract_or_to_the_transition() -> None:
    """Also those that no contract would know of, because its module is not among its own."""

    def declared(kind: type) -> list[type]:
        return [below for direct in kind.__subclasses__() for below in (direct, *declared(direct))]

    ours = {kind for kind in declared(Rejected) if kind.__module__.startswith("contracts.")}
    assert ours == {*REFUSALS}
    assert {kind for kind in declared(Event) if kind.__module__.startswith("contracts.")} == {*RULES.events.values()}


def test_code_1_is_nobody_s_and_0_means_accepted() -> None:
    assert {0, transition.INTERNAL_ERROR}.isdisjoint(RULES.refusals)


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
        message = RULES.messages[shown["message"]["type"]]
        before_dispatch = (identity.UnknownKey.code, identity.KeyIsRevoked.code, identity.MemberInactive.code)
        assert shown["refusal"] in refusals_named(message) or shown["code"] in before_dispatch


def refusals_named(message: type[Message]) -> list[str]:
    """The refusals that a handler's docstring lists; each must exist."""
    listed = (inspect.getdoc(HANDLERS[message]) or "").partition("Rejects:")[2].partition("\n\n")[0]
    named = re.findall(r"\b[A-Z][A-Za-z]+", listed)
    names = [refusal.__name__ for refusal in REFUSALS]
    assert all(name in names for name in named), named
    return named


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
    assert 99_999 not in RULES.refusals


def test_every_state_path_can_be_committed_and_queried() -> None:
    for contract in CONTRACTS:
        for item in contract.state:
            store, _ = split_path(item.path(("x",) * len(item.key_names)))
            assert store == contract.name


def test_the_longest_path_of_every_map_fits_the_store() -> None:
    longest: dict[str, Any] = {
        "round": 10**9,
        "version": 10**9,
        "number": 2**62,
        "public key": bytes(32),
        "digest": bytes(32),
    }
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
