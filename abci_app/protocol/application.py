"""What CometBFT may ask an application: ABCI 2.0 as one method per call, each with its answer's type.

``Application`` is the contract that ``dispatch`` drives. ``BaseApplication`` answers the calls for which the
specification has a right answer for an application that does not care. Who calls what, and in which order, is
CometBFT's ``spec/abci/abci++_comet_expected_behavior.md``. Nothing here keeps state.

Handlers are plain functions and run one at a time: none is ever interrupted by another.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

from . import messages as m
from .framing import field_size


class Halt(Exception):
    """An invariant is broken, and going on could fork the chain or damage the state: the node must stop.

    Any handler may raise it. ``dispatch`` raises it when a consensus call fails in any other way.
    """

    kind: ClassVar[str] = "bug"


class Application(Protocol):
    """One method per ABCI call."""

    def info(self, request: m.RequestInfo) -> m.ResponseInfo:
        """Last committed height and hash: decides what CometBFT replays after it connected.

        Any client of the node's RPC can ask it too, also between FinalizeBlock and Commit: it changes nothing.
        """

    def init_chain(self, request: m.RequestInitChain) -> m.ResponseInitChain:
        """Genesis. Called again after a restart if nothing was committed yet."""

    def query(self, request: m.RequestQuery) -> m.ResponseQuery:
        """Read committed state, also while a block is being executed."""

    def check_tx(self, request: m.RequestCheckTx) -> m.ResponseCheckTx:
        """Whether a transaction may enter, or after a block stay in, the mempool."""

    def prepare_proposal(self, request: m.RequestPrepareProposal) -> m.ResponsePrepareProposal:
        """Choose and order a block's transactions, within ``max_tx_bytes``."""

    def process_proposal(self, request: m.RequestProcessProposal) -> m.ResponseProcessProposal:
        """Accept or reject a proposed block: a pure function of it and the committed state."""

    def extend_vote(self, request: m.RequestExtendVote) -> m.ResponseExtendVote:
        """Data to send along with this validator's precommit."""

    def verify_vote_extension(self, request: m.RequestVerifyVoteExtension) -> m.ResponseVerifyVoteExtension:
        """Whether another validator's extension is acceptable."""

    def finalize_block(self, request: m.RequestFinalizeBlock) -> m.ResponseFinalizeBlock:
        """Execute a decided block and answer the new app hash, without persisting anything.

        After a reconnect the same height comes again: the block staged before is then forgotten.
        """

    def commit(self, request: m.RequestCommit) -> m.ResponseCommit:
        """Persist the block just finalized. Durable when this returns."""

    def list_snapshots(self, request: m.RequestListSnapshots) -> m.ResponseListSnapshots:
        """Snapshots that peers may fetch."""

    def offer_snapshot(self, request: m.RequestOfferSnapshot) -> m.ResponseOfferSnapshot:
        """Whether to restore from a peer's snapshot."""

    def load_snapshot_chunk(self, request: m.RequestLoadSnapshotChunk) -> m.ResponseLoadSnapshotChunk:
        """One chunk of an own snapshot; empty when it is gone."""

    def apply_snapshot_chunk(self, request: m.RequestApplySnapshotChunk) -> m.ResponseApplySnapshotChunk:
        """Restore one chunk of an accepted snapshot."""

    def insert_tx(self, request: m.RequestInsertTx) -> m.ResponseInsertTx:
        """Take a transaction into a mempool kept by the application (CometBFT 0.39.2 and later)."""

    def reap_txs(self, request: m.RequestReapTxs) -> m.ResponseReapTxs:
        """Transactions of that mempool to gossip."""


class BaseApplication(ABC):
    """No snapshots, no vote extensions, no mempool of its own; proposes what it is given, accepts all."""

    @abstractmethod
    def info(self, request: m.RequestInfo) -> m.ResponseInfo:
        """Last committed height and hash."""

    @abstractmethod
    def init_chain(self, request: m.RequestInitChain) -> m.ResponseInitChain:
        """Genesis."""

    @abstractmethod
    def query(self, request: m.RequestQuery) -> m.ResponseQuery:
        """Read committed state."""

    @abstractmethod
    def check_tx(self, request: m.RequestCheckTx) -> m.ResponseCheckTx:
        """Whether a transaction may enter or stay in the mempool."""

    @abstractmethod
    def finalize_block(self, request: m.RequestFinalizeBlock) -> m.ResponseFinalizeBlock:
        """Execute a decided block."""

    @abstractmethod
    def commit(self, request: m.RequestCommit) -> m.ResponseCommit:
        """Persist the block just finalized."""

    def prepare_proposal(self, request: m.RequestPrepareProposal) -> m.ResponsePrepareProposal:
        """The transactions as given, as many from the front as fit."""
        answer, room = m.ResponsePrepareProposal(), request.max_tx_bytes
        for tx in request.txs:
            room -= field_size(len(tx))
            if room < 0:
                break
            answer.txs.append(tx)
        return answer

    def process_proposal(self, _request: m.RequestProcessProposal) -> m.ResponseProcessProposal:
        """Accept."""
        return m.ResponseProcessProposal(status=m.ResponseProcessProposal.ACCEPT)

    def extend_vote(self, _request: m.RequestExtendVote) -> m.ResponseExtendVote:
        """No extension."""
        return m.ResponseExtendVote()

    def verify_vote_extension(self, request: m.RequestVerifyVoteExtension) -> m.ResponseVerifyVoteExtension:
        """Accept no extension but the empty one."""
        refused = bool(request.vote_extension)
        answer = m.ResponseVerifyVoteExtension
        return answer(status=answer.REJECT if refused else answer.ACCEPT)

    def list_snapshots(self, _request: m.RequestListSnapshots) -> m.ResponseListSnapshots:
        """None."""
        return m.ResponseListSnapshots()

    def offer_snapshot(self, _request: m.RequestOfferSnapshot) -> m.ResponseOfferSnapshot:
        """Restore from none."""
        return m.ResponseOfferSnapshot(result=m.ResponseOfferSnapshot.ABORT)

    def load_snapshot_chunk(self, _request: m.RequestLoadSnapshotChunk) -> m.ResponseLoadSnapshotChunk:
        """Not here."""
        return m.ResponseLoadSnapshotChunk()

    def apply_snapshot_chunk(self, _request: m.RequestApplySnapshotChunk) -> m.ResponseApplySnapshotChunk:
        """Nothing was accepted, so nothing can be applied."""
        return m.ResponseApplySnapshotChunk(result=m.ResponseApplySnapshotChunk.ABORT)

    def insert_tx(self, _request: m.RequestInsertTx) -> m.ResponseInsertTx:
        """Refuse: CometBFT keeps the mempool."""
        return m.ResponseInsertTx(code=1)

    def reap_txs(self, _request: m.RequestReapTxs) -> m.ResponseReapTxs:
        """Nothing to gossip."""
        return m.ResponseReapTxs()
