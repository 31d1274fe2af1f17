"""Rounds as they are told: who came how far, until when, why void; also before anybody has written that it is so."""

import asyncio
import json
from dataclasses import replace

import pytest

from campaigns.harness import consortium
from campaigns.harness.consortium import AUDITOR, HOSPITAL_A, HOSPITAL_D, HOSPITALS, LAB, TASK, TERMS, VERIFIERS
from cli.rounds_told import finding_words
from contracts import tasks
from contracts.lineage import Finding
from contracts.rounds import OpenRound
from contracts.terms import Phase


def shown(run, members, chain, *options):
    return run("round", "show", TASK, *options, *members(chain).of(LAB), "--format", "json").data


def test_rounds_are_listed_with_how_far_their_seats_came(run, members):
    options = members(consortium.committed()).of(LAB)
    listed = run("round", "list", TASK, *options).out.splitlines()[1].split()
    assert listed[:8] == ["1", "attesting", "0", "4", "4", "4", "0", "all"]
    assert "UNKNOWN_TASK" in run("round", "list", "other", *options).err


def test_a_round_is_shown_seat_by_seat_and_verifier_by_verifier(run, members):
    chain = consortium.agreed()
    consortium.seal_all(chain, by=VERIFIERS[:2])
    told = shown(run, members, chain)
    fields = ("organisation", "number", "price", "holders", "agreed")
    assert [tuple(seat[field] for field in fields) for seat in told["seats"]] == [
        (hospital.name, number, "spent", 5, True) for number, hospital in enumerate(HOSPITALS)
    ]
    assert [voter["sealed_at"] is not None for voter in told["verifiers"]] == [True, True] + [False] * 4
    assert told["waiting_for"] == [member.name for member in VERIFIERS[2:]]
    text = run("round", "show", TASK, *members(chain).of(LAB)).out
    for words in ("sealing", "hospital-c/wdbc", "seats 0, 1, 2, 3; 3 are needed", "5 of 5", "2 sealed, 0 opened"):
        assert words in text


def test_until_when_is_told_in_time_and_in_blocks(run, members):
    chain = consortium.reserved()
    before = shown(run, members, chain)
    assert (before["ms_left"], before["blocks_left"]) == (consortium.PHASE_MS, consortium.PHASE_BLOCKS)
    assert "10 s and 2 more blocks" in run("round", "show", TASK, *members(chain).of(LAB)).out
    chain.block()
    assert shown(run, members, chain)["blocks_left"] == consortium.PHASE_BLOCKS - 1


@pytest.mark.parametrize(
    ("reached", "stored", "found", "pays"),
    [
        (consortium.round_open, "reserving", "void", "nobody"),
        (consortium.reserved, "committing", "void", "absent"),
        (consortium.committed, "attesting", "void", "all"),
        (consortium.agreed, "sealing", "void", "all"),
        (consortium.sealed, "opening", "void", "all"),
    ],
)
def test_a_phase_that_is_over_is_shown_as_over_before_anybody_has_written_it(
    run, members, reached, stored, found, pays
):
    chain = reached()
    consortium.let_pass(chain)
    told = shown(run, members, chain)
    assert consortium.round_of(chain).phase == stored
    assert (told["phase"], told["charged"]) == (found, pays)
    assert told["to_be_written"]
    assert f"{found}*" in run("round", "list", TASK, *members(chain).of(LAB)).out
    written = run("round", "advance", TASK, *members(chain).of(AUDITOR), "--format", "json")
    assert written.status == 0, written.err
    after = shown(run, members, chain)
    assert (after["phase"], after["charged"], after["to_be_written"]) == (found, pays, [])
    assert after["seats"] == told["seats"], "what was told of prices is what came of it"


def test_advancing_is_refused_while_a_phase_goes_on(run, members):
    ran = run("round", "advance", TASK, *members(consortium.reserved()).of(AUDITOR))
    assert ran.status == 1
    assert "PHASE_NOT_OVER (616)" in ran.err
    assert "until: 2023-11-" in ran.err
    assert "until_height: block" in ran.err


