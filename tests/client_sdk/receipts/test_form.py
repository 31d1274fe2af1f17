"""The bytes of receipts: one form each, read by another CBOR library too, and no byte that can be changed unnoticed."""

import random
import re
from collections import Counter
from pathlib import Path

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import VerifyKey

from abci_app.protocol import blocks as b
from abci_app.protocol.framing import frame
from campaigns.harness import cometbft_blocks as rules
from campaigns.harness.answered import receipts
from client_sdk.light import Header
from client_sdk.receipts import (
    GenesisTrust,
    Receipt,
    ReceiptError,
    ReceiptUnreadable,
    blocks,
    cbor,
    decode,
    encode,
    form,
    verify,
)
from client_sdk.receipts.cbor import CborReader
from client_sdk.receipts.errors import Part
from contracts.kernel import crypto

KINDS = ("transaction", "account")


def receipt(kind: str) -> Receipt:
    return receipts()[1 + KINDS.index(kind)]


def trust() -> GenesisTrust:
    return GenesisTrust(receipts()[0].trust)


def blamed(raw: bytes) -> ReceiptError:
    with pytest.raises(ReceiptError) as caught:
        verify(decode(raw), trust())
    return caught.value


# Changed bytes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_is_what_was_written(kind):
    raw = encode(receipt(kind))
    assert decode(raw) == receipt(kind)
    assert encode(decode(raw)) == raw


@pytest.mark.parametrize("kind", KINDS)
def test_no_byte_can_be_changed_unnoticed(kind):
    raw = encode(receipt(kind))
    parts = Counter()
    for place in range(len(raw)):
        changed = bytearray(raw)
        changed[place] ^= 1 << place % 8
        parts[blamed(bytes(changed)).part] += 1
    never = {Part.TRUST, Part.CHAIN} | (
        {Part.VALUE} if kind == "transaction" else {Part.STATEMENT, Part.INCLUSION, Part.RESULT}
    )
    assert set(parts) | {Part.CHAIN} == (set(Part) - never) | {Part.CHAIN}


@pytest.mark.parametrize("kind", KINDS)
def test_no_bit_of_a_sampled_byte_can_be_changed_and_no_byte_taken_or_added(kind):
    raw = encode(receipt(kind))
    for place in random.Random(kind).sample(range(len(raw)), 60):
        for bit in range(8):
            changed = bytearray(raw)
            changed[place] ^= 1 << bit
            blamed(bytes(changed))
        blamed(raw[:place] + raw[place + 1 :])
        blamed(raw[:place] + raw[place : place + 1] + raw[place:])
        blamed(raw[:place])
    blamed(raw + b"\0")
    blamed(b"")


def spans(kind: str) -> dict[Part, list[bytes]]:
    """Encoded parts of a receipt, each found in it once, without the heads that other parts share."""
    whole = receipt(kind)
    block = whole.block
    found = {
        Part.HEADER: [blocks.write_header(block.header)],
        Part.COMMIT: [blocks.write_commit(block.commit)],
        Part.VALIDATORS: [blocks.write_validators(block.validators)],
    }
    if kind == "transaction":
        found[Part.HEADER].append(blocks.write_header(whole.proof.header))
        found[Part.STATEMENT] = [whole.proof.transaction[-66:], whole.proof.transaction[220:-66]]
        found[Part.RESULT] = [whole.proof.result.data, *whole.proof.result_aunts]
        found[Part.INCLUSION] = list(whole.proof.way.aunts)
    else:
        found[Part.VALUE] = [whole.proof.path, whole.proof.body, *whole.proof.bucket_aunts, *whole.proof.store_aunts]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_part_that_was_changed_is_the_part_that_is_named(kind):
    raw = encode(receipt(kind))
    for part, pieces in spans(kind).items():
        for piece in pieces:
            start = raw.rindex(piece) if part is Part.VALUE else raw.index(piece)  # The claims name the path too.
            for place in range(start, start + len(piece), max(1, len(piece) // 40)):
                changed = bytearray(raw)
                changed[place] ^= 0x10
                error = blamed(bytes(changed))
                assert error.part is part, (part, place - start, error)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 2_000), st.sampled_from(KINDS))
