"""What the chain did: when each node announced each block, and what the blocks hold.

A node announces a header once its block is executed and committed (event ``NewBlockHeader``); that moment is when a
client of that node can see the transaction. The block's transactions are asked for afterwards, because an event with
the block in it would carry all results and events too.
"""

import asyncio
import json
import re
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import aiohttp

_SUBSCRIBE: Final = {"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": {"query": "tm.event='NewBlockHeader'"}}
_HEIGHT: Final = re.compile(r'"height":\s*"(\d+)"')
_RESULT_CODE: Final = re.compile(rb'"code":(\d+)')
_PAGE: Final = 20  # The most headers CometBFT lists at once.
_MESSAGE_BYTES: Final = 16 << 20


class ChainWatch:
    """Follows every node of a chain. An async context manager.

    ``seen`` is called with each height, once, and the block's transactions in base64, after every node announced it.
    """

    def __init__(self, addresses: Sequence[str], seen: Callable[[int, list[str]], None] | None = None) -> None:
        self.addresses = tuple(addresses)
        self.announced: list[dict[int, float]] = [{} for _ in addresses]  # For each node: height → perf_counter.
        self.height = 0  # The newest that every node has announced.
        self.seen = seen
        self._tasks: list[asyncio.Task[None]] = []
        self._rung = asyncio.Event()

    async def __aenter__(self) -> "ChainWatch":
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))
        self._tasks = [asyncio.create_task(self._listen(node)) for node in range(len(self.addresses))]
        await self.wait_height(1 + await self.newest())
        self._tasks.append(asyncio.create_task(self._follow(self.height)))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    def raise_if_failed(self) -> None:
        """Raise what ended a task of this watch, if any did."""
        for task in self._tasks:
            if task.done():
                task.result()
                raise ConnectionError("a node closed its event socket")

    async def wait_height(self, height: int, seconds: float = 30.0) -> None:
        """Until every node has announced a height. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while self.height < height:
                self._rung.clear()
                self.raise_if_failed()
                await self._rung.wait()

    async def newest(self) -> int:
        """The newest height of the first node."""
        status = await self.call("status")
        return int(status["sync_info"]["latest_block_height"])

    async def headers(self, first: int, last: int) -> list[tuple[int, float, int]]:
        """Height, block time in seconds and number of transactions of the blocks from first to last."""
        found: list[tuple[int, float, int]] = []
        for low in range(first, last + 1, _PAGE):
            high = min(low + _PAGE - 1, last)
            page = await self.call("blockchain", minHeight=low, maxHeight=high)
            found += [
                (int(meta["header"]["height"]), seconds_of(meta["header"]["time"]), int(meta["num_txs"]))
                for meta in page["block_metas"]
            ]
        return sorted(found)

    async def codes(self, height: int) -> list[int]:
        """The result codes of a block."""
        url = f"{self.addresses[0]}/block_results?height={height}"
        async with self._session.get(url) as answer:
            body = await answer.read()
        results = body.partition(b'"txs_results":')[2].partition(b'"finalize_block_events"')[0]
        return [int(code) for code in _RESULT_CODE.findall(results)]

    async def call(self, method: str, **parameters: Any) -> Any:
        """One call of the first node's RPC."""
        url = f"{self.addresses[0]}/{method}"
        async with self._session.get(url, params={name: str(value) for name, value in parameters.items()}) as answer:
            document = json.loads(await answer.read())
        if "error" in document:
            raise ConnectionError(f"{method}: {document['error']}")
        return document["result"]

    async def _listen(self, node: int) -> None:
        url = f"{self.addresses[node]}/websocket"
        async with self._session.ws_connect(url, max_msg_size=_MESSAGE_BYTES) as socket:
            await socket.send_json(_SUBSCRIBE)
            async for message in socket:
                now = time.perf_counter()
                found = _HEIGHT.search(str(message.data))
                if found is None:
                    continue  # The confirmation.
                self.announced[node][int(found[1])] = now
                self.height = min(max(heights, default=0) for heights in self.announced)
                self._rung.set()

    async def _follow(self, after: int) -> None:
        done = after
        while True:
            await self.wait_height(done + 1, seconds=600.0)
            while done < self.height:
                done += 1
                block = await self.call("block", height=done)
                if self.seen is not None:
                    self.seen(done, block["block"]["data"]["txs"] or [])


def seconds_of(text: str) -> float:
    """A block's time, RFC 3339 in UTC with up to nine decimals, as seconds since the epoch."""
    whole, _, decimals = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + (float(f"0.{decimals}") if decimals else 0.0)
