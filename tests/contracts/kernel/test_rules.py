"""The grammar: what is derived from a declaration, and which declarations are refused."""

import dataclasses
from typing import Annotated

import pytest

from campaigns.harness.chain import Committed
from contracts.identity import KeyAdded, UnknownKey
from contracts.kernel import Event, Item, Lane, Outcome, Record, Write, found, require
from contracts.kernel.rules import name_of, refusals_of, text
from contracts.kernel.types import Count, Purpose, Range
from contracts.privacy_budget import BudgetExceeded
from contracts.registry import RULES


class Box(Record):
    amount: Count


TILL = Item("shop/till", Box)


def test_a_record_is_frozen_and_compared_by_value() -> None:
    box = Box(3)
    assert (box == Box(3), box == Box(4)) == (True, False)
    with pytest.raises(dataclasses.FrozenInstanceError):
        box.amount = 4  # type: ignore[misc]


def test_tags_follow_from_module_and_class() -> None:
    assert KeyAdded.tag == "identity/key-added"
    assert [tag for tag in RULES.messages if tag.startswith("contributions/")] == [
        "contributions/reserve",
        "contributions/withdraw",
        "contributions/commit",
    ]


def test_an_event_s_attributes_are_its_fields_in_order() -> None:
    event = KeyAdded("hospital-a", b"\x01\xff", Purpose.HUMAN)
    assert event.attributes() == (("organisation", "hospital-a"), ("public", "01ff"), ("purpose", "human"))


@pytest.mark.parametrize(("value", "reads"), [(b"\x00\x0f", "000f"), (("a", "b"), "a,b"), (3, "3"), (True, "True")])
def test_a_fact_reads_as_text(value: object, reads: str) -> None:
    assert text(value) == reads


def test_a_refusal_has_a_name_a_meaning_a_hint_and_its_facts() -> None:
    refusal = BudgetExceeded(account="dataset", spent=1, wanted=3, limit=2)
    assert refusal.name == name_of(BudgetExceeded) == "BUDGET_EXCEEDED"
    assert str(refusal) == "BUDGET_EXCEEDED(account=dataset, spent=1, wanted=3, limit=2)"
    assert refusal.meaning().startswith("The charge would take")
    assert RULES.refusals[BudgetExceeded.code] is BudgetExceeded


def test_facts_are_gathered_only_when_they_are_needed() -> None:
    def facts() -> UnknownKey:
        raise AssertionError("not needed")

    require(True, facts)
    with pytest.raises(UnknownKey):
        require(False, lambda: UnknownKey(key=b""))


def test_what_the_sender_named_is_found_or_refused() -> None:
    state = Committed()
    with pytest.raises(UnknownKey):
        found(TILL, state, (), lambda: UnknownKey(key=b""))
    state.apply(dict([TILL.set(Box(1))]))
    assert found(TILL, state, (), lambda: UnknownKey(key=b"")) == Box(1)


def test_outcomes_add_up_in_order() -> None:
    one, other = Write(b"a", b"1"), Write(b"b", None)
    event = KeyAdded("hospital-a", bytes(32), Purpose.HUMAN)
    assert Outcome((one,)) + Outcome((other,), (event,)) == Outcome((one, other), (event,))


def test_lanes_put_safety_first() -> None:
    assert sorted(Lane) == [Lane.SAFETY, Lane.GOVERNANCE, Lane.ROUND, Lane.CONTRIBUTION]
    assert {message.tag for message in RULES.messages.values() if message.lane is Lane.SAFETY} == {
        "identity/revoke-key",
        "tasks/leave-task",
        "models/raise-alarm",
        "thefts/report-stolen-key",
        "membership/cancel-recovery",
    }


def test_people_consent_govern_and_revoke_and_machines_do_the_rest() -> None:
    human = {message.tag for message in RULES.messages.values() if message.purpose is Purpose.HUMAN}
    assert human == {
        "identity/add-key",
        "identity/revoke-key",
        "identity/change-recipient",
        "identity/register-dataset",
        "tasks/join-task",
        "tasks/leave-task",
        "thefts/report-stolen-key",
        "governance/propose",
        "membership/cancel-recovery",
        "membership/complete-recovery",
        "governance/vote",
    }


def test_refusals_are_listed_by_code() -> None:
    codes = [refusal.code for refusal in refusals_of("contracts.identity")]
    assert codes == sorted(codes)
    assert codes[0] == UnknownKey.code


def test_a_record_with_an_unbounded_field_fails_when_it_is_first_used() -> None:
    class Loose(Record):
        amount: int

    class Tight(Record):
        amount: Annotated[int, Range(0, 3)]

    assert Tight(3).encode() == b"\xa1\x66amount\x03"
    with pytest.raises(TypeError, match="no declared bounds"):
        Loose(3).encode()
    assert not issubclass(Loose, Event)
