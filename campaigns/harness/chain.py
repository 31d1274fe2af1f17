"""The in-memory chain: the real transition over real signed envelopes, with height and time under a test's control.

It stands in for CometBFT, the application and the store at once: every transaction is sealed, goes through
``transition.apply_block`` and changes a dictionary and a Merkle tree. After each block it holds the results to what
the shells rely on (``_require_sound``). All keys and nonces follow from names and counters, so the same steps give
the same bytes, which is what makes a test a publishable vector.

``campaigns.harness.consortium`` has the organisations and the situations; ``tests.vectors_io`` writes the vectors.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from contracts import transition, validators
from contracts.kernel import Event, Message, Rejected, Write, codec, crypto, envelope
from contracts.kernel.envelope import LedgerId
from contracts.kernel.rules import Fact
from contracts.kernel.state_tree import StateTree, StateVersion
from contracts.kernel.types import Purpose
from contracts.possession import NewKey, possession_statement
from contracts.registry import RULES
from contracts.rulebook import Rulebook
from contracts.transition import BlockContext, Genesis, Result, Transaction
from contracts.validators import NewValidator

CHAIN_ID = "fedledger-test"
GENESIS_MS = 1_700_000_000_000
BLOCK_MS = 300
VALID_BLOCKS = 20


class InternalError(AssertionError):
    """A handler raised something that is no refusal: code 1."""


@dataclass(frozen=True)
class Signer:
    """A key pair that follows from its name: ``hospital-a/workload/0``."""

    organisation: str
    purpose: Purpose
    number: int = 0

    @cached_property
    def seed(self) -> bytes:
        return crypto.sha256(f"{self.organisation}/{self.purpose}/{self.number}".encode())

    @cached_property
    def public(self) -> bytes:
        return crypto.public_key(self.seed)

    def sign(self, statement: bytes) -> bytes:
        return crypto.sign(self.seed, statement)

    def enrolment(self, genesis: bytes | None = None, owner: str | None = None) -> NewKey:
        """The key as it is enrolled, with its proof of possession: on the consortium's ledger, or on another."""
        owner, genesis = owner or self.organisation, _usual() if genesis is None else genesis
        proof = crypto.sign(self.seed, possession_statement(genesis, owner, self.public, self.purpose))
        return NewKey(self.public, self.purpose, f"{self.purpose} {self.number}", proof)


@dataclass(frozen=True)
class Validator:
    """A validator's key pair that follows from its operator and a number: ``lab/validator/0``."""

    operator: str
    number: int = 0

    @cached_property
    def seed(self) -> bytes:
        return crypto.sha256(f"{self.operator}/validator/{self.number}".encode())

    @cached_property
    def public(self) -> bytes:
        return crypto.public_key(self.seed)

    def admission(self, genesis: bytes | None = None, operator: str | None = None) -> NewValidator:
        """The key as it is admitted, with its proof of possession: on the consortium's ledger, or another."""
        return admission_of(self.seed, operator or self.operator, genesis)


def admission_of(seed: bytes, operator: str, genesis: bytes | None = None) -> NewValidator:
    """A validator's key with its proof of possession for an operator."""
    public, genesis = crypto.public_key(seed), _usual() if genesis is None else genesis
    return NewValidator(operator, public, crypto.sign(seed, validators.possession_statement(genesis, operator, public)))


def _usual() -> bytes:
    """The genesis that most tests are about; the consortium is made of what is declared here."""
    from . import consortium

    return consortium.ledger().genesis


@dataclass(frozen=True)
class Member:
    """An organisation with its first human and its first workload key."""

    name: str

    @property
    def human(self) -> Signer:
        return self.key(Purpose.HUMAN)

    @property
    def worker(self) -> Signer:
        return self.key(Purpose.WORKLOAD)

    @property
    def validator(self) -> "Validator":
        return Validator(self.name)

    def key(self, purpose: Purpose, number: int = 0) -> Signer:
        return Signer(self.name, purpose, number)


Who: TypeAlias = Member | Signer  # A member signs with the key that the message asks for.


class Committed:
    """Committed state as the core sees it: a dictionary that can be walked in the order of its paths."""

    def __init__(self, entries: dict[bytes, bytes] | None = None) -> None:
        self.entries = dict(entries or {})
        self._paths = sorted(self.entries)

    def get(self, path: bytes) -> bytes | None:
        return self.entries.get(path)

    def scan(self, prefix: bytes, after: bytes | None = None, limit: int = 100) -> Iterator[tuple[bytes, bytes]]:
        start = bisect_left(self._paths, prefix)
        if after is not None:
            start = max(start, bisect_right(self._paths, after))
        for path in self._paths[start : start + limit]:
            if not path.startswith(prefix):
                return
            yield path, self.entries[path]

    def apply(self, writes: dict[bytes, bytes | None]) -> None:
        for path, body in writes.items():
            known = path in self.entries
            if body is None and known:
                del self.entries[path]
                del self._paths[bisect_left(self._paths, path)]
            elif body is not None:
                self.entries[path] = body
                if not known:
                    insort(self._paths, path)


@dataclass(frozen=True)
class BlockStep:
    """A block as it was decided: enough to decide it again."""

    height: int
    time_ms: int
    txs: tuple[bytes, ...]


@dataclass(frozen=True)
class GivenStep:
    """Entries put into the state by hand, for what would take a thousand blocks to reach."""

    writes: tuple[Write, ...]


Step: TypeAlias = BlockStep | GivenStep


