"""``fedledger upgrade`` over the in-memory chain: which rules decide, and how the members go over to later ones."""

from campaigns.harness import consortium
from campaigns.harness.consortium import HOSPITAL_A, LAB, MEMBERS
from contracts.upgrades import IN_FORCE, Scheduled


def vote(run, who, number):
    for member in MEMBERS[1:5]:
        last = run("proposal", "vote", number, "--approve", *who.of(member, "human"))
        assert last.status == 0, last.err
    return last


def test_the_rules_in_force_are_shown(run, members):
    who = members(consortium.founded())
    shown = run("upgrade", "show", *who.of(LAB))
    assert "version 1, from block 1 on" in shown.out
    data = run("upgrade", "show", *who.of(LAB), "--format", "json").data
    assert data == {"version": 1, "since": 1, "next": None, "called_off": None, "known": [1]}


def test_an_upgrade_is_scheduled_and_shown_with_what_to_install_and_cancelled(run, members):
    who = members(consortium.founded())
    mine = who.of(HOSPITAL_A, "human")
    made = run("upgrade", "schedule", 2, "--at", 5_000, *mine, "--format", "json").data
    assert "passed" in vote(run, who, made["proposal"]).out
    assert IN_FORCE.at(who.chain.view).next == Scheduled(2, 5_000)
    shown = run("upgrade", "show", *who.of(LAB)).out
    assert "version 2, from block 5000 on" in shown
    assert "Install a fedledger that knows version 2 before block 4999." in shown
    told = run("proposal", "show", made["proposal"], *who.of(LAB)).out
    assert "go over to version 2 of the rules at block 5000" in told
    made = run("upgrade", "cancel", 2, *mine, "--format", "json").data
    assert "cancel the upgrade to version 2" in run("proposal", "show", made["proposal"], *who.of(LAB)).out
    assert "passed" in vote(run, who, made["proposal"]).out
    assert IN_FORCE.at(who.chain.view).next is None


def test_an_upgrade_without_notice_is_refused_by_name(run, members):
    who = members(consortium.founded())
    refused = run("upgrade", "schedule", 2, "--at", 5, *who.of(HOSPITAL_A, "human"), "--format", "json")
    assert refused.envelope["error_code"] == "UPGRADE_TOO_SOON"
