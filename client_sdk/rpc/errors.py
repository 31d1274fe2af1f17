"""What a call to a node can come back with instead of an answer.

``AnswerMalformed``, for an answer that makes no sense, is in ``client_sdk.documents.strict_json``.
"""

from collections.abc import Sequence

from ..errors import Kind, SdkError


class RpcError(SdkError):
    """Root of what a call to a node raises."""

    kind = Kind.REFUSED
    hint = "The message is the node's own: 'fedledger doctor' looks at all of them."


class NodeUnavailable(RpcError):
    """Nobody answered. ``addresses`` and ``reasons`` say who was asked and what happened, in the same order."""

    kind = Kind.ACCESS
    hint = "Check that the node runs and that the address is right: `fedledger doctor`, `fedledger devnet status`."

    def __init__(self, addresses: Sequence[str], reasons: Sequence[str]) -> None:
        tried = "; ".join(f"{address}: {reason}" for address, reason in zip(addresses, reasons, strict=True))
        super().__init__(f"no node answered ({tried})")
        self.addresses = tuple(addresses)
        self.reasons = tuple(reasons)


class NodeError(RpcError):
    """A node answered that it cannot or will not: JSON-RPC's code and message, and CometBFT's detail."""

    hint = "The message is the node's own. A node that is still syncing answers again later."

    def __init__(self, code: int, message: str, detail: str = "") -> None:
        super().__init__(f"the node answered: {detail or message} ({code})")
        self.code = code
        self.message = message
        self.detail = detail


class TxInCache(NodeError):
    """The node has seen these bytes before: waiting, decided, or refused a moment ago. Ask what became of them."""


class HeightUnavailable(NodeError):
    """The node does not have this height, perhaps not yet."""


class HeightPruned(HeightUnavailable):
    """The node does not have this height any more."""

    hint = "Ask a node that keeps older blocks."


_KINDS: tuple[tuple[str, type[NodeError]], ...] = (
    ("tx already exists in cache", TxInCache),
    ("must be less than or equal to the current blockchain height", HeightUnavailable),
    ("is not available, lowest height is", HeightPruned),
    ("could not find results for height", HeightUnavailable),
    ("could not find validator set for height", HeightUnavailable),
)


def node_error(code: int, message: str, detail: str) -> NodeError:
    """The most precise class for what a node says; CometBFT tells errors apart by their text only."""
    for text, kind in _KINDS:
        if text in detail:
            return kind(code, message, detail)
    return NodeError(code, message, detail)


def is_not_found(error: NodeError) -> bool:
    """Whether a node says that it knows no transaction of the hash asked for."""
    return error.detail.startswith("tx (") and error.detail.endswith(") not found")
