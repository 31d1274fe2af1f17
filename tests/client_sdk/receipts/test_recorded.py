"""Receipts' blocks made of what a real network of four validators answered (``tests.client_sdk.capture``)."""

from dataclasses import replace

import pytest

from client_sdk import light
from client_sdk.receipts import GenesisTrust, ReceiptError, ReceiptInvalid, ReceiptNotTrusted, SignedBlock
from client_sdk.receipts.blocks import read_block, write_block
from client_sdk.receipts.cbor import CborReader
from client_sdk.receipts.errors import Part
from client_sdk.receipts.verify import _check_block
from tests.client_sdk.light.test_recorded import HEIGHTS, RECORDED, signed, validators

BLOCKS = [SignedBlock.kept(signed(height), validators(height)) for height in HEIGHTS]
CHAIN_ID = BLOCKS[0].header.chain_id


def read(raw: bytes) -> SignedBlock:
    reader = CborReader(raw, Part.CHAIN)
    block = read_block(reader)
    reader.finish()
    return block


def trust() -> GenesisTrust:
    return GenesisTrust(light.trust_genesis(RECORDED["genesis"]))


def test_real_blocks_are_sound_written_and_read_back():
    for block in BLOCKS:
        _check_block(block, CHAIN_ID)
        assert read(write_block(block)) == block


def test_of_a_real_commit_only_precommits_for_the_block_are_kept():
    flags = {entry.flag for block in BLOCKS for entry in block.commit.signatures}
    assert flags == {light.Flag.COMMIT, light.Flag.ABSENT}
    assert {entry.flag for height in HEIGHTS for entry in signed(height).commit.signatures} == set(light.Flag)


@pytest.mark.parametrize("start", [0, 1, 3])
def test_real_blocks_lead_from_the_genesis_through_a_change_of_validators(start):
    trust().follow(BLOCKS[start:])
    trust().follow([BLOCKS[start], BLOCKS[-1]])


def test_no_byte_of_a_real_block_can_be_changed_unnoticed():
    for block in (BLOCKS[2], BLOCKS[-1]):
        raw = write_block(block)
        for place in range(len(raw)):
            changed = bytearray(raw)
            changed[place] ^= 1 << place % 8
            with pytest.raises(ReceiptError):
                _check_block(read(bytes(changed)), CHAIN_ID)


def test_a_real_block_of_another_ledger_is_refused():
    with pytest.raises(ReceiptInvalid, match="claims"):
        _check_block(BLOCKS[2], "another-ledger")
    elsewhere = replace(trust().state, chain_id="another-ledger")
    with pytest.raises(ReceiptNotTrusted, match="another-ledger"):
        GenesisTrust(elsewhere).follow(BLOCKS)
