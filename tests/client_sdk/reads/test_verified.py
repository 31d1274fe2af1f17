"""Verified reads through a node on a real socket that tells the truth, then one lie at a time."""

import asyncio
from dataclasses import replace

import pytest

from campaigns.harness.fake_node import ChainNode, b64
from campaigns.harness.header_chain import HeaderChain
from client_sdk import light
from client_sdk.light import CannotVerify, VerificationFailed
from client_sdk.reads.queries import QueryRefused
from client_sdk.reads.trusting import TrustingReader
from client_sdk.reads.verified import VerifiedReader
from client_sdk.rpc import AnswerMalformed, RpcClient
from contracts.kernel import codec, merkle
from contracts.kernel.absence import OPERATOR, Gap
from contracts.kernel.crypto import sha256
from contracts.kernel.state_tree import StateTree
from contracts.rulebook import Limits, Rulebook, Rules
from tests.client_sdk.small_ledger import (
    AT_ONCE,
    BOOK,
    KEY,
    MISSING,
    NEW,
    OLD,
    OTHER,
    PATH,
    RESULTS,
    STORES,
    TXS,
    asked,
    following,
    reading,
    run,
    small_ledger,
)

# Rules ------------------------------------------------------------------------------------------


def crossing_ledger():
    """Block 2 leads over to version 2, so header 3 is of it: the state has a store more, with an entry in it."""
    tree, chain = StateTree(STORES, keep=9), HeaderChain()
    node = ChainNode(chain, {0: tree.latest})
    node.bodies[0] = {}
    for height, writes in enumerate(({PATH: OLD}, {AUDIT: NEW}, {}, {}), 1):
        tree.apply(writes, STORES if height < 2 else (*STORES, "audits"))
        node.states[height] = tree.latest
        node.bodies[height] = {**node.bodies[height - 1], **writes}
        chain.add(app_hash=tree.root, version=1 if height < 3 else 2)
    return node


AUDIT = b"audits/a"
NEXT = Rules(2, (), (*STORES, "audits"), Limits(), ())


def reader_of(node, rpc, book):
    reader = VerifiedReader(rpc, light.trust_genesis(node.chain.genesis), book=book)
    reader.headers = following(rpc, node.chain)
    return reader


def test_a_state_is_read_with_the_stores_of_the_version_that_its_header_names():
    async def scenario():
        async with crossing_ledger() as node, RpcClient([node.address], patience=AT_ONCE) as rpc:
            reader, node.newest = reader_of(node, rpc, Rulebook(BOOK.of(1), NEXT)), 2
            value = await reader.read(PATH)
            assert (value.body, value.height, value.state.verified_header.version_app) == (OLD, 1, 1)
            node.newest = 3
            value = await reader.read(PATH)
            assert (value.body, value.height, value.state.verified_header.version_app) == (OLD, 2, 2)
            assert (await reader.read(AUDIT)).body == NEW
            assert (await reader.read(AUDIT + b"b")).body is None

    run(scenario())


def test_a_header_of_rules_that_are_not_known_proves_nothing_and_says_what_to_install():
    async def scenario():
        async with crossing_ledger() as node, RpcClient([node.address], patience=AT_ONCE) as rpc:
            reader, node.newest = reader_of(node, rpc, BOOK), 2
            assert (await reader.read(PATH)).body == OLD
            node.newest = 3
            with pytest.raises(light.NewerRules, match="header 3: the ledger has rules of version 2") as caught:
                await reader.read(PATH)
            assert (caught.value.version, caught.value.known) == (2, (1,))
            assert "Install" in caught.value.hint

    run(scenario())


# Values -----------------------------------------------------------------------------------------


def test_a_value_is_proved_by_the_header_after_its_height():
    async def scenario():
        async with reading() as (_, reader):
            value = await reader.read(PATH)
            assert (value.body, value.height, value.state.height) == (NEW, 4, 5)
            assert (await reader.read(PATH)).body == NEW
            assert await reader.unverified(PATH) == NEW

    run(scenario())


def test_reading_ones_own_write_waits_for_the_block_that_proves_it():
    async def scenario():
        node = small_ledger()
        node.newest = 3
        async with reading(node) as (_, reader):
            assert (await reader.read(PATH)).body == OLD
            asked = node.called("abci_query")
            own = asyncio.create_task(reader.read(PATH, at_least=3))
            while node.called("abci_query") < asked + 2:  # noqa: ASYNC110 - a node sets no event
                await asyncio.sleep(0.01)
            assert not own.done()
            node.newest = 4
            assert ((await own).body, (await own).height) == (NEW, 3)

    run(scenario())


def test_the_state_before_the_first_block_is_not_read():
    async def scenario():
        node = small_ledger()
        node.newest = 1
        async with reading(node) as (_, reader):
            early = asyncio.create_task(reader.read(PATH))
            while node.called("abci_query") < 2:  # noqa: ASYNC110 - a node sets no event
                await asyncio.sleep(0.01)
            assert not early.done()
            node.newest = 2
            assert (await early).height == 1

    run(scenario())


