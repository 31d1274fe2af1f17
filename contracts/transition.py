"""The only entry to the core: genesis, and what one transaction and one block do to the state.

A transaction is read, authenticated, checked for replay, decoded and dispatched; its handler's writes and events
become its result. A refusal becomes its code. Any *other* exception of a handler becomes code 1 with no writes:
handlers are pure, so every replica does the same, and no sender can stop a node or fork the chain. Only what says
"this machine cannot go on" (ReadFailed, MemoryError, RecursionError) passes through and halts the node: swallowed,
it would decide differently here than elsewhere.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from . import identity, validators
from .identity import Admission, Roles
from .kernel import (
    Context,
    Event,
    Message,
    Outcome,
    Record,
    Rejected,
    View,
    Write,
    codec,
    crypto,
    envelope,
    limits,
    replay,
    require,
)
from .kernel.codec import Malformed
from .kernel.envelope import Envelope
from .kernel.rules import Fact
from .kernel.state import InvariantBroken, Overlay, ReadFailed, ScanView
from .kernel.types import ChainId, Items
from .registry import HANDLERS, STORES
from .validators import NewValidator

__all__ = [
    "STORES", "BlockContext", "Genesis", "Result", "Transaction", "apply_block", "apply_tx", "authenticate", "genesis",
    "recheck", "require_entitled",
]  # fmt: skip

APP_VERSION = 1
INTERNAL_ERROR = 1
MOST_FACT_CHARS = 200


class Genesis(Record):
    """The ledger's state at height 0."""

    chain_id: ChainId
    founders: Annotated[tuple[Admission, ...], Items(1, limits.ORGANISATIONS)]  # Members from the first block.
    validators: Annotated[tuple[NewValidator, ...], Items(1, limits.VALIDATORS)]  # Exactly CometBFT's.


class MalformedTransaction(
    Rejected, code=2, hint="Build transactions with the SDK, or follow docs/protocol.md exactly."
):
    """The bytes are not the canonical form of a transaction."""


class WrongChain(Rejected, code=3, hint="Check which chain your profile names: `fedledger doctor`."):
    """The transaction was signed for another chain."""


class BadSignature(Rejected, code=4, hint="The bytes changed after signing, or another key signed them."):
    """The signature does not verify."""


class Expired(Rejected, code=5, hint="Sign it again with a later height."):
    """The transaction was valid only up to an earlier height."""


class ValidTooLong(Rejected, code=6, hint="Sign it again with a nearer height."):
    """The transaction would stay valid further ahead than replay protection remembers."""


class Replayed(Rejected, code=7, hint="Nothing to do: the first one was decided; look it up with `fedledger tx show`."):
    """This transaction was decided already."""


class UnknownMessage(Rejected, code=8, hint="Check the versions of SDK and ledger: `fedledger doctor`."):
    """The ledger knows no message of this type."""


class WrongPurpose(Rejected, code=9, hint="Human keys consent, govern and revoke; workload keys train and vote."):
    """A key of this purpose may not sign this message."""


class MissingRole(Rejected, code=10, hint="The members decide on roles: `fedledger org show`."):
    """The organisation was not admitted with the role that this message needs."""


@dataclass(frozen=True)
class BlockContext:
    """What a block tells its transactions."""

    chain_id: str
    height: int
    time_ms: int


@dataclass(frozen=True)
class Result:
    """What became of a transaction. ``code``, ``data`` and the writes are the same on every replica; ``log`` is not.

    ``data`` holds what must be provable, because the block's header covers it: for an accepted transaction its events,
    ``[[tag, fields], …]``; for a refusal its facts, ``{name: value}``; both as DAG-CBOR.
    """

    code: int
    data: bytes
    log: str
    writes: tuple[Write, ...]
    events: tuple[Event, ...]


