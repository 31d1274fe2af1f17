"""A validator's key file, and the proof made from it."""

import json

import pytest

from campaigns.harness import consortium
from campaigns.harness.consortium import HOSPITAL_A
from client_sdk.secrets.validator_keys import NoValidatorKey, address_of, admission, read_validator_key
from contracts import validators
from contracts.governance import AdmitValidator, Propose
from devnet import cometbft_home


@pytest.fixture
def made(tmp_path):
    """The keys of a node, and its key file as CometBFT reads it."""
    keys = cometbft_home.new_validator_keys("validator-1")
    cometbft_home.create_home(tmp_path / "node", keys, b"{}")
    return keys, tmp_path / "node" / "config" / "priv_validator_key.json"


def test_the_key_that_a_node_signs_with_is_read(made):
    keys, path = made
    assert read_validator_key(path) == keys.signing_seed
    assert address_of(keys.public) == json.loads(path.read_text())["address"]


def test_what_is_proved_is_admitted(made):
    keys, path = made
    chain = consortium.founded()
    genesis = chain.ledger.genesis
    new = admission(read_validator_key(path), "hospital-c", genesis)
    chain.submit(HOSPITAL_A, Propose(AdmitValidator(new, None)))
    assert new == keys.admission(genesis, "hospital-c")
    assert validators.possession_statement(genesis, "hospital-c", keys.public).startswith(b"fedledger/validator-")


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (lambda document: document["priv_key"].update(type="tendermint/PrivKeySecp256k1"), "PrivKeySecp256k1"),
        (lambda document: document["priv_key"].update(value="AAAA"), "do not belong together"),
        (lambda document: document["pub_key"].update(value=document["priv_key"]["value"]), "do not belong together"),
        (lambda document: document["priv_key"].update(value="not base64!"), "priv_validator_key.json"),
        (lambda document: document.pop("priv_key"), "priv_key"),
        (lambda document: document.update(priv_key=[]), "priv_validator_key.json"),
        (lambda document: document.update(more="x" * 5_000), "more than 4096 bytes"),
    ],
)
def test_a_file_that_holds_no_consensus_key_is_refused(made, edit, why):
    _, path = made
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))
    with pytest.raises(NoValidatorKey, match=why) as refusal:
        read_validator_key(path)
    assert json.loads((path.parent / "node_key.json").read_text())["priv_key"]["value"] not in str(refusal.value)


def test_a_node_s_other_key_is_no_consensus_key(made):
    _, path = made
    with pytest.raises(NoValidatorKey, match="pub_key"):
        read_validator_key(path.with_name("node_key.json"))
