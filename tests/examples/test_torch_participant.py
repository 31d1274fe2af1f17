"""The torch example: a plain script, the same one as a governed participant, and how little differs."""

import difflib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.numpy

from client_sdk.payloads.store import StoreKind
from devnet import binaries
from devnet.errors import BinaryMissing
from devnet.layout import shipped_manifest
from devnet.manifest import load_manifest
from examples.demo.data import deal

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "examples" / "torch_participant"
PLAIN, GOVERNED = FOLDER / "plain.py", FOLDER / "governed.py"
LINES_CHANGED_MAX = 10
ROUNDS = 3  # After two, their noise sometimes leaves the model near guessing.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def changed() -> tuple[list[str], list[str]]:
    """The lines that are only in the plain script, and those that are only in the governed one; blank ones aside."""
    plain, governed = (filter(None, path.read_text("utf-8").splitlines()) for path in (PLAIN, GOVERNED))
    diff = list(difflib.ndiff(list(plain), list(governed)))
    return [line for line in diff if line.startswith("- ")], [line for line in diff if line.startswith("+ ")]


def test_a_training_script_becomes_a_participant_with_at_most_ten_changed_lines() -> None:
    removed, added = changed()
    assert 0 < len(removed) <= LINES_CHANGED_MAX
    assert 0 < len(added) <= LINES_CHANGED_MAX
    assert len(PLAIN.read_text("utf-8").splitlines()) <= 65


def test_what_changed_is_the_training_and_not_the_model_the_loss_or_the_records() -> None:
    removed, added = changed()
    for kept in ("nn.Sequential", "record_loss =", "load_file", "def "):
        assert not [line for line in (*removed, *added) if kept in line]


@pytest.mark.train
def test_the_plain_script_trains_on_one_hospital_s_records(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    inputs, targets = deal("digits", 3, seed=1).shards[0]
    records = tmp_path / "records.safetensors"
    safetensors.numpy.save_file({"inputs": inputs, "targets": targets}, records)
    said = subprocess.run(
        [sys.executable, PLAIN, records], capture_output=True, text=True, check=True, env={**os.environ, **ONE_THREAD}
    ).stdout
    assert said.count("epoch") == 30
    assert trained(said) > 0.75


@pytest.mark.e2e
@pytest.mark.train
@pytest.mark.timeout(600)
def test_the_governed_script_takes_part_in_every_round(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    try:
        binaries.require(load_manifest(shipped_manifest()).varied(store=StoreKind.LOCAL))
    except BinaryMissing as missing:
        pytest.skip(f"{missing}: run `make setup`")
    environment = {**os.environ, **ONE_THREAD, "FEDLEDGER_HOME": str(tmp_path)}
    log = tmp_path / "others.log"
    with log.open("wb") as out:
        others = subprocess.Popen(
            [sys.executable, "-m", "examples.torch_participant.others", "--rounds", str(ROUNDS)],
            cwd=REPOSITORY,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            records = await_command(others, log)
            said = subprocess.run(
                [sys.executable, GOVERNED, records], capture_output=True, text=True, check=False, env=environment
            )
            assert said.returncode == 0, said.stderr
            assert others.wait() == 0, log.read_text("utf-8")
        finally:
            others.terminate()  # It stops its network and its workers.
            try:
                others.wait(60)
            except subprocess.TimeoutExpired:
                others.kill()
                others.wait()
    told = re.findall(r"round (\d+): ε = ([\d.]+) spent", said.stdout)
    assert [int(number) for number, _ in told] == [1, 2, 3]
    spent = [float(epsilon) for _, epsilon in told]
    assert 0 < spent[0] < spent[1] < spent[2]
    assert trained(said.stdout) > 0.2, f"twice what guessing a digit gives: {said.stdout}"
    story = log.read_text("utf-8")
    assert [f"round {number} is decided" in story for number in (1, 2, 3)] == [True] * ROUNDS


def await_command(others: "subprocess.Popen[bytes]", log: Path) -> str:
    """Wait until the others are ready; the records' path in the command that they name."""
    for _ in range(1200):
        named = re.search(r"governed\.py (\S+)\n", log.read_text("utf-8"))
        if named:
            return named[1]
        assert others.poll() is None, log.read_text("utf-8")
        time.sleep(0.25)
    raise AssertionError(log.read_text("utf-8"))


def trained(said: str) -> float:
    """The accuracy that a script reports at its end."""
    found = re.search(r"trained: accuracy ([\d.]+)%", said)
    assert found, said
    return float(found[1]) / 100
