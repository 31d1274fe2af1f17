"""What the node remembers of transactions: only what it verified, only so many bytes, and never a right to sign."""

import gc
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abci_app.pool.transactions import VerifiedTransactions, footprint
from campaigns.harness import consortium
from campaigns.harness.consortium import HOSPITAL_A, LAB, TERMS, commit, reserve
from contracts.governance import OpenTask, Propose
from contracts.kernel import crypto, envelope
from contracts.registry import RULES
from contracts.transition import Transaction


def sealed(count, message=None):
    chain = consortium.round_open()
    return [chain.seal(HOSPITAL_A, message or reserve()) for _ in range(count)]


def test_what_was_kept_is_neither_parsed_nor_verified_again(monkeypatch):
    (raw,) = sealed(1)
    known = VerifiedTransactions()
    first = known.read(raw)
    assert first.is_authentic
    assert first.message(RULES.newest) == reserve()
    known.keep(first)
    monkeypatch.setattr(crypto, "verify", lambda *_: pytest.fail("verified again"))
    monkeypatch.setattr(envelope, "unwrap", lambda *_: pytest.fail("parsed again"))
    for again in (known.read(bytes(bytearray(raw))), known.trust(raw)):
        assert again is first
        assert again.is_authentic
        assert again.message(RULES.newest) == reserve()


def test_reading_alone_keeps_nothing():
    (raw,) = sealed(1)
    known = VerifiedTransactions()
    assert known.read(raw).is_authentic
    assert known.read(raw) is not known.read(raw)
    assert known.held_bytes == 0


def test_trust_looks_at_no_signature_and_is_not_handed_to_anybody_else(monkeypatch):
    (raw,) = sealed(1)
    forged = raw[:-1] + bytes([raw[-1] ^ 1])
    known = VerifiedTransactions()
    assert known.trust(forged).is_authentic
    assert not known.read(forged).is_authentic


def test_one_changed_byte_is_another_transaction():
    (raw,) = sealed(1)
    known = VerifiedTransactions()
    known.keep(known.read(raw))
    for at in range(len(raw)):
        assert known.read(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]) is not known.read(raw)


def test_keeping_twice_counts_once():
    (raw,) = sealed(1)
    known = VerifiedTransactions()
    for _ in range(3):
        known.keep(Transaction(raw))
    assert known.held_bytes == footprint(raw)


@given(st.lists(st.integers(0, 11), max_size=60), st.integers(1, 8))
def test_it_is_bounded_in_bytes_and_the_least_recently_used_goes_first(asked, room):
    raws, most = sealed(12), room * footprint(sealed(1)[0])
    known, expected = VerifiedTransactions(most), []
    for number in asked:
        if known.read(raws[number]) is known.read(raws[number]):
            expected.remove(number)
        else:
            assert number not in expected
            known.keep(Transaction(raws[number]))
        expected = [*expected, number][-room:]
        assert known.held_bytes == sum(footprint(raws[one]) for one in expected) <= most


@pytest.mark.parametrize("message", [reserve(), commit(), Propose(OpenTask(TERMS)), "candidate"], ids=str)
def test_a_kept_transaction_occupies_no_more_than_it_is_counted_as(message):
    chain = consortium.sealed()
    message = consortium.open_ballot(LAB, consortium.candidate(chain)) if message == "candidate" else message
    who = LAB if message == "candidate" else HOSPITAL_A
    raws, known = [chain.seal(who, message) for _ in range(50)], VerifiedTransactions()
    gc.collect()
    tracemalloc.start()
    try:
        for raw in raws:
            transaction = known.read(bytes(bytearray(raw)))  # As it comes from the socket.
            assert transaction.is_authentic
            assert transaction.message(RULES.newest) == message
            assert transaction.envelope.identity
            known.keep(transaction)
        del transaction
        occupied = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert occupied <= known.held_bytes
    assert known.held_bytes == 50 * footprint(raws[0])
