"""Promises: the privacy loss that an account is held to, and the one Rényi order at which it is counted.

Part of the contract ``identity``, whose organisations and datasets are each given one, for ever. What was spent of it
is kept by ``privacy_budget``; why one order, and how it is counted, stands in ``kernel.renyi``.
"""

from .kernel import Record, Rejected, renyi, require
from .kernel.types import DeltaInverse, NanoEpsilon, RenyiOrder


class Promise(Record):
    """What an account is held to: at most ε at δ = 1 / delta_inverse, counted at one Rényi order. Fixed for ever."""

    epsilon: NanoEpsilon
    delta_inverse: DeltaInverse
    order_milli: RenyiOrder


class UnknownOrder(Rejected, code=121, hint="Leave it out, or take one of the orders in docs/protocol.md."):
    """The Rényi order is not one of the table's."""


class NoRoom(Rejected, code=122, hint="State a larger limit or delta, or another order: see what is taken."):
    """The limit admits no loss at all: converting to (ε, δ) at its order takes all of it."""


def promised(epsilon: NanoEpsilon, delta_inverse: DeltaInverse, order_milli: RenyiOrder | None) -> Promise:
    """The promise with the order that was chosen, or the one that follows from the public limit and δ.

    Rejects: UnknownOrder.
    """
    order = renyi.best_order(epsilon, delta_inverse) if order_milli is None else order_milli
    require(order in renyi.ORDERS, lambda: UnknownOrder(field="order_milli", order_milli=order))
    return Promise(epsilon, delta_inverse, order)


def require_room(field: str, promise: Promise) -> None:
    """A promise that admits some loss. Rejects: NoRoom, naming the field that states its limit."""
    taken = renyi.offset_at(promise.order_milli, promise.delta_inverse)
    require(
        promise.epsilon > taken,
        lambda: NoRoom(field=field, limit=promise.epsilon, taken=taken, order_milli=promise.order_milli),
    )
