"""What a flood can do to the real application with CometBFT's own pool before it, in one process.

``Comet`` is that pool as CometBFT v0.39 keeps it (``mempool/clist_mempool.go``, ``state/execution.go``): first in first
out, bounded in transactions and bytes before the application is asked, offered to a proposer by age up to the room in
``block.max_bytes``, rechecked after every commit.
"""

import json
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from abci_app.app import LedgerApplication
from abci_app.pool import door, proposals
from abci_app.pool.proposals import Standings, choose, fault
from abci_app.pool.shares import ALLOWANCES, POOL_SHARE_FULL, Pool, Share
from abci_app.protocol import messages as m
from abci_app.protocol.dispatch import Dispatcher
from abci_app.protocol.framing import FrameReader, field_size
from abci_app.store.lmdb_store import LmdbStore
from abci_app.store.memory_store import MemoryStore
from campaigns.flood import DATA, DOCS, documented
from campaigns.harness import consortium
from campaigns.harness.chain import BLOCK_MS, GENESIS_MS, BlockStep
from campaigns.harness.consortium import AUDITOR, HOSPITAL_A, HOSPITAL_B, HOSPITAL_C, LAB, TERMS, digest, reserve
from campaigns.simulation.agreement import Agreement, Block
from campaigns.simulation.replica import fields_of
from contracts import identity, transition
from contracts.contributions import AlreadyReserved
from contracts.governance import OpenTask, Propose, Vote
from contracts.identity import RevokeKey
from contracts.kernel import Lane, crypto, envelope, limits
from contracts.kernel.types import Purpose
from contracts.models import RaiseAlarm
from contracts.registry import RULES
from contracts.rounds import OpenRound
from contracts.tasks import TaskExists
from contracts.transition import Transaction, WrongPurpose
from devnet import cometbft_config, cometbft_home

STAGE = consortium.round_open
HEADER_AND_VOTES = 2_000
PROPOSE = Propose(OpenTask(replace(TERMS, task="flood", model="flood")))


class Comet:
    """One CometBFT with the real application behind its bytes, brought to the state of a chain."""

    def __init__(self, chain, store=None, *, txs=cometbft_config.MEMPOOL_TXS, block=cometbft_home.BLOCK_BYTES_MAX):
        self.chain, self.txs_max, self.block_bytes = chain, txs, block
        self.application = LedgerApplication(store or MemoryStore())
        self.dispatcher = Dispatcher(self.application)
        self.pool: dict[bytes, None] = {}
        self.codes: Counter[int] = Counter()
        self.ask("init_chain", Agreement(consortium.founded_by(), GENESIS_MS).init_chain())
        for step in every_step(chain):
            self.decide(step.height, step.time_ms, step.txs)

    @property
    def height(self):
        return self.application.info(m.RequestInfo()).last_block_height

    def ask(self, method, request):
        frames = FrameReader(2**27)
        frames.feed(self.dispatcher.answer(m.Request(**{method: request}).SerializeToString()))
        return getattr(m.Response.FromString(frames.next()), method)

    def offer(self, raw):
        """``broadcast_tx_sync``: None when the pool is full before the application is asked."""
        if len(self.pool) >= self.txs_max or sum(map(len, self.pool)) + len(raw) > cometbft_config.MEMPOOL_BYTES:
            return None
        code = self.ask("check_tx", m.RequestCheckTx(tx=raw)).code
        self.codes[code] += 1
        if code == 0:
            self.pool.setdefault(raw)
        return code

    def block(self):
        """A height with this node as the proposer: the transactions of its block."""
        height, time_ms = self.height + 1, self.chain.time_ms + BLOCK_MS * (self.height + 1)
        room = reaped = self.block_bytes - HEADER_AND_VOTES
        waiting = []
        for raw in self.pool:
            reaped -= field_size(len(raw))
            if reaped < 0:
                break
            waiting.append(raw)
        request = m.RequestPrepareProposal(height=height, max_tx_bytes=room, txs=waiting)
        request.time.seconds = time_ms // 1000
        txs = tuple(self.ask("prepare_proposal", request).txs)
        self.decide(height, time_ms, txs)
        return txs

    def decide(self, height, time_ms, txs):
        fields = fields_of(Block(height, time_ms, 0, tuple(txs)))
        answer = self.ask("process_proposal", m.RequestProcessProposal(**fields))
        assert answer.status == answer.ACCEPT
        self.results = self.ask("finalize_block", m.RequestFinalizeBlock(**fields)).tx_results
        self.ask("commit", m.RequestCommit())
        for raw in txs:
            self.pool.pop(raw, None)
        for raw in tuple(self.pool):
            if self.ask("check_tx", m.RequestCheckTx(tx=raw, type=m.CheckTxType.RECHECK)).code:
                del self.pool[raw]


