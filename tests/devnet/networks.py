"""The small networks that these tests run."""

from pathlib import Path

from client_sdk.payloads.store import StoreKind
from devnet.manifest import Application, Manifest, Timeouts, parse_manifest

ONE_VALIDATOR = """
[chain]
name = "one"
application = "fedledger"
timeouts = "fast"

[storage]
kind = "local"

[[validator]]
operator = "lab-1"
genesis = true

[[organisation]]
name = "lab-1"
roles = ["aggregator", "operator"]
epsilon_cap = 0
founder = true

[[organisation]]
name = "hospital-a"
roles = ["data-owner"]
epsilon_cap = 2.5
founder = false
"""


STAND_BY = (
    ONE_VALIDATOR.replace(
        "[[organisation]]", '[[validator]]\noperator = "lab-2"\ngenesis = false\n\n[[organisation]]', 1
    )
    + """
[[organisation]]
name = "lab-2"
roles = ["operator"]
epsilon_cap = 0
founder = false
"""
)


def with_stand_by() -> Manifest:
    """One validator, and a node that stands by."""
    return parse_manifest(STAND_BY, "stand-by.toml")


def one_validator(application: Application = Application.FEDLEDGER) -> Manifest:
    """One validator and two organisations, without IPFS."""
    return parse_manifest(ONE_VALIDATOR, "one.toml").varied(application=application)


def standard(*, store: StoreKind = StoreKind.LOCAL) -> Manifest:
    """The standard devnet, at full speed."""
    text = (Path(__file__).parents[2] / "chain_config" / "devnet.toml").read_text("utf-8")
    return parse_manifest(text, "devnet.toml").varied(store=store, timeouts=Timeouts.FAST)
