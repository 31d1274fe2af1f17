"""What a devnet consists of: its chain, its payload store, its organisations and who of them runs a node.

Read strictly from TOML (``chain_config/devnet.toml`` is the standard one): an unknown, missing or wrong field
is refused by name and file. Written back, so that a home knows what it was made from.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar

import tomli_w

from client_sdk.documents import strict_toml
from client_sdk.documents.strict_toml import TomlInvalid
from client_sdk.payloads.store import StoreKind
from contracts.kernel import codec, limits
from contracts.kernel.types import Role, Slug

from .errors import ManifestInvalid

VALIDATORS_MAX: Final = 16
KUBO_NODES_MAX: Final = 8
ORGANISATIONS_MAX: Final = 64
_CHAIN_SUFFIX_CHARS: Final = 9  # "-" and eight hexadecimal digits, so that no two devnets share a chain id.
_NANO: Final = 10**9

Choice = TypeVar("Choice", bound=StrEnum)


class Application(StrEnum):
    """What the validators run."""

    FEDLEDGER = "fedledger"  # ``abci_app``, one process for each validator.
    KVSTORE = "kvstore"  # CometBFT's own, inside the node: the yardstick of benchmarks.


class Timeouts(StrEnum):
    """How fast the chain runs; ``cometbft_config`` has the figures."""

    CONSORTIUM = "consortium"  # A block in about 300 ms.
    FAST = "fast"  # As fast as consensus allows, for tests.


@dataclass(frozen=True, slots=True)
class Organisation:
    """A member of the consortium: from the first block if it is a founder, else once the others admit it."""

    name: str
    roles: tuple[Role, ...]
    epsilon_cap_nano: int
    """Cap on its total privacy loss, in 10⁻⁹ of ε."""
    is_founder: bool

    @property
    def legal_id(self) -> str:
        """Who it is in law: nobody, so it says so."""
        return f"DEVNET:{self.name.upper()}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A devnet's parts. ``operators[i]`` is the organisation that runs ``validator-(i+1)``.

    The operators in ``stand_by`` run a node that decides nothing until the members admit it.
    """

    chain_name: str
    application: Application
    timeouts: Timeouts
    store: StoreKind
    kubo_count: int
    operators: tuple[str, ...]
    organisations: tuple[Organisation, ...]
    stand_by: tuple[str, ...] = ()

    @property
    def founders(self) -> tuple[Organisation, ...]:
        """The members from the first block."""
        return tuple(member for member in self.organisations if member.is_founder)

    @property
    def validators(self) -> tuple[str, ...]:
        """``validator-1`` and so on."""
        return tuple(f"validator-{number}" for number in range(1, len(self.operators) + 1))

    @property
    def kubo_nodes(self) -> tuple[str, ...]:
        """``kubo-1`` and so on; none for the embedded store."""
        return tuple(f"kubo-{number}" for number in range(1, self.kubo_count + 1))

    def varied(
        self,
        *,
        store: StoreKind | None = None,
        timeouts: Timeouts | None = None,
        application: Application | None = None,
    ) -> "Manifest":
        """The same network with another payload store, pace or application; None leaves each as it is."""
        changed = dataclasses.replace(
            self, timeouts=timeouts or self.timeouts, application=application or self.application
        )
        if store is None or store is self.store:
            return changed
        return dataclasses.replace(changed, store=store, kubo_count=2 if store is StoreKind.KUBO else 0)


def load_manifest(path: Path) -> Manifest:
    """Read a manifest. Raises ManifestInvalid, also when there is no such file."""
    try:
        with path.open("rb") as file:
            raw = file.read(strict_toml.BYTES_MAX + 1)
    except OSError as error:
        raise ManifestInvalid(str(path), "the file", f"cannot be read ({error.strerror})") from error
    return parse_manifest(raw, str(path))


