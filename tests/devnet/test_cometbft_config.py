"""What a node of a devnet is configured to do, read back from the TOML that CometBFT gets."""

import tomllib

import pytest

from contracts.kernel import limits
from devnet.cometbft_config import PACES, NodeSettings, config_text
from devnet.manifest import Timeouts

SETTINGS = NodeSettings("validator-1", "unix:///run/app.sock", 20_001, 20_002, ("aa@127.0.0.1:1", "bb@127.0.0.1:2"))


def config(timeouts=Timeouts.CONSORTIUM):
    return tomllib.loads(config_text(SETTINGS, PACES[timeouts]))


def addresses(value):
    """Every text in a document that names a host and a port."""
    if isinstance(value, dict):
        return [found for item in value.values() for found in addresses(item)]
    return [value] if isinstance(value, str) and "://" in value else []


def test_a_node_listens_on_loopback_only():
    tcp = [address for address in addresses(config()) if address.startswith("tcp://")]
    assert sorted(tcp) == ["tcp://127.0.0.1:20001", "tcp://127.0.0.1:20002"]
    assert config()["rpc"]["grpc_laddr"] == config()["rpc"]["pprof_laddr"] == ""
    assert config()["instrumentation"]["prometheus"] is False


def test_a_node_knows_its_peers_and_looks_for_no_others():
    p2p = config()["p2p"]
    assert p2p["persistent_peers"] == "aa@127.0.0.1:1,bb@127.0.0.1:2"
    assert (p2p["pex"], p2p["seeds"], p2p["addr_book_strict"], p2p["allow_duplicate_ip"]) == (False, "", False, True)


def test_events_can_be_read_back_and_transactions_looked_up():
    assert config()["storage"]["discard_abci_responses"] is False
    assert config()["tx_index"]["indexer"] == "kv"


def test_the_pool_takes_no_transaction_larger_than_the_ledger_does():
    assert config()["mempool"]["max_tx_bytes"] == limits.TX_BYTES


@pytest.mark.parametrize(("timeouts", "idle"), [(Timeouts.CONSORTIUM, 2_000), (Timeouts.FAST, 500)])
def test_an_idle_chain_makes_an_empty_block_when_commit_and_wait_are_over(timeouts, idle):
    consensus = config(timeouts)["consensus"]
    assert consensus["create_empty_blocks"] is True

    def milliseconds(name):
        return int(consensus[name].removesuffix("ms"))

    assert milliseconds("timeout_commit") + milliseconds("create_empty_blocks_interval") == idle
