"""The mock CometBFT: its handshake finds the application wherever a crash left it, and it halts where a node would."""

import contextlib

import pytest
from nacl.signing import SigningKey

from abci_app.protocol import blocks as b
from abci_app.protocol import messages as m
from abci_app.protocol.server import Server
from abci_app.store.memory_store import MemoryStore
from campaigns.harness import cometbft_blocks as rules
from campaigns.harness.cometbft_blocks import SECOND, header_hash
from campaigns.harness.kvstore import VERSION, KeyValueApplication
from tests.consensus import CONNECTIONS, Chain, Genesis, Node, NodeHalted


@contextlib.asynccontextmanager
async def running(tmp_path, chain=None, application=None, name="one"):
    """A node connected to an application in memory, before its handshake."""
    application = application or KeyValueApplication(MemoryStore())
    async with Server(application, f"unix://{tmp_path}/{name}.sock") as server:
        node = Node(chain or Chain(Genesis.of(validators=4)), server.address)
        await node.connect()
        yield node, application
        await node.disconnect()


def replica(application: KeyValueApplication) -> KeyValueApplication:
    """An application that restarts from what another one has stored."""
    store = MemoryStore()
    store.version = application.store.version
    store._current = application.store._current  # Versions are immutable, so this is a copy.
    return KeyValueApplication(store)


# ---- a life without accidents


async def test_connections_open_in_the_order_of_a_real_node(tmp_path):
    async with running(tmp_path) as (node, _):
        opened = [call.connection for call in node.recorder.calls if call.method == "connected"]
        assert opened == ["query", "snapshot", "mempool", "consensus"] == list(CONNECTIONS)


async def test_a_height_goes_through_every_call_on_its_own_connection(tmp_path):
    async with running(tmp_path) as (node, _):
        await node.handshake()
        await node.check_tx(b"a=1")
        await node.produce()
        assert node.recorder.methods("query") == ["connected", "info"]
        assert node.recorder.methods("mempool") == ["connected", "check_tx"]
        assert node.recorder.methods("consensus") == [
            "connected",
            "init_chain",
            "prepare_proposal",
            "process_proposal",
            "finalize_block",
            "commit",
        ]
        assert (await node.query("/key", b"a")).value == b"1"


async def test_the_mempool_is_flushed_before_commit_and_rechecked_after_it(tmp_path):
    async with running(tmp_path) as (node, application):
        await node.handshake()
        for tx in (b"a=1", b"b=2"):
            await node.check_tx(tx)
        await node.produce(txs=[b"a=1"])
        assert list(node.mempool) == [b"b=2"]
        assert application.handled[-2:] == ["commit", "recheck_tx"]
        around_commit = [call.method for call in node.recorder.calls if call.connection in {"mempool", "consensus"}]
        at = around_commit.index("commit")
        assert around_commit[at - 1] == "flush"


async def test_a_transaction_refused_at_recheck_leaves_the_mempool(tmp_path):
    class OnceOnly(KeyValueApplication):
        def check_tx(self, request: m.RequestCheckTx) -> m.ResponseCheckTx:
            return m.ResponseCheckTx(code=5 if self.store.height else 0)

    async with running(tmp_path, application=OnceOnly(MemoryStore())) as (node, _):
        await node.handshake()
        assert (await node.check_tx(b"a=1")).code == 0
        await node.produce(txs=[])
        assert not node.mempool


async def test_a_block_carries_what_the_last_one_led_to(tmp_path):
    async with running(tmp_path) as (node, application):
        await node.handshake()
        first = await node.produce(txs=[b"a=1"])
        hash_after_first = application.store.app_hash
        second = await node.produce(time=node.chain.genesis.time + 7 * SECOND, absent=[2])
        assert first.header.version.app == VERSION
        assert second.header.app_hash == hash_after_first
        assert second.header.last_block_id.hash == first.hash == header_hash(first.header)
        assert rules.nanoseconds(second.header.time) == node.chain.genesis.time + 7 * SECOND
        (call,) = (call for call in node.recorder.of("finalize_block") if call.request.height == 2)
        flags = [vote.block_id_flag for vote in call.request.decided_last_commit.votes]
        assert flags == [rules.COMMIT, rules.COMMIT, rules.ABSENT, rules.COMMIT]
        assert call.request.proposer_address == second.header.proposer_address


async def test_a_byzantine_proposal_that_the_application_rejects_is_not_decided(tmp_path):
    async with running(tmp_path) as (node, application):
        await node.handshake()
        with pytest.raises(NodeHalted, match="the proposal at height 1 was rejected"):
            await node.produce(txs=[b"nonsense"])
        assert application.store.height == 0
        await node.produce(txs=[b"a=1"])
        assert application.store.height == 1