def every_step(chain):
    """All blocks from the genesis on: those of the stages below, then the chain's own."""
    steps, stage = list(chain.steps), chain.setup
    while stage:
        setup = consortium.SETUPS[stage]
        steps, stage = [*setup.steps, *steps], setup.extends
    return [step for step in steps if isinstance(step, BlockStep)]


@pytest.fixture
def comet():
    return Comet(STAGE())


def flood(comet, count=600, who=HOSPITAL_A):
    """One member's transactions, each of which the rules accept now: work, then proposals."""
    for number in range(count):
        comet.offer(comet.chain.seal(who, reserve()))
        if number % 4 == 0:
            comet.offer(comet.chain.seal(who, PROPOSE))


def test_a_flood_fills_its_senders_shares_and_not_the_pool(comet):
    flood(comet)
    work, governance = ALLOWANCES[Share.WORK].transactions, ALLOWANCES[Share.GOVERNANCE].transactions
    assert len(comet.pool) == comet.codes[0] == work + governance
    assert comet.codes[POOL_SHARE_FULL] > 400
    assert comet.offer(comet.chain.seal(HOSPITAL_B, reserve())) == 0


@pytest.mark.parametrize("revoker", [HOSPITAL_A, HOSPITAL_B], ids=["the flooding member", "another member"])
def test_under_a_flood_a_revocation_is_in_the_next_block(comet, revoker):
    """Through a whole second of blocks: what CheckTx accepts at height h is the first transaction of block h + 1."""
    for number in range(4):
        flood(comet, 200)
        if number == 2:
            raw = comet.chain.seal(revoker, RevokeKey(revoker.worker.public))
            assert comet.offer(raw) == 0
            flood(comet, 200)
            assert comet.block()[0] == raw
            assert comet.results[0].code == 0
        else:
            assert len(comet.block()) <= limits.BLOCK_TXS_PER_ORGANISATION


def test_without_shares_and_lanes_the_same_flood_keeps_the_revocation_out():
    """The contrast, in small: a pool of 700, blocks of 60 kB by age, an application without shares and lanes."""

    def by_age(_rules, _view, _height, waiting, room, _is_due):
        chosen = []
        for transaction in waiting:
            room -= field_size(len(transaction.raw))
            if room < 0:
                break
            chosen.append(transaction.raw)
        return chosen

    with (
        patch.object(Pool, "refusal", lambda *_: None),
        patch.object(proposals, "choose", by_age),
        patch.object(proposals, "fault", lambda *_: None),
    ):
        comet = Comet(STAGE(), txs=700, block=60_000)
        flood(comet, 700)
        raw = comet.chain.seal(HOSPITAL_B, RevokeKey(HOSPITAL_B.worker.public))
        assert comet.offer(raw) is None  # "mempool is full"
        comet.block()
        assert comet.offer(raw) == 0
        waited = 1
        while raw not in comet.block():
            waited += 1
            flood(comet, 100)
        assert waited >= 3


def test_a_transaction_is_parsed_and_verified_once_on_its_way_through_the_node(comet, monkeypatch):
    raw = comet.chain.seal(HOSPITAL_A, reserve())
    calls = Counter()
    for module, name in ((envelope, "unwrap"), (crypto, "verify"), (transition, "message_of")):
        honest = getattr(module, name)

        def counted(*arguments, honest=honest, name=name):
            calls[name] += 1
            return honest(*arguments)

        monkeypatch.setattr(module, name, counted)
    assert comet.offer(raw) == 0
    assert comet.ask("check_tx", m.RequestCheckTx(tx=raw, type=m.CheckTxType.RECHECK)).code == 0
    assert comet.block() == (raw,)
    assert comet.results[0].code == 0
    assert calls == {"unwrap": 1, "verify": 1, "message_of": 1}


