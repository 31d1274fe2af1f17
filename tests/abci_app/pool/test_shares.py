"""The account of the pool: each member's shares, what ends a wait, and that it never counts less than CometBFT has."""

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from abci_app.pool.proposals import Standings
from abci_app.pool.shares import ALLOWANCES, POOL_SHARE_FULL, Pool, Share, everything
from abci_app.protocol.server import Limits
from campaigns.harness import consortium
from campaigns.harness.chain import CHAIN_ID
from campaigns.harness.consortium import HOSPITAL_A, HOSPITAL_B, HOSPITALS, digest, reserve
from campaigns.hostile import forgery
from client_sdk.reads.refusals import PoolShareFull, refusal_of
from contracts.governance import Vote
from contracts.identity import AddKey, RevokeKey
from contracts.kernel import Lane, Place, codec, limits
from contracts.kernel.envelope import LedgerId, Sealed
from contracts.models import RaiseAlarm
from contracts.registry import RULES
from contracts.thefts import ReportStolenKey
from contracts.transition import Transaction
from devnet import cometbft_config, cometbft_home
from tests import effort

REVOKE, VOTE = RevokeKey(HOSPITAL_A.worker.public), Vote(1, approve=True)
ALARM = RaiseAlarm("classifier", 1, digest("evidence"), "reason")


class Sender:
    """Transactions of the consortium, and a pool that takes what it has room for."""

    def __init__(self):
        self.chain, self.pool = consortium.round_open(), Pool()

    def made(self, who, message):
        return Transaction(self.chain.seal(who, message))

    def offered(self, who, message, height=0):
        """The transaction, when there was room for it."""
        transaction = self.made(who, message)
        if self.pool.refusal(RULES.newest, self.chain.view, transaction) is not None:
            return None
        self.pool.admit(RULES.newest, self.chain.view, transaction, height)
        return transaction

    def filled(self, who, message):
        """As many as there is room for."""
        taken = []
        while (one := self.offered(who, message)) is not None:
            taken.append(one)
        return taken


@pytest.fixture
def sender():
    return Sender()


@pytest.mark.parametrize(
    ("message", "share"), [(reserve(), Share.WORK), (VOTE, Share.GOVERNANCE), (REVOKE, Share.SAFETY)], ids=str
)
def test_a_share_holds_so_many_transactions_and_says_what_it_holds(sender, message, share):
    taken = sender.filled(HOSPITAL_A, message)
    assert len(taken) == ALLOWANCES[share].transactions
    refused = sender.pool.refusal(RULES.newest, sender.chain.view, sender.made(HOSPITAL_A, message))
    facts = codec.decode_plain(refused.data, most=1_000)
    assert facts == {
        "organisation": "hospital-a",
        "share": share.value,
        "waiting": len(taken),
        "limit": ALLOWANCES[share].transactions,
        "waiting_bytes": sum(len(one.raw) for one in taken),
        "limit_bytes": ALLOWANCES[share].size,
    }
    assert refused.log.startswith("POOL_SHARE_FULL(organisation=hospital-a, ")


