"""The ledger as an ABCI application: one method per call, and no rule of its own.

A block is decided by ``contracts.transition``, staged in memory with the root it leads to, and made durable
in Commit together with that root. Between the two nothing is on disk, so a crash at any point leaves the
last committed version, which is what ``info`` then tells CometBFT to replay from. CheckTx reads committed
state and never touches the block being executed.
"""

import base64
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from contracts import transition
from contracts.kernel import View, crypto
from contracts.kernel.state import ReadFailed
from contracts.kernel.state_tree import StateTree, StateVersion
from contracts.transition import APP_VERSION, INTERNAL_ERROR, STORES, BlockContext, Result

from . import proposals, queries
from .application import BaseApplication, Halt
from .protocol import messages as m
from .signatures import VerifiedSignatures
from .store import EMPTY, Snapshot, Store, Version

_log = logging.getLogger(__name__)
CODESPACE = "fedledger"
_CHAIN, _TIME, _SEAL = b"chain-id", b"time-ms", b"seal"
_GENESIS_BYTES_MAX = 16 * 1024 * 1024
_RESTORE = "Restore this node's data folder from a peer; do not go on with it"


@dataclass(frozen=True)
class _Pending:
    """A block that was decided and is not yet durable."""

    block: BlockContext
    writes: dict[bytes, bytes | None]
    version: StateVersion


class _Committed:
    """Committed state as the rules see it; before the first block, the state of the genesis."""

    def __init__(self, source: Store | Snapshot, genesis: Mapping[bytes, bytes | None]) -> None:
        self._source, self._genesis = source, genesis

    def get(self, path: bytes) -> bytes | None:
        """The value at a path. Raises ReadFailed, which halts the node instead of becoming a result."""
        if path in self._genesis:
            return self._genesis[path]
        try:
            return self._source.get(path)
        except Exception as error:
            raise ReadFailed(f"reading {path!r}: {error}") from error

    def scan(self, prefix: bytes, after: bytes | None = None, limit: int = 100) -> Iterator[tuple[bytes, bytes]]:
        """Entries in order. Raises ReadFailed."""
        try:
            yield from self._source.scan(prefix, after, limit)
        except Exception as error:
            raise ReadFailed(f"scanning {prefix!r}: {error}") from error


