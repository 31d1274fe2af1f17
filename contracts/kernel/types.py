"""The vocabulary of records: what a field may hold, its unit and its bounds.

Each name is an ``Annotated`` alias; the bound travels with the type and the codec enforces it, so no handler
checks a length again. Text is ASCII by construction: Unicode tables differ between Python versions, and a rule
that depends on them would fork the chain.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, Self, TypeAlias

from . import limits


@dataclass(frozen=True)
class Range:
    """Bounds of an integer, both included."""

    low: int
    high: int


@dataclass(frozen=True)
class Text:
    """Bounds of an ASCII string: its length and its alphabet, as one anchored expression."""

    longest: int
    pattern: re.Pattern[str]


@dataclass(frozen=True)
class Length:
    """Bounds of a byte string's length, both included."""

    low: int
    high: int


@dataclass(frozen=True)
class Items:
    """Bounds of the number of items in a tuple, both included."""

    low: int
    high: int


class Packed:
    """A value that stands in a record as a byte string of one length: ``of_bytes`` reads what ``bytes()`` writes."""

    __slots__ = ()
    SIZE: ClassVar[int]

    @classmethod
    def of_bytes(cls, raw: bytes) -> Self:
        """The value that SIZE bytes stand for. Raises ValueError when they stand for none."""
        raise NotImplementedError

    def __bytes__(self) -> bytes:
        raise NotImplementedError


_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", re.ASCII)
_LEGAL_ID = re.compile(r"[A-Z0-9](?:[A-Z0-9./:-]*[A-Z0-9])?", re.ASCII)
_PRINTABLE = re.compile(r"[ -~]*", re.ASCII)
_CID = re.compile(r"b[a-z2-7]{20,}", re.ASCII)
_RECIPIENT = re.compile(r"age1[02-9ac-hj-np-z]{20,}", re.ASCII)
_CHAIN = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)

Slug: TypeAlias = Annotated[str, Text(limits.NAME_CHARS, _SLUG)]
OrgId: TypeAlias = Slug  # An organisation's name on this ledger; its keys are did:key identifiers.
LegalId: TypeAlias = Annotated[str, Text(limits.LEGAL_ID_CHARS, _LEGAL_ID)]  # LEI or register and number.
DatasetId: TypeAlias = Slug
DataClass: TypeAlias = Slug
TaskId: TypeAlias = Slug
ModelId: TypeAlias = Slug
Label: TypeAlias = Annotated[str, Text(limits.LABEL_CHARS, _PRINTABLE)]
Reason: TypeAlias = Annotated[str, Text(limits.REASON_CHARS, _PRINTABLE)]
Cid: TypeAlias = Annotated[str, Text(limits.CID_CHARS, _CID)]  # CIDv1, base32, lower case.
AgeRecipient: TypeAlias = Annotated[str, Text(limits.RECIPIENT_CHARS, _RECIPIENT)]  # kernel.recipient judges it.
ChainId: TypeAlias = Annotated[str, Text(limits.CHAIN_ID_CHARS, _CHAIN)]

Digest: TypeAlias = Annotated[bytes, Length(32, 32)]  # SHA-256.
PublicKey: TypeAlias = Annotated[bytes, Length(32, 32)]  # Ed25519, RFC 8032.
Signature: TypeAlias = Annotated[bytes, Length(64, 64)]
Nonce: TypeAlias = Annotated[bytes, Length(limits.NONCE_BYTES, limits.NONCE_BYTES)]

Height: TypeAlias = Annotated[int, Range(0, 2**62)]  # Blocks.
TimeMs: TypeAlias = Annotated[int, Range(0, 2**62)]  # Block time, milliseconds since the Unix epoch.
DurationMs: TypeAlias = Annotated[int, Range(limits.PHASE_MS_MIN, limits.PHASE_MS_MAX)]
Count: TypeAlias = Annotated[int, Range(0, 2**62)]
Positive: TypeAlias = Annotated[int, Range(1, 2**62)]
Ppm: TypeAlias = Annotated[int, Range(0, limits.PARTS_PER_MILLION)]  # Parts per million.
VersionNumber: TypeAlias = Annotated[int, Range(0, 2**31)]
RoundNumber: TypeAlias = Annotated[int, Range(1, limits.ROUNDS_PER_TASK)]
SeatNumber: TypeAlias = Annotated[int, Range(0, limits.SEATS_PER_ROUND - 1)]  # An organisation's place in a task.
Seats: TypeAlias = Annotated[bytes, Length(0, limits.SEATS_PER_ROUND // 8)]  # A set of them (``kernel.bitmap``).
NanoEpsilon: TypeAlias = Annotated[int, Range(0, limits.EPSILON_NANO_MAX)]  # 10⁻⁹ of ε, in nats.
RenyiOrder: TypeAlias = Annotated[int, Range(1_001, 2**20)]  # In thousandths; one of the table's.
DeltaInverse: TypeAlias = Annotated[int, Range(limits.DELTA_INVERSE_MIN, limits.DELTA_INVERSE_MAX)]


class Role(StrEnum):
    """What an organisation was admitted to do. Roles are additive; none implies another."""

    OPERATOR = "operator"  # Runs a validator.
    DATA_OWNER = "data-owner"  # Contributes updates trained on registered datasets.
    AGGREGATOR = "aggregator"  # Opens and closes rounds, proposes versions.
    VERIFIER = "verifier"  # Recomputes proposals and votes on them.
    AUDITOR = "auditor"  # Reads; holds no power beyond its vote as a member.


class Purpose(StrEnum):
    """Human keys consent, govern and revoke; workload keys train, aggregate and verify (paper section 3.4)."""

    HUMAN = "human"
    WORKLOAD = "workload"
