"""Submitting: the same bytes are sent until they are decided or never can be, and the caller learns which it was."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import at_height
from campaigns.harness.consortium import DATASET, HOSPITAL_A, LAB, TASK
from client_sdk.client import AcceptedTx, LedgerClient, NoSigner, NotDecided, Signed
from client_sdk.client import client as client_module
from client_sdk.client.client import VALIDITY_BLOCKS
from client_sdk.light import CannotVerify, TrustExpired, TxResult, VerificationFailed
from client_sdk.reads.queries import DecidedTx, Point
from client_sdk.reads.refusals import PoolShareFull
from client_sdk.rpc import (
    AnswerMalformed,
    Checked,
    FoundTx,
    HeightPruned,
    HeightUnavailable,
    NodeError,
    NodeUnavailable,
    Patience,
    TxInCache,
)
from contracts import identity, privacy_budget, rounds, tasks, transition
from contracts.contributions import Reserved, Withdraw
from contracts.identity import KeyIsRevoked
from contracts.kernel import Message, codec, crypto, envelope, limits
from contracts.kernel.envelope import LedgerId
from contracts.privacy_budget import BudgetExceeded
from contracts.registry import RULES
from contracts.rounds import RoundOpened, WrongPhase
from contracts.transition import Expired, Replayed
from tests.local_ledger import NO_PATIENCE, LocalNode, LocalReader

ACCEPTED = Checked(0, b"", "", b"")
EVENT = RoundOpened(TASK, 1, 0, 4)
EVENT_DATA = codec.encode_plain([[EVENT.tag, codec.shape_of(RoundOpened).pack(EVENT, "")]])
DOWN = NodeUnavailable(["http://127.0.0.1:1"], ["connection refused"])
IN_CACHE = TxInCache(-32603, "Internal error", "tx already exists in cache")
FULL = NodeError(-32603, "Internal error", "mempool is full: number of txs 5000")
IMPATIENT = replace(NO_PATIENCE, outage=0.0)


def refused(refusal: type[Any], **facts: Any) -> Checked:
    """CheckTx's answer for a refusal."""
    return Checked(refusal.code, codec.encode_plain(facts), "", b"")


@dataclass
class ScriptedNode:
    """An RPC that follows a script: ``offers`` answers broadcasts, one after the other, the last one for ever.

    Each look for the transaction is a block later. It is included in block ``included_at`` with ``result``. As a reader
    it proves ``proved``, by default the same; ``proofs`` answers attempts to prove, one after the other, before that.
    """

    offers: list[Checked | Exception]
    included_at: int | None = None
    result: tuple[int, bytes] = (0, EVENT_DATA)
    looks: dict[int, Exception] = field(default_factory=dict)
    height: int = 10
    sent: list[bytes] = field(default_factory=list)
    proved: tuple[int, bytes] | None = None
    proofs: list[Exception | None] = field(default_factory=list)
    patience: Patience = NO_PATIENCE

    @property
    def heads(self) -> "ScriptedNode":
        return self

    async def beyond(self, height: int, until: float) -> bool:
        """Never waits: a look is a block."""
        await asyncio.sleep(0)
        return True

    async def status(self) -> Any:
        return SimpleNamespace(height=self.height)

    async def broadcast_tx_sync(self, raw: bytes) -> Checked:
        self.sent.append(raw)
        answer = self.offers.pop(0) if len(self.offers) > 1 else self.offers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def tx(self, digest: bytes) -> FoundTx | None:
        self.height += 1
        if self.height in self.looks:
            raise self.looks[self.height]
        if self.included_at is None or self.height < self.included_at:
            return None
        return FoundTx(digest, self.included_at, 0, self.sent[0], TxResult(*self.result), None)

    async def transaction(self, digest: bytes) -> DecidedTx | None:
        if self.proofs:
            answer = self.proofs.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        assert self.included_at is not None
        return DecidedTx(self.sent[0], self.included_at, 0, TxResult(*(self.proved or self.result)))


def send(node: ScriptedNode, valid_until: int = 50) -> AcceptedTx:
    ledger = LedgerClient(node, node, LedgerId("chain", bytes(32)), None)  # type: ignore[arg-type]
    accepted = asyncio.run(ledger.send(Signed(b"the signed bytes", valid_until)))
    assert set(node.sent) == {b"the signed bytes"}, "other bytes were sent"
    return accepted


# What became of it ------------------------------------------------------------------------------


