"""A daemon that lies, breaks off, talks without end or is no Kubo: a stand-in speaks the RPC over real HTTP.

What a true Kubo does is tested on a true Kubo (``test_kubo_e2e``); here is only what a true one would not do.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from client_sdk.payloads.car import BLOCK_BYTES_MAX
from client_sdk.payloads.errors import (
    PayloadCorrupt,
    PayloadNotFound,
    PayloadOverLimit,
    StoreAddressInvalid,
    StoreUnavailable,
)
from client_sdk.payloads.kubo import KuboStore
from client_sdk.payloads.kubo_rpc import ANSWER_BYTES_MAX, KuboRpc
from client_sdk.payloads.unixfs import build, payload_cid
from tests.client_sdk.payloads.store_contract import MIB, payload

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
KUBO = {"ID": "12D3KooW", "AgentVersion": "kubo/0.43.0/"}


@asynccontextmanager
async def daemon(**handlers: Handler):
    """A server on loopback that answers ``/api/v0/<command>`` by the handler of that name, '/' written as '_'."""

    async def dispatch(request: web.Request) -> web.StreamResponse:
        command = request.path.removeprefix("/api/v0/")
        assert request.method == "POST"
        assert request.query["timeout"].endswith("ms"), "every request carries the daemon's own timeout"
        if command == "id" and "id" not in handlers:
            return web.json_response(KUBO)
        return await handlers[command.replace("/", "_")](request)

    runner = web.AppRunner(web.Application(), shutdown_timeout=0.1)
    runner.app.router.add_route("*", "/{path:.*}", dispatch)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def refusal(message: str) -> web.Response:
    return web.json_response({"Message": message, "Code": 0, "Type": "error"}, status=500)


def serving(blocks: dict[str, bytes]) -> Handler:
    async def block_get(request: web.Request) -> web.Response:
        if request.query["arg"] not in blocks:
            return refusal("context deadline exceeded")
        return web.Response(body=blocks[request.query["arg"]])

    return block_get


async def got(url: str, cid, max_bytes: int) -> bytes:
    async with KuboStore(url, fetch_seconds=120) as store:
        return await store.get(cid, max_bytes)


def blocks_of(data: bytes) -> dict[str, bytes]:
    return {str(block.cid): block.data for block in build(data).blocks}


def test_a_wrong_byte_in_any_block_is_refused():
    data = payload(MIB + 1)
    dag = build(data)

    async def run():
        for victim in dag.blocks:
            raw = bytearray(victim.data)
            raw[-1] ^= 1
            async with daemon(block_get=serving(blocks_of(data) | {str(victim.cid): bytes(raw)})) as url:
                with pytest.raises(PayloadCorrupt, match=str(victim.cid)):
                    await got(url, dag.root, len(data))

    asyncio.run(run())


def test_an_honest_stand_in_is_believed_so_the_refusals_are_not_about_the_stand_in():
    data = payload(MIB + 1)

    async def run():
        async with daemon(block_get=serving(blocks_of(data))) as url:
            assert await got(url, payload_cid(data), len(data)) == data

    asyncio.run(run())


def test_a_stream_without_end_is_cut_off():
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while sent < 1 << 30:
            await response.write(bytes(1 << 16))
            sent += 1 << 16
        return response

    async def run():
        async with daemon(block_get=endless) as url:
            with pytest.raises(PayloadCorrupt, match="does not end"):
                await got(url, payload_cid(b"x"), 1)

    asyncio.run(run())
    assert sent < 16 * BLOCK_BYTES_MAX  # What the sockets between us hold, not a gigabyte.


def test_a_payload_over_the_bound_is_refused_before_its_leaves_are_asked_for():
    data = payload(3 * MIB)
    asked: list[str] = []

    async def recording(request: web.Request) -> web.StreamResponse:
        asked.append(request.query["arg"])
        return await serving(blocks_of(data))(request)

    async def run():
        async with daemon(block_get=recording) as url:
            with pytest.raises(PayloadOverLimit):
                await got(url, payload_cid(data), len(data) - 1)

    asyncio.run(run())
    assert asked == [str(payload_cid(data))]


def test_a_missing_leaf_means_not_found_and_not_half_a_payload():
    data = payload(MIB + 1)
    held = blocks_of(data)
    del held[str(build(data).blocks[1].cid)]

    async def run():
        async with daemon(block_get=serving(held)) as url:
            with pytest.raises(PayloadNotFound, match="nobody delivered"):
                await got(url, payload_cid(data), len(data))

    asyncio.run(run())


def test_a_broken_connection_is_tried_again_and_a_lasting_failure_reported():
    data = b"payload"
    failures = 2

    async def flaky(request: web.Request) -> web.StreamResponse:
        nonlocal failures
        if failures:
            failures -= 1
            assert request.transport is not None
            request.transport.abort()
        return await serving(blocks_of(data))(request)

    async def run():
        nonlocal failures
        async with daemon(block_get=flaky) as url:
            assert await got(url, payload_cid(data), 7) == data
            failures = 100
            with pytest.raises(StoreUnavailable, match="block/get"):
                await got(url, payload_cid(data), 7)
            assert failures == 97

    asyncio.run(run())


def test_a_daemon_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr("client_sdk.payloads.kubo_rpc._GRACE_SECONDS", 0.1)

    async def silent(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        raise AssertionError

    async def run():
        async with daemon(version=silent) as url, KuboRpc(url, answer_seconds=0.1) as rpc:
            with pytest.raises(StoreUnavailable, match="no answer within"):
                await rpc.call("version")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("identity", "sin"),
    [
        ({"ID": "Qm", "AgentVersion": "js-ipfs/0.18.1"}, "not Kubo"),
        ({"ID": "Qm", "AgentVersion": "kubo/0.39.0/"}, "too old"),
        ({"ID": "Qm", "AgentVersion": "go-ipfs/0.13.0/"}, "not Kubo"),
        ({"hello": "world"}, "not Kubo"),
    ],
)
def test_a_daemon_of_another_kind_or_age_is_refused_with_what_to_do(identity, sin):
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response(identity)

    async def run():
        async with daemon(id=answer) as url:
            with pytest.raises(StoreUnavailable, match=sin) as refused:
                await KuboStore(url).__aenter__()
            assert "daemon" in refused.value.hint

    asyncio.run(run())


@pytest.mark.parametrize(
    ("response", "sin"),
    [
        (web.Response(text="404 page not found", status=404), "no Kubo RPC"),
        (web.Response(text="hello"), "not JSON"),
        (web.Response(text="[" * 50_000), "not JSON"),
        (web.Response(text="[1]"), "not an object"),
        (web.Response(text=""), "0 objects"),
        (web.Response(text="{}\n{}"), "2 objects"),
        (web.Response(status=403), "not allowed"),
        (web.Response(body=b" " * (ANSWER_BYTES_MAX + 1)), "more than"),
        (web.Response(text="plain words", status=500), "plain words"),
        (web.Response(text="[" * 50_000, status=500), r"\[\[\["),
        (web.Response(status=302, headers={"Location": "/api/v0/elsewhere"}), "HTTP 302"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_answer_that_is_not_kubos_is_reported_as_what_it_is(response, sin):
    async def answer(_request: web.Request) -> web.StreamResponse:
        return response

    async def run():
        async with daemon(id=answer) as url:
            with pytest.raises(StoreUnavailable, match=sin):
                await KuboStore(url).__aenter__()

    asyncio.run(run())


@pytest.mark.parametrize(
    "answer",
    [
        {"Root": {"Cid": {"/": str(payload_cid(b"another"))}, "PinErrorMsg": ""}},
        {"Root": {"Cid": {"/": str(payload_cid(b"payload"))}, "PinErrorMsg": "no space left"}},
        {"Stats": {}},
    ],
)
def test_an_import_is_believed_only_with_our_root_and_its_pin(answer):
    async def dag_import(request: web.Request) -> web.StreamResponse:
        form = await request.post()
        assert list(form) == ["file"]
        return web.Response(text=json.dumps(answer))

    async def run():
        async with daemon(dag_import=dag_import) as url, KuboStore(url) as store:
            with pytest.raises(StoreUnavailable, match="answered"):
                await store.put(b"payload")

    asyncio.run(run())


def test_the_authorization_header_reaches_the_daemon():
    seen: list[str | None] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization"))
        return web.json_response(KUBO)

    async def run():
        async with daemon(id=answer) as url, KuboStore(url, authorization="Bearer s3cret"):
            pass

    asyncio.run(run())
    assert seen == ["Bearer s3cret"]


@pytest.mark.parametrize(
    "url", ["127.0.0.1:5001", "ftp://h", "http://h/api/v0", "http://h:5001/?x=1", "http://h:x", ""]
)
def test_an_address_that_is_no_rpc_address_is_refused_before_anything_is_sent(url):
    with pytest.raises(StoreAddressInvalid, match="address of a Kubo RPC"):
        KuboRpc(url)


def test_nobody_listening_is_unavailable_with_a_hint():
    async def run():
        with pytest.raises(StoreUnavailable) as refused:
            await KuboStore("http://127.0.0.1:1").__aenter__()
        assert "status" in refused.value.hint

    asyncio.run(run())
