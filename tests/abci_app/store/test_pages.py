"""The check of LMDB's pages: silent about everything that LMDB writes, and not about what it would not write."""

import contextlib
import random
import struct

import lmdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abci_app.store import pages
from abci_app.store.interface import StoreDamaged
from abci_app.store.lmdb_store import DATABASES, LmdbStore, inspect

MAP_BYTES = 2**22
PAGE = 4096
BRANCH, LEAF, OVERFLOW = 1, 2, 4


def examined(folder):
    with (folder / "data.mdb").open("rb") as file:
        return pages.examine(file.fileno(), DATABASES)


values = st.integers(0, 400) | st.sampled_from((2_030, 2_040, 4_000, 4_080, 9_000, 65_536))
blocks = st.lists(st.dictionaries(st.integers(0, 200), st.none() | values, max_size=40), max_size=12)


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(blocks=blocks, kept=st.integers(1, 20), notes=st.integers(0, 9_000))
def test_whatever_is_committed_leaves_no_fault_and_no_lost_page(tmp_path_factory, blocks, kept, notes):
    folder = tmp_path_factory.mktemp("store")
    with contextlib.closing(LmdbStore.open(folder, MAP_BYTES, history_kept=kept)) as store:
        for height, block in enumerate(blocks, 1):
            names = {number: b"%d" % number * (1 + number % 60) for number in block}
            writes = {names[n][:255]: None if size is None else bytes(size) for n, size in block.items()}
            store.commit(height, b"h", writes, app_version=1, notes={b"n": bytes(notes)}, record=bytes(296))
            found = examined(folder)
            assert (found.faults, found.lost) == ((), 0)
            assert found.used + found.free == store._env.info()["last_pgno"] + 1
            assert found.transaction == store._env.info()["last_txnid"]


@pytest.fixture
def folder(tmp_path):
    """A store with branches, values in overflow pages, free pages and history."""
    rng = random.Random(1)
    with contextlib.closing(LmdbStore.open(tmp_path, MAP_BYTES)) as store:
        for height in range(1, 45):
            writes = {b"identity/%04d" % rng.randrange(2_000): rng.randbytes(rng.choice((40, 300))) for _ in range(60)}
            large = {b"rounds/%d" % rng.randrange(9): rng.randbytes(9_000)}
            store.commit(height, b"h", writes | large, app_version=1, record=rng.randbytes(296))
    return tmp_path


class Image:
    """The bytes of a store, for changing them one by one."""

    def __init__(self, folder):
        self.path = folder / "data.mdb"
        self.data = bytearray(self.path.read_bytes())
        self.meta = max((0, PAGE), key=lambda at: struct.unpack_from("=Q", self.data, at + 144)[0])
        self.last = struct.unpack_from("=Q", self.data, self.meta + 136)[0]

    def live(self, kind):
        """The pages of a kind that the newest version reaches, by what a walk over it claims."""
        with self.path.open("rb") as file:
            walk = pages._Walk(file.fileno())
            walk.whole(walk.meta(None), DATABASES)
        used = [page for page in range(2, self.last + 1) if walk.owners[page] == 1]
        return [page * PAGE for page in used if struct.unpack_from("=QHH", self.data, page * PAGE)[::2] == (page, kind)]

    def nodes(self, at):
        """The offsets of a page's nodes."""
        (lower,) = struct.unpack_from("=H", self.data, at + 12)
        return [at + node for node in struct.unpack_from(f"={(lower - 16) // 2}H", self.data, at + 16)]

    def write(self):
        self.path.write_bytes(self.data)


def require_refused(folder, match):
    found = examined(folder)
    assert any(match in str(fault) for fault in found.faults), found.faults
    with pytest.raises(StoreDamaged, match=r"data\.mdb: page"):
        LmdbStore.open(folder, MAP_BYTES)


def test_a_changed_separator_hides_a_key_from_lookups_and_is_found(folder):
    """The scan that the state's root is computed from does not read separators; a look-up does."""
    image = Image(folder)
    branch = next(at for at in image.live(BRANCH) if len(image.nodes(at)) > 3)
    node = image.nodes(branch)[2]
    size = struct.unpack_from("=H", image.data, node + 6)[0]
    old = bytes(image.data[node + 8 : node + 8 + size])
    image.data[node + 8 + size - 1] += 1
    image.write()
    with lmdb.open(str(folder), max_dbs=5) as env, env.begin() as txn:
        state = env.open_db(b"state", txn=txn, create=False)
        scanned = [key for key, _ in txn.cursor(db=state)]
        if old in scanned:
            assert txn.get(old, db=state) is None, "LMDB finds a key by its scan and not by its look-up"
    require_refused(folder, "not between those above it")


