"""The thirteen requirements that CometBFT puts to an application, each as a test of the real one.

Source: CometBFT v0.39, ``spec/abci/abci++_app_requirements.md``, "Formal Requirements". The processes p and q are
replicas of a simulated cluster after some blocks: one in memory, one on LMDB that has just been restarted, each with a
mempool and a signature cache of its own. The simulation holds requirements 2, 3, 5, 11 and 12 in every block as well.
"""

import contextlib
import tempfile
from functools import cache
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abci_app.protocol import messages as m
from abci_app.protocol.framing import field_size
from campaigns.simulation.agreement import Block
from campaigns.simulation.cluster import Cluster
from campaigns.simulation.faults import LmdbDisk, MemoryDisk
from campaigns.simulation.members import HOSPITALS
from campaigns.simulation.replica import Replica, fields_of
from contracts import transition
from contracts.contributions import Withdraw
from contracts.kernel import crypto, limits

BLOCKS = 9
few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 3)
rooms = st.integers(0, 8_000)


class Processes:
    """Two correct processes at the same height, and transactions of every kind that they may meet."""

    def __init__(self, seed, folder):
        self.cluster = Cluster(seed, [MemoryDisk(), LmdbDisk(folder / "q")])
        for _ in range(BLOCKS):
            self.cluster.advance()
        self.cluster.wake()
        self.p, self.q = self.cluster.replicas
        self.q.stop()
        self.q.start()
        workload, agreement = self.cluster.workload, self.cluster.agreement
        self.height, self.time_ms = agreement.height + 1, agreement.time_ms + 1_000
        honest = workload.offered(self.p.view, agreement.height, self.time_ms)
        hostile = [workload.attacker.transaction(self.p.view) for _ in range(30)]
        decided = [tx for block in agreement.blocks[-2:] for tx in block.txs[:4]]
        flood = workload.clerk.seal(HOSPITALS[0], Withdraw("none", 1))
        self.pool = (*honest, *hostile, *decided, b"", bytes(limits.TX_BYTES + 1), flood)
        self.flood = (flood,) * (limits.BLOCK_TXS_PER_ORGANISATION + 1)

    def block(self, txs):
        return Block(self.height, self.time_ms, 0, tuple(txs))

    def prepared(self, process, raw, room):
        """What a process proposes when its CometBFT passes this on."""
        process.mempool = dict.fromkeys(raw)
        return process.prepare(self.height, self.time_ms, room)

    def disturb(self, process):
        """Everything else that happens between two calls, and leaves the state of the height alone."""
        for tx in self.pool[::3]:
            process.check_tx(tx)
        process.mempool.clear()
        process.accepts(self.block(self.pool[:5]))
        self.prepared(process, self.pool[::-1], 2_000)
        process.ask("query", m.RequestQuery(path="/store/identity/key", data=b"membership", prove=True))
        process.info()

    def executed(self, process, block):
        """FinalizeBlock, and then as if CometBFT had died: nothing is committed. The app hash, and all results."""
        answer = process.ask("finalize_block", m.RequestFinalizeBlock(**fields_of(block)))
        results = (*answer.tx_results, *answer.validator_updates)
        return answer.app_hash, [result.SerializeToString(deterministic=True) for result in results]


