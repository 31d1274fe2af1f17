"""What every payload store must do, as claims that each store's tests run against it.

Each claim is a coroutine function over an empty store; its name is the claim. The tests of ``BlockFolder`` run them
on a folder, those of ``KuboStore`` on a real daemon.
"""

import random

import pytest

from client_sdk.payloads.errors import PayloadNotFound, PayloadOverLimit
from client_sdk.payloads.store import PayloadStore, payload_cid

MIB = 1 << 20
SIZES = (0, 10, MIB, MIB + 1, 20_000_000)
SHARED_LEAF = random.Random(5).randbytes(MIB)


def payload(size: int) -> bytes:
    return random.Random(size).randbytes(size)


async def it_is_a_payload_store(store: PayloadStore) -> None:
    assert isinstance(store, PayloadStore)


async def what_is_put_is_got_under_the_cid_computed_beforehand(store: PayloadStore) -> None:
    for size in SIZES:
        cid = payload_cid(payload(size))
        assert not await store.has(cid)
        assert await store.put(payload(size)) == cid
        assert await store.has(cid)
        assert await store.get(cid, size) == payload(size)


async def putting_twice_is_putting_once(store: PayloadStore) -> None:
    assert await store.put(b"same") == await store.put(b"same")
    await store.delete(payload_cid(b"same"))
    assert not await store.has(payload_cid(b"same"))


async def an_unknown_payload_is_not_found(store: PayloadStore) -> None:
    for missing in (payload_cid(b"nobody has this"), payload_cid(payload(3 * MIB))):
        assert not await store.has(missing)
        with pytest.raises(PayloadNotFound):
            await store.get(missing, 4 * MIB)
        with pytest.raises(PayloadNotFound):
            await store.pin(missing)


async def a_payload_over_the_callers_bound_is_refused(store: PayloadStore) -> None:
    for size in (10, 2 * MIB):
        cid = await store.put(payload(size))
        with pytest.raises(PayloadOverLimit):
            await store.get(cid, size - 1)


async def pinning_and_unpinning_may_be_repeated(store: PayloadStore) -> None:
    cid = await store.put(payload(10))
    await store.pin(cid)
    await store.pin(cid)
    await store.unpin(cid)
    await store.unpin(cid)
    await store.unpin(payload_cid(b"never seen"))
    assert await store.get(cid, 10) == payload(10)


async def a_deleted_payload_is_gone_and_deleting_may_be_repeated(store: PayloadStore) -> None:
    for size in (10, 2 * MIB):
        cid = await store.put(payload(size))
        await store.delete(cid)
        await store.delete(cid)
        assert not await store.has(cid)
        with pytest.raises(PayloadNotFound):
            await store.get(cid, size)


async def deleting_a_payload_leaves_blocks_that_another_pin_needs(store: PayloadStore) -> None:
    gone = await store.put(SHARED_LEAF + b"gone")
    kept = await store.put(SHARED_LEAF + b"kept")
    await store.delete(gone)
    assert not await store.has(gone)
    assert await store.get(kept, MIB + 4) == SHARED_LEAF + b"kept"


async def a_payload_that_lost_a_leaf_is_not_whole(store: PayloadStore) -> None:
    other = await store.put(SHARED_LEAF)
    cid = await store.put(SHARED_LEAF + b"tail")
    await store.unpin(cid)
    await store.delete(other)  # Takes the leaf along: nothing pinned needs it any more.
    assert not await store.has(cid)
    with pytest.raises(PayloadNotFound):
        await store.get(cid, MIB + 4)


CLAIMS = (
    it_is_a_payload_store,
    what_is_put_is_got_under_the_cid_computed_beforehand,
    putting_twice_is_putting_once,
    an_unknown_payload_is_not_found,
    a_payload_over_the_callers_bound_is_refused,
    pinning_and_unpinning_may_be_repeated,
    a_deleted_payload_is_gone_and_deleting_may_be_repeated,
    deleting_a_payload_leaves_blocks_that_another_pin_needs,
    a_payload_that_lost_a_leaf_is_not_whole,
)
