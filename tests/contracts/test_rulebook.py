"""Rules by version: a slip in a declaration is noticed when rules are made, and a version follows the one before."""

from dataclasses import replace

import pytest

from contracts import identity, reputation
from contracts.kernel import Map, Message
from contracts.registry import CONTRACTS, RULES
from contracts.rulebook import Rulebook, Rules, RulesInconsistent, UnknownRules
from tests import licences
from tests.licences import BOOK, VERSION_2

FIRST = RULES.of(1)


def test_a_code_that_is_not_dense_is_noticed() -> None:
    with pytest.raises(RulesInconsistent, match="not dense"):
        Rules.first((replace(identity.CONTRACT, number=2),))


def test_a_path_outside_its_contract_s_store_is_noticed() -> None:
    stray = replace(identity.CONTRACT, state=(*identity.CONTRACT.state, Map("models/stray", identity.Key, "key")))
    with pytest.raises(RulesInconsistent, match="outside its store"):
        Rules.first((stray,))


def test_a_path_declared_twice_is_noticed() -> None:
    with pytest.raises(RulesInconsistent, match="twice"):
        Rules.first((identity.CONTRACT, identity.CONTRACT))


def test_a_number_given_twice_is_noticed() -> None:
    """It says where a store stands, so two of one number have no order."""
    with pytest.raises(RulesInconsistent, match="one number"):
        Rules.first((identity.CONTRACT, replace(reputation.CONTRACT, number=1)))


def test_a_message_without_a_handler_is_noticed() -> None:
    forgetful = replace(identity.CONTRACT, handlers={})
    with pytest.raises(RulesInconsistent, match="identity/add-key"):
        Rulebook(Rules.first((forgetful,)))


def test_a_message_of_a_later_version_is_not_forgotten_by_the_one_before() -> None:
    """Its contract declares it in the module that both versions read."""
    before = replace(licences.CONTRACT, handlers={})
    first = Rules.first((*CONTRACTS, before))
    assert licences.Grant.tag not in first.messages
    assert Rulebook(first, first.then(2, (*CONTRACTS, licences.CONTRACT))).messages[licences.Grant.tag]


def test_a_message_that_its_contract_does_not_declare_is_noticed() -> None:
    handlers = {**identity.CONTRACT.handlers, licences.Grant: licences.grant}
    with pytest.raises(RulesInconsistent, match="licences/grant"):
        Rules.first((replace(identity.CONTRACT, handlers=handlers),))


def test_new_stores_come_last_whatever_their_number() -> None:
    early = replace(licences.CONTRACT, number=2, handlers={}, modules=())
    assert VERSION_2.stores == (*FIRST.stores, "licences")
    assert FIRST.then(2, (early, *CONTRACTS), migrations=()).stores[-1] == "licences"


def test_a_store_is_never_dropped() -> None:
    with pytest.raises(RulesInconsistent, match="what a ledger holds, it keeps"):
        FIRST.then(2, tuple(contract for contract in CONTRACTS if contract.name != "reputation"))


@pytest.mark.parametrize("version", [0, 1])
def test_a_version_follows_a_lower_one(version: int) -> None:
    with pytest.raises(RulesInconsistent, match="does not follow"):
        FIRST.then(version, CONTRACTS)


def test_versions_of_a_book_follow_each_other() -> None:
    with pytest.raises(RulesInconsistent, match="does not follow"):
        Rulebook(VERSION_2, FIRST)
    with pytest.raises(RulesInconsistent, match="does not follow"):
        Rulebook(replace(FIRST, stores=FIRST.stores[::-1]), VERSION_2)
    with pytest.raises(RulesInconsistent, match="no rules"):
        Rulebook()


def test_a_version_that_is_not_in_the_book_says_what_to_install() -> None:
    with pytest.raises(UnknownRules, match="this program knows 1: install a fedledger that knows version 2") as caught:
        RULES.of(2)
    assert (caught.value.version, caught.value.known) == (2, (1,))


def test_the_steps_to_a_version_are_those_after_the_one_in_force() -> None:
    third = VERSION_2.then(5, VERSION_2.contracts)
    book = Rulebook(FIRST, VERSION_2, third)
    assert [rules.version for rules in book.steps(1, 5)] == [2, 5]
    assert book.steps(2, 5) == (third,)
    with pytest.raises(UnknownRules):
        book.steps(1, 4)


def test_each_version_has_its_own_messages_state_and_bounds() -> None:
    assert licences.Grant.tag in VERSION_2.messages
    assert licences.Grant.tag not in FIRST.messages
    assert VERSION_2.map_of(b"licences/granted/x/y") is licences.LICENCES
    assert FIRST.map_of(b"licences/granted/x/y") is None
    assert FIRST.map_of(b"identity/keys/ab") is identity.KEYS
    assert FIRST.map_of(b"replay/seen/1/2") is not None
    assert (BOOK.newest, BOOK.known) == (VERSION_2, (1, 2))


def test_a_reader_of_the_past_knows_what_any_version_said() -> None:
    assert {*BOOK.messages} == {*FIRST.messages, licences.Grant.tag}
    assert BOOK.refusals[9001] is licences.SameLicence
    assert 9001 not in RULES.refusals
    assert BOOK.events[licences.Granted.tag] is licences.Granted
    assert all(issubclass(message, Message) for message in BOOK.messages.values())
