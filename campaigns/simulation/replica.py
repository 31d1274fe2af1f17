"""One node of the simulated cluster: CometBFT's side of it, and the real application on its disk.

CometBFT's side is what survives a crash there (which blocks it saved), its mempool, and the handshake that replays what
the application misses. The application is ``LedgerApplication`` behind the real ``Dispatcher``: every call is made of
the bytes that a socket would carry. Every call is recorded, for the grammar of ABCI to be held over it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from abci_app.app import LedgerApplication, _Committed
from abci_app.protocol import messages as m
from abci_app.protocol.dispatch import Dispatcher
from abci_app.protocol.framing import FrameReader, field_size
from abci_app.store.interface import Store
from contracts.kernel import View

from ..harness.abci_client import Call
from ..harness.grammar import CONNECTION_OF
from .agreement import Agreement, Block, Violation, timestamp
from .faults import CrashPoint, Disk, FaultyStore, Fuse
from .members import NODES

_ANSWER_BYTES_MAX = 2**26


@dataclass
class Replica:
    """A node, up or down. What it does raises Crash at the point its fuse is set to, and Violation when it errs."""

    number: int
    agreement: Agreement
    disk: Disk
    fuse: Fuse = field(default_factory=Fuse)
    saved: int = 0
    """Height of the newest block in CometBFT's store."""
    applied: int = 0
    """Height of the newest block that CometBFT knows to be applied."""
    mempool: dict[bytes, None] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    between: Callable[["Replica"], None] = lambda _: None
    """Called between FinalizeBlock and Commit, where every other connection may be used."""
    _store: FaultyStore | None = None
    _application: LedgerApplication | None = None
    _dispatcher: Dispatcher | None = None
    _connected: bool = False

    @property
    def up(self) -> bool:
        """Whether it takes part."""
        return self._connected

    @property
    def store(self) -> Store:
        """The application's store, for those who look behind it."""
        assert self._store is not None
        return self._store

    @property
    def view(self) -> View:
        """Committed state as the application sees it, the genesis before the first block included."""
        assert self._application is not None
        return _Committed(self.store, self._application._genesis)

    # --- a life ---

    def start(self) -> None:
        """Start what is not running, shake hands, replay, and catch up with what the others agreed on."""
        self.boot()
        self._handshake()
        while self.applied < self.agreement.height:
            self.apply(self.agreement.at(self.applied + 1))

    def boot(self) -> None:
        """Start what is not running, and connect. Nothing is asked yet."""
        if self._application is None:
            self._store = FaultyStore(self.disk.open(), self.fuse)
            self.fuse.reach(CrashPoint.STARTING)
            self._application = LedgerApplication(self._store)
            self._dispatcher = Dispatcher(self._application)
        self._connected = True
        self.calls.append(Call("query", "connected", None))

    def stop(self, *, application_lives: bool = False) -> None:
        """Die. The mempool is lost; with ``application_lives`` only CometBFT dies, and will find the same process."""
        if self._connected:
            self.calls.append(Call("query", "disconnected", None))
        self._connected = False
        self.mempool.clear()
        if not application_lives and self._store is not None:
            self._store.close()
            self._store = self._application = self._dispatcher = None

    def apply(self, block: Block) -> None:
        """Save a decided block, execute it, commit, and recheck the mempool."""
        self.saved = max(self.saved, block.height)
        self._execute(block)
        for tx in block.txs:
            self.mempool.pop(tx, None)
        for tx in tuple(self.mempool):
            self.fuse.reach(CrashPoint.RECHECKING)
            if self.ask("check_tx", m.RequestCheckTx(tx=tx, type=m.CheckTxType.RECHECK)).code:
                del self.mempool[tx]

    # --- what CometBFT asks ---

    def ask(self, method: str, request: Any) -> Any:
        """One call, through the bytes of a socket. Raises Violation when a handler failed behind its answer."""
        assert self._dispatcher is not None
        call = Call(CONNECTION_OF[method], method, request)
        self.calls.append(call)
        frames = FrameReader(_ANSWER_BYTES_MAX)
        frames.feed(self._dispatcher.answer(m.Request(**{method: request}).SerializeToString()))
        body = frames.next()
        assert body is not None
        call.answer = getattr(m.Response.FromString(body), method)
        failures = self._dispatcher.failures
        if failures:
            raise Violation("dispatch", f"replica {self.number}: a handler failed: {dict(failures)}")
        return call.answer

    def check_tx(self, tx: bytes) -> int:
        """Offer a transaction to the mempool; it stays when the code is 0."""
        code: int = self.ask("check_tx", m.RequestCheckTx(tx=tx)).code
        if code == 0:
            self.mempool[tx] = None
        return code

    def prepare(self, height: int, time_ms: int, room: int) -> tuple[bytes, ...]:
        """What the application makes of the mempool. Raises Violation when it breaks its bounds."""
        waiting = tuple(self.mempool)
        request = m.RequestPrepareProposal(
            max_tx_bytes=room,
            txs=waiting,
            height=height,
            time=timestamp(time_ms),
            proposer_address=address_of(self.number),
        )
        chosen = tuple(self.ask("prepare_proposal", request).txs)
        if sum(field_size(len(tx)) for tx in chosen) > room:
            raise Violation("requirement 2", f"a proposal of more than {room} bytes")
        if any(tx not in self.mempool for tx in chosen) or len(dict.fromkeys(chosen)) != len(chosen):
            raise Violation("prepare-proposal", "a proposal repeats or invents a transaction")
        return chosen

    def accepts(self, block: Block) -> bool:
        """ProcessProposal."""
        answer = self.ask("process_proposal", m.RequestProcessProposal(**fields_of(block)))
        if answer.status not in (m.ResponseProcessProposal.ACCEPT, m.ResponseProcessProposal.REJECT):
            raise Violation("process-proposal", f"the status {answer.status}")
        return bool(answer.status == m.ResponseProcessProposal.ACCEPT)

    def info(self) -> m.ResponseInfo:
        """Info, held to what consensus agreed on. Raises Violation."""
        info: m.ResponseInfo = self.ask("info", m.RequestInfo(version="0.39.4"))
        height = info.last_block_height
        if height > self.agreement.height:
            raise Violation("info", f"height {height} is ahead of the agreed {self.agreement.height}")
        expected = self.agreement.app_hashes[height] if height else b""
        if info.last_block_app_hash != expected:
            raise Violation("info", f"at height {height}: {info.last_block_app_hash.hex()}, not {expected.hex()}")
        return info

    # --- how ---

    def _handshake(self) -> None:
        """Info, then what the application misses. Source: CometBFT v0.39, ``consensus/replay.go``."""
        height = self.info().last_block_height
        self.fuse.reach(CrashPoint.HANDSHAKING)
        if height > self.saved:
            raise Violation("handshake", f"the application is ahead: {height} over {self.saved}")
        if height < self.applied:
            raise Violation("durability", f"a commit was answered at {self.applied}, and {height} is left of it")
        if height == 0:
            self.agreement.begun(self.ask("init_chain", self.agreement.init_chain()))
            self.fuse.reach(CrashPoint.INITIALISED)
        for missed in range(height + 1, self.saved + 1):
            self._execute(self.agreement.at(missed))
        self.applied = self.saved

    def _execute(self, block: Block) -> None:
        self.fuse.reach(CrashPoint.DECIDED)
        self.fuse.executing = True
        try:
            answer = self.ask("finalize_block", m.RequestFinalizeBlock(**fields_of(block)))
        finally:
            self.fuse.executing = False
        self.agreement.executed(block, answer)
        self.between(self)
        self.fuse.reach(CrashPoint.EXECUTED)
        self.ask("commit", m.RequestCommit())
        self.fuse.reach(CrashPoint.COMMITTED)
        self.applied = block.height


def address_of(number: int) -> bytes:
    """The address of a replica's validator; of one without, something like it."""
    return sha256(NODES[number].public).digest()[:20] if number < len(NODES) else bytes([number + 1]) * 20


def fields_of(block: Block) -> dict[str, Any]:
    """What ProcessProposal and FinalizeBlock tell of a block."""
    return {
        "txs": block.txs,
        "hash": block.hash,
        "height": block.height,
        "time": timestamp(block.time_ms),
        "proposer_address": address_of(block.proposer),
    }
