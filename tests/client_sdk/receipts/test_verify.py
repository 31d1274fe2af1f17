"""What a receipt proves, and every way in which one that proves nothing is found out, with the part that differs."""

from dataclasses import replace

import pytest

from campaigns.harness import consortium
from campaigns.harness.answered import ACCOUNT, ledger, receipts
from campaigns.harness.chain import CHAIN_ID
from campaigns.harness.consortium import HOSPITAL_A, HOSPITAL_B
from campaigns.harness.header_chain import FOUR, Members, forge, genesis_document
from client_sdk import light
from client_sdk.light.headers import BlockId
from client_sdk.receipts import (
    Acceptance,
    CheckpointTrust,
    GenesisTrust,
    Receipt,
    ReceiptInvalid,
    ReceiptNotTrusted,
    SignedBlock,
    ValidatorsTrust,
    decode,
    encode,
    export,
    verify,
)
from client_sdk.receipts.errors import Part
from client_sdk.receipts.parts import ABSENT, Way
from contracts import privacy_budget
from contracts.kernel import crypto, merkle
from contracts.kernel.envelope import LedgerId


def genesis_trust(members: Members = FOUR, chain_id: str = CHAIN_ID) -> GenesisTrust:
    return GenesisTrust(light.trust_genesis(genesis_document(members, chain_id)))


def transaction() -> Receipt:
    return receipts()[1]


def account() -> Receipt:
    return receipts()[2]


def refused(part: Part, receipt: Receipt, trust=None) -> ReceiptInvalid:
    """The receipt is refused for this part, also when it comes from a file."""
    with pytest.raises(ReceiptInvalid) as caught:
        verify(receipt, trust or genesis_trust())
    assert caught.value.part is part, caught.value
    with pytest.raises(ReceiptInvalid) as again:
        verify(decode(encode(receipt)), trust or genesis_trust())
    assert str(again.value) == str(caught.value)
    return caught.value


def with_proof(receipt: Receipt, **changes) -> Receipt:
    return replace(receipt, proof=replace(receipt.proof, **changes))


def with_block(receipt: Receipt, **changes) -> Receipt:
    return replace(receipt, block=replace(receipt.block, **changes))


def block_of(height: int) -> SignedBlock:
    chain = receipts()[0].node.chain
    return SignedBlock.kept(chain.signed(height), chain.validators(height))


# The truth --------------------------------------------------------------------------------------


def test_a_transaction_is_proved_with_its_block_its_time_and_its_result():
    told, receipt, _ = receipts()
    proven = verify(receipt, genesis_trust())
    assert (proven.chain_id, proven.height) == (CHAIN_ID, told.height)
    assert proven.time_ns == told.node.chain.header(told.height).time_ns
    assert proven.accepted is not None
    assert proven.held is None
    assert proven.accepted.hash == crypto.sha256(told.transactions[0])
    assert proven.accepted.envelope.key == HOSPITAL_A.worker.public
    assert proven.accepted.result == told.node.chain.results[told.height][0]
    assert proven.signed == (40, 40)
    assert proven.trust == f"the genesis of {CHAIN_ID}"


def test_a_record_is_proved_as_it_was_after_a_block():
    told, _, receipt = receipts()
    proven = verify(receipt, genesis_trust())
    assert proven.held is not None
    assert proven.accepted is None
    assert (proven.held.path, proven.height) == (ACCOUNT, told.node.height - 1)
    account = privacy_budget.DATASET_ACCOUNTS.read(proven.held.body)
    assert [(hold.task, hold.round) for hold in account.holds] == [(consortium.TASK, 1)], "as it was last written"


def test_two_thirds_and_a_little_are_enough_and_exactly_two_thirds_are_not():
    def signed_by(count: int, members: Members) -> Receipt:
        chain = transaction().block
        signed = forge(chain.header, members)
        kept = SignedBlock.kept(signed, members.set)
        entries = kept.commit.signatures
        entries = (*entries[:count], *(ABSENT for _ in entries[count:]))
        return replace(transaction(), block=replace(kept, commit=replace(kept.commit, signatures=entries)))

    assert verify(signed_by(3, FOUR), genesis_trust()).signed == (30, 40)
    assert "20 of 40" in str(refused(Part.COMMIT, signed_by(2, FOUR)))


