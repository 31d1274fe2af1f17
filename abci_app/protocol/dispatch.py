"""From the bytes of a request to the bytes of its answer, through one method of the application. No sockets.

CometBFT stops its node at an exception answered, at an answer of another kind than asked and at a lost
connection. So a handler that fails here costs at most its own request:

- where some answer is right whatever the state (refuse the transaction, propose nothing, reject the proposal,
  offer no snapshot), that answer is given, and the failure is logged and counted;
- anywhere else the failure is a ``Halt``. Answering would pretend that a block was executed or stored.
"""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError, Message

from contracts.kernel.varint import uvarint

from . import messages as m
from .application import Application, Halt
from .framing import ProtocolError, frame

_log = logging.getLogger(__name__)

INTERNAL_ERROR = 1  # The code of a query or transaction whose handler failed.
CODESPACE = "abci"
_FAILED: dict[str, Any] = {
    "code": INTERNAL_ERROR,
    "codespace": CODESPACE,
    "log": "internal error: the node's log has it",
}

_SAFE_ANSWERS: dict[str, Message] = {
    "query": m.ResponseQuery(**_FAILED),
    "check_tx": m.ResponseCheckTx(**_FAILED),
    "insert_tx": m.ResponseInsertTx(code=INTERNAL_ERROR),
    "reap_txs": m.ResponseReapTxs(),
    "list_snapshots": m.ResponseListSnapshots(),
    "load_snapshot_chunk": m.ResponseLoadSnapshotChunk(),
    "prepare_proposal": m.ResponsePrepareProposal(),
    "process_proposal": m.ResponseProcessProposal(status=m.ResponseProcessProposal.REJECT),
}


class Undecodable(ProtocolError):
    """A frame that is not a protobuf ``Request``."""

    def __init__(self, length: int) -> None:
        super().__init__(f"a frame of {length} bytes is not an ABCI request")
        self.length = length


class UnknownRequest(ProtocolError):
    """A ``Request`` that names none of the calls of ABCI 2.0."""

    def __init__(self, length: int) -> None:
        super().__init__(f"a request of {length} bytes names no call of ABCI 2.0")
        self.length = length


class _Route(NamedTuple):
    handler: Callable[[Any], Message]
    answer: type[Message]
    tag: bytes


class Dispatcher:
    """Answers the requests of one application. ``failures`` counts handler failures by call."""

    def __init__(self, application: Application) -> None:
        self.failures: Counter[str] = Counter()
        own: dict[str, Callable[[Any], Message]] = {"echo": _echo, "flush": _flush}
        self._routes = {
            call.name: _route(call.name, own.get(call.name) or getattr(application, call.name))
            for call in m.Request.DESCRIPTOR.oneofs_by_name["value"].fields
        }

    def answer(self, request: bytes) -> bytes:
        """The framed answer to the bytes of one request.

        Raises Undecodable or UnknownRequest when they are none, Halt when the node must stop.
        """
        try:
            decoded = m.Request.FromString(request)
        except DecodeError as error:
            raise Undecodable(len(request)) from error
        call = decoded.WhichOneof("value")
        if call is None:
            raise UnknownRequest(len(request))
        route = self._routes[call]
        body = self._body(call, route, getattr(decoded, call))
        # The oneof member is written by hand: so it is there when the body is empty, and nothing is copied.
        return frame(route.tag + uvarint(len(body)) + body)

    def _body(self, call: str, route: _Route, request: Message) -> bytes:
        try:
            answer = route.handler(request)
            if type(answer) is not route.answer:
                raise TypeError(f"{call} answered {type(answer).__name__}, not {route.answer.__name__}")
            return answer.SerializeToString()
        except (Halt, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # A panic in a Rust extension is no Exception.
            if call not in _SAFE_ANSWERS:
                raise Halt(f"{call} failed: {type(error).__name__}: {error}") from error
            self._report(call, error)
            return _SAFE_ANSWERS[call].SerializeToString()

    def _report(self, call: str, error: BaseException) -> None:
        """Count a failure, and log the 1st, 2nd, 4th, 8th … of its call: a flood must not fill the disk."""
        self.failures[call] += 1
        count = self.failures[call]
        if count & (count - 1) == 0:
            _log.error("%s failed (time %d since the start)", call, count, exc_info=error)


def _route(call: str, handler: Callable[[Any], Message]) -> _Route:
    member = m.Response.DESCRIPTOR.fields_by_name[call]
    length_delimited = 2
    assert member.message_type is not None
    answer: type[Message] = getattr(m, member.message_type.name)
    return _Route(handler, answer, uvarint(member.number << 3 | length_delimited))


def _echo(request: m.RequestEcho) -> m.ResponseEcho:
    return m.ResponseEcho(message=request.message)


def _flush(_request: m.RequestFlush) -> m.ResponseFlush:
    return m.ResponseFlush()
