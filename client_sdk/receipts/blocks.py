"""The bytes of headers, commits and validators within a receipt, written and read by template.

Every ``read_*`` raises ReceiptUnreadable, naming the part that the reader is at.
"""

from typing import Final

from contracts.kernel import limits
from contracts.kernel.crypto import PUBLIC_KEY_BYTES, SIGNATURE_BYTES
from contracts.kernel.merkle import DIGEST_BYTES

from ..light import Commit, CommitSignature, Flag, Header, Validator, ValidatorSet, VerificationFailed
from ..light.headers import ADDRESS_BYTES, POWER_MAX, VALIDATORS_MAX, BlockId
from . import cbor
from .cbor import CborReader
from .errors import ReceiptUnreadable
from .parts import ABSENT, SignedBlock

INT64_MAX: Final = 2**63 - 1
INT32_MAX: Final = 2**31 - 1


def write_block(block: SignedBlock) -> bytes:
    """A header, the validators of its height, and the commit that they signed."""
    return cbor.array((write_header(block.header), write_validators(block.validators), write_commit(block.commit)))


def read_block(reader: CborReader) -> SignedBlock:
    """What ``write_block`` writes."""
    reader.array(3, 3)
    header, validators = read_header(reader), read_validators(reader)
    return SignedBlock(header, read_commit(reader, validators), validators)


def write_header(header: Header) -> bytes:
    """All fields, in the order in which CometBFT hashes them."""
    return cbor.array(
        (
            cbor.uint(header.version_block),
            cbor.uint(header.version_app),
            cbor.text(header.chain_id),
            cbor.uint(header.height),
            cbor.uint(header.time_ns),
            _block_id(header.last_block_id),
            cbor.octets(header.last_commit_hash),
            cbor.octets(header.data_hash),
            cbor.octets(header.validators_hash),
            cbor.octets(header.next_validators_hash),
            cbor.octets(header.consensus_hash),
            cbor.octets(header.app_hash),
            cbor.octets(header.last_results_hash),
            cbor.octets(header.evidence_hash),
            cbor.octets(header.proposer_address),
        )
    )


def read_header(reader: CborReader) -> Header:
    """What ``write_header`` writes."""
    reader.array(15, 15)
    return Header(
        version_block=reader.uint(INT64_MAX),
        version_app=reader.uint(INT64_MAX),
        chain_id=reader.text(limits.CHAIN_ID_CHARS),
        height=reader.uint(INT64_MAX, 1),
        time_ns=reader.uint(INT64_MAX),
        last_block_id=_read_block_id(reader),
        last_commit_hash=reader.octets(DIGEST_BYTES),
        data_hash=reader.octets(DIGEST_BYTES),
        validators_hash=read_digest(reader),
        next_validators_hash=read_digest(reader),
        consensus_hash=reader.octets(DIGEST_BYTES),
        app_hash=reader.octets(DIGEST_BYTES),
        last_results_hash=reader.octets(DIGEST_BYTES),
        evidence_hash=reader.octets(DIGEST_BYTES),
        proposer_address=reader.octets(ADDRESS_BYTES, ADDRESS_BYTES),
    )


def _block_id(block_id: BlockId) -> bytes:
    return cbor.array((cbor.octets(block_id.hash), cbor.uint(block_id.parts_total), cbor.octets(block_id.parts_hash)))


def _read_block_id(reader: CborReader) -> BlockId:
    reader.array(3, 3)
    return BlockId(reader.octets(DIGEST_BYTES), reader.uint(2**32 - 1), reader.octets(DIGEST_BYTES))


def write_commit(commit: Commit) -> bytes:
    """One entry for each validator: time and signature, or null."""
    entries = (
        cbor.array((cbor.uint(entry.time_ns), cbor.octets(entry.signature))) if entry.flag is Flag.COMMIT else cbor.NULL
        for entry in commit.signatures
    )
    return cbor.array(
        (cbor.uint(commit.height), cbor.uint(commit.round), _block_id(commit.block_id), cbor.array(entries))
    )


def read_commit(reader: CborReader, validators: ValidatorSet) -> Commit:
    """A commit with one entry for each of these validators, whose addresses it leaves out."""
    reader.array(4, 4)
    height, number, block_id = reader.uint(INT64_MAX, 1), reader.uint(INT32_MAX), _read_block_id(reader)
    count = len(validators.members)
    reader.array(count, count)
    entries = tuple(_read_entry(reader, validator) for validator in validators.members)
    return Commit(height, number, block_id, entries)


def _read_entry(reader: CborReader, validator: Validator) -> CommitSignature:
    if reader.skips(cbor.NULL):
        return ABSENT
    reader.array(2, 2)
    time_ns, signature = reader.uint(INT64_MAX), reader.octets(SIGNATURE_BYTES, SIGNATURE_BYTES)
    return CommitSignature(Flag.COMMIT, validator.address, time_ns, signature)


def write_validators(validators: ValidatorSet) -> bytes:
    """Keys and voting powers, in the order of the set."""
    members = (cbor.array((cbor.octets(one.public), cbor.uint(one.power))) for one in validators.members)
    return cbor.array(members)


def read_validators(reader: CborReader) -> ValidatorSet:
    """What ``write_validators`` writes."""
    members = reader.items(_read_validator, VALIDATORS_MAX, 1)
    try:
        return ValidatorSet(members)
    except VerificationFailed as error:
        raise ReceiptUnreadable(reader.part, error.why) from error


def _read_validator(reader: CborReader) -> Validator:
    reader.array(2, 2)
    return Validator(reader.octets(PUBLIC_KEY_BYTES, PUBLIC_KEY_BYTES), reader.uint(POWER_MAX, 1))


def read_digest(reader: CborReader) -> bytes:
    """32 bytes."""
    return reader.octets(DIGEST_BYTES, DIGEST_BYTES)
