"""Running the command line inside this process, and a member's profile over the in-memory chain."""

import base64
import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import cli
from campaigns.harness import consortium
from campaigns.harness.chain import CHAIN_ID, Chain, Member
from client_sdk import session
from client_sdk.payloads.store import StoreKind
from client_sdk.secrets import age_passphrase, keys
from client_sdk.secrets.age_identity import new_identity
from client_sdk.secrets.private_files import create_private
from client_sdk.session import Session
from client_sdk.session.profile import Profile, write_profile
from client_sdk.training.journal import Journal
from contracts.kernel import crypto
from contracts.kernel.types import Purpose
from tests.local_ledger import LocalNode

if TYPE_CHECKING:
    from tests import local_task  # With what trains: loaded by the tests that do.

PASSPHRASE = "correct horse battery staple"


@dataclass(frozen=True)
class Ran:
    """What one command did."""

    status: int
    out: str
    err: str

    @property
    def envelope(self) -> dict[str, Any]:
        """The one JSON document on standard output."""
        (line,) = self.out.splitlines()
        document: dict[str, Any] = json.loads(line)
        assert document["schema_version"] == 1
        return document

    @property
    def data(self) -> Any:
        """The data of a success."""
        assert self.envelope["status"] == "ok", self.out
        return self.envelope["data"]


Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("LEDGER", "AS", "PASSPHRASE_FILE", "DEBUG", "TRUST_NODE"):
        monkeypatch.delenv(f"FEDLEDGER_{name}", raising=False)
    monkeypatch.setenv("FEDLEDGER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """``run("org", "show", "hospital-a")``."""

    def run_one(*arguments: object) -> Ran:
        capsys.readouterr()
        status = cli.main([str(argument) for argument in arguments])
        return Ran(status, *capsys.readouterr())

    return run_one


@dataclass
class Members:
    """Profiles of the consortium's members on one in-memory chain. The key files are real, sealed cheaply.

    ``believed`` says of each opened ledger whether the node was to be trusted. ``meanwhile`` are jobs of others while a
    session is open.
    """

    folder: Path
    node: LocalNode
    world: "local_task.World | None"
    believed: list[bool] = field(default_factory=list)
    meanwhile: list[Any] = field(default_factory=list)

    @property
    def chain(self) -> Chain:
        return self.node.chain

    def of(self, member: Member, key: str = "") -> tuple[str, ...]:
        """The options that make a command act as a member."""
        path = self.folder / member.name / "profile.toml"
        if not path.exists():
            self._make(member, path)
        return ("--ledger", str(path), *(("--as", f"{member.name}/{key}") if key else ()))

    def add_human(self, member: Member) -> None:
        """Put the member's second human key, "human-2", into its keyring."""
        self.of(member)
        second = keys.SigningKey("human-2", Purpose.HUMAN, member.key(Purpose.HUMAN, 1).seed)
        keys.add_keys(self.folder / member.name / f"{member.name}.age", [second], PASSPHRASE)

    def _make(self, member: Member, path: Path) -> None:
        folder = path.parent
        create_private(folder / "passphrase", f"{PASSPHRASE}\n".encode())
        genesis = folder / "genesis.json"
        state = {"fedledger": base64.b64encode(self.chain.genesis).decode()}
        genesis.write_text(json.dumps({"chain_id": CHAIN_ID, "app_state": state}))
        known = _identities() if self.world is not None else {}
        identity = known.get(member.name) or new_identity()
        ring = keys.create_keyring(
            folder / f"{member.name}.age",
            [
                keys.SigningKey("human", Purpose.HUMAN, member.human.seed),
                keys.SigningKey("worker", Purpose.WORKLOAD, member.worker.seed),
                keys.EncryptionKey("encryption", identity),
            ],
            PASSPHRASE,
        )
        profile = Profile(
            organisation=member.name,
            chain_id=CHAIN_ID,
            genesis=genesis,
            genesis_sha256=crypto.sha256(genesis.read_bytes()).hex(),
            rpc=("http://127.0.0.1:1",),
            store=StoreKind.LOCAL,
            store_address=str(folder / "store"),
            keyring=ring.path,
            passphrase=folder / "passphrase",
        )
        write_profile(path, profile)


@pytest.fixture
def members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Members]:
    """``members(consortium.joined())``, or ``members(world=local_task.opened(tmp_path))`` for real payloads."""
    monkeypatch.setattr(age_passphrase, "WORK_FACTOR", 10)

    def at(chain: Chain | None = None, world: "local_task.World | None" = None) -> Members:
        node = world.node if world is not None else LocalNode(chain or consortium.founded())
        found = Members(tmp_path / "members", node, world)
        if world is not None:
            from tests import meanwhile

            meanwhile.stop_the_clock_at_work(world, monkeypatch)

        @asynccontextmanager
        async def open_client(profile: Profile, signer: Any = None, *, trust_node: bool = False) -> Any:
            found.believed.append(trust_node)
            yield node.client(signer)

        @asynccontextmanager
        async def open_session(
            profile: Profile, key: str | None, passphrase_file: Path | None = None, *, trust_node: bool = False
        ) -> Any:
            found.believed.append(trust_node)
            ring = session.unlock(profile, passphrase_file) if key else None
            client = node.client(ring.signing(key) if ring and key else None)
            assert world is not None, "this command needs payloads"
            from tests.meanwhile import at_work

            async with at_work(world, found.meanwhile):
                watched = world.clock.watched(client, "sign")
                yield Session(profile, watched, world.store, ring, Journal(profile.keyring.parent / "journal"))

        monkeypatch.setattr(session, "open_client", open_client)
        monkeypatch.setattr(session, "open_session", open_session)
        return found

    return at


def _identities() -> dict[str, str]:
    """Every organisation's age identity, in a world of real payloads."""
    from tests import local_task

    return local_task.identities()
