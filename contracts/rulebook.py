"""Rules by version: what holds under each version of the ledger, and what leads from one to the next.

``Rules`` is everything that whoever decides, stores, proves or reads must know of one version: its contracts and from
them the stores in their order, the messages with their handlers, events, refusals, state paths and bounds. A
``Rulebook`` is the versions that a program knows. It is data: the application, the tree, recovery, readers and receipts
are handed one, and ask it for the version that a block, a header or a stored state names. Versions only follow each
other: stores are appended, names and codes are never given a second meaning, and state is led over by migrations, once
and within a bound.

Left to others: which contracts there are (``registry``), which version is in force (``upgrades``), when the rules turn
(``transition``).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from .kernel import Contract, Event, Message, Rejected, ScanView, Write, codec, limits, refusals, replay
from .kernel.merkle import split_path
from .kernel.rules import Handler, refusals_of
from .kernel.state import Map

OF_NO_CONTRACT = refusals.__name__  # Where the refusals are declared that belong to no contract.


class RulesInconsistent(RuntimeError):
    """Two contracts claim the same thing, one forgot to declare something, or a version does not follow another."""

    kind: ClassVar[str] = "bug"


class UnknownRules(LookupError):
    """The ledger has rules that this program does not know."""

    kind: ClassVar[str] = "environment"
    hint: ClassVar[str] = "Install a fedledger that knows the rules of this version."

    def __init__(self, version: int, known: tuple[int, ...]) -> None:
        self.version, self.known = version, known
        mine = ", ".join(map(str, known))
        super().__init__(
            f"the ledger has rules of version {version}, this program knows {mine}: install a fedledger that knows "
            f"version {version}"
        )


class MigrationFailed(RuntimeError):
    """The state cannot be led over to the next version: the upgrade is called off."""

    kind: ClassVar[str] = "bug"


@dataclass(frozen=True)
class Limits:
    """The bounds of transactions and blocks, which are no contract's. Contracts have theirs in records and handlers."""

    tx_validity_blocks: int = limits.TX_VALIDITY_BLOCKS
    block_txs_per_organisation: int = limits.BLOCK_TXS_PER_ORGANISATION
    block_bytes: int = limits.BLOCK_BYTES
    replay_pruned_per_block: int = limits.REPLAY_PRUNED_PER_BLOCK


Migration = Callable[[ScanView], Iterable[Write]]
"""What leads state over from the version before, as a pure function of it. It runs once; its writes are bounded."""


@dataclass(frozen=True, eq=False)
class Rules:
    """What holds under one version. Make it with ``first`` or ``then``, which hold the parts to each other."""

    version: int
    contracts: tuple[Contract, ...]
    stores: tuple[str, ...]  # The authenticated ones in the order of their roots, which is that of their age.
    limits: Limits
    migrations: tuple[Migration, ...]  # From the version before.

    @classmethod
    def first(cls, contracts: tuple[Contract, ...], bounds: Limits = Limits()) -> "Rules":
        """The rules of version 1. Raises RulesInconsistent."""
        return _checked(cls(1, contracts, (replay.SEEN.prefix.split("/")[0], *_by_age(contracts)), bounds, ()))

    def then(
        self,
        version: int,
        contracts: tuple[Contract, ...],
        *,
        migrations: tuple[Migration, ...] = (),
        bounds: Limits | None = None,
    ) -> "Rules":
        """The rules that follow these: the stores of new contracts come last. Raises RulesInconsistent."""
        if version <= self.version:
            raise RulesInconsistent(f"version {version} does not follow {self.version}")
        added = tuple(name for name in _by_age(contracts) if name not in self.stores)
        return _checked(Rules(version, contracts, self.stores + added, bounds or self.limits, migrations))

    @cached_property
    def handlers(self) -> dict[type[Message], Handler]:
        """What decides each message."""
        return {message: handler for contract in self.contracts for message, handler in contract.handlers.items()}

    @cached_property
    def messages(self) -> Mapping[str, type[Message]]:
        """What may be signed, by tag."""
        return {message.tag: message for contract in self.contracts for message in contract.handlers}

    @cached_property
    def events(self) -> Mapping[str, type[Event]]:
        """What may happen, by tag."""
        return {event.tag: event for contract in self.contracts for event in contract.events()}

    @cached_property
    def refusals(self) -> Mapping[int, type[Rejected]]:
        """What may be refused, by code: the transition's own first."""
        declared = (refusal for contract in self.contracts for refusal in contract.refusals())
        return {refusal.code: refusal for refusal in (*refusals_of(OF_NO_CONTRACT), *declared)}

    @cached_property
    def state(self) -> Mapping[str, Map[Any]]:
        """The families of records, by the path that they begin with; the replay marks first."""
        declared = (item for contract in self.contracts for item in contract.state)
        return {item.prefix: item for item in (replay.SEEN, *declared)}

    def map_of(self, path: bytes) -> Map[Any] | None:
        """The family of records that a path belongs to; None for a path that nobody declares."""
        parts = path.decode("ascii", "replace").split("/")
        prefixes = ("/".join(parts[:length]) for length in range(len(parts), 0, -1))
        return next((self.state[prefix] for prefix in prefixes if prefix in self.state), None)

    def migrated(self, before: ScanView) -> tuple[Write, ...]:
        """What leads the state before over to this version. Raises MigrationFailed."""
        writes: list[Write] = []
        for migration in self.migrations:
            for write in migration(before):
                if len(writes) == limits.MIGRATION_WRITES:
                    raise MigrationFailed(f"to version {self.version}: more than {limits.MIGRATION_WRITES} writes")
                self._require_kept(write)
                writes.append(write)
        return tuple(writes)

    def _require_kept(self, write: Write) -> None:
        """Hold a migration's write to what the tree commits and these rules read. Raises MigrationFailed.

        Later than here, nobody could call the upgrade off: the tree's refusal would stop every node.
        """
        try:
            store, _ = split_path(write.path)
            if store not in self.stores:
                raise MigrationFailed(f"to version {self.version}: {write.path!r} is in no store")
            if write.body is not None:
                self._require_readable(write.path, write.body)
        except ValueError as error:
            raise MigrationFailed(f"to version {self.version}: {error}, at {write.path!r}") from error

    def _require_readable(self, path: bytes, body: bytes) -> None:
        family = self.map_of(path)
        if family is None:
            raise MigrationFailed(f"to version {self.version}: nobody reads {path!r}")
        codec.shape_of(family.record, self.version).of_plain(codec.decode_plain(body, most=limits.VALUE_BYTES))