def test_a_flood_beyond_its_share_is_refused_before_any_signature_is_verified(comet, monkeypatch):
    flood(comet)
    monkeypatch.setattr(crypto, "verify", lambda *_: pytest.fail("verified"))
    assert comet.offer(comet.chain.seal(HOSPITAL_A, reserve())) == POOL_SHARE_FULL


def test_under_pressure_a_transaction_is_held_to_its_signer_only_and_refused_by_its_block(comet, monkeypatch):
    """A second seat is refused here while there is time, and by its block when there is none."""
    first = comet.chain.seal(HOSPITAL_A, reserve())
    assert comet.offer(first) == 0
    comet.block()
    again, wrong = comet.chain.seal(HOSPITAL_A, reserve()), comet.chain.seal(HOSPITAL_A.human, reserve())
    assert comet.offer(again) == AlreadyReserved.code
    monkeypatch.setattr(door, "PRESSED", 0)
    assert comet.offer(wrong) == WrongPurpose.code
    assert comet.offer(again) == 0
    assert comet.block() == (again,)
    assert [result.code for result in comet.results] == [AlreadyReserved.code]


def test_under_pressure_only_safety_is_tried(comet, monkeypatch):
    known = comet.chain.seal(HOSPITAL_A, replace(PROPOSE, action=OpenTask(TERMS)))
    assert comet.offer(known) == TaskExists.code
    monkeypatch.setattr(door, "PRESSED", 0)
    assert comet.offer(known) == 0
    assert comet.offer(comet.chain.seal(HOSPITAL_A, RevokeKey(bytes(32)))) == identity.UnknownKey.code


