"""The command line on a real devnet: as an operator, a data owner and an auditor would type it, and a whole round."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.node_source import opened_node
from client_sdk.light import trust_genesis
from client_sdk.receipts import GenesisTrust, ReceiptError, decode, verify
from tests.cli import small_task
from tests.cli.small_task import DATA_CLASS, MODEL, TASK

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
VERIFIERS = ("hospital-a", "hospital-b", "lab-2")


class Shell:
    """Commands in processes of their own, with a home of their own."""

    def __init__(self, folder):
        self.folder = folder
        self.started = []
        self.environment = {**os.environ, "FEDLEDGER_HOME": str(folder), "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}

    def __call__(self, line, status=0):
        ran = subprocess.run(self.command(line), env=self.environment, capture_output=True, text=True, check=False)
        assert ran.returncode == status, f"{line}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran

    def data(self, line, status=0):
        """The data of one JSON envelope."""
        (document,) = self(f"{line} --format json", status).stdout.splitlines()
        return json.loads(document)["data"]

    def start(self, line):
        pipe = subprocess.PIPE
        process = subprocess.Popen(self.command(line), env=self.environment, stdout=pipe, stderr=pipe, text=True)
        self.started.append(process)
        return process

    def end(self):
        """Leave nothing running that a test has failed to stop."""
        for process in self.started:
            process.kill()
            process.communicate()

    @staticmethod
    def command(line):
        return [sys.executable, "-m", "cli", *line.split()]


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """A running devnet with the embedded store, at full speed."""
    shell = Shell(tmp_path_factory.mktemp("cli"))
    try:
        shell("devnet up --store local --timeouts fast")
        yield shell
    finally:
        shell.end()
        shell("devnet down --delete")


def test_an_operator_sees_kills_and_restarts_a_validator(shell):
    status = shell.data("devnet status")
    assert [each["record"]["operator"] for each in status["validators"]] == [
        "hospital-a",
        "hospital-b",
        "lab-1",
        "lab-2",
    ]
    assert shell.data("doctor --as hospital-a")["healthy"]
    shell("devnet kill validator-2")
    killed = shell.data("devnet status")
    assert [each["health"] is None for each in killed["validators"]] == [False, True, False, False]
    unwell = shell("doctor", status=1)
    assert "fedledger devnet logs validator-2-node" in unwell.stdout
    assert "makes blocks" in unwell.stdout, "three of four go on"
    assert shell("org show").stdout, "another node answers"
    shell("devnet restart validator-2")
    assert shell.data("doctor")["healthy"]
    assert shell("devnet logs validator-2-node --lines 5").stdout.count("\n") == 5
    assert "UNKNOWN_PROCESS" in shell("devnet kill validator-9", status=4).stderr


def test_an_auditor_reads_without_keys_of_its_own(shell):
    members = shell.data("org show --as auditor")
    assert [each["organisation"] for each in members] == ["hospital-a", "hospital-b", "lab-1", "lab-2"]
    assert "UNKNOWN_ORGANISATION" in shell("org show auditor", status=1).stderr, "it was not admitted yet"
    assert "BUDGET_EXCEEDED" in shell("explain 401").stdout


def test_an_operator_looks_into_running_nodes(shell):
    first, second = (each["record"] for each in shell.data("devnet status")["validators"][:2])
    home = shell.folder / "devnet" / "nodes" / first["name"]
    assert shell.data("node roots --height 2")["height"] == 2
    assert not shell.data(f"node fsck --home {home}")["damaged"]
    for other in (home, second["rpc"]):
        assert shell.data(f"node diff-state {first['rpc']} {other}")["same"]
    with opened_node(first["rpc"]) as source:
        # Of the newest version, whichever that is by now.
        paths = [path for path, _ in source.entries(0, b"identity/organisations/")]
    assert paths == [
        f"identity/organisations/{name}".encode() for name in ("hospital-a", "hospital-b", "lab-1", "lab-2")
    ]


def test_ctrl_c_ends_a_watch_and_says_how_to_go_on(shell):
    following = shell.start("devnet logs validator-1-node --follow")
    assert following.stdout.readline()
    following.send_signal(signal.SIGINT)
    _, said = following.communicate()
    assert following.returncode == 130
    assert "The devnet goes on." in said
    assert "Traceback" not in said


def test_a_whole_round_needs_nothing_but_the_command_line(shell, tmp_path):
    """From registered datasets to a promoted, recomputed, downloaded model; then the members take it back."""
    file = small_task.write_task(tmp_path, aggregators=("lab-1",), verifiers=VERIFIERS, rounds=1, minimum=2)
    for place, owner in enumerate(("hospital-a", "hospital-b")):
        small_task.write_csv(tmp_path / f"{owner}.csv", 120, seed=place + 2)
        shell(f"dataset register blobs --class {DATA_CLASS} --epsilon-limit 4 --as {owner}")
    for name in (*VERIFIERS, "lab-1"):
        shell(f"key enrol worker --as {name}")
    number = shell.data(f"task create {file} --as lab-1")["proposal"]
    for name in ("hospital-a", "hospital-b"):
        shell(f"proposal vote {number} --approve --as {name}")
    digest = shell(f"task show {TASK}").stdout.partition("terms digest")[2].split()[0]
    for owner in ("hospital-a", "hospital-b"):
        joined = shell.data(f"task join {TASK} --dataset blobs --digest {digest} --as {owner}")
    assert shell.data(f"budget quote {TASK} --dataset blobs --as hospital-a")["affordable"]
    watching = shell.start(f"round watch {TASK} --since {joined['height']} --format jsonl")
    running = [shell.start(f"verifier run {TASK} --as {name}") for name in (*VERIFIERS, "lab-1")]
    train = f"participant run {TASK} --dataset blobs"
    trained = [
        shell.start(f"{train} --records {tmp_path}/{owner}.csv --as {owner} --format json")
        for owner in ("hospital-a", "hospital-b")
    ]
    shell(f"aggregator run {TASK} --as lab-1")
    spent = [json.loads(each.communicate()[0])["data"][0]["spent"] for each in trained]
    events = [json.loads(line) for line in watching.communicate()[0].splitlines()]
    stop(running)
    assert [each.returncode for each in (*running, *trained, watching)] == [0] * 7
    assert {each["event"] for each in events} >= {"rounds/round-opened", "lineage/version-decided"}
    whole, own = shell.data("budget show hospital-a")
    assert (own["account"], own["spent"]) == ("hospital-a/blobs", spent[0])
    assert whole["account"] == "hospital-a"
    assert 0 < whole["spent"] <= whole["limit"], "the same price, at the order of the organisation's cap"
    check_history(shell, tmp_path, events)


def check_history(shell, folder, events):
    (decided,) = [each for each in events if each["event"] == "ballots/round-decided"]
    assert shell.data(f"model history {MODEL}")["current"] == 1
    shell(f"model fetch {MODEL} --out {folder}/model.safetensors")
    assert shell.data(f"round list {TASK}")[0]["phase"] == "decided"
    assert {seat["finding"] for seat in shell.data(f"round show {TASK}")["seats"]} == {"aggregated"}
    recomputed = shell.data(f"model recompute {MODEL} --as lab-2")
    assert (recomputed["agrees"], recomputed["digest"]) == (True, decided["digest"])
    proposed = shell.data(f"model rollback {MODEL} --to 0 --reason drift --as hospital-b")
    for name in ("hospital-a", "lab-1"):
        shell(f"proposal vote {proposed['proposal']} --approve --as {name}")
    shown = shell.data(f"tx show {proposed['transaction']}")
    assert (shown["organisation"], shown["code"]) == ("hospital-b", 0)
    assert [each["status"] for each in shell.data(f"model history {MODEL}")["versions"]] == ["promoted", "rolled-back"]
    refused = shell(f"model fetch {MODEL} --version 1 --out {folder}/again.safetensors", status=1)
    assert "VERSION_UNFIT" in refused.stderr
    shell("key revoke worker --as hospital-b")
    late = shell("key enrol worker --as hospital-b", status=1)
    assert "KEY_EXISTS" in late.stderr


def stop(running):
    """As an operator's service manager would: SIGTERM, and an orderly end."""
    for process in running:
        process.send_signal(signal.SIGTERM)
    for process in running:
        process.communicate()