@pytest.fixture(scope="module")
def processes():
    """Processes by seed: made once, since no test here commits anything."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:

        @cache
        def made(seed):
            both = Processes(seed, Path(folder) / str(seed))
            for process in both.cluster.replicas:
                stack.callback(process.stop)
            return both

        yield made


def chosen(data, pool, most=40):
    """Any of these, in any order, also twice."""
    return tuple(pool[number] for number in data.draw(st.lists(st.integers(0, len(pool) - 1), max_size=most)))


def test_requirement_01_a_proposal_is_prepared_without_executing_or_verifying_anything(processes):
    """Timeliness: what PrepareProposal does is reading and sorting, so TimeoutPropose need not allow for execution."""
    both = processes(0)

    def executes(*_):
        raise AssertionError("PrepareProposal executes, or verifies a signature")

    names = ((transition, "apply_tx"), (transition, "apply_block"), (transition, "_dispatch"), (crypto, "verify"))
    with contextlib.ExitStack() as stack:
        for module, name in names:
            stack.enter_context(patch.object(module, name, executes))
        assert both.prepared(both.p, both.pool, 100_000)


@few
@given(seed=seeds, room=rooms, data=st.data())
def test_requirement_02_a_proposal_never_exceeds_the_room_it_is_given(processes, seed, room, data):
    both = processes(seed)
    txs = both.prepared(both.p, chosen(data, both.pool), room)
    assert sum(field_size(len(tx)) for tx in txs) <= room


@few
@given(seed=seeds, room=rooms, flooded=st.booleans(), data=st.data())
def test_requirement_03_what_one_correct_process_proposes_every_other_accepts(processes, seed, room, flooded, data):
    both = processes(seed)
    raw = chosen(data, both.pool) + both.flood * flooded
    for one, other in ((both.p, both.q), (both.q, both.p)):
        assert other.accepts(both.block(both.prepared(one, raw, room)))


@few
@given(seed=seeds, data=st.data())
def test_requirement_04_a_verdict_on_a_proposal_depends_on_nothing_but_the_block_and_the_state(processes, seed, data):
    both = processes(seed)
    block = both.block(chosen(data, both.pool, most=6))
    verdict = both.p.accepts(block)
    both.disturb(both.p)
    assert both.p.accepts(block) is verdict
    both.executed(both.p, both.block(both.pool[:3]))  # Decided in another life of the height, never committed.
    assert both.p.accepts(block) is verdict


@few
@given(seed=seeds, data=st.data())
def test_requirement_05_two_correct_processes_give_the_same_verdict_on_any_block(processes, seed, data):
    both = processes(seed)
    for txs in (chosen(data, both.pool, most=4), both.flood, both.pool):
        assert both.p.accepts(both.block(txs)) is both.q.accepts(both.block(txs))


def extended(process, both):
    request = m.RequestExtendVote(height=both.height, hash=both.block(()).hash)
    return process.ask("extend_vote", request).vote_extension


def verified(process, both, extension):
    request = m.RequestVerifyVoteExtension(height=both.height, hash=both.block(()).hash, vote_extension=extension)
    answer = process.ask("verify_vote_extension", request)
    assert answer.status in (answer.ACCEPT, answer.REJECT)
    return answer.status == answer.ACCEPT


def test_requirement_06_a_vote_extension_of_one_correct_process_is_accepted_by_every_other(processes):
    both = processes(0)
    assert verified(both.q, both, extended(both.p, both))
    assert verified(both.p, both, extended(both.q, both))


@few
@given(extension=st.binary(max_size=40))
def test_requirement_07_a_verdict_on_a_vote_extension_depends_on_nothing_else_than_it(processes, extension):
    both = processes(0)
    verdict = verified(both.p, both, extension)
    both.disturb(both.p)
    assert verified(both.p, both, extension) is verdict


@few
@given(extension=st.binary(max_size=40))
def test_requirement_08_two_correct_processes_give_the_same_verdict_on_any_vote_extension(processes, extension):
    both = processes(0)
    assert verified(both.p, both, extension) is verified(both.q, both, extension)


@few
@given(seed=seeds, room=rooms, data=st.data())
def test_requirement_09_proposals_and_votes_change_no_state(processes, seed, room, data):
    both = processes(seed)
    block = both.block(chosen(data, both.pool, most=5))
    stored, untouched = dict(both.p.store.scan(b"")), both.executed(both.p, block)
    both.prepared(both.p, chosen(data, both.pool), room)
    both.p.accepts(both.block(chosen(data, both.pool, most=5)))
    verified(both.p, both, extended(both.p, both))
    assert dict(both.p.store.scan(b"")) == stored
    assert both.p.info().last_block_height == both.height - 1
    assert both.executed(both.p, block) == untouched


@few
@given(extension=st.binary(max_size=40))
def test_requirement_10_the_next_state_does_not_depend_on_vote_extensions(processes, extension):
    both = processes(0)
    block = both.block(both.pool[:6])
    without = both.executed(both.q, block)
    verified(both.p, both, extension)
    assert both.executed(both.p, block) == without


@few
@given(seed=seeds, data=st.data())
def test_requirement_11_the_next_state_depends_on_the_last_one_and_the_block_alone(processes, seed, data):
    """The same on a process that executed another block for this height first, and on one that just started."""
    both = processes(seed)
    block = both.block(chosen(data, both.pool))
    both.disturb(both.p)
    both.executed(both.p, both.block(both.pool[:7]))
    fresh = Replica(9, both.cluster.agreement, MemoryDisk())
    fresh.start()
    root = both.executed(fresh, block)[0]
    assert both.executed(both.p, block)[0] == both.executed(both.q, block)[0] == root


@few
@given(seed=seeds, data=st.data())
def test_requirement_12_the_results_depend_on_the_last_state_and_the_block_alone(processes, seed, data):
    """Whether CheckTx has seen, and its signature cache knows, the transactions makes no difference."""
    both = processes(seed)
    block = both.block(chosen(data, both.pool))
    for tx in block.txs:
        both.p.check_tx(tx)
    assert both.executed(both.p, block)[1] == both.executed(both.q, block)[1]


@pytest.mark.parametrize("seed", range(3))
def test_requirement_13_every_transaction_is_refused_for_ever_once_it_has_expired(tmp_path, seed):
    """Eventual non-oscillation: up to its last height the answer depends on the height only, beyond it it is no."""
    both = Processes(seed, tmp_path)
    agreement = both.cluster.agreement
    last = {tx: last_height(tx) for tx in dict.fromkeys(both.pool)}
    soon = {tx: height for tx, height in last.items() if height < agreement.height + 10}
    assert len(soon) > 20
    for _ in range(14):
        for tx, height in soon.items():
            codes = [process.ask("check_tx", m.RequestCheckTx(tx=tx)).code for process in (both.p, both.q, both.p)]
            assert len({*codes}) == 1
            assert codes[0] or agreement.height < height
        block = Block(agreement.height + 1, agreement.time_ms + 1_000, 0, ())
        agreement.blocks.append(block)
        for process in (both.p, both.q):
            process.apply(block)
    assert agreement.height > max(soon.values())
    both.q.stop()


def last_height(tx):
    try:
        return transition.parse(tx).valid_until
    except transition.MalformedTransaction:
        return 0