def test_an_accepted_transaction_gives_its_height_and_typed_events() -> None:
    accepted = send(ScriptedNode([ACCEPTED], included_at=13))
    assert accepted == AcceptedTx(crypto.sha256(b"the signed bytes"), 13, (EVENT,))
    assert accepted.event(RoundOpened) is accepted.events[0]
    with pytest.raises(LookupError, match="Reserved"):
        accepted.event(Reserved)


def test_a_refusal_of_checktx_is_raised_at_once_with_its_type_and_facts() -> None:
    node = ScriptedNode([refused(BudgetExceeded, account="dataset", spent=3, wanted=5, limit=4)])
    with pytest.raises(BudgetExceeded) as caught:
        send(node)
    assert caught.value.facts == {"account": "dataset", "spent": 3, "wanted": 5, "limit": 4}
    assert len(node.sent) == 1


def test_a_full_share_of_a_nodes_pool_is_waited_out_with_the_same_bytes() -> None:
    full = Checked(PoolShareFull.code, codec.encode_plain({"waiting": 128, "limit": 128}), "", b"")
    node = ScriptedNode([full, full, ACCEPTED], included_at=16)
    assert send(node).height == 16
    assert len(node.sent) >= 3
    assert {*node.sent} == {b"the signed bytes"}


def test_who_waits_in_vain_for_a_share_of_the_pool_is_told_so() -> None:
    full = Checked(PoolShareFull.code, codec.encode_plain({"waiting": 128, "limit": 128}), "", b"")
    with pytest.raises(NotDecided, match=r"by height \d+: POOL_SHARE_FULL\(.*waiting=128"):
        send(ScriptedNode([full]))


def test_who_waits_in_vain_for_a_full_pool_is_told_in_the_nodes_words() -> None:
    with pytest.raises(NotDecided, match=r"by height \d+: the node answered: mempool is full"):
        send(ScriptedNode([FULL]))


def test_a_chain_that_stands_still_is_said_once_and_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    @dataclass
    class Halted(ScriptedNode):
        still: int = 9

        async def tx(self, digest: bytes) -> FoundTx | None:
            self.still -= 1
            self.height -= self.still > 0
            return await super().tx(digest)

    assert send(Halted([ACCEPTED], included_at=13, patience=IMPATIENT)).height == 13
    (said,) = [record.getMessage() for record in caplog.records if "no block after 10" in record.getMessage()]
    assert crypto.sha256(b"the signed bytes").hex() in said


def test_a_refusal_in_a_block_is_raised_with_its_type_and_facts() -> None:
    facts = codec.encode_plain({"round": 1, "status": "closed"})
    with pytest.raises(WrongPhase) as caught:
        send(ScriptedNode([ACCEPTED], included_at=12, result=(WrongPhase.code, facts)))
    assert caught.value.facts == {"round": 1, "status": "closed"}


def test_the_proved_result_counts_and_not_what_the_node_says_of_it() -> None:
    facts = codec.encode_plain({"round": 1, "status": "closed"})
    with pytest.raises(WrongPhase):
        send(ScriptedNode([ACCEPTED], included_at=12, proved=(WrongPhase.code, facts)))
    said_to_be_refused = ScriptedNode([ACCEPTED], included_at=12, result=(WrongPhase.code, facts))
    said_to_be_refused.proved = (0, EVENT_DATA)
    assert send(said_to_be_refused).events == (EVENT,)
    said_to_have_expired = ScriptedNode([ACCEPTED], included_at=12, result=(Expired.code, codec.encode_plain({})))
    said_to_have_expired.proved = (0, EVENT_DATA)
    assert send(said_to_have_expired).height == 12


def test_a_result_that_is_proved_false_is_never_a_receipt() -> None:
    lie = VerificationFailed("results of block 12", "the 1 given do not hash to what the next header says")
    with pytest.raises(VerificationFailed, match="do not hash"):
        send(ScriptedNode([ACCEPTED], included_at=12, proofs=[lie]))


def test_a_proof_that_is_not_there_yet_is_asked_for_again() -> None:
    behind = HeightUnavailable(-32603, "Internal error", "height 13 must be less than or equal to …")
    stalled = CannotVerify("header 13", "it is not there yet")
    node = ScriptedNode([ACCEPTED], included_at=12, proofs=[behind, stalled, DOWN, None])
    assert send(node).height == 12
    assert node.proofs == []


