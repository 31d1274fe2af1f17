"""Whether a receipt proves what it says: pure, without sockets or a clock, in the order in which a part can be blamed.

First every part against the others, so that a changed byte is found and named whatever the verifier trusts; then the
way from the verifier's trust to the block. The light client's rules decide (``client_sdk.light``); stricter here is
only that *every* precommit in the file must hold: a node's answer may carry bad ones along, a receipt may not.

What proves what: block H+1 is signed; it names the hash of block H, the results of H, and the state after H. So one
commit serves for the inclusion of a transaction in H and for its result.
"""

from dataclasses import dataclass

from contracts.kernel import crypto, envelope, merkle
from contracts.kernel.codec import Malformed
from contracts.kernel.envelope import Envelope
from contracts.kernel.merkle import ProofInvalid, Step
from contracts.registry import RULES
from contracts.rulebook import Rulebook, UnknownRules

from ..light import Flag, NewerRules, TxResult
from ..light.headers import BLOCK_PROTOCOL, Header
from .errors import Part, ReceiptInvalid
from .parts import Acceptance, Holding, Receipt, SignedBlock, Way
from .trust import Trust


@dataclass(frozen=True)
class Proven:
    """What a receipt proves. One of ``accepted`` and ``held`` is set."""

    chain_id: str
    height: int  # Of the transaction's block, or of the last block whose effects are in the state.
    time_ns: int  # That block's for a transaction; the next one's for a record.
    block: SignedBlock  # The next one, which proves it.
    trust: str
    accepted: "Accepted | None" = None
    held: Holding | None = None

    @property
    def signed(self) -> tuple[int, int]:
        """The voting power that signed the block that proves it, and all of it."""
        return _power(self.block), self.block.validators.power


@dataclass(frozen=True)
class Accepted:
    """A transaction that was decided with code 0."""

    hash: bytes
    envelope: Envelope
    result: TxResult


def verify(receipt: Receipt, trust: Trust, book: Rulebook = RULES) -> Proven:
    """Check a receipt as ``form.decode`` read it.

    Raises ReceiptInvalid naming the part; ReceiptNotTrusted; NewerRules for a record of a newer ledger.
    """
    signed = None
    if isinstance(receipt.proof, Acceptance):
        signed = _check_statement(receipt.proof.transaction)
    _check_block(receipt.block, receipt.issuer)
    for block in receipt.chain:
        _check_chained(block, receipt.issuer)
    newer = receipt.block.header
    if isinstance(receipt.proof, Acceptance):
        assert signed is not None
        proven = _check_acceptance(receipt.proof, newer, signed)
        time_ns, held = receipt.proof.header.time_ns, None
    else:
        _check_holding(book, receipt.proof, newer)
        time_ns, proven, held = newer.time_ns, None, receipt.proof
    if receipt.subject != receipt.proof.subject:
        raise ReceiptInvalid(Part.CLAIMS, f"they are about {receipt.subject!r}, proved is {receipt.proof.subject!r}")
    trust.follow(receipt.blocks)
    return Proven(newer.chain_id, receipt.height, time_ns, receipt.block, trust.name, proven, held)


# Blocks -----------------------------------------------------------------------------------------


def _check_block(block: SignedBlock, chain_id: str) -> None:
    """Header, validators and commit fit each other, and enough signed. Of two that differ, the unsigned one is named.

    The chain id that the validators signed is taken from the claims, so that a header that says another is found.
    """
    header, commit = block.header, block.commit
    what = f"block {commit.height}"
    holds = _signatures_hold(block, chain_id)
    if (header.hash, header.height) != (commit.block_id.hash, commit.height):
        if holds:
            raise ReceiptInvalid(Part.HEADER, f"it hashes to {header.hash.hex()}, signed was another for {what}")
        raise ReceiptInvalid(Part.COMMIT, f"it is not for the header of {what}, and its signatures do not hold")
    if header.chain_id != chain_id:
        raise ReceiptInvalid(Part.CLAIMS, f"they name the ledger {chain_id!r}, the header {header.chain_id!r}")
    if header.version_block != BLOCK_PROTOCOL:
        raise ReceiptInvalid(Part.HEADER, f"block format {header.version_block}, expected is {BLOCK_PROTOCOL}")
    if header.validators_hash != block.validators.hash:
        raise ReceiptInvalid(Part.VALIDATORS, f"they are not those that the header of {what} names")
    if not holds:
        raise ReceiptInvalid(Part.COMMIT, f"a signature of {what} does not hold")
    if 3 * _power(block) <= 2 * block.validators.power:
        why = f"{_power(block)} of {block.validators.power} voting power signed {what}, more than two thirds must"
        raise ReceiptInvalid(Part.COMMIT, why)


