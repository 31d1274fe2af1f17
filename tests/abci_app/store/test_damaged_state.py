"""LMDB has no checksums: whatever was changed in a node's data, its application refuses to start on it."""

import lmdb
import pytest

from abci_app.app import LedgerApplication
from abci_app.protocol.application import Halt
from abci_app.store.lmdb_store import LmdbStore
from campaigns.simulation.cluster import Cluster
from campaigns.simulation.faults import LmdbDisk

MAP_BYTES = 2**22


@pytest.fixture
def folder(tmp_path):
    """The data of a node that has committed five blocks and is stopped."""
    cluster = Cluster(4, [LmdbDisk(tmp_path / "node")])
    while cluster.agreement.height < 5 or not cluster.agreement.blocks[-1].txs:
        cluster.advance()
    cluster.replicas[0].stop()
    return tmp_path / "node"


def flip(value):
    return value[:-1] + bytes([value[-1] ^ 1])


def changed_record(txn, key, value, database):
    txn.put(key, flip(value), db=database)


def removed_record(txn, key, _value, database):
    txn.delete(key, db=database)


def added_record(txn, key, value, database):
    txn.put(key + b"-more", value, db=database)


def alter(folder, database, damage):
    """Change one record behind the store's back."""
    with lmdb.open(str(folder), map_size=MAP_BYTES, max_dbs=5) as env:
        opened = env.open_db(database, create=False)
        with env.begin(write=True) as txn:
            damage(txn, opened)


def start(folder):
    store = LmdbStore.open(folder, MAP_BYTES)
    try:
        return LedgerApplication(store)
    finally:
        store.close()


def test_undamaged_data_is_accepted(folder):
    assert start(folder)


@pytest.mark.parametrize("damage", [changed_record, removed_record, added_record])
@pytest.mark.parametrize("database", [b"state", b"previous"])
def test_a_record_changed_removed_or_added_stops_the_start(folder, database, damage):
    """Also in what leads back to the version before: proofs are given of that one too."""

    def change(txn, opened):
        key, value = next((key, value) for key, value in txn.cursor(db=opened) if len(value) > 8)
        damage(txn, key, value, opened)

    alter(folder, database, change)
    with pytest.raises(Halt, match="the store is damaged"):
        start(folder)


@pytest.mark.parametrize(
    ("database", "key", "place"),
    [
        *((b"notes", b"chain-id", 0), (b"notes", b"time-ms", -1), (b"notes", b"seal", 5)),
        *((b"meta", b"current", 7), (b"meta", b"current", -1)),
    ],
)
def test_a_bit_flipped_in_the_chain_the_time_the_height_or_the_app_hash_stops_the_start(folder, database, key, place):
    """No root covers these, and a node on another chain id or height would refuse what its peers accept."""

    def change(txn, opened):
        value = bytearray(txn.get(key, db=opened))
        value[place] ^= 1
        txn.put(key, bytes(value), db=opened)

    alter(folder, database, change)
    with pytest.raises(Halt, match="the store is damaged"):
        start(folder)


def test_a_height_that_reads_zero_over_a_state_that_is_there_stops_the_start(folder):
    """An empty node would begin with the genesis, on top of what is stored."""

    def change(txn, opened):
        record = txn.get(b"current", db=opened)
        txn.put(b"current", bytes(8) + record[8:], db=opened)

    alter(folder, b"meta", change)
    with pytest.raises(Halt, match="at height 0 and not empty"):
        start(folder)


def test_a_store_that_another_application_wrote_is_refused(tmp_path):
    store = LmdbStore.open(tmp_path / "other", MAP_BYTES)
    store.commit(1, bytes(32), {b"identity/a": b"b"}, app_version=1)
    store.close()
    with pytest.raises(Halt, match="not written by this application"):
        start(tmp_path / "other")
