"""ABCI's grammar: the checker itself, the mock CometBFT and a real one held to it, and the application under all of it.

The state machine walks the same automaton as the checker: at each step it makes any call that the grammar allows, on
the real application, with crashes and replays between them. So the application meets sequences that no run of CometBFT
happens to produce, and every one is legal.
"""

import contextlib

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from abci_app.app import LedgerApplication
from abci_app.protocol import messages as m
from abci_app.protocol.blocks import PublicKey
from abci_app.protocol.server import Server
from abci_app.store.memory_store import MemoryStore
from campaigns.harness.abci_client import Call, Recorder
from campaigns.harness.automaton import Automaton
from campaigns.harness.grammar import CLEAN_START, RECOVERY, IllegalCall, Recorded, check
from campaigns.harness.kvstore import KeyValueApplication
from campaigns.simulation.agreement import Agreement, Block
from campaigns.simulation.faults import Crash, CrashPoint, MemoryDisk
from campaigns.simulation.members import FOUNDERS, GENESIS_TIME_MS, Clerk, genesis
from campaigns.simulation.replica import Replica, fields_of
from campaigns.simulation.workload import Workload
from contracts.identity import AddKey
from tests.abci_app.test_real_node import Comet
from tests.consensus import Chain, Genesis, Node
from tests.real_genesis import give_genesis

TERMINALS = {
    "i": "info",
    "I": "init_chain",
    "o": "offer_snapshot",
    "a": "apply_snapshot_chunk",
    "r": "prepare_proposal",
    "p": "process_proposal",
    "e": "extend_vote",
    "v": "verify_vote_extension",
    "f": "finalize_block",
    "c": "commit",
}


# ---- the checker


@pytest.mark.parametrize(
    "run",
    [
        *("i", "iI", "iIfc", "iIfcfc"),  # A clean start, and catching up without a round.
        *("iIrpfc", "iIpfc", "iIrfc", "iIrpevfc"),  # One round, as the proposer and not.
        *("iIrpprpfc", "iIppppfc", "iIrrrfc"),  # Several rounds.
        *("iIvvvpvevvfc", "iIevfc", "iIvvfc"),  # Votes of this round and of later ones, a round without a proposal.
        *("oai", "oaaaifc", "ooaoaaifcfc", "oaoai"),  # State sync, after failed attempts.
        *("ifc", "ipfcrpfc"),  # Recovery.
    ],
)
def test_a_sequence_of_the_specification_is_a_legal_beginning(run):
    automaton = Automaton(CLEAN_START, RECOVERY)
    for name in run:
        automaton.take(TERMINALS[name])


@pytest.mark.parametrize(
    ("run", "place"),
    [
        *(("I", 0), ("f", 0), ("c", 0), ("p", 0)),  # Nothing comes before the handshake.
        *(("iII", 2), ("ii", 1), ("iIi", 2), ("iIfcI", 4)),  # The handshake comes once.
        *(("iIc", 2), ("iIff", 3), ("iIfp", 3), ("iIfcc", 4)),  # FinalizeBlock and Commit are a pair.
        *(("oi", 1), ("ofc", 1), ("ao", 0), ("oaf", 2)),  # State sync applies a chunk, and ends with Info.
    ],
)
def test_a_sequence_that_no_production_gives_is_refused_at_its_first_wrong_call(run, place):
    automaton = Automaton(CLEAN_START, RECOVERY)
    for name in run[:place]:
        automaton.take(TERMINALS[name])
    with pytest.raises(ValueError, match="expected one of"):
        automaton.take(TERMINALS[run[place]])


def info(height=0):
    return Call("query", "info", m.RequestInfo(), m.ResponseInfo(last_block_height=height))


def of(method, connection="consensus", **fields):
    kind = "".join(word.capitalize() for word in method.split("_"))
    return Call(connection, method, getattr(m, f"Request{kind}")(**fields), getattr(m, f"Response{kind}")())


def finalized(height, *txs):
    return of("finalize_block", height=height, txs=txs)


START = [info(), of("init_chain")]
ENDED = Call("query", "disconnected", None)
BEGUN = Call("query", "connected", None)


@pytest.mark.parametrize(
    ("calls", "why"),
    [
        ([info(), of("init_chain", "query")], "call 1, init_chain: came by the query connection"),
        ([info(3), of("init_chain")], "is at height 3"),
        ([info(), finalized(1)], "the application is empty and was not initialised"),
        ([info(3), finalized(5)], "height 5 does not follow the committed 3"),
        ([info(3), of("prepare_proposal", height=3)], "height 3 does not follow the committed 3"),
        ([*START, finalized(1), of("commit"), finalized(1)], "height 1 does not follow the committed 1"),
        ([*START, finalized(1), of("commit"), ENDED, BEGUN, info(0)], "is at height 0, it committed 1"),
        ([*START, finalized(1, b"a"), ENDED, BEGUN, *START, finalized(1, b"b")], "comes again as another block"),
        ([*START, of("flush", "mempool"), of("check_tx", "mempool"), finalized(1), of("commit")], "was not flushed"),
    ],
)
def test_what_the_grammar_cannot_say_is_held_too(calls, why):
    with pytest.raises(IllegalCall, match=why):
        check(calls)