class Chain:
    """One replica. ``submit`` for what must pass, ``refused`` for what must not, ``block`` for several at once."""

    def __init__(self, genesis: Genesis, book: Rulebook = RULES) -> None:
        self.genesis = genesis.encode()
        self.book, self.rules = book, book.of(genesis.rules)
        outcome = transition.genesis(self.rules, self.genesis, genesis.chain_id)
        self.chain_id = genesis.chain_id
        self.ledger = LedgerId(genesis.chain_id, crypto.sha256(self.genesis))
        self.height, self.time_ms = 0, GENESIS_MS
        self.view = Committed()
        self.tree: StateVersion = StateTree(self.rules.stores).latest
        self.setup = ""  # The stage from which the steps below start.
        self.steps: tuple[Step, ...] = ()
        self._pending_ms, self._nonces = BLOCK_MS, 0
        self._adopt(dict(outcome.writes))

    def fork(self) -> "Chain":
        """An independent chain at the same point."""
        twin = object.__new__(Chain)
        twin.__dict__.update(self.__dict__)
        twin.view = Committed(self.view.entries)
        return twin

    @property
    def root(self) -> bytes:
        """The root of the committed state: the next header's application hash."""
        return self.tree.root

    def advance(self, milliseconds: int) -> None:
        """Let the next block come this much later."""
        self._pending_ms += milliseconds

    def next_block(self) -> BlockContext:
        """Height and time of the block to come."""
        return BlockContext(self.chain_id, self.height + 1, self.time_ms + self._pending_ms)

    def given(self, *writes: Write) -> None:
        """Put entries into the committed state by hand, where reaching them would take too many blocks."""
        self._adopt(dict(writes))
        self.steps += (GivenStep(writes),)

    def seal(
        self,
        who: Who,
        message: Message,
        *,
        ledger: LedgerId | None = None,
        valid_until: int | None = None,
        nonce: bytes | None = None,
    ) -> bytes:
        """Sign a message as the member's key of the right purpose, or as exactly this key."""
        if isinstance(who, Member):
            who = who.key(message.purpose)
        return envelope.seal(
            who,
            ledger or self.ledger,
            tag=message.tag,
            body=codec.shape_of(type(message)).pack(message, ""),
            nonce=nonce or self._nonce(),
            valid_until=self.height + VALID_BLOCKS if valid_until is None else valid_until,
        )

    def block(self, *transactions: bytes | tuple[Who, Message]) -> tuple[Result, ...]:
        """Decide one block of transactions, given as bytes or as who signs what."""
        raw = tuple(tx if isinstance(tx, bytes) else self.seal(*tx) for tx in transactions)
        context = self.next_block()
        before = dict(self.view.entries)
        results, writes = transition.apply_block(self.rules, self.view, map(Transaction, raw), context)
        assert self.view.entries == before, "deciding a block changed the committed state"
        for result in results:
            _require_sound(result, self.book)
        assert raw or not writes, "an empty block must write nothing"
        turn = transition.turn(self.book, self.rules, self.view, writes, context)
        self.rules = turn.rules
        self._adopt({**writes, **dict(turn.writes)})
        self.height, self.time_ms, self._pending_ms = context.height, context.time_ms, BLOCK_MS
        self.steps += (BlockStep(context.height, context.time_ms, raw),)
        return results

    def submit(self, who: Who, message: Message) -> tuple[Event, ...]:
        """One transaction in a block of its own. Returns its events; raises its refusal, typed and with its facts."""
        return accepted(self.block((who, message))[0], self.book)

    def refused(self, refusal: type[Rejected], who: Who, message: Message) -> dict[str, Fact]:
        """One transaction that must be refused like this, changing nothing but its replay mark. Returns the facts."""
        return self.refused_raw(refusal, self.seal(who, message))

    def refused_raw(self, refusal: type[Rejected], raw: bytes) -> dict[str, Fact]:
        """As ``refused``, for bytes that are sealed already, or are no envelope at all."""
        (result,) = self.block(raw)
        assert result.code == refusal.code, f"expected {refusal.__name__}, got {result.code} {result.log}"
        return facts_of(result)

    def _nonce(self) -> bytes:
        self._nonces += 1
        return crypto.sha256(f"nonce {self._nonces}".encode())[:16]

    def _adopt(self, writes: dict[bytes, bytes | None]) -> None:
        self.view.apply(writes)
        self.tree = self.tree.staged(writes, self.rules.stores)


def accepted(result: Result, book: Rulebook = RULES) -> tuple[Event, ...]:
    """The events of an accepted transaction; raises its refusal otherwise."""
    if result.code == transition.INTERNAL_ERROR:
        raise InternalError(result.log)
    if result.code:
        raise book.refusals[result.code](**facts_of(result))
    return result.events


def facts_of(result: Result) -> dict[str, Fact]:
    """The facts of a refusal, read back from the provable part of its result."""
    facts: dict[str, Fact] = codec.decode_plain(result.data, most=10_000)
    return facts


def events_of(result: Result, book: Rulebook = RULES) -> tuple[Event, ...]:
    """The events of an acceptance, read back from the provable part of its result."""
    pairs: list[tuple[str, Any]] = codec.decode_plain(result.data, most=100_000)
    return tuple(codec.shape_of(book.events[tag]).unpack(fields, "") for tag, fields in pairs)


def _require_sound(result: Result, book: Rulebook) -> None:
    """What every result must be, whatever the transaction was."""
    if result.code == 0:
        assert events_of(result, book) == result.events, "the provable data is not the events"
    else:
        assert not result.events, "a refusal announces nothing"
        marks = [write.path[:12] for write in result.writes]
        assert marks in ([], [b"replay/seen/"]), "a refusal wrote state"
    paths = [write.path for write in result.writes]
    assert len(paths) == len({*paths}), "a path is written twice"


def at_height(chain: Chain, height: int) -> None:
    """Let empty blocks pass until the next one has this height."""
    while chain.height + 1 < height:
        chain.block()
