"""Commands over the in-memory chain: what they print, in both forms, and what they say when the ledger refuses.

Everything above the RPC is real: rules, client, keyrings. Real nodes are in ``test_cli_e2e``.
"""

import json

import pytest

from campaigns.harness import consortium
from campaigns.harness.consortium import (
    AUDITOR,
    DATASET,
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITALS,
    LAB,
    MEMBERS,
    MODEL,
    NEWCOMER,
    TASK,
    TERMS,
)
from cli import units
from cli.access import Access
from contracts.identity import AddKey, RevokeKey
from contracts.kernel import crypto
from contracts.kernel.types import Purpose
from contracts.tasks import terms_digest


def test_the_members_are_listed_with_roles_and_caps(run, members):
    who = members(consortium.equipped())
    text = run("org", "show", *who.of(LAB))
    assert text.status == 0
    assert [line.split()[0] for line in text.out.splitlines()[1:]] == sorted(member.name for member in MEMBERS)
    listed = run("org", "show", *who.of(LAB), "--format", "json").data
    assert {each["organisation"] for each in listed} == {member.name for member in MEMBERS}
    lines = run("org", "show", *who.of(LAB), "--format", "jsonl").out.splitlines()
    assert [json.loads(line) for line in lines] == listed


def test_a_member_is_shown_with_its_keys_and_datasets(run, members):
    who = members(consortium.equipped())
    shown = run("org", "show", HOSPITAL_A.name, *who.of(LAB))
    assert units.key(HOSPITAL_A.human.public) in shown.out
    assert units.key(HOSPITAL_A.worker.public) in shown.out
    assert DATASET in shown.out
    data = run("org", "show", HOSPITAL_A.name, *who.of(LAB), "--format", "json").data
    assert [key["purpose"] for key in data["enrolled_keys"]].count("human") == 1
    assert data["registered_datasets"][0]["promise"]["epsilon"] == consortium.LIMIT


def test_an_unknown_organisation_is_refused_with_where_to_look(run, members):
    who = members(consortium.founded())
    for command in (("org", "show"), ("dataset", "show"), ("budget", "show")):
        ran = run(*command, "hospital-x", *who.of(LAB))
        assert ran.status == 1
        assert "UNKNOWN_ORGANISATION (103)" in ran.err
        assert "fedledger org show" in ran.err
        assert ran.out == ""
    envelope = run("org", "show", "hospital-x", *who.of(LAB), "--format", "json").envelope
    assert (envelope["status"], envelope["code"], envelope["facts"]) == ("error", 103, {"organisation": "hospital-x"})


def test_a_dataset_is_registered_once(run, members):
    who = members(consortium.founded())
    command = ("dataset", "register", "wdbc", "--class", "x", "--epsilon-limit", "4", *who.of(HOSPITAL_A, "human"))
    first = run(*command)
    assert first.status == 0
    assert "ε = 4.00 at δ = 1e-05" in first.out
    assert units.EPSILON_MEANS in first.out
    second = run(*command)
    assert second.status == 1
    assert "DATASET_EXISTS (111)" in second.err


def test_a_limit_over_the_cap_is_refused_in_epsilon(run, members):
    options = members(consortium.founded()).of(HOSPITAL_A, "human")
    ran = run("dataset", "register", "wdbc", "--class", "x", "--epsilon-limit", "9", *options)
    assert "wanted: ε = 9.00" in ran.err
    assert "cap: ε = 4.50" in ran.err


def test_a_name_that_the_ledger_does_not_take_is_refused_before_it_is_sent(run, members):
    who = members(consortium.founded())
    options = who.of(HOSPITAL_A, "human")
    ran = run("dataset", "register", "Wdbc_A", "--class", "x", "--epsilon-limit", "1", *options)
    assert ran.status == 4
    assert "dataset" in ran.err
    assert who.node.sent == []


def test_a_key_of_the_wrong_purpose_is_refused_with_which_to_use(run, members):
    options = members(consortium.equipped()).of(HOSPITAL_A, "worker")
    ran = run("dataset", "register", "more", "--class", "x", "--epsilon-limit", "1", *options)
    assert ran.status == 1
    assert "WRONG_PURPOSE" in ran.err
    assert "Human keys consent" in ran.err


