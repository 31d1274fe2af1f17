"""What is sent: transactions, and which of them must be in a block before which others make sense."""

import asyncio
import base64
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from contracts.kernel import Message, codec, envelope, limits

_HEAD = (
    "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
    '{{"jsonrpc":"2.0","id":1,"method":"broadcast_tx_sync","params":{{"tx":"{}"}}}}'
)
_SIGNED_AT_ONCE = 200
_AROUND = len('{"jsonrpc":"2.0","id":1,"method":"broadcast_tx_sync","params":{"tx":""}}')


@dataclass(slots=True, eq=False)
class Step:
    """One transaction. ``make`` builds its bytes, given the last height at which they shall be valid.

    A step without ``make`` sends nothing: it is a mark that is reached as soon as all that it needs is in blocks.
    """

    make: Callable[[int], bytes] | None
    needs: int = 0  # How many other steps must be in a block first.
    pause: float = 0.0  # Seconds to wait once they are.
    then: list["Step"] = field(default_factory=list)
    encoded: str = ""  # Base64, as a block shows it.
    request: bytes = b""
    sent: float = 0.0  # time.perf_counter() just before the request was written.
    node: int = 0  # Where it was sent.
    height: int = 0  # Of the block that holds it; 0 until then.
    tries: int = 0

    @property
    def size(self) -> int:
        """Bytes of the transaction."""
        return len(self.encoded) // 4 * 3 - self.encoded[-2:].count("=")

    def transaction(self, valid_until: int) -> bytes:
        """Its bytes, anew at each call. Raises ValueError for a mark, which has none."""
        if self.make is None:
            raise ValueError("a mark is no transaction")
        return self.make(valid_until)

    def reached(self) -> list["Step"]:
        """Note that it is in a block, or reached. Returns what can be sent now, marks passed through."""
        ready: list[Step] = []
        for following in self.then:
            following.needs -= 1
            if following.needs == 0:
                ready += following.reached() if following.make is None else [following]
        return ready

    def after(self, *others: "Step | None") -> "Step":
        """Make this step wait for others."""
        for other in others:
            if other is not None:
                other.then.append(self)
                self.needs += 1
        return self

    def sign(self, valid_until: int) -> None:
        """Build the request that carries it."""
        self.encoded = base64.b64encode(self.transaction(valid_until)).decode("ascii")
        self.request = _HEAD.format(len(self.encoded) + _AROUND, self.encoded).encode("ascii")


def signed(signer: envelope.Signer, ledger: envelope.LedgerId, message: Message) -> Step:
    """A step that signs a message with a key, with a fresh nonce each time."""
    tag, body = message.tag, codec.shape_of(type(message)).pack(message, "")

    def make(valid_until: int) -> bytes:
        nonce = random.randbytes(limits.NONCE_BYTES)
        return envelope.seal(signer, ledger, tag=tag, body=body, nonce=nonce, valid_until=valid_until)

    return Step(make)


def mark(*steps: Step) -> Step:
    """A mark that is reached when all these are in blocks."""
    return Step(None).after(*steps)


def key_value(size: int) -> Step:
    """A step for CometBFT's kvstore: a fresh key, and a value that fills the transaction up to ``size`` bytes."""

    def make(_valid_until: int) -> bytes:
        key = random.randbytes(8).hex()
        return f"{key}={'v' * (size - len(key) - 1)}".encode("ascii")

    return Step(make)


async def sign_all(steps: Sequence[Step], valid_until: Callable[[], int]) -> None:
    """Build every request, before the clock starts. Between some of them whatever else the loop has to do is done."""
    for start in range(0, len(steps), _SIGNED_AT_ONCE):
        for step in steps[start : start + _SIGNED_AT_ONCE]:
            step.sign(valid_until())
        await asyncio.sleep(0)  # An event socket that does not answer pings is closed.
