"""A mock CometBFT: drives a real application over its real socket, through every call a real node would make.

``Chain`` is what consensus agreed on: blocks, and the state each led to. ``Node`` is one CometBFT with its
four connections, its mempool and its own position on the chain, so that it can be stopped anywhere and
started again: the handshake then replays exactly what a real one would. Several nodes may share a chain; the
first to apply a block says what it leads to, the others must agree.

    node = Node(Chain(Genesis.of(validators=4)), address)
    await node.start()                          # Info, then InitChain or replay
    assert (await node.check_tx(tx)).code == 0
    block = await node.produce()                # PrepareProposal … Commit, recheck

What would stop a real node raises ``NodeHalted``. Nothing here ever waits for a clock: times are the test's.
Source: CometBFT v0.39, ``consensus/replay.go`` and ``state/{execution,validation}.go``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from nacl.signing import SigningKey

from abci_app.protocol import blocks as b
from abci_app.protocol import messages as m
from abci_app.protocol.framing import field_size
from campaigns.harness import cometbft_blocks as rules
from campaigns.harness.abci_client import AbciConnection, NodeHalted, Recorder
from campaigns.harness.cometbft_blocks import SECOND, Block, Validator, nanoseconds, timestamp

CONNECTIONS = ("query", "snapshot", "mempool", "consensus")  # In the order in which CometBFT opens them.
_BLOCK_OVERHEAD, _HEADER_MAX, _COMMIT_OVERHEAD, _COMMIT_SIGNATURE = 11, 626, 94, 144


@dataclass(frozen=True)
class Genesis:
    """What all nodes start from. ``keys`` are the validators' private keys, by address."""

    chain_id: str
    validators: tuple[Validator, ...]
    keys: dict[bytes, SigningKey]
    time: int = 1_700_000_000 * SECOND
    app_state: bytes = b"{}"
    initial_height: int = 1
    max_bytes: int = 4 * 2**20

    @classmethod
    def of(cls, validators: int = 1, chain_id: str = "test-chain", **others: Any) -> "Genesis":
        """Validators of equal power with keys that depend on their number only."""
        keys = [SigningKey(bytes([number + 1]) * 32) for number in range(validators)]
        members = [Validator(bytes(key.verify_key), 10) for key in keys]
        by_address = {one.address: key for one, key in zip(members, keys, strict=True)}
        return cls(chain_id, rules.ordered(members), by_address, **others)

    @property
    def params(self) -> b.ConsensusParams:
        return b.ConsensusParams(
            block=b.BlockParams(max_bytes=self.max_bytes, max_gas=-1),
            evidence=b.EvidenceParams(
                max_age_num_blocks=100_000, max_age_duration=b.Duration(seconds=172_800), max_bytes=2**20
            ),
            validator=b.ValidatorParams(pub_key_types=["ed25519"]),
            version=b.VersionParams(),
            abci=b.ABCIParams(),
        )


@dataclass(frozen=True)
class State:
    """What CometBFT knows after a height: what the next header must say."""

    height: int
    app_hash: bytes
    results_hash: bytes
    last_validators: tuple[Validator, ...]
    validators: tuple[Validator, ...]
    next_validators: tuple[Validator, ...]
    last_block_id: b.BlockID
    last_time: int
    params: b.ConsensusParams
    app_version: int


