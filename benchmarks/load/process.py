"""One node's application in this process, without sockets and without CometBFT: for processor time by stage.

The requests are the bytes that CometBFT would send and the answers are serialised, so all that the node's thread does
for a call is measured but reading and writing sockets.
"""

import base64
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from abci_app.app import LedgerApplication
from abci_app.protocol import blocks as b
from abci_app.protocol import messages as m
from abci_app.protocol.dispatch import Dispatcher
from abci_app.store.lmdb_store import LmdbStore
from benchmarks.load.steps import Step
from contracts.kernel import limits
from devnet import foundation
from devnet.layout import Layout
from devnet.manifest import Manifest

_BLOCK_BYTES: Final = 4 << 20
_BLOCK_SECONDS: Final = 0.3
_GENESIS_SECONDS: Final = 1_800_000_000


class UnexpectedResult(Exception):
    """A transaction of the workload was refused: what is measured is not what was meant."""


@dataclass
class Spent:
    """Processor and wall time of one stage, in seconds, and over how many transactions."""

    cpu: float = 0.0
    wall: float = 0.0
    transactions: int = 0


@dataclass
class Node:
    """The application over a store on disk, and the clock of its chain."""

    application: LedgerApplication
    store: LmdbStore
    dispatcher: Dispatcher
    chain_id: str
    height: int = 0
    spent: dict[str, Spent] = field(default_factory=lambda: defaultdict(Spent))
    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Wall time of each call, in seconds, by stage."""

    @classmethod
    @contextmanager
    def of(cls, folder: Path, described: Manifest) -> Iterator[Self]:
        """A new chain with the genesis of a devnet, which is prepared in the folder."""
        layout = Layout(folder / "net")
        foundation.prepare(layout, described)
        chain_id, _ = foundation.genesis_facts(layout)
        store = LmdbStore.open(folder / "ledger")
        try:
            application = LedgerApplication(store)
            node = cls(application, store, Dispatcher(application), chain_id)
            node.begin(layout.genesis)
            yield node
        finally:
            store.close()

    @classmethod
    @contextmanager
    def reopened(cls, folder: Path) -> Iterator[Self]:
        """The same node after a restart."""
        chain_id, _ = foundation.genesis_facts(Layout(folder / "net"))
        store = LmdbStore.open(folder / "ledger")
        try:
            application = LedgerApplication(store)
            yield cls(application, store, Dispatcher(application), chain_id, store.height)
        finally:
            store.close()

    def begin(self, genesis: Path) -> None:
        """InitChain, as CometBFT does it from its genesis document."""
        document = json.loads(genesis.read_bytes())
        validators = [
            m.ValidatorUpdate(
                pub_key=b.PublicKey(ed25519=base64.b64decode(one["pub_key"]["value"])), power=int(one["power"])
            )
            for one in document["validators"]
        ]
        request = m.RequestInitChain(
            chain_id=self.chain_id,
            initial_height=1,
            validators=validators,
            app_state_bytes=json.dumps(document["app_state"]).encode("ascii"),
        )
        request.time.seconds = _GENESIS_SECONDS
        self.call("init_chain", request)

    @property
    def valid_until(self) -> int:
        """The furthest height at which a transaction signed now may be valid."""
        return self.height + limits.TX_VALIDITY_BLOCKS

    def sign(self, steps: Iterable[Step]) -> list[bytes]:
        """The transactions of some steps."""
        return [step.transaction(self.valid_until) for step in steps]

    def enter(self, txs: Iterable[bytes]) -> None:
        """Offer transactions to the mempool. Raises UnexpectedResult."""
        for tx in txs:
            self._accepted(self.call("check_tx", m.RequestCheckTx(tx=tx, type=m.CheckTxType.NEW), "CheckTx"))

    def recheck(self, txs: Iterable[bytes]) -> None:
        """Ask again for transactions that wait in the mempool after a block. Raises UnexpectedResult."""
        for tx in txs:
            request = m.RequestCheckTx(tx=tx, type=m.CheckTxType.RECHECK)
            self._accepted(self.call("check_tx", request, "recheck"))

    def block(self, txs: Sequence[bytes], *, proposed: bool = True) -> None:
        """One block of these transactions: PrepareProposal and ProcessProposal unless told not to, then the rest.

        Raises UnexpectedResult when one of them is left out or refused.
        """
        self.height += 1
        count = len(txs)
        if proposed:
            request = m.RequestPrepareProposal(max_tx_bytes=_BLOCK_BYTES, txs=txs, height=self.height)
            self._clock(request.time)
            chosen = self.call("prepare_proposal", request, "PrepareProposal", count)
            if len(chosen.txs) != count:
                raise UnexpectedResult(f"{count} transactions offered, {len(chosen.txs)} proposed")
            txs = list(chosen.txs)
            check = m.RequestProcessProposal(txs=txs, height=self.height, hash=bytes(32))
            self._clock(check.time)
            if (
                self.call("process_proposal", check, "ProcessProposal", count).status
                != m.ResponseProcessProposal.ACCEPT
            ):
                raise UnexpectedResult("the proposal was rejected")
        decided = m.RequestFinalizeBlock(txs=txs, height=self.height, hash=bytes(32))
        self._clock(decided.time)
        answer = self.call("finalize_block", decided, "FinalizeBlock", count)
        if len(answer.tx_results) != count:
            raise UnexpectedResult(f"{len(answer.tx_results)} results for {count} transactions")
        for result in answer.tx_results:
            self._accepted(result)
        self.call("commit", m.RequestCommit(), "Commit", count)

    def decide(self, steps: Iterable[Step]) -> None:
        """Put steps into blocks, without proposing or measuring: for the set-up."""
        txs = self.sign(steps)
        for start in range(0, len(txs), 1_000):
            self.block(txs[start : start + 1_000], proposed=False)
        self.spent.clear()

    def query(self, contract: str, key: bytes) -> m.ResponseQuery:
        """A value with its proof."""
        request = m.RequestQuery(path=f"/store/{contract}/key", data=key, prove=True)
        answer: m.ResponseQuery = self.call("query", request, "query with proof")
        return answer

    def call(self, method: str, request: Any, stage: str = "", transactions: int = 1) -> Any:
        """One call from its bytes to the bytes of its answer, its time put down to a stage."""
        envelope = m.Request()
        getattr(envelope, method).CopyFrom(request)
        raw = envelope.SerializeToString()
        wall, cpu = time.perf_counter(), time.process_time()
        framed = self.dispatcher.answer(raw)
        spent = self.spent[stage or method]
        spent.cpu += time.process_time() - cpu
        self.times[stage or method].append(time.perf_counter() - wall)
        spent.wall += self.times[stage or method][-1]
        spent.transactions += transactions
        return getattr(m.Response.FromString(_unframed(framed)), method)

    def _clock(self, stamp: Any) -> None:
        milliseconds = round(_BLOCK_SECONDS * 1000) * self.height
        stamp.seconds, stamp.nanos = _GENESIS_SECONDS + milliseconds // 1000, milliseconds % 1000 * 1_000_000

    def _accepted(self, result: Any) -> None:
        if result.code != 0:
            raise UnexpectedResult(f"code {result.code}: {result.log}")


def _unframed(framed: bytes) -> bytes:
    """A framed message without its length, a varint."""
    at = 0
    while framed[at] & 0x80:
        at += 1
    return framed[at + 1 :]