def parse_manifest(document: bytes | str, source: str) -> Manifest:
    """Read a manifest; ``source`` is what errors call it. Raises ManifestInvalid."""
    try:
        table = strict_toml.parse(document, parse_float=Decimal)
    except TomlInvalid as error:
        raise ManifestInvalid(source, "the file", str(error)) from error
    top = _Fields(source, "", table)
    chain, storage = top.table("chain"), top.table("storage")
    nodes = tuple(_node(fields) for fields in top.tables("validator", VALIDATORS_MAX))
    organisations = tuple(_organisation(fields) for fields in top.tables("organisation", ORGANISATIONS_MAX))
    top.end()
    manifest = Manifest(
        chain_name=_chain_name(chain),
        application=chain.choice("application", Application),
        timeouts=chain.choice("timeouts", Timeouts),
        store=(store := storage.choice("kind", StoreKind)),
        kubo_count=storage.integer("nodes", 1, KUBO_NODES_MAX) if store is StoreKind.KUBO else 0,
        operators=tuple(operator for operator, _ in nodes),
        organisations=organisations,
        stand_by=tuple(operator for operator, is_seated in nodes if not is_seated),
    )
    chain.end()
    storage.end()
    _require_consistent(manifest, source)
    return manifest


def manifest_text(manifest: Manifest) -> str:
    """The manifest as TOML: ``parse_manifest`` gives the same one back."""
    storage: dict[str, str | int] = {"kind": manifest.store.value}
    if manifest.store is StoreKind.KUBO:
        storage["nodes"] = manifest.kubo_count
    document = {
        "chain": {
            "name": manifest.chain_name,
            "application": manifest.application.value,
            "timeouts": manifest.timeouts.value,
        },
        "storage": storage,
        "validator": [
            {"operator": operator, "genesis": operator not in manifest.stand_by} for operator in manifest.operators
        ],
        "organisation": [
            {
                "name": member.name,
                "roles": [role.value for role in member.roles],
                "epsilon_cap": Decimal(member.epsilon_cap_nano).scaleb(-9),
                "founder": member.is_founder,
            }
            for member in manifest.organisations
        ],
    }
    return f"# What this devnet was made from. Changing it here changes nothing.\n{tomli_w.dumps(document)}"


