"""The ledger as an ABCI application: one method per call, and no rule of its own.

A block is decided by ``contracts.transition``, staged in memory with the root it leads to, and made durable
in Commit together with that root. Between the two nothing is on disk, so a crash at any point leaves the
last committed version, which is what ``info`` then tells CometBFT to replay from. CheckTx reads committed
state and never touches the block being executed.

Which rules decide is given: a ``Rulebook``, of which the committed state names the version. The block before an upgrade
leads the state over and announces the new version to CometBFT, whose headers name it from the next height on. A program
that does not know the version stops there, before it has committed that block.
"""

import base64
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from contracts import transition, upgrades, validators
from contracts.kernel import View, crypto
from contracts.kernel.state import ReadFailed
from contracts.kernel.state_tree import StateTree, StateVersion
from contracts.registry import RULES
from contracts.rulebook import Rulebook, Rules, UnknownRules
from contracts.transition import INTERNAL_ERROR, BlockContext, Result, Turn

from . import queries
from .pool import proposals
from .pool.door import Door
from .pool.shares import CODESPACE as NODE_CODESPACE
from .pool.shares import POOL_SHARE_FULL, ShareFull
from .protocol import messages as m
from .protocol.application import BaseApplication, Halt
from .protocol.blocks import PublicKey
from .store import recovery
from .store.history import record_of
from .store.interface import Snapshot, Store, Version

_log = logging.getLogger(__name__)
CODESPACE = "fedledger"
_GENESIS_BYTES_MAX = 16 * 1024 * 1024


