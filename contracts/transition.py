"""The only entry to the core: genesis, what one transaction and one block do to the state, and when the rules turn.

Which rules decide is an argument (``rulebook.Rules``); nothing here knows a version by itself. A transaction is read,
authenticated, checked for replay, decoded and dispatched; its handler's writes and events become its result. A refusal
becomes its code. Any *other* exception of a handler becomes code 1 with no writes: handlers are pure, so every replica
does the same, and no sender can stop a node or fork the chain. Only what says "this machine cannot go on" (``HALTING``)
passes through and halts the node: swallowed, it would decide differently here than elsewhere.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple, TypeVar

from . import identity, origin, upgrades, validators
from .admission import Admission
from .identity import Organisation
from .kernel import (
    Context,
    Event,
    Message,
    Outcome,
    Place,
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
from .kernel.envelope import Envelope, LedgerId, Sealed
from .kernel.refusals import (
    BadSignature,
    Expired,
    MalformedTransaction,
    MissingRole,
    Replayed,
    UnknownMessage,
    ValidTooLong,
    WrongChain,
    WrongPurpose,
)
from .kernel.rules import Fact
from .kernel.state import InvariantBroken, Overlay, ReadFailed, ScanOverlay, ScanView
from .kernel.types import ChainId, Items
from .origin import Origin
from .rulebook import Rulebook, Rules
from .upgrades import AppVersion
from .validators import NewValidator

__all__ = [
    "BadSignature", "BlockContext", "Expired", "Genesis", "MalformedTransaction", "MissingRole", "Replayed", "Result",
    "Transaction", "Turn", "UnknownMessage", "ValidTooLong", "WrongChain", "WrongPurpose", "apply_block", "apply_tx",
    "authenticate", "founding_digest", "genesis", "genesis_rules", "may_wait", "message_of", "past_message_of",
    "require_entitled", "turn",
]  # fmt: skip

R = TypeVar("R")
INTERNAL_ERROR = 1
# What says that this machine, or whoever runs it, cannot go on. Anything else that a rule or a library raises is code
# 1; a panic in a library written in Rust is a BaseException and no Exception, and must not halt every node.
HALTING = (MemoryError, RecursionError, ReadFailed, KeyboardInterrupt, SystemExit, GeneratorExit)
MOST_FACT_CHARS = 200


class Genesis(Record):
    """The ledger's state at height 0."""

    chain_id: ChainId
    rules: AppVersion  # The version that decides the first block.
    founders: Annotated[tuple[Admission, ...], Items(1, limits.ORGANISATIONS)]  # Members from the first block.
    validators: Annotated[tuple[NewValidator, ...], Items(1, limits.VALIDATORS)]  # Exactly CometBFT's.


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


@dataclass(frozen=True)
class Turn:
    """The rules that decide the next block; where they are others than before, what leads the state over to them."""

    rules: Rules
    writes: tuple[Write, ...] = ()
    failure: str = ""  # Why an upgrade was called off. A node's own words.


class Signer(NamedTuple):
    """Who signed a transaction: the key, and the member that it speaks for."""

    key: identity.Key
    organisation: Organisation


