"""A cluster goes over from version 1 of the rules to 2, with restarts and a replay, and an old program stops in time.

CometBFT is the mock that replays and validates as a real one; ``tests/e2e/test_upgrade.py`` does the same with real
nodes. Version 2 is ``tests.licences``.
"""

import base64
import contextlib
import json
import logging

import pytest

from abci_app.app import LedgerApplication
from abci_app.inspection import fsck
from abci_app.protocol.server import Server
from abci_app.store import history, recovery
from abci_app.store.lmdb_store import LmdbStore
from abci_app.store.memory_store import MemoryStore
from campaigns.harness import consortium
from campaigns.harness.chain import Chain
from campaigns.harness.consortium import HOSPITAL_A, MEMBERS, register_dataset
from contracts import identity
from contracts.governance import Propose, ScheduleUpgrade, Vote
from contracts.kernel import codec, limits, merkle
from contracts.kernel.absence import AbsenceProof, verify_absence
from contracts.kernel.merkle import ProofOp
from contracts.registry import RULES
from contracts.transition import UnknownMessage
from tests import consensus, licences
from tests.abci_app.test_validator_updates import genesis
from tests.consensus import NodeHalted
from tests.licences import BOOK, LICENCES, VERSION_2, Grant

HEIGHT = 8 + limits.UPGRADE_NOTICE_BLOCKS  # The first block under version 2.
DATASET = identity.DATASETS.path((HOSPITAL_A.name, consortium.DATASET))
LICENCE = LICENCES.path((HOSPITAL_A.name, consortium.DATASET))


@pytest.fixture(autouse=True)
def changed_record():
    with licences.in_the_code():
        yield


@contextlib.asynccontextmanager
async def node_of(tmp_path, chain, store, book=BOOK, name="one"):
    """A program that knows a book, and a mock CometBFT that has shaken hands with it."""
    async with Server(LedgerApplication(store, book), f"unix://{tmp_path}/{name}.sock") as server:
        node = consensus.Node(chain, server.address)
        node.store_height = node.state_height = chain.height
        await node.start()
        yield node
        await node.disconnect()


class Clerk:
    """Seals for the members of the consortium, and has the upgrade decided on in the first seven blocks."""

    def __init__(self):
        self._seals = Chain(consortium.founded_by())

    def sealed(self, who, message, height):
        self._seals.height = height
        return self._seals.seal(who, message)

    async def schedule(self, node, height=HEIGHT):
        await node.produce(txs=[self.sealed(HOSPITAL_A, register_dataset(), 0)])
        await node.produce(txs=[self.sealed(MEMBERS[0], Propose(ScheduleUpgrade(2, height)), 1)])
        for number, member in enumerate(MEMBERS[1:5]):
            await node.produce(txs=[self.sealed(member, Vote(1, approve=True), 2 + number)])
        codes = [result.code for answer in node.chain.results.values() for result in answer.tx_results]
        assert codes == [0] * 6


async def until(node, height):
    while node.chain.height < height:
        await node.produce()


async def proved(node, path, height):
    """The body at a path after a block, held to the app hash of the next header by the stores of its version."""
    store, key = merkle.split_path(path)
    answer = await node.query(f"/store/{store}/key", key, height=height, prove=True)
    assert answer.code == 0, answer.log
    header = node.chain.blocks[height + 1].header
    stores = BOOK.of(header.version.app).stores
    operators = [ProofOp(one.type, one.key, one.data) for one in answer.proof_ops.ops]
    if not answer.value:
        verify_absence(header.app_hash, stores, path, AbsenceProof.decode(operators))
        return None
    body = merkle.open_value(path, answer.value)
    merkle.verify(header.app_hash, stores, path, body, merkle.Proof.decode(operators))
    return body


async def roots(node, height):
    answer = await node.query("/roots", codec.encode_plain({"height": height}))
    plain = codec.decode_plain(answer.value, most=10_000)
    return dict(map(tuple, plain["roots"]))


# Crossing ---------------------------------------------------------------------------------------


async def test_headers_name_the_version_of_the_state_that_they_prove(tmp_path):
    chain = consensus.Chain(genesis())
    async with node_of(tmp_path, chain, MemoryStore()) as node:
        await Clerk().schedule(node)
        await until(node, HEIGHT + 2)
    versions = {height: block.header.version.app for height, block in chain.blocks.items()}
    assert versions == {height: 1 if height < HEIGHT else 2 for height in range(1, HEIGHT + 3)}
    told = {height: answer.consensus_param_updates.version.app for height, answer in chain.results.items()}
    assert {height: version for height, version in told.items() if version} == {HEIGHT - 1: 2}
    before, after = chain.blocks[HEIGHT - 1].header.app_hash, chain.blocks[HEIGHT].header.app_hash
    assert before != after == chain.blocks[HEIGHT + 1].header.app_hash


