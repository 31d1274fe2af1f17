"""A running node as a source of ``node diff-state``, by the address of its RPC. What it answers is its word.

Left to others: the calls and the reading of answers (``client_sdk``), the comparison (``abci_app.inspection``), which
is not asynchronous: each question runs to its end on a loop of the source's own. Needs the extra ``[node]``, so this is
imported inside the verb.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from abci_app.inspection.sources import Roots, SourceFailed
from client_sdk.light import VerificationFailed
from client_sdk.reads.contract_roots import recorded_roots
from client_sdk.reads.queries import SCAN_LIMIT, QueryRefused, scan
from client_sdk.rpc import AnswerMalformed, NodeUnavailable, RpcClient, RpcError
from contracts.registry import RULES

T = TypeVar("T")
_ANSWER_BYTES_MAX: Final = 8 << 20
_LOG_CHARS: Final = 300


@contextmanager
def opened_node(address: str) -> Iterator["NodeSource"]:
    """A running node by its address. Raises SourceFailed, UnknownRules, AddressInvalid."""
    rpc = RpcClient([address], answer_bytes_max=_ANSWER_BYTES_MAX)
    with asyncio.Runner() as runner:
        try:
            yield NodeSource(address, rpc, runner)
        finally:
            runner.run(rpc.close())


class NodeSource:
    """A running node: an ``abci_app.inspection.sources.Source``."""

    whole = False

    def __init__(self, name: str, rpc: RpcClient, runner: asyncio.Runner) -> None:
        self.name, self._rpc, self._runner = name, rpc, runner
        self.chain_id = self._answer(rpc.status()).chain_id
        self.newest = self._answer(recorded_roots(rpc, 0)).height
        version = self._answer(rpc.abci_info()).app_version
        self.rules = RULES.of(version) if version else RULES.newest

    def roots(self, height: int) -> Roots:
        """The hashes at a height. Raises SourceFailed."""
        found = self._answer(recorded_roots(self._rpc, height))
        return Roots(found.roots, found.oldest)

    def entries(self, height: int, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The entries of a version. Raises SourceFailed, also when the node has moved on meanwhile."""
        after: bytes | None = None
        while page := self._answer(scan(self._rpc, prefix, after, SCAN_LIMIT, height=height)):
            yield from page
            after, _ = page[-1]

    def require_sound(self) -> None:
        """Nothing: a running node did when it started."""

    def _answer(self, question: Coroutine[Any, Any, T]) -> T:
        try:
            return self._runner.run(question)
        except (RpcError, AnswerMalformed, VerificationFailed) as error:
            raise SourceFailed(f"{self.name}: {_why(error)}") from error


def _why(error: Exception) -> str:
    if isinstance(error, NodeUnavailable):
        return error.reasons[0]
    if isinstance(error, QueryRefused):
        return error.log[:_LOG_CHARS]
    return str(error) if isinstance(error, RpcError) else f"its answer cannot be read: {error}"
