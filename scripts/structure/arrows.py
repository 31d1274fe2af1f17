"""Who may import whom. ``tests/tidy.py`` holds the code to it, ``scripts/map.py`` compares; tables, and nothing else.

A package sees itself and what its row names, and no other package of ours. A row names only rows above it, so there is
no circle. Nobody but the tests sees the tests, and nothing that is shipped sees the command line (ADR-0010).
"""

from collections.abc import Mapping
from typing import Final

ARROWS: Final[Mapping[str, tuple[str, ...]]] = {
    "contracts": (),
    "learning": (),
    "abci_app": ("contracts",),
    "client_sdk": ("contracts", "learning"),
    "fedledger": ("contracts", "learning", "client_sdk"),
    "services": ("contracts", "learning", "client_sdk"),
    "devnet": ("contracts", "client_sdk"),
    "cli": ("contracts", "learning", "abci_app", "client_sdk", "services", "devnet"),
    "examples": ("contracts", "learning", "client_sdk", "fedledger", "services", "devnet"),
    "campaigns": ("contracts", "learning", "abci_app", "client_sdk", "devnet", "examples"),
    "benchmarks": ("contracts", "learning", "abci_app", "client_sdk", "devnet", "examples", "campaigns"),
    "scripts": ("contracts", "client_sdk", "cli", "benchmarks"),
}
UNBOUND: Final = ("tests",)
"""Packages that may import every other."""
OURS: Final = (*ARROWS, *UNBOUND)
SHIPPED: Final = ("contracts", "learning", "abci_app", "client_sdk", "fedledger", "services", "devnet", "cli")
"""What the distribution holds; the rest stays in the repository."""
