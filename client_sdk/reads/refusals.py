"""A transaction's result as the client sees it: the events that happened, or the ledger's own refusal, typed.

The refusal raised here is the very class the chain raised, with the facts the chain gave. Both come from the result's
``data``, which the header's ``last_results_hash`` covers; logs and ABCI events are not covered and not used.
"""

import inspect
from typing import Final

from contracts.kernel import Event, codec
from contracts.kernel.codec import Malformed
from contracts.kernel.rules import Fact, name_of, text
from contracts.registry import RULES
from contracts.rulebook import Rulebook
from contracts.transition import INTERNAL_ERROR

from ..errors import Kind, SdkError

RESULT_BYTES_MAX = 1024 * 1024


class ResultMalformed(SdkError, ValueError):
    """A node gave a result that no ledger of this version produces."""

    kind = Kind.REFUSED


class LedgerBug(SdkError):
    """A rule failed on this transaction; it changed nothing. Please report it."""

    kind = Kind.BUG
    hint = "Report it with the transaction's hash; every replica refused it in the same way."


class UnknownRefusal(SdkError):
    """A refusal code this version of the SDK does not know."""

    kind = Kind.REFUSED
    hint = "Upgrade the SDK to the ledger's version: `fedledger doctor`."

    def __init__(self, code: int) -> None:
        super().__init__(f"the ledger refused with code {code}")
        self.code = code


class PoolShareFull(SdkError):
    """As much of the organisation waits in this node's pool as the node allows; nothing was decided."""

    kind = Kind.TIMEOUT  # It is waited out: what is left of it is a transaction that ran out of time.
    code: Final = 100_001
    name: Final = "POOL_SHARE_FULL"
    fact_names: Final = ("organisation", "share", "waiting", "limit", "waiting_bytes", "limit_bytes")
    hint = (
        "Wait: the SDK sends the same bytes again. If it lasts, see which of your programs or keys floods the ledger."
    )

    def __init__(self, **facts: Fact) -> None:
        super().__init__(facts)
        self.facts = facts

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{name}={text(value)}' for name, value in self.facts.items())})"


NODE_REFUSALS: Final = {PoolShareFull.code: PoolShareFull}
"""What a node says for itself, before any block: no rule of the ledger, and in no block's results."""


def events_of(data: bytes, book: Rulebook = RULES) -> tuple[Event, ...]:
    """The typed events of an accepted transaction. Raises ResultMalformed."""
    try:
        plain = codec.decode_plain(data, most=RESULT_BYTES_MAX)
        if type(plain) is not list:
            raise ResultMalformed("events: must be a list")
        return tuple(codec.shape_of(book.events[tag]).unpack(fields, tag) for tag, fields in plain)
    except (Malformed, KeyError, TypeError, ValueError) as error:
        raise ResultMalformed(f"events: {error}") from error


def refusal_of(code: int, data: bytes, log: str = "", book: Rulebook = RULES) -> Exception:
    """The typed refusal behind a code, the ledger's or a node's own, with its facts; to be raised by the caller."""
    if code == INTERNAL_ERROR:
        return LedgerBug(log or "INTERNAL_ERROR")
    kind = book.refusals.get(code) or NODE_REFUSALS.get(code)
    if kind is None:
        return UnknownRefusal(code)
    try:
        facts = codec.decode_plain(data, most=RESULT_BYTES_MAX)
    except Malformed:
        facts = {}
    known = isinstance(facts, dict) and all(type(value) in (int, str, bytes) for value in facts.values())
    return kind(**facts) if known and "self" not in facts else kind()  # A node may send any name.


def explain(code: int) -> tuple[str, str, str]:
    """Name, meaning and hint of a refusal code. Raises KeyError for a code nobody uses."""
    if code == INTERNAL_ERROR:
        return "INTERNAL_ERROR", "A rule of the ledger failed; the transaction changed nothing.", LedgerBug.hint
    if code in NODE_REFUSALS:
        own = NODE_REFUSALS[code]
        return own.name, (inspect.getdoc(own) or "").splitlines()[0], own.hint
    kind = RULES.refusals[code]
    return name_of(kind), kind.meaning(), kind.hint
