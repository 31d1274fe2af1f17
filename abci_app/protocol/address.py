"""Where an ABCI server listens: ``unix:///run/node/abci.sock``, or ``tcp://127.0.0.1:26658`` to develop with.

ABCI has no authentication: whoever connects may drive the node. So a unix socket is made for its owner alone,
and TCP is refused on any address but loopback.
"""

import errno
import ipaddress
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

_UNIX_PATH_BYTES_MAX = 107  # Of Linux's 108, one ends the string.
_BACKLOG = 16
_PROBE_SECONDS = 1.0


class AddressRefused(ValueError):
    """An address that cannot or must not be listened on."""

    kind: ClassVar[str] = "usage"


class AddressInUse(AddressRefused):
    """A live server already listens there."""

    kind = "environment"

    def __init__(self, address: str) -> None:
        super().__init__(f"{address}: another process listens there; stop it, or choose another address")


@dataclass(frozen=True, slots=True)
class Listening:
    """A listening socket and the address that reaches it."""

    socket: socket.socket
    address: str
    """With the port that was given, when port 0 was asked for."""
    file: Path | None
    inode: int

    def remove_file(self) -> None:
        """Remove the socket's file, unless another server has taken the path since."""
        if self.file is not None and self.file.exists() and self.file.stat().st_ino == self.inode:
            self.file.unlink()


def listen(address: str) -> Listening:
    """Listen at an address. A socket file left behind by a dead process is replaced.

    Raises AddressRefused for an address of another form, AddressInUse when somebody answers there.
    """
    scheme, _, rest = address.partition("://")
    if scheme == "unix":
        return _listen_unix(address, Path(rest))
    if scheme == "tcp":
        host, _, port = rest.rpartition(":")
        return _listen_tcp(address, host.strip("[]"), port)
    raise AddressRefused(f"{address}: want unix:///path or tcp://127.0.0.1:port")


def _listen_tcp(address: str, host: str, port: str) -> Listening:
    try:
        loopback = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError as error:
        raise AddressRefused(f"{address}: {host!r} is no loopback address") from error
    if not loopback.is_loopback:
        raise AddressRefused(f"{address}: ABCI is not authenticated, so it listens on loopback only")
    if not (port.isascii() and port.isdigit() and int(port) < 2**16):
        raise AddressRefused(f"{address}: {port!r} is no port")
    family = socket.AF_INET6 if loopback.version == 6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _bind(sock, address, (str(loopback), int(port)))
    host, given = (f"[{loopback}]" if family == socket.AF_INET6 else str(loopback)), sock.getsockname()[1]
    return Listening(sock, f"tcp://{host}:{given}", None, 0)


def _listen_unix(address: str, path: Path) -> Listening:
    if not path.is_absolute():
        raise AddressRefused(f"{address}: the path of a unix socket is absolute")
    length = len(os.fsencode(path))
    if length > _UNIX_PATH_BYTES_MAX:
        raise AddressRefused(f"{address}: a path of {length} bytes, the most is {_UNIX_PATH_BYTES_MAX}")
    _clear_stale(address, path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        _bind(sock, address, str(path))
    finally:
        os.umask(before)
    return Listening(sock, f"unix://{path}", path, path.stat().st_ino)


def _clear_stale(address: str, path: Path) -> None:
    """Remove a socket file nobody listens on. Anything else at the path is left alone and refused."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise AddressRefused(f"{address}: there is a file, and it is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except TimeoutError:
            pass  # Alive, with a full backlog.
    raise AddressInUse(address)


def _bind(sock: socket.socket, address: str, at: str | tuple[str, int]) -> None:
    try:
        sock.bind(at)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(address) from error
        raise AddressRefused(f"{address}: {error.strerror}") from error
