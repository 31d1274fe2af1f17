"""Lists say how whole they are: by the ledger's own count where it keeps one, and that it keeps none elsewhere."""

import json
from dataclasses import replace

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import Chain
from campaigns.harness.consortium import HOSPITAL_A, LAB, MEMBERS, MODEL, TASK
from client_sdk.reads import view
from contracts import electorate, governance, identity, lineage, rounds, tasks
from contracts.kernel import crypto
from tests.local_ledger import LocalReader

FEW = 64  # Goes at the node, each of which is a round trip.


@pytest.fixture
def hiding(monkeypatch):
    """``hiding(b"identity/organisations/lab")``: the node leaves a path out of every scan."""

    def leave_out(path: bytes) -> None:
        scan = LocalReader.scan

        async def shortened(self, prefix, after, limit):
            return [entry for entry in await scan(self, prefix, after, limit) if entry[0] != path]

        monkeypatch.setattr(LocalReader, "scan", shortened)

    return leave_out


def listed(ran) -> dict:
    return json.loads(ran.out)["listed"]


def test_a_member_that_a_node_hides_is_missed_by_the_ledgers_count(run, members, hiding):
    who = members(consortium.joined())
    assert listed(run("org", "show", *who.of(LAB), "--format", "json")) == {"shown": len(MEMBERS), "counted": 7}
    assert "INCOMPLETE" not in run("org", "show", *who.of(LAB)).out
    hiding(f"identity/organisations/{HOSPITAL_A.name}".encode())
    assert "INCOMPLETE: the ledger counts 7, the node left out 1" in run("org", "show", *who.of(LAB)).out
    assert listed(run("org", "show", *who.of(LAB), "--format", "json")) == {"shown": 6, "counted": 7}


def test_a_dataset_that_a_node_hides_is_missed_too_and_a_key_cannot_be_hidden(run, members, hiding):
    who = members(consortium.joined())
    hiding(f"identity/keys/{HOSPITAL_A.worker.public.hex()}".encode())
    hiding(f"identity/datasets/{HOSPITAL_A.name}/{consortium.DATASET}".encode())
    shown = run("org", "show", HOSPITAL_A.name, *who.of(LAB)).out
    assert shown.count("INCOMPLETE") == 1
    assert crypto.did_key(HOSPITAL_A.worker.public) in shown
    for command in (("dataset", "show"), ("budget", "show")):
        assert "INCOMPLETE" in run(*command, HOSPITAL_A.name, *who.of(LAB)).out


def test_a_list_in_lines_says_beside_them_what_is_missing(run, members, hiding):
    who = members(consortium.joined())
    assert run("org", "show", *who.of(LAB), "--format", "jsonl").err == ""
    hiding(f"identity/organisations/{HOSPITAL_A.name}".encode())
    ran = run("org", "show", *who.of(LAB), "--format", "jsonl")
    assert len(ran.out.splitlines()) == 6
    assert "INCOMPLETE: the ledger counts 7" in ran.err


def test_where_the_rules_keep_no_count_the_list_says_so(run, members):
    who = members(consortium.joined())
    for command in (("dataset", "show"), ("budget", "show")):
        assert "keeps no count" in run(*command, *who.of(LAB)).out
        assert listed(run(*command, *who.of(LAB), "--format", "json"))["counted"] is None
        assert "keeps no count" not in run(*command, HOSPITAL_A.name, *who.of(LAB)).out


@pytest.mark.parametrize(
    "command",
    [
        ("task", "show"),
        ("model", "history"),
        ("model", "history", MODEL),
        ("proposal", "show"),
        ("round", "list", TASK),
    ],
    ids=" ".join,
)
def test_what_the_rules_number_themselves_is_whole_without_any_scan(run, members, monkeypatch, command):
    async def none(*_):
        raise AssertionError("a scan")

    who = members(consortium.promoted())
    monkeypatch.setattr(LocalReader, "scan", none)
    ran = run(*command, *who.of(LAB), "--format", "json")
    assert ran.status == 0, ran.err
    if command == ("model", "history", MODEL):
        assert len(ran.data["versions"]) == ran.data["latest"] + 1 > 1
    else:
        mark = listed(ran)
        assert mark["shown"] == mark["counted"] > 0


def grown() -> Chain:
    """More of everything than a rule may be run: a long-lived ledger, with copies of what one step makes."""
    chain, many = consortium.promoted(), FEW + 10
    model, version = lineage.MODELS.at(chain.view, MODEL), lineage.VERSIONS.at(chain.view, (MODEL, 1))
    task, current = tasks.TASKS.at(chain.view, TASK), rounds.ROUNDS.at(chain.view, (TASK, 1))
    terms, proposal = tasks.TERMS.at(chain.view, TASK), governance.PROPOSALS.at(chain.view, 1)
    member = identity.ORGANISATIONS.at(chain.view, HOSPITAL_A.name)
    dataset = identity.DATASETS.at(chain.view, (HOSPITAL_A.name, consortium.DATASET))
    membership = electorate.MEMBERSHIP.at(chain.view)
    names = [f"{MODEL}-{number}" for number in range(many)]
    chain.given(
        lineage.MODELS.put(MODEL, replace(model, latest=many)),
        tasks.TASKS.put(TASK, replace(task, rounds=many)),
        governance.COUNTER.put((), governance.Counter(many)),
        lineage.REGISTER.put((), lineage.Register((MODEL, *names))),
        electorate.MEMBERSHIP.put((), replace(membership, organisations=membership.organisations + many)),
        *(lineage.VERSIONS.put((MODEL, number), version) for number in range(2, many + 1)),
        *(rounds.ROUNDS.put((TASK, number), current) for number in range(2, many + 1)),
        *(governance.PROPOSALS.put(number, proposal) for number in range(2, many + 1)),
        *(lineage.MODELS.put(name, replace(model, task=name)) for name in names),
        *(tasks.TASKS.put(name, task) for name in names),
        *(tasks.TERMS.put(name, replace(terms, task=name)) for name in names),
        *(identity.ORGANISATIONS.put(name, member) for name in names),
        *(identity.DATASETS.put((name, consortium.DATASET), dataset) for name in names),
    )
    return chain


@pytest.mark.parametrize(
    "command",
    [
        ("task", "show"),
        ("model", "history"),
        ("model", "history", MODEL),
        ("proposal", "show"),
        ("round", "list", TASK),
        ("org", "show"),
        ("dataset", "show"),
        ("budget", "show"),
    ],
    ids=" ".join,
)
def test_a_long_list_is_read_in_few_goes(run, members, monkeypatch, command):
    monkeypatch.setattr(view, "RUNS", FEW)
    ran = run(*command, *members(grown()).of(LAB), "--format", "json")
    assert ran.status == 0, ran.err
    assert ran.out.count('"status"') > FEW or listed(ran)["shown"] > FEW