def test_exactly_two_thirds_are_too_few():
    three = Members.of(ann=10, bob=10, cem=10)
    told = ledger(first=three)
    block = told.node.chain.signed(told.height + 1)
    kept = SignedBlock.kept(block, three.set)
    for missing in range(3):
        entries = list(kept.commit.signatures)
        entries[missing] = ABSENT
        short = replace(kept, commit=replace(kept.commit, signatures=tuple(entries)))
        refused(Part.COMMIT, replace(transaction(), block=short))


def test_every_place_in_a_block_has_a_receipt_except_that_of_a_refusal():
    told, _, _ = receipts()
    for index in range(len(told.transactions) - 1):
        verify(receipt_by_hand(index), genesis_trust())


def receipt_by_hand(index: int, **result_changes) -> Receipt:
    """The receipt of a transaction, put together from the chain itself."""
    told, _, _ = receipts()
    chain = told.node.chain
    digests = [crypto.sha256(raw) for raw in told.transactions]
    hashes = b"".join(crypto.sha256(b"\0" + one) for one in digests)
    results = chain.results[told.height]
    result = replace(results[index], **result_changes)
    way = Way.of(len(digests), index, merkle.tree_aunts(hashes, index))
    aunts = light.prove_result(results, index).aunts
    proof = Acceptance(told.transactions[index], chain.header(told.height), way, result, aunts)
    return Receipt.about(proof, [block_of(told.height + 1)])


# Forgeries of transactions ----------------------------------------------------------------------


def test_a_refused_transaction_has_no_receipt_whatever_its_code_is_said_to_be():
    last = len(receipts()[0].transactions) - 1
    assert "the transaction was refused" in str(refused(Part.RESULT, receipt_by_hand(last)))
    refused(Part.RESULT, receipt_by_hand(last, code=0))


@pytest.mark.parametrize("changes", [{"data": b"\x80"}, {"gas_used": 1}, {"gas_wanted": 1}])
def test_another_result_is_refused(changes):
    refused(Part.RESULT, receipt_by_hand(0, **changes))


def test_the_result_of_another_transaction_is_refused():
    other = receipt_by_hand(1).proof
    refused(Part.RESULT, with_proof(transaction(), result=other.result))
    refused(Part.RESULT, with_proof(transaction(), result=other.result, result_aunts=other.result_aunts))


def test_another_place_is_refused():
    way = transaction().proof.way
    refused(Part.INCLUSION, with_proof(transaction(), way=Way(way.turns ^ 1, way.aunts)))
    refused(Part.INCLUSION, with_proof(transaction(), way=Way(0, way.aunts[:-1])))
    refused(Part.INCLUSION, with_proof(transaction(), way=Way(way.turns, (*way.aunts, bytes(32)))))
    refused(Part.RESULT, with_proof(transaction(), result_aunts=transaction().proof.result_aunts[:-1]))
    refused(Part.RESULT, with_proof(transaction(), result_aunts=(*transaction().proof.result_aunts, bytes(32))))


def test_the_statement_of_another_transaction_is_refused():
    told, receipt, _ = receipts()
    other = with_proof(receipt, transaction=told.transactions[1])
    refused(Part.INCLUSION, other)
    refused(Part.INCLUSION, replace(other, subject=other.proof.subject))


def test_a_statement_with_a_signature_that_does_not_hold_is_refused_although_the_chain_has_it():
    rules = consortium.reserved()
    raw = bytearray(rules.seal(HOSPITAL_A, consortium.commit()))
    raw[-1] ^= 1
    receipt = with_proof(transaction(), transaction=bytes(raw))
    assert "does not hold" in str(refused(Part.STATEMENT, replace(receipt, subject=receipt.proof.subject)))


def test_a_statement_for_another_ledger_is_refused():
    raw = consortium.reserved().seal(HOSPITAL_A, consortium.commit(), ledger=LedgerId("another-ledger", bytes(32)))
    receipt = with_proof(transaction(), transaction=raw)
    refused(Part.STATEMENT, replace(receipt, subject=receipt.proof.subject))


