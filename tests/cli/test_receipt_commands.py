"""``fedledger receipt`` in this process: what it says, its exit statuses, and that nothing is asked of any network.

Exporting from real nodes is in ``test_cli_e2e``.
"""

import json

import pytest

from campaigns.harness import consortium
from campaigns.harness.answered import receipts
from campaigns.harness.chain import CHAIN_ID
from campaigns.harness.consortium import HOSPITAL_A, LAB, MODEL, TASK
from campaigns.harness.header_chain import FOUR, Members, genesis_document
from client_sdk.receipts import encode, export
from contracts import privacy_budget
from contracts.kernel.crypto import sha256
from contracts.rulebook import Rules


@pytest.fixture
def files(tmp_path):
    """The two receipts, and genesis documents that are theirs and another ledger's."""
    told, transaction, account = receipts()
    (tmp_path / "transaction.cose").write_bytes(encode(transaction))
    (tmp_path / "account.cose").write_bytes(encode(account))
    (tmp_path / "genesis.json").write_text(json.dumps(told.genesis))
    (tmp_path / "other.json").write_text(json.dumps(genesis_document(Members.of(eve=1), CHAIN_ID)))
    return tmp_path


def test_a_transactions_receipt_says_who_asked_for_what_and_when_it_was_accepted(run, files):
    told, _, _ = receipts()
    command = ("receipt", "verify", files / "transaction.cose", "--genesis", files / "genesis.json")
    text = run(*command)
    assert text.status == 0
    for part in ("accepted", "contributions/commit", f"block {told.height + 1} by 40 of 40", f"genesis of {CHAIN_ID}"):
        assert part in text.out
    data = run(*command, "--format", "json").data
    assert (data["proves"], data["height"], data["ledger"]) == ("accepted", told.height, CHAIN_ID)
    assert data["hash"] == sha256(told.transactions[0]).hex()
    assert data["fields"]["task"] == TASK
    committed = next(each for each in data["events"] if each["event"] == "contributions/committed")
    assert committed["organisation"] == HOSPITAL_A.name


def test_a_budgets_receipt_says_what_was_spent_and_when(run, files):
    command = ("receipt", "verify", files / "account.cose", "--genesis", files / "genesis.json")
    text = run(*command)
    assert text.status == 0
    assert "ε spent" in text.out
    data = run(*command, "--format", "json").data
    assert (data["proves"], data["record"]) == ("held", "Account")
    account = privacy_budget.DATASET_ACCOUNTS.read(receipts()[2].proof.body)
    assert data["epsilon_least"] == privacy_budget.least_epsilon_of(account.spent, 100_000)


def test_a_record_that_this_version_does_not_know_is_shown_as_bytes(run, files, monkeypatch):
    monkeypatch.setattr(Rules, "map_of", lambda *_: None)
    told, _, _ = receipts()
    path = next(path for path in told.node.bodies[told.node.height - 1] if path.startswith(b"replay/"))
    (files / "mark.cose").write_bytes(encode(told.ask(lambda client: export.record(client, path))))
    command = ("receipt", "verify", files / "mark.cose", "--genesis", files / "genesis.json")
    data = run(*command, "--format", "json").data
    assert (data["record"], data["path"]) == (None, path.decode())
    assert data["fields"] == {"bytes": told.node.bodies[told.node.height - 1][path].hex()}
    assert run(*command).status == 0


def test_each_way_to_fail_has_its_own_status_and_names_the_part(run, files):
    good = (files / "transaction.cose").read_bytes()
    bad = files / "bad.cose"

    def refused(raw, *trust):
        bad.write_bytes(raw)
        ran = run("receipt", "verify", bad, *(trust or ("--genesis", files / "genesis.json")), "--format", "json")
        return ran.status, ran.envelope["error_code"], ran.envelope["facts"]["part"]

    place = good.index(receipts()[1].proof.result.data) + 3
    changed = good[:place] + bytes((good[place] ^ 1,)) + good[place + 1 :]
    assert refused(changed) == (6, "RECEIPT_INVALID", "result")
    assert refused(good[:-1]) == (7, "RECEIPT_UNREADABLE", "statement")
    assert refused(b"hello") == (7, "RECEIPT_UNREADABLE", "file")
    assert refused(good, "--genesis", files / "other.json") == (8, "RECEIPT_NOT_TRUSTED", "trust")
    assert refused(good, "--validators-hash", "00" * 32) == (8, "RECEIPT_NOT_TRUSTED", "trust")
    text = run("receipt", "verify", bad, "--validators-hash", "00" * 32)
    assert text.out == ""
    assert "What to do:" in text.err


def test_a_block_or_a_set_of_validators_may_be_trusted_instead_of_the_genesis(run, files):
    header = receipts()[1].block.header
    for option in (
        ("--checkpoint", f"{header.height}:{header.hash.hex()}"),
        ("--validators-hash", FOUR.set.hash.hex()),
    ):
        assert run("receipt", "verify", files / "transaction.cose", *option).status == 0


def test_exactly_one_thing_must_be_trusted_and_it_must_be_readable(run, files):
    file = files / "transaction.cose"
    nothing = run("receipt", "verify", file)
    assert (nothing.status, nothing.err.split(":")[0]) == (4, "NO_TRUST_ROOT")
    both = run("receipt", "verify", file, "--genesis", files / "genesis.json", "--validators-hash", "00" * 32)
    assert both.status == 4
    for genesis in (file, files / "account.cose"):
        assert run("receipt", "verify", file, "--genesis", genesis).err.startswith("GENESIS_UNREADABLE")
    for option, value in (("--checkpoint", "7"), ("--checkpoint", "x:00"), ("--validators-hash", "zz")):
        assert run("receipt", "verify", file, option, value).status == 4
    assert run("receipt", "verify", files / "none.cose", "--genesis", files / "genesis.json").status == 2


def test_nothing_is_overwritten_and_names_are_counted_before_a_node_is_asked(run, files):
    kept = (files / "account.cose").read_bytes()
    ran = run("receipt", "export", "budget", LAB.name, "--out", files / "account.cose")
    assert (ran.status, ran.err.split(":")[0]) == (4, "FILE_EXISTS")
    assert (files / "account.cose").read_bytes() == kept
    for names in (("tx",), ("tx", "a", "b"), ("contribution", "a"), ("budget", "a", "b", "c"), ("version", "a")):
        assert run("receipt", "export", *names, "--out", files / "new.cose").status == 4
    assert not (files / "new.cose").exists()


def test_what_is_named_must_be_a_name_of_the_ledger_and_known_to_it(run, members, tmp_path):
    who = members(consortium.joined()).of(LAB)
    out = ("--out", tmp_path / "new.cose", *who)
    for names in (("budget", "é"), ("budget", "x" * 300), ("version", "a/b", "1"), ("version", MODEL, "one")):
        assert run("receipt", "export", *names, *out).status == 4
    assert "UNKNOWN_ORGANISATION" in run("receipt", "export", "budget", "nobody", *out).err
    assert "UNKNOWN_VERSION" in run("receipt", "export", "version", MODEL, "7", *out).err
    assert run("receipt", "export", "contribution", TASK, "1", LAB.name, *out).err.startswith("NO_RECEIPT")
    assert not (tmp_path / "new.cose").exists()
