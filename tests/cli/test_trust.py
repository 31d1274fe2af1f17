"""``--trust-node``: reads without verification, says so wherever somebody looks, and never signs."""

import asyncio
import json

import pytest

from campaigns.harness import consortium
from campaigns.harness.consortium import HOSPITAL_A, LAB, TASK
from contracts.rounds import OpenRound


def test_without_it_everything_is_verified_and_nothing_is_marked(run, members):
    world = members(consortium.joined())
    ran = run("org", "show", "--format", "json", *world.of(HOSPITAL_A))
    assert world.believed == [False]
    assert "verified" not in ran.envelope
    assert ran.err == ""


@pytest.mark.parametrize("place", [0, 2, -1])
def test_anywhere_on_the_line_it_turns_verification_off_and_says_so(run, members, place):
    world = members(consortium.joined())
    line = ["org", "show", HOSPITAL_A.name, "--format", "json", *world.of(HOSPITAL_A)]
    line.insert(place if place >= 0 else len(line), "--trust-node")
    ran = run(*line)
    assert ran.status == 0
    assert world.believed == [True]
    assert ran.envelope["verified"] is False
    assert ran.err.splitlines() == ["Not verified: this is what one node says, because of --trust-node."]


def test_a_person_is_warned_beside_the_result_not_within_it(run, members):
    world = members(consortium.joined())
    plain = run("org", "show", HOSPITAL_A.name, *world.of(HOSPITAL_A))
    trusting = run("org", "show", HOSPITAL_A.name, "--trust-node", *world.of(HOSPITAL_A))
    assert plain.out == trusting.out
    assert plain.err == ""
    assert trusting.err.startswith("Not verified")


def test_every_line_of_a_stream_is_marked(run, members):
    world = members(consortium.joined())
    start = world.chain.height
    asyncio.run(world.node.client(LAB.worker).submit(OpenRound(TASK)))
    world.node.let_pass(300)
    line = ("--since", start, "--timeout", "0.3", "--format", "jsonl", "--trust-node", *world.of(LAB))
    (opened, began, _timeout) = map(json.loads, run("round", "watch", TASK, *line).out.splitlines())
    assert opened["event"] == "rounds/round-opened"
    assert opened["verified"] is began["verified"] is False


def test_the_environment_can_ask_for_it(run, members, monkeypatch):
    world = members(consortium.joined())
    monkeypatch.setenv("FEDLEDGER_TRUST_NODE", "1")
    assert run("org", "show", "--format", "json", *world.of(HOSPITAL_A)).envelope["verified"] is False
    monkeypatch.delenv("FEDLEDGER_TRUST_NODE")
    assert "verified" not in run("org", "show", "--format", "json", *world.of(HOSPITAL_A)).envelope


def test_a_command_that_reads_no_ledger_has_nothing_to_mark(run):
    ran = run("explain", "--trust-node", "BUDGET_EXCEEDED", "--format", "json")
    assert "verified" not in ran.envelope
    assert ran.err == ""


def test_nothing_is_signed_on_a_node_s_word(run, members):
    world = members(consortium.joined())
    sent = len(world.node.sent)
    ran = run(
        *("dataset", "register", "scans", "--class", "radiology", "--epsilon-limit", "2", "--trust-node"),
        *world.of(HOSPITAL_A, "human"),
    )
    assert ran.status == 4
    assert "Leave --trust-node out" in ran.err
    assert world.believed == []
    assert len(world.node.sent) == sent
