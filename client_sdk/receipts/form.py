"""The bytes of a receipt, written and read by template: one receipt has one form (``docs/receipts.md`` has the CDDL).

A transaction's receipt stands in the unprotected header of the transaction itself, which is a COSE_Sign1:

    18([ protected, {394: [receipt]}, payload, signature ])

and a value's receipt stands alone. Either is

    18([ {1: COMMIT, 15: {1: chain id, 2: subject}, 395: VDS}, {396: {-1: [proof]}, VALIDATORS: blocks}, null, commit ])

Left to others: whether any of it is true (``verify``).
"""

from typing import Final

from contracts.kernel import limits
from contracts.kernel.crypto import SIGNATURE_BYTES

from ..light import Header, TxResult
from . import cbor
from .blocks import (
    INT32_MAX,
    INT64_MAX,
    read_block,
    read_commit,
    read_digest,
    read_header,
    read_validators,
    write_block,
    write_commit,
    write_header,
    write_validators,
)
from .cbor import CborReader
from .errors import Part
from .parts import Acceptance, Holding, Proof, Receipt, SignedBlock, Way

RECEIPT_BYTES_MAX: Final = 4 << 20
CHAIN_MAX: Final = 64  # Blocks between what is trusted and the one that proves.
RESULT_BYTES_MAX: Final = 1 << 20
LEVELS_MAX: Final = 32  # Of a Merkle tree.
# Private-use numbers of RFC 9052 and 9053 (below -65536); the registry of data structures has none to give away.
COMMIT: Final = -65701  # As `alg`: the signature is a commit of CometBFT.
VALIDATORS: Final = -65701  # As a header parameter: who signed, and the blocks that lead to them.
VDS_BLOCK: Final = -65701  # As `vds`: transactions and results under the headers of CometBFT.
VDS_STATE: Final = -65702  # As `vds`: the ledger's state under the headers of CometBFT.

_NEGATIVE = {value: b"\x3a" + (-1 - value).to_bytes(4, "big") for value in (COMMIT, VDS_STATE)}
_SIGN1 = b"\xd2\x84"
_RECEIPTS = b"\xa1\x19\x01\x8a\x81"  # {394: [
_PROOFS = b"\xa2\x19\x01\x8c\xa1\x20\x81"  # {396: {-1: [
_ALG = b"\xa3\x01" + _NEGATIVE[COMMIT] + b"\x0f\xa2\x01"  # {1: alg, 15: {1:
_VDS = b"\x19\x01\x8b"  # 395:


def encode(receipt: Receipt) -> bytes:
    """The file of a receipt. Raises ValueError for parts that no receipt can hold."""
    inner = _receipt(receipt)
    if isinstance(receipt.proof, Holding):
        return inner
    head, rest = _opened(receipt.proof.transaction)
    return _SIGN1 + head + _RECEIPTS + cbor.octets(inner) + rest


def decode(raw: bytes) -> Receipt:
    """Read what ``encode`` writes and nothing else. Raises ReceiptUnreadable. Nothing in it is verified yet."""
    file = CborReader(raw, Part.FILE)
    if len(raw) > RECEIPT_BYTES_MAX:
        file.refuse(f"{len(raw)} bytes, at most {RECEIPT_BYTES_MAX} are allowed")
    file.literal(_SIGN1)
    protected = file.octets(limits.TX_BYTES)
    if protected.startswith(_ALG):
        return _read_receipt(CborReader(raw, Part.FILE), None)
    file.literal(_RECEIPTS)
    receipt = file.octets(RECEIPT_BYTES_MAX)
    file.part = Part.STATEMENT
    payload, signature = file.octets(limits.TX_BYTES), file.octets(SIGNATURE_BYTES, SIGNATURE_BYTES)
    file.part = Part.FILE
    file.finish()
    transaction = _SIGN1 + cbor.octets(protected) + b"\xa0" + cbor.octets(payload) + cbor.octets(signature)
    return _read_receipt(CborReader(receipt, Part.FILE), transaction)


def _opened(transaction: bytes) -> tuple[bytes, bytes]:
    """A transaction on both sides of its empty unprotected header."""
    reader = CborReader(transaction, Part.STATEMENT)
    reader.literal(_SIGN1)
    head = cbor.octets(reader.octets(limits.TX_BYTES))
    reader.literal(b"\xa0")
    return head, transaction[len(_SIGN1) + len(head) + 1 :]


# The receipt ------------------------------------------------------------------------------------