def test_a_state_that_never_comes_cannot_be_verified():
    async def scenario():
        async with reading(patience=AT_ONCE) as (_, reader):
            with pytest.raises(CannotVerify, match="after block 99"):
                await reader.read(PATH, at_least=99)

    run(scenario())


def test_absence_is_proved_by_a_header_too():
    async def scenario():
        async with reading() as (_, reader):
            value = await reader.read(MISSING)
            assert (value.body, value.height, value.state.height) == (None, 4, 5)
            assert (await reader.read(MISSING)).body is None
            assert await reader.unverified(MISSING) is None

    run(scenario())


def test_what_was_not_there_yet_is_proved_absent_at_its_own_height():
    async def scenario():
        node = small_ledger()
        node.newest = 2
        async with reading(node) as (_, reader):
            assert (await reader.read(PATH)).body is None
            node.newest = 3
            assert (await reader.read(PATH)).body == OLD

    run(scenario())


def lie(node: ChainNode, **changes) -> None:
    """Change fields of every answer to a query."""
    truth = node.methods["abci_query"]
    node.methods["abci_query"] = lambda params: {"response": {**truth(params)["response"], **changes}}


def lies(node: ChainNode) -> dict[str, dict]:
    true_ops = node.proof(PATH, 4)["ops"]
    return {
        "another value": {"value": b64(merkle.commit_value(PATH, OLD))},
        "another path's value": {"value": b64(merkle.commit_value(OTHER, NEW))},
        "a bare digest": {"value": b64(sha256(PATH))},
        "another height": {"height": "2"},
        "an older value as if it were new": {
            "value": b64(merkle.commit_value(PATH, OLD)),
            "proofOps": node.proof(PATH, 2),
        },
        "another key": {
            "key": b64(OTHER.partition(b"/")[2]),
            "value": b64(merkle.commit_value(OTHER, OLD)),
            "proofOps": node.proof(OTHER, 4),
        },
        "that there is nothing, for another key": {
            "key": b64(OTHER.partition(b"/")[2]),
            "value": None,
            "proofOps": None,
        },
        "another key's proof": {"proofOps": node.proof(OTHER, 4)},
        "no proof": {"proofOps": None},
        "an extra operator": {"proofOps": {"ops": [true_ops[0], *true_ops]}},
    }


@pytest.mark.parametrize("name", list(lies(small_ledger())))
def test_a_lie_about_a_value_is_refused(name):
    async def scenario():
        async with reading() as (node, reader):
            lie(node, **lies(node)[name])
            with pytest.raises(VerificationFailed, match=r"^value at"):
                await reader.read(PATH)

    run(scenario())


def denials(node: ChainNode) -> dict[str, dict]:
    """Ways to say that there is nothing at PATH."""
    nothing = {"value": None}
    true_ops, (_, *upper) = node.proof(MISSING, 4)["ops"], node.proof(PATH, 4)["ops"]
    empty = {"type": OPERATOR, "key": b64(KEY), "data": b64(codec.encode(Gap(0, 0, None, None)))}
    return {
        "without a proof": {**nothing, "proofOps": None},
        "with the proof of its value": nothing,
        "with a proof that another key is absent": {**nothing, "proofOps": {"ops": true_ops}},
        "with that proof under its own key": {
            **nothing,
            "proofOps": {"ops": [{**true_ops[0], "key": b64(KEY)}, *true_ops[1:]]},
        },
        "with an empty bucket": {**nothing, "proofOps": {"ops": [empty, *upper]}},
        "with a proof from before it was written": {**nothing, "proofOps": node.proof(PATH, 1)},
        "of an empty value instead of none": {"value": "", "proofOps": {"ops": [empty, *upper]}},
    }


@pytest.mark.parametrize("name", list(denials(small_ledger())))
def test_a_denied_entry_is_refused(name):
    async def scenario():
        async with reading() as (node, reader):
            lie(node, **denials(node)[name])
            with pytest.raises(VerificationFailed, match=r"^absence at"):
                await reader.read(PATH)

    run(scenario())


def test_a_value_where_nothing_is_is_refused():
    async def scenario():
        async with reading() as (node, reader):
            for operators in (node.proof(MISSING, 4), node.proof(PATH, 4), None):
                lie(node, value=b64(merkle.commit_value(MISSING, NEW)), proofOps=operators)
                with pytest.raises(VerificationFailed):
                    await reader.read(MISSING)

    run(scenario())