def told(height, *updates, block=b""):
    call = finalized(height, block)
    for key, power in updates:
        call.answer.validator_updates.add(pub_key=PublicKey(ed25519=key), power=power)
    return call


def begun_with(*keys):
    call = of("init_chain", initial_height=1)
    for key in keys:
        call.request.validators.add(pub_key=PublicKey(ed25519=key), power=10)
    return [info(), call]


A, B = bytes([1]) * 32, bytes([2]) * 32


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([told(1, (B, 10), (B, 10))], "call 2, finalize_block: duplicate validator update"),
        ([told(1, (B, 0))], "call 2, finalize_block: failed to find validator"),
        ([told(1, (A, 0))], "call 2, finalize_block: .* empty set"),
        ([told(1, (B, 10)), of("commit"), told(2, (A, 0), (B, 0))], "call 4, finalize_block: .* empty set"),
        ([told(1, (B, 10)), ENDED, BEGUN, *begun_with(A), told(1)], "call 7, finalize_block: .* others than the first"),
    ],
)
def test_an_answer_about_validators_that_would_stop_cometbft_is_noticed(answers, why):
    with pytest.raises(IllegalCall, match=why):
        check([*begun_with(A), *answers])


def test_validators_may_come_go_and_come_again():
    blocks = [told(1, (B, 10)), of("commit"), told(2, (A, 0)), of("commit"), told(3, (A, 10))]
    assert check([*begun_with(A), *blocks]) == 1


def test_what_may_come_at_any_time_is_no_part_of_the_sequence():
    around = [of("check_tx", "mempool"), of("query", "query"), info(), of("list_snapshots", "snapshot")]
    calls = [*START, *around, finalized(1), *around, of("commit"), *around]
    assert check(calls) == 1


# ---- nodes


@contextlib.asynccontextmanager
async def mock_node(tmp_path, application, chain, name, recorder):
    """A mock CometBFT that is connected to an application and has not shaken hands."""
    async with Server(application, f"unix://{tmp_path}/{name}.sock") as server:
        node = Node(chain, server.address, recorder)
        await node.connect()
        yield node
        await node.disconnect()


async def test_the_mock_cometbft_calls_as_the_grammar_says_through_crashes_and_replays(tmp_path):
    chain, recorder = Chain(Genesis.of(validators=4)), Recorder()
    application = KeyValueApplication(MemoryStore())
    async with mock_node(tmp_path, application, chain, "one", recorder) as node:
        await node.handshake()
        for number in range(3):
            await node.check_tx(b"k=%d" % number)
            await node.produce()
        await node.finalize(chain.make_block([b"a=1"], None, 0, ()))  # And CometBFT dies before Commit.
        await node.disconnect()
        await node.start()
        await node.query("/key", b"a")
        await node.produce()
    assert check(recorder.calls) == 2
    late = Recorder()
    async with mock_node(tmp_path, KeyValueApplication(MemoryStore()), chain, "two", late) as node:
        await node.handshake()
        await node.catch_up()
    assert check(late.calls) == 1
    assert late.methods("consensus").count("commit") == chain.height


class Hexadecimal:
    """Bytes as CometBFT's RPC takes them in an address."""

    def __init__(self, raw):
        self.raw = raw

    def __str__(self):
        return f"0x{self.raw.hex()}"


@pytest.mark.e2e
async def test_a_real_cometbft_calls_as_the_grammar_says_also_after_it_was_killed(tmp_path):
    application, clerk = Recorded(LedgerApplication(MemoryStore())), Clerk(seed=1)
    async with Server(application, f"unix://{tmp_path}/abci.sock") as server:
        comet = Comet(tmp_path / "home", server.address)
        clerk.ledger = give_genesis(comet.home, genesis())
        for member in FOUNDERS[:3]:
            application.connected()
            async with comet.running() as process:
                tx = clerk.seal(member, AddKey(member.worker.enrolment(clerk.ledger.genesis)), valid_until=500)
                await comet.committed(Hexadecimal(tx))
                process.kill()
    assert check(application.calls) == 3
    methods = {call.method for call in application.calls}
    assert {"init_chain", "check_tx", "prepare_proposal", "process_proposal", "finalize_block", "commit"} <= methods


# ---- the application under every legal sequence