def test_what_is_no_transaction_has_no_receipt():
    with pytest.raises(ReceiptInvalid) as caught:
        verify(with_proof(transaction(), transaction=b"hello"), genesis_trust())
    assert caught.value.part is Part.STATEMENT


# Forgeries of blocks ----------------------------------------------------------------------------


def test_a_block_that_does_not_follow_is_refused():
    told, receipt, _ = receipts()
    refused(Part.HEADER, replace(receipt, block=block_of(told.height + 2)))
    refused(Part.HEADER, with_proof(receipt, header=told.node.chain.header(told.height - 1)))


def test_a_commit_for_another_block_is_refused():
    told, receipt, _ = receipts()
    refused(Part.HEADER, with_block(receipt, commit=block_of(told.height + 2).commit))
    twin = forge(replace(receipt.block.header, evidence_hash=bytes(32)), FOUR)
    refused(Part.HEADER, with_block(receipt, commit=SignedBlock.kept(twin, FOUR.set).commit))


def test_a_header_that_nobody_signed_is_refused():
    for changes in ({"last_results_hash": bytes(32)}, {"time_ns": 1}, {"proposer_address": bytes(20)}):
        header = replace(transaction().block.header, **changes)
        refused(Part.HEADER, with_block(transaction(), header=header))


@pytest.mark.parametrize(
    "changes",
    [{"round": 1}, {"height": 1_000}, {"block_id": BlockId(bytes(32), 1, bytes(32))}],
)
def test_a_commit_that_was_changed_is_refused(changes):
    commit = replace(transaction().block.commit, **changes)
    refused(Part.COMMIT, with_block(transaction(), commit=commit))


def test_votes_for_another_ledger_are_refused():
    header = transaction().block.header
    commit = SignedBlock(header, forge(header, FOUR, chain_id="another-ledger").commit, FOUR.set)
    refused(Part.COMMIT, replace(transaction(), block=commit))


def test_one_bad_signature_is_refused_although_more_than_two_thirds_hold():
    commit = transaction().block.commit
    entries = list(commit.signatures)
    entries[3] = replace(entries[3], signature=bytes(64))
    refused(Part.COMMIT, with_block(transaction(), commit=replace(commit, signatures=tuple(entries))))


def test_other_validators_are_refused():
    strangers = Members.of(ann=10, bob=10, cem=10, eve=10)
    refused(Part.VALIDATORS, with_block(transaction(), validators=strangers.set))
    heavier = Members.of(ann=1000, bob=10, cem=10, dee=10)
    refused(Part.VALIDATORS, with_block(transaction(), validators=heavier.set))


def test_claims_about_something_else_are_refused():
    refused(Part.CLAIMS, replace(transaction(), issuer="another-ledger"))
    refused(Part.CLAIMS, replace(transaction(), subject="00" * 32))
    refused(Part.CLAIMS, replace(account(), subject="privacy_budget/datasets/hospital-b/wdbc"))


def test_another_block_format_is_refused():
    header = replace(transaction().block.header, version_block=12)
    refused(Part.HEADER, replace(transaction(), block=SignedBlock.kept(forge(header, FOUR), FOUR.set)))


# Forgeries of records ---------------------------------------------------------------------------


def test_another_body_is_refused():
    refused(Part.VALUE, with_proof(account(), body=account().proof.body + b"\0"))


def test_the_proof_of_another_path_is_refused():
    path = privacy_budget.DATASET_ACCOUNTS.path((HOSPITAL_B.name, consortium.DATASET))
    receipt = with_proof(account(), path=path)
    refused(Part.VALUE, replace(receipt, subject=receipt.proof.subject))


@pytest.mark.parametrize("path", [b"nowhere/x", b"no-slash", b"rounds/x:00"])
def test_a_path_that_no_state_has_is_refused(path):
    receipt = with_proof(account(), path=path)
    refused(Part.VALUE, replace(receipt, subject=receipt.proof.subject))


def test_a_record_of_another_time_is_refused():
    told, _, receipt = receipts()
    refused(Part.VALUE, replace(receipt, block=block_of(told.height)))