class LedgerApplication(BaseApplication):
    """The replicated ledger over one store. Raises Halt when what is stored is not what was committed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._verify = VerifiedSignatures()
        self._genesis: dict[bytes, bytes | None] = {}
        self._pending: _Pending | None = None
        self._last = _last_block(store)
        self._tree = _rebuilt_tree(store)

    def info(self, _request: m.RequestInfo) -> m.ResponseInfo:
        """The last committed version. Changes nothing: any RPC client can cause it, also in the middle of a block."""
        return m.ResponseInfo(
            data="fedledger",
            version=f"app/{APP_VERSION}",
            app_version=APP_VERSION,
            last_block_height=self._store.height,
            last_block_app_hash=self._store.app_hash,
        )

    def init_chain(self, request: m.RequestInitChain) -> m.ResponseInitChain:
        """Build the genesis state in memory; the first Commit makes it durable."""
        if request.initial_height != 1:
            raise Halt(f"the chain must begin at height 1, not {request.initial_height}")
        outcome = transition.genesis(_genesis_of(request.app_state_bytes), request.chain_id)
        self._genesis = {write.path: write.body for write in outcome.writes}
        entries = ((path, body) for path, body in self._genesis.items() if body is not None)
        self._tree = StateTree(STORES, 0, entries)
        self._last, self._pending = BlockContext(request.chain_id, 0, _milliseconds(request.time)), None
        return m.ResponseInitChain(app_hash=self._tree.root)

    def check_tx(self, request: m.RequestCheckTx) -> m.ResponseCheckTx:
        """Try a transaction on committed state. A recheck trusts the signature that was verified on entry."""
        if self._last is None:
            return m.ResponseCheckTx(code=INTERNAL_ERROR, codespace=CODESPACE, log="the node is starting")
        verify = self._verify if request.type == m.CheckTxType.NEW else _already_verified
        following = BlockContext(self._last.chain_id, self._store.height + 1, self._last.time_ms)
        result = transition.apply_tx(self._view(), bytes(request.tx), following, verify)
        _alarm(result)
        return m.ResponseCheckTx(code=result.code, data=result.data, log=result.log, codespace=CODESPACE)

    def prepare_proposal(self, request: m.RequestPrepareProposal) -> m.ResponsePrepareProposal:
        """By lane, within size and quota."""
        block = self._block(request.height, request.time)
        return m.ResponsePrepareProposal(txs=proposals.choose(self._view(), block, request.txs, request.max_tx_bytes))

    def process_proposal(self, request: m.RequestProcessProposal) -> m.ResponseProcessProposal:
        """Cheap pure checks only: rejecting is a matter of liveness."""
        answer = m.ResponseProcessProposal
        fault = proposals.fault(self._view(), request.txs)
        if fault is None:
            return answer(status=answer.ACCEPT)
        _log.warning("rejecting the proposal at height %d: %s", request.height, fault)
        return answer(status=answer.REJECT)

    def finalize_block(self, request: m.RequestFinalizeBlock) -> m.ResponseFinalizeBlock:
        """Decide every transaction and stage the state they lead to."""
        if request.height != self._store.height + 1:
            raise Halt(f"block {request.height} does not follow the committed height {self._store.height}")
        block = self._block(request.height, request.time)
        with self._store.snapshot() as snapshot:
            base = _Committed(snapshot, self._genesis)
            results, writes = transition.apply_block(base, request.txs, block, self._verify)
        version = self._tree.stage(writes)
        self._pending = _Pending(block, {**self._genesis, **writes}, version)
        response = m.ResponseFinalizeBlock(app_hash=version.root)
        for result in results:
            _alarm(result)
            _add_result(response, result)
        return response

    def commit(self, _request: m.RequestCommit) -> m.ResponseCommit:
        """Make the staged block durable: state, height and app hash in one transaction."""
        pending = self._pending
        if pending is None:
            raise Halt("Commit without a finalized block")
        notes = {
            _CHAIN: pending.block.chain_id.encode("ascii"),
            _TIME: str(pending.block.time_ms).encode("ascii"),
        }
        notes[_SEAL] = _seal(pending.block.height, pending.version.root, notes)
        self._store.commit(
            pending.block.height, pending.version.root, pending.writes, app_version=APP_VERSION, notes=notes
        )
        self._tree.adopt(pending.version)
        self._last, self._pending, self._genesis = pending.block, None, {}
        return m.ResponseCommit()

    def query(self, request: m.RequestQuery) -> m.ResponseQuery:
        """Read committed state."""
        return queries.answer(request, self._store, self._tree)

    def _view(self) -> View:
        return _Committed(self._store, self._genesis)

    def _block(self, height: int, time: Any) -> BlockContext:
        if self._last is None:
            raise Halt("a block before the genesis")
        return BlockContext(self._last.chain_id, height, _milliseconds(time))


def _rebuilt_tree(store: Store) -> StateTree:
    """The tree over the last two stored versions, held to the stored app hash."""
    with store.snapshot() as snapshot:
        version = snapshot.version
        if version.height == 0:
            if version != EMPTY or any(snapshot.scan(b"", limit=1)):
                raise Halt(f"the store is damaged: it is at height 0 and not empty. {_RESTORE}")
            return StateTree(STORES)
        previous, undo = snapshot.previous, dict(snapshot.undo())
        entries = dict(snapshot.scan(b""))
    forward = {path: entries.get(path) for path in undo}
    for path, body in undo.items():
        if body is None:
            entries.pop(path, None)
        else:
            entries[path] = body
    tree = StateTree(STORES, version.height - 1, entries.items())
    if previous.height > 0:  # Before the first block there was no committed version.
        _require_root(tree, previous)
    tree.apply(forward)
    _require_root(tree, version)
    return tree


def _require_root(tree: StateTree, version: Version) -> None:
    if tree.root != version.app_hash:
        raise Halt(
            f"the store is damaged: its contents hash to {tree.root.hex()}, height {version.height} was committed as "
            f"{version.app_hash.hex()}. {_RESTORE}"
        )


def _last_block(store: Store) -> BlockContext | None:
    if store.height == 0:
        return None
    chain, time, seal = (store.note(name) for name in (_CHAIN, _TIME, _SEAL))
    if chain is None or time is None or seal is None:
        raise Halt("the store has no note of its chain: it was not written by this application")
    if seal != _seal(store.height, store.app_hash, {_CHAIN: chain, _TIME: time}):
        raise Halt(f"the store is damaged: its chain, height, time and app hash are not of one commit. {_RESTORE}")
    return BlockContext(chain.decode("ascii"), store.height, int(time))


def _seal(height: int, app_hash: bytes, notes: Mapping[bytes, bytes]) -> bytes:
    """What ties together the facts of a commit that no other hash covers: LMDB has no checksums."""
    return crypto.sha256(b"\0".join((notes[_CHAIN], notes[_TIME], str(height).encode("ascii"), app_hash)))


def _genesis_of(app_state: bytes) -> bytes:
    """The canonical genesis in CometBFT's JSON app state: ``{"fedledger": "<base64>"}``."""
    if len(app_state) > _GENESIS_BYTES_MAX:
        raise Halt(f"the genesis app_state has {len(app_state)} bytes, at most {_GENESIS_BYTES_MAX} are read")
    try:
        return base64.b64decode(json.loads(app_state)["fedledger"], validate=True)
    except (ValueError, TypeError, KeyError) as error:
        raise Halt('the genesis app_state must be {"fedledger": "<base64 of the canonical genesis>"}') from error


def _add_result(response: m.ResponseFinalizeBlock, result: Result) -> None:
    entry = response.tx_results.add(code=result.code, data=result.data, log=result.log, codespace=CODESPACE)
    for event in result.events:
        described = entry.events.add(type=event.tag)
        for name, value in event.attributes():
            described.attributes.add(key=name, value=value, index=True)


def _alarm(result: Result) -> None:
    """A handler that failed is our bug: no sender suffers for it, but somebody must see it."""
    if result.code == INTERNAL_ERROR:
        _log.error("a transaction met a bug in the rules and was refused with code 1: %s", result.log)


def _already_verified(_key: bytes, _statement: bytes, _signature: bytes) -> bool:
    return True


def _milliseconds(time: Any) -> int:
    """A protobuf Timestamp as milliseconds since the epoch, floored."""
    return int(time.seconds) * 1000 + int(time.nanos) // 1_000_000
