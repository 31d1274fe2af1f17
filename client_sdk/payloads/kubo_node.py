"""Runs a real Kubo node for a devnet: makes its repository, starts the daemon, waits for an answer, stops it.

The node speaks to nobody it was not told of: a private swarm (shared ``swarm.key`` and
``LIBP2P_FORCE_PNET=1``), TCP on loopback only, no bootstrap, no routing, no provider announcements, no mDNS,
no relay, no AutoConf, AutoTLS, update check or telemetry. Three traps: a modern Kubo refuses a swarm key
while AutoConf or a value "auto" is left in its configuration; its telemetry is on by default; and the profile
``server``, made for public addresses, filters loopback without a word.

``kubo`` is the client of such a node. Ports are given by the caller, who knows which are free.
"""

import asyncio
import copy
import json
import os
import secrets
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import Kind
from ..secrets.private_files import make_private_directory, replace_private
from .errors import PayloadError, StoreUnavailable
from .kubo_rpc import KuboRpc

PROFILES: Final = "unixfs-v1-2025,server"
_INIT_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.05
_LOG_TAIL_BYTES: Final = 2_000


class KuboNodeFailed(PayloadError):
    """The daemon could not be initialised, started or reached; the message ends with the tail of its log."""

    kind = Kind.ENVIRONMENT
    hint = "Read the whole log named in the message; IPFS_BIN must name a Kubo 0.40 or newer."


