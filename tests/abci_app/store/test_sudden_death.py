"""A commit that is cut off anywhere, by kill -9 or by power failure, leaves the version before it whole, or itself."""

import contextlib
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from abci_app.store import lmdb_store
from abci_app.store.lmdb_store import LmdbStore

ROOT = Path(__file__).resolve().parents[3]
MAP_BYTES = 2**22
PAGE = 4096
METAS = (0, 1)

WITHOUT_END = """
import random, sys
from pathlib import Path
from abci_app.store.lmdb_store import LmdbStore
store = LmdbStore.open(Path(sys.argv[1]), 2**20, history_kept=20)
print("open", flush=True)
while True:
    height = store.height + 1
    rng = random.Random(height)
    writes = {b"%d" % rng.randrange(500): rng.choice((None, b"%d" % height * rng.randrange(1, 900))) for _ in range(30)}
    writes[b"newest"] = b"%d" % height
    store.commit(height, b"%d" % height, writes, app_version=1, notes={b"n": b"%d" % height}, record=b"%d" % height)
    print(height, flush=True)
"""


def test_a_store_killed_at_any_time_is_whole_and_has_lost_nothing_it_acknowledged(tmp_path):
    rng = random.Random(7)
    killed_later = 0
    for _ in range(12):
        command = [sys.executable, "-c", WITHOUT_END, str(tmp_path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout.readline() == "open\n"
            time.sleep(rng.uniform(0.001, 0.1))
            child.kill()
            acknowledged = [int(line) for line in child.stdout.read().split("\n") if line]
        with lmdb_store.inspect(tmp_path) as (pages, snapshot):
            assert (pages.faults, pages.lost) == ((), 0)
            height = snapshot.version.height
            killed_later += height
            if acknowledged:
                assert acknowledged[-1] <= height <= acknowledged[-1] + 1
            if height:
                named = b"%d" % height
                assert (snapshot.version.app_hash, snapshot.get(b"newest")) == (named, named)
                assert (snapshot.notes(), snapshot.recorded(height).record) == ({b"n": named}, named)
                assert snapshot.previous.height == height - 1
    assert killed_later, "every process died before its first commit"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The file before and after each of some commits: small and large ones, additions and removals."""
    folder = tmp_path_factory.mktemp("images")
    rng = random.Random(3)
    taken = []
    with contextlib.closing(LmdbStore.open(folder, MAP_BYTES, history_kept=5)) as store:
        for height in range(1, 13):
            names = [b"%d" % rng.randrange(300) for _ in range(rng.choice((0, 1, 60)))]
            writes = {name: rng.choice((None, rng.randbytes(rng.choice((10, 300, 6_000))))) for name in names}
            before = (folder / "data.mdb").read_bytes()
            store.commit(height, b"%d" % height, writes, app_version=1, record=rng.randbytes(296))
            taken.append((height, before, (folder / "data.mdb").read_bytes()))
    return folder, taken


def contents(folder: Path, data: bytes) -> tuple[int, dict[bytes, bytes]]:
    """What a node finds that starts on these bytes, and goes on from."""
    (folder / "data.mdb").write_bytes(data)
    with contextlib.closing(LmdbStore.open(folder, MAP_BYTES)) as store:
        found = store.height, dict(store.scan(b""))
        store.commit(store.height + 1, b"next", {b"next": b"n" * 9_000}, app_version=1)
        assert dict(store.scan(b"")) == found[1] | {b"next": b"n" * 9_000}
    return found


def test_a_power_failure_that_keeps_any_part_of_a_commit_leaves_the_version_before(images):
    """A disk writes pages in any order until it is flushed; LMDB writes the meta page after that."""
    folder, taken = images
    rng = random.Random(5)
    tried = 0
    for height, before, after in taken:
        whole = contents(folder, before)
        assert whole[0] == height - 1
        changed = [at for at in range(0, len(after), PAGE) if after[at : at + PAGE] != before[at : at + PAGE]]
        data_pages = [at for at in changed if at // PAGE not in METAS]
        assert len(changed) == len(data_pages) + 1, "a commit ends with exactly one meta page"
        for _ in range(6):
            torn = bytearray(before)
            for at in rng.sample(data_pages, rng.randint(0, len(data_pages))):
                cut = rng.choice((PAGE, 512, 2_048))  # A page may be written in part.
                torn[at : at + cut] = after[at : at + cut]
            assert contents(folder, bytes(torn)) == whole
            tried += 1
        assert contents(folder, after)[0] == height
    assert tried == 6 * len(taken)
