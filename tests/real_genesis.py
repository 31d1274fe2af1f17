"""A genesis of the ledger for a real CometBFT: the home's own validator is the only one."""

import base64
import json
from dataclasses import replace
from pathlib import Path

from campaigns.harness.chain import Member, admission_of
from campaigns.harness.founding import NO_GENESIS, ledger_of
from contracts import transition
from contracts.kernel import limits
from contracts.kernel.envelope import LedgerId
from contracts.transition import Genesis


def give_genesis(home: Path, stated: Genesis) -> LedgerId:
    """Write a ledger's genesis into the home of a network of one; the first founder operates its validator.

    What signatures are then bound to: the genesis that is written is another one than the stated.
    """
    config = home / "config"
    secret = json.loads((config / "priv_validator_key.json").read_text())["priv_key"]["value"]
    seed, operator = base64.b64decode(secret)[:32], stated.founders[0].organisation
    bare = replace(stated, validators=(admission_of(seed, operator, NO_GENESIS),))
    founding = transition.founding_digest(bare)
    admitted = admission_of(seed, operator, founding)
    document = json.loads((config / "genesis.json").read_text())
    (validator,) = document["validators"]
    assert base64.b64decode(validator["pub_key"]["value"]) == admitted.public
    validator["power"] = str(limits.VALIDATOR_POWER)
    document["chain_id"] = stated.chain_id
    founders = tuple(replace(one, key=Member(one.organisation).human.enrolment(founding)) for one in stated.founders)
    given = replace(stated, founders=founders, validators=(admitted,))
    genesis = given.encode()
    document["app_state"] = {"fedledger": base64.b64encode(genesis).decode("ascii")}
    (config / "genesis.json").write_text(json.dumps(document))
    return ledger_of(given)