def test_a_record_cannot_be_proved_through_a_record_that_holds_a_root():
    """The operator that a lying node would prepend (contracts.kernel.merkle): its root would be the record's body."""
    path = account().proof.path
    false = merkle.commit_value(path, b"\x01")
    root = merkle.leaf_hash(path.partition(b"/")[2], false)
    refused(Part.VALUE, with_proof(account(), body=root, way=Way(0, ())))
    for aunts in (account().proof.bucket_aunts[1:], (root, *account().proof.bucket_aunts)):
        refused(Part.VALUE, with_proof(account(), bucket_aunts=aunts))
    refused(Part.VALUE, with_proof(account(), store_aunts=(root, *account().proof.store_aunts)))


# Trust ------------------------------------------------------------------------------------------


def untrusted(receipt: Receipt, trust) -> str:
    with pytest.raises(ReceiptNotTrusted) as caught:
        verify(receipt, trust)
    assert caught.value.part is Part.TRUST
    return str(caught.value)


@pytest.mark.parametrize("kind", [transaction, account])
def test_a_ledger_that_somebody_made_up_is_sound_and_not_trusted(kind):
    liars = Members.of(eve=10, fay=10, gus=10)
    header = replace(kind().block.header, validators_hash=liars.set.hash)
    receipt = replace(kind(), block=SignedBlock.kept(forge(header, liars), liars.set))
    assert verify(receipt, genesis_trust(liars)).signed == (30, 30)
    assert "signed" in untrusted(receipt, genesis_trust())
    assert "another-ledger" in untrusted(kind(), genesis_trust(chain_id="another-ledger"))


def test_a_checkpoint_is_a_block_of_the_receipt_by_its_hash():
    header = transaction().block.header
    assert verify(transaction(), CheckpointTrust(header.height, header.hash)).trust.endswith(header.hash.hex())
    untrusted(transaction(), CheckpointTrust(header.height, bytes(32)))
    assert f"holds no block {header.height + 1}" in untrusted(
        transaction(), CheckpointTrust(header.height + 1, header.hash)
    )


def test_validators_are_trusted_by_their_hash():
    assert verify(transaction(), ValidatorsTrust(FOUR.set.hash)).signed == (40, 40)
    assert FOUR.set.hash.hex() in untrusted(transaction(), ValidatorsTrust(bytes(32)))


# A validator set that changed more than skipping verification bears ------------------------------

MIDDLE = Members.of(ann=10, bob=10, eve=10, fay=10)
LATER = Members.of(eve=10, fay=10, gus=10, hal=10)


def changed() -> Receipt:
    """A transaction signed by a set that shares nobody with the genesis."""
    told = ledger(changes={3: MIDDLE, 5: LATER})
    return told.ask(lambda client: export.transaction(client, crypto.sha256(told.transactions[0])))


def test_a_receipt_bridges_changes_of_the_validators_by_the_fewest_blocks():
    receipt = changed()
    assert len(receipt.chain) == 1
    assert receipt.chain[0].validators == MIDDLE.set
    assert verify(receipt, genesis_trust()).block.validators == LATER.set
    assert verify(decode(encode(receipt)), genesis_trust()).signed == (40, 40)
    middle = receipt.chain[0].header
    for trust in (
        CheckpointTrust(middle.height, middle.hash),
        CheckpointTrust(receipt.block.header.height, receipt.block.header.hash),
        ValidatorsTrust(MIDDLE.set.hash),
        ValidatorsTrust(LATER.set.hash),
    ):
        verify(receipt, trust)
    untrusted(receipt, ValidatorsTrust(FOUR.set.hash))


def test_without_the_blocks_between_it_does_not_lead_back_to_the_genesis():
    receipt = changed()
    assert "0 of 40" in untrusted(replace(receipt, chain=()), genesis_trust())
    untrusted(replace(receipt, chain=(receipt.block,)), genesis_trust())


def test_a_changed_block_between_is_named():
    receipt = changed()
    header = replace(receipt.chain[0].header, time_ns=1)
    error = refused(Part.CHAIN, replace(receipt, chain=(replace(receipt.chain[0], header=header),)))
    assert "header" in str(error)


def test_blocks_between_must_be_in_order():
    receipt = changed()
    untrusted(replace(receipt, chain=(receipt.chain[0], receipt.chain[0])), genesis_trust())