class Transaction:
    """What a transaction's bytes say by themselves, each part worked out when it is first asked for.

    Nothing here depends on state or block, so whoever meets the same bytes again may hand in the same object.
    """

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._hash: bytes | None = None
        self._sealed: Sealed | None = None
        self._envelope: Envelope | None = None
        self._message: tuple[Rules, Message] | None = None
        self._is_authentic: bool | None = None

    @property
    def hash(self) -> bytes:
        """How CometBFT names it: the SHA-256 of its bytes. Its identity for the ledger is the envelope's."""
        if self._hash is None:
            self._hash = crypto.sha256(self.raw)
        return self._hash

    @property
    def sealed(self) -> Sealed:
        """The envelope as far as its header, which names the key. Rejects: MalformedTransaction."""
        if self._sealed is None:
            self._sealed = _naming_the_part(lambda: envelope.unwrap(self.raw))
        return self._sealed

    @property
    def envelope(self) -> Envelope:
        """The parsed envelope. Rejects: MalformedTransaction."""
        if self._envelope is None:
            self._envelope = _naming_the_part(self.sealed.opened)
        return self._envelope

    def message(self, rules: Rules) -> Message:
        """What it says under these rules. Rejects: MalformedTransaction, UnknownMessage."""
        if self._message is None or self._message[0] is not rules:
            self._message = rules, message_of(rules, self.envelope)
        return self._message[1]

    @property
    def is_authentic(self) -> bool:
        """Whether the signature holds under the key that the envelope names. Rejects: MalformedTransaction."""
        if self._is_authentic is None:
            sealed = self.sealed
            self._is_authentic = crypto.verify(sealed.key, sealed.signed, sealed.signature)
        return self._is_authentic


def genesis_rules(book: Rulebook, raw: bytes) -> Rules:
    """The rules that decide a ledger's first block. Raises Malformed, UnknownRules."""
    return book.of(_stated(raw).rules)


def genesis(rules: Rules, raw: bytes, chain_id: str) -> Outcome:
    """The writes of height 0. Raises Malformed or Rejected: a ledger that cannot begin as stated does not begin."""
    stated = _stated(raw)
    if stated.rules != rules.version:
        raise Malformed("rules", f"the genesis is for version {stated.rules}, not {rules.version}")
    if stated.chain_id != chain_id:
        raise Malformed("chain_id", f"the genesis is for {stated.chain_id}, the node runs {chain_id}")
    founding = founding_digest(stated)
    overlay = Overlay(_Nothing())
    overlay.apply((origin.ORIGIN.set(Origin(crypto.sha256(raw))),))
    outcome = Outcome()
    for founder in stated.founders:
        ctx = Context(founding, 0, 0, 0, founder.key.public, founder.organisation, founder.roles)
        enrolled = identity.enrol(overlay, founder, ctx)
        overlay.apply(enrolled.writes)
        outcome += Outcome((), enrolled.events)
    established = validators.establish(overlay, stated.validators, founding)
    overlay.apply(established.writes)
    overlay.apply(upgrades.begin(rules.version).writes)
    outcome += Outcome((), established.events)
    return Outcome(tuple(Write(path, body) for path, body in overlay.writes.items()), outcome.events)


def founding_digest(stated: Genesis) -> bytes:
    """What the founders' proofs of possession cover: the SHA-256 of the genesis with zeros in the proofs' places."""
    unproved = replace(
        stated,
        founders=tuple(replace(one, key=replace(one.key, possession=origin.NO_PROOF)) for one in stated.founders),
        validators=tuple(replace(one, possession=origin.NO_PROOF) for one in stated.validators),
    )
    return crypto.sha256(unproved.encode())


def apply_tx(rules: Rules, view: View, transaction: Transaction, block: BlockContext, index: int = 0) -> Result:
    """Decide one transaction, by its index in the block, on a view that already holds the block's earlier writes."""
    mark: tuple[Write, ...] = ()
    try:
        signer = authenticate(rules, view, transaction, block, index)
        signed = transaction.envelope
        mark = (replay.mark(signed.valid_until, signed.identity, block.height),)
        outcome = _disjoint(_dispatch(rules, view, transaction, signer, block, index))
        data = _announced(outcome.events)
    except Rejected as refusal:
        return _refused(refusal.code, refusal.facts, _told(refusal), mark)
    except HALTING:
        raise
    except BaseException as error:  # noqa: BLE001 - a bug must not stop the chain, nor a panic: the same everywhere.
        return _refused(INTERNAL_ERROR, {}, _bounded(f"INTERNAL_ERROR: {type(error).__name__}: {error}"), mark)
    return Result(0, data, "", (*outcome.writes, *mark), outcome.events)


