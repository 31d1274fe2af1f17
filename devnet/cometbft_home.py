"""The files of a CometBFT home that are made once: keys, the signer's state, and the genesis document.

Formats: CometBFT v0.39, ``cometbft init``. Keys are Ed25519; a validator's address is the first 20 bytes of the
SHA-256 of its public key in upper case, a node's id the same of its own key in lower case.
"""

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from client_sdk.secrets.private_files import create_private, make_private_directory
from client_sdk.secrets.validator_keys import PRIVATE_TYPE, PUBLIC_TYPE, address_of, admission
from contracts.kernel import crypto, limits
from contracts.validators import NewValidator

from .errors import StateUnreadable

APP_STATE_KEY: Final = "fedledger"
# Larger than any pool, so that CometBFT offers a proposer all that waits: it cuts the rest off by age, not by lane.
# How large a block may really be is the application's to say (limits.BLOCK_BYTES), in proposing and in checking.
BLOCK_BYTES_MAX: Final = 52 << 20
EVIDENCE_BYTES_MAX: Final = 1 << 20
_WEEK_SECONDS: Final = 7 * 24 * 3600
_EVIDENCE_BLOCKS: Final = 4 * _WEEK_SECONDS  # Evidence expires when it is older than this and than a week.

assert EVIDENCE_BYTES_MAX < BLOCK_BYTES_MAX, "CometBFT refuses evidence larger than a block"


@dataclass(frozen=True, slots=True)
class ValidatorKeys:
    """The two secrets of a node: what it signs blocks with, and what its peers know it by."""

    name: str
    signing_seed: bytes = field(repr=False)
    node_seed: bytes = field(repr=False)

    @property
    def public(self) -> bytes:
        """The validator's public key, 32 bytes."""
        return crypto.public_key(self.signing_seed)

    def admission(self, genesis: bytes, operator: str) -> NewValidator:
        """The validator as the ledger admits it, with the proof that its operator holds the key."""
        return admission(self.signing_seed, operator, genesis)

    @property
    def address(self) -> str:
        """The validator's address, as blocks name it."""
        return address_of(self.public)

    @property
    def node_id(self) -> str:
        """The node's id, as peers dial it."""
        return _address(crypto.public_key(self.node_seed))


def new_validator_keys(name: str) -> ValidatorKeys:
    """Fresh keys from the operating system's entropy."""
    return ValidatorKeys(name, secrets.token_bytes(32), secrets.token_bytes(32))


def create_home(home: Path, keys: ValidatorKeys, genesis: bytes) -> None:
    """Write everything but ``config.toml``.

    Raises FileExistsError: a validator's state is never reset, because one that forgot what it signed may sign twice.
    """
    config, data = home / "config", home / "data"
    signer = {
        "address": keys.address,
        "pub_key": _typed(PUBLIC_TYPE, keys.public),
        "priv_key": _typed(PRIVATE_TYPE, keys.signing_seed + keys.public),
    }
    node = {"priv_key": _typed(PRIVATE_TYPE, keys.node_seed + crypto.public_key(keys.node_seed))}
    make_private_directory(home)
    create_private(config / "priv_validator_key.json", _json(signer))
    create_private(config / "node_key.json", _json(node))
    create_private(config / "genesis.json", genesis)
    create_private(data / "priv_validator_state.json", _json({"height": "0", "round": 0, "step": 0}))


def node_id_of(home: Path) -> str:
    """The id by which peers know the node of this home. Raises StateUnreadable."""
    path = home / "config" / "node_key.json"
    try:
        secret = base64.b64decode(json.loads(path.read_bytes())["priv_key"]["value"], validate=True)
    except OSError as error:
        raise StateUnreadable(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StateUnreadable(f"{path} is damaged: {error!r}") from error
    return _address(secret[32:])


def genesis_document(
    chain_id: str, began: datetime, validators: Sequence[ValidatorKeys], application_genesis: bytes
) -> bytes:
    """CometBFT's genesis, in which the application finds its own: ``contracts.transition.Genesis``, canonical.

    ``began`` must have a time zone. Every validator has the same power.
    """
    app_state = {APP_STATE_KEY: base64.b64encode(application_genesis).decode("ascii")}
    return _json(
        {
            "genesis_time": began.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "chain_id": chain_id,
            "initial_height": "1",
            "consensus_params": _consensus_params(),
            "validators": [
                {
                    "address": keys.address,
                    "pub_key": _typed(PUBLIC_TYPE, keys.public),
                    "power": str(limits.VALIDATOR_POWER),
                    "name": keys.name,
                }
                for keys in validators
            ],
            "app_hash": "",
            "app_state": app_state,
        }
    )


def _consensus_params() -> dict[str, dict[str, object]]:
    """Rules of consensus, unlike the configuration file: the same for all nodes, and changed by the chain only."""
    return {
        "block": {"max_bytes": str(BLOCK_BYTES_MAX), "max_gas": "-1"},
        "evidence": {
            "max_age_num_blocks": str(_EVIDENCE_BLOCKS),
            "max_age_duration": str(_WEEK_SECONDS * 10**9),
            "max_bytes": str(EVIDENCE_BYTES_MAX),
        },
        "validator": {"pub_key_types": ["ed25519"]},
        "version": {"app": "0"},
        "abci": {"vote_extensions_enable_height": "0"},
        "authority": {"authority": ""},  # Since 0.39; nobody may change these by a transaction of CometBFT's own.
    }


def _typed(kind: str, raw: bytes) -> dict[str, str]:
    return {"type": kind, "value": base64.b64encode(raw).decode("ascii")}


def _address(public: bytes) -> str:
    return hashlib.sha256(public).digest()[:20].hex()


def _json(document: Mapping[str, object]) -> bytes:
    return (json.dumps(document, indent=2) + "\n").encode("utf-8")
