"""A node's RPC on loopback that answers what a test tells it to, over real HTTP and a real WebSocket.

``FakeNode`` knows nothing; ``ChainNode`` answers for a ``HeaderChain`` and the states it led to, in CometBFT's JSON.
"""

import asyncio
import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import WSMsgType, web

from client_sdk import light
from client_sdk.light.headers import BlockId
from contracts.kernel import merkle
from contracts.kernel.crypto import sha256
from contracts.kernel.state_tree import StateVersion

from .header_chain import HeaderChain


class Refusal(Exception):
    """CometBFT's JSON-RPC error, with its detail."""

    def __init__(self, detail: str, code: int = -32603) -> None:
        super().__init__(detail)
        self.answer = {"code": code, "message": "Internal error", "data": detail}


class FakeNode:
    """``methods`` maps a call to a function of its params; ``body`` replaces every answer's bytes when it is set."""

    def __init__(self) -> None:
        self.methods: dict[str, Callable[[dict[str, Any]], Any]] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.body: bytes | None = None
        self.status, self.content_type = 200, "application/json"
        self.sockets: list[web.WebSocketResponse] = []
        self.refuses_subscriptions = False
        self.subscribed, self.left = asyncio.Event(), asyncio.Event()
        self._port = 0
        self._runner: web.AppRunner | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self):
        await self.start()
        return self

    async def __aexit__(self, *_) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, after a ``stop`` on the same port again."""
        application = web.Application()
        application.add_routes([web.post("/", self._answer), web.get("/websocket", self._socket)])
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = site._server.sockets[0].getsockname()[1]  # Chosen by the system.

    async def stop(self) -> None:
        for socket in self.sockets:
            await socket.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def ring(self) -> None:
        """Send every subscriber an event."""
        for socket in self.sockets:
            await socket.send_json({"jsonrpc": "2.0", "id": 1, "result": {"query": "", "data": {}}})

    def called(self, method: str) -> int:
        return sum(1 for name, _ in self.calls if name == method)

    async def _answer(self, request: web.Request) -> web.Response:
        call = json.loads(await request.read())
        self.calls.append((call["method"], call["params"]))
        if self.body is not None:
            return web.Response(body=self.body, status=self.status, content_type=self.content_type)
        answer = {"jsonrpc": "2.0", "id": call["id"]}
        try:
            answer["result"] = self.methods[call["method"]](call["params"])
        except Refusal as refusal:
            answer["error"] = refusal.answer
        except KeyError:
            answer["error"] = {"code": -32601, "message": "Method not found"}
        return web.json_response(answer)

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            assert message.type is WSMsgType.TEXT
            assert json.loads(message.data)["method"] == "subscribe"
            answer = {"error": {"code": -32603, "message": "max_subscriptions"}} if self.refuses_subscriptions else {}
            await socket.send_json({"jsonrpc": "2.0", "id": 1, "result": {}, **answer})
            self.sockets.append(socket)
            self.subscribed.set()
        self.left.set()
        return socket


class ChainNode(FakeNode):
    """Answers for a chain. ``newest`` is how far this node has come; ``states`` are by height."""

    def __init__(self, chain: HeaderChain, states: dict[int, StateVersion] | None = None) -> None:
        super().__init__()
        self.chain = chain
        self.states = states or {}
        self.bodies: dict[int, dict[bytes, bytes]] = {}
        self.newest: int | None = None
        self.lowest = 1
        self.methods |= {
            "abci_info": lambda _: {"response": {"last_block_height": str(self.height), "app_version": "1"}},
            "commit": self.commit,
            "validators": self.validators,
            "block_results": self.block_results,
            "tx": self.tx,
            "abci_query": self.abci_query,
        }

    @property
    def height(self) -> int:
        return self.chain.height if self.newest is None else self.newest

    def asked(self, params: dict[str, Any]) -> int:
        height = int(params["height"])
        if height > self.height:
            raise Refusal(f"height {height} must be less than or equal to the current blockchain height {self.height}")
        if height < self.lowest:
            raise Refusal(f"height {height} is not available, lowest height is {self.lowest}")
        return height

    def commit(self, params: dict[str, Any]) -> Any:
        signed = self.chain.signed(self.asked(params))
        return {"signed_header": {"header": header_json(signed.header), "commit": commit_json(signed.commit)}}

    def validators(self, params: dict[str, Any]) -> Any:
        height = self.asked(params)
        members = self.chain.validators(height).members
        page, size = int(params.get("page", 1)), int(params.get("per_page", 30))
        part = members[(page - 1) * size : page * size]
        return {
            "block_height": str(height),
            "validators": [validator_json(one) for one in part],
            "count": str(len(part)),
            "total": str(len(members)),
        }

    def block_results(self, params: dict[str, Any]) -> Any:
        height = self.asked(params)
        results = [result_json(one) for one in self.chain.results[height]]
        return {"height": str(height), "txs_results": results or None}

    def tx(self, params: dict[str, Any]) -> Any:
        digest = base64.b64decode(params["hash"])
        for height, txs in self.chain.txs.items():
            hashes = [sha256(raw) for raw in txs]
            if digest in hashes and height <= self.height:
                return self.found(height, hashes.index(digest), hashes)
        raise Refusal(f"tx ({digest.hex().upper()}) not found")

    def found(self, height: int, index: int, hashes: list[bytes]) -> Any:
        aunts = merkle.tree_aunts(b"".join(sha256(b"\0" + one) for one in hashes), index)
        proof = {"total": str(len(hashes)), "index": str(index), "leaf_hash": "", "aunts": list(map(b64, aunts))}
        return {
            "hash": hashes[index].hex().upper(),
            "height": str(height),
            "index": index,
            "tx_result": result_json(self.chain.results[height][index]),
            "tx": b64(self.chain.txs[height][index]),
            "proof": {"root_hash": "", "data": "", "proof": proof},
        }

    def abci_query(self, params: dict[str, Any]) -> Any:
        """As abci_app.queries: proved at the height before the newest, empty and code 0 where nothing is."""
        store, key = params["path"].removeprefix("/store/").removesuffix("/key"), bytes.fromhex(params["data"])
        path = store.encode() + b"/" + key
        height = int(params.get("height", 0)) or (self.height - 1 if params["prove"] else self.height)
        response = {"code": 0, "log": "", "key": b64(key), "value": None, "proofOps": None, "height": str(height)}
        if height > self.height or (params["prove"] and height < 1):
            return {"response": {**response, "code": 2, "log": "ask again after the next block"}}
        if height < self.height - 1:
            return {"response": {**response, "code": 3, "log": f"height {height} is not kept"}}
        bodies = self.bodies[height]
        if path in bodies:
            response["value"] = b64(merkle.commit_value(path, bodies[path]))
        if params["prove"]:
            response["proofOps"] = self.proof(path, height)
        return {"response": response}

    def proof(self, path: bytes, height: int) -> dict[str, Any]:
        """Of what is at a path, or that nothing is, in CometBFT's JSON."""
        state, bodies = self.states[height], self.bodies[height]
        proof = state.prove(path) if path in bodies else state.prove_absence(path, bodies.get)
        ops = [{"type": one.type, "key": b64(one.key), "data": b64(one.data)} for one in proof.encode()]
        return {"ops": ops}


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def hexadecimal(raw: bytes) -> str:
    return raw.hex().upper()


