"""Real Kubo daemons in a private swarm on loopback: same CIDs, transfer between nodes, the store contract."""

import asyncio
import os
import shutil
import socket
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from client_sdk.payloads.block_folder import BlockFolder
from client_sdk.payloads.cid import Cid
from client_sdk.payloads.errors import PayloadNotFound, PayloadOverLimit
from client_sdk.payloads.kubo import KuboStore
from client_sdk.payloads.kubo_node import (
    KuboNode,
    KuboNodeFailed,
    KuboNodeSpec,
    initialise_swarm,
    read_config,
)
from client_sdk.payloads.kubo_rpc import KuboRpc, RpcRefused
from client_sdk.payloads.unixfs import Layout, payload_cid
from devnet.ports import free_ports
from tests.client_sdk.payloads import store_contract
from tests.client_sdk.payloads.store_contract import CLAIMS, MIB, SIZES, payload

BINARY = Path(os.environ.get("IPFS_BIN") or Path(__file__).parents[3] / ".toolchain" / "bin" / "ipfs")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not BINARY.exists(), reason=f"no Kubo at {BINARY}: run `make toolchain` or set IPFS_BIN"),
]


PATIENCE_SECONDS = 240.0  # It catches a daemon that hangs, nothing else.
WAITED_IN_VAIN = (  # Claims that ask only for what nobody has, once they have put what they need.
    store_contract.an_unknown_payload_is_not_found,
    store_contract.a_deleted_payload_is_gone_and_deleting_may_be_repeated,
    store_contract.a_payload_that_lost_a_leaf_is_not_whole,
)


class SoonGivenUp(KuboStore):
    """Gives up after a moment what nobody has. A payload that is put is given all the time it takes."""

    async def put(self, data: bytes) -> Cid:
        moment, self._fetch_seconds = self._fetch_seconds, PATIENCE_SECONDS
        try:
            return await super().put(data)
        finally:
            self._fetch_seconds = moment


def specs_in(folder: Path, count: int) -> list[KuboNodeSpec]:
    ports = free_ports(2 * count)
    return [
        KuboNodeSpec(BINARY, folder / f"node{i}", rpc_port=ports[2 * i], swarm_port=ports[2 * i + 1])
        for i in range(count)
    ]


@asynccontextmanager
async def swarm(folder: Path, count: int):
    """Nodes that run and are connected to the first one."""
    specs = specs_in(folder, count)
    await initialise_swarm(specs)
    nodes = [KuboNode(spec) for spec in specs]
    try:
        await asyncio.gather(*(node.start() for node in nodes))
        for node in nodes[1:]:
            await node.connect(nodes[0])
        yield nodes
    finally:
        await asyncio.gather(*(node.stop() for node in nodes))


def test_a_payload_put_at_one_node_is_got_at_the_other_under_the_same_cid_as_in_a_folder(tmp_path):
    async def run():
        folder = BlockFolder(tmp_path / "folder")
        async with (
            swarm(tmp_path, 2) as (here, there),
            KuboStore(here.spec.rpc_url) as publisher,
            KuboStore(there.spec.rpc_url) as reader,
        ):
            for size in SIZES:
                data = payload(size)
                cid = payload_cid(data)
                assert await publisher.put(data) == await folder.put(data) == cid
                assert not await reader.has(cid)
                assert await reader.get(cid, size) == data
                await reader.pin(cid)
                assert await reader.has(cid)
            assert await reader.pinned() >= {payload_cid(payload(size)) for size in SIZES}
            with pytest.raises(PayloadOverLimit):
                await reader.get(payload_cid(payload(SIZES[-1])), SIZES[-1] - 1)

    asyncio.run(run())


def test_our_cids_are_those_that_kubo_itself_gives(tmp_path):
    async def run():
        async with swarm(tmp_path, 1) as (node,), KuboRpc(node.spec.rpc_url) as rpc:
            for size in SIZES:
                added = await rpc.call("add", body=payload(size), options={"quiet": "true"})
                assert added["Hash"] == str(payload_cid(payload(size)))
            for size, layout in [(100_000, Layout(1024, 4)), (65_536, Layout(1024, 4)), (65_537, Layout(1024, 2))]:
                options = {"chunker": f"size-{layout.leaf_bytes}", "max-file-links": str(layout.links_max)}
                added = await rpc.call("add", body=payload(size), options=options)
                assert added["Hash"] == str(payload_cid(payload(size), layout))

    asyncio.run(run())


def test_a_payload_nobody_has_is_not_found_when_its_time_is_up(tmp_path):
    async def run():
        async with (
            swarm(tmp_path, 2) as (node, _),
            KuboStore(node.spec.rpc_url, fetch_seconds=0.3) as store,
        ):
            with pytest.raises(PayloadNotFound, match=r"within 0\.3 s"):
                await store.get(payload_cid(b"nobody has this"), 100)
            with pytest.raises(PayloadNotFound, match=r"within 0\.3 s"):
                await store.pin(payload_cid(b"nobody has this"))

    asyncio.run(run())


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.__name__)
def test_a_kubo_daemon_keeps_the_store_contract(claim, tmp_path):
    async def run():
        store_of = SoonGivenUp if claim in WAITED_IN_VAIN else KuboStore
        within = 0.3 if claim in WAITED_IN_VAIN else PATIENCE_SECONDS
        async with swarm(tmp_path, 1) as (node,), store_of(node.spec.rpc_url, fetch_seconds=within) as store:
            await claim(store)

    asyncio.run(run())


