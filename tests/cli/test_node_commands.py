"""``fedledger node``: what is printed, in both forms, and with which exit status."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import lmdb
import pytest

from abci_app.store.lmdb_store import LmdbStore
from campaigns import damage
from cli.errors import Exit
from contracts.identity import ORGANISATIONS
from contracts.kernel import codec
from tests.abci_app.inspection.test_diff_state import CHAIN, Node
from tests.cli.test_node_source import serving

ROOT = Path(__file__).resolve().parents[2]
PATH = b"identity/organisations/hospital-a"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return damage.specimen(tmp_path_factory.mktemp("specimen"), heights=30)


def altered(original, to, change):
    home = damage.copied(original, to)
    with lmdb.open(str(home / "ledger"), map_size=damage.MAP_BYTES, max_dbs=5) as env:
        state = env.open_db(b"state", create=False)
        with env.begin(write=True) as txn:
            change(txn, state)
    return home


def columns(line):
    """The cells of a line of a table."""
    return re.split(r"\s{2,}", line)


def test_a_sound_store(run, original):
    ran = run("node", "fsck", "--home", original.home)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines()[-1] == "Nothing is wrong."
    shown = dict(line.split(maxsplit=1) for line in ran.out.splitlines()[:-1])
    assert (shown["store"], shown["height"]) == (str(original.home / "ledger"), str(original.version.height))
    ran = run("node", "fsck", "--home", original.home, "--format", "json")
    assert (ran.status, ran.data["damaged"], ran.data["findings"]) == (0, False, [])
    assert (ran.data["app_hash"], ran.data["entries"]) == (original.version.app_hash.hex(), len(original.entries))
    lines = run("node", "fsck", "--home", original.home, "--format", "jsonl").out.splitlines()
    assert [json.loads(line) for line in lines] == [ran.data]


def test_a_damaged_store_is_told_with_what_to_do(run, original, tmp_path):
    home = altered(original, tmp_path / "node", lambda txn, state: txn.put(b"nobody/here", b"x", db=state))
    ran = run("node", "fsck", "--home", home)
    assert ran.status == Exit.STORE_DAMAGED
    assert ["state", "nobody/here", "no contract declares this path"] in map(columns, ran.out.splitlines())
    assert "The store is damaged: " in ran.out
    assert "What to do: Do not go on with it" in ran.out
    ran = run("node", "fsck", "--home", home, "--format", "json")
    assert ran.status == Exit.STORE_DAMAGED
    assert ran.data["findings"][0] == {
        "where": "state",
        "key": "nobody/here",
        "wrong": "no contract declares this path",
    }


def test_a_path_that_could_steer_a_terminal_is_shown_harmless(run, original, tmp_path):
    forged = b"\x1b[2Jevil\nNothing is wrong."
    home = altered(original, tmp_path / "node", lambda txn, state: txn.put(forged, b"x", db=state))
    for shown in (run("node", "fsck", "--home", home).out, run("node", "diff-state", original.home, home).out):
        assert "\x1b" not in shown
        assert "\\x1b[2Jevil\\nNothing is wrong." in shown


def test_a_folder_without_a_store_has_another_status(run, tmp_path):
    ran = run("node", "fsck", "--home", tmp_path)
    assert (ran.status, ran.out) == (Exit.NO_ACCESS, "")
    assert ran.err.startswith("NO_STORE: ")
    ran = run("node", "fsck", "--home", tmp_path, "--format", "json")
    assert (ran.status, ran.envelope["error_code"]) == (Exit.NO_ACCESS, "NO_STORE")


def test_the_same_state_twice(run, original, tmp_path):
    twin = damage.copied(original, tmp_path / "twin")
    ran = run("node", "diff-state", original.home, twin)
    assert (ran.status, ran.out.splitlines()[-1]) == (0, "They are the same.")


def test_a_difference_is_shown_decoded_with_its_counts(run, original, tmp_path):
    record = ORGANISATIONS.read(original.entries[PATH])
    changed = codec.encode(replace(record, enrolled_at=record.enrolled_at + 1))
    other = altered(original, tmp_path / "other", lambda txn, state: txn.put(PATH, changed, db=state))
    ran = run("node", "diff-state", original.home, other)
    assert ran.status == Exit.STATES_DIFFER
    assert "The recorded hashes are the same and the entries are not" in ran.out
    assert "First differing key: identity/organisations/hospital-a" in ran.out
    assert f'"enrolled_at": {record.enrolled_at + 1}' in ran.out
    assert "1 keys have other values, 0 are only in A, 0 only in B." in ran.out
    ran = run("node", "diff-state", original.home, other, "--format", "json")
    data = ran.data
    assert (ran.status, data["same"], data["changed"], data["contracts"]) == (Exit.STATES_DIFFER, False, 1, [])
    assert data["first"]["path"] == PATH.decode()
    assert data["first"]["b"] == {**data["first"]["a"], "enrolled_at": record.enrolled_at + 1}


def test_running_nodes_by_their_addresses(run):
    a, b = Node(), Node()
    for node in (a, b):
        node.block({b"rounds/a": b"1"})
    a.block({b"rounds/a": b"2"})
    b.block({b"rounds/a": b"3"})
    with serving(a) as ours, serving(b) as theirs:
        text = run("node", "diff-state", ours, theirs)
        ran = run("node", "diff-state", ours, theirs, "--format", "json")
    assert (text.status, ran.status) == (Exit.STATES_DIFFER, Exit.STATES_DIFFER)
    assert ["rounds", "2"] in map(columns, text.out.splitlines())
    assert "First differing key: rounds/a" in text.out
    assert ran.data["contracts"] == [{"contract": "rounds", "height": 2, "known": True}]
    assert ran.data["first"] == {"path": "rounds/a", "a": b"2".hex(), "b": b"3".hex()}


def test_nodes_too_far_apart_for_their_keys_say_so(run, tmp_path):
    for name, blocks in (("behind", 1), ("ahead", 5)):
        node = Node(LmdbStore.open(tmp_path / name / "ledger", 2**22))
        for _ in range(blocks):
            node.block({b"rounds/a": b"1"})
        node.store.close()
    ran = run("node", "diff-state", tmp_path / "behind", tmp_path / "ahead")
    assert ran.status == 0
    assert "The keys were not compared one by one: " in ran.out
    assert "keeps the heights 4 and 5" in ran.out


def test_no_common_height_and_an_unreachable_node_have_their_own_statuses(run, original):
    node = Node()
    node.block({b"rounds/a": b"1"})
    with serving(node) as address:
        ran = run("node", "diff-state", address, original.home)
    assert (ran.status, ran.err.split(":")[0]) == (Exit.REFUSED, "NO_COMMON_HEIGHT")
    assert CHAIN in ran.err
    ran = run("node", "diff-state", "http://127.0.0.1:1", original.home)
    assert (ran.status, ran.err.split(":")[0]) == (Exit.NO_ACCESS, "SOURCE_FAILED")


def test_a_node_is_not_compared_with_itself(run, original):
    ran = run("node", "diff-state", original.home, str(original.home) + "/")
    assert ran.status == Exit.USAGE
    assert "the same node" in ran.err


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
