"""The envelope: one template, an independent reading of it, and nothing beside it."""

import struct
from typing import Any

import cbor2
import cbrrr
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.kernel import crypto, envelope, limits
from contracts.kernel.codec import Malformed
from contracts.kernel.envelope import CONTENT_TYPE, Envelope, LedgerId, parse, seal

SEED = bytes(range(32))


class Signing:
    """A signer that keeps its seed to itself."""

    public = crypto.public_key(SEED)

    def sign(self, statement: bytes) -> bytes:
        return crypto.sign(SEED, statement)


SIGNER = Signing()
CHAIN = "fedledger-test"
GENESIS = crypto.sha256(b"genesis")
LEDGER = LedgerId(CHAIN, GENESIS)
NONCE = bytes(range(16))
BODY = {"task": "breast-cancer", "round": 3, "dataset": "wdbc"}
RAW = seal(SIGNER, LEDGER, tag="contributions/reserve", body=BODY, nonce=NONCE, valid_until=77)

bodies = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def parts(raw: bytes) -> list[Any]:
    """The four parts of the COSE_Sign1 structure, read by a general CBOR decoder."""
    tag = cbor2.loads(raw)
    assert tag.tag == 18
    return list(tag.value)


def rebuilt(protected: bytes, payload: bytes, unprotected: Any = None, tag: int = 18) -> bytes:
    """A COSE_Sign1 with these parts, properly signed, written by a general CBOR encoder."""
    signature = crypto.sign(SEED, envelope.signed_structure(protected, payload))
    return cbor2.dumps(cbor2.CBORTag(tag, [protected, unprotected or {}, payload, signature]))


# --- what it is ---


def test_it_is_the_cose_sign1_that_rfc_9052_describes() -> None:
    """An independent CBOR library reads the parts, and rebuilds the Sig_structure that was signed."""
    protected, unprotected, payload, signature = parts(RAW)
    public = crypto.public_key(SEED)
    assert unprotected == {}
    assert cbor2.loads(protected) == {
        1: -8,
        3: CONTENT_TYPE,
        4: public,
        15: {1: crypto.did_key(public), 2: CHAIN, -65537: GENESIS},
    }
    content = {"body": BODY, "nonce": NONCE, "type": "contributions/reserve", "valid_until": 77}
    assert cbor2.loads(payload) == content
    structure = cbor2.dumps(["Signature1", protected, b"fedledger/tx/v1", payload])
    assert parse(RAW).signed == structure
    assert crypto.verify(public, structure, signature)


def test_an_independent_encoder_writes_the_same_bytes() -> None:
    protected, _, payload, _ = parts(RAW)
    assert rebuilt(protected, payload) == RAW


@given(bodies, st.binary(min_size=16, max_size=16), st.integers(0, 2**62))
def test_parsing_undoes_sealing(body: Any, nonce: bytes, valid_until: int) -> None:
    signed = parse(seal(SIGNER, LEDGER, tag="any/tag", body=body, nonce=nonce, valid_until=valid_until))
    assert (signed.tag, signed.body, signed.nonce, signed.valid_until) == ("any/tag", body, nonce, valid_until)
    assert (signed.ledger, signed.key) == (LEDGER, crypto.public_key(SEED))
    assert crypto.verify(signed.key, signed.signed, signed.signature)


def test_payloads_of_every_length_class_keep_the_shortest_heads() -> None:
    for size in (0, 1, 20, 100, 200, 300, 5_000, 40_000):
        raw = seal(SIGNER, LEDGER, tag="x/y", body=bytes(size), nonce=NONCE, valid_until=1)
        assert parse(raw).body == bytes(size)
        protected, _, payload, _ = parts(raw)
        assert rebuilt(protected, payload) == raw


@pytest.mark.parametrize("size", [1, 23, 24, 50])
def test_chain_ids_of_every_length_class_keep_the_shortest_heads(size: int) -> None:
    raw = seal(SIGNER, LedgerId("c" * size, GENESIS), tag="x/y", body={}, nonce=NONCE, valid_until=1)
    assert parse(raw).ledger.chain_id == "c" * size
    protected, _, payload, _ = parts(raw)
    assert rebuilt(cbor2.dumps(cbor2.loads(protected)), payload) == raw


def test_payloads_at_the_border_of_a_length_class_keep_the_shortest_heads() -> None:
    small = len(parts(seal(SIGNER, LEDGER, tag="x/y", body=bytes(100), nonce=NONCE, valid_until=1))[2]) - 100
    for size in (255, 256):
        raw = seal(SIGNER, LEDGER, tag="x/y", body=bytes(size - small), nonce=NONCE, valid_until=1)
        protected, _, payload, _ = parts(raw)
        assert len(payload) == size
        assert parse(raw).payload == payload
        assert rebuilt(protected, payload) == raw


