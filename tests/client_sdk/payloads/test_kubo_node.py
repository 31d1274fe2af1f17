"""What a node is told before it runs; how it then behaves is tested on a real one (``test_kubo_e2e``)."""

import asyncio
import copy
import os
from pathlib import Path

import pytest

from client_sdk.payloads.kubo_node import (
    KuboNodeFailed,
    KuboNodeSpec,
    initialise_swarm,
    new_swarm_key,
    private_config,
    read_config,
)

SPEC = KuboNodeSpec(Path("/bin/ipfs"), Path("/home/node"), rpc_port=5001, swarm_port=4001)

# The parts of what `ipfs init --profile=unixfs-v1-2025,server` writes (Kubo 0.43) that would reach further.
MADE_BY_INIT = {
    "Identity": {"PeerID": "12D3KooW", "PrivKey": "secret"},
    "Datastore": {"Spec": {"mounts": [{"type": "flatfs", "sync": False}, {"type": "levelds"}]}},
    "Addresses": {
        "Swarm": ["/ip4/0.0.0.0/tcp/4001"],
        "API": "/ip4/127.0.0.1/tcp/5001",
        "Gateway": "/ip4/127.0.0.1/tcp/8080",
    },
    "Routing": {"DelegatedRouters": ["auto"]},
    "Ipns": {"ResolveCacheSize": 128, "DelegatedPublishers": ["auto"]},
    "Bootstrap": ["auto"],
    "DNS": {"Resolvers": {".": "auto"}},
    "Swarm": {"AddrFilters": ["/ip4/127.0.0.0/ipcidr/8"], "RelayClient": {}, "ConnMgr": {}},
    "AutoConf": {},
    "Import": {"UnixFSChunker": "size-1048576"},
}


def strings_in(value):
    """Every text in a JSON value, keys included."""
    if isinstance(value, dict):
        return [text for item in value.items() for text in strings_in(list(item))]
    if isinstance(value, list):
        return [text for item in value for text in strings_in(item)]
    return [value] if isinstance(value, str) else []


def test_nothing_in_the_settings_reaches_beyond_loopback():
    config = private_config(MADE_BY_INIT, SPEC)
    assert "auto" not in strings_in(config)  # A modern Kubo would fetch what it stands for, or refuse the swarm key.
    assert not [text for text in strings_in(config) if text.startswith("/ip") and "/127.0.0.1/" not in text]
    assert config["Bootstrap"] == []
    assert config["Routing"]["Type"] == "none"
    for section in ("AutoConf", "AutoTLS", "Provide", "HTTPRetrieval"):
        assert config[section] == {"Enabled": False}
    assert config["Plugins"]["Plugins"]["telemetry"]["Disabled"] is True
    transports = config["Swarm"]["Transports"]["Network"]
    assert [name for name, is_on in transports.items() if is_on] == ["TCP"]


def test_what_does_not_reach_out_is_kept_and_blocks_are_synced():
    before = copy.deepcopy(MADE_BY_INIT)
    config = private_config(MADE_BY_INIT, SPEC)
    assert before == MADE_BY_INIT
    assert config["Identity"] == before["Identity"]
    assert config["Import"] == before["Import"]
    assert config["Datastore"]["Spec"]["mounts"] == [{"type": "flatfs", "sync": True}, {"type": "levelds"}]


def test_settings_of_the_shell_do_not_reach_the_daemon():
    inherited = {"PATH": "/bin", "IPFS_PATH": "/elsewhere", "IPFS_TELEMETRY": "on", "LIBP2P_FORCE_PNET": "0"}
    assert SPEC.environment(inherited) == {
        "PATH": "/bin",
        "IPFS_PATH": "/home/node",
        "IPFS_TELEMETRY": "off",
        "LIBP2P_FORCE_PNET": "1",
    }


def test_a_binary_that_is_none_is_reported(tmp_path):
    spec = KuboNodeSpec(tmp_path / "no-such-ipfs", tmp_path / "home", rpc_port=1, swarm_port=2)
    with pytest.raises(KuboNodeFailed, match="cannot run"):
        asyncio.run(initialise_swarm([spec]))


def test_a_binary_that_fails_is_reported_with_what_it_said(tmp_path):
    binary = tmp_path / "ipfs"
    binary.write_text("#!/bin/sh\necho no luck today\nexit 3\n")
    binary.chmod(0o700)
    spec = KuboNodeSpec(binary, tmp_path / "home", rpc_port=1, swarm_port=2)
    with pytest.raises(KuboNodeFailed, match="no luck today"):
        asyncio.run(initialise_swarm([spec]))


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_repository_without_usable_settings_is_reported(tmp_path, content):
    if content is not None:
        (tmp_path / "config").write_text(content)
    with pytest.raises(KuboNodeFailed, match="no usable Kubo repository"):
        read_config(KuboNodeSpec(Path("ipfs"), tmp_path, rpc_port=1, swarm_port=2))


def test_swarm_keys_differ_and_have_the_form_that_libp2p_reads():
    lines = new_swarm_key().splitlines()
    assert lines[:2] == ["/key/swarm/psk/1.0.0/", "/base16/"]
    assert len(bytes.fromhex(lines[2])) == 32
    assert new_swarm_key() != new_swarm_key()


def test_nothing_is_left_running_of_an_initialisation_that_is_given_up(tmp_path):
    told = tmp_path / "pid"
    binary = tmp_path / "ipfs"
    binary.write_text(f"#!/bin/sh\necho $$ > {told}\nexec sleep 600\n")
    binary.chmod(0o700)
    os.mkfifo(told)

    async def scenario():
        spec = KuboNodeSpec(binary, tmp_path / "node", rpc_port=5001, swarm_port=4001)
        making = asyncio.create_task(initialise_swarm([spec]))
        process = int(await asyncio.to_thread(told.read_text))
        making.cancel()
        await asyncio.wait([making])
        assert making.cancelled()
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)

    asyncio.run(scenario())
