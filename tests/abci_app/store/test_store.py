"""One contract, two stores; then what only files can suffer: other owners, cuts, a full map, a full disk, death."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abci_app.store.interface import (
    CommitRefused,
    Recorded,
    Store,
    StoreDamaged,
    StoreFormatUnknown,
    StoreFull,
    StoreLocked,
    Version,
)
from abci_app.store.lmdb_store import LmdbStore
from abci_app.store.memory_store import MemoryStore

ROOT = Path(__file__).resolve().parents[3]
SMALL = 2**22  # Map of a store in tests, in bytes.


@pytest.fixture(params=["memory", "lmdb"])
def store(request, tmp_path):
    made: Store = MemoryStore() if request.param == "memory" else LmdbStore.open(tmp_path / "store", SMALL)
    with contextlib.closing(made):
        yield made


def commit(store: Store, height: int, writes: dict[bytes, bytes | None], **others) -> None:
    store.commit(height, b"hash-%d" % height, writes, app_version=1, **others)


# ---- the contract


def test_a_new_store_is_empty_and_at_height_zero(store):
    assert (store.height, store.app_hash, store.app_version) == (0, b"", 0)
    assert store.get(b"a") is None
    assert store.get_previous(b"a") is None
    assert list(store.scan(b"")) == []


def test_a_commit_changes_state_height_and_hash_together(store):
    store.commit(1, b"root", {b"a": b"1", b"b": b""}, app_version=3)
    assert store.version == Version(1, b"root", 3)
    assert (store.get(b"a"), store.get(b"b")) == (b"1", b"")


def test_the_version_before_is_still_readable(store):
    commit(store, 1, {b"kept": b"k", b"changed": b"old", b"removed": b"r"})
    commit(store, 2, {b"changed": b"new", b"removed": None, b"added": b"a", b"never there": None})
    assert [store.get_previous(p) for p in (b"kept", b"changed", b"removed", b"added", b"never there")] == [
        b"k",
        b"old",
        b"r",
        None,
        None,
    ]
    with store.snapshot() as snapshot:
        assert snapshot.previous == Version(1, b"hash-1", 1)
        undo = [(b"added", None), (b"changed", b"old"), (b"never there", None), (b"removed", b"r")]
        assert list(snapshot.undo()) == undo


def test_an_empty_block_makes_the_two_versions_equal(store):
    commit(store, 1, {b"a": b"1"})
    commit(store, 2, {})
    assert store.get_previous(b"a") == b"1"
    with store.snapshot() as snapshot:
        assert list(snapshot.undo()) == []


def test_a_scan_gives_the_paths_under_a_prefix_in_byte_order(store):
    paths = [b"a", b"a/", b"a/1", b"a/2", b"a/\xff", b"a0", b"b", b"\xff\xff"]
    commit(store, 1, {path: path for path in reversed(paths)})
    assert [path for path, _ in store.scan(b"")] == paths
    assert [path for path, _ in store.scan(b"a/")] == [b"a/", b"a/1", b"a/2", b"a/\xff"]
    assert list(store.scan(b"c")) == []
    assert list(store.scan(b"\xff\xff\xff")) == []


def test_a_scan_resumes_behind_a_path_and_stops_at_its_limit(store):
    commit(store, 1, {b"a/%d" % number: b"" for number in range(6)} | {b"b": b""})

    def found(**others):
        return [path for path, _ in store.scan(b"a/", **others)]

    assert found(limit=2) == [b"a/0", b"a/1"]
    assert found(after=b"a/1", limit=2) == [b"a/2", b"a/3"]
    assert found(after=b"a/10") == [b"a/2", b"a/3", b"a/4", b"a/5"]
    assert found(after=b"0") == found()
    assert found(after=b"a/5") == found(after=b"b") == found(limit=0) == []


def test_a_snapshot_stays_what_it_is_while_the_store_goes_on(store):
    commit(store, 1, {b"a": b"1", b"b": b"1"})
    walk = store.scan(b"")
    assert next(walk) == (b"a", b"1")
    with store.snapshot() as snapshot:
        commit(store, 2, {b"a": b"2", b"b": None, b"c": b"2"})
        assert (snapshot.version.height, snapshot.get(b"a"), snapshot.get(b"c")) == (1, b"1", None)
        assert list(snapshot.scan(b"")) == [(b"a", b"1"), (b"b", b"1")]
    assert list(walk) == [(b"b", b"1")]
    assert list(store.scan(b"")) == [(b"a", b"2"), (b"c", b"2")]


def test_notes_are_those_of_the_last_commit(store):
    commit(store, 1, {}, notes={b"time": b"1", b"chain": b"test"})
    assert (store.note(b"time"), store.note(b"chain")) == (b"1", b"test")
    commit(store, 2, {}, notes={b"time": b"2"})
    assert (store.note(b"time"), store.note(b"chain")) == (b"2", None)


def test_a_record_holds_until_the_next_one(store):
    commit(store, 1, {b"a": b"1"}, record=b"first")
    commit(store, 2, {})
    commit(store, 3, {b"a": b"2"}, record=b"second")
    with store.snapshot() as snapshot:
        found = [snapshot.recorded(height) for height in range(5)]
        first, second = Recorded(1, b"first"), Recorded(3, b"second")
        assert found == [None, first, first, second, second]
        assert list(snapshot.history()) == [first, second]


@pytest.mark.parametrize(
    "make", [lambda _, kept: MemoryStore(kept), lambda path, kept: LmdbStore.open(path, SMALL, history_kept=kept)]
)
def test_the_newest_records_are_kept_and_no_more(tmp_path, make):
    with contextlib.closing(make(tmp_path, 3)) as store:
        for height in range(1, 9):
            commit(store, height, {}, record=b"%d" % height if height != 7 else None)
        with store.snapshot() as snapshot:
            assert [one.height for one in snapshot.history()] == [5, 6, 8]
            assert snapshot.recorded(4) is None


def test_the_previous_version_is_scanned_as_the_newest_is(store):
    commit(store, 1, {b"a/1": b"1", b"a/2": b"1", b"a/3": b"1", b"b": b"1"})
    before = list(store.scan(b""))
    commit(store, 2, {b"a/0": b"2", b"a/2": b"2", b"a/3": None, b"b": None, b"c": b"2"})
    with store.snapshot() as snapshot:
        assert list(snapshot.scan_previous(b"")) == before
        assert list(snapshot.scan_previous(b"a/", after=b"a/1", limit=1)) == [(b"a/2", b"1")]
        assert list(snapshot.scan_previous(b"a/", after=b"a/2")) == [(b"a/3", b"1")]


def test_a_chain_may_start_at_any_height_and_then_goes_one_by_one(store):
    commit(store, 1_000, {b"a": b"1"})
    for height in (1_000, 999, 1_002, 0, -1):
        with pytest.raises(CommitRefused, match=f"height {height} does not follow height 1000"):
            commit(store, height, {})
    commit(store, 1_001, {})
    assert store.height == 1_001


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"writes": {b"": b""}}, "path.*: 0 is outside 1 to 255"),
        ({"writes": {b"p" * 256: b""}}, "path.*: 256 is outside 1 to 255"),
        ({"writes": {b"p": b"v" * 65_537}}, "value at b'p': 65537 is outside 0 to 65536"),
        ({"app_hash": b""}, "app_hash: 0 is outside 1 to 64"),
        ({"app_hash": b"h" * 65}, "app_hash: 65 is outside 1 to 64"),
        ({"app_version": -1}, "app_version: -1 is outside"),
        ({"height": 2**63}, "height 9223372036854775808 does not follow height 0"),
        ({"notes": {b"n" * 33: b""}}, "name of note.*: 33 is outside 1 to 32"),
        ({"notes": {b"n": b"v" * 65_537}}, "note b'n': 65537 is outside"),
        ({"record": b""}, "the record: 0 is outside 1 to 2048"),
        ({"record": b"r" * 2_049}, "the record: 2049 is outside"),
    ],
)
def test_a_commit_out_of_bounds_is_refused_without_a_trace(store, arguments, reason):
    whole = {"height": 1, "app_hash": b"root", "writes": {b"a": b"1"}, "app_version": 1} | arguments
    with pytest.raises(CommitRefused, match=reason):
        store.commit(**whole)
    assert store.height == 0
    assert list(store.scan(b"")) == []


def test_the_longest_path_and_value_are_stored(store):
    path, value = b"\xff" * 255, b"v" * 65_536
    commit(store, 1, {path: value})
    commit(store, 2, {path: None})
    assert store.get_previous(path) == value


paths = st.binary(min_size=1, max_size=3)
blocks = st.lists(st.dictionaries(paths, st.none() | st.binary(max_size=40), max_size=8), max_size=8)


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(blocks=blocks, start=st.integers(1, 10**6), prefix=st.binary(max_size=2))
def test_any_sequence_of_blocks_leaves_what_a_dictionary_would(tmp_path_factory, blocks, start, prefix):
    folder = tmp_path_factory.mktemp("store")
    with contextlib.closing(LmdbStore.open(folder, SMALL)) as on_disk:
        before: dict[bytes, bytes] = {}
        now: dict[bytes, bytes] = {}
        in_memory = MemoryStore()
        for height, writes in enumerate(blocks, start):
            before, now = now, {k: v for k, v in (now | writes).items() if v is not None}
            for store in (on_disk, in_memory):
                commit(store, height, writes)
        for store in (on_disk, in_memory):
            assert dict(store.scan(b"")) == now
            assert list(store.scan(prefix)) == sorted(kv for kv in now.items() if kv[0].startswith(prefix))
            touched = {path for writes in blocks for path in writes}
            assert {path: store.get_previous(path) for path in touched} == {p: before.get(p) for p in touched}
            with store.snapshot() as snapshot:
                undone = now | dict(snapshot.undo())
                assert list(snapshot.scan_previous(prefix)) == sorted(
                    kv for kv in before.items() if kv[0].startswith(prefix)
                )
            assert {path: value for path, value in undone.items() if value is not None} == before


# ---- files


def test_a_store_is_what_it_was_when_it_is_opened_again(tmp_path):
    with contextlib.closing(LmdbStore.open(tmp_path, SMALL)) as store:
        commit(store, 1, {b"a": b"1"})
        store.commit(2, b"root", {b"a": b"2"}, app_version=9, notes={b"time": b"5"})
    with contextlib.closing(LmdbStore.open(tmp_path, SMALL)) as store:
        assert store.version == Version(2, b"root", 9)
        assert (store.get(b"a"), store.get_previous(b"a"), store.note(b"time")) == (b"2", b"1", b"5")
        commit(store, 3, {})


def test_a_store_open_elsewhere_is_refused_and_names_its_owner(tmp_path):
    with contextlib.closing(LmdbStore.open(tmp_path, SMALL)):
        with pytest.raises(StoreLocked, match=f"is open in process {os.getpid()}"):
            LmdbStore.open(tmp_path, SMALL)
        command = [sys.executable, "-c", UNTIL_KILLED, str(tmp_path)]
        other = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert "StoreLocked" in other.stderr
    LmdbStore.open(tmp_path, SMALL).close()


def test_another_format_is_refused_untouched(tmp_path):
    LmdbStore.open(tmp_path, SMALL).close()
    header = tmp_path / "store.json"
    later = json.loads(header.read_text()) | {"format": 1}
    header.write_text(json.dumps(later))
    with pytest.raises(StoreFormatUnknown, match="has format 1, this version reads format 2 only"):
        LmdbStore.open(tmp_path, SMALL)
    assert json.loads(header.read_text()) == later


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"kind": "x", "format": 1, "data_bytes": 1}', "\xff" * 9000])
def test_a_header_that_is_none_is_refused(tmp_path, text):
    LmdbStore.open(tmp_path, SMALL).close()
    (tmp_path / "store.json").write_text(text, encoding="latin-1")
    with pytest.raises(StoreDamaged, match=r"store\.json"):
        LmdbStore.open(tmp_path, SMALL)


@pytest.mark.parametrize("missing", ["store.json", "data.mdb"])
def test_a_store_with_a_part_missing_is_refused(tmp_path, missing):
    with contextlib.closing(LmdbStore.open(tmp_path, SMALL)) as store:
        commit(store, 1, {b"a": b"1"})
    (tmp_path / missing).unlink()
    with pytest.raises(StoreDamaged, match=missing):
        LmdbStore.open(tmp_path, SMALL)


@pytest.mark.parametrize("left", [0, 1, 100, 4_096, 8_191, 8_192, 20_000, SMALL // 2, SMALL - 1])
def test_a_truncated_store_is_refused_with_both_sizes(tmp_path, left):
    with contextlib.closing(LmdbStore.open(tmp_path, SMALL)) as store:
        commit(store, 1, {b"%d" % number: bytes(1_000) for number in range(100)})
    whole = (tmp_path / "data.mdb").stat().st_size
    os.truncate(tmp_path / "data.mdb", left)
    with pytest.raises(StoreDamaged, match=f"is cut short: {left} bytes of {whole}"):
        LmdbStore.open(tmp_path, SMALL)


def test_a_store_whose_first_pages_are_overwritten_is_refused(tmp_path):
    with contextlib.closing(LmdbStore.open(tmp_path, SMALL)) as store:
        commit(store, 1, {b"a": b"1"})
    with (tmp_path / "data.mdb").open("r+b") as file:
        file.write(b"\xa5" * 8_192)
    with pytest.raises(StoreDamaged, match="this is not an LMDB file"):
        LmdbStore.open(tmp_path, SMALL)


def test_a_store_that_died_while_it_was_made_is_made_again(tmp_path):
    LmdbStore.open(tmp_path, SMALL).close()
    header = tmp_path / "store.json"
    header.write_text(json.dumps(json.loads(header.read_text()) | {"data_bytes": 0}))
    os.truncate(tmp_path / "data.mdb", 5_000)
    with contextlib.closing(LmdbStore.open(tmp_path, SMALL)) as store:
        commit(store, 1, {b"a": b"1"})


def test_the_map_takes_address_space_and_no_disk(tmp_path):
    LmdbStore.open(tmp_path).close()
    data = (tmp_path / "data.mdb").stat()
    assert data.st_size == 2**30
    assert data.st_blocks * 512 < 2**20


def test_the_map_grows_before_it_is_full(tmp_path):
    with contextlib.closing(LmdbStore.open(tmp_path, 2**20)) as store:
        for height in range(1, 21):
            commit(store, height, {b"%d/%d" % (height, number): bytes(60_000) for number in range(10)})
    assert (tmp_path / "data.mdb").stat().st_size >= 20 * 600_000
    with contextlib.closing(LmdbStore.open(tmp_path, 2**20)) as store:
        assert len(list(store.scan(b""))) == 200
        commit(store, 21, {})


def test_a_reader_puts_the_growth_off(tmp_path):
    with contextlib.closing(LmdbStore.open(tmp_path, 2**22)) as store:
        commit(store, 1, {b"a": b"1"})
        with store.snapshot() as snapshot:
            for height in range(2, 12):
                commit(store, height, {b"%d" % height: bytes(60_000), b"a": b"2"})
            assert snapshot.get(b"a") == b"1"
        commit(store, 12, {b"%d" % number: bytes(60_000) for number in range(100)})
        assert store.get(b"99") == bytes(60_000)


def test_a_full_map_fails_the_commit_whole(tmp_path):
    with contextlib.closing(LmdbStore.open(tmp_path, 2**20, map_bytes_max=2**20)) as store:
        commit(store, 1, {b"a": b"1"})
        with pytest.raises(StoreFull, match="the store's map of 1048576 bytes is full: raise its limit"):
            commit(store, 2, {b"a": b"2"} | {b"b%d" % number: bytes(60_000) for number in range(20)})
        assert (store.height, store.get(b"a")) == (1, b"1")
    with contextlib.closing(LmdbStore.open(tmp_path, 2**20)) as store:
        assert (store.height, list(store.scan(b""))) == (1, [(b"a", b"1")])
        commit(store, 2, {b"b%d" % number: bytes(60_000) for number in range(20)})


ON_A_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from abci_app.store.lmdb_store import LmdbStore
from abci_app.store.interface import StoreWriteFailed
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = LmdbStore.open(Path(sys.argv[1]), int(sys.argv[2]))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    for height in range(1, 100):
        store.commit(height, b"h", {b"%d" % height: bytes(60_000)}, app_version=1)
except StoreWriteFailed as error:
    print(height, error)
"""