@pytest.mark.parametrize("pressed", [0, 512], ids=["under pressure", "with time"])
def test_a_bug_of_ours_in_authentication_is_code_1_at_the_door_and_stops_no_node(comet, monkeypatch, pressed):
    monkeypatch.setattr(door, "PRESSED", pressed)
    raw = comet.chain.seal(HOSPITAL_A, reserve())
    assert comet.offer(raw) == 0
    with monkeypatch.context() as patch:
        patch.setattr(transition, "authenticate", lambda *_: 1 // 0)
        assert comet.offer(comet.chain.seal(HOSPITAL_B, reserve())) == transition.INTERNAL_ERROR
        again = m.RequestCheckTx(tx=raw, type=m.CheckTxType.RECHECK)
        assert comet.ask("check_tx", again).code == transition.INTERNAL_ERROR


def test_a_key_revoked_after_its_transaction_was_verified_signs_nothing_any_more(comet):
    """The cache knows bytes and signatures. Whether the key may act is read anew, by whoever asks."""
    raw = comet.chain.seal(HOSPITAL_A, reserve())
    assert comet.offer(raw) == 0
    comet.pool.clear()
    comet.offer(comet.chain.seal(HOSPITAL_A, RevokeKey(HOSPITAL_A.worker.public)))
    comet.block()
    for kind in (m.CheckTxType.NEW, m.CheckTxType.RECHECK):
        assert comet.ask("check_tx", m.RequestCheckTx(tx=raw, type=kind)).code == identity.KeyIsRevoked.code
    comet.pool[raw] = None
    assert comet.block() == ()
    comet.decide(comet.height + 1, comet.chain.time_ms + 99_000, (raw,))
    assert comet.results[0].code == identity.KeyIsRevoked.code


def test_a_node_that_has_seen_a_transaction_decides_it_as_one_that_has_not():
    """Twice through LMDB, with every transaction known and with none: the same app hash."""
    hashes = []
    with tempfile.TemporaryDirectory() as folder:
        for knows in (True, False):
            store = LmdbStore.open(Path(folder) / str(knows))
            comet, chain = Comet(STAGE(), store), STAGE()
            raws = [chain.seal(who, reserve()) for who in consortium.HOSPITALS]
            if knows:
                assert [comet.offer(raw) for raw in raws] == [0, 0, 0, 0]
            comet.decide(comet.height + 1, chain.time_ms + 1_000, raws)
            hashes.append(comet.application.info(m.RequestInfo()).last_block_app_hash)
            store.close()
    assert hashes[0] == hashes[1]


def test_the_door_forgets_the_account_of_what_a_block_decided(comet):
    flood(comet)
    before = len(comet.application._door.pool)
    decided = comet.block()
    assert decided
    assert len(comet.application._door.pool) == before - len(decided) == len(comet.pool)
    assert isinstance(comet.application._door, door.Door)


def test_the_table_in_the_docs_is_the_measurement():
    measured = json.loads(DATA.read_text(encoding="utf-8"))
    assert measured["flood"]["blocks_waited_most"] <= 2
    page = DOCS.read_text(encoding="utf-8")
    assert documented(page, measured) == page
    assert "longest wait, blocks" in page


# ---- lanes


def standing(view, raw, height=99):
    return Standings(RULES.newest, view, height).of(Transaction(raw))


def test_a_lane_is_for_a_live_key_of_the_right_purpose_and_role_and_a_well_formed_message():
    chain = STAGE()
    human, worker = HOSPITAL_A.human, HOSPITAL_A.worker
    revoke, alarm = RevokeKey(worker.public), RaiseAlarm("classifier", 1, digest("e"), "reason")
    malformed = envelope.seal(
        human, chain.ledger, tag=RevokeKey.tag, body={"public": b"short"}, nonce=bytes(16), valid_until=9
    )
    unknown = envelope.seal(human, chain.ledger, tag="no/such", body={}, nonce=bytes(16), valid_until=9)
    expected = {
        chain.seal(human, revoke): Lane.SAFETY,
        chain.seal(worker, alarm): Lane.SAFETY,
        chain.seal(human, Vote(1, approve=True)): Lane.GOVERNANCE,
        chain.seal(LAB.worker, OpenRound("breast-cancer")): Lane.ROUND,
        chain.seal(worker, reserve()): Lane.CONTRIBUTION,
        chain.seal(worker, revoke): Lane.CONTRIBUTION,  # Another purpose.
        chain.seal(AUDITOR.worker, alarm): Lane.CONTRIBUTION,  # Another role.
        chain.seal(HOSPITAL_A.key(Purpose.HUMAN, 7), revoke): Lane.CONTRIBUTION,  # Nobody's key.
        malformed: Lane.CONTRIBUTION,
        unknown: Lane.CONTRIBUTION,
    }
    assert {raw: standing(chain.view, raw).lane for raw in expected} == expected
    chain.submit(HOSPITAL_A, RevokeKey(worker.public))
    raw = chain.seal(worker, alarm)
    assert standing(chain.view, raw, chain.height).lane is Lane.CONTRIBUTION  # Revoked.
    assert standing(chain.view, raw, chain.height - 1).lane is Lane.SAFETY
    assert standing(chain.view, raw).sender == "hospital-a"


def test_a_proposal_with_a_transaction_in_a_lane_that_it_has_no_right_to_is_rejected():
    chain = STAGE()
    false = chain.seal(HOSPITAL_A.worker, RevokeKey(HOSPITAL_A.worker.public))
    vote = chain.seal(HOSPITAL_B, Vote(1, approve=True))
    said = fault(RULES.newest, chain.view, 9, map(Transaction, (false, vote)))
    assert "lane GOVERNANCE comes after lane CONTRIBUTION" in said
    assert fault(RULES.newest, chain.view, 9, map(Transaction, (vote, false))) is None


def test_a_block_over_the_ledgers_own_size_is_rejected_and_never_proposed():
    chain = STAGE()
    padding = bytes(limits.TX_BYTES - 500)
    large = [
        envelope.seal(who.worker, chain.ledger, tag="x", body=padding, nonce=bytes([n] * 16), valid_until=20)
        for n in range(35)
        for who in (HOSPITAL_A, HOSPITAL_B, HOSPITAL_C)
    ]
    assert "exceeds the 4194304 bytes of a block" in fault(RULES.newest, chain.view, 9, map(Transaction, large))
    chosen = choose(
        RULES.newest, chain.view, chain.next_block().height, map(Transaction, large), 100 * 2**20, lambda _: True
    )
    assert 80 < len(chosen) < len(large)
    assert sum(field_size(len(raw)) for raw in chosen) <= limits.BLOCK_BYTES
    assert fault(RULES.newest, chain.view, chain.height + 1, map(Transaction, chosen)) is None
