"""Files under a passphrase: any age program opens what we write; nothing changed, foreign or too costly opens."""

import re

import pyrage
import pytest
from pyrage import passphrase as age

from client_sdk.secrets.age_passphrase import (
    CONTENT_BYTES_MAX,
    WORK_FACTOR,
    WORK_FACTOR_RANDOM,
    Damaged,
    WrongPassphrase,
    new_passphrase,
    open_sealed,
    seal,
)


@pytest.fixture(scope="module")
def sealed():
    return seal(b"content", "correct horse")


@pytest.mark.parametrize(
    ("content", "passphrase"), [(b"", "p"), (b"\0" * CONTENT_BYTES_MAX, "correct horse"), (b"x", "pässwörd ✓")]
)
def test_another_age_implementation_opens_what_we_write(content, passphrase):
    assert age.decrypt(seal(content, passphrase), passphrase) == content


def test_the_cost_is_fixed_and_not_the_librarys_guess(sealed):
    stanza = sealed.split(b"\n")[1]
    assert re.fullmatch(rb"-> scrypt [A-Za-z0-9+/]{22} %d" % WORK_FACTOR, stanza)


def test_a_random_passphrase_needs_no_work_and_a_guessable_one_is_not_taken_for_random():
    passphrase = new_passphrase()
    quick = seal(b"content", passphrase, is_random=True)
    assert b" %d\n" % WORK_FACTOR_RANDOM in quick
    assert open_sealed(quick, passphrase) == age.decrypt(quick, passphrase) == b"content"
    assert new_passphrase() != passphrase
    with pytest.raises(ValueError, match="too short"):
        seal(b"content", "correct horse battery staple", is_random=True)


def test_sealing_twice_gives_two_files_with_nothing_in_common(sealed):
    again = seal(b"content", "correct horse")
    assert not set(again.split(b"\n")[1:3]) & set(sealed.split(b"\n")[1:3])


def test_a_wrong_passphrase_is_told_from_damage(sealed):
    with pytest.raises(WrongPassphrase):
        open_sealed(sealed, "correct horsf")
    with pytest.raises(Damaged):
        open_sealed(sealed[:-1] + bytes([sealed[-1] ^ 1]), "correct horse")


def test_a_file_cut_short_is_damaged(sealed):
    for cut in (0, 10, 60, len(sealed) - 20, len(sealed) - 1):
        with pytest.raises(Damaged):
            open_sealed(sealed[:cut], "correct horse")


def test_a_file_that_asks_for_gigabytes_is_refused_before_it_gets_them(sealed):
    costly = re.sub(rb"(-> scrypt \S+ )\d+\n", rb"\g<1>30\n", sealed)
    with pytest.raises(Damaged, match=r"2\*\*30"):
        open_sealed(costly, "correct horse")


def test_a_file_to_recipients_is_not_one_under_a_passphrase():
    to_somebody = pyrage.encrypt(b"x", [pyrage.x25519.Identity.generate().to_public()])
    with pytest.raises(Damaged, match="under a passphrase"):
        open_sealed(to_somebody, "correct horse")


def test_the_librarys_momentary_doubt_about_the_cost_is_asked_again(sealed, monkeypatch):
    doubts = 2
    decrypt = age.decrypt

    def doubting(raw, passphrase):
        nonlocal doubts
        if doubts:
            doubts -= 1
            raise pyrage.DecryptError("Excessive work parameter for passphrase.\nDecryption would take long.")
        return decrypt(raw, passphrase)

    monkeypatch.setattr(age, "decrypt", doubting)
    assert open_sealed(sealed, "correct horse") == b"content"
    doubts = 100
    with pytest.raises(Damaged, match="Excessive"):
        open_sealed(sealed, "correct horse")


def test_more_than_one_piece_is_not_sealed():
    with pytest.raises(ValueError, match="at most"):
        seal(bytes(CONTENT_BYTES_MAX + 1), "correct horse")