def test_a_proof_that_never_comes_is_no_receipt() -> None:
    never = [CannotVerify("header 13", "it is not there")] * 9
    with pytest.raises(CannotVerify):
        send(ScriptedNode([ACCEPTED], included_at=12, proofs=never, patience=IMPATIENT))


def test_expired_trust_is_said_at_once() -> None:
    node = ScriptedNode([ACCEPTED], included_at=12, proofs=[TrustExpired("header 13", "too old")] * 2)
    with pytest.raises(TrustExpired):
        send(node)
    assert len(node.proofs) == 1


def test_bytes_that_the_node_has_seen_before_are_waited_for() -> None:
    assert send(ScriptedNode([IN_CACHE], included_at=14)).height == 14


def test_a_full_mempool_is_tried_again_with_the_same_bytes() -> None:
    node = ScriptedNode([FULL, FULL, ACCEPTED], included_at=14)
    assert send(node).height == 14
    assert len(node.sent) > 2


def test_a_node_that_dies_midway_and_comes_back_is_asked_again_with_the_same_bytes() -> None:
    node = ScriptedNode([ACCEPTED, DOWN, ACCEPTED], included_at=20, looks={11: DOWN, 12: DOWN, 15: DOWN})
    assert send(node).height == 20


def test_a_node_that_stays_away_is_reported_and_not_waited_for_for_ever() -> None:
    with pytest.raises(NodeUnavailable):
        send(ScriptedNode([DOWN], looks=dict.fromkeys(range(10, 99), DOWN), patience=IMPATIENT))


def test_a_transaction_that_was_decided_before_gives_its_first_result() -> None:
    assert send(ScriptedNode([refused(Replayed)], included_at=7)).height == 7


def test_what_a_node_accepted_and_then_dropped_is_told_with_its_reason() -> None:
    """Accepted by CheckTx, then another block revoked the key, and a recheck dropped it: nobody ever decided it."""
    node = ScriptedNode([ACCEPTED, IN_CACHE, refused(KeyIsRevoked, revoked_from=13)])
    with pytest.raises(KeyIsRevoked) as caught:
        send(node)
    assert caught.value.facts == {"revoked_from": 13}


def test_a_decided_transaction_is_not_refused_because_of_what_happened_since() -> None:
    """The key was revoked after the commitment: CheckTx refuses the repeat, the first result stands."""
    assert send(ScriptedNode([refused(KeyIsRevoked)], included_at=7)).height == 7


# What never can be ------------------------------------------------------------------------------


def test_a_transaction_that_nobody_included_is_undecided_once_it_has_expired_and_not_before() -> None:
    node = ScriptedNode([ACCEPTED])
    with pytest.raises(NotDecided, match="by height 30"):
        send(node, valid_until=30)
    assert node.height == 32, "the look-up after its last height is the last one"


def test_a_transaction_included_at_its_very_last_height_is_found() -> None:
    assert send(ScriptedNode([ACCEPTED], included_at=30), valid_until=30).height == 30


def test_a_look_that_came_too_early_does_not_make_a_late_inclusion_undecided() -> None:
    """The chain leaps from before the last height to after it between two questions; the look-up comes last."""

    @dataclass
    class Leaping(ScriptedNode):
        async def status(self) -> Any:
            answer = SimpleNamespace(height=self.height)
            self.height = max(self.height, 31)
            return answer

    assert send(Leaping([ACCEPTED], included_at=32), valid_until=32).height == 32


def test_bytes_that_expired_while_the_program_was_away_are_undecided_so_they_can_be_signed_anew() -> None:
    node = ScriptedNode([refused(Expired, valid_until=5, height=11)])
    with pytest.raises(NotDecided):
        send(node, valid_until=5)


def test_an_expired_repeat_of_a_decided_transaction_gives_its_first_result() -> None:
    assert send(ScriptedNode([refused(Expired)], included_at=4), valid_until=5).height == 4


def test_a_block_that_holds_expired_bytes_did_not_decide_them() -> None:
    with pytest.raises(NotDecided):
        send(ScriptedNode([ACCEPTED], included_at=31, result=(Expired.code, codec.encode_plain({}))), valid_until=30)


def test_a_look_up_at_a_node_that_lags_behind_does_not_make_a_transaction_undecided() -> None:
    """The first node says its height and dies; the next one has not come to the block that decides."""

    @dataclass
    class FailingOver(ScriptedNode):
        told: list[int] = field(default_factory=lambda: [40])

        async def status(self) -> Any:
            return SimpleNamespace(height=self.told.pop() if self.told else self.height)

    assert send(FailingOver([ACCEPTED], included_at=30), valid_until=30).height == 30


