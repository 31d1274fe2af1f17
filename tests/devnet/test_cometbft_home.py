"""A node's keys and the genesis document, held to what CometBFT expects of them."""

import base64
import hashlib
import json
import stat
from datetime import UTC, datetime

import pytest

from contracts.kernel import crypto, limits
from devnet import cometbft_home
from devnet.errors import StateUnreadable

KEYS = cometbft_home.new_validator_keys("validator-1")
BEGAN = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)


def document(application_genesis=b"\x01\x02"):
    return json.loads(cometbft_home.genesis_document("chain-1", BEGAN, [KEYS], application_genesis))


def test_the_signers_key_is_the_seed_and_public_key_that_the_genesis_names(tmp_path):
    cometbft_home.create_home(tmp_path / "node", KEYS, b"{}")
    signer = json.loads((tmp_path / "node/config/priv_validator_key.json").read_bytes())
    secret = base64.b64decode(signer["priv_key"]["value"])
    public = base64.b64decode(signer["pub_key"]["value"])
    assert secret[32:] == public == crypto.public_key(secret[:32])
    assert signer["address"] == hashlib.sha256(public).hexdigest()[:40].upper()
    (validator,) = document()["validators"]
    assert base64.b64decode(validator["pub_key"]["value"]) == public
    assert validator["address"] == signer["address"]


def test_a_nodes_id_is_read_back_from_its_home(tmp_path):
    cometbft_home.create_home(tmp_path / "node", KEYS, b"{}")
    assert cometbft_home.node_id_of(tmp_path / "node") == KEYS.node_id
    (tmp_path / "node/config/node_key.json").write_text('{"priv_key": {}}')
    with pytest.raises(StateUnreadable, match="node_key"):
        cometbft_home.node_id_of(tmp_path / "node")


def test_secrets_are_for_their_owner_only_and_never_written_over(tmp_path):
    home = tmp_path / "node"
    cometbft_home.create_home(home, KEYS, b"{}")
    files = [path for path in home.rglob("*") if path.is_file()]
    assert len(files) == 4
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    with pytest.raises(FileExistsError):
        cometbft_home.create_home(home, cometbft_home.new_validator_keys("validator-1"), b"{}")
    assert cometbft_home.node_id_of(home) == KEYS.node_id


def test_keys_show_no_secret_when_they_are_printed():
    assert KEYS.signing_seed.hex() not in repr(KEYS)
    assert repr(KEYS.signing_seed) not in repr(KEYS)


def test_the_application_finds_its_own_genesis_in_the_app_state():
    assert document()["app_state"] == {"fedledger": base64.b64encode(b"\x01\x02").decode()}


def test_blocks_are_bounded_and_only_ed25519_validates():
    params = document()["consensus_params"]
    assert int(params["block"]["max_bytes"]) > limits.BLOCK_BYTES  # Who cuts by lane must be shown all that waits.
    assert int(params["evidence"]["max_bytes"]) < int(params["block"]["max_bytes"])
    assert params["validator"]["pub_key_types"] == ["ed25519"]
    assert params["authority"] == {"authority": ""}


def test_the_chain_begins_at_height_one_at_a_time_in_utc():
    assert document()["initial_height"] == "1"
    assert document()["genesis_time"] == "2026-01-02T03:04:05.678Z"