def test_whatever_is_read_is_written_again_alike(noise, place, kind):
    raw = encode(receipt(kind))
    changed = raw[:place] + noise + raw[place + len(noise) :]
    try:
        read = decode(changed)
    except ReceiptUnreadable:
        return
    assert encode(read) == changed


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_noise_is_unreadable(noise):
    for raw in (noise, b"\xd2\x84" + noise):
        with pytest.raises(ReceiptUnreadable):
            decode(raw)


def test_a_file_that_is_too_long_is_not_read():
    with pytest.raises(ReceiptUnreadable, match="at most 4194304"):
        decode(bytes(form.RECEIPT_BYTES_MAX + 1))


# The second opinion -----------------------------------------------------------------------------


def opened(raw: bytes):
    """Decoded by cbor2; its canonical form of each part is ours."""
    value = cbor2.loads(raw, allow_indefinite=False, allow_duplicate_keys=False)
    assert cbor2.dumps(value, canonical=True) == raw
    return value


def test_a_transactions_file_is_a_transparent_statement_that_another_library_reads():
    whole, raw = receipt("transaction"), encode(receipt("transaction"))
    statement = opened(raw)
    assert isinstance(statement, cbor2.CBORTag)
    assert statement.tag == 18
    protected, unprotected, payload, signature = statement.value
    header = opened(protected)
    assert (header[1], header[15][2]) == (-8, whole.issuer)
    structure = ["Signature1", protected, b"fedledger/tx/v1", payload]
    VerifyKey(header[4]).verify(cbor2.dumps(structure), signature)
    assert list(unprotected) == [394]
    (receipt_bytes,) = unprotected[394]
    check_receipt(receipt_bytes, whole, -65701)
    without = cbor2.dumps(cbor2.CBORTag(18, [protected, {}, payload, signature]))
    assert without == whole.proof.transaction, "the transaction is the statement without its receipt"


def test_a_records_file_is_a_receipt_that_another_library_reads():
    check_receipt(encode(receipt("account")), receipt("account"), -65702)


def check_receipt(raw: bytes, whole: Receipt, structure: int) -> None:
    """RFC 9942: tagged COSE_Sign1, `alg` and `vds` protected, proofs unprotected, payload detached."""
    sign1 = opened(raw)
    assert isinstance(sign1, cbor2.CBORTag)
    assert sign1.tag == 18
    protected, unprotected, payload, signature = sign1.value
    assert opened(protected) == {1: -65701, 15: {1: whole.issuer, 2: whole.subject}, 395: structure}
    assert set(unprotected) == {396, -65701}
    assert list(unprotected[396]) == [-1]
    (proof,) = unprotected[396][-1]
    assert payload is None
    header = opened(proof)[-1]
    assert (header[2], header[3]) == (whole.issuer, whole.height + 1)
    height, number, (block_hash, total, parts_hash), entries = opened(signature)
    validators, chain = opened(unprotected[-65701])
    assert chain == []
    assert block_hash == whole.block.header.hash, "what is signed is the payload that the proof leads to"
    for (public, _), (time_ns, vote) in zip(validators, entries, strict=True):
        VerifyKey(public).verify(vote_bytes(header[2], height, number, block_hash, total, parts_hash, time_ns), vote)


def vote_bytes(chain_id, height, number, block_hash, total, parts_hash, time_ns) -> bytes:
    """CometBFT's CanonicalVote by protobuf, not by the light client's own encoder."""
    parts = b.CanonicalPartSetHeader(total=total, hash=parts_hash)
    vote = b.CanonicalVote(
        type=b.SignedMsgType.SIGNED_MSG_TYPE_PRECOMMIT,
        height=height,
        round=number,
        block_id=b.CanonicalBlockID(hash=block_hash, part_set_header=parts),
        timestamp=rules.timestamp(time_ns),
        chain_id=chain_id,
    )
    return frame(vote.SerializeToString())


# CBOR -------------------------------------------------------------------------------------------


