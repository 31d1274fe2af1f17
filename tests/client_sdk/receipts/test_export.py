"""Making receipts from the answers of a node: one that tells the truth, then one lie at a time."""

from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from campaigns.harness import answered
from campaigns.harness.answered import ACCOUNT, ledger
from campaigns.harness.consortium import DATASET, HOSPITAL_A, HOSPITAL_B, MODEL, TASK
from campaigns.harness.fake_node import b64, header_json
from client_sdk.light import CannotVerify, VerificationFailed
from client_sdk.receipts import Acceptance, GenesisTrust, Holding, NoReceipt, ReceiptInvalid, encode, export, verify
from client_sdk.rpc import AnswerMalformed, Patience
from client_sdk.session import blocking as ledger_module
from client_sdk.session.blocking import Ledger
from contracts import privacy_budget
from contracts.identity import UnknownDataset, UnknownOrganisation
from contracts.kernel.crypto import sha256
from contracts.models import UnknownVersion


def transaction(told: answered.Ledger, index: int = 0):
    return told.ask(lambda client: export.transaction(client, sha256(told.transactions[index])))


def test_every_accepted_transaction_gets_one():
    told = ledger()
    for index in range(4):
        receipt = transaction(told, index)
        assert isinstance(receipt.proof, Acceptance)
        assert receipt.proof.transaction == told.transactions[index]
        assert receipt.chain == (), "the set has not changed, so no block is needed between"
        assert verify(receipt, GenesisTrust(told.trust)).height == told.height


def test_a_contribution_gets_that_of_the_transaction_that_committed_it():
    told = ledger()
    for place, member in enumerate((HOSPITAL_A, HOSPITAL_B)):
        receipt = told.ask(lambda client, name=member.name: export.contribution(client, TASK, 1, name))
        assert receipt.proof.transaction == told.transactions[place]


def test_a_budget_gets_that_of_its_account():
    told = ledger()
    receipt = told.ask(lambda client: export.budget(client, HOSPITAL_A.name, DATASET))
    assert isinstance(receipt.proof, Holding)
    assert receipt.proof.path == ACCOUNT
    whole = told.ask(lambda client: export.budget(client, HOSPITAL_A.name))
    assert whole.proof.path == privacy_budget.ORGANISATION_ACCOUNTS.path(HOSPITAL_A.name)


def test_a_version_gets_that_of_its_record():
    told = ledger()
    receipt = told.ask(lambda client: export.version(client, MODEL, 0))
    assert receipt.subject.startswith(f"models/versions/{MODEL}/")


def test_a_training_script_gets_the_same_file(monkeypatch):
    told = ledger()

    @asynccontextmanager
    async def opened(*_, **__):
        async with told.client() as client:
            yield SimpleNamespace(client=client)

    monkeypatch.setattr(ledger_module, "find_profile", lambda *_: None)
    monkeypatch.setattr(ledger_module, "open_session", opened)
    with Ledger(":devnet:", None, None, HOSPITAL_A.name) as connected:
        raw = connected.receipt(sha256(told.transactions[0]))
    assert raw == encode(transaction(ledger()))


def test_a_refused_transaction_gets_none_and_the_refusal_is_told():
    with pytest.raises(NoReceipt, match="refused with code 614"):
        transaction(ledger(), 4)


def test_what_is_not_there_gets_none():
    told = ledger()
    nothing = {
        lambda client: export.transaction(client, bytes(32)): NoReceipt,
        lambda client: export.contribution(client, TASK, 2, HOSPITAL_A.name): NoReceipt,
        lambda client: export.contribution(client, TASK, 1, "nobody"): NoReceipt,
        lambda client: export.budget(client, "nobody"): UnknownOrganisation,
        lambda client: export.budget(client, HOSPITAL_A.name, "nothing"): UnknownDataset,
        lambda client: export.budget(client, "lab"): NoReceipt,
        lambda client: export.version(client, MODEL, 7): UnknownVersion,
    }
    for work, refusal in nothing.items():
        with pytest.raises(refusal):
            told.ask(work)


def test_the_block_after_is_waited_for_and_said_when_it_does_not_come():
    with pytest.raises(CannotVerify):
        transaction(replace(ledger(after=0), patience=Patience(header=0.0)))
    assert transaction(ledger(after=1)).height


# Lies -------------------------------------------------------------------------------------------


def lie(told: answered.Ledger, method: str, change) -> None:
    truth = told.node.methods[method]
    told.node.methods[method] = lambda params: change(truth(params), params)


def test_another_transactions_proof_is_refused():
    told = ledger()
    others = told.node.found(told.height, 1, [sha256(raw) for raw in told.transactions])["proof"]
    lie(told, "tx", lambda answer, _: {**answer, "proof": others})
    with pytest.raises(ReceiptInvalid, match="inclusion proof"):
        transaction(told)


def test_another_transaction_than_asked_for_is_refused():
    told = ledger()
    other = told.node.found(told.height, 1, [sha256(raw) for raw in told.transactions])
    lie(told, "tx", lambda answer, _: other)
    with pytest.raises(AnswerMalformed):
        transaction(told)


def test_a_result_that_was_made_up_is_refused():
    told = ledger()
    lie(told, "block_results", lambda answer, _: {**answer, "txs_results": answer["txs_results"][::-1]})
    with pytest.raises(VerificationFailed):
        transaction(told)


def test_an_index_out_of_the_block_is_refused():
    told = ledger()
    lie(told, "tx", lambda answer, _: {**answer, "index": 99})
    with pytest.raises(AnswerMalformed, match="index"):
        transaction(told)


def test_a_missing_proof_is_refused():
    told = ledger()
    lie(told, "tx", lambda answer, _: {**answer, "proof": None})
    with pytest.raises(AnswerMalformed, match="proof"):
        transaction(told)


def test_another_header_for_the_transactions_block_is_refused():
    told = ledger()
    chain = told.node.chain

    def change(answer, params):
        if int(params["height"]) != told.height:
            return answer
        forged = {**header_json(chain.header(told.height)), "evidence_hash": "00" * 32}
        return {"signed_header": {**answer["signed_header"], "header": forged}}

    lie(told, "commit", change)
    with pytest.raises(ReceiptInvalid, match="header"):
        transaction(told)


def test_another_record_than_asked_for_is_refused():
    told = ledger()
    store, _, key = ACCOUNT.partition(b"/")

    def change(answer, _):
        return {"response": {**answer["response"], "key": b64(key + b"x")}}

    lie(told, "abci_query", change)
    with pytest.raises(VerificationFailed):
        told.ask(lambda client: export.record(client, store + b"/" + key))


def test_a_node_that_hides_the_commitments_transaction_is_said_to():
    told = ledger()
    lie(told, "block", lambda answer, _: {**answer, "block": {**answer["block"], "data": {"txs": []}}})
    with pytest.raises(NoReceipt, match="does not show"):
        told.ask(lambda client: export.contribution(client, TASK, 1, HOSPITAL_A.name))