def test_a_transaction_that_a_node_knows_and_another_cannot_show_is_not_undecided() -> None:
    node = ScriptedNode([ACCEPTED], included_at=31, proofs=[None, None], height=32)
    assert send(node, valid_until=30).height == 31


# Signing ----------------------------------------------------------------------------------------


def signed(message: Message, node: LocalNode, validity: int = VALIDITY_BLOCKS) -> Signed:
    return asyncio.run(node.client(LAB.worker).sign(message, validity))


def test_a_message_is_signed_for_this_chain_and_a_bounded_number_of_blocks() -> None:
    node = LocalNode(consortium.joined())
    one = signed(rounds.OpenRound(TASK), node)
    parsed = envelope.parse(one.raw)
    assert (parsed.ledger, parsed.tag) == (node.chain.ledger, rounds.OpenRound.tag)
    assert one.valid_until == parsed.valid_until == node.chain.height + VALIDITY_BLOCKS
    assert transition.message_of(RULES.newest, parsed) == rounds.OpenRound(TASK)


def test_no_validity_is_longer_than_the_ledger_accepts() -> None:
    node = LocalNode(consortium.joined())
    longest = signed(rounds.OpenRound(TASK), node, validity=10**9)
    assert longest.valid_until < node.chain.height + limits.TX_VALIDITY_BLOCKS
    (result,) = node.chain.block(longest.raw)
    assert result.code == 0


def test_two_signatures_over_one_message_are_two_transactions() -> None:
    node = LocalNode(consortium.joined())
    assert signed(rounds.OpenRound(TASK), node).raw != signed(rounds.OpenRound(TASK), node).raw


def test_a_client_without_a_key_only_reads() -> None:
    with pytest.raises(NoSigner):
        asyncio.run(LocalNode(consortium.joined()).client().submit(rounds.OpenRound(TASK)))


def test_a_message_out_of_its_bounds_is_refused_before_it_is_signed() -> None:
    with pytest.raises(codec.Malformed, match="task"):
        signed(rounds.OpenRound("Not A Slug"), LocalNode(consortium.joined()))


# Against the real rules -------------------------------------------------------------------------


def on_ledger(do: Callable[[LocalNode], Any]) -> tuple[LocalNode, Any]:
    node = LocalNode(consortium.round_open())
    return node, asyncio.run(do(node))


def test_submitting_signs_sends_and_reads_the_events_back() -> None:
    node, accepted = on_ledger(lambda node: node.client(HOSPITAL_A.worker).submit(consortium.reserve()))
    assert accepted.event(Reserved).organisation == HOSPITAL_A.name
    assert (accepted.height, len(node.sent)) == (node.chain.height, 1)


def test_what_builds_on_anothers_act_is_sent_once_the_node_has_come_as_far(monkeypatch: pytest.MonkeyPatch) -> None:
    node, told, known = LocalNode(consortium.round_open()), LocalReader.newest, 20

    async def catching_up(reader: LocalReader, at_least: int = 0) -> Point:
        assert not node.sent, "it was offered to a node that cannot know what it builds on"
        at_height(node.chain, at_least + 1)
        return await told(reader, at_least)

    monkeypatch.setattr(LocalReader, "newest", catching_up)
    assert asyncio.run(node.client(HOSPITAL_A.worker).submit(consortium.reserve(), at_least=known)).height > known


def test_sending_the_same_bytes_twice_gives_the_same_receipt_and_one_transaction() -> None:
    async def twice(node: LocalNode) -> tuple[AcceptedTx, AcceptedTx]:
        ledger = node.client(HOSPITAL_A.worker)
        one = await ledger.sign(consortium.reserve())
        return await ledger.send(one), await ledger.send(one)

    node, (first, second) = on_ledger(twice)
    assert first == second
    account = privacy_budget.DATASET_ACCOUNTS.at(node.chain.view, (HOSPITAL_A.name, DATASET))
    assert len(account.holds) == 1


def test_a_read_gives_the_typed_record_or_none() -> None:
    async def read(node: LocalNode) -> Any:
        ledger = node.client()
        return (
            await ledger.get(tasks.TASKS, TASK, at_least=1),
            await ledger.peek(tasks.TASKS, TASK),
            await ledger.get(tasks.TASKS, "no-such-task"),
            await ledger.peek(tasks.TASKS, "no-such-task"),
        )

    node, (proved, peeked, *absent) = on_ledger(read)
    assert proved == peeked == tasks.TASKS.at(node.chain.view, TASK)
    assert absent == [None, None]


