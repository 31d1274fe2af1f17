"""Where everything of a devnet is: one folder, its home.

::

    manifest.toml      what it consists of             genesis.json    CometBFT's genesis document
    state.json         what runs where                 lock            held by whoever runs it
    passphrase         opens every member's keyring    run/            sockets, when their paths fit
    logs/NAME.log      one per process
    nodes/validator-1/ a CometBFT home; ledger/ in it is the application's store
    kubo/kubo-1/       a Kubo repository               blocks/         the embedded store, instead of Kubo
    members/ORG/       an organisation's profile.toml and keyring ORG.age

The folder and everything in it is for its owner only.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from client_sdk.session import homes

REPOSITORY: Final = Path(__file__).resolve().parent.parent


def shipped_manifest() -> Path:
    """The manifest of the standard devnet."""
    return REPOSITORY / "chain_config" / "devnet.toml"


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one devnet. ``home`` is absolute."""

    home: Path

    @property
    def manifest(self) -> Path:
        """What this devnet was made from."""
        return self.home / "manifest.toml"

    @property
    def genesis(self) -> Path:
        """CometBFT's genesis document, the same file for all nodes."""
        return self.home / "genesis.json"

    @property
    def state(self) -> Path:
        """What runs where."""
        return self.home / "state.json"

    @property
    def lock(self) -> Path:
        """Held by the supervisor as long as it lives."""
        return self.home / "lock"

    @property
    def passphrase(self) -> Path:
        """The passphrase of every member's keyring."""
        return self.home / "passphrase"

    @property
    def logs(self) -> Path:
        """The folder of logs."""
        return self.home / "logs"

    @property
    def run(self) -> Path:
        """Sockets, unless the path is too long for them."""
        return self.home / "run"

    @property
    def blocks(self) -> Path:
        """The embedded payload store that all members share when there is no Kubo."""
        return self.home / "blocks"

    def log(self, name: str) -> Path:
        """The log of one process."""
        return self.logs / f"{name}.log"

    def node(self, validator: str) -> Path:
        """The CometBFT home of a validator."""
        return self.home / "nodes" / validator

    def kubo(self, name: str) -> Path:
        """The repository of a Kubo node."""
        return self.home / "kubo" / name

    def member(self, organisation: str) -> Path:
        """An organisation's own folder."""
        return homes.member_folder(self.home, organisation)

    def profile(self, organisation: str) -> Path:
        """How an organisation reaches the ledger."""
        return homes.profile_path(self.home, organisation)
