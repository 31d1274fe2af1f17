"""Somebody between a client and its node who changes what is asked and answered, and a stock light proxy behind him.

The proxy's primary and its only witness both go through the middle: it sees nothing else of the world, but was told a
height and a block hash to trust.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from campaigns.harness import comet
from client_sdk.rpc import RpcClient, RpcError
from devnet.ports import free_ports

Change = Callable[[str, Any], Any]  # Of a method's parameters or of its result.


def nothing(_method: str, content: Any) -> Any:
    """Change nothing."""
    return content


@dataclass(frozen=True)
class Lie:
    """What is done to every call and to every result."""

    ask: Change = nothing
    answer: Change = nothing


class Middle:
    """An RPC that passes everything on to a node, through a ``lie``. Two addresses, one for each role."""

    def __init__(self, node: str) -> None:
        self._node = node
        self.lie = Lie()
        self.address = self.witness = ""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Middle"]:
        """Listen on two ports of loopback."""
        application = web.Application()
        application.add_routes([web.post("/", self._pass_on), web.get("/websocket", self._no_events)])
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        addresses = []
        try:
            async with aiohttp.ClientSession() as self._session:
                for _ in range(2):
                    site = web.TCPSite(runner, "127.0.0.1", 0)
                    await site.start()
                    addresses.append(f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}")
                self.address, self.witness = addresses
                yield self
        finally:
            await runner.cleanup()

    async def _pass_on(self, request: web.Request) -> web.Response:
        call = json.loads(await request.read())
        call["params"] = self.lie.ask(call["method"], call.get("params"))
        async with self._session.post(self._node, json=call) as answered:
            answer = await answered.json(content_type=None)
        if "result" in answer:
            answer["result"] = self.lie.answer(call["method"], answer["result"])
        return web.json_response(answer)

    async def _no_events(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for _ in socket:
            pass
        return socket


@asynccontextmanager
async def stock_proxy(
    folder: Path, chain_id: str, middle: Middle, height: int, block: bytes
) -> AsyncIterator[RpcClient]:
    """``cometbft light``, which trusts one block and asks only through the middle; calls to its own RPC."""
    (port,), log_file = free_ports(1), folder.with_suffix(".log")
    command = [
        *(str(comet.BINARY), "light", chain_id, "--primary", middle.address, "--witnesses", middle.witness),
        *("--height", str(height), "--hash", block.hex().upper()),
        *("--home-dir", str(folder), "--laddr", f"tcp://127.0.0.1:{port}"),
    ]
    with log_file.open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
    try:
        async with RpcClient([f"http://127.0.0.1:{port}"]) as rpc:
            while True:
                try:
                    await rpc.status()
                    break
                except RpcError:
                    assert process.returncode is None, log_file.read_text()
                    await asyncio.sleep(0.05)
            yield rpc
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
