"""A real network under siege: four validators whose ledger is founded by the simulated consortium.

It is the standard devnet with another genesis, so that every key is known to the attacker and to the honest members.
"""

import base64
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from client_sdk.payloads.store import StoreKind
from contracts import transition
from contracts.transition import Genesis
from devnet.foundation import prepare
from devnet.layout import Layout, shipped_manifest
from devnet.manifest import Manifest, Timeouts, load_manifest
from devnet.supervisor import Devnet

from ..harness.chain import Member, admission_of
from ..harness.consortium import OPERATORS
from ..harness.founding import NO_GENESIS
from ..simulation.members import CHAIN_ID, genesis


@asynccontextmanager
async def network() -> AsyncIterator[tuple[Devnet, Genesis]]:
    """The network at full speed, and its ledger's genesis, in a folder that is deleted afterwards."""
    manifest = load_manifest(shipped_manifest()).varied(store=StoreKind.LOCAL, timeouts=Timeouts.FAST)
    folder = Path(tempfile.mkdtemp(prefix="hostile-"))
    try:
        founded = found(Layout(folder / "devnet"), manifest)
        async with Devnet(manifest, folder / "devnet") as net:
            yield net, founded
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def found(layout: Layout, manifest: Manifest) -> Genesis:
    """Make a devnet's home and write the consortium's genesis over its own. The nodes keep their keys."""
    prepare(layout, manifest)
    document = json.loads(layout.genesis.read_bytes())
    seeds = [_seed(layout.node(one["name"])) for one in document["validators"]]
    seated = tuple(zip(seeds, OPERATORS, strict=True))
    unproved = tuple(admission_of(seed, operator.name, NO_GENESIS) for seed, operator in seated)
    bare = replace(genesis(), validators=unproved)
    founding = transition.founding_digest(bare)
    stated = replace(
        bare,
        founders=tuple(replace(one, key=Member(one.organisation).human.enrolment(founding)) for one in bare.founders),
        validators=tuple(admission_of(seed, operator.name, founding) for seed, operator in seated),
    )
    document["chain_id"] = CHAIN_ID
    document["app_state"] = {"fedledger": base64.b64encode(stated.encode()).decode("ascii")}
    raw = json.dumps(document).encode()
    for path in (layout.genesis, *(layout.node(name) / "config" / "genesis.json" for name in manifest.validators)):
        path.write_bytes(raw)
    return stated


def pids(net: Devnet) -> dict[str, int | None]:
    """Every process of the network; None for one that is gone."""
    return {name: child.pid for name, child in sorted(net._children.items())}


def _seed(node: Path) -> bytes:
    secret = json.loads((node / "config" / "priv_validator_key.json").read_bytes())["priv_key"]["value"]
    return base64.b64decode(secret)[:32]