async def test_the_signatures_of_a_commit_are_those_of_its_validators(tmp_path):
    async with running(tmp_path) as (node, _):
        await node.handshake()
        block = await node.produce()
        genesis = node.chain.genesis
        commit = node.chain.commit(1, genesis.time + SECOND, absent=[0])
        for one, vote in list(zip(genesis.validators, commit.signatures, strict=True))[1:]:
            statement = b.CanonicalVote(
                type=b.SignedMsgType.SIGNED_MSG_TYPE_PRECOMMIT,
                height=1,
                block_id=b.CanonicalBlockID.FromString(block.id.SerializeToString()),
                timestamp=vote.timestamp,
                chain_id=genesis.chain_id,
            ).SerializeToString()
            key = genesis.keys[one.address].verify_key
            key.verify(bytes([len(statement)]) + statement, vote.signature)


# ---- handshakes


async def test_a_fresh_application_gets_init_chain_and_every_block(tmp_path):
    async with running(tmp_path) as (node, _):
        await node.handshake()
        for number in range(3):
            await node.produce(txs=[b"k=%d" % number])
        async with running(tmp_path, node.chain, name="two") as (other, fresh):
            other.store_height = other.state_height = node.state_height
            await other.handshake()
            assert fresh.handled == ["info", "init_chain"] + ["finalize_block", "commit"] * 3
            assert fresh.store.app_hash == node.chain.states[3].app_hash


@pytest.mark.parametrize("behind", [0, 1, 2])
async def test_an_application_behind_is_replayed_what_it_misses(tmp_path, behind):
    async with running(tmp_path) as (node, application):
        await node.handshake()
        kept = {0: application}
        for height in range(1, 5):
            await node.produce(txs=[b"k=%d" % height])
            kept[height] = replica(application)
        restarted = kept[4 - behind]
        async with Server(restarted, f"unix://{tmp_path}/two.sock") as server:
            await node.disconnect()
            node.address = server.address
            await node.start()
            assert restarted.handled == ["info"] + ["finalize_block", "commit"] * behind
            await node.produce(txs=[b"k=5"])
            assert restarted.store.height == 5


async def test_a_crash_between_finalize_block_and_commit_replays_that_block(tmp_path):
    async with running(tmp_path) as (node, application):
        await node.handshake()
        await node.produce(txs=[b"a=1"])
        await node.finalize(node.chain.make_block([b"a=2"], None, 1, ()))
        assert (node.store_height, node.state_height) == (2, 1)
        await node.disconnect()
        del application.handled[:]
        await node.start()
        assert application.handled == ["info", "finalize_block", "commit"]
        assert (node.store_height, node.state_height, application.store.get(b"a")) == (2, 2, b"2")


async def test_a_crash_after_commit_before_the_state_is_saved_replays_nothing(tmp_path):
    async with running(tmp_path) as (node, application):
        await node.handshake()
        await node.produce(txs=[b"a=1"])
        await node.finalize(node.chain.make_block([b"a=2"], None, 1, ()))
        await node.ask("consensus", "commit", m.RequestCommit())
        assert (node.store_height, node.state_height, application.store.height) == (2, 1, 2)
        await node.disconnect()
        del application.handled[:]
        await node.start()
        assert application.handled == ["info"]
        assert node.state_height == 2
        await node.produce(txs=[b"a=3"])


async def test_a_crash_before_the_first_commit_repeats_init_chain(tmp_path):
    async with running(tmp_path) as (node, application):
        await node.handshake()
        await node.finalize(node.chain.make_block([b"a=1"], None, 0, ()))
        await node.disconnect()
        del application.handled[:]
        await node.start()
        assert application.handled == ["info", "init_chain", "finalize_block", "commit"]


async def test_a_chain_may_start_above_height_one(tmp_path):
    chain = Chain(Genesis.of(initial_height=1_000))
    async with running(tmp_path, chain) as (node, application):
        await node.handshake()
        await node.produce(txs=[b"a=1"])
        await node.produce(txs=[b"a=2"])
        assert application.store.height == 1_001
        await node.disconnect()
        await node.start()


async def test_an_application_ahead_of_its_node_halts_it(tmp_path):
    async with running(tmp_path) as (node, _):
        await node.handshake()
        await node.produce()
        node.store_height = node.state_height = 0
        with pytest.raises(NodeHalted, match="the application is ahead: 1 over 0"):
            await node.handshake()


async def test_an_application_with_another_state_halts_its_node(tmp_path):
    async with running(tmp_path) as (node, application):
        await node.handshake()
        await node.produce(txs=[b"a=1"])
        application.store.version = application.store.version._replace(app_hash=b"another")
        with pytest.raises(NodeHalted, match=r"does not match Info's"):
            await node.handshake()