@dataclass
class Chain:
    """Agreed blocks by height, and the state after each; ``states[0]`` is the genesis."""

    genesis: Genesis
    blocks: dict[int, Block] = field(default_factory=dict)
    states: dict[int, State] = field(default_factory=dict)
    results: dict[int, m.ResponseFinalizeBlock] = field(default_factory=dict)

    @property
    def height(self) -> int:
        """Of the newest agreed block; 0 before any."""
        return max(self.blocks, default=0)

    def following(self, height: int) -> int:
        """The height after a height."""
        return height + 1 if height else self.genesis.initial_height

    def before(self, height: int) -> State:
        """The state that a block of this height builds on."""
        return self.states[0 if height == self.genesis.initial_height else height - 1]

    def commit(self, height: int, time: int, absent: Iterable[int] = ()) -> b.Commit:
        """Signatures of the validators for a block: two thirds of them make it final."""
        state, genesis = self.before(height), self.genesis
        block = self.blocks[height]
        return rules.signed_commit(block, genesis.chain_id, state.validators, genesis.keys, time, absent)

    def make_block(self, txs: Iterable[bytes], time: int | None, proposer: int, absent: Iterable[int]) -> Block:
        """The next block. Its time is the median of the last commit's, so all of those are ``time``."""
        height, chosen = self.following(self.height), tuple(txs)
        state, genesis = self.before(height), self.genesis
        if height == genesis.initial_height:
            when, commit = genesis.time, b.Commit()
        else:
            when = state.last_time + SECOND if time is None else time
            commit = self.commit(height - 1, when, absent)
        header = b.Header(
            version=b.Consensus(block=rules.BLOCK_PROTOCOL, app=state.app_version),
            chain_id=genesis.chain_id,
            height=height,
            time=timestamp(when),
            last_block_id=state.last_block_id,
            last_commit_hash=rules.commit_hash(commit),
            data_hash=rules.data_hash(chosen),
            validators_hash=rules.validators_hash(state.validators),
            next_validators_hash=rules.validators_hash(state.next_validators),
            consensus_hash=rules.params_hash(state.params),
            app_hash=state.app_hash,
            last_results_hash=state.results_hash,
            evidence_hash=rules.merkle_root([]),
            proposer_address=state.validators[proposer % len(state.validators)].address,
        )
        header.last_block_id.part_set_header.SetInParent()
        return Block(header, chosen, commit)

    def start(self, info: m.ResponseInfo, answer: m.ResponseInitChain) -> None:
        """The state at genesis, as an application set it up. Raises NodeHalted when two applications differ."""
        genesis = self.genesis
        members = [Validator(one.pub_key.ed25519, one.power) for one in answer.validators]
        validators = rules.ordered(members) if members else genesis.validators
        params = _updated(genesis.params, answer.consensus_params)
        version = params.version.app if answer.HasField("consensus_params") else info.app_version
        no_results = rules.merkle_root([])
        nothing = b.BlockID()
        state = State(
            0, answer.app_hash, no_results, (), validators, validators, nothing, genesis.time, params, version
        )
        if self.states.setdefault(0, state) != state:
            raise NodeHalted("two applications made different states of one genesis")

    def extend(self, block: Block, answer: m.ResponseFinalizeBlock) -> None:
        """Agree on a block's outcome. Raises NodeHalted where CometBFT refuses one, or where replicas differ."""
        if len(answer.tx_results) != len(block.txs):
            raise NodeHalted(f"{len(answer.tx_results)} results for {len(block.txs)} transactions")
        before = self.before(block.height)
        params = _updated(before.params, answer.consensus_param_updates)
        state = State(
            block.height,
            answer.app_hash,
            rules.results_hash(answer.tx_results),
            before.validators,
            before.next_validators,
            _changed(before.next_validators, answer.validator_updates),
            block.id,
            nanoseconds(block.header.time),
            params,
            params.version.app if answer.HasField("consensus_param_updates") else before.app_version,
        )
        agreed = self.states.setdefault(block.height, state)
        if agreed != state:
            raise NodeHalted(f"replicas differ at height {block.height}: {_difference(agreed, state)}")
        self.results[block.height] = answer


