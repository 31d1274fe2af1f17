"""Commands that train, aggregate, verify and download: real payloads over the in-memory chain."""

import asyncio
import json

import pytest
import safetensors.numpy

from campaigns.harness import consortium
from campaigns.harness.consortium import DATASET, HOSPITAL_A, HOSPITAL_B, HOSPITAL_C, HOSPITALS, LAB, MODEL, TASK
from cli import units
from client_sdk.payloads.cid import Cid
from client_sdk.training import terms_file
from contracts import lineage, privacy_budget, rounds
from contracts.kernel import codec, renyi
from contracts.lineage import VersionStatus
from contracts.rounds import CloseRound
from tests import local_task
from tests.cli import small_task

MODULE = """
import torch
def build(widths):
    return torch.nn.Linear(widths[0], 1)
def record_loss(output, target):
    return torch.nn.functional.binary_cross_entropy_with_logits(output[0], target.to(output.dtype))
"""


@pytest.fixture
def world(tmp_path):
    return local_task.opened(tmp_path)


@pytest.fixture
def table(tmp_path):
    """Records of one hospital as a CSV with the classes by name."""
    inputs, targets = local_task.records(0)
    rows = [",".join([*(f"{value:.6f}" for value in row), ("benign", "malignant")[target]]) for row, target in
            zip(inputs, targets, strict=True)]  # fmt: skip
    path = tmp_path / "records.csv"
    path.write_text("\n".join(["a,b,c,d,target", *rows]) + "\n")
    return path


def closed(world):
    """Round 1 with four contributions, closed."""
    number = world.open_round()
    asyncio.run(world.contribute(number))
    world.chain.submit(LAB, CloseRound(TASK, number))


def test_a_participant_contributes_and_says_what_it_cost(run, members, world, table):
    world.open_round()
    who = members(world=world)
    command = ("participant", "run", TASK, "--dataset", DATASET, "--records", table, "--rounds", "1")
    ran = run(*command, *who.of(HOSPITAL_A), "--format", "jsonl")
    assert ran.status == 0, ran.err
    (told,) = map(json.loads, ran.out.splitlines())
    account = privacy_budget.DATASET_ACCOUNTS.at(world.chain.view, (HOSPITAL_A.name, DATASET))
    assert told["round"] == 1
    assert told["spent"] == privacy_budget.epsilon_of(account.spent, consortium.PROMISE)
    text = run(*command, *who.of(HOSPITAL_B))
    assert f"ε = {units.epsilon(told['charged'])} alone" in text.out


def test_a_spent_budget_ends_a_participant_before_it_trains(run, members, world, table):
    number = world.open_round()
    spent = privacy_budget.Account(renyi.Curve.of([10**12] * len(renyi.ORDERS)), ())
    world.chain.given(privacy_budget.DATASET_ACCOUNTS.put((HOSPITAL_A.name, DATASET), spent))
    who = members(world=world)
    ran = run("participant", "run", TASK, "--dataset", DATASET, "--records", table, *who.of(HOSPITAL_A))
    assert ran.status == 1
    assert "BUDGET_EXCEEDED (401)" in ran.err
    assert "limit: ε = 4.50" in ran.err
    seat = rounds.ROUNDS.at(world.chain.view, (TASK, number)).seats[0]
    assert seat.progress is rounds.Progress.INVITED


def test_records_that_do_not_fit_the_task_are_refused_before_anything_is_held(run, members, world, tmp_path):
    world.open_round()
    who = members(world=world)
    path = tmp_path / "narrow.csv"
    path.write_text("a,target\n1,benign\n")
    ran = run("participant", "run", TASK, "--dataset", DATASET, "--records", path, *who.of(HOSPITAL_A))
    assert ran.status == 4
    assert "4" in ran.err
    assert who.node.sent == []


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--model", "m:build"), "go together"),
        (("--model", "nowhere:build", "--loss", "nowhere:loss"), "NO_SUCH_MODEL"),
        (("--model", "json:build", "--loss", "json:loss"), "NO_SUCH_MODEL"),
        (("--model", "build", "--loss", "loss"), "MODULE:NAME"),
    ],
)
def test_a_model_that_cannot_be_made_is_a_wrong_usage(run, members, world, table, options, why):
    who = members(world=world).of(HOSPITAL_A)
    ran = run("participant", "run", TASK, "--dataset", DATASET, "--records", table, *options, *who)
    assert ran.status == 4
    assert why in ran.err


