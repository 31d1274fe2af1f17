"""The configuration file of one CometBFT node (v0.39; 0.38 reads it too): every setting this project relies on.

What is left out keeps CometBFT's default, which its documentation gives. All times are per node, not rules of
consensus. Measured on two cores with four validators (research/ledger.md, section 9): a ``timeout_commit`` of
250 ms gives a block every 288 ms under load.
"""

from dataclasses import dataclass
from typing import Final

import tomli_w

from contracts.kernel import limits

from .manifest import Timeouts

_RATE_BYTES: Final = 20 << 20  # Per connection and second: a LAN's, not the 5 MB/s meant for public networks.
MEMPOOL_TXS: Final = 43_008  # All shares of 256 members in the application's account of the pool: see ADR 0008.
MEMPOOL_BYTES: Final = 48 << 20
_LOG_LEVEL: Final = "main:info,blocksync:info,statesync:info,*:error"  # "info" writes 1 kB for every block.


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a node goes through consensus, in milliseconds.

    A block takes ``commit_ms`` and some gossip while there are transactions, ``idle_ms`` while there are none.
    ``propose_ms`` and ``vote_ms`` are spent only when a proposer or votes are missing.
    """

    commit_ms: int
    propose_ms: int
    vote_ms: int
    gossip_sleep_ms: int
    idle_ms: int

    @property
    def empty_after_ms(self) -> int:
        """CometBFT begins to wait for a transaction when ``commit_ms`` is over."""
        return self.idle_ms - self.commit_ms


PACES: Final = {
    Timeouts.CONSORTIUM: Pace(commit_ms=250, propose_ms=1_000, vote_ms=500, gossip_sleep_ms=10, idle_ms=2_000),
    Timeouts.FAST: Pace(commit_ms=10, propose_ms=1_000, vote_ms=500, gossip_sleep_ms=5, idle_ms=500),
}


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What distinguishes one node from the others. ``peers`` are ``ID@HOST:PORT``."""

    moniker: str
    application: str
    """An ABCI address, ``unix:///…``, or ``kvstore`` for the application inside CometBFT."""
    rpc_port: int
    p2p_port: int
    peers: tuple[str, ...]


def config_text(node: NodeSettings, pace: Pace) -> str:
    """The ``config.toml`` of a node that listens on loopback only and knows its peers beforehand."""
    document = {
        "version": "0.39.4",
        "proxy_app": node.application,
        "abci": "socket",
        "moniker": node.moniker,
        "db_backend": "goleveldb",
        "db_dir": "data",
        "log_level": _LOG_LEVEL,
        "log_format": "plain",
        "genesis_file": "config/genesis.json",
        "priv_validator_key_file": "config/priv_validator_key.json",
        "priv_validator_state_file": "data/priv_validator_state.json",
        "priv_validator_laddr": "",
        "node_key_file": "config/node_key.json",
        "filter_peers": False,
        "rpc": _rpc(node),
        "p2p": _p2p(node),
        "mempool": {
            "type": "flood",
            "recheck": True,  # The application's account of the pool is kept by it.
            "broadcast": True,
            "size": MEMPOOL_TXS,
            "max_txs_bytes": MEMPOOL_BYTES,
            "max_tx_bytes": limits.TX_BYTES,
            "cache_size": 2 * MEMPOOL_TXS,
            "keep-invalid-txs-in-cache": False,  # A refusal may be for now only: reservation first, then commit.
        },
        "statesync": {"enable": False},
        "consensus": _consensus(pace),
        "storage": {"discard_abci_responses": False},  # /block_results is where clients read events.
        "tx_index": {"indexer": "kv"},
        "instrumentation": {"prometheus": False},
    }
    return f"# Written each time the devnet starts: changes here are lost.\n{tomli_w.dumps(document)}"


def _rpc(node: NodeSettings) -> dict[str, object]:
    return {
        "laddr": f"tcp://127.0.0.1:{node.rpc_port}",
        "cors_allowed_origins": [],
        "grpc_laddr": "",
        "pprof_laddr": "",
        "unsafe": False,
        "max_open_connections": 900,
        "max_subscription_clients": 100,
        "max_subscriptions_per_client": 5,
        # A subscriber that falls behind loses events without a word: give it room.
        "experimental_subscription_buffer_size": 2_000,
        "experimental_websocket_write_buffer_size": 2_000,
        "timeout_broadcast_tx_commit": "10s",
        "max_body_bytes": 1_000_000,
    }


def _p2p(node: NodeSettings) -> dict[str, object]:
    return {
        "laddr": f"tcp://127.0.0.1:{node.p2p_port}",
        "external_address": "",
        "seeds": "",
        "persistent_peers": ",".join(node.peers),
        "addr_book_strict": False,  # Loopback is not a routable address.
        "allow_duplicate_ip": True,  # All nodes share one.
        "pex": False,
        "flush_throttle_timeout": "10ms",
        "send_rate": _RATE_BYTES,
        "recv_rate": _RATE_BYTES,
    }


def _consensus(pace: Pace) -> dict[str, object]:
    return {
        "wal_file": "data/cs.wal/wal",
        "timeout_propose": f"{pace.propose_ms}ms",
        "timeout_propose_delta": f"{pace.propose_ms // 4}ms",
        "timeout_prevote": f"{pace.vote_ms}ms",
        "timeout_prevote_delta": f"{pace.vote_ms // 2}ms",
        "timeout_precommit": f"{pace.vote_ms}ms",
        "timeout_precommit_delta": f"{pace.vote_ms // 2}ms",
        "timeout_commit": f"{pace.commit_ms}ms",
        "skip_timeout_commit": False,
        "double_sign_check_height": 0,
        # Block time is the ledger's clock: without empty blocks it would stand still while nobody writes.
        "create_empty_blocks": True,
        "create_empty_blocks_interval": f"{pace.empty_after_ms}ms",
        "peer_gossip_sleep_duration": f"{pace.gossip_sleep_ms}ms",
        "peer_query_maj23_sleep_duration": "2s",
    }