class Transaction:
    """What a transaction's bytes say by themselves, each part worked out when it is first asked for.

    Nothing here depends on state or block, so whoever meets the same bytes again may hand in the same object.
    """

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    @cached_property
    def hash(self) -> bytes:
        """How CometBFT names it: the SHA-256 of its bytes. Its identity for the ledger is the envelope's."""
        return crypto.sha256(self.raw)

    @cached_property
    def envelope(self) -> Envelope:
        """The parsed envelope. Rejects: MalformedTransaction."""
        return parse(self.raw)

    @cached_property
    def message(self) -> Message:
        """What it says. Rejects: MalformedTransaction, UnknownMessage."""
        return message_of(self.envelope)

    @cached_property
    def is_authentic(self) -> bool:
        """Whether the signature holds under the key that the envelope names. Rejects: MalformedTransaction."""
        signed = self.envelope
        return crypto.verify(signed.key, signed.signed, signed.signature)


def genesis(raw: bytes, chain_id: str) -> Outcome:
    """The writes of height 0. Raises Malformed or Rejected: a ledger that cannot begin as stated does not begin."""
    stated = codec.decode(Genesis, raw, most=limits.VALUE_BYTES * limits.ORGANISATIONS)
    if stated.chain_id != chain_id:
        raise Malformed("chain_id", f"the genesis is for {stated.chain_id}, the node runs {chain_id}")
    overlay = Overlay(_Nothing())
    outcome = Outcome()
    for founder in stated.founders:
        ctx = Context(chain_id, 0, 0, founder.key.public, founder.organisation, founder.roles)
        enrolled = identity.enrol(overlay, founder, ctx)
        overlay.apply(enrolled.writes)
        outcome += Outcome((), enrolled.events)
    established = validators.establish(overlay, stated.validators, chain_id)
    overlay.apply(established.writes)
    outcome += Outcome((), established.events)
    return Outcome(tuple(Write(path, body) for path, body in overlay.writes.items()), outcome.events)


def apply_tx(view: View, transaction: Transaction, block: BlockContext) -> Result:
    """Decide one transaction on a view that already holds the block's earlier writes."""
    mark: tuple[Write, ...] = ()
    try:
        key = authenticate(view, transaction, block)
        signed = transaction.envelope
        mark = (replay.mark(signed.valid_until, signed.identity, block.height),)
        outcome = _disjoint(_dispatch(view, transaction, key, block))
        data = _announced(outcome.events)
    except Rejected as refusal:
        return _refused(refusal.code, refusal.facts, str(refusal), mark)
    except (MemoryError, RecursionError, ReadFailed):
        raise
    except Exception as error:  # noqa: BLE001 - a handler's bug must not stop the chain: the same on every replica.
        return _refused(INTERNAL_ERROR, {}, _bounded(f"INTERNAL_ERROR: {type(error).__name__}: {error}"), mark)
    return Result(0, data, "", (*outcome.writes, *mark), outcome.events)


def recheck(view: View, transaction: Transaction, block: BlockContext) -> Result:
    """Whether a transaction that ``apply_tx`` has accepted may go on waiting: in time, not decided, its key live.

    No handler runs: what state has overtaken is refused in its block, once, instead of being tried after every one.
    """
    try:
        authenticate(view, transaction, block)
        _ = transaction.message
    except Rejected as refusal:
        return _refused(refusal.code, refusal.facts, str(refusal), ())
    return Result(0, b"", "", (), ())


def apply_block(
    committed: ScanView, transactions: Iterable[Transaction], block: BlockContext
) -> tuple[tuple[Result, ...], dict[bytes, bytes | None]]:
    """Decide a block's transactions in order: their results and the block's writes. An empty block writes nothing."""
    overlay = Overlay(committed)
    results = []
    for transaction in transactions:
        result = apply_tx(overlay, transaction, block)
        overlay.apply(result.writes)
        results.append(result)
    if results:
        overlay.apply(replay.prune(committed, block.height))
    return tuple(results), dict(overlay.writes)


