"""What the machine did, in words: disk, memory, permissions, names, TLS, streams, libraries that are missing.

These are Python's own exceptions, which carry no kind and no hint. Here is the one place that gives them both; whatever
it does not know is a bug of ours.
"""

import errno
from collections.abc import Mapping
from typing import Final, NamedTuple

# Packages of this distribution: one of them that cannot be imported is our mistake, not the machine's.
_OURS: Final = ("abci_app", "cli", "client_sdk", "contracts", "devnet", "fedledger", "learning", "services")
_EXTRAS: Final[Mapping[str, str]] = {"google": "node", "lmdb": "node", "sklearn": "demo", "torch": "train"}

_STREAM: Final = "Leave standard input, output and error open, or point them at a file or /dev/null."
_SPACE: Final = "Free some space on its disk, or name a folder on another one."
_BY_NUMBER: Final[Mapping[int, str]] = {
    errno.EACCES: "Give this user access to it, or name another one.",
    errno.EADDRINUSE: "Another process listens there: stop it, or choose another address.",
    errno.EBADF: _STREAM,
    errno.EDQUOT: _SPACE,
    errno.EEXIST: "Choose another name, or move the old one away.",
    errno.EISDIR: "It is a folder: name a file.",
    errno.EMFILE: "Raise the limit of open files (ulimit -n), or stop what holds many.",
    errno.ENFILE: "Stop what holds many files open on this machine.",
    errno.ENOENT: "Check its name, and that its folder exists.",
    errno.ENOSPC: _SPACE,
    errno.ENOTDIR: "A part of its path is a file: name a folder.",
    errno.EPERM: "Give this user access to it, or name another one.",
    errno.EROFS: "Its disk is mounted read-only: name a folder on another one.",
}
_DISK: Final = "Check the file, its folder and the space on its disk."
_PEER: Final = "Check that the peer runs and that its address is right: 'fedledger doctor'."
_NAMES: Final = "Check the address for a typing error, and that this machine resolves names (/etc/hosts, DNS)."
_TLS: Final = "Check this machine's clock, the address, and that the peer's certificate is one this machine trusts."
_LOCALE: Final = "Set a UTF-8 locale, for example LC_ALL=C.UTF-8, and name files in it."
_LIBRARY: Final = "Install it into the environment that runs this program, or set that up anew."
_MEMORY: Final = "Close other programs, or run this on a machine with more memory."


class Cause(NamedTuple):
    """What the machine did, and what to do about it."""

    message: str
    hint: str


def cause_of(error: BaseException) -> Cause | None:
    """What the machine did to raise this exception; None when it was not the machine."""
    if isinstance(error, OSError):
        return _system(error)
    if isinstance(error, ImportError):
        return _library(error)
    if isinstance(error, UnicodeEncodeError):
        wrong = ascii(error.object[error.start : error.end][:20])
        return Cause(f"{wrong} cannot be written as {error.encoding}: {error.reason}", _LOCALE)
    if isinstance(error, MemoryError):
        return Cause(f"this machine has too little memory{f': {error}' if str(error) else ''}", _MEMORY)
    if isinstance(error, ValueError) and "I/O operation on closed file" in str(error):
        return Cause("a stream was closed while it was needed", _STREAM)
    if isinstance(error.__cause__, ImportError):  # Another package's words for a library that is missing.
        missing = _library(error.__cause__)
        return missing and Cause(str(error), getattr(error, "hint", "") or missing.hint)
    return None


def _system(error: OSError) -> Cause:
    import socket
    import ssl

    from client_sdk.errors import in_words
    from client_sdk.unreachable import why

    inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    host, port = getattr(error, "host", None), getattr(error, "port", None)
    peer = f"{host}:{port}" if host else ""
    if isinstance(inner, ssl.SSLError):
        return Cause(f"{peer or 'the peer'}: {why(error)}", _TLS)
    if isinstance(inner, socket.gaierror):
        return Cause(f"{peer or 'the peer'}: {why(error)}", _NAMES)
    if isinstance(inner, ConnectionError) or peer:
        return Cause(f"{peer or error.filename or 'the peer'}: {why(error)}", _PEER)
    return Cause(in_words(error), _BY_NUMBER.get(error.errno or 0, _DISK))


def _library(error: ImportError) -> Cause | None:
    package = (error.name or "").partition(".")[0]
    if package in _OURS:
        return None
    if package in _EXTRAS:
        hint = f"Install the extra [{_EXTRAS[package]}] of this distribution into the environment that runs it."
        return Cause(f"the package {package} is needed for this, and cannot be imported: {error}", hint)
    return Cause(f"a library cannot be imported: {error}", _LIBRARY)