def test_where_no_round_was_opened_that_is_told(run, members):
    who = members(consortium.joined())
    for command in (("round", "show", TASK), ("round", "advance", TASK)):
        ran = run(*command, *who.of(LAB))
        assert (ran.status, "NOTHING_TO_DO" in ran.err) == (1, True)
    assert "No round was opened yet." in run("round", "list", TASK, *who.of(LAB)).out


def test_why_a_round_is_void_is_told_from_its_record(run, members):
    few, absent, unheld, silent = (
        consortium.round_open(), consortium.reserved(), consortium.committed(), consortium.agreed()
    )  # fmt: skip
    for chain in (few, absent, silent):
        consortium.pass_phase(chain)
    consortium.attest_all(unheld, 1, (0, 1))
    for chain, why in (
        (few, "too few reserved: 0, needed are 4"),
        (absent, "too few committed: 0, needed are 4"),
        (unheld, "too few payloads that enough verifiers hold: 2, needed are 3"),
        (silent, "too few ballots sealed: 0, needed are 5"),
    ):
        assert why in run("round", "show", TASK, *members(chain).of(LAB)).out


def test_a_payload_that_too_few_verifiers_hold_is_named_as_left_out(run, members):
    chain = consortium.committed()
    consortium.attest_all(chain, 1, (0, 1, 2))
    told = shown(run, members, chain)["seats"]
    assert [(seat["agreed"], seat["holders"]) for seat in told] == [(True, 5)] * 3 + [(False, 0)]
    assert "left out: too few verifiers hold it" in run("round", "show", TASK, *members(chain).of(LAB)).out


def test_findings_are_told_in_words_and_by_name(run, members):
    chain = consortium.agreed()
    made = consortium.candidate(chain, findings={HOSPITAL_D: Finding.OVER_NORM})
    consortium.vote_all(chain, 1, made)
    told = shown(run, members, chain)
    assert told["version"] == 1
    assert [seat["finding"] for seat in told["seats"]] == ["aggregated"] * 3 + ["over_norm"]
    text = run("round", "show", TASK, *members(chain).of(LAB)).out
    assert "over the norm bound" in text
    assert "version 1" in text
    assert all(finding_words(finding) for finding in Finding)


def test_a_watch_tells_every_event_from_a_height_on(run, members):
    who = members(consortium.joined())
    start = who.chain.height
    for member, message in ((LAB, OpenRound(TASK)), *((each, consortium.reserve()) for each in HOSPITALS)):
        asyncio.run(who.node.client(member.worker).submit(message))
    who.node.let_pass(300)  # The block that proves the last of them.
    watch = ("round", "watch", TASK, "--since", start, "--timeout", "0.3", *who.of(LAB))
    ran = run(*watch, "--format", "jsonl")
    *happened, end = map(json.loads, ran.out.splitlines())
    assert (ran.status, end["error_code"]) == (3, "TIMEOUT_ERROR"), "the round goes on, so only the time ended it"
    opened, reserved, began = "rounds/round-opened", "contributions/reserved", "rounds/phase-began"
    assert [each["event"] for each in happened] == [opened, began, *[reserved] * len(HOSPITALS), began]
    assert {each["height"] for each in happened} == set(range(start + 1, who.chain.height))
    assert "phase committing, until 2023-11-" in run(*watch).out


def test_a_watch_of_a_finished_task_ends_at_once(run, members):
    chain = consortium.twice_promoted()
    chain.given(tasks.TERMS.put(TASK, replace(TERMS, max_rounds=2)))
    ran = run("round", "watch", TASK, *members(chain).of(LAB))
    assert (ran.status, ran.out) == (0, "")


def test_a_round_that_may_still_be_joined_names_who_has_not_reserved(run, members):
    chain = consortium.round_open()
    consortium.succeed(chain, (HOSPITAL_A, consortium.reserve()))
    told = shown(run, members, chain)
    assert told["phase"] == Phase.RESERVING
    assert told["waiting_for"] == [hospital.name for hospital in HOSPITALS[1:]]
    assert shown(run, members, chain, "--round", 1) == told
    assert "UNKNOWN_ROUND" in run("round", "show", TASK, "--round", 9, *members(chain).of(LAB)).err
