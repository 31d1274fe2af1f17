"""A result as the client sees it: typed events, or the very refusal that the chain raised."""

import pytest

from campaigns.harness import consortium
from campaigns.harness.consortium import HOSPITAL_A, LAB
from client_sdk.reads.refusals import (
    LedgerBug,
    PoolShareFull,
    ResultMalformed,
    UnknownRefusal,
    events_of,
    explain,
    refusal_of,
)
from contracts.kernel import Rejected, codec
from contracts.privacy_budget import BudgetExceeded
from contracts.registry import RULES
from contracts.rounds import OpenRound
from contracts.transition import INTERNAL_ERROR

CODES = sorted(RULES.refusals)


def test_events_are_read_back_as_the_chain_announced_them() -> None:
    chain = consortium.joined()
    (result,) = chain.block((LAB, OpenRound(consortium.TASK)))
    assert events_of(result.data) == result.events
    assert [event.tag for event in result.events] == ["rounds/round-opened", "rounds/phase-began"]


def test_a_refusal_is_read_back_with_the_facts_that_the_chain_gave() -> None:
    chain = consortium.joined()
    (result,) = chain.block((HOSPITAL_A, consortium.reserve()))
    refusal = refusal_of(result.code, result.data)
    assert isinstance(refusal, Rejected)
    assert (refusal.name, refusal.facts) == ("UNKNOWN_ROUND", {"task": consortium.TASK, "round": 1})


@pytest.mark.parametrize("code", CODES, ids=[RULES.refusals[code].__name__ for code in CODES])
def test_every_code_of_the_ledger_has_its_type_and_an_explanation(code: int) -> None:
    assert type(refusal_of(code, codec.encode_plain({}))) is RULES.refusals[code]
    name, meaning, hint = explain(code)
    assert name == RULES.refusals[code]().name
    assert meaning
    assert hint


def test_a_nodes_own_refusal_is_no_code_of_the_ledger_and_is_explained() -> None:
    full = refusal_of(PoolShareFull.code, codec.encode_plain({"organisation": "hospital-a", "waiting": 128}))
    assert isinstance(full, PoolShareFull)
    assert str(full) == "POOL_SHARE_FULL(waiting=128, organisation=hospital-a)"
    assert PoolShareFull.code not in RULES.refusals
    name, meaning, hint = explain(PoolShareFull.code)
    assert name == "POOL_SHARE_FULL"
    assert "waits in this node's pool" in meaning
    assert "sends the same bytes again" in hint


def test_a_failed_rule_is_the_ledger_s_bug_and_says_what_its_log_says() -> None:
    bug = refusal_of(INTERNAL_ERROR, b"", "INTERNAL_ERROR: KeyError: 7")
    assert isinstance(bug, LedgerBug)
    assert "KeyError" in str(bug)
    assert explain(INTERNAL_ERROR)[0] == "INTERNAL_ERROR"


def test_a_code_of_a_newer_ledger_is_named_and_not_guessed() -> None:
    unknown = refusal_of(99_999, b"")
    assert isinstance(unknown, UnknownRefusal)
    assert unknown.code == 99_999
    with pytest.raises(KeyError):
        explain(99_999)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        codec.encode_plain([1, 2]),
        codec.encode_plain({"limit": [1]}),
        codec.encode_plain({"limit": {"a": 1}}),
        codec.encode_plain({"limit": None}),
        codec.encode_plain({"self": 1}),
    ],
    ids=["empty", "no CBOR", "a list", "a fact that is a list", "a map", "null", "a fact named self"],
)
def test_a_refusal_with_facts_that_no_ledger_gives_is_still_that_refusal(data: bytes) -> None:
    assert isinstance(refusal_of(BudgetExceeded.code, data), BudgetExceeded)


@pytest.mark.parametrize(
    "plain",
    [
        {},
        {"a": 1},
        3,
        [1],
        [["rounds/round-opened"]],
        [["no/such-event", {}]],
        [["rounds/round-opened", {"task": "t"}]],
        [["rounds/round-opened", 7]],
        [[["rounds/round-opened"], {}]],
        [[None, {}]],
    ],
    ids=str,
)
def test_events_that_no_ledger_of_this_version_gives_are_refused(plain: object) -> None:
    with pytest.raises(ResultMalformed):
        events_of(codec.encode_plain(plain))


def test_events_larger_than_any_ledger_gives_are_refused_unread() -> None:
    with pytest.raises(ResultMalformed):
        events_of(codec.encode_plain(["x" * (1024 * 1024)]))
