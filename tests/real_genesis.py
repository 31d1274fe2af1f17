"""A genesis of the ledger for a real CometBFT: the home's own validator is the only one."""

import base64
import json
from dataclasses import replace
from pathlib import Path

from campaigns.harness.chain import admission_of
from contracts.kernel import limits
from contracts.transition import Genesis


def give_genesis(home: Path, stated: Genesis) -> None:
    """Write a ledger's genesis into the home of a network of one; the first founder operates its validator."""
    config = home / "config"
    secret = json.loads((config / "priv_validator_key.json").read_text())["priv_key"]["value"]
    admitted = admission_of(base64.b64decode(secret)[:32], stated.founders[0].organisation, stated.chain_id)
    document = json.loads((config / "genesis.json").read_text())
    (validator,) = document["validators"]
    assert base64.b64decode(validator["pub_key"]["value"]) == admitted.public
    validator["power"] = str(limits.VALIDATOR_POWER)
    document["chain_id"] = stated.chain_id
    genesis = replace(stated, validators=(admitted,)).encode()
    document["app_state"] = {"fedledger": base64.b64encode(genesis).decode("ascii")}
    (config / "genesis.json").write_text(json.dumps(document))