def time_json(time_ns: int) -> str:
    seconds, nanos = divmod(time_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"


def block_id_json(block_id: BlockId) -> dict[str, Any]:
    parts = {"total": block_id.parts_total, "hash": hexadecimal(block_id.parts_hash)}
    return {"hash": hexadecimal(block_id.hash), "parts": parts}


def header_json(header: light.Header) -> dict[str, Any]:
    plain = {name: value for name, value in vars(header).items() if isinstance(value, bytes) and name != "hash"}
    return {
        "version": {"block": str(header.version_block), "app": str(header.version_app)},
        "chain_id": header.chain_id,
        "height": str(header.height),
        "time": time_json(header.time_ns),
        "last_block_id": block_id_json(header.last_block_id),
        **{name: hexadecimal(value) for name, value in plain.items()},
    }


def commit_json(commit: light.Commit) -> dict[str, Any]:
    return {
        "height": str(commit.height),
        "round": commit.round,
        "block_id": block_id_json(commit.block_id),
        "signatures": [
            {
                "block_id_flag": int(one.flag),
                "validator_address": hexadecimal(one.address),
                "timestamp": time_json(one.time_ns) if one.address else "0001-01-01T00:00:00Z",
                "signature": b64(one.signature) if one.address else None,
            }
            for one in commit.signatures
        ],
    }


def validator_json(validator: light.Validator) -> dict[str, Any]:
    return {
        "address": hexadecimal(validator.address),
        "pub_key": {"type": "tendermint/PubKeyEd25519", "value": b64(validator.public)},
        "voting_power": str(validator.power),
        "proposer_priority": "-1",
    }


def result_json(result: light.TxResult) -> dict[str, Any]:
    return {
        "code": result.code,
        "data": b64(result.data) or None,
        "log": result.log,
        "gas_wanted": str(result.gas_wanted),
        "gas_used": str(result.gas_used),
        "events": [],
    }
