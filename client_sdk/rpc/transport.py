"""JSON-RPC 2.0 over HTTP to one of several nodes: the SDK's only way to CometBFT.

Nodes are tried in the order given, those that failed a moment ago last: a member's own node is used whenever it
answers. Only transport decides here. A call that may be repeated goes on to the next node, and once more round; any
other call goes on only when the node cannot have seen it. What a node *answers*, errors included, is final.

``websocket`` opens CometBFT's event socket of the same nodes. One transport serves one asyncio loop.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ..documents.strict_json import INT64_MAX, Answer, AnswerMalformed, parse
from ..errors import Kind, SdkError
from ..unreachable import why
from .errors import NodeUnavailable, node_error

if TYPE_CHECKING:
    import aiohttp

ANSWER_BYTES_MAX: Final = 32 << 20  # A block of 22 MB, CometBFT's own default bound, in base64.
CALL_SECONDS: Final = 10.0
CONNECT_SECONDS: Final = 3.0
ROUNDS: Final = 2  # How often all nodes are asked before giving up.
EVENT_BYTES_MAX: Final = 4 << 20
_PAUSE_SECONDS: Final = 0.2  # Between two rounds.
_AVOID_SECONDS: Final = 30.0  # How long a node that did not answer is tried last.
_KEEPALIVE_SECONDS: Final = 5.0  # CometBFT closes an idle connection after 10 s: never reuse one about to close.
_PING_SECONDS: Final = 15.0  # CometBFT drops a silent socket after 30 s.
_TEXT_CHARS: Final = 16_384
_SCHEMES: Final = {"http": "http", "https": "https", "tcp": "http"}  # ``tcp``: as CometBFT's own configuration says.


class AddressInvalid(SdkError, ValueError):
    """An address that is not a node's RPC address."""

    kind = Kind.USAGE
    hint = "Write it as http://HOST:PORT or https://HOST:PORT."


class _NotSent(Exception):
    """The node did not answer and cannot have seen the call."""


class _NoAnswer(Exception):
    """The node did not answer; it may or may not have seen the call."""


class Transport:
    """Calls to the first of some nodes that answers. Use as an async context, or ``close`` it."""

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        call_seconds: float = CALL_SECONDS,
        answer_bytes_max: int = ANSWER_BYTES_MAX,
    ) -> None:
        """``addresses`` are ``http://HOST:PORT``, the preferred one first. Raises AddressInvalid."""
        if not addresses:
            raise AddressInvalid("no node's RPC address was given")
        self.addresses = tuple(_checked(address) for address in addresses)
        self._call_seconds = call_seconds
        self._answer_bytes_max = answer_bytes_max
        self._avoid_until: dict[str, float] = {}
        self._ids = itertools.count(1)
        self._session: aiohttp.ClientSession | None = None

    async def call(self, method: str, params: Mapping[str, object], *, repeatable: bool = True) -> Answer:
        """The ``result`` of a call. Raises NodeUnavailable, NodeError, AnswerMalformed."""
        addresses: list[str] = []
        reasons: list[str] = []
        for address in self._attempts(ROUNDS if repeatable else 1):
            if len(addresses) == len(self.addresses):
                await asyncio.sleep(_PAUSE_SECONDS)
            try:
                answer = await self._call(address, method, params)
            except (_NotSent, _NoAnswer) as failure:
                self._avoid(address)
                addresses.append(address)
                reasons.append(str(failure))
                if isinstance(failure, _NoAnswer) and not repeatable:
                    break
            else:
                self._avoid_until.pop(address, None)
                return answer
        tried = len(self.addresses)  # One line per node, with what it did last.
        raise NodeUnavailable(addresses[-tried:], reasons[-tried:])

    @asynccontextmanager
    async def websocket(self) -> "AsyncIterator[aiohttp.ClientWebSocketResponse]":
        """An open event socket. Raises NodeUnavailable."""
        import aiohttp

        address = next(self._attempts(1))
        try:
            async with asyncio.timeout(self._call_seconds):  # wait_for may swallow a cancellation (before Python 3.12).
                socket = await self._opened().ws_connect(
                    f"{address}/websocket", heartbeat=_PING_SECONDS, max_msg_size=EVENT_BYTES_MAX
                )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._avoid(address)
            raise NodeUnavailable([address], [why(error)]) from error
        async with socket:
            yield socket

    async def close(self) -> None:
        """Close connections. A call afterwards opens new ones."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    def _avoid(self, address: str) -> None:
        self._avoid_until[address] = asyncio.get_running_loop().time() + _AVOID_SECONDS

    def _attempts(self, rounds: int) -> Iterator[str]:
        now = asyncio.get_running_loop().time()
        order = sorted(self.addresses, key=lambda address: self._avoid_until.get(address, 0.0) > now)
        return itertools.chain.from_iterable(itertools.repeat(order, rounds))

    async def _call(self, address: str, method: str, params: Mapping[str, object]) -> Answer:
        number = next(self._ids)
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        answer = parse(await self._post(address, json.dumps(request).encode("ascii")), method)
        error = answer.get("error")  # Read first: with an error, the id may be -1.
        if error is not None:
            detail = error.get("data")
            raise node_error(
                error["code"].integer(-INT64_MAX, INT64_MAX),
                error["message"].text(_TEXT_CHARS),
                "" if detail is None else detail.text(_TEXT_CHARS),
            )
        if answer["id"].integer(-1, INT64_MAX) != number:
            raise AnswerMalformed(f"{method}.id", f"it is not that of the call, {number}")
        return answer["result"]

    async def _post(self, address: str, body: bytes) -> bytes:
        import aiohttp

        try:
            async with (
                asyncio.timeout(self._call_seconds),
                self._opened().post(address, data=body, allow_redirects=False) as response,
            ):
                if response.content_type != "application/json":  # A proxy's error page, or no node at all.
                    raise _NoAnswer(f"HTTP {response.status}, {response.content_type}")
                return await self._read(response)
        except aiohttp.ClientConnectorError as error:
            raise _NotSent(why(error)) from error
        except TimeoutError as error:
            raise _NoAnswer(f"no answer within {self._call_seconds:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _NoAnswer(why(error)) from error

    async def _read(self, response: "aiohttp.ClientResponse") -> bytes:
        pieces, size = [], 0
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > self._answer_bytes_max:
                raise AnswerMalformed("answer", f"it has more than {self._answer_bytes_max} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def _opened(self) -> "aiohttp.ClientSession":
        if self._session is None:
            import aiohttp

            timeouts = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
            headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
            connector = aiohttp.TCPConnector(keepalive_timeout=_KEEPALIVE_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeouts, headers=headers, connector=connector)
        return self._session


def _checked(address: str) -> str:
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise AddressInvalid(f"{address!r}: {error}") from error
    if parts.scheme not in _SCHEMES or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise AddressInvalid(f"{address!r} is not a node's RPC address")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = host if port is None else f"{host}:{port}"
    return f"{_SCHEMES[parts.scheme]}://{netloc}{parts.path.rstrip('/')}"
