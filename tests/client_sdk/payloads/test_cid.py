"""CIDs have one spelling each; everything else is refused with the reason."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.payloads.cid import CID_BYTES, CID_CHARS, Cid, Codec
from client_sdk.payloads.errors import InvalidCid

EMPTY_RAW = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
CIDS = st.builds(Cid, st.sampled_from(Codec), st.binary(min_size=32, max_size=32))


def test_the_cid_of_the_empty_block_is_the_one_the_whole_of_ipfs_knows():
    assert str(Cid.of(Codec.RAW, b"")) == EMPTY_RAW


@given(CIDS)
def test_text_and_bytes_name_the_same_cid(cid):
    assert len(str(cid)) == CID_CHARS
    assert len(bytes(cid)) == CID_BYTES
    assert Cid.parse(str(cid)) == cid == Cid.from_bytes(bytes(cid))


@given(st.binary(max_size=64))
def test_a_cid_names_the_bytes_it_was_made_of_and_no_others(block):
    cid = Cid.of(Codec.RAW, block)
    assert cid.digest == hashlib.sha256(block).digest()
    assert cid.names(block)
    assert not cid.names(block + b"\0")


@pytest.mark.parametrize(
    ("given_text", "sin"),
    [
        ("", "characters"),
        (EMPTY_RAW[:-1], "characters"),
        (EMPTY_RAW + "a", "characters"),
        (EMPTY_RAW.upper(), "lower-case"),
        ("B" + EMPTY_RAW[1:], "lower-case"),
        ("z" + EMPTY_RAW[1:], "'b'"),
        (EMPTY_RAW[:-1] + "v", "canonical"),  # Sets one of the two bits that no byte covers.
        (EMPTY_RAW[:-1] + "1", "base32"),
        (EMPTY_RAW[:-1] + "=", "base32"),
        (EMPTY_RAW[:30] + "\u00e9" + EMPTY_RAW[31:], "base32"),
        ("QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH", "characters"),  # CIDv0.
        ("bafyreih2ihkg2f6smi72npc7cvfdi4h2zq4iofd2ngozv2ycqmvpgtkcuy", "codec 0x71"),  # dag-cbor.
    ],
)
def test_another_spelling_is_refused_with_the_reason(given_text, sin):
    with pytest.raises(InvalidCid, match=sin):
        Cid.parse(given_text)


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz234567", min_size=58, max_size=58))
def test_text_that_parses_is_written_back_the_same(body):
    try:
        cid = Cid.parse("b" + body)
    except InvalidCid:
        return
    assert str(cid) == "b" + body


@given(CIDS, st.integers(0, 3), st.integers(1, 255))
def test_another_version_hash_or_codec_is_refused(cid, at, flip):
    raw = bytearray(bytes(cid))
    raw[at] ^= flip
    if at == 1 and raw[1] in (Codec.RAW, Codec.DAG_PB):
        return
    with pytest.raises(InvalidCid):
        Cid.from_bytes(bytes(raw))
