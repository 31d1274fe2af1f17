"""Keep-alive HTTP connections that write requests built beforehand and read CometBFT's answers, one at a time.

A general client costs half a millisecond of processor time for a request, which at thousands of them in a second would
be most of the machine. CometBFT's answers to ``broadcast_tx_sync`` always have a Content-Length, and nothing else is
understood here.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from benchmarks.load.steps import Step
from client_sdk.reads.refusals import PoolShareFull

_LENGTH: Final = re.compile(rb"\r\nContent-Length: (\d+)\r\n", re.IGNORECASE)
_CODE: Final = re.compile(rb'"code":(\d+)')
_LOG: Final = re.compile(rb'"(?:log|data)":"((?:[^"\\]|\\.)*)"')
_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node said to a transaction: the code, whether it only has no room for it now, and what else it said."""

    code: int
    is_full: bool = False
    error: str = ""


ACCEPTED: Final = Answer(0)


class Connection(asyncio.Protocol):
    """One connection to one node.

    ``answered`` is called with itself, the step and the answer; ``lost`` with itself and the step that waits for its
    answer, if one does, when the node closes the connection, as CometBFT does after ten idle seconds.
    """

    def __init__(
        self,
        node: int,
        answered: Callable[["Connection", Step, Answer], None],
        lost: Callable[["Connection", Step | None], None],
    ) -> None:
        self.node = node
        self._answered, self._lost = answered, lost
        self._step: Step | None = None
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, _error: Exception | None) -> None:
        """Tell that the node is gone, or was tired of waiting."""
        self._lost(self, self._step)

    def send(self, step: Step) -> None:
        """Write a step's request. The answer to the one before must have come."""
        self._step = step
        self._transport.write(step.request)

    def close(self) -> None:
        """Close the connection."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Hand over the answer once it is whole."""
        if self._held:
            data = self._held + data
        head, end, body = data.partition(_END)
        length = _LENGTH.search(head + b"\r\n") if end else None
        if end and length is None:
            raise ValueError(f"an answer without a length: {head[:200]!r}")
        if length is None or len(body) < int(length[1]):
            self._held = data
            return
        self._held = b""
        step, self._step = self._step, None
        assert step is not None, "an answer to nothing"
        self._answered(self, step, read_answer(body))


def read_answer(body: bytes) -> Answer:
    """The answer to ``broadcast_tx_sync``."""
    if b'"error":' in body:
        text = _log_of(body)
        if "already exists in cache" in text:
            return ACCEPTED  # Sent twice, because the answer to the first was lost.
        return Answer(-1, is_full="mempool is full" in text, error=text)
    found = _CODE.search(body)
    if found is None:
        raise ValueError(f"not an answer to broadcast_tx_sync: {body[:200]!r}")
    code = int(found[1])
    return ACCEPTED if code == 0 else Answer(code, is_full=code == PoolShareFull.code, error=_log_of(body))


def _log_of(body: bytes) -> str:
    texts = [found.decode("ascii", "replace") for found in _LOG.findall(body) if found]
    return texts[-1][:300] if texts else body[:300].decode("ascii", "replace")
