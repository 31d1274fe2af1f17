"""Real networks: CometBFT, the ledger's application and Kubo, started, hurt, restarted and stopped."""

import asyncio
import os
import signal
import sys
import time
from dataclasses import replace

import aiohttp
import pytest

from client_sdk.payloads.store import StoreKind
from devnet import lifecycle
from devnet.errors import (
    AlreadyRunning,
    BinaryMissing,
    HomeDiffers,
    NoDevnet,
    NotRunning,
    ProcessFailed,
    SupervisorFailed,
    UnknownProcess,
)
from devnet.foundation import prepare
from devnet.layout import Layout
from devnet.manifest import Application
from devnet.ownership import began_of
from devnet.process import ProcessStatus
from devnet.readiness import kubo_answers
from devnet.state import Phase, living, read_state
from devnet.supervisor import Devnet
from tests.devnet.networks import one_validator, standard

pytestmark = pytest.mark.e2e


async def hash_at(rpc, height):
    """The application's hash in a node's header of that height."""
    async with aiohttp.ClientSession() as session, session.get(f"{rpc}/header?height={height}") as answer:
        return (await answer.json())["result"]["header"]["app_hash"]


async def until(condition):
    """Look again until it holds; what hangs is for the limit on the whole test."""
    while not (found := condition()):  # noqa: ASYNC110 - other processes set no event
        await asyncio.sleep(0.02)
    return found


async def reached(net, validator, height):
    while (health := await net.health(validator)) is None or health.height < height:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.05)
    return health


def statuses(state, prefix):
    return {record.name: record.status for record in state.processes if record.name.startswith(prefix)}


def gone(pids):
    while any(began_of(pid) for pid in pids):
        time.sleep(0.02)


def test_four_validators_go_on_without_one_and_it_catches_up_to_the_same_state(tmp_path):
    async def run():
        async with Devnet(standard(store=StoreKind.KUBO), tmp_path / "net") as net:
            assert set(statuses(net.state, "").values()) == {ProcessStatus.RUNNING}
            assert len(net.state.processes) == 10
            assert all([await kubo_answers(url) for url in net.state.kubo])
            await net.kill("validator-3")
            assert set(statuses(net.state, "validator-3").values()) == {ProcessStatus.ENDED}
            assert await net.health("validator-3") is None
            before = (await net.health("validator-1")).height
            ahead = await reached(net, "validator-1", before + 2)
            await net.restart("validator-3")
            await reached(net, "validator-3", ahead.height)
            hashes = {await hash_at(validator.rpc, ahead.height) for validator in net.validators}
            assert len(hashes) == 1
            await net.kill("kubo-1")
            await net.restart("kubo-1")
            assert await kubo_answers(net.kubo[0].rpc_url)
            pids = [record.pid for record in net.state.processes]
        gone(pids)
        assert read_state(net.layout.state).phase is Phase.STOPPED
        assert set(statuses(net.state, "").values()) == {ProcessStatus.STOPPED}

    asyncio.run(run())


def test_a_node_whose_application_died_comes_back_with_it_even_if_it_hung(tmp_path):
    async def run():
        async with Devnet(one_validator(), tmp_path / "net") as net:
            before = (await reached(net, "validator-1", 2)).height
            await net.kill("validator-1-node", signal.SIGSTOP)  # As deaf to SIGTERM as CometBFT is now and then.
            await net.kill("validator-1-app")
            await net.restart("validator-1-app")
            await reached(net, "validator-1", before + 1)
            assert set(statuses(net.state, "").values()) == {ProcessStatus.RUNNING}

    asyncio.run(run())


def test_a_chain_goes_on_where_it_stopped_and_at_new_ports(tmp_path):
    manifest = one_validator(Application.KVSTORE)

    async def run():
        async with Devnet(manifest, tmp_path / "net") as net:
            chain = net.chain_id
            height = (await reached(net, "validator-1", 3)).height
        async with Devnet(manifest, tmp_path / "net") as net:
            assert net.chain_id == chain
            await reached(net, "validator-1", height + 1)
        with pytest.raises(HomeDiffers):
            await Devnet(one_validator(), tmp_path / "net").start()

    asyncio.run(run())