@dataclass(frozen=True)
class _Pending:
    """A block that was decided and is not yet durable."""

    block: BlockContext
    writes: dict[bytes, bytes | None]
    version: StateVersion
    rules: Rules
    """That decide the block after."""
    hashes: tuple[bytes, ...]
    """Of its transactions."""


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
    """The replicated ledger over one store, by the rules it is given.

    Raises Halt when what is stored is not what was committed, or when the chain's rules are not in the book.
    """

    def __init__(self, store: Store, book: Rulebook = RULES) -> None:
        self._store, self._book = store, book
        self._door = Door()
        self._genesis: dict[bytes, bytes | None] = {}
        self._pending: _Pending | None = None
        with store.snapshot() as snapshot:
            self._last, self._tree = recovery.last_block(snapshot), recovery.rebuilt_tree(book, snapshot)
            self._rules = recovery.rules_to_go_on(book, snapshot)
            if self._last is not None:
                self._warn(snapshot)

    def info(self, _request: m.RequestInfo) -> m.ResponseInfo:
        """The last committed version. Changes nothing: any RPC client can cause it, also in the middle of a block."""
        return m.ResponseInfo(
            data="fedledger",
            version=f"rules/{self._book.newest.version}",
            app_version=self._rules.version,
            last_block_height=self._store.height,
            last_block_app_hash=self._store.app_hash,
        )

    def init_chain(self, request: m.RequestInitChain) -> m.ResponseInitChain:
        """Build the genesis state in memory; the first Commit makes it durable."""
        if request.initial_height != 1:
            raise Halt(f"the chain must begin at height 1, not {request.initial_height}")
        stated = _genesis_of(request.app_state_bytes)
        try:
            self._rules = transition.genesis_rules(self._book, stated)
        except UnknownRules as unknown:
            raise recovery.NewerRules("the genesis", unknown) from unknown
        outcome = transition.genesis(self._rules, stated, request.chain_id)
        self._genesis = {write.path: write.body for write in outcome.writes}
        _require_validators(self._genesis, request.validators)
        entries = ((path, body) for path, body in self._genesis.items() if body is not None)
        self._tree = StateTree(self._rules.stores, 0, entries)
        self._last, self._pending = BlockContext(request.chain_id, 0, _milliseconds(request.time)), None
        response = m.ResponseInitChain(app_hash=self._tree.root)
        response.consensus_params.version.app = self._rules.version  # What headers name; Info would be the default.
        return response

    def check_tx(self, request: m.RequestCheckTx) -> m.ResponseCheckTx:
        """Try a transaction on committed state. A recheck trusts the signature that was verified on entry."""
        if self._last is None:
            return m.ResponseCheckTx(code=INTERNAL_ERROR, codespace=CODESPACE, log="the node is starting")
        following = BlockContext(self._last.chain_id, self._store.height + 1, self._last.time_ms)
        judge = self._door.admit if request.type == m.CheckTxType.NEW else self._door.recheck
        with self._reading() as view:
            result = judge(self._rules, view, request.tx, following)
        if isinstance(result, ShareFull):
            return m.ResponseCheckTx(code=POOL_SHARE_FULL, data=result.data, log=result.log, codespace=NODE_CODESPACE)
        _alarm(result)
        return m.ResponseCheckTx(code=result.code, data=result.data, log=result.log, codespace=CODESPACE)

    def prepare_proposal(self, request: m.RequestPrepareProposal) -> m.ResponsePrepareProposal:
        """By lane, within size and quota."""
        block, rules = self._block(request.height, request.time), self._rules
        waiting = map(self._door.trust, request.txs)
        with self._reading() as view:
            is_due = partial(self._door.is_due, rules, view, block)
            txs = proposals.choose(rules, view, block.height, waiting, request.max_tx_bytes, is_due)
        return m.ResponsePrepareProposal(txs=txs)

    def process_proposal(self, request: m.RequestProcessProposal) -> m.ResponseProcessProposal:
        """Cheap pure checks only: rejecting is a matter of liveness."""
        answer = m.ResponseProcessProposal
        with self._reading() as view:
            fault = proposals.fault(self._rules, view, request.height, map(self._door.read, request.txs))
        if fault is None:
            return answer(status=answer.ACCEPT)
        _log.warning("rejecting the proposal at height %d: %s", request.height, fault)
        return answer(status=answer.REJECT)

    def finalize_block(self, request: m.RequestFinalizeBlock) -> m.ResponseFinalizeBlock:
        """Decide every transaction and stage the state they lead to."""
        if request.height != self._store.height + 1:
            raise Halt(f"block {request.height} does not follow the committed height {self._store.height}")
        block = self._block(request.height, request.time)
        with self._reading() as base:
            results, writes = transition.apply_block(self._rules, base, map(self._door.read, request.txs), block)
            turn = self._turn(base, writes, block)
            writes.update(turn.writes)
            changes = validators.updates(base, writes)
        version = self._tree.stage(writes, turn.rules.stores)
        hashes = tuple(map(crypto.sha256, request.txs))
        self._pending = _Pending(block, {**self._genesis, **writes}, version, turn.rules, hashes)
        response = m.ResponseFinalizeBlock(app_hash=version.root)
        if turn.rules is not self._rules:
            response.consensus_param_updates.version.app = turn.rules.version
        for public, power in changes:
            response.validator_updates.add(pub_key=PublicKey(ed25519=public), power=power)
        for result in results:
            _alarm(result)
            _add_result(response, result)
        return response

    def commit(self, _request: m.RequestCommit) -> m.ResponseCommit:
        """Make the staged block durable: state, height, app hash and the contracts' hashes in one transaction."""
        pending = self._pending
        if pending is None:
            raise Halt("Commit without a finalized block")
        version = Version(pending.block.height, pending.version.root, pending.rules.version)
        changed = version.app_hash != self._store.app_hash
        self._store.commit(
            version.height,
            version.app_hash,
            pending.writes,
            app_version=version.app_version,
            notes=recovery.notes_of(pending.block, version),
            record=record_of(version.height, version.app_version, pending.version.store_roots()) if changed else None,
        )
        self._tree.adopt(pending.version)
        self._door.committed(pending.hashes, version.height)
        self._last, self._pending, self._genesis, self._rules = pending.block, None, {}, pending.rules
        if upgrades.IN_FORCE.path() in pending.writes:
            with self._store.snapshot() as snapshot:
                self._warn(snapshot)
        return m.ResponseCommit()

    def query(self, request: m.RequestQuery) -> m.ResponseQuery:
        """Read committed state."""
        return queries.answer(request, self._book, self._store, self._tree)

    def _turn(self, base: _Committed, writes: dict[bytes, bytes | None], block: BlockContext) -> Turn:
        """The rules after a block, and what leads over to them. Raises NewerRules: nothing of the block is kept."""
        try:
            turn = transition.turn(self._book, self._rules, base, writes, block)
        except UnknownRules as unknown:
            raise recovery.NewerRules(f"block {block.height} cannot be decided here", unknown) from unknown
        if turn.failure:
            _log.error("the upgrade after block %d is called off, the rules stay: %s", block.height, turn.failure)
        return turn

    def _warn(self, state: View) -> None:
        """Tell the operator in time of an upgrade that this program cannot take part in."""
        coming = upgrades.IN_FORCE.at(state).next
        if coming is not None and coming.version not in self._book.known:
            _log.warning(
                "rules of version %d are to decide from block %d on, and are not known here: install a fedledger that "
                "knows them before block %d",
                coming.version, coming.height, coming.height - 1,
            )  # fmt: skip

    @contextmanager
    def _reading(self) -> Iterator[_Committed]:
        """Committed state for one call: one snapshot, however much is read."""
        with self._store.snapshot() as snapshot:
            yield _Committed(snapshot, self._genesis)

    def _block(self, height: int, time: Any) -> BlockContext:
        if self._last is None:
            raise Halt("a block before the genesis")
        return BlockContext(self._last.chain_id, height, _milliseconds(time))


def _genesis_of(app_state: bytes) -> bytes:
    """The canonical genesis in CometBFT's JSON app state: ``{"fedledger": "<base64>"}``."""
    if len(app_state) > _GENESIS_BYTES_MAX:
        raise Halt(f"the genesis app_state has {len(app_state)} bytes, at most {_GENESIS_BYTES_MAX} are read")
    try:
        return base64.b64decode(json.loads(app_state)["fedledger"], validate=True)
    except (ValueError, TypeError, KeyError) as error:
        raise Halt('the genesis app_state must be {"fedledger": "<base64 of the canonical genesis>"}') from error


def _require_validators(genesis: View, stated: Iterable[m.ValidatorUpdate]) -> None:
    """Hold CometBFT's first validators to the ledger's: changes are told as a difference. Raises Halt."""
    ours = {one.public: one.power for one in validators.SET.at(genesis).validators}
    theirs = {bytes(one.pub_key.ed25519): one.power for one in stated}
    for public in sorted({**ours, **theirs}):
        here, there = ours.get(public, 0), theirs.get(public, 0)
        if here != there:
            raise Halt(
                f"the genesis gives the validator {public.hex()} the power {there} in `validators` and {here} in the "
                "ledger's app_state: make both from one list"
            )


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


def _milliseconds(time: Any) -> int:
    """A protobuf Timestamp as milliseconds since the epoch, floored."""
    return int(time.seconds) * 1000 + int(time.nanos) // 1_000_000