def test_a_share_is_bounded_in_bytes_too(sender):
    most = ALLOWANCES[Share.WORK].size
    half = [sender.made(HOSPITAL_A, reserve()) for _ in range(3)]
    for one in half:
        assert one.envelope.tag == reserve().tag
        one.raw += bytes(most // 2 - len(one.raw))  # As if the rules allowed messages of this size.
    for one in half[:2]:
        assert sender.pool.refusal(RULES.newest, sender.chain.view, one) is None
        sender.pool.admit(RULES.newest, sender.chain.view, one, 0)
    assert sender.pool.refusal(RULES.newest, sender.chain.view, half[2]).share is Share.WORK
    assert (
        sender.pool.refusal(RULES.newest, sender.chain.view, sender.made(HOSPITAL_A, reserve())).waiting_bytes == most
    )
    sender.pool.release(half[0].hash)
    assert sender.pool.refusal(RULES.newest, sender.chain.view, half[2]) is None


def test_a_members_flood_keeps_out_neither_its_own_revocation_nor_its_own_vote_nor_another_member(sender):
    assert sender.filled(HOSPITAL_A, reserve())
    assert sender.filled(HOSPITAL_A, VOTE)
    assert sender.offered(HOSPITAL_B, reserve())
    assert sender.offered(HOSPITAL_B, VOTE)
    assert sender.offered(HOSPITAL_A, REVOKE)


def test_a_stolen_workload_key_cannot_use_up_the_safety_share_of_the_key_that_revokes_it(sender):
    assert sender.filled(HOSPITAL_A, ALARM)
    assert sender.pool.refusal(RULES.newest, sender.chain.view, sender.made(HOSPITAL_A, ALARM)).share is Share.SAFETY
    assert sender.offered(HOSPITAL_A, REVOKE)


def test_what_waits_already_is_never_refused_and_counts_once(sender):
    taken = sender.filled(HOSPITAL_A, reserve())
    for one in taken:
        assert sender.pool.refusal(RULES.newest, sender.chain.view, Transaction(one.raw)) is None
        sender.pool.admit(RULES.newest, sender.chain.view, Transaction(one.raw), 0)
    assert len(sender.pool) == len(taken)
    sender.pool.release(taken[0].hash)
    assert sender.offered(HOSPITAL_A, reserve())
    assert sender.offered(HOSPITAL_A, reserve()) is None


def test_bytes_that_are_no_envelope_and_unknown_keys_and_tags_are_left_to_the_rules(sender):
    sender.filled(HOSPITAL_A, reserve())
    stranger = sender.made(HOSPITAL_A.key(HOSPITAL_A.worker.purpose, 9), reserve())
    for transaction in (Transaction(b""), Transaction(b"\xd2" * 300), stranger):
        assert sender.pool.refusal(RULES.newest, sender.chain.view, transaction) is None


def test_another_key_of_a_member_whose_share_is_full_gets_no_place_of_its_own(sender):
    second = HOSPITAL_A.key(HOSPITAL_A.worker.purpose, 9)
    sender.chain.submit(HOSPITAL_A, AddKey(second.enrolment()))
    sender.filled(HOSPITAL_A, reserve())
    assert sender.pool.refusal(RULES.newest, sender.chain.view, sender.made(second, reserve())) is not None


def test_nothing_is_decoded_for_who_names_another_s_key(sender, monkeypatch):
    """Not for its share, nor for its lane: 48 kB of it would cost thirty times a signature."""
    protected = sender.made(HOSPITAL_A, reserve()).sealed.protected
    forged = Transaction(forgery.signed(HOSPITAL_B.worker.seed, protected, b"\x81" * 40_000))
    monkeypatch.setattr(Sealed, "opened", lambda _: pytest.fail("it was decoded"))
    view = sender.chain.view
    assert sender.pool.refusal(RULES.newest, view, forged) is None
    assert sender.pool.share_of(RULES.newest, view, forged) is None
    assert Standings(RULES.newest, view, 99).of(forged).lane is max(Lane)


def test_what_a_whole_round_of_rechecks_did_not_mention_is_forgotten_after_two_blocks(sender):
    taken = sender.filled(HOSPITAL_A, reserve())
    kept, lost = taken[:10], taken[10:]
    sender.pool.sweep(1)  # Block 1 is committed; CometBFT asks about what it has.
    for one in kept:
        sender.pool.admit(RULES.newest, sender.chain.view, one, 1)
    assert len(sender.pool) == len(taken)
    sender.pool.sweep(2)
    assert len(sender.pool) == len(kept)
    assert all(sender.offered(HOSPITAL_A, reserve(), 2) for _ in lost)
    sender.pool.sweep(3)  # Nobody asks any more: CometBFT has died and begun with an empty pool.
    sender.pool.sweep(4)
    assert len(sender.pool) == 0
    assert sender.pool._held == {}


class AgainstCometBFT(RuleBasedStateMachine):
    """A model of CometBFT's pool beside the account: admissions, drops after our yes, blocks, rechecks, deaths."""

    @initialize()
    def begin(self):
        self.sender, self.height = Sender(), 0
        self.pool: dict[bytes, Transaction] = {}

    @rule(who=st.sampled_from(HOSPITALS), message=st.sampled_from((reserve(), VOTE, REVOKE, ALARM)), lost=st.booleans())
    def offer(self, who, message, lost):
        for _ in range(5):
            transaction = self.sender.offered(who, message, self.height)
            if transaction is not None and not lost:  # CometBFT may drop it after our yes.
                self.pool[transaction.hash] = transaction

    @rule(data=st.data(), died=st.booleans())
    def block(self, data, died):
        decided = data.draw(st.sets(st.sampled_from(sorted(self.pool)))) if self.pool else set()
        self.height += 1
        for name in decided:
            self.sender.pool.release(name)
            del self.pool[name]
        self.sender.pool.sweep(self.height)
        if died:
            self.pool.clear()
        for name in tuple(self.pool):
            if data.draw(st.integers(0, 9)) == 0:  # Refused at recheck.
                self.sender.pool.release(name)
                del self.pool[name]
            else:
                self.sender.pool.admit(RULES.newest, self.sender.chain.view, self.pool[name], self.height)

    @precondition(lambda self: self.pool)
    @rule(data=st.data())
    def again(self, data):
        """A client that sends what waits already, after CometBFT's cache has forgotten it."""
        transaction = Transaction(self.pool[data.draw(st.sampled_from(sorted(self.pool)))].raw)
        assert self.sender.pool.refusal(RULES.newest, self.sender.chain.view, transaction) is None
        self.sender.pool.admit(RULES.newest, self.sender.chain.view, transaction, self.height)

    @rule()
    def repair(self):
        """After two blocks the account is exactly what CometBFT has."""
        for _ in range(2):
            self.height += 1
            self.sender.pool.sweep(self.height)
            for one in self.pool.values():
                self.sender.pool.admit(RULES.newest, self.sender.chain.view, one, self.height)
        assert set(self.sender.pool._waiting) == set(self.pool)

    @invariant()
    def nothing_that_waits_is_uncounted_and_no_share_is_exceeded(self):
        account = self.sender.pool
        assert set(self.pool) <= set(account._waiting)
        counted = Counter(waiting.holder for waiting in account._waiting.values())
        assert counted == {holder: held.transactions for holder, held in account._held.items()}
        for holder, held in account._held.items():
            assert 0 < held.transactions <= ALLOWANCES[holder[0]].transactions
            assert 0 < held.size <= ALLOWANCES[holder[0]].size


TestAgainstCometBFT = AgainstCometBFT.TestCase
TestAgainstCometBFT.settings = settings(max_examples=effort.examples(40), stateful_step_count=20, deadline=None)


# ---- the relation to CometBFT's own bounds


def test_all_shares_of_all_members_fit_the_pool_and_the_whole_pool_is_offered_to_every_proposer():
    """Otherwise members together could fill it, or a revocation could wait behind what does not fit."""
    every = everything()
    assert every.transactions <= cometbft_config.MEMPOOL_TXS
    assert every.size <= cometbft_config.MEMPOOL_BYTES
    field_overhead, header_and_votes = 5, 1_000 + 150 * limits.VALIDATORS
    offered = cometbft_home.BLOCK_BYTES_MAX - cometbft_home.EVIDENCE_BYTES_MAX - header_and_votes
    assert cometbft_config.MEMPOOL_BYTES + field_overhead * cometbft_config.MEMPOOL_TXS <= offered
    assert Limits().request_bytes > cometbft_home.BLOCK_BYTES_MAX  # A proposal of any size reaches the application.
    assert limits.BLOCK_BYTES < cometbft_home.BLOCK_BYTES_MAX


def test_the_largest_safety_message_fits_its_share_as_often_as_may_wait():
    name = "a" * limits.NAME_CHARS
    largest = [
        RaiseAlarm(name, limits.VERSIONS_PER_MODEL, bytes(32), "r" * limits.REASON_CHARS),
        ReportStolenKey(bytes(32), Place(2**31, 0)),
        REVOKE,
    ]
    chain, most = consortium.founded(), ALLOWANCES[Share.SAFETY]
    for message in largest:
        raw = chain.seal(
            HOSPITAL_A, message, ledger=LedgerId("c" * limits.CHAIN_ID_CHARS, bytes(32)), valid_until=2**31
        )
        assert len(raw) * most.transactions <= most.size
    assert len(CHAIN_ID) <= limits.CHAIN_ID_CHARS


def test_the_client_reads_the_nodes_refusal_as_a_reason_to_wait(sender):
    sender.filled(HOSPITAL_A, reserve())
    said = sender.pool.refusal(RULES.newest, sender.chain.view, sender.made(HOSPITAL_A, reserve()))
    refusal = refusal_of(POOL_SHARE_FULL, said.data, said.log)
    assert isinstance(refusal, PoolShareFull)
    assert refusal.facts["waiting"] == refusal.facts["limit"] == ALLOWANCES[Share.WORK].transactions
    assert sorted(refusal.facts) == sorted(PoolShareFull.fact_names)
    assert refusal.facts == codec.decode_plain(said.data, most=1_000)
    assert str(refusal).startswith("POOL_SHARE_FULL(")
