"""CometBFT's RPC: the SDK's only socket to a node.

``transport`` finds a node that answers, ``answers`` reads what it says, ``client`` has one method per call, ``heads``
follows the chain. The HTTP library is imported when the first call is made.
"""

from ..documents.strict_json import AnswerMalformed
from .answers import (
    ApplicationInfo,
    Block,
    Checked,
    ConsensusParams,
    FoundTx,
    NetInfo,
    NodeStatus,
    Peer,
    QueryAnswer,
)
from .client import RpcClient
from .errors import HeightPruned, HeightUnavailable, NodeError, NodeUnavailable, RpcError, TxInCache
from .heads import Heads, Patience
from .transport import AddressInvalid

__all__ = [
    "AddressInvalid",
    "AnswerMalformed",
    "ApplicationInfo",
    "Block",
    "Checked",
    "ConsensusParams",
    "FoundTx",
    "Heads",
    "HeightPruned",
    "HeightUnavailable",
    "NetInfo",
    "NodeError",
    "NodeStatus",
    "NodeUnavailable",
    "Patience",
    "Peer",
    "QueryAnswer",
    "RpcClient",
    "RpcError",
    "TxInCache",
]
