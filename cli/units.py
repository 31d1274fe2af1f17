"""Ledger values as people read them: ε, times, sizes, keys, and the facts of refusals with their units."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from contracts.kernel import Event

NANO: Final = 10**9
MILLION: Final = 1_000_000
EPSILON_MEANS: Final = (
    "ε bounds what was declared, for one record: the ledger cannot see the noise. What it promises: docs/privacy.md."
)


def epsilon(nano: int) -> str:
    """ε from units of 10⁻⁹, with two decimals: ``3.80``."""
    return f"{nano / NANO:.2f}"


def delta(inverse: int) -> str:
    """δ from its inverse: ``1e-05``."""
    return f"{1 / inverse:g}"


def order(milli: int) -> str:
    """A Rényi order from thousandths: ``5.5``."""
    return f"{milli / 1000:g}"


def promise(epsilon_nano: int, delta_inverse: int, order_milli: int) -> str:
    """What an account is held to: ``ε = 4.00 at δ = 1e-05 (order 6)``."""
    return f"ε = {epsilon(epsilon_nano)} at δ = {delta(delta_inverse)} (order {order(order_milli)})"


def millionths(value: int) -> str:
    """A signed number in millionths: ``+0.15``."""
    return f"{value / MILLION:+.2f}"


def weight(value: int) -> str:
    """The weight of an update, by its reputation; 1 is neutral: ``1.08``."""
    from contracts.reputation import WEIGHT_ONE

    return f"{value / WEIGHT_ONE:.2f}"


def score(correct: int, total: int) -> str:
    """A score on the canary set: ``90.0% (90/100)``."""
    return f"{correct / total:.1%} ({correct}/{total})"


def time(milliseconds: int) -> str:
    """A block time, in UTC."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{milliseconds} ms"


def duration(milliseconds: int) -> str:
    """A span of block time: ``4 s``, ``2 h 30 min``."""
    seconds = milliseconds / 1000
    if seconds < 120:
        return f"{seconds:g} s"
    minutes = round(seconds / 60)
    days, rest = divmod(minutes, 24 * 60)
    parts = ((days, "d"), (rest // 60, "h"), (rest % 60, "min"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def size(count: int) -> str:
    """A number of bytes: ``1,234 bytes``."""
    return f"{count:,} bytes"


def key(public: bytes) -> str:
    """A public key as people compare it, did:key."""
    from contracts.kernel import crypto

    return crypto.did_key(public)


def fact(refusal: str, name: str, value: object) -> str:
    """A refusal's fact with its unit. ``refusal`` is its name, as in ``BUDGET_EXCEEDED``."""
    if isinstance(value, bytes):
        return key(value) if name == "key" and len(value) == 32 else value.hex()
    if isinstance(value, int):
        return (_UNITS.get((refusal, name)) or _UNITS.get((_ANY, name)) or str)(value)
    return str(value)


def event_fact(name: str, value: object) -> str:
    """A fact of an event with its unit."""
    if isinstance(value, int) and not isinstance(value, bool):
        if name == "until":
            return time(value)
        if name.startswith("epsilon"):
            return epsilon(value)
        if name == "deviation":
            return millionths(value)
    return value.hex() if isinstance(value, bytes) else str(value)


def event_facts(event: "Event") -> str:
    """An event's declared fields, each with its unit, on one line."""
    names = (field.name for field in fields(event))
    return ", ".join(f"{name} {event_fact(name, getattr(event, name))}" for name in names)


def _epsilon_fact(value: int) -> str:
    return f"ε = {epsilon(value)}"


def _block(value: int) -> str:
    return f"block {value}"


_ANY: Final = "*"
_UNITS: Final[Mapping[tuple[str, str], Callable[[int], str]]] = {
    ("BUDGET_EXCEEDED", "spent"): _epsilon_fact,
    ("BUDGET_EXCEEDED", "wanted"): _epsilon_fact,
    ("BUDGET_EXCEEDED", "limit"): _epsilon_fact,
    ("NO_ROOM", "limit"): _epsilon_fact,
    ("NO_ROOM", "taken"): _epsilon_fact,
    ("LIMIT_OVER_CAP", "wanted"): _epsilon_fact,
    ("LIMIT_OVER_CAP", "cap"): _epsilon_fact,
    ("PHASE_OVER", "until"): time,
    ("PHASE_OVER", "now"): time,
    ("PHASE_NOT_OVER", "until"): time,
    ("PHASE_NOT_OVER", "until_height"): _block,
    ("TOO_LITTLE_REPUTATION", "reputation"): millionths,
    ("TOO_LITTLE_REPUTATION", "minimum"): millionths,
    ("PAYLOAD_TOO_LARGE", "size"): size,
    ("PAYLOAD_TOO_LARGE", "limit"): size,
    ("REVOCATION_MOVES_LATER", "wanted"): _block,
    (_ANY, "order_milli"): order,
    (_ANY, "furthest"): _block,
    (_ANY, "height"): _block,
    (_ANY, "revoked_from"): _block,
    (_ANY, "since"): _block,
    (_ANY, "valid_until"): _block,
}
UNITS: Final = tuple(_UNITS)  # For the test that every refusal named here exists.