@dataclass(frozen=True, slots=True)
class KuboNodeSpec:
    """Where one node lives and listens.

    ``home`` is its repository (IPFS_PATH); both ports are on 127.0.0.1.
    """

    binary: Path
    home: Path
    rpc_port: int
    swarm_port: int

    @property
    def rpc_url(self) -> str:
        """The address to give to ``KuboStore``."""
        return f"http://127.0.0.1:{self.rpc_port}"

    @property
    def log_path(self) -> Path:
        """Standard output and error of the daemon, appended over restarts."""
        return self.home / "daemon.log"

    def command(self) -> list[str]:
        """What runs the daemon, for a supervisor of its own."""
        return [str(self.binary), "daemon"]

    def environment(self, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
        """The daemon's environment: the inherited one without any IPFS or libp2p setting, plus ours."""
        kept = {name: value for name, value in inherited.items() if not name.startswith(("IPFS_", "LIBP2P_"))}
        return kept | {"IPFS_PATH": str(self.home), "IPFS_TELEMETRY": "off", "LIBP2P_FORCE_PNET": "1"}


def new_swarm_key() -> str:
    """A fresh key of a private swarm (libp2p "pre-shared key" v1): whoever has the text is a member."""
    return f"/key/swarm/psk/1.0.0/\n/base16/\n{secrets.token_hex(32)}\n"


async def initialise_swarm(specs: Sequence[KuboNodeSpec]) -> None:
    """Make the repositories of nodes that know each other and nobody else; may be repeated.

    They share one swarm key, and each keeps up connections to all others by itself (Peering), also after a
    restart; ``KuboNode.connect`` only makes the first connection sooner. Raises KuboNodeFailed.
    """
    key_path = specs[0].home / "swarm.key"
    swarm_key = key_path.read_text("ascii") if key_path.exists() else new_swarm_key()
    for spec in specs:
        await initialise(spec, swarm_key)
    for spec in specs:
        config = read_config(spec)
        others = [other for other in specs if other != spec]
        config["Peering"] = {"Peers": [{"ID": peer_id(o), "Addrs": [swarm_address(o)]} for o in others]}
        _write_config(spec, config)


async def initialise(spec: KuboNodeSpec, swarm_key: str) -> None:
    """Make one repository unless it is there, and (re)write its settings. Raises KuboNodeFailed."""
    make_private_directory(spec.home)
    if not (spec.home / "config").exists():
        await _run_init(spec)
    _write_config(spec, private_config(read_config(spec), spec))
    replace_private(spec.home / "swarm.key", swarm_key.encode("ascii"))


def read_config(spec: KuboNodeSpec) -> dict[str, Any]:
    """The node's settings. Raises KuboNodeFailed when the repository is not there or damaged."""
    try:
        config = json.loads((spec.home / "config").read_text("utf-8"))
    except OSError as error:
        raise KuboNodeFailed(f"no usable Kubo repository in {spec.home}: {error.strerror}") from error
    except ValueError as error:
        raise KuboNodeFailed(f"no usable Kubo repository in {spec.home}: {error}") from error
    if not isinstance(config, dict):
        raise KuboNodeFailed(f"no usable Kubo repository in {spec.home}: its settings are no JSON object")
    return config


def peer_id(spec: KuboNodeSpec) -> str:
    """The node's identity in the swarm; it is made with the repository."""
    return str(read_config(spec)["Identity"]["PeerID"])


def swarm_address(spec: KuboNodeSpec) -> str:
    """Where the node listens for peers, as a multiaddr without its identity."""
    return f"/ip4/127.0.0.1/tcp/{spec.swarm_port}"


def private_config(config: dict[str, Any], spec: KuboNodeSpec) -> dict[str, Any]:
    """The settings of ``ipfs init``, changed so that the node stays on loopback and among its peers."""
    off = {"Enabled": False}
    changed = copy.deepcopy(config)
    for mount in changed["Datastore"]["Spec"]["mounts"]:
        if mount["type"] == "flatfs":
            mount["sync"] = True  # What `put` calls kept survives a power cut; costs little (measured).
    changed["Addresses"] = {
        "API": f"/ip4/127.0.0.1/tcp/{spec.rpc_port}",
        "Gateway": [],
        "Swarm": [swarm_address(spec)],
        "Announce": [],
        "AppendAnnounce": [],
        "NoAnnounce": [],
    }
    changed["Bootstrap"] = []
    changed["Routing"] = {"Type": "none", "DelegatedRouters": []}
    changed["Ipns"] = changed.get("Ipns", {}) | {"DelegatedPublishers": []}
    changed["DNS"] = {"Resolvers": {}}
    changed["AutoNAT"] = {"ServiceMode": "disabled"}
    changed["Discovery"] = {"MDNS": off}
    changed["Version"] = {"SwarmCheckEnabled": False}
    changed["Plugins"] = {"Plugins": {"telemetry": {"Disabled": True, "Config": {"Mode": "off"}}}}
    for section in ("AutoConf", "AutoTLS", "Provide", "HTTPRetrieval"):
        changed[section] = dict(off)
    changed["Swarm"] = changed.get("Swarm", {}) | {
        "AddrFilters": None,  # The server profile's list bars loopback: nothing would connect.
        "DisableNatPortMap": True,
        "EnableHolePunching": False,
        "RelayClient": off,
        "RelayService": off,
        "Transports": {"Network": {"TCP": True} | dict.fromkeys(_TRANSPORTS_OFF, False)},
    }
    return changed


_TRANSPORTS_OFF: Final = (
    "QUIC",
    "Relay",
    "WebRTCDirect",
    "WebTransport",
    "Websocket",
)  # A swarm key excludes QUIC.


class KuboNode:
    """One daemon as a child process. ``start`` returns when its RPC has answered."""

    def __init__(self, spec: KuboNodeSpec) -> None:
        self.spec = spec
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process id while the daemon runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self, *, timeout_seconds: float = 30.0) -> None:
        """Start the daemon and wait for an answer to ``id``.

        Raises KuboNodeFailed; nothing is left running then.
        """
        if self.pid is not None:
            raise KuboNodeFailed(f"node {self.spec.home} already runs as process {self.pid}")
        descriptor = os.open(self.spec.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.spec.command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                env=self.spec.environment(),
                start_new_session=True,  # Ctrl-C reaches us; we decide when the daemon goes.
            )
        except OSError as error:
            raise KuboNodeFailed(f"cannot run {self.spec.binary}: {error.strerror}") from error
        finally:
            os.close(descriptor)
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._ready(self._process)
        except TimeoutError:
            await self.stop()
            raise self._failed(f"did not answer within {timeout_seconds:g} s") from None
        except BaseException:
            await self.stop()
            raise

    async def connect(self, other: "KuboNode", *, timeout_seconds: float = 10.0) -> None:
        """Connect to another node of the same swarm now. Raises StoreUnavailable."""
        async with KuboRpc(self.spec.rpc_url) as rpc:
            address = f"{swarm_address(other.spec)}/p2p/{peer_id(other.spec)}"
            await rpc.call("swarm/connect", address, timeout_seconds=timeout_seconds)

    async def stop(self, *, timeout_seconds: float = 10.0) -> None:
        """Ask the daemon to stop, kill it after ``timeout_seconds``. Nothing happens if it does not run."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(timeout_seconds):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _ready(self, process: asyncio.subprocess.Process) -> None:
        """Wait for an answer, or for the daemon's end, whichever comes first."""
        answered = asyncio.create_task(self._answered())
        ended = asyncio.create_task(process.wait())
        try:
            await asyncio.wait({answered, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not answered.done():
                raise self._failed(f"stopped with exit code {process.returncode}")
            answered.result()
        finally:
            answered.cancel()
            ended.cancel()
            await asyncio.gather(answered, ended, return_exceptions=True)

    async def _answered(self) -> None:
        """Ask until an answer comes that is this node's: another daemon may sit on the port."""
        expected = peer_id(self.spec)
        async with KuboRpc(self.spec.rpc_url) as rpc:
            while True:
                try:
                    identity = await rpc.call("id")
                except StoreUnavailable:
                    await asyncio.sleep(_POLL_SECONDS)
                    continue
                if identity.get("ID") != expected:
                    raise self._failed(f"finds another node behind port {self.spec.rpc_port}")
                return

    def _failed(self, why: str) -> KuboNodeFailed:
        with self.spec.log_path.open("rb") as log:
            log.seek(max(0, self.spec.log_path.stat().st_size - _LOG_TAIL_BYTES))
            tail = log.read().decode("utf-8", "replace").strip()
        return KuboNodeFailed(f"Kubo node {self.spec.home} {why}; log {self.spec.log_path} ends:\n{tail}")


async def _run_init(spec: KuboNodeSpec) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            str(spec.binary),
            "init",
            f"--profile={PROFILES}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=spec.environment(),
        )
    except OSError as error:
        raise KuboNodeFailed(f"cannot run {spec.binary}: {error.strerror}") from error
    try:
        async with asyncio.timeout(_INIT_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        raise KuboNodeFailed(f"ipfs init of {spec.home} took more than {_INIT_SECONDS:g} s") from None
    finally:  # Also when we are cancelled: nothing is left running.
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise KuboNodeFailed(f"ipfs init of {spec.home} failed:\n{output.decode('utf-8', 'replace').strip()}")


def _write_config(spec: KuboNodeSpec, config: dict[str, Any]) -> None:
    replace_private(spec.home / "config", (json.dumps(config, indent=2) + "\n").encode("utf-8"))