# ---- several nodes


async def test_four_nodes_follow_one_chain(tmp_path):
    async with contextlib.AsyncExitStack() as stack:
        chain = Chain(Genesis.of(validators=4))
        nodes = []
        for number in range(4):
            node, _ = await stack.enter_async_context(running(tmp_path, chain, name=str(number)))
            await node.handshake()
            nodes.append(node)
        for height in range(1, 6):
            proposer = nodes[height % 4]
            await proposer.check_tx(b"k=%d" % height)
            block = await proposer.produce()
            for node in nodes[:3]:
                if node is not proposer:
                    await node.apply(block)
            nodes[3].mempool.clear()
            await nodes[3].catch_up()
        assert {node.state_height for node in nodes} == {5}


async def test_a_replica_that_differs_is_found_at_once(tmp_path):
    class Divergent(KeyValueApplication):
        def finalize_block(self, request: m.RequestFinalizeBlock) -> m.ResponseFinalizeBlock:
            answer = super().finalize_block(request)
            answer.app_hash = b"something else"
            return answer

    chain = Chain(Genesis.of(validators=4))
    async with running(tmp_path, chain) as (node, _):
        await node.handshake()
        divergent = Divergent(MemoryStore())
        async with running(tmp_path, chain, divergent, name="two") as (other, _):
            await other.handshake()
            block = await node.produce(txs=[b"a=1"])
            with pytest.raises(NodeHalted, match="replicas differ at height 1: app_hash"):
                await other.apply(block)


# ---- what stops a real node


async def test_validator_updates_take_effect_two_heights_later(tmp_path):
    async with running(tmp_path) as (node, _):
        await node.handshake()
        joining = SigningKey(bytes(range(32)))
        public = bytes(joining.verify_key)
        node.chain.genesis.keys[rules.Validator(public, 5).address] = joining
        await node.produce(txs=[b"validator:%s=5" % public.hex().encode()])
        second, third, fourth = [await node.produce() for _ in range(3)]
        members = [node.chain.before(height).validators for height in (2, 3, 4)]
        assert [len(validators) for validators in members] == [4, 5, 5]
        assert second.header.next_validators_hash == third.header.validators_hash
        assert second.header.validators_hash != third.header.validators_hash == fourth.header.validators_hash
        assert [vote.block_id_flag for vote in fourth.last_commit.signatures] == [rules.COMMIT] * 5


@pytest.mark.parametrize(
    ("txs", "reason"),
    [
        ([b"validator:%s=0" % (b"00" * 32)], "failed to find validator"),
        ([b"validator:%s=-1" % (b"00" * 32)], "voting power can't be negative"),
        ([b"validator:%s=1" % (b"00" * 32)] * 2, "duplicate validator update"),
        ([b"validator:%s=%d" % (b"00" * 32, 2**60)], "total voting power exceeds"),
    ],
)
async def test_a_validator_update_that_stops_a_real_node_halts_the_mock(tmp_path, txs, reason):
    async with running(tmp_path) as (node, _):
        await node.handshake()
        with pytest.raises(NodeHalted, match=reason):
            await node.produce(txs=txs)


async def test_a_set_of_no_validators_halts_the_mock(tmp_path):
    chain = Chain(Genesis.of(validators=1))
    async with running(tmp_path, chain) as (node, _):
        await node.handshake()
        key = chain.genesis.validators[0].pub_key.hex().encode()
        with pytest.raises(NodeHalted, match="empty set"):
            await node.produce(txs=[b"validator:%s=0" % key])


class TooMuch(KeyValueApplication):
    def prepare_proposal(self, request: m.RequestPrepareProposal) -> m.ResponsePrepareProposal:
        return m.ResponsePrepareProposal(txs=[bytes(request.max_tx_bytes)])


class Undecided(KeyValueApplication):
    def process_proposal(self, request: m.RequestProcessProposal) -> m.ResponseProcessProposal:
        return m.ResponseProcessProposal()


class Forgetful(KeyValueApplication):
    def finalize_block(self, request: m.RequestFinalizeBlock) -> m.ResponseFinalizeBlock:
        return m.ResponseFinalizeBlock(app_hash=b"hash")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (TooMuch, "the proposal exceeds max_tx_bytes"),
        (Undecided, "ProcessProposal answered the status UNKNOWN"),
        (Forgetful, "0 results for 1 transactions"),
    ],
)
async def test_an_answer_that_stops_a_real_node_halts_the_mock(tmp_path, kind, reason):
    async with running(tmp_path, application=kind(MemoryStore())) as (node, _):
        await node.handshake()
        await node.check_tx(b"a=1")
        with pytest.raises(NodeHalted, match=reason):
            await node.produce()
