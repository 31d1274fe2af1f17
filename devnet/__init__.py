"""A network of real processes on this machine, for the demo, tests and development.

``supervisor.Devnet`` runs one inside this process (``async with Devnet(manifest, home) as net``, which prepares the
home); ``lifecycle`` starts one that stays behind when this process ends, and steers it from any shell.

From a manifest to running processes: ``manifest`` (what the network consists of) → ``foundation`` (what is made
once: keys, genesis, node homes) → ``wiring`` (ports, sockets and settings of one run) → ``supervisor`` (the
processes, started when what they need answers) → ``state`` (who runs where, for other shells).

It binds loopback only. Its secrets, and the passphrase beside them, protect nothing but demonstrations: a
real organisation makes its keys itself and never on one machine with the others'.
"""

from .errors import DevnetError
from .layout import Layout
from .manifest import Manifest, load_manifest

__all__ = ["DevnetError", "Layout", "Manifest", "load_manifest"]
