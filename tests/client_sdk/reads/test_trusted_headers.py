"""Verified headers by height: which are fetched, which way trust is carried, and where it may begin again."""

import asyncio
import json
from dataclasses import replace

import pytest

from campaigns.harness.fake_node import ChainNode, header_json
from campaigns.harness.header_chain import BLOCK_NS, FOUR, START_NS, HeaderChain, Members, forge
from client_sdk import light
from client_sdk.documents.strict_json import Answer
from client_sdk.light import CannotVerify, TrustExpired, VerificationFailed
from client_sdk.light.documents import read_header
from client_sdk.reads.checkpoints import CheckpointFile, CheckpointInvalid
from client_sdk.reads.trusted_headers import STATES_KEPT, TrustedHeaders
from client_sdk.rpc import RpcClient
from client_sdk.secrets.private_files import ExposedFile
from tests.client_sdk.small_ledger import NOW, asked, following, reading, run, small_ledger

# Headers ----------------------------------------------------------------------------------------


def changing_chain() -> HeaderChain:
    """Forty blocks; every fourth one brings a newcomer for the longest-serving validator."""
    names = [f"v{number}" for number in range(14)]

    def those(first: int) -> Members:
        return Members.of(**dict.fromkeys(names[first : first + 4], 10))

    chain = HeaderChain(those(0), those(0))
    for height in range(1, 41):
        chain.add(after_next=those(height // 4))
    return chain


def test_a_distant_header_is_reached_by_way_of_few_others():
    async def scenario():
        async with ChainNode(changing_chain()) as node, RpcClient([node.address]) as rpc:
            headers = following(rpc, node.chain)
            assert (await headers.at(40)).header_hash == node.chain.header(40).hash
            assert len(asked(node, "commit")) < 20
            assert headers.newest.height == 40

    run(scenario())


def test_known_validators_and_headers_are_not_fetched_again():
    async def scenario():
        async with reading() as (node, reader):
            await asyncio.gather(*(reader.headers.at(height) for height in (2, 3, 3, 5, 5)))
            assert sorted(asked(node, "commit")) == [2, 3, 5]
            assert asked(node, "validators") == []

    run(scenario())


def test_an_earlier_header_is_verified_forwards_while_trust_lasts_and_backwards_after():
    async def scenario():
        async with ChainNode(HeaderChain().grow(9)) as node, RpcClient([node.address]) as rpc:
            clock = NOW
            headers = TrustedHeaders(
                rpc, light.trust_genesis(node.chain.genesis), clock=lambda: clock, trusting_period_ns=NOW - START_NS + 1
            )
            await headers.at(8)
            assert (await headers.at(3)).height == 3
            assert asked(node, "commit") == [8, 3]
            clock = node.chain.header(8).time_ns + NOW - START_NS + 1
            assert (await headers.at(6)).header_hash == node.chain.header(6).hash
            assert asked(node, "commit") == [8, 3, 7, 6]
            with pytest.raises(TrustExpired):
                await headers.at(9)

    run(scenario())


def test_a_forged_past_is_refused_when_walking_back():
    async def scenario():
        async with ChainNode(HeaderChain().grow(5)) as node, RpcClient([node.address]) as rpc:
            state = light.trust_checkpoint(
                node.chain.chain_id, 5, node.chain.header(5).hash, node.chain.signed(5), FOUR.set
            )
            node.chain.blocks[4] = (forge(replace(node.chain.header(4), app_hash=b"\1" * 32), FOUR), FOUR)
            headers = TrustedHeaders(rpc, state, clock=lambda: NOW)
            with pytest.raises(VerificationFailed, match="follows"):
                await headers.at(4)

    run(scenario())


def test_a_header_that_is_not_there_yet_is_waited_for_and_one_that_is_gone_is_not():
    async def scenario():
        async with reading() as (node, reader):
            node.newest = 2
            coming = asyncio.create_task(reader.headers.at(3))
            while not asked(node, "commit").count(3):  # noqa: ASYNC110 - a node sets no event
                await asyncio.sleep(0.01)
            assert not coming.done()
            node.newest = 5
            assert (await coming).height == 3
            node.lowest = 3
            with pytest.raises(CannotVerify, match="lowest height is 3"):
                await reader.headers.at(2)
            assert asked(node, "commit").count(2) == 1

    run(scenario())


def test_a_known_header_does_not_wait_behind_one_that_is_not_there_yet():
    async def scenario():
        async with reading() as (node, reader):
            node.newest = 2
            before = await reader.headers.at(2)
            coming = asyncio.create_task(reader.headers.at(3))
            while asked(node, "commit").count(3) == 0:  # noqa: ASYNC110 - a node sets no event
                await asyncio.sleep(0)
            assert await reader.headers.at(2) is before
            assert not coming.done()
            node.newest = 5
            assert (await coming).height == 3

    run(scenario())


def test_a_man_in_the_middle_with_keys_of_his_own_is_refused():
    async def scenario():
        strangers = Members.of(mal=10, ned=10, ola=10, pat=10)
        theirs = ChainNode(HeaderChain(strangers, strangers).grow(5))
        async with theirs as node, RpcClient([node.address]) as rpc:
            headers = following(rpc, HeaderChain().grow(1))
            with pytest.raises(VerificationFailed, match="announced"):
                await headers.at(5)

    run(scenario())


def test_what_is_remembered_is_bounded():
    async def scenario():
        async with ChainNode(HeaderChain().grow(STATES_KEPT + 20)) as node, RpcClient([node.address]) as rpc:
            headers = following(rpc, node.chain)
            for height in range(1, STATES_KEPT + 21):
                await headers.at(height)
            node.calls.clear()
            await headers.at(STATES_KEPT + 20)
            await headers.at(100)
            assert node.calls == []
            await headers.at(3)
            assert asked(node, "commit") == [3]

    run(scenario())


# Checkpoints ------------------------------------------------------------------------------------


def test_a_checkpoint_outlives_the_program_and_the_trusting_period_of_the_genesis(tmp_path):
    checkpoints = CheckpointFile(tmp_path / "trust" / "checkpoint.json")
    late = START_NS + light.TRUSTING_PERIOD_NS + 4 * BLOCK_NS

    async def scenario():
        async with small_ledger() as node, RpcClient([node.address]) as rpc:
            await following(rpc, node.chain, checkpoints=checkpoints).at(5)
            node.calls.clear()
            resumed = following(rpc, node.chain, now_ns=late - BLOCK_NS, checkpoints=checkpoints)
            assert (await resumed.at(5)).height == 5
            assert asked(node, "commit") == [5]
            with pytest.raises(TrustExpired):
                await following(rpc, node.chain, now_ns=late).at(5)

    run(scenario())


def test_a_chain_that_denies_the_checkpoint_is_refused(tmp_path):
    checkpoints = CheckpointFile(tmp_path / "trust" / "checkpoint.json")

    async def scenario():
        async with small_ledger() as node, RpcClient([node.address]) as rpc:
            await following(rpc, node.chain, checkpoints=checkpoints).at(5)
            node.chain.blocks[5] = (forge(replace(node.chain.header(5), app_hash=b"\1" * 32), FOUR), FOUR)
            with pytest.raises(VerificationFailed, match="checkpoint"):
                await following(rpc, node.chain, checkpoints=checkpoints).at(5)

    run(scenario())


def test_a_checkpoint_of_another_genesis_is_ignored_and_one_that_was_pruned_too(tmp_path):
    checkpoints = CheckpointFile(tmp_path / "trust" / "checkpoint.json")

    async def scenario():
        async with small_ledger() as node, RpcClient([node.address]) as rpc:
            await following(rpc, node.chain, checkpoints=checkpoints).at(4)
            node.lowest = 5
            assert (await following(rpc, node.chain, checkpoints=checkpoints).at(5)).height == 5
        others = Members.of(eve=10, fay=10)
        async with ChainNode(HeaderChain(others, others).grow(6)) as node, RpcClient([node.address]) as rpc:
            assert (await following(rpc, node.chain, checkpoints=checkpoints).at(6)).height == 6

    run(scenario())


def test_a_checkpoint_that_others_could_write_or_that_is_none_is_refused(tmp_path):
    path = tmp_path / "trust" / "checkpoint.json"
    root = light.trust_genesis(HeaderChain().genesis)
    CheckpointFile(path).save(root, root)
    assert json.loads(path.read_text())["chain_id"] == root.chain_id
    with pytest.raises(CheckpointInvalid, match=r"checkpoint\.height"):
        CheckpointFile(path).load(root)
    path.write_text("{")
    with pytest.raises(CheckpointInvalid):
        CheckpointFile(path).load(root)
    path.chmod(0o666)
    with pytest.raises(ExposedFile):
        CheckpointFile(path).load(root)
    assert CheckpointFile(tmp_path / "trust" / "none.json").load(root) is None


def test_a_header_in_json_is_the_header():
    """The fake node's JSON loses nothing: otherwise the tests above would prove less than they say."""
    chain = HeaderChain().grow(2)
    read = read_header(Answer(header_json(chain.header(2)), "header"))
    assert read.hash == chain.header(2).hash
