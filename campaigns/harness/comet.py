"""Real CometBFT nodes on loopback, for as long as a test needs them. Only processes started here are ended."""

import asyncio
import os
import re
import shutil
import subprocess
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from client_sdk.rpc import RpcClient, RpcError
from devnet.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("COMETBFT_BIN") or ROOT / ".toolchain" / "bin" / "cometbft")
PATIENCE_SECONDS = 240.0  # It catches a node that hangs, nothing else.
_PACE = {"timeout_commit": "20ms", "peer_gossip_sleep_duration": "5ms", "create_empty_blocks_interval": "300ms"}


@dataclass
class Node:
    """One node's home and ports; ``process`` while it runs."""

    home: Path
    rpc_port: int
    p2p_port: int
    application: str
    process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.rpc_port}"

    async def start(self, peers: str) -> None:
        command = [
            *(str(BINARY), "start", "--home", str(self.home), "--proxy_app", self.application),
            *("--rpc.laddr", f"tcp://127.0.0.1:{self.rpc_port}", "--p2p.laddr", f"tcp://127.0.0.1:{self.p2p_port}"),
            *("--p2p.persistent_peers", peers, "--p2p.pex=false", "--log_level", "error"),
        ]
        with (self.home / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


@asynccontextmanager
async def running(folder: Path, count: int = 1, application: str = "kvstore", edit_genesis=None):
    """``count`` validators of equal power that have made a first block. ``edit_genesis`` is called with each home."""
    async with prepared(folder, count, application, edit_genesis) as nodes:
        peers = [f"{_node_id(node)}@127.0.0.1:{node.p2p_port}" for node in nodes]
        for node, own in zip(nodes, peers, strict=True):
            await node.start(",".join(peer for peer in peers if peer != own))
        for node in nodes:
            await _ready(node)
        yield nodes


@asynccontextmanager
async def prepared(folder: Path, count: int = 1, application: str = "kvstore", edit_genesis=None):
    """The same before they are started; who starts one may end it and start it again."""
    nodes = _homes(folder, count, application, edit_genesis)
    try:
        yield nodes
    finally:
        for node in nodes:
            await node.kill()
        shutil.rmtree(folder)


async def height_of(rpc: RpcClient, height: int) -> None:
    """Wait until a node has committed a height."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        if (await rpc.abci_info()).height >= height:
            return
        assert time.monotonic() < give_up, f"no block {height}"
        await asyncio.sleep(0.05)


def _homes(folder: Path, count: int, application: str, edit_genesis) -> list[Node]:
    if not BINARY.exists():
        pytest.skip(f"no CometBFT at {BINARY}: run `make setup`, or set COMETBFT_BIN")
    command = [BINARY, "testnet", "--v", str(count), "--o", folder, "--populate-persistent-peers=false"]
    subprocess.run(command, check=True, capture_output=True)
    ports = free_ports(2 * count)
    nodes = []
    for number in range(count):
        home = folder / f"node{number}"
        nodes.append(Node(home, ports[2 * number], ports[2 * number + 1], application))
        config = home / "config" / "config.toml"
        text = config.read_text()
        for name, value in _PACE.items():
            text = re.sub(rf"^{name} = .*$", f'{name} = "{value}"', text, flags=re.MULTILINE)
        config.write_text(text)
        if edit_genesis is not None:
            edit_genesis(home)
    return nodes


def _node_id(node: Node) -> str:
    shown = subprocess.run([BINARY, "show-node-id", "--home", node.home], check=True, capture_output=True, text=True)
    return shown.stdout.strip()


async def _ready(node: Node) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    async with RpcClient([node.address]) as rpc:
        while True:
            try:
                if (await rpc.abci_info()).height >= 1:
                    return
            except RpcError:
                pass
            assert time.monotonic() < give_up, (node.home / "log").read_text()
            await asyncio.sleep(0.1)