def test_a_revoked_key_is_refused_with_since_when_and_what_to_do(run, members):
    chain = consortium.equipped()
    second = HOSPITAL_A.key(Purpose.HUMAN, 1)
    chain.submit(HOSPITAL_A, AddKey(second.enrolment()))
    chain.submit(second, RevokeKey(HOSPITAL_A.human.public))
    height = chain.height
    options = members(chain).of(HOSPITAL_A, "human")
    ran = run("dataset", "register", "more", "--class", "x", "--epsilon-limit", "1", *options)
    assert ran.status == 1
    assert "KEY_IS_REVOKED (102)" in ran.err
    assert f"revoked_from: block {height}" in ran.err
    assert "Enrol a new key" in ran.err


def test_nobody_named_to_sign_is_a_wrong_usage_only_where_a_devnet_has_many(run, members):
    options = members(consortium.founded()).of(HOSPITAL_A)  # A profile file names its organisation.
    assert run("dataset", "register", "d", "--class", "x", "--epsilon-limit", "1", *options).status == 0


def test_a_profile_does_not_act_for_somebody_else(run, members):
    options = members(consortium.founded()).of(HOSPITAL_A)
    ran = run("key", "show", *options, "--as", "hospital-b/human")
    assert ran.status == 4
    assert "UNKNOWN_MEMBER" in ran.err
    assert "Act as hospital-a" in ran.err


