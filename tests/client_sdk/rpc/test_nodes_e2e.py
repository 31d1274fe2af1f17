"""The RPC client, the light client and verified reads against real CometBFT nodes, kvstore's and the ledger's."""

import asyncio
import json
import time
from contextlib import aclosing

import pytest

from campaigns.harness import comet, consortium
from client_sdk import light
from client_sdk.client import LedgerClient
from client_sdk.reads.checkpoints import CheckpointFile
from client_sdk.reads.verified import VerifiedReader
from client_sdk.rpc import HeightUnavailable, NodeUnavailable, RpcClient, TxInCache
from client_sdk.session.opening import ledger_of
from contracts import identity
from contracts.identity import AddKey, KeyAdded, UnknownKey
from contracts.kernel.crypto import sha256
from tests.real_ledger import ledger

pytestmark = pytest.mark.e2e


def run(coroutine):
    asyncio.run(coroutine)


async def decided(rpc: RpcClient, raw: bytes):
    while (found := await rpc.tx(sha256(raw))) is None:  # noqa: ASYNC110 - a node sets no event
        await asyncio.sleep(0.05)
    return found


def test_every_call_reads_a_real_nodes_answer(tmp_path):
    async def scenario():
        async with comet.running(tmp_path / "net") as [node], RpcClient([node.address]) as rpc:
            status, genesis = await rpc.status(), await rpc.genesis()
            assert (status.chain_id, status.catching_up) == (genesis.chain_id, False)
            raw = b"hello=ledger"
            checked = await rpc.broadcast_tx_sync(raw)
            assert (checked.code, checked.hash) == (0, sha256(raw))
            with pytest.raises(TxInCache):
                await rpc.broadcast_tx_sync(raw)
            found = await decided(rpc, raw)
            assert (found.raw, found.code) == (raw, 0)
            assert (await rpc.block(found.height)).txs == (raw,)
            assert await rpc.block_results(found.height) == (found.result,)
            assert await rpc.tx(sha256(b"unknown")) is None
            query = await rpc.abci_query("/store", b"hello")
            assert (query.key, query.value) == (b"hello", b"ledger")
            assert (await rpc.validators()).hash == genesis.validators.hash
            assert (await rpc.consensus_params(1)).block_bytes_max > 0
            assert (await rpc.net_info()).peers == ()
            with pytest.raises(HeightUnavailable):
                await rpc.commit(10**6)
            for method, params in (("commit", {"height": "x"}), ("nonsense", {})):
                with pytest.raises(Exception, match=r"the node answered: .* \(-326"):
                    await rpc.transport.call(method, params)

    run(scenario())


def test_four_validators_are_followed_while_the_nodes_asked_die_one_after_the_other(tmp_path):
    async def scenario():
        async with comet.running(tmp_path / "net", count=4) as nodes:
            genesis = json.loads((nodes[0].home / "config" / "genesis.json").read_text())
            async with RpcClient([node.address for node in nodes[:2]]) as rpc:
                state = light.trust_genesis(genesis)
                async with aclosing(rpc.heads.after(0)) as blocks:
                    async for height in blocks:
                        assert height == state.height + 1
                        signed, validators = await rpc.commit(height), await rpc.validators(height)
                        state = light.verify_header(state, signed, validators, now_ns=time.time_ns())
                        light.verify_results(state, await rpc.block_results(height - 1) if height > 1 else ())
                        if height == 4:
                            await nodes[0].kill()
                        if height == 8:
                            break
                await nodes[1].kill()
                with pytest.raises(NodeUnavailable, match="connection refused"):
                    await rpc.status()

    run(scenario())


# The ledger itself ------------------------------------------------------------------------------


def test_a_real_ledgers_values_transactions_and_results_are_proved(tmp_path):
    async def scenario():
        async with ledger(tmp_path) as (genesis, node), RpcClient([node.address]) as rpc:
            checkpoints = CheckpointFile(tmp_path / "trust" / "checkpoint.json")
            reader = VerifiedReader(rpc, light.trust_genesis(genesis), checkpoints=checkpoints)
            member = consortium.HOSPITAL_A
            client = LedgerClient(rpc, reader, ledger_of(genesis), member.human)
            founder = await client.get(identity.ORGANISATIONS, member.name)
            assert founder is not None
            receipt = await client.submit(AddKey(member.worker.enrolment(ledger_of(genesis).genesis)))
            assert receipt.event(KeyAdded)
            enrolled = await reader.read(identity.KEYS.path(member.worker.public), at_least=receipt.height)
            assert enrolled.body is not None
            assert identity.KEYS.read(enrolled.body).organisation == member.name
            found = await reader.transaction(receipt.hash)
            assert found is not None
            assert (found.height, found.result.code) == (receipt.height, 0)
            absent = await reader.read(identity.KEYS.path(consortium.HOSPITAL_B.worker.public))
            assert (absent.body, absent.state.height) == (None, absent.height + 1)
            assert [path for path, _ in await reader.scan(b"identity/organisations/", None, 500)]
            assert reader.headers.newest.height > receipt.height
            saved = checkpoints.load(light.trust_genesis(genesis))
            assert saved is not None
            stranger = LedgerClient(rpc, reader, ledger_of(genesis), consortium.HOSPITAL_B.worker)
            with pytest.raises(UnknownKey):
                await stranger.submit(AddKey(consortium.HOSPITAL_C.worker.enrolment()))

    run(scenario())