def authenticate(view: View, transaction: Transaction, block: BlockContext) -> identity.Key:
    """Establish who signed a transaction, now, for this chain, for the first time.

    Rejects: MalformedTransaction, WrongChain, Expired, ValidTooLong, UnknownKey, KeyIsRevoked, Replayed, BadSignature.
    The cheapest checks come first; nothing is remembered of what fails here, because nobody has signed it.
    """
    signed = transaction.envelope
    require(signed.chain_id == block.chain_id, lambda: WrongChain(chain=signed.chain_id, wanted=block.chain_id))
    require(block.height <= signed.valid_until, lambda: Expired(valid_until=signed.valid_until, height=block.height))
    furthest = block.height + limits.TX_VALIDITY_BLOCKS
    require(signed.valid_until <= furthest, lambda: ValidTooLong(valid_until=signed.valid_until, furthest=furthest))
    key = identity.require_live_key(view, signed.key, block.height)
    seen = replay.is_seen(view, signed.valid_until, signed.identity)
    require(not seen, lambda: Replayed(transaction=signed.identity))
    require(transaction.is_authentic, lambda: BadSignature(key=signed.key))
    return key


def require_entitled(kind: type[Message], key: identity.Key, roles: Roles) -> None:
    """Hold a key and its organisation's roles to what a message asks of its signer.

    Rejects: WrongPurpose, MissingRole.
    """
    require(key.purpose is kind.purpose, lambda: WrongPurpose(purpose=key.purpose, wanted=kind.purpose))
    allowed = kind.role is None or kind.role in roles
    require(allowed, lambda: MissingRole(organisation=key.organisation, wanted=str(kind.role)))


def parse(raw: bytes) -> Envelope:
    """Read an envelope without judging it. Rejects: MalformedTransaction."""
    try:
        return envelope.parse(raw)
    except Malformed as error:
        raise MalformedTransaction(field=error.field, why=_bounded(error.why)) from error


def message_of(signed: Envelope) -> Message:
    """The message in an envelope. Rejects: UnknownMessage, MalformedTransaction."""
    kind = Message.by_tag.get(signed.tag)
    if kind is None:
        raise UnknownMessage(type=_bounded(signed.tag))
    try:
        message: Message = codec.shape_of(kind).unpack(signed.body, "")
    except Malformed as error:
        raise MalformedTransaction(field=_bounded(error.field), why=_bounded(error.why)) from error
    return message


def _dispatch(view: View, transaction: Transaction, key: identity.Key, block: BlockContext) -> Outcome:
    message = transaction.message
    roles = identity.ORGANISATIONS.at(view, key.organisation).roles
    require_entitled(type(message), key, roles)
    context = Context(block.chain_id, block.height, block.time_ms, transaction.envelope.key, key.organisation, roles)
    return HANDLERS[type(message)](view, message, context)


def _announced(events: tuple[Event, ...]) -> bytes:
    """The provable data of an acceptance. An event out of its bounds is the handler's bug, so this is part of it."""
    return codec.encode_plain([[event.tag, codec.shape_of(type(event)).to_plain(event)] for event in events])


def _refused(code: int, facts: dict[str, Fact], log: str, mark: tuple[Write, ...]) -> Result:
    plain: dict[str, Any] = {name: str(value) if isinstance(value, str) else value for name, value in facts.items()}
    return Result(code, codec.encode_plain(plain), log, mark, ())


def _disjoint(outcome: Outcome) -> Outcome:
    paths = [write.path for write in outcome.writes]
    if len(paths) != len(dict.fromkeys(paths)):
        raise InvariantBroken("one transaction writes a path twice")
    return outcome


def _bounded(text: str) -> str:
    """Text of ours about a sender's bytes, cut to a length and to ASCII: it goes into a result."""
    return text.encode("ascii", "backslashreplace").decode("ascii")[:MOST_FACT_CHARS]


class _Nothing:
    """The state before genesis."""

    def get(self, path: bytes) -> bytes | None:
        return None