@given(st.integers(0, 2**64 - 1), st.binary(max_size=300), st.text(st.characters(max_codepoint=127), max_size=300))
def test_items_are_written_as_another_library_writes_them_and_read_back(number, octets, text):
    raw = cbor.array((cbor.uint(number), cbor.octets(octets), cbor.text(text), cbor.NULL))
    assert raw == cbor2.dumps([number, octets, text, None], canonical=True)
    reader = CborReader(raw, Part.FILE)
    assert reader.array(4, 4) == 4
    assert (reader.uint(2**64 - 1), reader.octets(300), reader.text(300)) == (number, octets, text)
    assert reader.skips(cbor.NULL)
    reader.finish()


@pytest.mark.parametrize("raw", ["1817", "190017", "1a00000017", "1b0000000000000017", "1c", "1f", "37", "f6", ""])
def test_a_number_has_one_spelling(raw):
    with pytest.raises(ReceiptUnreadable):
        CborReader(bytes.fromhex(raw), Part.FILE).uint(2**64 - 1)


@pytest.mark.parametrize("raw", ["5f4101ff", "5801ff", "42ff", "5bffffffffffffffff", "61ff", "6101"])
def test_a_string_has_one_spelling_and_a_true_length(raw):
    with pytest.raises(ReceiptUnreadable):
        CborReader(bytes.fromhex(raw), Part.FILE).octets(2**64 - 1)


def test_bounds_hold_and_the_part_is_named():
    reader = CborReader(cbor.uint(7), Part.COMMIT)
    with pytest.raises(ReceiptUnreadable, match=r"commit: 7 before byte 1, allowed are 8 to 9"):
        reader.uint(9, 8)
    with pytest.raises(ReceiptUnreadable, match="not ASCII"):
        CborReader(b"\x61\xff", Part.FILE).text(9)
    with pytest.raises(ReceiptUnreadable, match="3 items"):
        CborReader(b"\x83", Part.FILE).array(2)
    with pytest.raises(ReceiptUnreadable, match="1 bytes follow"):
        CborReader(b"\0", Part.FILE).finish()
    with pytest.raises(ValueError, match="64 bits"):
        cbor.uint(2**64)


def test_a_validator_that_appears_twice_is_unreadable():
    whole = receipt("account")
    members = blocks.write_validators(whole.block.validators)
    one = members[1 : 1 + (len(members) - 1) // 4]
    raw = encode(whole).replace(members, members[:1] + one * 4)
    with pytest.raises(ReceiptUnreadable, match="twice") as caught:
        decode(raw)
    assert caught.value.part is Part.VALIDATORS


def test_turns_beyond_the_aunts_are_unreadable():
    whole = receipt("account")
    assert whole.proof.way.turns < 1 << len(whole.proof.way.aunts)
    piece = cbor.octets(whole.proof.body) + cbor.uint(whole.proof.way.turns)
    with pytest.raises(ReceiptUnreadable, match="turns more often"):
        decode(encode(whole).replace(piece, cbor.octets(whole.proof.body) + b"\x17"))


def test_the_subject_is_the_hash_that_cometbft_gives_the_transaction():
    assert receipt("transaction").subject == crypto.sha256(receipts()[0].transactions[0]).hex()


def test_the_profile_in_the_documents_has_the_numbers_that_are_written():
    text = (Path(__file__).parents[3] / "docs" / "receipts.md").read_text()
    cddl = text.partition("```cddl")[2].partition("```")[0]
    for line in (
        f"1: {form.COMMIT}, ",
        f"{form.VALIDATORS}: bstr .cbor blocks",
        f"claims<{form.VDS_BLOCK}>",
        f"claims<{form.VDS_STATE}>",
    ):
        assert line in cddl
    fields = [each.replace("_", "-") for each in Header.__dataclass_fields__]
    named = cddl.partition("header = [")[2].partition("]")[0]
    assert [part.partition(":")[0].strip() for part in named.split(",") if part.strip()] == fields
    assert {f"**{part}**" for part in Part} - {"**file**", "**trust**"} <= {*re.findall(r"\*\*[a-z ]+\*\*", text)}