def test_a_page_that_leads_to_itself_is_found(folder):
    image = Image(folder)
    branch = image.live(BRANCH)[0]
    struct.pack_into("=HH", image.data, image.nodes(branch)[1], branch // PAGE & 0xFFFF, branch // PAGE >> 16)
    image.write()
    require_refused(folder, "two places at once")


def test_a_page_number_outside_of_the_file_is_found(folder):
    image = Image(folder)
    struct.pack_into("=H", image.data, image.nodes(image.live(BRANCH)[0])[0] + 4, 0x4000)
    image.write()
    require_refused(folder, "outside of the")


def test_a_live_page_in_the_list_of_free_ones_is_found(folder):
    """Nothing else would notice: the next commits would write over the state."""
    image = Image(folder)
    (root,) = struct.unpack_from("=Q", image.data, image.meta + 80)
    listed = image.nodes(root * PAGE)[0] + 16
    count, first = struct.unpack_from("=QQ", image.data, listed)
    assert 0 < count <= image.last
    assert first <= image.last
    live = max(image.live(LEAF)) // PAGE
    struct.pack_into("=Q", image.data, listed + 8, live)
    image.write()
    require_refused(folder, "two places at once")


@pytest.mark.parametrize(
    ("offset", "named"),
    [
        (0, "it says that it is page"),
        (10, "flags"),
        (12, "free space"),
        (14, "free space|outside of the nodes"),
        (16, "a node lies outside|its nodes leave a gap"),
    ],
)
def test_a_changed_header_of_a_leaf_is_found(folder, offset, named):
    image = Image(folder)
    leaf = image.live(LEAF)[3]
    image.data[leaf + offset] ^= 1
    image.write()
    faults = [str(fault) for fault in examined(folder).faults]
    assert any(part in fault for fault in faults for part in named.split("|")), faults
    with pytest.raises(StoreDamaged):
        LmdbStore.open(folder, MAP_BYTES)


def test_a_value_whose_pages_are_not_a_values_is_found(folder):
    image = Image(folder)
    image.data[image.live(OVERFLOW)[0] + 12] ^= 2
    image.write()
    require_refused(folder, "does not begin a value")


@pytest.mark.parametrize(
    ("offset", "named"),
    [
        (0, "it says that it is page"),
        (16, "magic|not an LMDB file"),
        (20, "format"),
        (32, "in a map of"),
        (136, "do not follow|in a map of|belong|outside"),
        (40 + 48 + 32, "counts"),
    ],
)
def test_a_changed_meta_page_is_found(folder, offset, named):
    """LMDB goes by the higher of two transaction numbers: one changed bit there would take it back a block."""
    image = Image(folder)
    image.data[image.meta + offset] ^= 2
    image.write()
    faults = [str(fault) for fault in examined(folder).faults]
    if offset == 136 and not faults:
        return  # The newest version may reach no page of the ones that were cut off, or added.
    assert any(part in fault for fault in faults for part in named.split("|")), faults


def test_a_transaction_number_that_does_not_follow_is_found(folder):
    image = Image(folder)
    image.data[image.meta + 144] ^= 8
    image.write()
    require_refused(folder, "do not follow")


def test_two_meta_pages_of_one_transaction_are_found_by_whoever_reads(folder):
    image = Image(folder)
    other = PAGE - image.meta
    image.data[other + 8 : other + PAGE] = image.data[image.meta + 8 : image.meta + PAGE]
    image.write()
    require_refused(folder, "do not follow")
    with inspect(folder) as (pages, snapshot):
        assert snapshot is None
        assert "do not follow" in str(pages.faults[0])


def test_a_missing_or_strange_database_is_found(folder):
    with lmdb.open(str(folder), map_size=MAP_BYTES, max_dbs=6) as env:
        env.open_db(b"strange", create=True)
    require_refused(folder, "b'strange'")
    with lmdb.open(str(folder), map_size=MAP_BYTES, max_dbs=6) as env, env.begin(write=True) as txn:
        txn.drop(env.open_db(b"strange", txn=txn, create=False))
        txn.drop(env.open_db(b"history", txn=txn, create=False))
    require_refused(folder, "b'history' is missing")


def test_faults_beyond_a_hundred_are_not_looked_for(folder):
    image = Image(folder)
    (free,) = struct.unpack_from("=Q", image.data, image.meta + 80)
    (main,) = struct.unpack_from("=Q", image.data, image.meta + 128)
    leaves = [at for at in image.live(LEAF) if at // PAGE not in (free, main)]
    for at in leaves:
        image.data[at + 10] ^= 0x40
    image.write()
    assert len(leaves) > pages.FAULTS_MAX
    assert len(examined(folder).faults) == pages.FAULTS_MAX
