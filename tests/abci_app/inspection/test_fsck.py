"""fsck names the key and what is wrong with it, and leaves a sound store and a running node alone."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest

from abci_app.inspection import fsck
from abci_app.store import recovery
from abci_app.store.history import record_of
from abci_app.store.interface import StoreError, Version
from abci_app.store.lmdb_store import LmdbStore
from campaigns import damage
from contracts.kernel import codec, replay
from contracts.kernel.state_tree import StateTree
from contracts.registry import RULES
from contracts.transition import BlockContext

VERSION = RULES.newest.version
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return damage.specimen(tmp_path_factory.mktemp("specimen"), heights=40)


@pytest.fixture
def home(original, tmp_path):
    return damage.copied(original, tmp_path / "node")


def alter(home, database, change):
    """Change records behind the store's back: LMDB's own structure stays sound."""
    with lmdb.open(str(home / "ledger"), map_size=damage.MAP_BYTES, max_dbs=5) as env:
        opened = env.open_db(database, create=False)
        with env.begin(write=True) as txn:
            change(txn, opened)


def committed(home, writes):
    """A block with these writes, by an application with a bug: its hashes are right, its entries are not."""
    store = LmdbStore.open(home / "ledger", damage.MAP_BYTES)
    with store.snapshot() as snapshot:
        block, tree = recovery.last_block(snapshot), recovery.rebuilt_tree(RULES, snapshot)
    version = tree.stage(writes)
    following = Version(store.height + 1, version.root, VERSION)
    context = BlockContext(block.chain_id, following.height, block.time_ms)
    notes, record = recovery.notes_of(context, following), record_of(following.height, VERSION, version.store_roots())
    store.commit(following.height, following.app_hash, writes, app_version=VERSION, notes=notes, record=record)
    store.close()


def found(home):
    return fsck.examine(home).findings


def test_a_sound_store_has_no_findings(original, home):
    report = fsck.examine(home)
    assert report.findings == []
    assert (report.version, report.entries) == (original.version, len(original.entries))
    assert report.records > 10
    assert report.pages.lost == 0


def test_checking_changes_no_byte_of_the_data(home):
    before = (home / "ledger" / "data.mdb").read_bytes(), (home / "ledger" / "store.json").read_bytes()
    fsck.examine(home)
    assert before == ((home / "ledger" / "data.mdb").read_bytes(), (home / "ledger" / "store.json").read_bytes())


def test_a_changed_value_is_named_with_its_contract(home):
    path = b"identity/organisations/"

    def change(txn, state):
        cursor = txn.cursor(db=state)
        assert cursor.set_range(path)
        body = bytearray(cursor.value())
        body[-1] ^= 1
        txn.put(cursor.key(), bytes(body), db=state)

    alter(home, b"state", change)
    assert [(one.where, one.key) for one in found(home) if "hash to" in one.wrong] == [("state", "identity/")]


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        (b"identity/strangers/a", b"\xa0", "no contract declares this path"),
        (b"identity/organisations", b"\xa0", "not a path of identity/organisations"),
        (b"identity/organisations/a/b", b"\xa0", "not a path of identity/organisations"),
        (b"identity/organisations/a b", b"\xa0", "not a path of identity/organisations"),
        (b"identity/organisations/\xff", b"\xa0", "not a path of"),
        (b"identity/organisations/new", b"\xa1aa\x01", "stored record does not decode"),
        (b"identity/organisations/new", b"\xff", "stored record does not decode"),
        (b"replay/seen/0000000050/" + b"a" * 63, codec.encode(replay.Mark(40)), "a replay mark is kept under"),
        (replay.SEEN.path((50, bytes(32))), codec.encode(replay.Mark(99)), "seen in block 99, the newest is"),
        (replay.SEEN.path((5_000, bytes(32))), codec.encode(replay.Mark(7)), "too far from 5000"),
    ],
)
def test_an_entry_that_the_rules_could_not_write_is_named_though_every_hash_is_right(home, path, body, named):
    committed(home, {path: body})
    (finding,) = found(home)
    assert (finding.where, finding.key) == ("state", path.decode("ascii", "backslashreplace"))
    assert named in finding.wrong


def test_an_entry_of_no_store_at_all_is_named(home):
    alter(home, b"state", lambda txn, state: txn.put(b"nowhere", b"x", db=state))
    assert fsck.Finding("state", "nowhere", "no contract declares this path") in found(home)


def test_damage_to_what_leads_back_is_found(home):
    def change(txn, previous):
        key, delta = next((key, delta) for key, delta in txn.cursor(db=previous) if len(delta) > 8)
        txn.put(key, delta[:-1] + bytes([delta[-1] ^ 1]), db=previous)

    alter(home, b"previous", change)
    assert found(home)


@pytest.mark.parametrize("place", [0, 8, -1])
def test_a_changed_record_of_an_old_height_is_found_though_the_node_would_start(home, place):
    def change(txn, history):
        cursor = txn.cursor(db=history)
        assert cursor.first()
        assert cursor.next()
        record = bytearray(cursor.value())
        record[place] ^= 1
        txn.put(cursor.key(), bytes(record), db=history)

    alter(home, b"history", change)
    (finding,) = found(home)
    assert finding.where == "history"
    assert "not what was written" in finding.wrong


def test_damaged_notes_and_a_damaged_version_are_found(home):
    alter(home, b"notes", lambda txn, notes: txn.put(b"time-ms", b"1", db=notes))
    assert [one.where for one in found(home)] == ["notes"]


def test_faulty_pages_end_the_check_before_lmdb_reads_them(original, home):
    data = home / "ledger" / "data.mdb"
    with data.open("r+b") as file:
        file.seek(2 * damage.PAGE)
        file.write(bytes((original.pages - 2) * damage.PAGE))
    report = fsck.examine(home)
    assert {one.where for one in report.findings} == {"pages"}
    assert report.entries == 0


def test_two_damaged_meta_pages_are_a_finding(home):
    with (home / "ledger" / "data.mdb").open("r+b") as file:
        file.write(b"\xa5" * 8_192)
    (finding,) = found(home)
    assert finding.where == "files"
    assert "not an LMDB file" in finding.wrong


def test_a_folder_without_a_store_cannot_be_opened(tmp_path):
    with pytest.raises(fsck.NoStore, match="no store of a node"):
        fsck.examine(tmp_path)


def test_another_format_cannot_be_opened(home):
    header = home / "ledger" / "store.json"
    header.write_text(json.dumps(json.loads(header.read_text()) | {"format": 1}))
    with pytest.raises(StoreError, match="has format 1"):
        fsck.examine(home)


def test_findings_over_a_thousand_are_only_counted(home):
    committed(home, {b"identity/strangers/%04d" % number: b"x" for number in range(fsck.FINDINGS_MAX + 5)})
    report = fsck.examine(home)
    assert (len(report.findings), report.unlisted) == (fsck.FINDINGS_MAX, 5)


RUNNING = """
import sys
from pathlib import Path
from abci_app.store.lmdb_store import LmdbStore
store = LmdbStore.open(Path(sys.argv[1]), 2**20)
while True:
    height = store.height + 1
    writes = {b"identity/%03d" % (n % 200): b"%d" % height * 50 for n in range(height, height + 30)}
    store.commit(height, b"%d" % height, writes, app_version=1, record=b"%d" % height)
    print(height, flush=True)
"""


def test_a_running_node_is_checked_while_it_commits_and_goes_on(tmp_path):
    command = [sys.executable, "-c", RUNNING, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout.readline() == "1\n"
            heights = []
            for _ in range(12):
                report = fsck.examine(tmp_path)
                assert [one for one in report.findings if one.where in ("files", "pages")] == []
                heights.append(report.version.height)
                report_state = [one for one in report.findings if one.where == "state"]
                assert len(report_state) >= report.entries, "every entry was read, and none of it is a ledger's"
            assert heights == sorted(heights)
            assert heights[-1] > heights[0]
        finally:
            child.kill()


def test_the_newest_hashes_must_lead_to_the_app_hash(home):
    def change(txn, history):
        cursor = txn.cursor(db=history)
        assert cursor.last()
        (height,) = (int.from_bytes(cursor.key(), "big"),)
        txn.put(
            cursor.key(), record_of(height, VERSION, StateTree(RULES.newest.stores).latest.store_roots()), db=history
        )

    alter(home, b"history", change)
    assert any("recorded hashes" in one.wrong for one in found(home))
    shutil.rmtree(home)
