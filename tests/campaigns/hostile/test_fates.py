"""The orders in which an honest transaction is overtaken, made in one process: its sender learns what became of it.

The node is the real application behind CometBFT's pool as ``tests.abci_app.pool.test_door`` keeps it. Which of the
waiting transactions the next blocks hold is up to the test.
"""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from abci_app.protocol import messages as m
from campaigns.harness import consortium
from campaigns.harness.chain import BLOCK_MS
from campaigns.harness.consortium import HOSPITAL_A, HOSPITAL_B, publish
from campaigns.hostile.fates import End, Fate, Senders
from campaigns.hostile.follower import Follower
from campaigns.hostile.siege import Tally
from client_sdk.light.headers import TxResult
from client_sdk.rpc import ApplicationInfo, Block, Checked, TxInCache
from contracts import identity
from contracts.contributions import AlreadyPublished
from contracts.identity import ReportStolenKey
from contracts.kernel import Place, crypto
from contracts.transition import Expired
from tests.abci_app.pool.test_door import Comet

NANOSECONDS = 1_000_000  # In a millisecond.


class Node(Comet):
    """The RPC of a node. Once something was offered, a look for a block makes one: of ``coming``, then empty ones."""

    def __init__(self, chain: Any) -> None:
        self.blocks: dict[int, tuple[Any, tuple[TxResult, ...]]] = {}
        super().__init__(chain)
        self.coming: list[tuple[bytes, ...]] = []
        self.first: tuple[bytes, ...] = ()
        """A block that is made when the first transaction is offered, before it is judged."""
        self.offered = 0
        self.forgetful = False

    def decide(self, height: int, time_ms: int, txs: tuple[bytes, ...]) -> None:
        header = SimpleNamespace(app_hash=self.application._tree.root, time_ns=time_ms * NANOSECONDS)
        super().decide(height, time_ms, txs)
        results = tuple(TxResult(one.code, one.data) for one in self.results)
        self.blocks[height] = Block(header, tuple(txs)), results  # type: ignore[arg-type]

    def make(self, txs: tuple[bytes, ...]) -> None:
        self.decide(self.height + 1, self.chain.time_ms + BLOCK_MS * (self.height + 1), txs)

    async def broadcast_tx_sync(self, raw: bytes) -> Checked:
        self.offered += 1
        if self.first:
            self.make(self.first)
            self.first = ()
        if raw in self.pool:
            raise TxInCache(-32603, "Internal error", "tx already exists in cache")
        answer = self.ask("check_tx", m.RequestCheckTx(tx=raw))
        if answer.code == 0 and not self.forgetful:
            self.pool[raw] = None
        return Checked(answer.code, answer.data, answer.log, crypto.sha256(raw))

    async def abci_info(self) -> ApplicationInfo:
        if self.offered:
            self.make(self.coming.pop(0) if self.coming else ())
        return ApplicationInfo("fedledger", "", 1, self.height, b"")

    async def block(self, height: int) -> Any:
        return self.blocks[height][0]

    async def block_results(self, height: int) -> tuple[TxResult, ...]:
        return self.blocks[height][1]


def sent(node: Node, *raws: bytes) -> tuple[dict[bytes, Fate], Tally]:
    """What became of transactions that were offered at once, and what was held against the node."""

    async def run() -> dict[bytes, Fate]:
        await senders.follower.follow()
        return await senders.send(raws)

    tally = Tally()
    follower = Follower(consortium.founded_by(), node, tally, poll_seconds=0.0)  # type: ignore[arg-type]
    senders = Senders(node, follower, tally)  # type: ignore[arg-type]
    return asyncio.run(run()), tally


def theft(node: Node) -> tuple[bytes, bytes]:
    """A publication, and the report that the key which signed it is stolen."""
    report = ReportStolenKey(HOSPITAL_A.worker.public, Place(node.chain.height, 0))
    return node.chain.seal(HOSPITAL_A, publish()), node.chain.seal(HOSPITAL_A, report)


def test_what_a_report_of_theft_overtakes_by_a_block_is_refused_for_the_revoked_key() -> None:
    """CheckTx accepts both; the report's block comes first, and the recheck drops the publication in silence."""
    node = Node(consortium.committed())
    publication, report = theft(node)
    node.coming = [(report,)]
    fates, tally = sent(node, publication, report)
    assert fates == {
        publication: Fate(End.REFUSED, identity.KeyIsRevoked.code),
        report: Fate(End.DECIDED, 0),
    }
    assert node.offered == 3, "both once, and the publication again"
    assert tally.faults == []


def test_what_comes_into_the_block_of_the_report_is_decided_there() -> None:
    node = Node(consortium.committed())
    publication, report = theft(node)
    node.coming = [(), (report, publication)]
    fates, tally = sent(node, publication, report)
    assert fates[publication] == Fate(End.DECIDED, identity.KeyIsRevoked.code)
    assert tally.faults == []


def test_what_no_block_holds_in_time_expires() -> None:
    node = Node(consortium.committed())
    raw = node.chain.seal(HOSPITAL_A, publish(), valid_until=node.height + 4)
    fates, tally = sent(node, raw)
    assert fates == {raw: Fate(End.EXPIRED, Expired.code)}
    assert tally.faults == []


def test_what_a_block_overtakes_before_it_is_offered_is_refused_as_the_rules_foresee() -> None:
    """The block comes between the sender's last look at the chain and CheckTx: a handler refuses, no recheck does."""
    node = Node(consortium.committed())
    first, late = (node.chain.seal(HOSPITAL_A, publish()) for _ in range(2))
    node.first = (first,)
    fates, tally = sent(node, late)
    assert fates == {late: Fate(End.REFUSED, AlreadyPublished.code)}
    assert tally.faults == []


# Planted --------------------------------------------------------------------------------------------------------


def test_a_refusal_that_the_rules_do_not_give_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(consortium.committed())
    honest = node.broadcast_tx_sync

    async def lying(raw: bytes) -> Checked:
        answer = await honest(raw)
        return Checked(identity.UnknownKey.code, answer.data, "UNKNOWN_KEY", answer.hash)

    monkeypatch.setattr(node, "broadcast_tx_sync", lying)
    _, tally = sent(node, node.chain.seal(HOSPITAL_B, publish()))
    assert ["refused with" in fault for fault in tally.faults] == [True]


def test_a_transaction_that_the_pool_loses_is_a_fault() -> None:
    node = Node(consortium.committed())
    node.forgetful = True
    raw = node.chain.seal(HOSPITAL_A, publish(), valid_until=node.height + 3)
    fates, tally = sent(node, raw)
    assert fates[raw].end is End.EXPIRED
    assert all("had lost" in fault for fault in tally.faults)
    assert tally.faults


def test_what_is_dropped_although_it_might_have_waited_is_a_fault() -> None:
    """Lost from the pool, and refused by its handler when it is offered again: no recheck would have done that."""
    node = Node(consortium.committed())
    node.forgetful = True
    raw, same = (node.chain.seal(HOSPITAL_A, publish()) for _ in range(2))
    node.coming = [(same,)]
    fates, tally = sent(node, raw)
    assert fates[raw].end is End.REFUSED
    assert ["might have waited" in fault for fault in tally.faults] == [True]