def test_a_wrong_passphrase_is_told_and_nothing_is_sent(run, members, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text("not the passphrase\n")
    wrong.chmod(0o600)
    who = members(consortium.founded())
    options = (*who.of(HOSPITAL_A, "human"), "--passphrase-file", wrong)
    ran = run("dataset", "register", "d", "--class", "x", "--epsilon-limit", "1", *options)
    assert ran.status == 2
    assert "WRONG_PASSPHRASE" in ran.err
    assert "Check the passphrase" in ran.err
    wrong.chmod(0o644)
    exposed = run("dataset", "register", "d", "--class", "x", "--epsilon-limit", "1", *options)
    assert exposed.status == 2
    assert f"chmod 600 {wrong}" in exposed.err
    assert who.node.sent == []


def test_keys_are_shown_without_their_secrets(run, members):
    who = members(consortium.founded())
    for form in ("txt", "json"):
        shown = run("key", "show", *who.of(HOSPITAL_A), "--format", form).out
        assert units.key(HOSPITAL_A.human.public) in shown
        assert HOSPITAL_A.human.seed.hex() not in shown
        assert "AGE-SECRET-KEY" not in shown


def test_a_key_is_made_enrolled_and_revoked(run, members):
    who = members(consortium.equipped())
    options = who.of(HOSPITAL_A)
    assert run("key", "create", "hospital-a/worker-2", *options).status == 0
    enrolled = run("key", "enrol", "worker-2", *options, "--format", "json").data
    assert enrolled["purpose"] == "workload"
    assert run("key", "revoke", enrolled["key"], *options).status == 0
    shown = run("org", "show", "hospital-a", *options, "--format", "json").data
    (mine,) = [key for key in shown["enrolled_keys"] if key["did"] == enrolled["key"]]
    assert mine["revoked_from"] == {"height": who.chain.height, "index": 0}
    again = run("key", "revoke", "worker-2", *options)
    assert "REVOCATION_MOVES_LATER" in again.err


def test_a_new_encryption_key_becomes_what_others_encrypt_to(run, members):
    who = members(consortium.equipped())
    options = (*who.of(HOSPITAL_A), "--format", "json")
    made = run("key", "create", "hospital-a/encryption-2", "--purpose", "encryption", *options).data
    enrolled = run("key", "enrol", "encryption-2", *options).data
    assert enrolled["purpose"] == "encryption"
    assert enrolled["key"] == made["keys"][0]["public"]
    assert run("org", "show", "hospital-a", *options).data["recipient"] == enrolled["key"]


def test_a_key_name_that_is_taken_is_not_overwritten(run, members):
    who = members(consortium.founded())
    ran = run("key", "create", "hospital-a/worker", *who.of(HOSPITAL_A))
    assert ran.status == 1
    assert "KEY_FILE_EXISTS" in ran.err


def test_an_organisation_applies_is_proposed_and_admitted_by_vote(run, members, tmp_path):
    who = members(consortium.founded())
    file = tmp_path / "application"
    told = ("--roles", "data-owner", "--legal-id", "HRB-1", "--epsilon-cap", "2", "--write", file)
    applied = run("org", "enrol", "newcomer", *told, *who.of(NEWCOMER))
    assert applied.status == 0, applied.err
    proposed = run("org", "enrol", "newcomer", "--application", file, *who.of(LAB, "human"), "--format", "json").data
    number = proposed["proposal"]
    assert "admit newcomer" in run("proposal", "show", *who.of(LAB)).out
    shown = run("proposal", "show", number, *who.of(LAB)).out
    assert "did:key:" in shown
    assert "HRB-1" in shown
    outcomes = [
        run("proposal", "vote", number, "--approve", *who.of(member, "human"), "--format", "json").data["status"]
        for member in HOSPITALS
    ]
    assert outcomes == ["open", "open", "open", "passed"]
    assert "newcomer" in run("org", "show", *who.of(LAB)).out
    late = run("proposal", "vote", number, "--reject", *who.of(AUDITOR, "human"))
    assert "PROPOSAL_CLOSED" in late.err


@pytest.mark.parametrize("legal_id", [(), ("--legal-id", "HRB 1")])
def test_an_application_states_who_applies_in_law(run, members, tmp_path, legal_id):
    who = members(consortium.founded())
    told = ("--roles", "data-owner", "--epsilon-cap", "2", "--write", tmp_path / "application", *legal_id)
    ran = run("org", "enrol", "newcomer", *told, *who.of(NEWCOMER))
    assert ran.status != 0
    assert "legal" in ran.err


def test_an_application_is_for_one_organisation_only(run, members, tmp_path):
    who = members(consortium.founded())
    file = tmp_path / "application"
    file.write_bytes(b"nonsense")
    ran = run("org", "enrol", "newcomer", "--application", file, *who.of(LAB, "human"))
    assert ran.status == 4
    assert "NO_APPLICATION" in ran.err


def test_a_vote_needs_a_side(run, members):
    ran = run("proposal", "vote", 1, *members(consortium.founded()).of(LAB, "human"))
    assert ran.status == 4
    assert "--approve or --reject" in ran.err


def test_the_terms_are_shown_with_their_price_and_digest(run, members):
    options = members(consortium.joined()).of(LAB)
    shown = run("task", "show", TASK, *options).out
    assert terms_digest(TERMS).hex() in shown
    assert units.EPSILON_MEANS in shown
    assert "hospital-d" in shown
    assert "so 4 must reserve" in shown
    assert "5 of 6 must agree, 1 may be Byzantine" in shown
    assert "kept for 60 s after a round" in shown
    assert TASK in run("task", "show", *options).out
    assert run("task", "show", TASK, *options, "--format", "json").data["terms"]["task"] == TASK


def test_consent_needs_a_person_the_digest_or_yes(run, members):
    who = members(consortium.task_open())
    command = ("task", "join", TASK, "--dataset", DATASET)
    asked = run(*command, *who.of(HOSPITAL_A, "human"))
    assert asked.status == 4
    assert "NO_CONSENT" in asked.err
    assert terms_digest(TERMS).hex() in asked.err
    assert who.node.sent == []
    other = run(*command, *who.of(HOSPITAL_A, "human"), "--digest", "00" * 32)
    assert "TERMS_DIFFER" in other.err
    agreed = run(*command, *who.of(HOSPITAL_A, "human"), "--digest", terms_digest(TERMS).hex())
    assert agreed.status == 0
    assert run(*command, *who.of(HOSPITAL_B, "human"), "--yes").status == 0


def test_a_quote_counts_what_was_spent_and_says_when_the_next_round_is_over_the_limit(run, members):
    chain = consortium.joined()
    quote = ("budget", "quote", TASK, "--dataset", DATASET)
    before = run(*quote, *members(chain).of(HOSPITAL_A), "--format", "json").data
    assert (before["spent"], before["affordable"]) == (0, True)
    for _ in range(3):
        consortium.run_round(chain)
    options = members(chain).of(HOSPITAL_A)
    after = run(*quote, *options, "--format", "json").data
    assert after["affordable"] is False
    assert after["spent"] > before["price"]
    told = run(*quote, *options)
    assert "REFUSED: over a limit" in told.out
    assert "do not add" in told.out
    assert units.EPSILON_MEANS in told.out
    for wrong, name in (
        (("nothing", "--dataset", DATASET), "UNKNOWN_TASK"),
        ((TASK, "--dataset", "x"), "UNKNOWN_DATASET"),
    ):
        assert name in run("budget", "quote", *wrong, *options).err


def test_an_organisation_leaves_a_task_and_is_shown_as_gone(run, members):
    who = members(consortium.five_joined())
    asked = run("task", "leave", TASK, *who.of(HOSPITAL_A, "human"))
    assert (asked.status, who.node.sent) == (4, [])
    assert "NO_CONSENT" in asked.err
    left = run("task", "leave", TASK, "--yes", *who.of(HOSPITAL_A, "human"))
    assert left.status == 0, left.err
    data = run("task", "show", TASK, *who.of(LAB), "--format", "json").data
    assert data["participants"] == 4
    assert [each["organisation"] for each in data["joined"] if each["left"]] == [HOSPITAL_A.name]
    assert "has left" in run("task", "show", TASK, *who.of(LAB)).out
    again = run("task", "leave", TASK, "--yes", *who.of(HOSPITAL_A, "human"))
    assert "NOT_JOINED" in again.err


def test_an_owner_chooses_the_order_and_is_shown_it_wherever_the_limit_is(run, members):
    chain = consortium.joined()
    who = members(chain)
    options = ("--class", "x", "--epsilon-limit", "4", *who.of(HOSPITAL_A, "human"))
    assert "(order 7.5)" in run("dataset", "register", "chosen", *options, "--order", "7.5").out
    assert "(order 6)" in run("dataset", "register", "derived", *options).out
    assert "UNKNOWN_ORDER" in run("dataset", "register", "between", *options, "--order", "7.3").err
    refused = run("dataset", "register", "none", *options, "--order", "2")
    assert "NO_ROOM" in refused.err
    assert "ε = 10.13" in refused.err
    listed = run("dataset", "show", "hospital-a", *who.of(LAB), "--format", "json").data
    assert {one["dataset"]: one["promise"]["order_milli"] for one in listed} == {
        "chosen": 7_500, "derived": 6_000, DATASET: consortium.PROMISE.order_milli,
    }  # fmt: skip
    assert "(order 5.5)" in run("org", "show", "hospital-a", *who.of(LAB)).out
    assert "(order 5.5)" in run("budget", "quote", TASK, "--dataset", DATASET, *who.of(HOSPITAL_A)).out


def test_a_budget_shows_the_least_epsilon_with_what_it_is_valid_for(run, members):
    chain = consortium.thrice_promoted()
    shown = run("budget", "show", "hospital-a", *members(chain).of(LAB), "--format", "json").data
    assert all(each["least"] <= each["spent"] <= each["limit"] for each in shown)
    assert all(each["order_milli"] == consortium.PROMISE.order_milli for each in shown)
    told = run("budget", "show", "hospital-a", *members(chain).of(LAB)).out
    assert "valid only for prices fixed beforehand" in told
    assert "█████████░" in told  # 2.06 of the 2.52 nats that the limit admits at its order.


def test_a_budget_shows_what_is_held_until_it_is_spent(run, members):
    held = run("budget", "show", "hospital-a", *members(consortium.reserved()).of(LAB), "--format", "json").data
    assert [each["account"] for each in held] == ["hospital-a", "hospital-a/wdbc"]
    assert all(each["spent"] == 0 and each["held"] > 0 for each in held)
    assert all(each["holds"] == [{"task": TASK, "round": 1, "seat": 0}] for each in held)
    assert f"{TASK} round 1" in run("budget", "show", "hospital-a", *members(consortium.reserved()).of(LAB)).out
    spent = run("budget", "show", "hospital-a", *members(consortium.committed()).of(LAB), "--format", "json").data
    assert [(each["spent"], each["held"]) for each in spent] == [(each["held"], 0) for each in held]
    assert units.EPSILON_MEANS in run("budget", "show", *members(consortium.committed()).of(LAB)).out


def test_a_hold_is_shown_as_spent_or_free_before_anybody_has_written_that_its_round_is_over(run, members):
    reserving, training = consortium.round_open(), consortium.reserved()
    consortium.succeed(reserving, (HOSPITAL_A, consortium.reserve()))
    for chain, paid in ((reserving, False), (training, True)):
        consortium.let_pass(chain)
        shown = run("budget", "show", "hospital-a", *members(chain).of(LAB), "--format", "json").data
        assert [(each["held"], each["spent"] > 0, each["holds"]) for each in shown] == [(0, paid, [])] * 2


def test_the_history_marks_the_promoted_version(run, members):
    options = members(consortium.twice_promoted()).of(LAB)
    lines = run("model", "history", MODEL, *options).out.splitlines()
    assert [line for line in lines if line.startswith("→")] == [lines[-1]]
    assert "90.0% (90/100)" in lines[-1]
    data = run("model", "history", MODEL, *options, "--format", "json").data
    assert (data["current"], len(data["versions"])) == (2, 3)
    assert run("model", "history", *options).out.splitlines()[1].split() == [MODEL, TASK, "2", "2"]
    shown = run("model", "show", MODEL, *options).out
    assert "confirms" in shown
    assert "hospital-a       counted" in shown
    assert "UNKNOWN_VERSION" in run("model", "show", MODEL, "--version", "9", *options).err
    assert "UNKNOWN_MODEL" in run("model", "show", "other", *options).err


def test_a_stolen_key_is_revoked_as_of_the_block_and_the_command_says_what_fell_with_it(run, members):
    chain = consortium.equipped()
    second = HOSPITAL_A.key(Purpose.HUMAN, 1)
    chain.submit(HOSPITAL_A, AddKey(second.enrolment()))
    chain.submit(second, AddKey(HOSPITAL_A.key(Purpose.WORKLOAD, 1).enrolment()))
    who = members(chain)
    since, options = chain.height, who.of(HOSPITAL_A, "human")
    fallen = run("key", "report-stolen", crypto.did_key(second.public), "--since", since, *options, "--format", "json")
    assert [key["public"] for key in fallen.data["keys"]] == [
        second.public.hex(), HOSPITAL_A.key(Purpose.WORKLOAD, 1).public.hex()
    ]  # fmt: skip
    future = run("key", "report-stolen", "worker", "--since", 10**6, *who.of(HOSPITAL_B, "human"))
    assert "SINCE_IN_FUTURE" in future.err


def test_a_rollback_is_put_to_the_vote(run, members):
    who = members(consortium.twice_promoted())
    command = ("model", "rollback", MODEL, "--to", "1", "--reason", "drift", *who.of(HOSPITAL_A, "human"))
    number = run(*command, "--format", "json").data["proposal"]
    assert "reason" in run("proposal", "show", number, *who.of(LAB)).out
    long = run("model", "rollback", MODEL, "--to", "1", "--reason", "x" * 41, *who.of(HOSPITAL_A, "human"))
    assert long.status == 4
    assert "reason" in long.err


def test_ctrl_c_while_watching_says_how_to_go_on(run, members, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    options = members(consortium.joined()).of(LAB)
    monkeypatch.setattr(Access, "read", interrupted)
    ran = run("round", "watch", TASK, *options)
    assert ran.status == 130
    assert "--since HEIGHT" in ran.err


def test_ctrl_c_after_sending_names_the_transaction(run, members, monkeypatch):
    async def interrupted(*_):
        raise KeyboardInterrupt

    who = members(consortium.founded())
    monkeypatch.setattr("client_sdk.client.LedgerClient.send", interrupted)
    options = who.of(HOSPITAL_A, "human")
    ran = run("dataset", "register", "d", "--class", "x", "--epsilon-limit", "1", *options)
    assert ran.status == 130
    assert "fedledger tx show " in ran.err
