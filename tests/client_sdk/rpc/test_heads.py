"""One follower for everybody who waits: every height, in order, through lost events, lost nodes and bugs of ours."""

import asyncio
from contextlib import aclosing

import pytest

from campaigns.harness.fake_node import ChainNode
from campaigns.harness.header_chain import HeaderChain
from client_sdk.rpc import Patience, RpcClient

CHAIN = HeaderChain()
for _ in range(9):
    CHAIN.add()
QUICK, DEAF = Patience(poll=0.02), Patience(poll=3600.0)


def following(node: ChainNode, patience: Patience = QUICK) -> RpcClient:
    return RpcClient([node.address], patience=patience)


def run(coroutine) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(300):  # It catches a follower that hangs, nothing else.
            await coroutine

    asyncio.run(bounded())


async def take(heights, count: int) -> list[int]:
    return [await anext(heights) for _ in range(count)]


def test_heights_begin_after_the_one_given_and_none_is_left_out():
    async def scenario():
        async with ChainNode(CHAIN) as node, following(node) as rpc, aclosing(rpc.heads.after(0)) as heights:
            node.newest = 2
            assert await take(heights, 2) == [1, 2]
            node.newest = 9
            await node.ring()
            assert await take(heights, 7) == [3, 4, 5, 6, 7, 8, 9]

    run(scenario())


def test_an_event_wakes_the_follower_before_its_next_question():
    async def scenario():
        async with ChainNode(CHAIN) as node, following(node, DEAF) as rpc:
            node.newest = 5
            async with aclosing(rpc.heads.after()) as heights:
                waiting = asyncio.create_task(take(heights, 2))
                await node.subscribed.wait()
                await rpc.heads.newest()
                node.newest = 7
                await node.ring()
                assert await waiting == [6, 7]

    run(scenario())


def test_without_events_new_heights_are_found_by_asking():
    async def scenario():
        async with ChainNode(CHAIN) as node, following(node) as rpc:
            node.refuses_subscriptions = True
            node.newest = 1
            async with aclosing(rpc.heads.after(0)) as heights:
                assert await take(heights, 1) == [1]
                node.newest = 3
                assert await take(heights, 2) == [2, 3]

    run(scenario())


def test_however_many_wait_there_is_one_subscription_and_one_question_a_block():
    async def scenario():
        async with ChainNode(CHAIN) as node, following(node, DEAF) as rpc:
            node.newest = 1
            waiting = [asyncio.create_task(take(rpc.heads.after(0), 2)) for _ in range(20)]
            await node.subscribed.wait()
            await rpc.heads.newest()
            asked = node.called("abci_info")
            node.newest = 2
            await node.ring()
            assert await asyncio.gather(*waiting) == [[1, 2]] * 20
            assert (len(node.sockets), node.called("abci_info") - asked) == (1, 1)

    run(scenario())


def test_heights_go_on_after_a_node_was_away_and_never_go_back():
    async def scenario():
        async with ChainNode(CHAIN) as node, following(node) as rpc:
            node.newest = 2
            async with aclosing(rpc.heads.after(0)) as heights:
                assert await take(heights, 2) == [1, 2]
                await node.subscribed.wait()
                node.subscribed.clear()
                await node.stop()
                waiting = asyncio.create_task(take(heights, 3))
                node.newest = 1  # A node that lost its place.
                asked = node.called("abci_info")
                await node.start()
                while node.called("abci_info") < asked + 2:  # noqa: ASYNC110 - a node sets no event
                    await asyncio.sleep(0.01)
                node.newest = 5
                assert await waiting == [3, 4, 5]
                await node.subscribed.wait()

    run(scenario())


def test_waiting_beyond_a_height_ends_with_the_time_that_there_is():
    async def scenario():
        async with ChainNode(CHAIN) as node, following(node) as rpc:
            node.newest = 3
            now = asyncio.get_running_loop().time()
            assert await rpc.heads.beyond(2, now + 60)
            assert rpc.heads.height == 3
            assert await rpc.heads.beyond(3, now + 60), "a poll passed without a block: ask again"
            assert not await rpc.heads.beyond(3, now)

    run(scenario())


def test_closing_ends_the_subscription_and_every_task():
    async def scenario():
        async with ChainNode(CHAIN) as node:
            async with following(node) as rpc:
                node.newest = 1
                await rpc.heads.newest()
                await node.subscribed.wait()
            await node.left.wait()
            assert [task for task in asyncio.all_tasks() if task.get_name() == "heads" or "_ring" in repr(task)] == []

    run(scenario())


def test_a_bug_in_following_is_heard_by_who_waits():
    async def scenario():
        async with ChainNode(CHAIN) as node, following(node) as rpc:
            rpc.abci_info = None  # type: ignore[method-assign, assignment]
            with pytest.raises(TypeError):
                await anext(rpc.heads.after(0))
            with pytest.raises(TypeError):
                await rpc.heads.newest()
            rpc.heads._following = None  # It was heard; closing is not about it.

    run(scenario())


def test_a_height_far_ahead_that_a_node_makes_up_costs_one_look_and_is_forgotten():
    async def scenario():
        async with ChainNode(CHAIN) as node, following(node) as rpc, aclosing(rpc.heads.latest()) as heights:
            node.newest = 2**62
            assert await anext(heights) == 2**62
            following_on = asyncio.create_task(anext(heights))
            node.newest = 4
            assert await following_on == 4
            assert rpc.heads.height == 4
            following_on = asyncio.create_task(anext(heights))
            node.newest = 7
            assert await following_on == 7

    run(scenario())
