"""The kinds of hostile transactions, and which refusals are right for each.

None of them can ever be accepted, by construction and not by luck (``forger``). So an attack that is accepted, or
refused for another reason than its own, is a fault of the ledger.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from contracts import identity
from contracts.registry import RULES
from contracts.transition import (
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


class Kind(StrEnum):
    """What is wrong with a transaction."""

    NOISE = "random bytes"
    BIT_FLIP = "flipped bits"
    TRUNCATED = "cut short"
    EXTENDED = "bytes after the end"
    MANGLED = "bytes moved, doubled, spliced"
    HUGE_LENGTH = "a length without contents"
    OVERSIZE = "over the size limit"
    WRONG_TYPE = "a field of a wrong type"
    MISSING_FIELD = "a missing field"
    UNKNOWN_FIELD = "an unknown field"
    WRONG_BODY = "a body that is no map"
    DEEP = "deep nesting"
    NOT_CANONICAL = "a spelling that is not canonical"
    WRONG_HEADER = "another header"
    UNKNOWN_MESSAGE = "an unknown message"
    WRONG_CHAIN = "another chain's"
    BAD_SIGNATURE = "a signature that does not hold"
    OTHER_DOMAIN = "a signature for something else"
    STRANGER = "an unknown key"
    REVOKED = "a revoked key"
    EXPIRED = "expired"
    VALID_TOO_LONG = "valid for too long"
    REPLAY = "a replay"
    REPLAY_SIGNED_AGAIN = "a replay under another signature"
    WRONG_PURPOSE = "a key of another purpose"
    MISSING_ROLE = "a role that was not given"
    AGAINST_THE_RULES = "well formed, and against the rules"


_FORM = (MalformedTransaction.code,)
_DECIDED = tuple(one.code for one in (Replayed, Expired, identity.KeyIsRevoked))
_NAMES_ANOTHER_KEY = (identity.UnknownKey.code,)  # The key is looked up before it is held to the rest of the header.
_CHANGED = (
    *_DECIDED,
    *_NAMES_ANOTHER_KEY,
    *(one.code for one in (MalformedTransaction, WrongChain, BadSignature, ValidTooLong)),
)
_RULES = [code for code in RULES.refusals if code > 100]
EXPECTED: Final[Mapping[Kind, Iterable[int]]] = {
    **dict.fromkeys(Kind, _FORM),
    **dict.fromkeys((Kind.BIT_FLIP, Kind.MANGLED), _CHANGED),
    Kind.WRONG_HEADER: (*_FORM, *_NAMES_ANOTHER_KEY),
    Kind.UNKNOWN_MESSAGE: (UnknownMessage.code,),
    Kind.WRONG_CHAIN: (WrongChain.code,),
    Kind.BAD_SIGNATURE: (BadSignature.code,),
    Kind.OTHER_DOMAIN: (BadSignature.code,),
    Kind.STRANGER: (identity.UnknownKey.code,),
    Kind.REVOKED: (identity.KeyIsRevoked.code,),
    Kind.EXPIRED: (Expired.code,),
    Kind.VALID_TOO_LONG: (ValidTooLong.code,),
    **dict.fromkeys((Kind.REPLAY, Kind.REPLAY_SIGNED_AGAIN), _DECIDED),
    Kind.WRONG_PURPOSE: (WrongPurpose.code,),
    Kind.MISSING_ROLE: (MissingRole.code,),
    Kind.AGAINST_THE_RULES: _RULES,
}
"""The codes that are right for each kind: all others are faults."""


@dataclass(frozen=True)
class Attack:
    """A hostile transaction."""

    kind: Kind
    raw: bytes

    def is_right(self, code: int) -> bool:
        """Whether a refusal with this code names the reason."""
        return code in EXPECTED[self.kind]
