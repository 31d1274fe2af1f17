"""Verified reads through a node on a real socket that tells the truth, then one lie at a time."""

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from client_sdk import light
from client_sdk.checkpoints import CheckpointFile, CheckpointInvalid
from client_sdk.light import CannotVerify, TrustExpired, VerificationFailed
from client_sdk.light.documents import read_header
from client_sdk.private_files import ExposedFile
from client_sdk.rpc import AnswerMalformed, RpcClient
from client_sdk.trusted_headers import STATES_KEPT, TrustedHeaders
from client_sdk.verified import QueryRefused, VerifiedReader
from client_sdk.wire import Answer
from contracts.kernel import codec, merkle
from contracts.kernel.crypto import sha256
from contracts.kernel.state_tree import StateTree
from tests.client_sdk.fake_node import ChainNode, b64, header_json
from tests.client_sdk.header_chain import BLOCK_NS, FOUR, START_NS, HeaderChain, Members, forge

STORES = ("replay", "identity", "rounds")
PATH, OTHER = b"identity/organisations/hospital-a", b"identity/organisations/hospital-b"
OLD, NEW = b"\x01", b"\x02"
TXS = (b"one", b"two")
RESULTS = (light.TxResult(0, b"done"), light.TxResult(201, b"refused"))
NOW = START_NS + 1_000 * BLOCK_NS


def run(coroutine):
    asyncio.run(asyncio.wait_for(coroutine, 20))


def small_ledger() -> ChainNode:
    """Five blocks: the entry is written by block 2, changed by block 3 (which has transactions), then nothing."""
    tree, chain = StateTree(STORES, keep=9), HeaderChain()
    node = ChainNode(chain, {0: tree.latest})
    node.bodies[0] = {}
    for height, writes in enumerate(({}, {PATH: OLD, OTHER: OLD}, {PATH: NEW}, {}, {}), 1):
        tree.apply(writes)
        node.states[height] = tree.latest
        node.bodies[height] = {**node.bodies[height - 1], **writes}
        txs, results = (TXS, RESULTS) if height == 3 else ((), ())
        chain.add(txs, results, app_hash=tree.root)
    return node


@asynccontextmanager
async def reading(node: ChainNode | None = None, **options):
    async with node or small_ledger() as started, RpcClient([started.address]) as rpc:
        reader = VerifiedReader(rpc, light.trust_genesis(started.chain.genesis), stores=STORES)
        reader.headers = following(rpc, started.chain, **options)
        yield started, reader


def following(rpc: RpcClient, chain: HeaderChain, now_ns: int = NOW, **options) -> TrustedHeaders:
    return TrustedHeaders(rpc, light.trust_genesis(chain.genesis), clock=lambda: now_ns, **options)


def asked(node: ChainNode, method: str) -> list[int]:
    return [int(params["height"]) for name, params in node.calls if name == method]


# Values -----------------------------------------------------------------------------------------


def test_a_value_is_proved_by_the_header_after_its_height():
    async def scenario():
        async with reading() as (_, reader):
            value = await reader.read(PATH)
            assert (value.body, value.height, value.proven) == (NEW, 4, True)
            assert value.state is not None
            assert value.state.height == 5
            assert await reader.value(PATH) == NEW
            assert await reader.unverified(PATH) == NEW

    run(scenario())


def test_reading_ones_own_write_waits_for_the_block_that_proves_it():
    async def scenario():
        node = small_ledger()
        node.newest = 3
        async with reading(node) as (_, reader):
            assert (await reader.read(PATH)).body == OLD
            own = asyncio.create_task(reader.read(PATH, at_least=3))
            await asyncio.sleep(0.15)
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
            await asyncio.sleep(0.15)
            node.newest = 2
            assert (await early).height == 1

    run(scenario())


def test_a_state_that_never_comes_cannot_be_verified(monkeypatch):
    monkeypatch.setattr("client_sdk.verified.WAIT_SECONDS", 0.0)

    async def scenario():
        async with reading() as (_, reader):
            with pytest.raises(CannotVerify, match="after block 99"):
                await reader.value(PATH, at_least=99)

    run(scenario())


def test_absence_is_marked_as_unproven():
    async def scenario():
        async with reading() as (_, reader):
            value = await reader.read(PATH + b"-missing")
            assert (value.body, value.proven, value.state) == (None, False, None)
            assert await reader.unverified(PATH + b"-missing") is None

    run(scenario())


def lie(node: ChainNode, **changes) -> None:
    """Change fields of every answer to a query."""
    truth = node.methods["abci_query"]
    node.methods["abci_query"] = lambda params: {"response": {**truth(params)["response"], **changes}}


def proof_of(node: ChainNode, path: bytes, height: int) -> dict:
    ops = node.states[height].prove(path).encode()
    return {"ops": [{"type": one.type, "key": b64(one.key), "data": b64(one.data)} for one in ops]}


def lies(node: ChainNode) -> dict[str, dict]:
    true_ops = proof_of(node, PATH, 4)["ops"]
    return {
        "another value": {"value": b64(merkle.commit_value(PATH, OLD))},
        "another path's value": {"value": b64(merkle.commit_value(OTHER, NEW))},
        "a bare digest": {"value": b64(sha256(PATH))},
        "another height": {"height": "2"},
        "an older value as if it were new": {
            "value": b64(merkle.commit_value(PATH, OLD)),
            "proofOps": proof_of(node, PATH, 2),
        },
        "another key": {
            "key": b64(OTHER.partition(b"/")[2]),
            "value": b64(merkle.commit_value(OTHER, OLD)),
            "proofOps": proof_of(node, OTHER, 4),
        },
        "that there is nothing, for another key": {
            "key": b64(OTHER.partition(b"/")[2]),
            "value": None,
            "proofOps": None,
        },
        "another key's proof": {"proofOps": proof_of(node, OTHER, 4)},
        "no proof": {"proofOps": None},
        "an extra operator": {"proofOps": {"ops": [true_ops[0], *true_ops]}},
    }


@pytest.mark.parametrize("name", list(lies(small_ledger())))
def test_a_lie_about_a_value_is_refused(name):
    async def scenario():
        async with reading() as (node, reader):
            lie(node, **lies(node)[name])
            with pytest.raises(VerificationFailed) as caught:
                await reader.value(PATH)
            assert caught.value.what.startswith("value at")

    run(scenario())


def test_an_old_value_at_its_own_height_is_true_but_not_new_enough(monkeypatch):
    monkeypatch.setattr("client_sdk.verified.WAIT_SECONDS", 0.0)

    async def scenario():
        async with reading() as (node, reader):
            lie(node, height="2", value=b64(merkle.commit_value(PATH, OLD)), proofOps=proof_of(node, PATH, 2))
            old = await reader.read(PATH)
            assert (old.body, old.height, old.proven) == (OLD, 2, True)
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
            await asyncio.sleep(0.15)
            assert not coming.done()
            node.newest = 5
            assert (await coming).height == 3
            node.lowest = 3
            with pytest.raises(CannotVerify, match="lowest height is 3"):
                await reader.headers.at(2)
            assert asked(node, "commit").count(2) == 1

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
