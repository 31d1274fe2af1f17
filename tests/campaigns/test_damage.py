"""A damaged store is a clear message or harmless; never another state, a crash or a start without end.

The campaign over thousands of seeds is ``python -m campaigns.damage``; these are its first ones.
"""

import random

import lmdb
import pytest

from abci_app import __main__ as program
from campaigns import damage

MET = (3, 22, 24, 98)  # Seeds that met what the check is for. Where the store's layout changes, others do.


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return damage.specimen(tmp_path_factory.mktemp("specimen"))


@pytest.mark.parametrize("first", [0, 20, 40])
def test_whatever_was_damaged_the_start_and_fsck_say_so_or_nothing_has_changed(original, tmp_path, first):
    trials = [damage.trial(original, seed, tmp_path) for seed in range(first, first + 20)]
    unsafe = [f"seed {one.seed}: {one.kind}: {one.start} / {one.check}" for one in trials if not one.safe]
    assert unsafe == []
    assert {one.start.kind for one in trials} >= {"same state", "refused"}


def test_the_trials_would_notice_a_store_that_is_not_checked(original, tmp_path, monkeypatch):
    """What the check of the pages is for: without it LMDB crashes, or another state is read."""
    monkeypatch.setattr(damage.lmdb_store, "_pages", lambda *_: damage.lmdb_store.pages.Pages(()))
    seeds = (*MET, *range(400))
    assert any(not damage.trial(original, seed, tmp_path).safe for seed in seeds)


def test_a_node_that_is_started_on_damaged_data_exits_with_a_message(original, tmp_path, caplog):
    home = damage.copied(original, tmp_path / "node")
    data = home / "ledger" / "data.mdb"
    rng = random.Random(1)
    with data.open("r+b") as file:
        file.seek(2 * damage.PAGE)
        file.write(rng.randbytes((original.pages - 2) * damage.PAGE))
    status = program.main(["--home", str(home), "--address", f"unix://{tmp_path}/socket"])
    assert status == program.EXIT_REFUSED
    assert "refusing to start" in caplog.text
    assert "data.mdb: page" in caplog.text


def test_a_version_that_cannot_be_read_halts_the_node_with_a_message(original, tmp_path, caplog):
    home = damage.copied(original, tmp_path / "node")
    with lmdb.open(str(home / "ledger"), map_size=damage.MAP_BYTES, max_dbs=5) as env:
        meta = env.open_db(b"meta", create=False)
        with env.begin(write=True) as txn:
            txn.put(b"previous", b"short", db=meta)
    status = program.main(["--home", str(home), "--address", f"unix://{tmp_path}/socket"])
    assert status in (program.EXIT_REFUSED, program.EXIT_HALTED)
    assert "the record of a version has 5 bytes" in caplog.text


def test_an_entry_that_no_block_could_have_written_halts_the_node_with_a_message(original, tmp_path, caplog):
    home = damage.copied(original, tmp_path / "node")
    with lmdb.open(str(home / "ledger"), map_size=damage.MAP_BYTES, max_dbs=5) as env:
        state = env.open_db(b"state", create=False)
        with env.begin(write=True) as txn:
            txn.put(b"nobody/anything", b"x", db=state)
    status = program.main(["--home", str(home), "--address", f"unix://{tmp_path}/socket"])
    assert status == program.EXIT_HALTED
    assert "the store is damaged" in caplog.text
    assert "move the folder of the store away" in caplog.text
