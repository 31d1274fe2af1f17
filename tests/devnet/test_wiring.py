"""Ports, sockets and settings of one run, over a real home and without processes."""

import os
import stat
import tomllib

import pytest

from client_sdk.session.profile import load_profile
from devnet import cometbft_home, foundation, wiring
from devnet.layout import Layout
from devnet.manifest import Application
from tests.devnet.networks import one_validator, standard


@pytest.fixture
def wired(tmp_path):
    """The standard network wired in a home, and how to undo it."""
    made = []

    def wire(folder="net", manifest=None):
        layout = Layout(tmp_path / folder)
        manifest = manifest or standard()
        foundation.prepare(layout, manifest)
        made.append(wiring.wire(layout, manifest))
        return layout, made[-1]

    yield wire
    for each in made:
        wiring.unwire(each)


def config(validator):
    return tomllib.loads((validator.home / "config" / "config.toml").read_text())


def test_every_node_dials_all_others_at_the_ports_they_listen_on(wired):
    _, run = wired()
    dialled = {
        validator.name: {
            f"{cometbft_home.node_id_of(peer.home)}@127.0.0.1:{peer.p2p_port}"
            for peer in run.validators
            if peer is not validator
        }
        for validator in run.validators
    }
    for validator in run.validators:
        p2p = config(validator)["p2p"]
        assert set(p2p["persistent_peers"].split(",")) == dialled[validator.name]
        assert p2p["laddr"] == f"tcp://127.0.0.1:{validator.p2p_port}"
    ports = [port for validator in run.validators for port in (validator.rpc_port, validator.p2p_port)]
    assert len(set(ports)) == 8


def test_a_node_and_its_application_meet_at_the_same_socket(wired):
    layout, run = wired()
    for validator in run.validators:
        command = wiring.application_command(layout, validator, "/usr/bin/python3")
        assert command.argv[-1] == config(validator)["proxy_app"] == f"unix://{validator.socket}"


def test_the_application_inside_cometbft_needs_no_socket(wired):
    _, run = wired(manifest=one_validator(Application.KVSTORE))
    assert config(run.validators[0])["proxy_app"] == "kvstore"


def test_a_home_with_a_long_path_has_its_sockets_in_a_short_private_folder(wired):
    _, near = wired("short")
    layout, far = wired("x" * 110)
    assert near.runtime == near.validators[0].home.parents[1] / "run"
    assert layout.home not in far.runtime.parents
    assert stat.S_IMODE(far.runtime.stat().st_mode) == 0o700
    for path in (far.control, *(validator.socket for validator in far.validators)):
        assert len(os.fsencode(path)) <= 107
    wiring.unwire(far)
    assert not far.runtime.exists()
    assert near.runtime.exists()


def test_members_profiles_lead_to_the_nodes_and_an_operators_to_its_own_first(wired):
    layout, run = wired()
    addresses = {validator.operator: validator.rpc for validator in run.validators}
    chain_id, digest = foundation.genesis_facts(layout)
    for organisation in ("hospital-a", "lab-2", "hospital-c", "auditor"):
        profile = load_profile(layout.profile(organisation))
        assert profile.rpc[0] == addresses.get(organisation, profile.rpc[0])
        assert set(profile.rpc) == set(addresses.values())
        assert (profile.chain_id, profile.genesis_sha256) == (chain_id, digest)
        assert profile.store_address == str(layout.blocks)
        assert profile.keyring.is_file()
        assert profile.passphrase.is_file()


def test_a_setting_in_our_environment_does_not_reach_the_node(wired, monkeypatch):
    monkeypatch.setenv("CMT_RPC_LADDR", "tcp://0.0.0.0:26657")
    monkeypatch.setenv("TM_P2P_LADDR", "tcp://0.0.0.0:26656")
    monkeypatch.setenv("COMETBFT_BIN", "/bin/sh")
    layout, run = wired()
    command = wiring.node_command(layout, run.validators[0])
    assert command.argv[0] == "/bin/sh"
    assert not {"CMT_RPC_LADDR", "TM_P2P_LADDR"} & set(command.environment)
    assert command.environment["PATH"] == os.environ["PATH"]
