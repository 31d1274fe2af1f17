"""What a verifier of receipts trusts to begin with, and the way from there to a receipt's block. No clock, no sockets.

A receipt may be older than any trusting period, and a file has no time of its own: how long validators' keys stay in
the right hands is not asked here (``docs/receipts.md`` says what follows from that).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ..light import LightClientError, TrustedState, trust_checkpoint, verify_header
from .errors import Part, ReceiptNotTrusted
from .parts import SignedBlock

_NO_PERIOD_NS: Final = 2**80  # Further apart than any two times.


class Trust(Protocol):
    """A root of trust."""

    @property
    def name(self) -> str:
        """What it is, in words."""
        ...

    def follow(self, blocks: Sequence[SignedBlock]) -> None:
        """Go from what is trusted to the last of these blocks, oldest first. Raises ReceiptNotTrusted.

        The blocks must be sound in themselves (``verify``).
        """
        ...


@dataclass(frozen=True)
class GenesisTrust:
    """The validators of the genesis document: ``light.trust_genesis`` gives the state."""

    state: TrustedState

    @property
    def name(self) -> str:
        """What it is, in words."""
        return f"the genesis of {self.state.chain_id}"

    def follow(self, blocks: Sequence[SignedBlock]) -> None:
        """Over all blocks, by skipping verification. Raises ReceiptNotTrusted."""
        _advance(self.state, blocks)


@dataclass(frozen=True)
class CheckpointTrust:
    """A block, by height and hash: the strongest root, for no signature has to be believed up to there."""

    height: int
    block_hash: bytes

    @property
    def name(self) -> str:
        """What it is, in words."""
        return f"block {self.height}, {self.block_hash.hex()}"

    def follow(self, blocks: Sequence[SignedBlock]) -> None:
        """From the block of this height on. Raises ReceiptNotTrusted, also when it has none."""
        what = f"it holds no block {self.height}, but {', '.join(str(one.header.height) for one in blocks)}"
        first = _first(blocks, lambda one: one.header.height == self.height, what)
        if blocks[first].header.hash != self.block_hash:
            why = f"its block {self.height} is {blocks[first].header.hash.hex()}, trusted is {self.block_hash.hex()}"
            raise ReceiptNotTrusted(Part.TRUST, why)
        _advance(_state(blocks[first]), blocks[first + 1 :])


@dataclass(frozen=True)
class ValidatorsTrust:
    """A set of validators, by its hash as headers name it."""

    validators_hash: bytes

    @property
    def name(self) -> str:
        """What it is, in words."""
        return f"the validators {self.validators_hash.hex()}"

    def follow(self, blocks: Sequence[SignedBlock]) -> None:
        """From the last block that this set signed. Raises ReceiptNotTrusted when it signed none."""
        theirs = [one.validators.hash == self.validators_hash for one in blocks]
        found = ", ".join(dict.fromkeys(one.validators.hash.hex() for one in blocks))
        if True not in theirs:
            raise ReceiptNotTrusted(Part.TRUST, f"it was signed by the validators {found}")
        last = len(theirs) - 1 - theirs[::-1].index(True)
        _advance(_state(blocks[last]), blocks[last + 1 :])


def _first(blocks: Sequence[SignedBlock], holds: Callable[[SignedBlock], bool], otherwise: str) -> int:
    for place, block in enumerate(blocks):
        if holds(block):
            return place
    raise ReceiptNotTrusted(Part.TRUST, otherwise)


def _state(block: SignedBlock) -> TrustedState:
    header = block.header
    try:
        return trust_checkpoint(header.chain_id, header.height, header.hash, block.signed, block.validators)
    except LightClientError as error:
        raise ReceiptNotTrusted(Part.TRUST, str(error)) from error


def _advance(state: TrustedState, blocks: Sequence[SignedBlock]) -> None:
    for block in blocks:
        header = block.header
        if header.chain_id != state.chain_id:
            why = f"it is of the ledger {header.chain_id!r}, trusted is {state.chain_id!r}"
            raise ReceiptNotTrusted(Part.TRUST, why)
        try:
            state = verify_header(
                state, block.signed, block.validators, now_ns=header.time_ns, trusting_period_ns=_NO_PERIOD_NS
            )
        except LightClientError as error:
            raise ReceiptNotTrusted(Part.TRUST, str(error)) from error