def test_the_entries_of_a_map_come_in_order_and_over_all_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_SCAN_PAGE", 2)
    node, found = on_ledger(lambda node: node.client().scan(identity.ORGANISATIONS))
    assert [name for name, _ in found] == sorted((member.name,) for member in consortium.MEMBERS)
    assert all(record == identity.ORGANISATIONS.at(node.chain.view, name) for name, record in found)
    _, mine = on_ledger(lambda node: node.client().scan(identity.DATASETS, "hospital-b/"))
    assert [name for name, _ in mine] == [("hospital-b", DATASET)]


def test_events_come_with_every_height_and_only_from_accepted_transactions() -> None:
    async def follow(node: LocalNode) -> list[tuple[int, tuple[Any, ...]]]:
        start = node.chain.height
        worker = node.client(HOSPITAL_A.worker)
        await worker.submit(consortium.reserve())
        node.let_pass(300)
        node.chain.block((HOSPITAL_A, consortium.reserve()))  # Refused in its block.
        await worker.submit(Withdraw(TASK, 1))
        node.let_pass(300)  # The block that proves what the one before it did.
        found = []
        async for height, events in node.client().events(start):
            found.append((height - start, tuple(type(event).__name__ for event in events)))
            if height == node.chain.height - 1:
                break
        return found

    _, found = on_ledger(follow)
    assert found == [(1, ("BudgetHeld", "Reserved")), (2, ()), (3, ()), (4, ("Withdrawn",))]


def test_events_go_on_over_nodes_that_are_down_or_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    node = LocalNode(consortium.round_open())
    start, truth = node.chain.height, LocalReader.results
    behind = HeightUnavailable(-32603, "Internal error", "could not find results for height")
    troubles: list[Exception] = [DOWN, behind, DOWN]

    async def troubled(self: LocalReader, height: int) -> Any:
        if troubles:
            raise troubles.pop()
        return await truth(self, height)

    async def first() -> tuple[int, Any]:
        node.chain.block((HOSPITAL_A, consortium.reserve()))
        node.let_pass(300)
        return await anext(node.client().events(start))

    monkeypatch.setattr(LocalReader, "results", troubled)
    assert asyncio.run(first())[0] == start + 1
    assert troubles == []
    troubles.append(HeightPruned(-32603, "Internal error", "lowest height is 9"))
    with pytest.raises(HeightPruned):
        asyncio.run(first())


# A node that lies without proof ------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [b"identity/organisations/\xc3\xa4", b"identity/organisations/lab/more", b"identity/organisations/" + b"/" * 9],
    ids=["not ASCII", "one part too many", "nothing but slashes"],
)
def test_an_invented_key_is_the_nodes_fault_and_no_bug_of_ours(path: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    node = LocalNode(consortium.joined())
    body = node.chain.view.get(identity.ORGANISATIONS.path("lab"))

    async def inventing(_self: LocalReader, _prefix: bytes, after: bytes | None, _limit: int) -> Any:
        return [] if after else [(path, body)]

    monkeypatch.setattr(LocalReader, "scan", inventing)
    with pytest.raises(AnswerMalformed, match="no entry of identity/organisations"):
        asyncio.run(node.client().scan(identity.ORGANISATIONS))


def test_a_scan_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    node = LocalNode(consortium.joined())
    body = node.chain.view.get(identity.ORGANISATIONS.path("lab"))
    monkeypatch.setattr(client_module, "SCANNED_MAX", 50)

    async def endless(_self: LocalReader, prefix: bytes, after: bytes | None, _limit: int) -> Any:
        start = int(after.rpartition(b"/")[2]) + 1 if after else 0
        return [(b"%s%09d" % (prefix, number), body) for number in range(start, start + 20)]

    monkeypatch.setattr(LocalReader, "scan", endless)
    with pytest.raises(AnswerMalformed, match="after 50 entries"):
        asyncio.run(node.client().scan(identity.ORGANISATIONS))


def test_a_peek_at_bytes_that_are_no_record_is_the_nodes_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    async def junk(_self: LocalReader, _path: bytes) -> bytes:
        return b"\xff"

    monkeypatch.setattr(LocalReader, "unverified", junk)
    with pytest.raises(AnswerMalformed, match="does not decode"):
        asyncio.run(LocalNode(consortium.joined()).client().peek(tasks.TASKS, TASK))
