"""CometBFT's RPC as typed methods. What they answer is one node's word: ``client_sdk.reads.verified`` checks it."""

import base64
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from ..documents.strict_json import Answer, AnswerMalformed
from ..light.documents import read_genesis, read_signed_header, read_validators_page
from ..light.errors import VerificationFailed
from ..light.headers import VALIDATORS_MAX, Genesis, SignedHeader, TxResult, Validator, ValidatorSet
from . import answers
from .answers import ApplicationInfo, Block, Checked, ConsensusParams, FoundTx, NetInfo, NodeStatus, QueryAnswer
from .errors import NodeError, is_not_found
from .heads import Heads, Patience
from .transport import ANSWER_BYTES_MAX, CALL_SECONDS, Transport

_PAGE: Final = 100  # The most validators CometBFT answers at once.


class RpcClient:
    """One ledger's nodes. Every method raises NodeUnavailable, NodeError or AnswerMalformed.

    Heights are 1 and up; None asks for the latest. One client serves one asyncio loop; use it as an async context, or
    ``close`` it.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        call_seconds: float = CALL_SECONDS,
        answer_bytes_max: int = ANSWER_BYTES_MAX,
        patience: Patience | None = None,
    ) -> None:
        """``addresses`` are ``http://HOST:PORT``, the preferred one first. Raises AddressInvalid."""
        self.transport = Transport(addresses, call_seconds=call_seconds, answer_bytes_max=answer_bytes_max)
        self.patience = patience or Patience()
        self.heads = Heads(self, self.patience)

    async def status(self) -> NodeStatus:
        """Who the node is, and how far it has come."""
        return answers.read_status(await self.transport.call("status", {}))

    async def broadcast_tx_sync(self, raw: bytes) -> Checked:
        """Offer a transaction to the mempool. Raises also TxInCache: the node has seen these bytes before.

        Is not repeated once a node may have seen it: NodeUnavailable then means that nobody knows, so look it up by
        its hash.
        """
        params = {"tx": base64.b64encode(raw).decode("ascii")}
        return answers.read_checked(await self.transport.call("broadcast_tx_sync", params, repeatable=False))

    async def tx(self, digest: bytes, *, prove: bool = False) -> FoundTx | None:
        """A decided transaction by the SHA-256 of its bytes; None if the node knows of none."""
        params = {"hash": base64.b64encode(digest).decode("ascii"), "prove": prove}
        try:
            result = await self.transport.call("tx", params)
        except NodeError as error:
            if is_not_found(error):
                return None
            raise
        found = answers.read_tx(result)
        if found.hash != digest:
            raise AnswerMalformed("tx.hash", f"it is {found.hash.hex()}, asked was {digest.hex()}")
        return found

    async def block(self, height: int | None = None) -> Block:
        """A block. Raises also HeightUnavailable."""
        block = answers.read_block(await self._at("block", height))
        _require_height("block", height, block.header.height)
        return block

    async def block_results(self, height: int) -> tuple[TxResult, ...]:
        """What each transaction of a block did, in order. Raises also HeightUnavailable."""
        result = await self._at("block_results", height)
        _require_height("block_results", height, result["height"].integer(0, 2**63 - 1))
        return answers.read_block_results(result)

    async def commit(self, height: int | None = None) -> SignedHeader:
        """A header with the signatures that decided it. Raises also HeightUnavailable."""
        signed = read_signed_header((await self._at("commit", height))["signed_header"])
        _require_height("commit", height, signed.header.height)
        return signed

    async def validators(self, height: int | None = None) -> ValidatorSet:
        """All validators of a height, page by page. Raises also HeightUnavailable."""
        members: list[Validator] = []
        number = 1
        while True:
            page = read_validators_page(await self._at("validators", height, page=str(number), per_page=str(_PAGE)))
            _require_height("validators", height, page.height)
            height = page.height  # All pages of the same one.
            members += page.members
            if len(members) >= page.total:
                break
            if not page.members or number * _PAGE > VALIDATORS_MAX:
                raise AnswerMalformed("validators", f"{len(members)} came, {page.total} were announced")
            number += 1
        try:
            return ValidatorSet(tuple(members))
        except VerificationFailed as error:
            raise AnswerMalformed("validators", error.why) from error

    async def genesis(self) -> Genesis:
        """The genesis as the node says it is: for a look, never for trust, which needs your own copy."""
        return read_genesis((await self.transport.call("genesis", {}))["genesis"].members())

    async def abci_info(self) -> ApplicationInfo:
        """The application and its last committed height."""
        return answers.read_abci_info(await self.transport.call("abci_info", {}))

    async def abci_query(self, path: str, data: bytes, *, height: int = 0, prove: bool = False) -> QueryAnswer:
        """Ask the application. Height 0 leaves the choice to it. A code that is not 0 is in the answer, not raised."""
        params = {"path": path, "data": data.hex(), "height": str(height), "prove": prove}
        return answers.read_query(await self.transport.call("abci_query", params))

    async def consensus_params(self, height: int | None = None) -> ConsensusParams:
        """The limits on blocks."""
        return answers.read_consensus_params(await self._at("consensus_params", height))

    async def net_info(self) -> NetInfo:
        """The node's peers."""
        return answers.read_net_info(await self.transport.call("net_info", {}))

    async def close(self) -> None:
        """Stop following the chain, and close connections."""
        await self.heads.close()
        await self.transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _at(self, method: str, height: int | None, **others: str) -> Answer:
        return await self.transport.call(method, others if height is None else {**others, "height": str(height)})


def _require_height(method: str, asked: int | None, given: int) -> None:
    if asked not in (None, given):
        raise AnswerMalformed(f"{method}.height", f"it is {given}, asked was {asked}")