def _check_chained(block: SignedBlock, chain_id: str) -> None:
    try:
        _check_block(block, chain_id)
    except ReceiptInvalid as error:
        raise ReceiptInvalid(Part.CHAIN, str(error)) from error


def _signatures_hold(block: SignedBlock, chain_id: str) -> bool:
    """Whether each precommit in the file holds; the light client counts those that do, and forgives the others."""
    commit = block.commit
    return all(
        crypto.verify(validator.public, commit.sign_bytes(chain_id, index), entry.signature)
        for index, (entry, validator) in enumerate(zip(commit.signatures, block.validators.members, strict=True))
        if entry.flag is Flag.COMMIT
    )


def _power(block: SignedBlock) -> int:
    entries = zip(block.commit.signatures, block.validators.members, strict=True)
    return sum(validator.power for entry, validator in entries if entry.flag is Flag.COMMIT)


# Transactions -----------------------------------------------------------------------------------


def _check_statement(transaction: bytes) -> Envelope:
    """The transaction is one, and its signature holds under the key that it names."""
    try:
        signed = envelope.parse(transaction)
    except Malformed as error:
        raise ReceiptInvalid(Part.STATEMENT, f"it is no transaction: {error}") from error
    if not crypto.verify(signed.key, signed.signed, signed.signature):
        raise ReceiptInvalid(Part.STATEMENT, f"the signature of {crypto.did_key(signed.key)} does not hold")
    return signed


def _check_acceptance(proof: Acceptance, newer: Header, signed: Envelope) -> Accepted:
    header, digest = proof.header, crypto.sha256(proof.transaction)
    if header.height != newer.height - 1 or header.hash != newer.last_block_id.hash:
        why = f"block {newer.height} follows {newer.last_block_id.hash.hex()}, given is {header.hash.hex()}"
        raise ReceiptInvalid(Part.HEADER, why)
    if signed.ledger.chain_id != header.chain_id:
        raise ReceiptInvalid(
            Part.STATEMENT, f"it is for the ledger {signed.ledger.chain_id!r}, not {header.chain_id!r}"
        )
    _require_root(Part.INCLUSION, proof.way, digest, header.data_hash)
    if proof.result.code != 0:
        raise ReceiptInvalid(Part.RESULT, f"code {proof.result.code}: the transaction was refused")
    if len(proof.result_aunts) != len(proof.way.aunts):
        why = f"its way has {len(proof.result_aunts)} steps, that of its transaction {len(proof.way.aunts)}"
        raise ReceiptInvalid(Part.RESULT, why)
    # A block has as many results as transactions, so the same turns lead to the same place in both trees.
    _require_root(Part.RESULT, Way(proof.way.turns, proof.result_aunts), proof.result.leaf, newer.last_results_hash)
    return Accepted(digest, signed, proof.result)


def _require_root(part: Part, way: Way, leaf: bytes, root: bytes) -> None:
    try:
        digest = merkle.climb(1 << len(way.aunts), way.turns, crypto.sha256(b"\x00" + leaf), way.aunts)
    except ProofInvalid as error:
        raise ReceiptInvalid(part, str(error)) from error
    if digest != root:
        raise ReceiptInvalid(part, f"it leads to {digest.hex()}, the header says {root.hex()}")


# Records ----------------------------------------------------------------------------------------


def _check_holding(book: Rulebook, proof: Holding, newer: Header) -> None:
    try:
        stores = book.of(newer.version_app).stores
    except UnknownRules as unknown:
        raise NewerRules(f"header {newer.height}", unknown.version, unknown.known) from unknown
    try:
        merkle.verify(newer.app_hash, stores, proof.path, proof.body, _merkle_proof(stores, proof))
    except (ProofInvalid, ValueError) as error:
        raise ReceiptInvalid(Part.VALUE, str(error)) from error


def _merkle_proof(stores: tuple[str, ...], proof: Holding) -> merkle.Proof:
    """The three steps of a value's proof, with what the path fixes filled in."""
    store, key = merkle.split_path(proof.path)
    if store not in stores:
        raise ProofInvalid("store", f"{store!r} is none of the ledger's stores")
    leaf = merkle.leaf_hash(key, merkle.commit_value(proof.path, proof.body))
    entry = Step(key, 1 << len(proof.way.aunts), proof.way.turns, leaf, proof.way.aunts)
    root = merkle.climb(entry.total, entry.index, leaf, entry.aunts)
    leaf = merkle.leaf_hash(b"", root)
    bucket = Step(b"", merkle.BUCKETS, merkle.bucket_of(proof.path), leaf, proof.bucket_aunts)
    root = merkle.climb(bucket.total, bucket.index, leaf, bucket.aunts)
    name = store.encode("ascii")
    contract = Step(name, len(stores), stores.index(store), merkle.leaf_hash(name, root), proof.store_aunts)
    return merkle.Proof((entry, bucket, contract))
