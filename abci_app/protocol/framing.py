"""How ABCI's messages lie on a byte stream: each behind its length, an unsigned varint. Pure, no sockets.

Source: CometBFT v0.39, ``libs/protoio`` and ``abci/types/messages.go``. (Before v0.37 the length was a signed
zig-zag varint: such a client is refused at its first frame, since what follows does not decode.)
"""

from dataclasses import dataclass, field
from typing import ClassVar

from contracts.kernel.varint import uvarint

_PREFIX_BYTES_MAX = 5  # Enough for the 2 GiB that CometBFT itself allows.


class ProtocolError(Exception):
    """The client sent bytes that are no ABCI request. Its connection is closed; the others are not."""

    kind: ClassVar[str] = "refused"


class FrameTooLarge(ProtocolError):
    """A length prefix announced more than the cap: refused before anything of the frame is kept."""

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(f"a frame of {length} bytes was announced, the cap is {limit}")
        self.length, self.limit = length, limit


class FrameEmpty(ProtocolError):
    """A frame of length zero: no request is that short."""

    def __init__(self) -> None:
        super().__init__("a frame of length 0 was announced, the shortest request has 2 bytes")


class PrefixTooLong(ProtocolError):
    """A length prefix that goes on beyond the longest that any request needs."""

    def __init__(self) -> None:
        super().__init__(f"a length prefix exceeds {_PREFIX_BYTES_MAX} bytes")


def frame(body: bytes) -> bytes:
    """A message behind its length."""
    return uvarint(len(body)) + body


def field_size(length: int) -> int:
    """Bytes that ``length`` bytes occupy as one element of a repeated protobuf field numbered below 16.

    This is how CometBFT counts a transaction against ``max_tx_bytes`` (``types.ComputeProtoSizeForTxs``).
    """
    return 1 + len(uvarint(length)) + length


@dataclass(slots=True)
class FrameReader:
    """Cuts a stream into frames as it arrives. Nothing is read twice, however small the pieces.

    ``limit`` is the longest frame, in bytes. How many frames may wait is the caller's affair: see ``held``.
    """

    limit: int
    _buffer: bytearray = field(default_factory=bytearray)
    _start: int = 0  # Where the next frame's prefix begins.
    _wanted: int = 1  # How long the buffer must be before looking at it again can help.

    @property
    def held(self) -> int:
        """Bytes received and not yet handed out."""
        return len(self._buffer) - self._start

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        self._buffer += data

    def next(self) -> bytes | None:
        """The next whole frame, without its prefix; None while it has not arrived.

        Raises FrameTooLarge, FrameEmpty or PrefixTooLong; the stream cannot be read any further then.
        """
        if len(self._buffer) < self._wanted:
            return None
        length, body = self._prefix()
        if length is None:
            self._wanted = len(self._buffer) + 1
            return None
        if length == 0:
            raise FrameEmpty
        if length > self.limit:
            raise FrameTooLarge(length, self.limit)
        end = body + length
        if len(self._buffer) < end:
            self._wanted = end
            return None
        whole = bytes(self._buffer[body:end])
        self._start, self._wanted = end, end + 1
        return whole

    def compact(self) -> None:
        """Give back the memory of the frames handed out. Cheap when called once for many of them."""
        del self._buffer[: self._start]
        self._wanted -= self._start
        self._start = 0

    def _prefix(self) -> tuple[int | None, int]:
        """The announced length and where the body starts; no length while the prefix is incomplete."""
        length, shift, at = 0, 0, self._start
        for byte in self._buffer[at : at + _PREFIX_BYTES_MAX]:
            at += 1
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                return length, at
            shift += 7
        if at - self._start == _PREFIX_BYTES_MAX:
            raise PrefixTooLong
        return None, at