def _receipt(receipt: Receipt) -> bytes:
    held = isinstance(receipt.proof, Holding)
    claims = cbor.text(receipt.issuer) + b"\x02" + cbor.text(receipt.subject)
    protected = _ALG + claims + _VDS + _NEGATIVE[VDS_STATE if held else VDS_BLOCK]
    blocks = cbor.array((write_validators(receipt.block.validators), cbor.array(map(write_block, receipt.chain))))
    newer = receipt.block.header
    proof = _holding(receipt.proof, newer) if isinstance(receipt.proof, Holding) else _acceptance(receipt.proof, newer)
    return b"".join(
        (
            _SIGN1,
            cbor.octets(protected),
            _PROOFS,
            cbor.octets(proof),
            _NEGATIVE[VALIDATORS],
            cbor.octets(blocks),
            cbor.NULL,
            cbor.octets(write_commit(receipt.block.commit)),
        )
    )


def _read_receipt(reader: CborReader, transaction: bytes | None) -> Receipt:
    reader.literal(_SIGN1)
    issuer, subject = _read_protected(reader, VDS_STATE if transaction is None else VDS_BLOCK)
    reader.literal(_PROOFS)
    proof_bytes = reader.octets(RECEIPT_BYTES_MAX)
    reader.literal(_NEGATIVE[VALIDATORS])
    blocks = reader.within(Part.VALIDATORS, RECEIPT_BYTES_MAX)
    blocks.array(2, 2)
    validators = read_validators(blocks)
    blocks.part = Part.CHAIN
    chain = blocks.items(read_block, CHAIN_MAX)
    blocks.finish()
    reader.literal(cbor.NULL)
    signature = reader.within(Part.COMMIT, RECEIPT_BYTES_MAX)
    commit = read_commit(signature, validators)
    signature.finish()
    reader.finish()
    proof, header = _read_holding(proof_bytes) if transaction is None else _read_acceptance(proof_bytes, transaction)
    return Receipt(issuer, subject, proof, SignedBlock(header, commit, validators), chain)


def _read_protected(reader: CborReader, structure: int) -> tuple[str, str]:
    protected = reader.within(Part.CLAIMS, 1_024)
    protected.literal(_ALG)
    issuer = protected.text(limits.CHAIN_ID_CHARS)
    protected.literal(b"\x02")
    subject = protected.text(limits.PATH_BYTES)
    protected.literal(_VDS)
    protected.literal(_NEGATIVE[structure])
    protected.finish()
    return issuer, subject


# Proofs -----------------------------------------------------------------------------------------


def _acceptance(proof: Acceptance, newer: Header) -> bytes:
    result = proof.result
    fields = (
        cbor.uint(result.code),
        cbor.octets(result.data),
        cbor.uint(result.gas_wanted),
        cbor.uint(result.gas_used),
    )
    return cbor.array(
        (
            cbor.uint(proof.way.turns),
            _aunts(proof.way.aunts),
            write_header(proof.header),
            cbor.array(fields),
            _aunts(proof.result_aunts),
            write_header(newer),
        )
    )


def _read_acceptance(raw: bytes, transaction: bytes) -> tuple[Proof, Header]:
    reader = CborReader(raw, Part.INCLUSION)
    reader.array(6, 6)
    way = _read_way(reader)
    reader.part = Part.HEADER
    header = read_header(reader)
    reader.part = Part.RESULT
    reader.array(4, 4)
    code, data = reader.uint(INT32_MAX), reader.octets(RESULT_BYTES_MAX)
    result = TxResult(code, data, reader.uint(INT64_MAX), reader.uint(INT64_MAX))
    result_aunts = reader.items(read_digest, LEVELS_MAX)
    reader.part = Part.HEADER
    newer = read_header(reader)
    reader.finish()
    return Acceptance(transaction, header, way, result, result_aunts), newer


def _holding(proof: Holding, newer: Header) -> bytes:
    return cbor.array(
        (
            cbor.octets(proof.path),
            cbor.octets(proof.body),
            cbor.uint(proof.way.turns),
            _aunts(proof.way.aunts),
            _aunts(proof.bucket_aunts),
            _aunts(proof.store_aunts),
            write_header(newer),
        )
    )


def _read_holding(raw: bytes) -> tuple[Proof, Header]:
    reader = CborReader(raw, Part.VALUE)
    reader.array(7, 7)
    path, body = reader.octets(limits.PATH_BYTES, 1), reader.octets(limits.VALUE_BYTES, 1)
    if not path.isascii():
        reader.refuse("its path is not ASCII")
    way = _read_way(reader)
    bucket, store = reader.items(read_digest, LEVELS_MAX), reader.items(read_digest, LEVELS_MAX)
    reader.part = Part.HEADER
    header = read_header(reader)
    reader.finish()
    return Holding(path, body, way, bucket, store), header


def _aunts(aunts: tuple[bytes, ...]) -> bytes:
    return cbor.array(map(cbor.octets, aunts))


def _read_way(reader: CborReader) -> Way:
    turns = reader.uint(2**LEVELS_MAX - 1)
    aunts = reader.items(read_digest, LEVELS_MAX)
    if turns >= 1 << len(aunts):
        reader.refuse(f"it turns more often than its {len(aunts)} aunts allow")
    return Way(turns, aunts)