def test_a_node_that_cannot_start_is_reported_with_its_log_and_nothing_is_left(tmp_path):
    async def run():
        manifest, seen = one_validator(), []
        net = Devnet(manifest, tmp_path / "net", seen.append)
        prepare(net.layout, manifest)
        (net.layout.node("validator-1") / "config" / "genesis.json").write_text("{}")
        with pytest.raises(ProcessFailed, match="validator-1-node ended with exit code 1") as failure:
            await net.start()
        assert "genesis" in str(failure.value)
        pids = {record.pid for state in seen for record in state.processes if record.pid}
        assert len(pids) == 2
        gone(pids)
        state = read_state(net.layout.state)
        assert state.phase is Phase.FAILED
        assert "validator-1-node" in state.error

    asyncio.run(run())


def test_a_network_that_is_stopped_while_it_starts_leaves_nothing(tmp_path):
    async def run():
        net = Devnet(standard(), tmp_path / "net")
        starting = asyncio.create_task(net.start())
        await until(lambda: len(living(net.state)) >= 6)
        pids = [pid for pid, _ in living(net.state)]
        await net.stop()
        with pytest.raises(NotRunning, match="was stopped while it was started"):
            await starting
        gone(pids)

    asyncio.run(run())


def test_a_detached_network_is_steered_from_outside_and_survives_its_starter(tmp_path):
    home, seen = tmp_path / "net", []
    with pytest.raises(NoDevnet):
        lifecycle.status(home)
    status = lifecycle.up(home, one_validator(), changed=seen.append)
    try:
        assert (status.phase, status.validators[0].health.height >= 1) == (Phase.READY, True)
        assert [state.phase for state in seen][-1] is Phase.READY
        with pytest.raises(AlreadyRunning):
            lifecycle.up(home)
        with pytest.raises(UnknownProcess) as refusal:
            lifecycle.kill(home, "validator-7")
        assert "validator-1-app" in refusal.value.hint
        hurt = lifecycle.kill(home, "validator-1")
        assert {record.status for record in hurt.processes} == {ProcessStatus.ENDED}
        assert hurt.validators[0].health is None
        with pytest.raises(SupervisorFailed, match="does not run"):
            lifecycle.kill(home, "validator-1-node")
        assert lifecycle.restart(home, "validator-1").validators[0].health is not None
        assert any("Started node" in line for line in lifecycle.logs(home, "validator-1-node", lines=200))
        assert len(list(lifecycle.logs(home, "validator-1-node", lines=2))) == 2
        assert any("Started node" in line for line in lifecycle.logs(home, "validator-1", lines=200))
        with pytest.raises(UnknownProcess):
            lifecycle.logs(home, "../../passphrase")
    finally:
        last = lifecycle.down(home)
    assert last.phase is Phase.STOPPED
    with pytest.raises(NotRunning):
        lifecycle.kill(home, "validator-1")
    other = replace(one_validator(Application.KVSTORE), chain_name="two")
    with pytest.raises(HomeDiffers):
        lifecycle.up(home, other)
    try:
        assert lifecycle.up(home, other, reset=True).chain_id.startswith("two-")
    finally:
        lifecycle.down(home, delete=True)
    assert not home.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tether a process to its parent")
def test_nothing_outlives_a_supervisor_that_is_killed_and_the_network_can_be_started_again(tmp_path):
    home = tmp_path / "net"
    status = lifecycle.up(home, one_validator())
    try:
        pids = [record.pid for record in status.processes]
        os.kill(status.supervisor, signal.SIGKILL)
        gone(pids)
        assert lifecycle.status(home).phase is Phase.LOST
        height = status.validators[0].health.height
        again = lifecycle.up(home)
        assert again.chain_id == status.chain_id
        assert again.validators[0].health.height >= height
        os.kill(again.supervisor, signal.SIGKILL)
        gone([again.supervisor])
    finally:
        assert lifecycle.down(home).phase is Phase.STOPPED
    assert {record.pid for record in lifecycle.status(home).processes} == {None}


def test_a_missing_program_is_told_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("COMETBFT_BIN", str(tmp_path / "cometbft"))
    with pytest.raises(BinaryMissing, match="CometBFT"):
        lifecycle.up(tmp_path / "net", one_validator())
    assert not (tmp_path / "net").exists()


def test_a_detached_network_that_cannot_start_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("COMETBFT_BIN", "/bin/false")
    with pytest.raises(
        SupervisorFailed, match="validator-1-node ended with exit code 1 while it was started"
    ) as failure:
        lifecycle.up(tmp_path / "net", one_validator(Application.KVSTORE))
    assert str(Layout(tmp_path / "net").log("validator-1-node")) in failure.value.hint
    assert lifecycle.status(tmp_path / "net").phase is Phase.FAILED
