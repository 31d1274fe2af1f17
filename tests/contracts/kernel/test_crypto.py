"""Cryptography: one verdict on every signature, identifiers that round-trip, statements that mean one thing."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from contracts.kernel import crypto
from contracts.kernel.crypto import did_key, is_enrollable, public_key, public_key_of, sha256, sign, tagged, verify
from contracts.kernel.speccheck import CASES

PUBLISHED = Path(__file__).parents[2] / "data" / "ed25519-speccheck-cases.json"
seeds = st.binary(min_size=32, max_size=32)
ORDER = 2**252 + 27742317777372353535851937790883648493


def test_the_self_test_runs_on_the_published_edge_cases() -> None:
    """ "Taming the many EdDSAs", Chalkias, Garillot, Nikolaenko 2020: the twelve cases, in their order."""
    published = json.loads(PUBLISHED.read_text())
    assert [(case.message.hex(), case.public.hex(), case.signature.hex()) for case in CASES] == [
        (case["message"], case["pub_key"], case["signature"]) for case in published
    ]


def test_the_installed_library_gives_this_ledger_s_verdicts() -> None:
    crypto.self_test()
    assert [number for number, case in enumerate(CASES) if case.accepted] == [3]


@pytest.mark.parametrize("verdict", [True, False])
def test_a_library_with_other_verdicts_does_not_start(verdict: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crypto, "verify", lambda *_: verdict)
    with pytest.raises(crypto.SelfTestFailed, match="edge case"):
        crypto.self_test()


# RFC 8032, section 7.1, tests 1 to 3.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
]


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
def test_the_vectors_of_rfc_8032(seed: str, public: str, message: str, signature: str) -> None:
    assert public_key(bytes.fromhex(seed)).hex() == public
    assert sign(bytes.fromhex(seed), bytes.fromhex(message)).hex() == signature
    assert verify(bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature))


@given(seeds, st.binary(max_size=200), st.data())
def test_a_signature_holds_for_its_key_and_message_only(seed: bytes, message: bytes, data: st.DataObject) -> None:
    public, signature = public_key(seed), sign(seed, message)
    assert verify(public, message, signature)
    VerifyKey(public).verify(message, signature)
    changed = bytearray(signature + message)
    at, bit = data.draw(st.integers(0, len(changed) - 1)), data.draw(st.integers(0, 7))
    changed[at] ^= 1 << bit
    assert not verify(public, bytes(changed[64:]), bytes(changed[:64]))
    with pytest.raises((BadSignatureError, ValueError)):
        VerifyKey(public).verify(bytes(changed[64:]), bytes(changed[:64]))


def test_a_second_form_of_a_signature_is_refused() -> None:
    """S + L satisfies the same equation: accepting it would make every signature malleable."""
    seed, message = bytes(range(32)), b"statement"
    signature = sign(seed, message)
    scalar = int.from_bytes(signature[32:], "little") + ORDER
    assert not verify(public_key(seed), message, signature[:32] + scalar.to_bytes(32, "little"))


@pytest.mark.parametrize(
    ("public", "signature"), [(b"", bytes(64)), (bytes(31), bytes(64)), (bytes(32), bytes(63)), (bytes(33), bytes(65))]
)
def test_wrong_lengths_are_a_verdict_and_no_exception(public: bytes, signature: bytes) -> None:
    assert verify(public, b"", signature) is False


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=50), st.binary(min_size=64, max_size=64))
def test_arbitrary_bytes_get_a_verdict(public: bytes, message: bytes, signature: bytes) -> None:
    assert verify(public, message, signature) is False


@given(seeds)
def test_ordinary_keys_may_be_enrolled(seed: bytes) -> None:
    assert is_enrollable(public_key(seed))
    assert public_key(seed) == bytes(SigningKey(seed).verify_key)


@pytest.mark.parametrize("case", range(12))
def test_of_the_edge_cases_only_the_ordinary_key_may_be_enrolled(case: int) -> None:
    """Small order, mixed order or non-canonical: with such a key one signature can hold for many messages.

    Cases 6 and 7 are an ordinary key under a signature with S >= L.
    """
    assert is_enrollable(CASES[case].public) is (case in (6, 7))


@pytest.mark.parametrize("public", [b"", bytes(31), bytes(32), b"\x01" + bytes(31), b"\xff" * 32, bytes(33)])
def test_what_is_no_point_of_prime_order_is_not_enrolled(public: bytes) -> None:
    assert not is_enrollable(public)


# --- did:key ---


def test_the_did_key_of_the_w3c_s_example() -> None:
    """did:key method, section on Ed25519."""
    did = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"
    assert did_key(public_key_of(did)) == did


@given(st.binary(min_size=32, max_size=32))
def test_a_did_key_round_trips_and_has_56_characters(public: bytes) -> None:
    did = did_key(public)
    assert public_key_of(did) == public
    assert len(did) == 56


@pytest.mark.parametrize(
    "did",
    [
        "",
        "did:key:",
        "did:key:z",
        "did:web:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",
        "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2do0",  # 0 is not in base58
        "did:key:z6LSbysY2xFMRpGMhb7tFTLMpeuPRaqaWM1yECx2AtzE3KCc",  # X25519
        "did:key:z16MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",  # a leading zero byte
        "did:key:zé",
        "did:key:z" + "z" * 10_000,
    ],
)
def test_anything_but_the_did_key_of_an_ed25519_key_is_refused(did: str) -> None:
    with pytest.raises(ValueError, match=r"did:key|base58btc"):
        public_key_of(did)


# --- domains ---


def test_a_tagged_statement_begins_with_its_domain_and_version() -> None:
    assert tagged("key-possession", b"x") == b"fedledger/key-possession/v1\0" + sha256(b"x")


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_statements_of_different_domains_never_coincide(one: bytes, other: bytes) -> None:
    assert tagged("a", one) != tagged("b", other)
    assert (tagged("a", one) == tagged("a", other)) is (one == other)