@dataclass
class Node:
    """One CometBFT. Its public methods are the steps of its life; ``produce`` and ``start`` take them all."""

    chain: Chain
    address: str
    recorder: Recorder = field(default_factory=Recorder)
    store_height: int = 0
    """Of the newest block it saved."""
    state_height: int = 0
    """Of the newest block it applied: behind the store for a moment in every block, and after a crash there."""
    executed_height: int = 0
    """Of the block in the last FinalizeBlock that was answered."""
    mempool: dict[bytes, None] = field(default_factory=dict)
    connections: dict[str, AbciConnection] = field(default_factory=dict)

    async def start(self) -> None:
        """Connect and shake hands."""
        await self.connect()
        await self.handshake()

    async def connect(self) -> None:
        """Open the four connections, one after the other."""
        for name in CONNECTIONS:
            self.connections[name] = await AbciConnection.open(self.address, name, self.recorder)

    async def disconnect(self) -> None:
        """Stop, as a crash would: the mempool is lost, blocks and state are kept."""
        for connection in self.connections.values():
            await connection.close()
        self.connections.clear()
        self.mempool.clear()

    async def ask(self, connection: str, method: str, request: Any) -> Any:
        """One call on one connection. Raises NodeHalted when it is not answered properly."""
        return await self.connections[connection].call(method, request)

    async def handshake(self) -> None:
        """Find out where the application is, and bring it to where this node is."""
        info = await self.ask(
            "query", "info", m.RequestInfo(version="0.39.4", block_version=11, p2p_version=8, abci_version="2.0.0")
        )
        if info.last_block_height == 0:
            await self._init_chain(info)
        await self._replay(info.last_block_height, info.last_block_app_hash)

    async def check_tx(self, tx: bytes) -> m.ResponseCheckTx:
        """Offer a transaction to the mempool; it stays when the code is 0."""
        answer: m.ResponseCheckTx = await self.ask("mempool", "check_tx", m.RequestCheckTx(tx=tx))
        if answer.code == 0:
            self.mempool[tx] = None
        return answer

    async def query(self, path: str, data: bytes = b"", *, height: int = 0, prove: bool = False) -> m.ResponseQuery:
        """An ``abci_query``."""
        request = m.RequestQuery(path=path, data=data, height=height, prove=prove)
        answer: m.ResponseQuery = await self.ask("query", "query", request)
        return answer

    async def prepare(
        self, time: int | None = None, *, proposer: int | None = None, absent: Iterable[int] = ()
    ) -> Block:
        """Propose what the application makes of the mempool."""
        by = self.chain.height if proposer is None else proposer
        state = self.chain.before(self.chain.following(self.chain.height))
        room = _data_bytes_max(state)
        waiting = _fitting(self.mempool, room)
        draft = self.chain.make_block(waiting, time, by, absent)
        request = m.RequestPrepareProposal(
            max_tx_bytes=room,
            txs=waiting,
            local_last_commit=self._extended_commit(draft),
            height=draft.height,
            time=draft.header.time,
            next_validators_hash=draft.header.next_validators_hash,
            proposer_address=draft.header.proposer_address,
        )
        answer = await self.ask("consensus", "prepare_proposal", request)
        if sum(field_size(len(tx)) for tx in answer.txs) > room:
            raise NodeHalted(f"the proposal exceeds max_tx_bytes {room}")
        return self.chain.make_block(answer.txs, time, by, absent)

    async def process(self, block: Block) -> bool:
        """Whether the application accepts a proposal."""
        request = m.RequestProcessProposal(proposed_last_commit=self._commit_info(block), **_block_fields(block))
        answer = await self.ask("consensus", "process_proposal", request)
        if answer.status == m.ResponseProcessProposal.UNKNOWN:
            raise NodeHalted("ProcessProposal answered the status UNKNOWN")
        return bool(answer.status == m.ResponseProcessProposal.ACCEPT)

    async def finalize(self, block: Block) -> m.ResponseFinalizeBlock:
        """Save a decided block and execute it. In a replay it is an old one, and must lead where it led."""
        self.chain.blocks.setdefault(block.height, block)
        self.store_height = max(self.store_height, block.height)
        request = m.RequestFinalizeBlock(decided_last_commit=self._commit_info(block), **_block_fields(block))
        answer: m.ResponseFinalizeBlock = await self.ask("consensus", "finalize_block", request)
        self.chain.extend(block, answer)
        self.executed_height = block.height
        return answer

    async def commit(self) -> None:
        """Commit the block just executed, then recheck what is left in the mempool."""
        await self.connections["mempool"].flush()
        await self._commit()
        for tx in self.chain.blocks[self.state_height].txs:
            self.mempool.pop(tx, None)
        await self._recheck()

    async def produce(
        self,
        time: int | None = None,
        *,
        txs: Iterable[bytes] | None = None,
        proposer: int | None = None,
        absent: Iterable[int] = (),
    ) -> Block:
        """A whole height as its proposer. With ``txs``, a Byzantine one: PrepareProposal is not asked.

        ``time`` in nanoseconds is a second after the last block's by default; ``absent`` are the positions
        of validators whose votes for the last block are missing. Raises NodeHalted when the proposal is
        rejected.
        """
        if txs is None:
            block = await self.prepare(time, proposer=proposer, absent=absent)
        else:
            by = self.chain.height if proposer is None else proposer
            block = self.chain.make_block(txs, time, by, absent)
        await self.apply(block)
        return block

    async def apply(self, block: Block) -> None:
        """A whole height as anybody else. Raises NodeHalted when the application rejects the proposal."""
        if not await self.process(block):
            raise NodeHalted(f"the proposal at height {block.height} was rejected")
        await self.finalize(block)
        await self.commit()

    async def catch_up(self) -> None:
        """Take the blocks that other nodes agreed on, as block sync does: no proposals."""
        while self.state_height < self.chain.height:
            await self.finalize(self.chain.blocks[self.chain.following(self.state_height)])
            await self.commit()

    async def _init_chain(self, info: m.ResponseInfo) -> None:
        genesis = self.chain.genesis
        request = m.RequestInitChain(
            time=timestamp(genesis.time),
            chain_id=genesis.chain_id,
            consensus_params=genesis.params,
            validators=[one.update() for one in genesis.validators],
            app_state_bytes=genesis.app_state,
            initial_height=genesis.initial_height,
        )
        self.chain.start(info, await self.ask("consensus", "init_chain", request))

    async def _replay(self, app_height: int, app_hash: bytes) -> None:
        """Every case of CometBFT's ReplayBlocks, by where the application, the state and the store stand."""
        if app_height > self.store_height:
            raise NodeHalted(f"the application is ahead: {app_height} over {self.store_height}")
        height = self.chain.following(app_height)
        while height <= self.store_height:
            await self.finalize(self.chain.blocks[height])
            await self._commit()
            height = self.chain.following(height)
        if self.store_height and app_height == self.store_height:
            # The application did commit; when the state was not saved, CometBFT replays its stored answer.
            self.state_height = self.store_height
            expected = self.chain.states[self.store_height].app_hash
            if app_hash != expected:
                raise NodeHalted(f"state.AppHash {expected.hex()} does not match Info's {app_hash.hex()}")

    async def _commit(self) -> None:
        await self.ask("consensus", "commit", m.RequestCommit())
        self.state_height = max(self.state_height, self.executed_height)

    async def _recheck(self) -> None:
        """The transactions still waiting are checked again, pipelined, and dropped when they are refused now."""
        if not self.mempool:
            return
        connection = self.connections["mempool"]
        kind = m.CheckTxType.RECHECK
        asked = {tx: connection.send("check_tx", m.RequestCheckTx(tx=tx, type=kind)) for tx in self.mempool}
        await connection.flush()
        for tx, answer in asked.items():
            if answer.result().code != 0:
                del self.mempool[tx]

    def _commit_info(self, block: Block) -> m.CommitInfo:
        if block.height == self.chain.genesis.initial_height:
            return m.CommitInfo()
        votes = zip(self.chain.before(block.height).last_validators, block.last_commit.signatures, strict=True)
        return m.CommitInfo(
            votes=[m.VoteInfo(validator=one.info(), block_id_flag=vote.block_id_flag) for one, vote in votes]
        )

    def _extended_commit(self, block: Block) -> m.ExtendedCommitInfo:
        votes = self._commit_info(block).votes
        return m.ExtendedCommitInfo(
            votes=[m.ExtendedVoteInfo(validator=one.validator, block_id_flag=one.block_id_flag) for one in votes]
        )


