"""The ports, sockets and settings of one run of a devnet: chosen anew at each start, because others may use them since.

Writes every node's ``config.toml`` and every member's profile.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from client_sdk.payloads.kubo_node import KuboNodeSpec
from client_sdk.payloads.store import StoreKind
from client_sdk.secrets.keys import keyring_path
from client_sdk.secrets.private_files import make_private_directory, replace_private
from client_sdk.session.profile import Profile, write_profile

from . import binaries, cometbft_config, cometbft_home
from .foundation import genesis_facts
from .layout import Layout
from .manifest import Application, Manifest
from .ports import free_ports
from .process import Command, ProcessKind

SOCKET_PATH_BYTES_MAX: Final = 107  # Linux has 108 in sun_path, one ends the string.
_CONTROL: Final = "control.sock"
_TEMPORARY_PREFIX: Final = "fedledger-run-"
_SHORT_TEMPORARY: Final = Path("/tmp")  # noqa: S108 - only as a last resort, and with mkdtemp
_COMETBFT_VARIABLES: Final = ("CMT", "TM_", "TMHOME")  # Its environment overrides its configuration file.


@dataclass(frozen=True, slots=True)
class ValidatorWiring:
    """Where one validator's two processes meet, and where its node listens on loopback."""

    name: str
    operator: str
    home: Path
    rpc_port: int
    p2p_port: int
    socket: Path

    @property
    def rpc(self) -> str:
        """The address of the node's RPC."""
        return f"http://127.0.0.1:{self.rpc_port}"

    @property
    def application(self) -> str:
        """The name of the application's process."""
        return f"{self.name}-app"

    @property
    def node(self) -> str:
        """The name of the node's process."""
        return f"{self.name}-node"


@dataclass(frozen=True, slots=True)
class Wiring:
    """One run. ``runtime`` is a private folder for sockets."""

    runtime: Path
    validators: tuple[ValidatorWiring, ...]
    kubo: tuple[KuboNodeSpec, ...]

    @property
    def control(self) -> Path:
        """The supervisor's socket."""
        return self.runtime / _CONTROL


def wire(layout: Layout, manifest: Manifest) -> Wiring:
    """Choose ports and sockets, and write the settings that name them.

    Raises BinaryMissing, NoFreePorts, StateUnreadable, OSError.
    """
    kubo_binary = binaries.find(binaries.KUBO) if manifest.kubo_nodes else Path()
    ports = iter(free_ports(2 * (len(manifest.validators) + len(manifest.kubo_nodes))))
    runtime = _runtime_folder(layout, manifest)
    validators = tuple(
        ValidatorWiring(name, operator, layout.node(name), next(ports), next(ports), _socket(runtime, name))
        for name, operator in zip(manifest.validators, manifest.operators, strict=True)
    )
    kubo = tuple(KuboNodeSpec(kubo_binary, layout.kubo(name), next(ports), next(ports)) for name in manifest.kubo_nodes)
    wiring = Wiring(runtime, validators, kubo)
    _write_configs(manifest, wiring)
    _write_profiles(layout, manifest, wiring)
    return wiring


def unwire(wiring: Wiring) -> None:
    """Remove the sockets, and their folder if it was made for this run."""
    if is_temporary(wiring.runtime):
        shutil.rmtree(wiring.runtime, ignore_errors=True)
        return
    for socket in (wiring.control, *(validator.socket for validator in wiring.validators)):
        with contextlib.suppress(OSError):
            socket.unlink()


def is_temporary(runtime: Path) -> bool:
    """Whether a folder of sockets was made for one run, outside of the home."""
    return runtime.name.startswith(_TEMPORARY_PREFIX)


def application_command(layout: Layout, validator: ValidatorWiring, python: str) -> Command:
    """How to run a validator's application, with the Python that runs this."""
    argv = (python, "-m", "abci_app", "--home", str(validator.home), "--address", f"unix://{validator.socket}")
    log = layout.log(validator.application)
    return Command(validator.application, ProcessKind.APPLICATION, argv, dict(os.environ), log)


def node_command(layout: Layout, validator: ValidatorWiring) -> Command:
    """How to run a validator's node. Raises BinaryMissing."""
    argv = (str(binaries.find(binaries.COMETBFT)), "start", "--home", str(validator.home))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_COMETBFT_VARIABLES)}
    return Command(validator.node, ProcessKind.NODE, argv, environment, layout.log(validator.node))


def kubo_command(layout: Layout, name: str, spec: KuboNodeSpec) -> Command:
    """How to run a Kubo node."""
    return Command(name, ProcessKind.KUBO, tuple(spec.command()), spec.environment(), layout.log(name))


def _socket(runtime: Path, validator: str) -> Path:
    return runtime / f"{validator}.sock"


def _runtime_folder(layout: Layout, manifest: Manifest) -> Path:
    """``run`` in the home, or a short temporary folder when a socket's path there would be too long."""
    if _fits(layout.run, manifest.validators):
        make_private_directory(layout.run)
        return layout.run
    for parent in (Path(tempfile.gettempdir()), _SHORT_TEMPORARY):
        if _fits(parent / f"{_TEMPORARY_PREFIX}12345678", manifest.validators):  # As long as mkdtemp's names.
            return Path(tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX, dir=parent))
    raise OSError(f"no folder with a path short enough for sockets: {SOCKET_PATH_BYTES_MAX} bytes are allowed")


def _fits(folder: Path, validators: Iterable[str]) -> bool:
    paths = (folder / _CONTROL, *(_socket(folder, name) for name in validators))
    return all(len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX for path in paths)


def _write_configs(manifest: Manifest, wiring: Wiring) -> None:
    ids = {validator.name: cometbft_home.node_id_of(validator.home) for validator in wiring.validators}
    for validator in wiring.validators:
        peers = tuple(
            f"{ids[peer.name]}@127.0.0.1:{peer.p2p_port}" for peer in wiring.validators if peer is not validator
        )
        is_inside = manifest.application is Application.KVSTORE
        settings = cometbft_config.NodeSettings(
            moniker=validator.name,
            application="kvstore" if is_inside else f"unix://{validator.socket}",
            rpc_port=validator.rpc_port,
            p2p_port=validator.p2p_port,
            peers=peers,
        )
        text = cometbft_config.config_text(settings, cometbft_config.PACES[manifest.timeouts])
        replace_private(validator.home / "config" / "config.toml", text.encode("utf-8"))


def _write_profiles(layout: Layout, manifest: Manifest, wiring: Wiring) -> None:
    """An operator's programs ask its own node first; the others begin at different ones, to share the work."""
    chain_id, genesis_sha256 = genesis_facts(layout)
    operators = [validator.operator for validator in wiring.validators]
    for number, member in enumerate(manifest.organisations):
        first = operators.index(member.name) if member.name in operators else number % len(operators)
        addresses = [validator.rpc for validator in wiring.validators]
        address = str(layout.blocks)
        if manifest.store is StoreKind.KUBO:
            address = wiring.kubo[number % len(wiring.kubo)].rpc_url
        profile = Profile(
            organisation=member.name,
            chain_id=chain_id,
            genesis=layout.genesis,
            genesis_sha256=genesis_sha256,
            rpc=(*addresses[first:], *addresses[:first]),
            store=manifest.store,
            store_address=address,
            keyring=keyring_path(layout.member(member.name), member.name),
            passphrase=layout.passphrase,
        )
        write_profile(
            layout.profile(member.name), profile, "Written each time the devnet starts: changes here are lost."
        )
