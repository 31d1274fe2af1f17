"""``fedledger node``: what is printed, in both forms, and with which exit status."""

import importlib.metadata
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import lmdb
import pytest

import cli
from abci_app import cli as node_cli
from campaigns import damage
from cli.errors import Exit
from contracts.identity import ORGANISATIONS
from contracts.kernel import codec
from tests.abci_app.inspection.test_diff_state import CHAIN, Node, serving

ROOT = Path(__file__).resolve().parents[2]
PATH = b"identity/organisations/hospital-a"


@pytest.fixture
def run(capsys, monkeypatch):
    """``run("fsck", …)``: exit status, standard output, standard error."""
    entry = importlib.metadata.EntryPoint("node", "abci_app.cli:node", "fedledger.cli")
    monkeypatch.setattr("cli.app._entries", lambda: {"node": entry})
    monkeypatch.setenv("COLUMNS", "100")

    def run_one(*arguments):
        capsys.readouterr()
        status = cli.main(["node", *map(str, arguments)])
        return status, *capsys.readouterr()

    return run_one


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return damage.specimen(tmp_path_factory.mktemp("specimen"), heights=30)


def data_of(out):
    document = json.loads(out)
    assert (document["schema_version"], document["status"]) == (1, "ok")
    return document["data"]


def altered(original, to, change):
    home = damage.copied(original, to)
    with lmdb.open(str(home / "ledger"), map_size=damage.MAP_BYTES, max_dbs=5) as env:
        state = env.open_db(b"state", create=False)
        with env.begin(write=True) as txn:
            change(txn, state)
    return home


def test_the_exit_statuses_are_those_of_the_command_lines_table():
    assert (node_cli.EXIT_DAMAGED, node_cli.EXIT_DIFFERENT) == (Exit.STORE_DAMAGED, Exit.STATES_DIFFER)


def test_a_sound_store(run, original):
    status, out, err = run("fsck", "--home", original.home)
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == "Nothing is wrong."
    assert f"height       {original.version.height}" in out
    status, out, _ = run("fsck", "--home", original.home, "--format", "json")
    data = data_of(out)
    assert (status, data["damaged"], data["findings"]) == (0, False, [])
    assert (data["app_hash"], data["entries"]) == (original.version.app_hash.hex(), len(original.entries))


def test_a_damaged_store_is_told_with_what_to_do(run, original, tmp_path):
    home = altered(original, tmp_path / "node", lambda txn, state: txn.put(b"nobody/here", b"x", db=state))
    status, out, _ = run("fsck", "--home", home)
    assert status == node_cli.EXIT_DAMAGED
    assert "nobody/here" in out
    assert "no contract declares this path" in out
    assert "What to do: Do not go on with it" in out
    status, out, _ = run("fsck", "--home", home, "--format", "json")
    assert status == node_cli.EXIT_DAMAGED
    assert data_of(out)["findings"][0] == {
        "where": "state",
        "key": "nobody/here",
        "wrong": "no contract declares this path",
    }


def test_a_path_that_could_steer_a_terminal_is_shown_harmless(run, original, tmp_path):
    home = altered(original, tmp_path / "node", lambda txn, state: txn.put(b"\x1b[2Jevil", b"x", db=state))
    _, out, _ = run("fsck", "--home", home)
    assert "\x1b" not in out


def test_a_folder_without_a_store_has_another_status(run, tmp_path):
    status, out, err = run("fsck", "--home", tmp_path)
    assert (status, out) == (Exit.NO_ACCESS, "")
    assert err.startswith("NO_STORE: ")
    status, out, _ = run("fsck", "--home", tmp_path, "--format", "json")
    assert (status, json.loads(out)["error_code"]) == (Exit.NO_ACCESS, "NO_STORE")


def test_the_same_state_twice(run, original, tmp_path):
    twin = damage.copied(original, tmp_path / "twin")
    status, out, _ = run("diff-state", original.home, twin)
    assert (status, out.splitlines()[-1]) == (0, "They are the same.")


def test_a_difference_is_shown_decoded_with_its_counts(run, original, tmp_path):
    record = ORGANISATIONS.read(original.entries[PATH])
    changed = codec.encode(replace(record, epsilon_cap=record.epsilon_cap + 1))
    other = altered(original, tmp_path / "other", lambda txn, state: txn.put(PATH, changed, db=state))
    status, out, _ = run("diff-state", original.home, other)
    assert status == node_cli.EXIT_DIFFERENT
    assert "First differing key: identity/organisations/hospital-a" in out
    assert "1 keys have other values, 0 are only in A, 0 only in B." in out
    status, out, _ = run("diff-state", original.home, other, "--format", "json")
    data = data_of(out)
    assert (status, data["same"], data["changed"]) == (node_cli.EXIT_DIFFERENT, False, 1)
    assert data["first"]["path"] == PATH.decode()
    assert data["first"]["b"]["epsilon_cap"] == data["first"]["a"]["epsilon_cap"] + 1


def test_running_nodes_by_their_addresses(run):
    a, b = Node(), Node()
    for node in (a, b):
        node.block({b"rounds/a": b"1"})
    a.block({b"rounds/a": b"2"})
    b.block({b"rounds/a": b"3"})
    with serving(a) as ours, serving(b) as theirs:
        status, out, _ = run("diff-state", ours, theirs)
    assert status == node_cli.EXIT_DIFFERENT
    assert "rounds    2" in out
    assert "First differing key: rounds/a" in out


def test_no_common_height_and_an_unreachable_node_have_their_own_statuses(run, original):
    node = Node()
    node.block({b"rounds/a": b"1"})
    with serving(node) as address:
        status, _, err = run("diff-state", address, original.home)
    assert (status, err.split(":")[0]) == (Exit.REFUSED, "NO_COMMON_HEIGHT")
    assert CHAIN in err
    status, _, err = run("diff-state", "http://127.0.0.1:1", original.home)
    assert (status, err.split(":")[0]) == (Exit.NO_ACCESS, "SOURCE_FAILED")


def test_a_node_is_not_compared_with_itself(run, original):
    status, _, err = run("diff-state", original.home, str(original.home) + "/")
    assert status == Exit.USAGE
    assert "the same node" in err


def test_the_help_of_the_verbs_is_like_every_other(run):
    status, out, err = run("diff-state", "--help")
    assert (status, err) == (0, "")
    assert out.startswith("Usage: fedledger node diff-state [OPTIONS] A B")
    assert {"roots", "fsck", "diff-state"} <= set(run("--help")[1].split())


@pytest.mark.parametrize("missing", ["lmdb", "google.protobuf"])
def test_without_the_extra_of_nodes_the_verbs_say_what_is_missing(missing, tmp_path):
    code = (
        "import sys\n"
        f"sys.modules[{missing!r}] = None\n"
        "from cli import main\n"
        f"assert main(['node', '--help']) == 0\n"
        f"sys.exit(main(['node', 'fsck', '--home', {str(tmp_path)!r}]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == Exit.NO_ACCESS
    assert f"NODE_EXTRA_MISSING: the package {missing} is not installed" in ran.stderr
    assert "[node]" in ran.stderr
