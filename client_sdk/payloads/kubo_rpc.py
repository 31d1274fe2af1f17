"""One Kubo daemon's RPC over HTTP: bounded answers, typed failures, a deadline on every request.

Knows how the RPC talks (POST, options in the query, errors as JSON with status 500, newline-delimited
answers) and nothing of payloads; ``kubo`` builds the store on top. Every request carries the daemon's own
``timeout`` option, so the daemon gives up too, and a local deadline a little later, for a daemon that does
not answer at all.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self

import aiohttp
from yarl import URL

from ..unreachable import why
from .errors import StoreAddressInvalid, StoreUnavailable

ANSWER_BYTES_MAX: Final = 4 << 20  # `refs` of a payload of 2**31 bytes is 160 kB.
_GRACE_SECONDS: Final = 3.0  # How much later than the daemon we give up.
_PIECE_BYTES: Final = 1 << 16
_NO_OPTIONS: Final[Mapping[str, str]] = MappingProxyType({})


class Disconnected(StoreUnavailable):
    """The connection failed or broke off: the same request may be sent again."""


class RpcRefused(StoreUnavailable):
    """The daemon answered with an error. ``message`` is its own text."""

    def __init__(self, store: str, command: str, message: str) -> None:
        super().__init__(store, f"{command}: {message}")
        self.message = message

    @property
    def timed_out(self) -> bool:
        """Whether the daemon's own timeout ran out."""
        return "context deadline exceeded" in self.message


class KuboRpc:
    """A connection to one daemon. Use it as an async context manager, or call ``close``."""

    def __init__(self, url: str, *, authorization: str | None = None, answer_seconds: float = 10.0) -> None:
        """``authorization`` is the HTTP header that the daemon's ``API.Authorizations`` asks for.

        Raises StoreAddressInvalid.
        """
        address = _checked(url)
        self.url = str(address.origin())
        self._base = address.origin() / "api" / "v0"
        self._headers = {} if authorization is None else {"Authorization": authorization}
        self._answer_seconds = answer_seconds
        self._session: aiohttp.ClientSession | None = None

    async def call(
        self,
        command: str,
        *args: str,
        options: Mapping[str, str] = _NO_OPTIONS,
        body: bytes | None = None,
        timeout_seconds: float | None = None,
    ) -> dict[str, Any]:
        """The one JSON object that a command answers.

        Raises RpcRefused with the daemon's message, Disconnected, or StoreUnavailable for anything else.
        """
        answers = await self.call_lines(command, *args, options=options, body=body, timeout_seconds=timeout_seconds)
        if len(answers) != 1:
            raise StoreUnavailable(self.url, f"{command} answered {len(answers)} objects, not one")
        return answers[0]

    async def call_lines(
        self,
        command: str,
        *args: str,
        options: Mapping[str, str] = _NO_OPTIONS,
        body: bytes | None = None,
        timeout_seconds: float | None = None,
    ) -> list[dict[str, Any]]:
        """The JSON objects that a command answers line by line, possibly none. Raises as ``call``."""
        answer = bytearray()
        async with self.stream(command, *args, options=options, body=body, timeout_seconds=timeout_seconds) as pieces:
            async for piece in pieces:
                answer += piece
                if len(answer) > ANSWER_BYTES_MAX:
                    raise StoreUnavailable(self.url, f"{command} answered more than {ANSWER_BYTES_MAX} bytes")
        try:
            objects = [json.loads(line) for line in answer.splitlines() if line.strip()]
        except (ValueError, RecursionError) as error:
            raise StoreUnavailable(self.url, f"{command} answered something that is not JSON") from error
        if not all(isinstance(item, dict) for item in objects):
            raise StoreUnavailable(self.url, f"{command} answered JSON that is not an object")
        return objects

    @asynccontextmanager
    async def stream(
        self,
        command: str,
        *args: str,
        options: Mapping[str, str] = _NO_OPTIONS,
        body: bytes | None = None,
        timeout_seconds: float | None = None,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """A command's answer in pieces as they arrive.

        The deadline covers the whole answer. Raises as ``call``.
        """
        seconds = self._answer_seconds if timeout_seconds is None else timeout_seconds
        query = [("arg", arg) for arg in args]
        query += [*options.items(), ("timeout", f"{max(1, round(seconds * 1000))}ms")]
        url = (self._base / command).with_query(query)
        try:
            async with (
                asyncio.timeout(seconds + _GRACE_SECONDS),
                self._connection().post(url, data=_form(body), allow_redirects=False) as answer,
            ):
                if answer.status != 200:
                    await self._raise_refusal(command, answer)
                yield answer.content.iter_chunked(_PIECE_BYTES)
        except TimeoutError as error:
            raise StoreUnavailable(self.url, f"{command}: no answer within {seconds:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Disconnected(self.url, f"{command}: {why(error)}") from error

    async def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _connection(self) -> aiohttp.ClientSession:
        if self._session is None:
            # No total limit in the session: each request has its own deadline.
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=aiohttp.ClientTimeout(total=None))
        return self._session

    async def _raise_refusal(self, command: str, answer: aiohttp.ClientResponse) -> None:
        text = (await answer.content.read(_PIECE_BYTES)).decode("utf-8", "replace").strip()
        if answer.status in (401, 403):
            hint = "The daemon's API.Authorizations must allow this client; give its Authorization header."
            raise StoreUnavailable(self.url, f"{command}: not allowed (HTTP {answer.status})", hint=hint)
        if answer.status != 500:
            hint = "Check the address: a Kubo RPC listens on Addresses.API of the daemon's configuration."
            raise StoreUnavailable(self.url, f"{command}: HTTP {answer.status}, no Kubo RPC", hint=hint)
        try:
            message = str(json.loads(text)["Message"])
        except (ValueError, KeyError, TypeError, RecursionError):
            message = text[:200]
        raise RpcRefused(self.url, command, message)


def _checked(url: str) -> URL:
    try:
        address = URL(url)
    except ValueError as error:  # A port that is none, for example.
        raise StoreAddressInvalid(url) from error
    if address.scheme not in ("http", "https") or not address.host or address.path != "/" or address.query_string:
        raise StoreAddressInvalid(url)
    return address


def _form(body: bytes | None) -> aiohttp.MultipartWriter | None:
    """The multipart form that commands with a file argument read."""
    if body is None:
        return None
    form = aiohttp.MultipartWriter("form-data")
    part = form.append(_pieces(body), {"Content-Type": "application/octet-stream"})
    part.set_content_disposition("form-data", name="file", filename="payload.car")
    return form


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    view = memoryview(body)
    for start in range(0, len(view), 1 << 20):
        yield bytes(view[start : start + (1 << 20)])
