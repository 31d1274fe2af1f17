"""The RPC client against a node that answers on a real socket what each test wants, true or not."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from campaigns.harness.fake_node import ChainNode, FakeNode, Refusal
from campaigns.harness.header_chain import FOUR, HeaderChain, Members
from client_sdk.rpc import (
    AddressInvalid,
    AnswerMalformed,
    HeightPruned,
    HeightUnavailable,
    NodeError,
    NodeUnavailable,
    RpcClient,
    TxInCache,
    transport,
)
from contracts.kernel.crypto import sha256
from devnet.ports import free_ports
from tests.client_sdk.light.test_recorded import HEIGHTS, RECORDED

CHAIN = HeaderChain().grow(3)


def run(coroutine):
    return asyncio.run(coroutine)


@asynccontextmanager
async def client_of(*nodes: FakeNode, **options):
    async with RpcClient([node.address for node in nodes], **options) as rpc:
        yield rpc


@asynccontextmanager
async def fake(**methods):
    async with FakeNode() as node:
        node.methods |= {name: (lambda _, answer=answer: answer) for name, answer in methods.items()}
        async with client_of(node) as rpc:
            yield node, rpc


@asynccontextmanager
async def recorded():
    """A node that answers what the real one answered."""
    async with FakeNode() as node:
        for name in ("commit", "validators", "block", "block_results"):
            node.methods[name] = lambda params, name=name: RECORDED[name][params["height"]]
        node.methods["tx"] = lambda _: RECORDED["tx"]
        node.methods["genesis"] = lambda _: {"genesis": RECORDED["genesis"]}
        async with client_of(node) as rpc:
            yield rpc


async def unavailable(rpc: RpcClient) -> NodeUnavailable:
    with pytest.raises(NodeUnavailable) as caught:
        await rpc.abci_info()
    return caught.value


# Answers ----------------------------------------------------------------------------------------


def test_a_real_nodes_answers_are_read():
    async def scenario():
        async with recorded() as rpc:
            for height in HEIGHTS:
                signed, validators = await rpc.commit(height), await rpc.validators(height)
                assert signed.header.validators_hash == validators.hash
                assert (await rpc.block(height)).header == signed.header
            found = await rpc.tx(sha256(b"hello=ledger"))
            assert found is not None
            assert (found.raw, found.code, found.index) == (b"hello=ledger", 0, 0)
            assert len(await rpc.block_results(found.height)) == 1
            assert (await rpc.genesis()).validators.hash == (await rpc.commit(1)).header.validators_hash

    run(scenario())


def test_an_unknown_transaction_is_none_and_another_error_is_raised():
    async def scenario():
        async with fake() as (node, rpc):

            def answer(_):
                raise Refusal(detail)

            node.methods["tx"] = answer
            detail = f"tx ({'AB' * 32}) not found"
            assert await rpc.tx(b"\xab" * 32) is None
            detail = "transaction indexing is disabled"
            with pytest.raises(NodeError, match="indexing is disabled"):
                await rpc.tx(b"\xab" * 32)

    run(scenario())


@pytest.mark.parametrize(
    ("detail", "kind"),
    [
        ("tx already exists in cache", TxInCache),
        ("height 9 must be less than or equal to the current blockchain height 3", HeightUnavailable),
        ("height 1 is not available, lowest height is 5", HeightPruned),
        ("could not find results for height #4", HeightUnavailable),
        ("endpoint is closed while node is catching up", NodeError),
    ],
)
def test_what_a_node_says_becomes_a_typed_error(detail, kind):
    async def scenario():
        async with fake() as (node, rpc):

            def refuse(_):
                raise Refusal(detail)

            node.methods |= {"broadcast_tx_sync": refuse, "commit": refuse}
            for call in (rpc.broadcast_tx_sync(b"raw"), rpc.commit(4)):
                with pytest.raises(NodeError) as caught:
                    await call
                assert type(caught.value) is kind
                assert (caught.value.code, caught.value.detail) == (-32603, detail)

    run(scenario())


def test_validators_are_read_page_by_page_from_one_height():
    many = Members.of(**{f"v{number}": 1 + number for number in range(230)})
    chain = HeaderChain(many, many).grow(1)

    async def scenario():
        async with ChainNode(chain) as node, client_of(node) as rpc:
            assert await rpc.validators(1) == many.set
            assert [params["page"] for name, params in node.calls if name == "validators"] == ["1", "2", "3"]
            endless = {**node.validators({"height": "1", "per_page": "100"}), "total": "900"}
            node.methods["validators"] = lambda params: {**endless, "validators": []}
            with pytest.raises(AnswerMalformed, match="announced"):
                await rpc.validators(1)

    run(scenario())


def test_an_answer_for_another_height_or_hash_is_refused():
    async def scenario():
        async with ChainNode(CHAIN) as node, client_of(node) as rpc:
            for name in ("commit", "validators", "block_results"):
                right = node.methods[name]
                node.methods[name] = lambda params, right=right: right({**params, "height": "2"})
            for call in (rpc.commit(3), rpc.validators(3), rpc.block_results(3)):
                with pytest.raises(AnswerMalformed, match="asked was 3"):
                    await call
            node.methods["tx"] = lambda _: RECORDED["tx"]
            with pytest.raises(AnswerMalformed, match="asked was"):
                await rpc.tx(sha256(b"another"))

    run(scenario())


def test_a_validator_that_a_node_lists_twice_is_refused():
    async def scenario():
        async with ChainNode(CHAIN) as node, client_of(node) as rpc:
            page = node.validators({"height": "3"})
            page["validators"][1] = page["validators"][0]
            node.methods["validators"] = lambda _: page
            with pytest.raises(AnswerMalformed, match="twice"):
                await rpc.validators(3)

    run(scenario())


def test_a_checked_transaction_and_a_query_come_as_data():
    async def scenario():
        checked = {"code": 3, "data": "0AFF", "log": "why", "codespace": "", "hash": "AB" * 32}
        operator = {"type": "simple:v", "key": "a2V5", "data": "ZGF0YQ=="}
        response = {
            "code": 0,
            "log": "",
            "key": "a2V5",
            "value": "dg==",
            "height": "7",
            "proofOps": {"ops": [operator]},
        }
        async with fake(broadcast_tx_sync=checked, abci_query={"response": response}) as (node, rpc):
            answer = await rpc.broadcast_tx_sync(b"raw")
            assert (answer.code, answer.data, answer.log, answer.hash) == (3, b"\x0a\xff", "why", b"\xab" * 32)
            query = await rpc.abci_query("/store/a/key", b"key", height=7, prove=True)
            assert (query.key, query.value, query.height) == (b"key", b"v", 7)
            assert query.proof_ops == (("simple:v", b"key", b"data"),)
            assert node.calls[0] == ("broadcast_tx_sync", {"tx": "cmF3"})
            asked = {"path": "/store/a/key", "data": "6b6579", "height": "7", "prove": True}
            assert node.calls[1] == ("abci_query", asked)

    run(scenario())


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{}", "abci_info.id"),
        (b"[]", "abci_info"),
        (b"not json", "abci_info"),
        (b'{"id": 99, "result": {}}', "abci_info.id"),
        (b'{"id": 1}', "abci_info.result"),
        (
            b'{"id": 1, "result": {"response": {"last_block_height": -1}}}',
            "abci_info.result.response.last_block_height",
        ),
        (b'{"id": 1, "error": {"message": "no code"}}', "abci_info.error.code"),
        (b"[" * 200_000, "abci_info"),
        (b'"' + b"x" * 70_000 + b'"', "answer"),
    ],
)
def test_an_answer_that_is_none_is_refused_with_its_field(body, field):
    async def scenario():
        async with (
            FakeNode() as node,
            client_of(node, answer_bytes_max=300_000 if field != "answer" else 65_000) as rpc,
        ):
            node.body = body
            with pytest.raises(AnswerMalformed) as caught:
                await rpc.abci_info()
            assert caught.value.field == field
            assert len(node.calls) == 1

    run(scenario())


# Nodes that do not answer -----------------------------------------------------------------------


def test_the_next_node_answers_when_the_first_is_down_and_the_first_is_used_again_later():
    async def scenario():
        async with ChainNode(CHAIN) as first, ChainNode(CHAIN) as second, client_of(first, second) as rpc:
            await rpc.abci_info()
            assert (len(first.calls), len(second.calls)) == (1, 0)
            await first.stop()
            await rpc.abci_info()
            await rpc.abci_info()
            assert (len(first.calls), len(second.calls)) == (1, 2)
            await first.start()
            await rpc.abci_info()  # The first is avoided for a while.
            assert len(first.calls) == 1
            await second.stop()
            await rpc.abci_info()
            assert len(first.calls) == 2

    run(scenario())


def test_when_nobody_answers_every_address_is_named_with_its_reason():
    async def scenario():
        ports = free_ports(2)
        addresses = [f"http://127.0.0.1:{port}" for port in ports]
        async with RpcClient(addresses) as rpc:
            error = await unavailable(rpc)
            assert error.addresses == tuple(addresses)
            assert error.reasons == ("connection refused: nothing listens there",) * 2
            assert all(address in str(error) for address in addresses)

    run(scenario())


def test_a_node_that_hangs_or_is_no_node_counts_as_down():
    async def scenario():
        async def ignore(_reader, writer):
            await asyncio.sleep(60)
            writer.close()

        silent = await asyncio.start_server(ignore, "127.0.0.1", 0)
        address = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
        async with FakeNode() as page:
            page.body, page.status, page.content_type = b"<html>", 502, "text/html"
            async with RpcClient([address], call_seconds=0.2) as rpc:  # However long it waits: nothing comes.
                assert (await unavailable(rpc)).reasons == ("no answer within 0.2 s",)
            async with RpcClient([page.address]) as rpc:
                assert (await unavailable(rpc)).reasons == ("HTTP 502, text/html",)
                assert len(page.calls) == transport.ROUNDS
        silent.close()

    run(scenario())


def test_a_transaction_is_not_offered_twice_when_the_first_node_may_have_it():
    async def scenario():
        async with FakeNode() as down, FakeNode() as lost, ChainNode(CHAIN) as other:
            await down.stop()
            lost.body, lost.content_type = b"", "text/plain"
            async with client_of(down, lost, other) as rpc:
                with pytest.raises(NodeUnavailable) as caught:
                    await rpc.broadcast_tx_sync(b"raw")
                assert len(caught.value.addresses) == 2
                assert (lost.called("broadcast_tx_sync"), len(other.calls)) == (1, 0)

    run(scenario())


def test_an_error_is_an_answer_and_is_not_asked_elsewhere():
    async def scenario():
        async with FakeNode() as first, ChainNode(CHAIN) as second, client_of(first, second) as rpc:
            with pytest.raises(NodeError, match="Method not found"):
                await rpc.abci_info()
            assert not second.calls

    run(scenario())


def test_a_panic_is_the_nodes_error_although_it_names_no_call():
    async def scenario():
        async with FakeNode() as node, client_of(node) as rpc:
            node.status = 500
            node.body = json.dumps({"id": -1, "error": {"code": -32603, "message": "panic", "data": "oh"}}).encode()
            with pytest.raises(NodeError, match="oh"):
                await rpc.abci_info()

    run(scenario())


@pytest.mark.parametrize("address", ["", "127.0.0.1:26657", "ftp://host", "http://", "http://h:99999", "http://u@h:1"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(AddressInvalid):
        RpcClient([address])


def test_addresses_are_written_in_one_way():
    rpc = RpcClient(["tcp://127.0.0.1:26657", "https://node.example/rpc/", "http://[::1]:1/"])
    assert rpc.transport.addresses == ("http://127.0.0.1:26657", "https://node.example/rpc", "http://[::1]:1")
    with pytest.raises(AddressInvalid):
        RpcClient([])


def test_the_members_of_a_test_chain_sign_as_the_recorded_ones_do():
    """The builder and the recording agree on what a commit looks like in JSON."""

    async def scenario():
        async with ChainNode(CHAIN) as node, client_of(node) as rpc:
            assert await rpc.commit(2) == CHAIN.signed(2)
            assert await rpc.validators(2) == FOUR.set

    run(scenario())
