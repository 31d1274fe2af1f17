"""Commands that train, aggregate, verify and download: real payloads over the in-memory chain."""

import asyncio
import json
import os
import signal
from dataclasses import replace

import pytest
import safetensors.numpy

from campaigns.harness import consortium
from campaigns.harness.consortium import DATASET, HOSPITAL_A, HOSPITAL_B, HOSPITAL_C, HOSPITALS, LAB, MODEL, TASK
from cli import units
from client_sdk.payloads.cid import Cid
from client_sdk.reads.queries import Moment
from client_sdk.training import terms_file
from contracts import ballot_box, contributions, lineage, privacy_budget, tasks
from contracts.kernel import codec, renyi
from contracts.models import RaiseAlarm
from tests import local_task, meanwhile
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


def test_a_participant_contributes_and_says_what_it_cost(run, members, world, table):
    world.open_round()
    who = members(world=world)
    who.meanwhile += meanwhile.hospitals(world, members=HOSPITALS[1:])
    command = ("participant", "run", TASK, "--dataset", DATASET, "--records", table, "--rounds", "1")
    ran = run(*command, *who.of(HOSPITAL_A), "--format", "jsonl")
    assert ran.status == 0, ran.err
    (told,) = map(json.loads, ran.out.splitlines())
    account = privacy_budget.dataset_account(world.chain.view, HOSPITAL_A.name, DATASET, judged(world))
    assert told["round"] == 1
    assert told["spent"] == privacy_budget.epsilon_of(account.spent, consortium.PROMISE) > 0
    assert contributions.SEATS.at(world.chain.view, (TASK, 1, HOSPITAL_A.name)).commitment.cid == told["cid"]


def judged(world):
    return Moment(world.chain.height + 1, world.chain.time_ms)


def test_a_contribution_is_told_with_its_price_alone_and_in_all(run, members, world, table):
    world.open_round()
    who = members(world=world)
    who.meanwhile += meanwhile.hospitals(world, members=HOSPITALS[1:])
    ran = run("participant", "run", TASK, "--dataset", DATASET, "--records", table, "--rounds", "1",
              *who.of(HOSPITAL_A))  # fmt: skip
    price = privacy_budget.epsilon_of(tasks.TASKS.at(world.chain.view, TASK).price, consortium.PROMISE)
    assert f"ε = {units.epsilon(price)} alone" in ran.out


def test_a_spent_budget_ends_a_participant_before_it_trains(run, members, world, table):
    number = world.open_round()
    spent = privacy_budget.Account(renyi.Curve.of([10**12] * len(renyi.ORDERS)), ())
    world.chain.given(privacy_budget.DATASET_ACCOUNTS.put((HOSPITAL_A.name, DATASET), spent))
    who = members(world=world)
    ran = run("participant", "run", TASK, "--dataset", DATASET, "--records", table, *who.of(HOSPITAL_A))
    assert ran.status == 1
    assert "BUDGET_EXCEEDED (401)" in ran.err
    assert "limit: ε = 4.50" in ran.err
    assert contributions.SEATS.get(world.chain.view, (TASK, number, HOSPITAL_A.name)) is None


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
    everybody = members(world=world)
    everybody.meanwhile += meanwhile.hospitals(world, members=HOSPITALS[1:])
    who = everybody.of(HOSPITAL_A)
    model = ("--model", "my_own_model:build", "--loss", "my_own_model:record_loss")
    ran = run("participant", "run", TASK, "--dataset", DATASET, "--records", table, "--rounds", "1", *model, *who)
    assert ran.status == 0, ran.err
    assert "round 1: contributed" in ran.out


def once(monkeypatch):
    """There is one round only."""

    async def rounds(self):
        yield 1

    monkeypatch.setattr("client_sdk.training.participant.Participant.rounds", rounds)


def test_a_missed_round_is_told_and_the_participant_waits_for_the_next(run, members, world, table, monkeypatch):
    world.open_round()
    who = members(world=world)
    consortium.let_pass(world.chain)
    once(monkeypatch)
    ran = run("participant", "run", TASK, "--dataset", DATASET, "--records", table, *who.of(HOSPITAL_A))
    assert ran.status == 0, ran.err
    assert "round 1: missed, PHASE_OVER" in ran.out


def test_a_round_that_came_to_nothing_is_told_and_costs_nothing(run, members, world, table, monkeypatch):
    world.open_round()
    who = members(world=world)
    once(monkeypatch)
    ran = run("participant", "run", TASK, "--dataset", DATASET, "--records", table, *who.of(HOSPITAL_A))
    assert ran.status == 0, ran.err
    assert "round 1: missed, ROUND_CAME_TO_NOTHING" in ran.out
    account = privacy_budget.dataset_account(world.chain.view, HOSPITAL_A.name, DATASET, judged(world))
    assert account == privacy_budget.Account(privacy_budget.NOTHING, ())