async def test_values_and_gaps_are_proved_on_both_sides_of_the_crossing(tmp_path):
    chain = consensus.Chain(genesis())
    async with node_of(tmp_path, chain, MemoryStore()) as node:
        await Clerk().schedule(node)
        await until(node, HEIGHT - 1)
        plain = await proved(node, DATASET, HEIGHT - 2)
        with pytest.raises(AssertionError, match="no proof at height"):  # A store of version 2 is not in this state.
            await proved(node, LICENCE, HEIGHT - 2)
        await node.produce()
        changed = await proved(node, DATASET, HEIGHT - 1)
        assert b"licence" not in plain
        assert b"licence" in changed
        assert LICENCES.read(await proved(node, LICENCE, HEIGHT - 1)).licence == licences.UNSTATED
        assert await proved(node, LICENCES.path(("nobody", "x")), HEIGHT - 1) is None
        assert list(await roots(node, HEIGHT - 2)) == list(RULES.of(1).stores)
        assert list(await roots(node, HEIGHT - 1)) == list(VERSION_2.stores)


async def test_what_waits_and_what_is_proposed_is_judged_by_the_rules_of_the_next_block(tmp_path):
    chain, clerk = consensus.Chain(genesis()), Clerk()
    async with node_of(tmp_path, chain, MemoryStore()) as node:
        await clerk.schedule(node)
        await until(node, HEIGHT - 2)
        granted = clerk.sealed(HOSPITAL_A, Grant(consortium.DATASET, "cc0"), HEIGHT - 2)
        assert (await node.check_tx(granted)).code == UnknownMessage.code
        await node.produce()
        assert (await node.check_tx(granted)).code == 0
        await node.produce()
        assert [result.code for result in chain.results[HEIGHT].tx_results] == [0]
        few = [clerk.sealed(HOSPITAL_A, Grant(consortium.DATASET, f"cc{number}"), HEIGHT) for number in range(1, 5)]
        with pytest.raises(NodeHalted, match="rejected"):  # Three of an organisation in a block, by version 2.
            await node.produce(txs=few)


@pytest.mark.parametrize("stop", [HEIGHT - 2, HEIGHT - 1, HEIGHT])
async def test_a_node_that_stops_anywhere_around_the_crossing_goes_on(tmp_path, stop):
    """Its trees are rebuilt from what is stored: two versions, perhaps of two rules."""
    chain, clerk = consensus.Chain(genesis()), Clerk()
    store = LmdbStore.open(tmp_path / "ledger")
    async with node_of(tmp_path, chain, store) as node:
        await clerk.schedule(node)
        await until(node, stop)
    store.close()
    assert fsck.examine(tmp_path, book=BOOK).findings == []
    store = LmdbStore.open(tmp_path / "ledger")
    async with node_of(tmp_path, chain, store) as node:
        assert node.store_height == stop
        await until(node, HEIGHT + 1)
        await node.produce(txs=[clerk.sealed(HOSPITAL_A, Grant(consortium.DATASET, "cc0"), chain.height)])
        assert [result.code for result in chain.results[chain.height].tx_results] == [0]
    store.close()


async def test_a_crash_between_finalize_and_commit_of_the_block_that_leads_over_loses_nothing(tmp_path):
    chain, clerk = consensus.Chain(genesis()), Clerk()
    store = LmdbStore.open(tmp_path / "ledger")
    async with Server(LedgerApplication(store, BOOK), f"unix://{tmp_path}/a.sock") as server:
        node = consensus.Node(chain, server.address)
        await node.start()
        await clerk.schedule(node)
        await until(node, HEIGHT - 2)
        block = await node.prepare()
        await node.finalize(block)
        await node.disconnect()
    assert (store.height, store.app_version) == (HEIGHT - 2, 1)
    store.close()
    store = LmdbStore.open(tmp_path / "ledger")
    async with node_of(tmp_path, chain, store) as node:
        assert (store.height, store.app_version) == (HEIGHT - 1, 2)
        await node.produce()
    store.close()


async def test_a_new_node_replays_from_the_genesis_to_the_same_hashes(tmp_path):
    """As it replays, the mock compares every app hash and every result with what the first node came to."""
    chain, clerk = consensus.Chain(genesis()), Clerk()
    async with node_of(tmp_path, chain, MemoryStore()) as node:
        await clerk.schedule(node)
        await until(node, HEIGHT)
        await node.produce(txs=[clerk.sealed(HOSPITAL_A, Grant(consortium.DATASET, "cc0"), HEIGHT)])
    late = MemoryStore()
    async with node_of(tmp_path, chain, late, name="late") as node:
        assert late.height == chain.height
        assert late.app_hash == chain.states[chain.height].app_hash
        await node.produce()


async def test_two_nodes_agree_over_the_crossing(tmp_path):
    chain, clerk = consensus.Chain(genesis()), Clerk()
    async with (
        node_of(tmp_path, chain, MemoryStore()) as first,
        node_of(tmp_path, chain, MemoryStore(), name="two") as second,
    ):
        await clerk.schedule(first)
        await second.catch_up()
        while chain.height < HEIGHT + 1:
            await first.produce()
            await second.apply(chain.blocks[chain.height])