class LegalLife(RuleBasedStateMachine):
    """One node whose CometBFT makes any calls that the grammar allows, dies, and comes back."""

    @initialize(seed=st.integers(0, 2**16))
    def begin(self, seed):
        self.agreement = Agreement(genesis(), GENESIS_TIME_MS)
        self.replica = Replica(0, self.agreement, MemoryDisk())
        self.workload = Workload(seed)
        self.committed = 0
        self.boot()

    def boot(self):
        self.replica.boot()
        self.automaton = Automaton(RECOVERY) if self.committed else Automaton(CLEAN_START, RECOVERY)
        self.handshaken = self.initialised = False
        self.offers = []

    @property
    def possible(self):
        """What the grammar allows and a node without state sync would do."""
        left_out = {"offer_snapshot", "apply_snapshot_chunk"}
        if self.handshaken and self.committed:
            left_out.add("init_chain")
        if self.handshaken and not self.committed and not self.initialised:
            return ["init_chain"]
        return [name for name in self.automaton.expected if name not in left_out]

    @rule(choice=st.integers(0, 999), size=st.integers(0, 12), room=st.integers(0, 6_000))
    def go_on(self, choice, size, room):
        name = self.possible[choice % len(self.possible)]
        self.automaton.take(name)
        {
            "info": self.handshake,
            "init_chain": self.init_chain,
            "prepare_proposal": lambda: self.propose(size, room),
            "process_proposal": lambda: self.replica.accepts(self.made_of(self.offers[:size])),
            "extend_vote": lambda: self.replica.ask("extend_vote", m.RequestExtendVote(height=self.height)),
            "verify_vote_extension": lambda: self.verify(bytes(size)),
            "finalize_block": lambda: self.finalize(size),
            "commit": self.commit,
        }[name]()

    @rule(size=st.integers(0, 12))
    def a_height_without_accidents(self, size):
        while self.possible[0] in ("info", "init_chain"):
            self.go_on(0, 0, 0)
        if "finalize_block" in self.automaton.expected:
            self.automaton.take("finalize_block")
            self.finalize(size)
        self.automaton.take("commit")
        self.commit()

    @rule(number=st.integers(0, 30))
    def ask_by_another_connection(self, number):
        if self.handshaken and (self.initialised or self.committed):
            self.offers += self.workload.offered(self.replica.view, self.committed, self.agreement.time_ms + 1_000)
        for tx in self.offers[number : number + 3]:
            self.replica.check_tx(tx)
        self.replica.ask("query", m.RequestQuery(path="/store/identity/key", data=b"membership", prove=number % 2 == 0))
        if self.handshaken:
            self.replica.info()

    @rule(application_lives=st.booleans())
    def die(self, application_lives):
        self.replica.stop(application_lives=application_lives)
        self.boot()

    @precondition(lambda self: "commit" in self.automaton.expected)
    @rule(point=st.sampled_from([CrashPoint.COMMITTING, CrashPoint.DURABLE]))
    def die_in_commit(self, point):
        self.replica.fuse.set(point)
        with contextlib.suppress(Crash):
            self.replica.ask("commit", m.RequestCommit())
        if point is CrashPoint.DURABLE:
            self.committed += 1
        self.replica.stop()
        self.boot()

    @invariant()
    def what_is_committed_is_what_was_agreed_and_nothing_else_is_stored(self):
        store = self.replica.store
        assert store.height == self.committed
        if self.committed:
            assert store.app_hash == self.agreement.app_hashes[self.committed]

    def teardown(self):
        if hasattr(self, "replica"):
            check(self.replica.calls)

    # --- how ---

    @property
    def height(self):
        return self.committed + 1

    def made_of(self, txs):
        return Block(self.height, self.agreement.time_ms + 1_000, 0, tuple(txs))

    def handshake(self):
        assert self.replica.info().last_block_height == self.committed
        self.handshaken = True

    def init_chain(self):
        self.agreement.begun(self.replica.ask("init_chain", self.agreement.init_chain()))
        self.initialised = True

    def propose(self, size, room):
        """What the application proposes, it also accepts: requirement 3."""
        self.replica.mempool = dict.fromkeys(self.offers[:size])
        txs = self.replica.prepare(self.height, self.agreement.time_ms + 1_000, room)
        assert self.replica.accepts(self.made_of(txs))
        self.automaton.take("process_proposal")

    def verify(self, extension):
        answer = self.replica.ask(
            "verify_vote_extension", m.RequestVerifyVoteExtension(height=self.height, vote_extension=extension)
        )
        assert (answer.status == m.ResponseVerifyVoteExtension.ACCEPT) is (not extension)

    def finalize(self, size):
        """A new block, or the one that was decided before the node died."""
        if self.agreement.height < self.height:
            self.agreement.blocks.append(self.made_of(self.offers[:size]))
        block = self.agreement.at(self.height)
        answer = self.replica.ask("finalize_block", m.RequestFinalizeBlock(**fields_of(block)))
        self.agreement.executed(block, answer)

    def commit(self):
        self.replica.ask("commit", m.RequestCommit())
        self.committed += 1


TestLegalLife = LegalLife.TestCase
TestLegalLife.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