def test_an_aggregator_opens_the_rounds_of_a_task_and_ends_with_them(run, members, world):
    world.chain.given(tasks.TERMS.put(TASK, replace(world.task.terms, max_rounds=1)))
    who = members(world=world)

    async def hospital(member):
        async for number in world.participant(member).rounds():
            await world.contribution(member, number)
            return

    who.meanwhile += [lambda member=member: hospital(member) for member in HOSPITALS]
    who.meanwhile += meanwhile.verifiers(world)
    ran = run("aggregator", "run", TASK, *who.of(LAB), "--format", "jsonl")
    assert ran.status == 0, ran.err
    told = [json.loads(line)["did"] for line in ran.out.splitlines()]
    assert told == ["opened round 1", f"task {TASK} has had all its rounds"]
    assert lineage.MODELS.at(world.chain.view, MODEL).current == 1


def test_a_verifier_attests_seals_and_opens_and_ends_when_it_is_told_to(run, members, world, tmp_path):
    world.open_round()
    who = members(world=world)

    async def stop():
        await meanwhile.until_promoted(world)
        os.kill(os.getpid(), signal.SIGTERM)

    others = [member for member in consortium.VERIFIERS if member is not LAB]
    who.meanwhile += [*meanwhile.hospitals(world), *meanwhile.verifiers(world, others), stop]
    ran = run("verifier", "run", TASK, "--ballots", tmp_path / "kept", *who.of(LAB))
    assert ran.status == 0, ran.err
    (mine,) = [
        each for each in ballot_box.BOXES.at(world.chain.view, (TASK, 1)).ballots if each.organisation == LAB.name
    ]
    assert mine.opened == lineage.VERSIONS.at(world.chain.view, (MODEL, 1)).digest
    assert list((tmp_path / "kept").iterdir()), "what it sealed was kept"


def test_an_organisation_without_a_part_in_a_task_cannot_play_it(run, members, world):
    who = members(world=world)
    assert "NOT_YOUR_TASK" in run("aggregator", "run", TASK, *who.of(HOSPITAL_A)).err
    assert "NOT_A_VERIFIER" in run("verifier", "run", TASK, *who.of(consortium.AUDITOR)).err


@pytest.fixture
def decided(world):
    """Round 1 has its version."""
    world.open_round()
    meanwhile.decide(world)
    return world


def test_a_version_is_recomputed_by_hand_as_its_verifiers_did(run, members, decided):
    who = members(world=decided)
    ran = run("model", "recompute", MODEL, "--version", 1, *who.of(LAB), "--format", "json")
    assert ran.status == 0, ran.err
    version = lineage.VERSIONS.at(decided.chain.view, (MODEL, 1))
    assert (ran.data["agrees"], ran.data["digest"]) == (True, version.digest.hex())
    assert ran.data["canary_correct"] == version.canary_correct
    text = run("model", "recompute", MODEL, *who.of(HOSPITAL_B))
    assert "It is version 1." in text.out
    assert text.out.count("counted") + text.out.count("an outlier") == 2 * len(HOSPITALS)
    assert len(who.node.sent) == len(set(who.node.sent)), "nothing was sent by it"


def test_a_version_that_does_not_follow_from_its_payloads_is_told_apart(run, members, decided):
    version = lineage.VERSIONS.at(decided.chain.view, (MODEL, 1))
    decided.chain.given(lineage.VERSIONS.put((MODEL, 1), replace(version, digest=bytes(32))))
    ran = run("model", "recompute", MODEL, "--version", 1, *members(world=decided).of(LAB))
    assert ran.status == 1
    assert "IT IS NOT version 1." in ran.out


def test_who_cannot_open_the_payloads_and_what_cannot_be_recomputed_are_told(run, members, decided):
    who = members(world=decided)
    foreign = run("model", "recompute", MODEL, *who.of(consortium.AUDITOR))
    assert foreign.status == 1
    assert f"payloads of {TASK} are not encrypted to {consortium.AUDITOR.name}" in foreign.err
    assert "NOTHING_TO_DO" in run("model", "recompute", MODEL, "--version", 0, *who.of(LAB)).err
    lose_payloads(decided)
    gone = run("model", "recompute", MODEL, "--version", 1, *who.of(LAB))
    assert gone.status == 1
    assert "PAYLOADS_MISSING" in gone.err


def lose_payloads(world):
    """The store holds the task's public bytes only."""
    for name in (folder for folder in (world.folder / "store").rglob("*") if folder.is_file()):
        name.unlink()
    asyncio.run(put_artefacts(world))


async def put_artefacts(world):
    for content in local_task.prepared().data.values():
        await world.store.put(content)


def test_a_promoted_version_is_fetched_and_a_quarantined_one_is_not(run, members, decided, tmp_path):
    who = members(world=decided)
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
    alarms = [(member, RaiseAlarm(MODEL, 1, bytes(32), "a back door")) for member in consortium.VERIFIERS[:5]]
    consortium.succeed(decided.chain, *alarms)
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
