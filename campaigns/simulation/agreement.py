"""What consensus has agreed on: the blocks, and what each led to on the first replica that executed it.

Every other replica, every restart and every replay is held to that. Votes are abstracted: a block is agreed because
the cluster says so. Headers are reduced to what an application is told.
"""

import base64
import hashlib
import json
from dataclasses import dataclass, field

from abci_app.protocol import blocks as b
from abci_app.protocol import messages as m
from contracts.kernel import limits
from contracts.transition import Genesis

from ..harness.cometbft_blocks import UpdateRefused, Validator, changed, ordered

NANOSECONDS = 1_000_000  # In a millisecond.
_BEYOND = 654_321  # CometBFT's times have nanoseconds, which the rules must not see.


class Violation(AssertionError):
    """Something that must hold does not. ``checker`` names who noticed."""

    def __init__(self, checker: str, why: str) -> None:
        super().__init__(f"{checker}: {why}")
        self.checker, self.why = checker, why


def timestamp(time_ms: int) -> b.Timestamp:
    """A block time as protobuf carries it."""
    return b.Timestamp(seconds=time_ms // 1000, nanos=time_ms % 1000 * NANOSECONDS + _BEYOND)


@dataclass(frozen=True)
class Block:
    """A block as an application sees it: ``hash`` stands for the header's."""

    height: int
    time_ms: int
    proposer: int
    txs: tuple[bytes, ...]

    @property
    def hash(self) -> bytes:
        named = f"{self.height} {self.time_ms} {self.proposer} {len(self.txs)}".encode()
        return hashlib.sha256(named + b"".join(hashlib.sha256(tx).digest() for tx in self.txs)).digest()


@dataclass
class Agreement:
    """The chain of blocks from height 1, and after each its app hash and results."""

    genesis: Genesis
    genesis_time_ms: int
    blocks: list[Block] = field(default_factory=list)
    app_hashes: list[bytes] = field(default_factory=list)  # By height; 0 is the genesis.
    results: list[tuple[m.ExecTxResult, ...]] = field(default_factory=list)
    validators: list[tuple[Validator, ...]] = field(default_factory=list)
    """By height, the set that CometBFT has been told of; it decides blocks from two heights later on."""
    _outcomes: list[tuple[bytes, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        founding = (Validator(one.public, limits.VALIDATOR_POWER) for one in self.genesis.validators)
        self.validators.append(ordered(founding))

    @property
    def height(self) -> int:
        """Of the newest agreed block; 0 before any."""
        return len(self.blocks)

    @property
    def time_ms(self) -> int:
        """Of the newest agreed block, or the genesis."""
        return self.blocks[-1].time_ms if self.blocks else self.genesis_time_ms

    def at(self, height: int) -> Block:
        """The block of a height."""
        return self.blocks[height - 1]

    def init_chain(self) -> m.RequestInitChain:
        """What CometBFT tells a fresh application."""
        stated = base64.b64encode(self.genesis.encode()).decode("ascii")
        return m.RequestInitChain(
            time=timestamp(self.genesis_time_ms),
            chain_id=self.genesis.chain_id,
            validators=[one.update() for one in self.validators[0]],
            app_state_bytes=json.dumps({"fedledger": stated}).encode(),
            initial_height=1,
        )

    def begun(self, answer: m.ResponseInitChain) -> None:
        """Hold a replica to the genesis. Raises Violation."""
        if not self.app_hashes:
            self.app_hashes.append(answer.app_hash)
        if self.app_hashes[0] != answer.app_hash:
            raise Violation("agreement", "two replicas made different states of one genesis")

    def executed(self, block: Block, answer: m.ResponseFinalizeBlock) -> None:
        """Hold a replica to what a block led to. Raises Violation where replicas differ."""
        if len(answer.tx_results) != len(block.txs):
            raise Violation("agreement", f"{len(answer.tx_results)} results for {len(block.txs)} transactions")
        outcome = tuple(_comparable(result) for result in answer.tx_results)
        if block.height == len(self.results) + 1:
            self.results.append(tuple(answer.tx_results))
            self._outcomes.append(outcome)
            self.app_hashes.append(answer.app_hash)
        for number, (one, other) in enumerate(zip(self._outcomes[block.height - 1], outcome, strict=True)):
            if one != other:
                raise Violation("agreement", f"height {block.height}, transaction {number}: {one!r} and {other!r}")
        self._told(block.height, answer)
        agreed = self.app_hashes[block.height]
        if answer.app_hash != agreed:
            found = f"{agreed.hex()} and {answer.app_hash.hex()}"
            raise Violation("agreement", f"height {block.height}: the app hashes {found}")

    def deciding(self, height: int) -> tuple[Validator, ...]:
        """The set whose votes make a block of this height final."""
        return self.validators[max(0, height - 2)]

    def _told(self, height: int, answer: m.ResponseFinalizeBlock) -> None:
        """Hold a replica's validator updates to CometBFT's rules and to the others'. Raises Violation."""
        try:
            following = changed(self.validators[height - 1], answer.validator_updates)
        except UpdateRefused as error:
            raise Violation("validator updates", f"height {height}: {error}") from error
        if height == len(self.validators):
            self.validators.append(following)
        if self.validators[height] != following:
            raise Violation("validator updates", f"height {height}: replicas tell of different sets")

    def digest(self, height: int) -> str:
        """A height in one line: what it held and what it led to."""
        block = self.at(height)
        led_to = hashlib.sha256(b"".join(self._outcomes[height - 1])).hexdigest()
        return f"{height} {block.hash.hex()} {len(block.txs)} {self.app_hashes[height].hex()} {led_to}"


def _comparable(result: m.ExecTxResult) -> bytes:
    """A result without its log: what ABCI requires to be the same everywhere, and the events, which we promise too."""
    log, result.log = result.log, ""
    raw = result.SerializeToString(deterministic=True)
    result.log = log
    return raw