def test_a_receipt_outlives_the_network(shell, tmp_path):
    """The last test: it takes the network down."""
    file, bad, genesis = tmp_path / "tx.cose", tmp_path / "bad.cose", tmp_path / "genesis.json"
    decided = shell.data(f"dataset register more --class {DATA_CLASS} --epsilon-limit 1 --as hospital-a")["transaction"]
    shell(f"receipt export tx {decided} --out {file}")
    assert "FILE_EXISTS" in shell(f"receipt export tx {decided} --out {file}", status=4).stderr
    assert "NO_RECEIPT" in shell(f"receipt export tx {'00' * 32} --out {bad}", status=1).stderr
    genesis.write_bytes((shell.folder / "devnet" / "genesis.json").read_bytes())
    shell("devnet down")
    proven = shell.data(f"receipt verify {file} --genesis {genesis}")
    assert (proven["hash"], proven["message"]) == (decided, "identity/register-dataset")
    assert 3 * proven["signed_block"]["power"] > 2 * proven["signed_block"]["of"]
    raw, trust = file.read_bytes(), GenesisTrust(trust_genesis(json.loads(genesis.read_text())))
    for place in range(len(raw)):
        with pytest.raises(ReceiptError):
            verify(decode(raw[:place] + bytes((raw[place] ^ 1,)) + raw[place + 1 :]), trust)
    bad.write_bytes(raw[:-1] + bytes((raw[-1] ^ 1,)))
    assert "RECEIPT_INVALID: statement" in shell(f"receipt verify {bad} --genesis {genesis}", status=6).stderr
    shell(f"receipt verify {genesis} --genesis {genesis}", status=7)
    stranger = f"--validators-hash {'00' * 32}"
    assert "RECEIPT_NOT_TRUSTED" in shell(f"receipt verify {file} {stranger}", status=8).stderr