# An old program ---------------------------------------------------------------------------------


async def test_an_old_program_stops_before_the_block_that_leads_over_and_a_new_one_goes_on_from_there(tmp_path):
    chain, store = consensus.Chain(genesis()), LmdbStore.open(tmp_path / "ledger")
    async with Server(LedgerApplication(store, RULES), f"unix://{tmp_path}/old.sock") as server:
        node = consensus.Node(chain, server.address)
        await node.start()
        await Clerk().schedule(node)
        await until(node, HEIGHT - 2)
        with pytest.raises(NodeHalted):
            await node.produce()
    assert (store.height, store.app_version) == (HEIGHT - 2, 1)
    assert HEIGHT - 1 in chain.blocks, "CometBFT has saved the block, and hands it to the new program"
    async with node_of(tmp_path, chain, store) as node:
        assert store.app_version == 2
        await until(node, HEIGHT + 1)
    store.close()


async def test_an_old_program_does_not_start_where_it_could_only_stop_and_says_what_to_install(tmp_path, caplog):
    chain, store = consensus.Chain(genesis()), MemoryStore()
    async with node_of(tmp_path, chain, store, RULES) as node:
        await Clerk().schedule(node)
        caplog.clear()
        LedgerApplication(store, RULES)  # There is time yet: it starts, and warns.
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert f"not known here: install a fedledger that knows them before block {HEIGHT - 1}" in caplog.text
        await until(node, HEIGHT - 2)
        with pytest.raises(recovery.NewerRules, match="install a fedledger that knows version 2"):
            LedgerApplication(store, RULES)
    async with node_of(tmp_path, chain, store) as node:
        await until(node, HEIGHT)
    with pytest.raises(recovery.NewerRules, match=f"height {HEIGHT}: the ledger has rules of version 2"):
        LedgerApplication(store, RULES)
    with pytest.raises(recovery.NewerRules):
        fsck_of(store)


def fsck_of(store):
    with store.snapshot() as snapshot:
        recovery.rebuilt_tree(RULES, snapshot)


async def test_the_operator_is_warned_when_the_vote_settles(tmp_path, caplog):
    chain = consensus.Chain(genesis())
    async with node_of(tmp_path, chain, MemoryStore(), RULES) as node:
        await Clerk().schedule(node)
    assert "rules of version 2 are to decide from block" in caplog.text


async def test_a_program_that_knows_the_version_warns_of_nothing(tmp_path, caplog):
    chain = consensus.Chain(genesis())
    async with node_of(tmp_path, chain, MemoryStore()) as node:
        await Clerk().schedule(node)
    assert "are to decide" not in caplog.text


async def test_a_program_that_does_not_know_the_rules_of_the_genesis_does_not_begin(tmp_path):
    stated = base64.b64encode(consortium.founded_by(rules=2).encode()).decode("ascii")
    chain = consensus.Chain(genesis(app_state=json.dumps({"fedledger": stated}).encode("ascii")))
    with pytest.raises(NodeHalted):
        async with node_of(tmp_path, chain, MemoryStore(), RULES):
            pass
    async with node_of(tmp_path, chain, MemoryStore(), name="two") as node:
        await node.produce()
    assert chain.blocks[1].header.version.app == 2


async def test_a_failed_migration_leaves_the_rules_as_they_are_and_an_error_in_the_log(tmp_path, caplog):
    def broken(_view):
        raise ZeroDivisionError

    chain, store = consensus.Chain(genesis()), MemoryStore()
    book = licences.Rulebook(RULES.of(1), RULES.of(1).then(2, VERSION_2.contracts, migrations=(broken,)))
    async with node_of(tmp_path, chain, store, book) as node:
        await Clerk().schedule(node)
        await until(node, HEIGHT + 1)
    assert chain.blocks[HEIGHT].header.version.app == 1
    assert f"the upgrade after block {HEIGHT - 1} is called off, the rules stay: ZeroDivisionError" in caplog.text
    LedgerApplication(store, RULES)  # An old program may go on, too.


def test_a_record_of_the_history_names_its_rules_and_a_changed_version_is_noticed():
    hashes = {name: bytes(32) for name in RULES.of(1).stores}
    kept = history.record_of(7, 1, hashes)
    assert history.roots_of(BOOK, history.Recorded(7, kept)) == hashes
    changed = kept[:8] + b"\0\0\0\2" + kept[12:]
    for raw in (changed, changed + bytes(32), kept[:-32], kept + bytes(32), kept[:8]):
        with pytest.raises(history.StoreDamaged):
            history.roots_of(BOOK, history.Recorded(7, raw))
    with pytest.raises(history.StoreDamaged):
        history.roots_of(RULES, history.Recorded(7, history.record_of(7, 2, hashes)))