@pytest.mark.parametrize(("map_bytes", "disk_bytes"), [(2**22, 2**19), (2**21, 2**21)], ids=["write", "growth"])
def test_a_disk_that_takes_no_more_fails_the_commit_whole(tmp_path, map_bytes, disk_bytes):
    command = [sys.executable, "-c", ON_A_FULL_DISK, str(tmp_path), str(map_bytes), str(disk_bytes)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    failed = int(ran.stdout.split()[0])
    assert failed > 1
    with contextlib.closing(LmdbStore.open(tmp_path, SMALL)) as store:
        assert store.height == failed - 1
        assert len(list(store.scan(b""))) == failed - 1


UNTIL_KILLED = """
import sys
from pathlib import Path
from abci_app.store.lmdb_store import LmdbStore
store = LmdbStore.open(Path(sys.argv[1]), 2**20)
while True:
    height = store.height + 1
    value = b"%d" % height
    store.commit(height, value, {b"%d" % n: value * 500 for n in range(20)}, app_version=1, notes={b"n": value})
    print(height, flush=True)
"""


def test_a_store_killed_at_any_moment_is_at_the_last_block_it_acknowledged(tmp_path):
    acknowledged = 0
    for _ in range(5):
        command = [sys.executable, "-c", UNTIL_KILLED, str(tmp_path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
            for line in child.stdout:
                acknowledged = int(line)
                if acknowledged % 17 == 0:
                    break
            child.kill()
            acknowledged = max([acknowledged, *map(int, filter(str.isdigit, child.stdout.read().split()))])
        with contextlib.closing(LmdbStore.open(tmp_path, SMALL)) as store:
            value = b"%d" % store.height
            # What was printed is durable; one more may be, whose answer was not printed any more.
            assert acknowledged <= store.height <= acknowledged + 1
            assert (store.app_hash, store.note(b"n")) == (value, value)
            assert {held for _, held in store.scan(b"")} == {value * 500}
            assert store.get_previous(b"0") == b"%d" % (store.height - 1) * 500