def _block_fields(block: Block) -> dict[str, Any]:
    header = block.header
    return {
        "txs": block.txs,
        "hash": block.hash,
        "height": header.height,
        "time": header.time,
        "next_validators_hash": header.next_validators_hash,
        "proposer_address": header.proposer_address,
    }


def _data_bytes_max(state: State) -> int:
    commit = _COMMIT_OVERHEAD + _COMMIT_SIGNATURE * len(state.validators)
    return state.params.block.max_bytes - _BLOCK_OVERHEAD - _HEADER_MAX - commit


def _fitting(txs: Iterable[bytes], room: int) -> list[bytes]:
    chosen = []
    for tx in txs:
        room -= field_size(len(tx))
        if room < 0:
            break
        chosen.append(tx)
    return chosen


def _updated(params: b.ConsensusParams, update: b.ConsensusParams) -> b.ConsensusParams:
    """Groups that an update names replace the old ones whole."""
    merged = b.ConsensusParams()
    merged.CopyFrom(params)
    for group, value in update.ListFields():
        getattr(merged, group.name).CopyFrom(value)
    return merged


def _changed(validators: tuple[Validator, ...], updates: Iterable[m.ValidatorUpdate]) -> tuple[Validator, ...]:
    try:
        return rules.changed(validators, updates)
    except rules.UpdateRefused as error:
        raise NodeHalted(str(error)) from error


def _difference(agreed: State, other: State) -> str:
    names = [name for name in State.__annotations__ if getattr(agreed, name) != getattr(other, name)]
    return ", ".join(f"{name} {getattr(agreed, name)!r} and {getattr(other, name)!r}" for name in names)
