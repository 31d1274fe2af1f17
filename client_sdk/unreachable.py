"""Why a peer could not be reached, in words: what the network or TLS says, without its numbers and class names.

The caller names the peer. aiohttp's errors carry the system's own, and those are told apart: aiohttp is not imported.
"""

import os
import socket
import ssl
from typing import Final

_NOT_TLS: Final = " (does it speak TLS at all?)"
_PLAIN: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_MESSAGE")


def why(error: BaseException) -> str:
    """What went wrong with a connection, as a phrase that follows the peer's name."""
    certificate = getattr(error, "certificate_error", None)
    cause = certificate or getattr(error, "os_error", None) or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its TLS certificate is not accepted: {getattr(cause, 'verify_message', '') or _words(cause)}"
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed: {_words(cause)}{_NOT_TLS if getattr(cause, 'reason', None) in _PLAIN else ''}"
    if isinstance(cause, socket.gaierror):
        return f"its name does not resolve: {_words(cause)}"
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused: nothing listens there"
    if isinstance(cause, ConnectionResetError | BrokenPipeError):
        return "it closed the connection"
    return _words(cause)


def _words(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        reason = str(getattr(error, "reason", "") or error.strerror or error)
        return reason.replace("_", " ").lower() if reason.isupper() else reason
    if isinstance(error, OSError) and error.errno and error.errno > 0 and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