def test_the_largest_envelope_is_accepted_and_one_byte_more_is_not() -> None:
    overhead = len(seal(SIGNER, LEDGER, tag="x/y", body=bytes(40_000), nonce=NONCE, valid_until=1)) - 40_000
    largest = limits.TX_BYTES - overhead
    raw = seal(SIGNER, LEDGER, tag="x/y", body=bytes(largest), nonce=NONCE, valid_until=1)
    assert len(raw) == limits.TX_BYTES
    assert len(parse(raw).body) == largest
    with pytest.raises(Malformed, match="are allowed"):
        seal(SIGNER, LEDGER, tag="x/y", body=bytes(largest + 1), nonce=NONCE, valid_until=1)


# --- what it is not ---


@given(st.integers(0, len(RAW) - 1), st.integers(1, 255))
@settings(max_examples=400)
def test_a_changed_byte_is_refused_or_breaks_the_signature(at: int, change: int) -> None:
    """Nothing outside the signature can change without being refused; what is signed cannot change at all."""
    other = bytearray(RAW)
    other[at] ^= change
    try:
        signed = parse(bytes(other))
    except Malformed:
        return
    assert not crypto.verify(signed.key, signed.signed, signed.signature)
    assert (signed.identity != parse(RAW).identity) is (at < len(RAW) - 64)


@pytest.mark.parametrize("size", range(0, len(RAW), 7))
def test_a_truncated_envelope_is_refused(size: int) -> None:
    with pytest.raises(Malformed):
        parse(RAW[:size])


@given(st.binary(min_size=1, max_size=20))
def test_a_trailing_byte_is_refused(tail: bytes) -> None:
    with pytest.raises(Malformed, match="trailing bytes"):
        parse(RAW + tail)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_malformed_and_nothing_else(raw: bytes) -> None:
    for prefix in (b"", RAW[:2], RAW[:100], RAW[:230]):
        with pytest.raises(Malformed):
            parse(prefix + raw)


def test_an_oversized_envelope_is_refused_before_it_is_read() -> None:
    with pytest.raises(Malformed, match=str(limits.TX_BYTES)):
        parse(bytes(limits.TX_BYTES + 1))
    with pytest.raises(Malformed, match=str(limits.TX_BYTES)):
        seal(SIGNER, LEDGER, tag="x/y", body=bytes(limits.TX_BYTES), nonce=NONCE, valid_until=1)


def protected_with(**changes: Any) -> bytes:
    """A protected header with some parameters exchanged; a None removes one."""
    public = crypto.public_key(SEED)
    header: dict[Any, Any] = {
        1: -8,
        3: CONTENT_TYPE,
        4: public,
        15: {1: crypto.did_key(public), 2: CHAIN, -65537: GENESIS},
    }
    for name, value in changes.items():
        key = {"alg": 1, "content": 3, "key": 4, "claims": 15, "extra": 99}[name]
        header[key] = value
    return cbor2.dumps({key: value for key, value in header.items() if value is not None})


OTHER = crypto.public_key(bytes(32))
BAD_HEADERS = {
    "another algorithm": protected_with(alg=-7),
    "another content type": protected_with(content="application/json"),
    "no content type": protected_with(content=None),
    "another parameter": protected_with(extra=1),
    "a short key": protected_with(key=bytes(31)),
    "another key than the issuer's": protected_with(key=OTHER),
    "another issuer than the key's": protected_with(claims={1: crypto.did_key(OTHER), 2: CHAIN}),
    "no chain": protected_with(claims={1: crypto.did_key(crypto.public_key(SEED))}),
    "a subject": protected_with(claims={1: crypto.did_key(crypto.public_key(SEED)), 2: CHAIN, 6: 1}),
    "an empty chain": protected_with(claims={1: crypto.did_key(crypto.public_key(SEED)), 2: ""}),
    "a long chain": protected_with(claims={1: crypto.did_key(crypto.public_key(SEED)), 2: "c" * 51}),
    "a chain that is not ASCII": protected_with(claims={1: crypto.did_key(crypto.public_key(SEED)), 2: "château"}),
    "nothing": b"",
    "bytes after the header": protected_with() + b"\0",
}