def test_a_reader_that_trusts_the_node_believes_what_a_verified_reader_refuses():
    async def scenario():
        async with reading() as (node, verified), RpcClient([node.address], patience=AT_ONCE) as rpc:
            trusting = TrustingReader(rpc, light.trust_genesis(node.chain.genesis))
            assert (await trusting.read(PATH, at_least=5)).body == NEW
            assert (await trusting.read(MISSING)).body is None
            with pytest.raises(CannotVerify, match="block 99"):
                await trusting.read(PATH, at_least=99)
            assert await trusting.results(5) == (), "no later header is waited for"
            found = await trusting.transaction(sha256(TXS[1]))
            assert found is not None
            assert (found.height, found.index, found.result) == (3, 1, RESULTS[1])
            assert await trusting.transaction(sha256(b"unknown")) is None
            lie(node, value=b64(merkle.commit_value(PATH, OLD)))
            assert (await trusting.read(PATH)).body == OLD
            lie(node, value=None)
            assert (await trusting.read(PATH)).body is None
            assert asked(node, "commit") == []
            with pytest.raises(VerificationFailed):
                await verified.read(PATH)

    run(scenario())


def test_an_old_value_at_its_own_height_is_true_but_not_new_enough():
    async def scenario():
        async with reading(patience=AT_ONCE) as (node, reader):
            lie(node, height="2", value=b64(merkle.commit_value(PATH, OLD)), proofOps=node.proof(PATH, 2))
            old = await reader.read(PATH)
            assert (old.body, old.height, old.state.height) == (OLD, 2, 3)
            with pytest.raises(CannotVerify):
                await reader.read(PATH, at_least=3)

    run(scenario())


def test_a_query_that_the_application_refuses_says_why():
    async def scenario():
        async with reading() as (node, reader):
            lie(node, code=1, log="height 3 is not kept")
            for call in (reader.read(PATH), reader.unverified(PATH)):
                with pytest.raises(QueryRefused, match="is not kept"):
                    await call

    run(scenario())


def test_a_path_that_no_state_could_hold_is_refused_before_anybody_is_asked():
    async def scenario():
        async with reading() as (node, reader):
            for path in (b"identity", b"identity/", b"/key", b"identity/x:6162"):
                with pytest.raises(ValueError, match="not <store>/<key>"):
                    await reader.read(path)
            assert not node.calls

    run(scenario())


def test_a_scan_is_paged_and_its_order_and_prefix_are_checked():
    async def scenario():
        async with reading() as (node, reader):
            entries = [[b"rounds/a", b"\1"], [b"rounds/b", b"\2"]]

            def scan(_):
                return {"response": {"code": 0, "log": "", "value": b64(codec.encode_plain(answer)), "height": "5"}}

            node.methods["abci_query"] = scan
            answer = entries
            assert await reader.scan(b"rounds/", None, 500) == [tuple(entry) for entry in entries]
            sent = node.calls[-1][1]
            assert sent["path"] == "/scan"
            wanted = {"prefix": b"rounds/", "after": None, "limit": 500}
            assert codec.decode_plain(bytes.fromhex(sent["data"]), most=99) == wanted
            for after, lie_told in (
                (None, entries[::-1]),
                (b"rounds/a", entries),
                (None, [[b"identity/a", b"\1"]]),
                (None, [[b"rounds/a"]]),
                (None, [["rounds/a", b""]]),
                (None, {"a": 1}),
            ):
                answer = lie_told
                with pytest.raises(AnswerMalformed):
                    await reader.scan(b"rounds/", after, 500)

    run(scenario())


# Transactions and results -----------------------------------------------------------------------


def test_a_transaction_is_proved_with_its_result():
    async def scenario():
        async with reading() as (_, reader):
            for index, raw in enumerate(TXS):
                found = await reader.transaction(sha256(raw))
                assert found is not None
                assert (found.raw, found.height, found.index, found.result) == (raw, 3, index, RESULTS[index])
            assert await reader.transaction(sha256(b"unknown")) is None

    run(scenario())


def test_a_result_of_another_transaction_or_a_changed_one_is_refused():
    async def scenario():
        async with reading() as (node, reader):
            truth = node.methods["tx"]
            node.methods["tx"] = lambda params: {**truth(params), "index": 1}
            with pytest.raises(VerificationFailed, match="result 1"):
                await reader.transaction(sha256(TXS[0]))
            node.methods["tx"] = truth
            node.chain.results[3] = (replace(RESULTS[0], code=201), RESULTS[1])
            for call in (reader.transaction(sha256(TXS[0])), reader.results(3)):
                with pytest.raises(VerificationFailed, match="do not hash"):
                    await call

    run(scenario())


def test_a_transaction_said_to_be_in_another_block_is_refused():
    async def scenario():
        async with reading() as (node, reader):
            truth = node.methods["tx"]
            node.methods["tx"] = lambda params: {**truth(params), "height": "4"}
            with pytest.raises(VerificationFailed, match="the header says"):
                await reader.transaction(sha256(TXS[0]))

    run(scenario())
