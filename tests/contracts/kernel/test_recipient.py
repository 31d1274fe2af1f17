"""Age recipients: what the ledger takes is what the library of every participant can encrypt to, and no more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrage import RecipientError, x25519

from campaigns.harness.recipients import encoded, recipient_of
from contracts.kernel.recipient import ALPHABET, CHARS, SMALL_ORDER, Fault, expanded, fault_of, polymod

P = 2**255 - 19
SECRET = encoded(bytes([7] * 32), "age-secret-key-").upper()
MADE = str(x25519.Identity.from_str(SECRET).to_public())


PUBLISHED = (
    "A12UEL5L",
    "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs",
    "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw",
    "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w",
)


def readable(text: str) -> bool:
    """The verdict of the library that encrypts."""
    try:
        x25519.Recipient.from_str(text)
    except RecipientError:
        return False
    return True


def at(u: int) -> str:
    return encoded(u.to_bytes(32, "little"))


@pytest.mark.parametrize("text", PUBLISHED)
def test_the_checksum_is_that_of_the_published_strings(text: str) -> None:
    """BIP-173, "Test vectors"."""
    prefix, _, data = text.lower().rpartition("1")
    assert polymod([*expanded(prefix), *map(ALPHABET.index, data)]) == 1


@given(st.binary(min_size=32, max_size=32))
def test_whatever_a_secret_gives_is_taken(secret: bytes) -> None:
    identity = x25519.Identity.from_str(encoded(secret, "age-secret-key-").upper())
    assert fault_of(str(identity.to_public())) is None


@given(st.integers(0, CHARS - 1), st.sampled_from(ALPHABET + "ABb1io \x00\x7f"))
def test_one_character_s_difference_is_judged_as_the_library_judges_it(place: int, character: str) -> None:
    text = MADE[:place] + character + MADE[place + 1 :]
    assert (fault_of(text) is None) is (text == MADE)
    assert readable(text) is (text == MADE)


@given(st.text(ALPHABET, min_size=58, max_size=58))
def test_what_the_library_cannot_read_is_never_taken(data: str) -> None:
    assert readable(f"age1{data}") or fault_of(f"age1{data}") is not None


@pytest.mark.parametrize("u", SMALL_ORDER)
def test_a_point_of_small_order_is_refused(u: int) -> None:
    """The library reads it, and panics when it is to encrypt to it."""
    assert readable(at(u))
    assert fault_of(at(u)) is Fault.SMALL_ORDER


@pytest.mark.parametrize("u", [P, P + 1, *(P + u for u in SMALL_ORDER), 2 * P - 1, 2 * P, 2 * P + 1, 2**255 | 9])
def test_a_second_spelling_of_a_point_is_refused(u: int) -> None:
    assert fault_of(at(u)) is Fault.NOT_CANONICAL


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (MADE.upper(), Fault.FORM),
        (MADE.replace("q", "Q"), Fault.FORM),
        (MADE[:-1], Fault.FORM),
        (MADE + "q", Fault.FORM),
        ("", Fault.FORM),
        (encoded(bytes([9] * 32), "agf"), Fault.FORM),
        (encoded(bytes([9] * 31)), Fault.FORM),
        (encoded(bytes([9] * 33)), Fault.FORM),
        (MADE[:-1] + ("q" if MADE[-1] != "q" else "p"), Fault.CHECKSUM),
        (at(P - 2), None),
        (recipient_of("somebody"), None),
    ],
)
def test_each_fault_has_its_word(text: str, fault: Fault | None) -> None:
    assert fault_of(text) is fault


def test_spare_bits_are_zero() -> None:
    """52 characters hold 260 bits. The library ignores the last four: it reads one key in sixteen spellings."""
    data = [ALPHABET.index(character) for character in MADE[4:56]]
    data[-1] |= 1
    check = polymod([*expanded("age"), *data, *[0] * 6]) ^ 1
    text = "age1" + "".join(ALPHABET[v] for v in (*data, *(check >> bit & 31 for bit in range(25, -1, -5))))
    assert readable(text)
    assert fault_of(text) is Fault.PADDING