class Rulebook:
    """The versions of the rules that a program knows."""

    def __init__(self, *versions: Rules) -> None:
        """Each follows the one before. Raises RulesInconsistent."""
        if not versions:
            raise RulesInconsistent("there are no rules")
        for place, later in enumerate(versions[1:]):
            earlier = versions[place]
            if later.version <= earlier.version or later.stores[: len(earlier.stores)] != earlier.stores:
                raise RulesInconsistent(f"version {later.version} does not follow {earlier.version}")
        self._by_version = {rules.version: rules for rules in versions}
        handled = {message: None for rules in versions for message in rules.handlers}
        declared = (message for rules in versions for contract in rules.contracts for message in contract.messages())
        forgotten = [message.tag for message in declared if message not in handled]
        if forgotten:
            raise RulesInconsistent(f"messages without a handler under any rules: {forgotten}")

    def of(self, version: int) -> Rules:
        """The rules of a version. Raises UnknownRules."""
        rules = self._by_version.get(version)
        if rules is None:
            raise UnknownRules(version, self.known)
        return rules

    @property
    def known(self) -> tuple[int, ...]:
        """The versions, oldest first."""
        return tuple(self._by_version)

    @property
    def newest(self) -> Rules:
        """The rules that nothing follows yet."""
        return self._by_version[max(self._by_version)]

    def steps(self, after: int, to: int) -> tuple[Rules, ...]:
        """The versions on the way from one to a later one. Raises UnknownRules."""
        self.of(to)
        return tuple(rules for version, rules in self._by_version.items() if after < version <= to)

    @cached_property
    def messages(self) -> Mapping[str, type[Message]]:
        """What may be signed under any of the rules, by tag: a tag has one meaning for good."""
        return {tag: message for rules in self._by_version.values() for tag, message in rules.messages.items()}

    @cached_property
    def events(self) -> Mapping[str, type[Event]]:
        """What may happen under any of the rules, by tag."""
        return {tag: event for rules in self._by_version.values() for tag, event in rules.events.items()}

    @cached_property
    def refusals(self) -> Mapping[int, type[Rejected]]:
        """What may be refused under any of the rules, by code."""
        return {code: refusal for rules in self._by_version.values() for code, refusal in rules.refusals.items()}


def _checked(rules: Rules) -> Rules:
    """Rules whose declarations hold together. Raises RulesInconsistent."""
    _check_paths(rules)
    for contract in rules.contracts:
        _check_codes(contract)
        strangers = [message.tag for message in contract.handlers if message.__module__ not in contract.modules]
        if strangers:
            raise RulesInconsistent(f"{contract.name} handles {strangers}, which none of its modules declares")
    missing = [name for name in rules.stores[1:] if name not in _by_age(rules.contracts)]
    if missing:
        raise RulesInconsistent(f"the stores {missing} belong to no contract: what a ledger holds, it keeps")
    return rules


def _by_age(contracts: tuple[Contract, ...]) -> tuple[str, ...]:
    return tuple(contract.name for contract in sorted(contracts, key=lambda contract: contract.number))


def _check_paths(rules: Rules) -> None:
    paths = [item.prefix for contract in rules.contracts for item in contract.state]
    if len(paths) != len(dict.fromkeys(paths)):
        raise RulesInconsistent("a state path is declared twice")
    numbers = [contract.number for contract in rules.contracts]
    if len(numbers) != len(dict.fromkeys(numbers)):
        raise RulesInconsistent(f"two contracts have one number: {numbers}")
    for contract in rules.contracts:
        strangers = [item.prefix for item in contract.state if item.prefix.split("/")[0] != contract.name]
        if strangers:
            raise RulesInconsistent(f"{contract.name} declares paths outside its store: {strangers}")


def _check_codes(contract: Contract) -> None:
    codes = [refusal.code for refusal in contract.refusals()]
    first = contract.number * 100 + 1
    if codes != list(range(first, first + len(codes))):
        raise RulesInconsistent(f"{contract.name}: codes {codes} are not dense from {first}")