class _Fields:
    """One table of a manifest: fields are taken one by one, and what is left over is refused."""

    def __init__(self, source: str, where: str, table: Mapping[str, Any]) -> None:
        self.source = source
        self._where = where
        self._left = dict(table)

    def refuse(self, name: str, why: str) -> ManifestInvalid:
        """The error for a field of this table."""
        return ManifestInvalid(self.source, f"{self._where}{name}", why)

    def take(self, name: str, kind: type | tuple[type, ...], wanted: str) -> Any:
        """A field of one of the given types; TOML's booleans are no integers here."""
        if name not in self._left:
            raise self.refuse(name, f"is missing, {wanted} is wanted")
        value = self._left.pop(name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.refuse(name, f"must be {wanted}, not {str(value)[:60]!r}")
        return value

    def table(self, name: str) -> "_Fields":
        """A table of fields."""
        return _Fields(self.source, f"{self._where}{name}.", self.take(name, dict, "a table"))

    def tables(self, name: str, most: int) -> list["_Fields"]:
        """An array of 1 to ``most`` tables; errors count from 1."""
        items: list[Any] = self.take(name, list, f"a table written [[{name}]], once for each")
        if not 1 <= len(items) <= most or not all(isinstance(item, dict) for item in items):
            raise self.refuse(name, f"must be 1 to {most} tables written [[{name}]]")
        return [_Fields(self.source, f"{self._where}{name}[{number}].", item) for number, item in enumerate(items, 1)]

    def slug(self, name: str) -> str:
        """A name as the ledger allows it."""
        value: str = self.take(name, str, "a name")
        try:
            codec.shape_of(Slug).pack(value, name)
        except codec.Malformed as error:
            raise self.refuse(name, f"{value[:60]!r}: {error.why}") from error
        return value

    def choice(self, name: str, kind: type[Choice]) -> Choice:
        """One of an enumeration's values."""
        wanted = f"one of {', '.join(map(repr, map(str, kind)))}"
        value = self.take(name, str, wanted)
        try:
            return kind(value)
        except ValueError:
            raise self.refuse(name, f"must be {wanted}, not {value[:60]!r}") from None

    def integer(self, name: str, low: int, high: int) -> int:
        """An integer within bounds, both included."""
        value: int = self.take(name, int, f"an integer from {low} to {high}")
        if not low <= value <= high:
            raise self.refuse(name, f"must be from {low} to {high}, not {value}")
        return value

    def end(self) -> None:
        """Refuse what nobody took."""
        for name in sorted(self._left):
            raise self.refuse(name, "is not a setting")


def _chain_name(chain: _Fields) -> str:
    name = chain.slug("name")
    longest = limits.CHAIN_ID_CHARS - _CHAIN_SUFFIX_CHARS
    if len(name) > longest:
        raise chain.refuse("name", f"has {len(name)} characters, at most {longest} leave room for the random suffix")
    return name


def _node(fields: _Fields) -> tuple[str, bool]:
    """Who runs a node, and whether it is a validator from the first block."""
    operator = fields.slug("operator")
    is_seated: bool = fields.take("genesis", bool, "true or false")
    fields.end()
    return operator, is_seated


def _organisation(fields: _Fields) -> Organisation:
    name = fields.slug("name")
    roles = _roles(fields)
    epsilon = Decimal(fields.take("epsilon_cap", (int, Decimal), "a number"))
    most = limits.EPSILON_NANO_MAX // _NANO
    if not epsilon.is_finite() or not 0 <= epsilon <= most or (epsilon * _NANO) % 1:
        raise fields.refuse("epsilon_cap", f"must be from 0 to {most} with at most 9 decimals, not {epsilon}")
    founder = fields.take("founder", bool, "true or false")
    fields.end()
    return Organisation(name, roles, int(epsilon * _NANO), founder)


def _roles(fields: _Fields) -> tuple[Role, ...]:
    wanted = f"a list of {', '.join(map(repr, map(str, Role)))}"
    given: list[Any] = fields.take("roles", list, wanted)
    unknown = [role for role in given if role not in tuple(Role)]
    if not given or unknown or len(set(given)) != len(given):
        raise fields.refuse("roles", f"must be {wanted}, each at most once, not {str(given)[:120]}")
    return tuple(Role(role) for role in given)


def _require_consistent(manifest: Manifest, source: str) -> None:
    """Check what fields cannot say alone.

    One validator for each operator keeps everybody under a third of the power from four validators on: with a third
    one can stop CometBFT.
    """
    members = {member.name: member for member in manifest.organisations}
    if len(members) != len(manifest.organisations):
        names = [member.name for member in manifest.organisations]
        twice = next(name for name in names if names.count(name) > 1)
        raise ManifestInvalid(source, "organisation", f"{twice!r} is there twice")
    for number, operator in enumerate(manifest.operators, 1):
        field, member = f"validator[{number}].operator", members.get(operator)
        if member is None:
            raise ManifestInvalid(source, field, f"{operator!r} is no organisation of this manifest")
        if Role.OPERATOR not in member.roles:
            raise ManifestInvalid(source, field, f"{operator!r} must have the role 'operator'")
        if not member.is_founder and operator not in manifest.stand_by:
            raise ManifestInvalid(source, field, f"{operator!r} must be a founder: it decides the first block")
        if operator in manifest.operators[: number - 1]:
            raise ManifestInvalid(source, field, f"{operator!r} runs another validator already")
    if len(manifest.stand_by) == len(manifest.operators):
        raise ManifestInvalid(source, "validator", "none of them is in the genesis")
