"""The hash of every contract's state after a block: a node records them, a header proves them."""

from dataclasses import dataclass
from typing import Any, Final

from contracts.kernel import codec, merkle
from contracts.kernel.codec import Malformed
from contracts.kernel.types import Height
from contracts.registry import RULES
from contracts.rulebook import Rulebook

from ..light import VerificationFailed, rules_of
from ..rpc import AnswerMalformed, RpcClient
from .queries import QueryRefused
from .trusted_headers import TrustedHeaders

_ANSWER_BYTES_MAX: Final = 16 * 1024
_FIELDS: Final = dict.fromkeys(("height", "since", "oldest", "roots"))
_HEIGHT: Final = codec.shape_of(Height)
_WHAT: Final = "hashes of the contracts"


@dataclass(frozen=True, slots=True)
class ContractRoots:
    """The hashes after the block of a height, in the ledger's order. Header ``height + 1`` proves ``roots``.

    ``since`` is the height since which the node says that they hold, ``oldest`` the first one that it has recorded.
    """

    height: int
    since: int
    oldest: int
    roots: dict[str, bytes]


async def contract_roots(rpc: RpcClient, headers: TrustedHeaders, height: int, book: Rulebook = RULES) -> ContractRoots:
    """What a node has recorded of a height, held to the next header, which is waited for.

    Raises QueryRefused for a height that was not recorded, AnswerMalformed, VerificationFailed, NewerRules, and as
    TrustedHeaders.
    """
    found = await recorded_roots(rpc, height)
    root = merkle.root_of_stores(found.roots)
    state = await headers.at(height + 1)
    header = state.verified_header
    if root != header.app_hash:
        why = f"they lead to {root.hex()}, the header of block {height + 1} has {header.app_hash.hex()}"
        raise VerificationFailed(f"{_WHAT} at {height}", why)
    rules_of(state, book)  # Names and order are under the root: with it they are proved, and this says what they mean.
    return found


async def recorded_roots(rpc: RpcClient, height: int) -> ContractRoots:
    """What a node has recorded of a height, by its word; 0 is its newest.

    Raises QueryRefused for a height that was not recorded, AnswerMalformed, VerificationFailed for another height.
    """
    answer = await rpc.abci_query("/roots", codec.encode_plain({"height": height}))
    if answer.code != 0:
        raise QueryRefused(answer.code, answer.log)
    found = _read(answer.value)
    if height not in (0, found.height):
        raise VerificationFailed(f"{_WHAT} at {height}", f"the answer is for height {found.height}")
    return found


def _read(value: bytes) -> ContractRoots:
    try:
        plain = codec.decode_plain(value, most=_ANSWER_BYTES_MAX)
        if not isinstance(plain, dict) or plain.keys() != _FIELDS.keys():
            raise Malformed("", f"must be a map of {', '.join(_FIELDS)}")
        height, since, oldest = (_HEIGHT.unpack(plain[name], name) for name in ("height", "since", "oldest"))
        return ContractRoots(height, since, oldest, _roots(plain["roots"]))
    except Malformed as error:
        raise AnswerMalformed("roots", str(error)) from error


def _roots(value: Any) -> dict[str, bytes]:
    """The pairs of a name and a hash. Which names there are depends on the version: the header says."""
    pairs = (
        [tuple(pair) for pair in value if isinstance(pair, list) and len(pair) == 2] if isinstance(value, list) else []
    )
    roots = {
        name: root
        for name, root in pairs
        if type(name) is str and name.isascii() and type(root) is bytes and len(root) == merkle.DIGEST_BYTES
    }
    if not pairs or len(roots) != len(value):
        raise Malformed("roots", "must be the contracts with their hashes, each once")
    return roots
