"""Encrypted payloads: each recipient reads alone, nobody else does, and nothing changed passes."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.harness.recipients import encoded
from client_sdk.payloads import confidential
from client_sdk.payloads.confidential import (
    CiphertextCorrupt,
    InvalidRecipient,
    NotARecipient,
    PlaintextTooLarge,
    decrypt,
    encrypt,
    plaintext_bytes,
)
from client_sdk.payloads.errors import PayloadCorrupt, PayloadOverLimit
from client_sdk.secrets.age_identity import new_identity, recipient_of
from client_sdk.secrets.age_passphrase import seal
from contracts.kernel.recipient import SMALL_ORDER

ALICE, BOB, EVE = new_identity(), new_identity(), new_identity()
TO_BOTH = [recipient_of(ALICE), recipient_of(BOB)]


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=300))
def test_every_recipient_reads_the_payload_alone(payload):
    sealed = encrypt(payload, TO_BOTH)
    assert decrypt(sealed, ALICE, max_bytes=len(payload)) == decrypt(sealed, BOB, max_bytes=len(payload)) == payload


def test_who_is_not_named_cannot_read_it():
    with pytest.raises(NotARecipient) as refused:
        decrypt(encrypt(b"secret", TO_BOTH), EVE, max_bytes=6)
    assert "terms" in refused.value.hint


def test_a_file_under_a_passphrase_is_not_encrypted_to_an_identity():
    with pytest.raises(NotARecipient):
        decrypt(seal(b"secret", "a passphrase"), ALICE, max_bytes=6)


def test_encrypting_twice_gives_two_ciphertexts():
    assert encrypt(b"same", TO_BOTH) != encrypt(b"same", TO_BOTH)


PIECE = 1 << 16


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 7])
def test_the_size_is_known_before_decryption(size):
    assert plaintext_bytes(encrypt(bytes(size), TO_BOTH)) == size


def test_a_payload_over_the_bound_is_refused_before_decryption():
    sealed = encrypt(bytes(100), [recipient_of(ALICE)])
    with pytest.raises(PlaintextTooLarge) as refused:
        decrypt(sealed, ALICE, max_bytes=99)
    assert isinstance(refused.value, PayloadOverLimit)
    assert (refused.value.size, refused.value.max_bytes) == (100, 99)


def test_a_byte_changed_anywhere_is_refused():
    sealed = encrypt(random.Random(1).randbytes(50), [recipient_of(ALICE)])
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        with pytest.raises((CiphertextCorrupt, NotARecipient)):
            decrypt(bytes(changed), ALICE, max_bytes=1000)


def test_a_file_cut_anywhere_is_refused():
    sealed = encrypt(b"payload", [recipient_of(ALICE)])
    for cut in range(len(sealed)):
        with pytest.raises(CiphertextCorrupt):
            decrypt(sealed[:cut], ALICE, max_bytes=1000)


@given(st.binary(max_size=200))
def test_what_is_no_age_file_is_corrupt_like_any_other_payload(raw):
    with pytest.raises(PayloadCorrupt):
        decrypt(raw, ALICE, max_bytes=1000)


def test_a_header_without_end_is_refused_within_its_bound():
    with pytest.raises(CiphertextCorrupt, match="header"):
        decrypt(b"age-encryption.org/v1\n" + b"-> X25519 a\n" * 100_000, ALICE, max_bytes=1 << 30)


def test_the_header_of_the_largest_number_of_recipients_is_within_its_bound():
    recipients = [recipient_of(new_identity()) for _ in range(confidential.RECIPIENTS_MAX)]
    sealed = encrypt(b"x", recipients)
    assert plaintext_bytes(sealed) == 1


@pytest.mark.parametrize(
    ("recipients", "sin"),
    [
        ([], "0 recipients"),
        ([recipient_of(ALICE)] * 2, "twice"),
        (["age1qqq"], "not an age X25519 recipient"),
        ([ALICE], "not an age X25519 recipient"),
        (["age1" + str(i) for i in range(65)], "65 recipients"),
    ],
)
def test_recipients_are_checked_before_anything_is_encrypted(recipients, sin):
    with pytest.raises(InvalidRecipient, match=sin):
        encrypt(b"x", recipients)


def test_a_recipient_on_which_the_library_panics_is_refused_and_nothing_ends():
    weak = encoded(SMALL_ORDER[0].to_bytes(32, "little"))
    with pytest.raises(InvalidRecipient, match="gave up"):
        encrypt(b"x", [recipient_of(ALICE), weak])


class PanicException(BaseException):
    """As a panic of the library reaches Python."""


@pytest.mark.parametrize(
    ("error", "seen"), [(PanicException(), CiphertextCorrupt), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_a_panic_while_decrypting_is_the_publisher_s_fault_and_an_interruption_is_not(error, seen, monkeypatch):
    def decrypt_badly(*_):
        raise error

    sealed = encrypt(b"x", [recipient_of(ALICE)])
    monkeypatch.setattr(confidential.pyrage, "decrypt", decrypt_badly)
    with pytest.raises(seen):
        decrypt(sealed, ALICE, max_bytes=10)


IDENTITIES = {"empty": "", "short": "AGE-SECRET-KEY-1QQQ", "recipient": recipient_of(ALICE)}


@pytest.mark.parametrize("identity", IDENTITIES.values(), ids=IDENTITIES)
def test_a_bad_identity_is_refused_without_repeating_it(identity):
    with pytest.raises(InvalidRecipient) as refused:
        decrypt(b"", identity, max_bytes=1)
    assert not identity or identity not in str(refused.value)
