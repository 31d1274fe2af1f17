"""Free ports, programs and the default home."""

import os
import socket
from pathlib import Path

import pytest

from client_sdk.session.homes import default_home
from devnet import binaries, ports
from devnet.errors import BinaryMissing, NoFreePorts


def test_ports_are_distinct_free_and_below_those_the_system_hands_out():
    found = ports.free_ports(40)
    assert len(set(found)) == 40
    for port in found:
        assert ports.LOWEST <= port <= ports.HIGHEST < 32_768
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_a_port_that_somebody_listens_on_is_never_chosen(monkeypatch):
    (taken, free) = ports.free_ports(2)
    tries = iter([taken, taken, free])
    monkeypatch.setattr(ports.random.SystemRandom, "randint", lambda self, low, high: next(tries))
    with socket.create_server(("127.0.0.1", taken)):
        assert ports.free_ports(1) == (free,)


def test_when_all_ports_are_taken_it_says_so(monkeypatch):
    (taken,) = ports.free_ports(1)
    monkeypatch.setattr(ports.random.SystemRandom, "randint", lambda self, low, high: taken)
    with socket.create_server(("127.0.0.1", taken)), pytest.raises(NoFreePorts, match="0 of 3"):
        ports.free_ports(3)


def test_the_environment_names_a_program_before_the_toolchain_does(tmp_path):
    mine = tmp_path / "cometbft"
    mine.touch(mode=0o755)
    assert binaries.find(binaries.COMETBFT, {"COMETBFT_BIN": str(mine)}) == mine
    assert binaries.find(binaries.COMETBFT, {"COMETBFT_BIN": ""}).parts[-3:] == (".toolchain", "bin", "cometbft")


@pytest.mark.parametrize("mode", [None, 0o644])
def test_a_program_that_cannot_be_run_is_refused_with_what_to_do(tmp_path, mode):
    path = tmp_path / "ipfs"
    if mode is not None:
        path.touch(mode=mode)
    if os.access(path, os.X_OK):
        pytest.skip("this user may execute anything")
    with pytest.raises(BinaryMissing, match=str(path)) as refusal:
        binaries.find(binaries.KUBO, {"IPFS_BIN": str(path)})
    assert "make setup" in refusal.value.hint
    assert "IPFS_BIN" in refusal.value.hint


def test_the_default_home_is_the_environments_else_the_nearest_above_else_new(tmp_path):
    inner = tmp_path / "project" / "src"
    inner.mkdir(parents=True)
    assert default_home({"FEDLEDGER_HOME": "/srv/fl"}, inner) == Path("/srv/fl/devnet")
    assert default_home({}, inner) == inner / ".fedledger" / "devnet"
    outer = tmp_path / "project" / ".fedledger" / "devnet"
    outer.mkdir(parents=True)
    (outer / "manifest.toml").touch()
    assert default_home({}, inner) == outer
