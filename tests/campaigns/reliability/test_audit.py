"""The audit notices what it is there for, and finds nothing in equal chains."""

from dataclasses import replace

from campaigns.reliability.audit import Chain, Row, differences, lost
from campaigns.reliability.witness import Decided

A, B = b"a" * 32, b"b" * 32
CHAIN: Chain = {1: Row(b"one", b"", {A: (0, b"x")}), 2: Row(b"two", b"root", {})}
ACKNOWLEDGED = {A: Decided(1, 0, b"x")}


def test_equal_chains_that_hold_everything_acknowledged_have_no_fault() -> None:
    assert differences(CHAIN, dict(CHAIN)) == []
    assert lost(CHAIN, ACKNOWLEDGED) == []


def test_another_block_another_app_hash_and_another_result_are_noticed() -> None:
    for changed in (
        {2: replace(CHAIN[2], block_hash=b"fork")},
        {2: replace(CHAIN[2], app_hash=b"other")},
        {1: replace(CHAIN[1], outcomes={A: (7, b"x")})},
    ):
        (found,) = differences(CHAIN, {**CHAIN, **changed})
        assert f"height {next(iter(changed))} " in found


def test_a_block_that_one_node_does_not_have_is_noticed() -> None:
    assert differences(CHAIN, {1: CHAIN[1]}) == ["height 2 is only in one of them"]


def test_an_acknowledged_transaction_that_is_gone_or_has_another_result_is_noticed() -> None:
    for gone in (
        {**CHAIN, 1: replace(CHAIN[1], outcomes={})},
        {**CHAIN, 1: replace(CHAIN[1], outcomes={A: (0, b"y")})},
        {1: CHAIN[2], 2: CHAIN[1]},  # At another height.
        {},
    ):
        (found,) = lost(gone, ACKNOWLEDGED)
        assert A.hex() in found
    assert lost(CHAIN, {B: Decided(2, 0, b"")})