def may_wait(rules: Rules, view: View, transaction: Transaction, block: BlockContext) -> Result:
    """Whether a transaction may wait for its block: authentic, in time, not decided, and its signer's to say.

    No handler runs: what state does not allow is refused in its block, once, instead of being tried after every one.
    """
    try:
        key, organisation = authenticate(rules, view, transaction, block)
        require_entitled(type(transaction.message(rules)), key, organisation)
    except Rejected as refusal:
        return _refused(refusal.code, refusal.facts, _told(refusal), ())
    except HALTING:
        raise
    except BaseException as error:  # noqa: BLE001 - as in apply_tx: who sends what meets a bug stops no node.
        return _refused(INTERNAL_ERROR, {}, _bounded(f"INTERNAL_ERROR: {type(error).__name__}: {error}"), ())
    return Result(0, b"", "", (), ())


def apply_block(
    rules: Rules, committed: ScanView, transactions: Iterable[Transaction], block: BlockContext
) -> tuple[tuple[Result, ...], dict[bytes, bytes | None]]:
    """Decide a block's transactions in order: their results and the block's writes. An empty block writes nothing."""
    overlay = Overlay(committed)
    results = []
    for index, transaction in enumerate(transactions):
        result = apply_tx(rules, overlay, transaction, block, index)
        overlay.apply(result.writes)
        results.append(result)
    if results:
        overlay.apply(replay.prune(committed, block.height, rules.limits.replay_pruned_per_block))
    return tuple(results), dict(overlay.writes)


def turn(
    book: Rulebook, rules: Rules, committed: ScanView, writes: Mapping[bytes, bytes | None], block: BlockContext
) -> Turn:
    """Which rules decide the block after this one, whose own writes are given.

    Where an upgrade is due, the state is led over now: what is committed is a state of the rules that will read it.
    When a migration fails, on every replica alike, the upgrade is called off and the rules stay. Raises UnknownRules
    when this program does not know what is due: it must not go on.
    """
    overlay = ScanOverlay(committed)
    overlay.apply(tuple(Write(path, body) for path, body in writes.items()))
    coming = upgrades.due(overlay, block.height)
    if coming is None:
        return Turn(rules)
    steps = book.steps(rules.version, coming.version)
    led = ScanOverlay(overlay)
    try:
        for step in steps:
            led.apply(step.migrated(led))
    except HALTING:
        raise
    except BaseException as error:  # noqa: BLE001 - as in apply_tx: pure, so the same on every replica.
        stays = upgrades.called_off(overlay, coming)
        return Turn(rules, stays.writes, _bounded(f"{type(error).__name__}: {error}"))
    led.apply(upgrades.happened(coming).writes)
    return Turn(book.of(coming.version), tuple(Write(path, body) for path, body in led.writes.items()))


def authenticate(rules: Rules, view: View, transaction: Transaction, block: BlockContext, index: int = 0) -> Signer:
    """Establish who signed a transaction, now, for this chain, for the first time.

    Rejects: MalformedTransaction, WrongChain, UnknownKey, KeyIsRevoked, BadSignature, MemberInactive, Expired,
    ValidTooLong, Replayed. Before the key is known nothing is hashed but the header, and before its signature holds
    nothing is decoded; nothing is remembered of what fails here.
    """
    sealed, ledger = transaction.sealed, LedgerId(block.chain_id, origin.genesis_of(view))
    require(sealed.ledger == ledger, lambda: _wrong_chain(sealed.ledger, ledger))
    key = identity.require_good_key(view, sealed.key, Place(block.height, index))
    organisation = identity.ORGANISATIONS.at(view, key.organisation)
    require(transaction.is_authentic, lambda: BadSignature(key=sealed.key))
    signed = transaction.envelope
    identity.require_acting(key, organisation, rules.messages.get(signed.tag))
    require(block.height <= signed.valid_until, lambda: Expired(valid_until=signed.valid_until, height=block.height))
    furthest = block.height + rules.limits.tx_validity_blocks
    require(signed.valid_until <= furthest, lambda: ValidTooLong(valid_until=signed.valid_until, furthest=furthest))
    seen = replay.is_seen(view, signed.valid_until, signed.identity)
    require(not seen, lambda: Replayed(transaction=signed.identity))
    return Signer(key, organisation)


