"""The embedded store: the store contract, damage on disk, crashes, and several processes in one folder."""

import asyncio
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from client_sdk.payloads.block_folder import BlockFolder
from client_sdk.payloads.errors import PayloadCorrupt, PayloadNotFound, StoreUnavailable
from client_sdk.payloads.unixfs import build, payload_cid
from tests.client_sdk.payloads.store_contract import CLAIMS, MIB, SHARED_LEAF, payload

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path):
    return BlockFolder(tmp_path / "store")


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.__name__)
def test_a_block_folder_keeps_the_store_contract(claim, folder):
    async def run():
        async with folder as store:
            await claim(store)

    asyncio.run(run())


def test_blocks_lie_where_kubos_flatfs_puts_them(folder):
    cid = asyncio.run(folder.put(b""))
    name = "CIQOHMGEIKMPYHAUTL57JSEZN64SIJ5OIHSGJG4TJSSJLGI3PBJLQVI"  # Known to every flatfs: the empty block.
    assert folder.block_path(cid).relative_to(folder.block_path(cid).parents[1]) == Path("QV") / f"{name}.data"
    assert folder.block_path(cid).read_bytes() == b""
    sharding = folder.block_path(cid).parents[1] / "SHARDING"
    assert sharding.read_text() == "/repo/flatfs/shard/v1/next-to-last/2\n"


def test_a_folder_is_for_its_owner_only(folder):
    cid = asyncio.run(folder.put(b"x"))
    root = folder.block_path(cid).parents[2]
    assert root.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("victim", ["root", "leaf"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "grow"])
def test_damage_on_disk_is_detected_and_repaired_by_publishing_again(folder, victim, damage):
    data = payload(MIB + 1)
    dag = build(data)
    asyncio.run(folder.put(data))
    path = folder.block_path(dag.root if victim == "root" else dag.blocks[0].cid)
    raw = bytearray(path.read_bytes())
    if damage == "flip":
        raw[len(raw) // 2] ^= 1
    elif damage == "truncate":
        del raw[-1]
    else:
        raw.append(0)
    path.write_bytes(raw)
    with pytest.raises(PayloadCorrupt, match="do not hash"):
        asyncio.run(folder.get(dag.root, len(data)))
    assert asyncio.run(folder.put(data)) == dag.root
    assert asyncio.run(folder.get(dag.root, len(data))) == data


def test_a_block_file_of_absurd_length_is_not_read_whole(folder):
    cid = asyncio.run(folder.put(b"x"))
    with folder.block_path(cid).open("wb") as file:
        file.truncate(1 << 40)  # Sparse: a terabyte to read, nothing on disk.
    with pytest.raises(PayloadCorrupt, match="longer than"):
        asyncio.run(folder.get(cid, 1))


def test_a_crash_while_writing_leaves_no_block_under_its_name(folder, monkeypatch):
    def crash(_descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", crash)
        with pytest.raises(StoreUnavailable, match="No space left"):
            asyncio.run(folder.put(b"x"))
    assert not folder.block_path(payload_cid(b"x")).exists()
    assert folder.pinned() == frozenset()


def test_what_a_crash_left_unfinished_is_swept_by_the_next_deletion(folder):
    leftover = folder.block_path(payload_cid(b"x")).parents[2] / "unfinished" / "0123"
    leftover.write_bytes(b"half a blo")
    asyncio.run(folder.delete(payload_cid(b"never here")))
    assert not leftover.exists()


def test_deletion_waits_for_a_writer_that_may_have_found_the_block_already_there(folder):
    gone = asyncio.run(folder.put(SHARED_LEAF))
    lock = os.open(folder.block_path(gone).parents[2] / "lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_SH)  # Another process between "the leaf is here" and its pin.
    deletion = threading.Thread(target=lambda: asyncio.run(folder.delete(gone)))
    deletion.start()
    deletion.join(0.2)
    assert deletion.is_alive()
    assert folder.block_path(gone).exists()
    kept = asyncio.run(folder.put(SHARED_LEAF + b"tail"))
    os.close(lock)
    deletion.join()
    assert asyncio.run(folder.get(kept, MIB + 4)) == SHARED_LEAF + b"tail"


def test_a_damaged_pin_does_not_stop_the_deletion_of_another_payload(folder):
    damaged = asyncio.run(folder.put(payload(2 * MIB)))
    folder.block_path(damaged).write_bytes(b"")
    other = asyncio.run(folder.put(payload(2 * MIB + 1)))
    asyncio.run(folder.delete(other))
    assert not asyncio.run(folder.has(other))
    assert folder.pinned() == {damaged}


WORKER = """
import asyncio, sys
from pathlib import Path
from client_sdk.payloads.block_folder import BlockFolder

async def work(folder, own):
    shared = bytes(1 << 20)
    for turn in range(8):
        data = shared + own + bytes([turn])
        cid = await folder.put(data)
        assert await folder.get(cid, len(data)) == data
        if turn < 7:
            await folder.delete(cid)

asyncio.run(work(BlockFolder(Path(sys.argv[1])), sys.argv[2].encode()))
"""


def test_processes_that_put_and_delete_in_one_folder_do_not_harm_each_other(tmp_path):
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path / "store"), f"worker {number}"], cwd=REPOSITORY)
        for number in range(3)
    ]
    try:
        assert [worker.wait() for worker in workers] == [0, 0, 0]
    finally:
        for worker in workers:
            worker.kill()
    folder = BlockFolder(tmp_path / "store")
    expected = {bytes(MIB) + f"worker {number}".encode() + b"\x07" for number in range(3)}
    assert folder.pinned() == {payload_cid(data) for data in expected}
    assert {asyncio.run(folder.get(cid, 2 * MIB)) for cid in folder.pinned()} == expected


def test_a_folder_that_cannot_be_made_says_which_and_what_to_check(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreUnavailable, match="file") as refused:
        BlockFolder(tmp_path / "file" / "store")
    assert "permissions" in refused.value.hint


def test_a_missing_block_is_named(folder):
    data = payload(MIB + 1)
    dag = build(data)
    asyncio.run(folder.put(data))
    folder.block_path(dag.blocks[1].cid).unlink()
    with pytest.raises(PayloadNotFound, match=str(dag.blocks[1].cid)):
        asyncio.run(folder.get(dag.root, len(data)))