@pytest.mark.train
def test_a_torch_module_of_this_directory_is_trained(run, members, world, table, tmp_path, monkeypatch):
    (tmp_path / "my_own_model.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    world.open_round()
    who = members(world=world).of(HOSPITAL_A)
    model = ("--model", "my_own_model:build", "--loss", "my_own_model:record_loss")
    ran = run("participant", "run", TASK, "--dataset", DATASET, "--records", table, "--rounds", "1", *model, *who)
    assert ran.status == 0, ran.err
    assert "round 1: contributed" in ran.out


def test_a_missed_round_is_told_and_the_participant_waits_for_the_next(run, members, world, table, monkeypatch):
    world.open_round()
    who = members(world=world)
    world.chain.advance(10 * consortium.PHASE_MS)
    world.chain.block()

    async def once(self):
        yield 1

    monkeypatch.setattr("client_sdk.training.participant.Participant.rounds", once)
    ran = run("participant", "run", TASK, "--dataset", DATASET, "--records", table, *who.of(HOSPITAL_A))
    assert ran.status == 0
    assert "round 1: missed, DEADLINE_PASSED" in ran.out


def test_one_step_by_hand_is_the_services_own_recomputation(run, members, world):
    closed(world)
    who = members(world=world)
    dry = run("model", "propose", TASK, "--dry-run", *who.of(LAB), "--format", "json").data
    assert lineage.MODELS.at(world.chain.view, MODEL).latest == 0, "a dry run proposes nothing"
    proposed = run("model", "propose", TASK, *who.of(LAB), "--format", "json").data
    assert proposed["digest"] == dry["digest"]
    assert proposed["version"] == 1
    for hospital in HOSPITALS:
        if lineage.VERSIONS.at(world.chain.view, (MODEL, 1)).status is VersionStatus.PROPOSED:
            ran = run("model", "vote", MODEL, "--version", 1, *who.of(hospital), "--format", "json")
            assert ran.data["agrees"] is True
    assert lineage.VERSIONS.at(world.chain.view, (MODEL, 1)).status is VersionStatus.PROMOTED
    assert ran.data["decided"][0]["status"] == "promoted"


def test_a_vote_on_a_false_proposal_contradicts_it(run, members, world):
    closed(world)
    who = members(world=world)
    made = asyncio.run(
        world.gatherer(LAB).recompute(1)
    ).candidate  # fmt: skip
    forged = consortium.replace(made, canary_correct=made.canary_total + 1)
    world.chain.submit(LAB, consortium.ProposeVersion(forged))
    ran = run("model", "vote", MODEL, "--version", 1, *who.of(HOSPITAL_A))
    assert ran.status == 0
    assert f"contradicts {LAB.name}'s" in ran.out


def test_a_vote_when_no_version_follows_says_so_on_the_ledger_and_to_the_voter(run, members, world):
    closed(world)
    who = members(world=world)
    assert run("model", "propose", TASK, *who.of(LAB)).status == 0
    lose_payloads(world)
    ran = run("model", "vote", MODEL, "--version", 1, *who.of(HOSPITAL_A))
    assert ran.status == 0, ran.err
    assert "No version follows from the payloads as you got them: 0 usable updates" in ran.out
    assert f"contradicts {LAB.name}'s" in ran.out
    (ballot,) = lineage.VERSIONS.at(world.chain.view, (MODEL, 1)).ballots
    assert ballot.digest == lineage.NO_CANDIDATE
    assert "found no candidate" in run("model", "show", MODEL, "--version", 1, *who.of(HOSPITAL_B)).out


def test_who_cannot_open_the_payloads_is_told_so_instead_of_blaming_them(run, members, world):
    closed(world)
    ran = run("model", "propose", TASK, "--dry-run", *members(world=world).of(consortium.AUDITOR))
    assert ran.status == 1
    assert f"payloads of {TASK} are not encrypted to {consortium.AUDITOR.name}" in ran.err
    assert LAB.name in ran.err


def test_there_is_nothing_to_propose_while_a_round_is_open(run, members, world):
    who = members(world=world)
    before = run("model", "propose", TASK, *who.of(LAB))
    world.open_round()
    while_open = run("model", "propose", TASK, *who.of(LAB))
    for ran, why in ((before, "no round was opened"), (while_open, "round 1 is open")):
        assert ran.status == 1
        assert why in ran.err
        assert f"fedledger round watch {TASK}" in ran.err


def test_too_few_good_contributions_are_told_with_what_happens_next(run, members, world):
    number = world.open_round()
    asyncio.run(world.contribute(number, HOSPITALS[:3]))
    world.chain.advance(3 * consortium.PHASE_MS)
    world.chain.submit(LAB, CloseRound(TASK, number))
    lose_payloads(world)
    ran = run("model", "propose", TASK, *members(world=world).of(LAB))
    assert ran.status == 1
    assert "NOTHING_TO_PROPOSE" in ran.err
    assert "the next one starts anew" in ran.err


def lose_payloads(world):
    """The store holds the task's public bytes only."""
    for name in (folder for folder in (world.folder / "store").rglob("*") if folder.is_file()):
        name.unlink()
    asyncio.run(put_artefacts(world))


async def put_artefacts(world):
    for content in local_task.prepared().data.values():
        await world.store.put(content)


def test_a_promoted_version_is_fetched_and_a_quarantined_one_is_not(run, members, world, tmp_path):
    closed(world)
    who = members(world=world)
    run("model", "propose", TASK, *who.of(LAB))
    for hospital in HOSPITALS:
        run("model", "vote", MODEL, "--version", 1, *who.of(hospital))
    out = tmp_path / "model.safetensors"
    fetch = ("model", "fetch", MODEL, "--out", out, *who.of(HOSPITAL_C))
    assert run(*fetch).status == 0
    tensors = safetensors.numpy.load_file(out)
    assert {name: values.shape for name, values in tensors.items()} == {
        spec.name: spec.shape for spec in local_task.prepared().view.inputs.layout.tensors
    }
    again = run(*fetch)
    assert again.status == 4
    assert "FILE_EXISTS" in again.err
    assert run(*fetch, "--force", "--version", "0").status == 0
    stolen = run("key", "report-stolen", "worker", "--since", "1", *who.of(HOSPITAL_A, "human"))
    assert stolen.status == 0, stolen.err
    refused = run(*fetch, "--force", "--version", "1")
    assert refused.status == 1
    assert "VERSION_UNFIT" in refused.err
    assert "quarantined" in refused.err


def test_a_task_is_proposed_from_a_file_with_its_artefacts(run, members, world, tmp_path):
    lab, hospitals = LAB.name, tuple(hospital.name for hospital in HOSPITALS)
    path = small_task.write_task(tmp_path / "task", aggregators=(lab,), verifiers=hospitals)
    who = members(world=world)
    proposed = run("task", "create", path, *who.of(LAB), "--format", "json").data
    shown = run("proposal", "show", proposed["proposal"], *who.of(LAB)).out
    assert f"open task {small_task.TASK}" in shown
    terms, data = terms_file.load(path)
    assert codec.encode(terms)
    for content, artefact in zip(data.values(), (terms.inputs, terms.initial, terms.canary), strict=True):
        assert asyncio.run(world.store.get(Cid.parse(artefact.cid), artefact.size)) == content


def test_a_wrong_terms_file_names_the_field(run, members, world, tmp_path):
    path = small_task.write_task(tmp_path / "task", aggregators=(LAB.name,), verifiers=(HOSPITAL_A.name,))
    path.write_text(path.read_text().replace("max_rounds", "most_rounds"))
    ran = run("task", "create", path, *members(world=world).of(LAB))
    assert ran.status == 4
    assert "most_rounds" in ran.err