def require_entitled(kind: type[Message], key: identity.Key, organisation: Organisation) -> None:
    """Hold a key and its organisation to what a message asks of its signer.

    Rejects: MemberInactive, WrongPurpose, MissingRole.
    """
    identity.require_acting(key, organisation, kind)
    require(key.purpose is kind.purpose, lambda: WrongPurpose(purpose=key.purpose, wanted=kind.purpose))
    allowed = kind.role is None or kind.role in organisation.roles
    require(allowed, lambda: MissingRole(organisation=key.organisation, wanted=str(kind.role)))


def parse(raw: bytes) -> Envelope:
    """Read an envelope without judging it. Rejects: MalformedTransaction."""
    return Transaction(raw).envelope


def message_of(rules: Rules, signed: Envelope) -> Message:
    """The message in an envelope. Rejects: UnknownMessage, MalformedTransaction."""
    return _message(rules.messages, rules.version, signed)


def past_message_of(book: Rulebook, signed: Envelope) -> Message:
    """The message in an envelope that may have been decided under any of the rules. For readers; rejects the same."""
    return _message(book.messages, book.newest.version, signed)


def _message(kinds: Mapping[str, type[Message]], version: int, signed: Envelope) -> Message:
    kind = kinds.get(signed.tag)
    if kind is None:
        raise UnknownMessage(type=_bounded(signed.tag))
    message: Message = _naming_the_part(lambda: codec.shape_of(kind, version).unpack(signed.body, ""))
    return message


def _naming_the_part(read: Callable[[], R]) -> R:
    """What a decoder reads. Rejects: MalformedTransaction, with words of our own: a rewording would be a fork."""
    try:
        return read()
    except Malformed as error:
        raise MalformedTransaction(field=_bounded(error.field), fault=str(error.fault)) from error


def _wrong_chain(named: LedgerId, wanted: LedgerId) -> WrongChain:
    return WrongChain(
        chain=named.chain_id, wanted=wanted.chain_id, genesis=named.genesis, wanted_genesis=wanted.genesis
    )


def _stated(raw: bytes) -> Genesis:
    return codec.decode(Genesis, raw, most=limits.VALUE_BYTES * limits.ORGANISATIONS)


def _dispatch(
    rules: Rules, view: View, transaction: Transaction, signer: Signer, block: BlockContext, index: int
) -> Outcome:
    (key, organisation), message = signer, transaction.message(rules)
    require_entitled(type(message), key, organisation)
    ledger, sender, roles = transaction.sealed.ledger, transaction.sealed.key, organisation.roles
    context = Context(ledger.genesis, block.height, index, block.time_ms, sender, key.organisation, roles)
    return rules.handlers[type(message)](view, message, context)


def _announced(events: tuple[Event, ...]) -> bytes:
    """The provable data of an acceptance. An event out of its bounds is the handler's bug, so this is part of it."""
    return codec.encode_plain([[event.tag, codec.shape_of(type(event)).to_plain(event)] for event in events])


def _refused(code: int, facts: dict[str, Fact], log: str, mark: tuple[Write, ...]) -> Result:
    plain: dict[str, Any] = {name: str(value) if isinstance(value, str) else value for name, value in facts.items()}
    return Result(code, codec.encode_plain(plain), log, mark, ())


def _told(refusal: Rejected) -> str:
    """A refusal for people, in a log that nothing depends on: with what the decoder said, in whatever words."""
    cause = refusal.__cause__
    return f"{refusal}: {_bounded(cause.why)}" if isinstance(cause, Malformed) else str(refusal)


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