def test_a_payload_survives_a_killed_daemon(tmp_path):
    async def run():
        async with swarm(tmp_path, 1) as (node,):
            async with KuboStore(node.spec.rpc_url) as store:
                cid = await store.put(payload(MIB + 1))
            assert node.pid is not None
            os.kill(node.pid, 9)
            await node.stop()
            assert node.pid is None
            await node.start()
            async with KuboStore(node.spec.rpc_url) as store:
                assert await store.has(cid)
                assert await store.get(cid, MIB + 1) == payload(MIB + 1)

    asyncio.run(run())


def test_a_node_adopts_a_block_folder_as_its_own(tmp_path):
    async def run():
        folder = BlockFolder(tmp_path / "folder")
        cid = await folder.put(payload(MIB + 1))
        [spec] = specs_in(tmp_path, 1)
        await initialise_swarm([spec])
        shutil.copytree(tmp_path / "folder" / "blocks", spec.home / "blocks", dirs_exist_ok=True)
        node = KuboNode(spec)
        try:
            await node.start()
            async with KuboStore(spec.rpc_url, fetch_seconds=PATIENCE_SECONDS) as store:
                assert await store.has(cid)
                assert await store.get(cid, MIB + 1) == payload(MIB + 1)
        finally:
            await node.stop()

    asyncio.run(run())


def test_a_node_listens_on_loopback_only_and_its_peers_are_those_of_its_swarm(tmp_path):
    async def run():
        async with swarm(tmp_path, 3) as nodes:
            expected = {read_config(node.spec)["Identity"]["PeerID"] for node in nodes}
            for node in nodes:
                async with KuboRpc(node.spec.rpc_url) as rpc:
                    peers = (await rpc.call("swarm/peers"))["Peers"] or []
                    addresses = (await rpc.call("swarm/addrs/listen"))["Strings"]
                    configured = await rpc.call("bootstrap/list")
                assert {peer["Peer"] for peer in peers} <= expected
                assert addresses == [f"/ip4/127.0.0.1/tcp/{node.spec.swarm_port}"]
                assert not configured["Peers"]

    asyncio.run(run())


def test_a_node_with_another_swarm_key_is_not_let_in(tmp_path):
    async def run():
        async with swarm(tmp_path / "ours", 1) as (ours,):
            [spec] = specs_in(tmp_path / "theirs", 1)
            await initialise_swarm([spec])
            assert (spec.home / "swarm.key").read_text() != (ours.spec.home / "swarm.key").read_text()
            stranger = KuboNode(spec)
            try:
                await stranger.start()
                with pytest.raises(RpcRefused):
                    await stranger.connect(ours, timeout_seconds=1)
                async with KuboRpc(ours.spec.rpc_url) as rpc:
                    assert not (await rpc.call("swarm/peers"))["Peers"]
            finally:
                await stranger.stop()

    asyncio.run(run())


def test_making_the_repositories_again_keeps_identities_and_swarm_key(tmp_path):
    async def run():
        specs = specs_in(tmp_path, 2)
        await initialise_swarm(specs)
        before = [(read_config(spec)["Identity"], (spec.home / "swarm.key").read_text()) for spec in specs]
        await initialise_swarm(specs)
        assert [(read_config(spec)["Identity"], (spec.home / "swarm.key").read_text()) for spec in specs] == before
        assert before[0][1] == before[1][1]

    asyncio.run(run())


def test_a_port_that_is_taken_is_reported_with_the_log_and_nothing_is_left_running(tmp_path):
    async def run():
        [spec] = specs_in(tmp_path, 1)
        await initialise_swarm([spec])
        node = KuboNode(spec)
        with (
            socket.create_server(("127.0.0.1", spec.rpc_port)),
            pytest.raises(KuboNodeFailed, match="address already in use"),
        ):
            await node.start(timeout_seconds=PATIENCE_SECONDS)
        assert node.pid is None

    asyncio.run(run())


def test_another_daemon_on_the_port_is_not_taken_for_ours(tmp_path):
    async def run():
        async with swarm(tmp_path / "one", 1) as (running,):
            [spare] = specs_in(tmp_path / "two", 1)
            spec = KuboNodeSpec(BINARY, spare.home, rpc_port=running.spec.rpc_port, swarm_port=spare.swarm_port)
            await initialise_swarm([spec])
            node = KuboNode(spec)
            try:
                with pytest.raises(KuboNodeFailed):
                    await node.start(timeout_seconds=PATIENCE_SECONDS)
                assert node.pid is None
            finally:
                await node.stop()

    asyncio.run(run())


def test_a_node_that_lost_its_swarm_key_does_not_start_as_a_public_one(tmp_path):
    async def run():
        [spec] = specs_in(tmp_path, 1)
        await initialise_swarm([spec])
        (spec.home / "swarm.key").unlink()
        node = KuboNode(spec)
        with pytest.raises(KuboNodeFailed, match="private network"):
            await node.start(timeout_seconds=PATIENCE_SECONDS)
        assert node.pid is None

    asyncio.run(run())