@pytest.mark.parametrize("protected", BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_a_protected_header_with_anything_else_is_refused_although_it_is_signed(protected: bytes) -> None:
    with pytest.raises(Malformed):
        parse(rebuilt(protected, parts(RAW)[2]))


def test_the_rebuilt_header_that_is_right_is_accepted() -> None:
    assert parse(rebuilt(protected_with(), parts(RAW)[2])) == parse(RAW)


def test_an_unprotected_header_is_refused() -> None:
    protected, _, payload, _ = parts(RAW)
    with pytest.raises(Malformed, match="unprotected"):
        parse(rebuilt(protected, payload, unprotected={4: b"kid"}))


def test_another_tag_or_no_tag_is_refused() -> None:
    protected, _, payload, signature = parts(RAW)
    with pytest.raises(Malformed):
        parse(rebuilt(protected, payload, tag=17))
    with pytest.raises(Malformed):
        parse(cbor2.dumps([protected, {}, payload, signature]))


@pytest.mark.parametrize("signature", [bytes(63), bytes(65), b""])
def test_a_signature_of_another_length_is_refused(signature: bytes) -> None:
    protected, _, payload, _ = parts(RAW)
    with pytest.raises(Malformed, match="signature"):
        parse(cbor2.dumps(cbor2.CBORTag(18, [protected, {}, payload, signature])))


CONTENT = {"body": BODY, "nonce": NONCE, "type": "x/y", "valid_until": 1}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"nonce": bytes(15)}, "nonce"),
        ({"nonce": "0123456789abcdef"}, "nonce"),
        ({"valid_until": -1}, "valid_until"),
        ({"valid_until": 1.0}, "valid_until"),
        ({"valid_until": 2**62 + 1}, "valid_until"),
        ({"type": 7}, "type"),
        ({"type": b"x/y"}, "type"),
        ({"extra": 1}, "payload"),
    ],
)
def test_a_payload_field_out_of_its_bounds_is_refused_by_name(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(Malformed) as error:
        parse(rebuilt(parts(RAW)[0], cbrrr.encode_dag_cbor({**CONTENT, **changes})))
    assert error.value.field == field


@pytest.mark.parametrize("name", CONTENT)
def test_a_payload_without_one_of_its_fields_is_refused(name: str) -> None:
    content = {key: value for key, value in CONTENT.items() if key != name}
    with pytest.raises(Malformed, match="payload"):
        parse(rebuilt(parts(RAW)[0], cbrrr.encode_dag_cbor(content)))


def test_a_payload_that_is_not_canonical_is_refused() -> None:
    """Otherwise one message would have many identities, and replay protection would remember one of them."""
    long_head = cbrrr.encode_dag_cbor(CONTENT).replace(b"\x6bvalid_until\x01", b"\x6bvalid_until\x18\x01")
    with pytest.raises(Malformed, match="canonical"):
        parse(rebuilt(parts(RAW)[0], long_head))
    with pytest.raises(Malformed, match="must be a map"):
        parse(rebuilt(parts(RAW)[0], b"\x80"))


@pytest.mark.parametrize("head", [b"\x58\x05", b"\x59\x00\x40", b"\x5a\x00\x00\x00\x40", b"\x5f", b"\x78\x40", b"\x00"])
def test_a_string_head_that_is_not_the_shortest_is_refused(head: bytes) -> None:
    with pytest.raises(Malformed):
        parse(RAW[:-66] + head + RAW[-64:])


# --- identity ---


def test_the_identity_covers_all_but_the_signature() -> None:
    signed = parse(RAW)
    again = RAW[:-64] + crypto.sign(bytes(32), signed.signed)
    assert parse(again).identity == signed.identity == crypto.sha256(signed.signed)
    other = seal(SIGNER, LEDGER, tag="contributions/reserve", body=BODY, nonce=bytes(16), valid_until=77)
    assert parse(other).identity != signed.identity


def test_the_signed_structure_cannot_be_taken_for_another_domain_s_statement() -> None:
    assert b"fedledger/tx/v1" in parse(RAW).signed
    assert not parse(RAW).signed.startswith(b"fedledger/")


@pytest.mark.parametrize(
    ("chain", "nonce", "valid_until"), [("", NONCE, 1), ("c" * 51, NONCE, 1), (CHAIN, b"", 1), (CHAIN, NONCE, -1)]
)
def test_what_could_not_be_parsed_is_not_sealed(chain: str, nonce: bytes, valid_until: int) -> None:
    with pytest.raises(Malformed):
        seal(SIGNER, LedgerId(chain, GENESIS), tag="x/y", body={}, nonce=nonce, valid_until=valid_until)


def test_a_float_in_a_body_is_left_to_the_message_s_own_type() -> None:
    raw = rebuilt(parts(RAW)[0], cbrrr.encode_dag_cbor({**CONTENT, "body": {"round": 1.5}}))
    signed: Envelope = parse(raw)
    assert signed.body == {"round": 1.5}
    assert struct.pack(">d", 1.5) in raw


def test_a_genesis_is_a_digest_or_nothing_is_sealed() -> None:
    for genesis in (b"", bytes(31), bytes(33)):
        with pytest.raises(Malformed, match="genesis"):
            seal(SIGNER, LedgerId(CHAIN, genesis), tag="x/y", body={}, nonce=NONCE, valid_until=1)


def test_unwrapping_decodes_nothing_and_hashes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what a stranger sends, 48 KiB of it, only the header is read before the key is looked up."""
    raw = seal(SIGNER, LEDGER, tag="x/y", body=[0] * 40_000, nonce=NONCE, valid_until=1)
    for owner, name in ((envelope.codec, "decode_plain"), (envelope.crypto, "sha256"), (envelope.crypto, "did_key")):
        monkeypatch.setattr(owner, name, lambda *_, **__: pytest.fail("touched the payload"))
    sealed = envelope.unwrap(raw)
    assert (sealed.key, sealed.ledger) == (SIGNER.public, LEDGER)
