"""Free ports on loopback, found by binding them.

They are chosen below the range from which the system takes the source ports of outgoing connections. Inside it, a
node that dials a dead peer's port again and again is sooner or later given that very port as its source, connects
to itself, and the peer can never come back.
"""

import random
import socket
from contextlib import ExitStack
from typing import Final

from .errors import NoFreePorts

LOWEST: Final = 20_000
HIGHEST: Final = 32_767  # Linux hands out 32768 to 60999, other systems 49152 and up.
_TRIES_PER_PORT: Final = 100


def free_ports(count: int) -> tuple[int, ...]:
    """Distinct TCP ports of 127.0.0.1 on which nobody listened a moment ago. Raises NoFreePorts."""
    chosen: list[int] = []
    numbers = random.SystemRandom()
    with ExitStack() as held:  # All are held until the last is found, so they are distinct.
        for _ in range(count * _TRIES_PER_PORT):
            if len(chosen) == count:
                break
            port = numbers.randint(LOWEST, HIGHEST)
            probe = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            chosen.append(port)
    if len(chosen) < count:
        raise NoFreePorts(f"only {len(chosen)} of {count} ports from {LOWEST} to {HIGHEST} are free")
    return tuple(chosen)
