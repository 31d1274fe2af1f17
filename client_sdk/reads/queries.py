"""What the ledger's application is asked, the strict reading of its answers, and what every reader of it does.

An answer is one node's word: ``verified`` holds it against headers that the validators signed, ``trusting`` does not.
Both are a ``Reader``, so nothing above them needs to know which it has.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from contracts.kernel import codec, limits, merkle
from contracts.kernel.codec import Malformed
from contracts.kernel.merkle import ProofInvalid, ProofOp

from ..light import TrustedState, TxResult, VerificationFailed
from ..rpc import AnswerMalformed, QueryAnswer, RpcClient, RpcError
from .trusted_headers import TrustedHeaders

SCAN_LIMIT: Final = 500  # Of the application.
TOO_EARLY: Final = 2  # The application's code for: ask again after the next block.
NOT_KEPT: Final = 3  # And for: ask for a newer height.
_SCAN_BYTES: Final = 4 << 20


class QueryRefused(RpcError):
    """The application did not answer a query. ``code`` and ``log`` are its own words."""

    hint = "The node may have pruned the height, or run another version: `fedledger doctor`."

    def __init__(self, code: int, log: str) -> None:
        super().__init__(f"the application refused the query with code {code}: {log}")
        self.code = code
        self.log = log


class NotYet(QueryRefused):
    """The node has not come to the height that was asked for, or no height can be proved yet."""


class NotKept(QueryRefused):
    """The node does not keep the state of the height that was asked for any more."""

    hint = "Ask for the newest state: nodes keep that of the last two blocks."


@dataclass(frozen=True, slots=True)
class Moment:
    """The block at which rules judge a state: its height and its time, ms. That is the one after what is read."""

    height: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class Point:
    """A height at which the state is read, and the block time, ms, at which rules judge it: that of the next block."""

    height: int
    time_ms: int

    @property
    def judged_at(self) -> Moment:
        """The next block: whose time is known, and in which nothing was done yet."""
        return Moment(self.height + 1, self.time_ms)


@dataclass(frozen=True, slots=True)
class Entry:
    """What was at a path after the block of a height; ``body`` is None when nothing was.

    ``state`` is the verified header of the next block, and ``proof`` leads from its app hash to the body, or to what
    stands beside the path. On a node's word there is neither.
    """

    path: bytes
    body: bytes | None
    height: int
    state: TrustedState | None = None
    proof: tuple[ProofOp, ...] = ()


@dataclass(frozen=True, slots=True)
class DecidedTx:
    """A transaction, where it was decided, and with what result. The result's log is never proved."""

    raw: bytes
    height: int
    index: int
    result: TxResult


class Reader(Protocol):
    """What reads the ledger. How much of it is proved, the implementation says; its headers are always verified."""

    headers: TrustedHeaders

    async def newest(self, at_least: int = 0) -> Point:
        """The newest height that can be read, waited for until it is at least this one."""

    async def read(self, path: bytes, *, at_least: int = 0, at: int = 0) -> Entry:
        """What is at a path: at one height, or else in the newest state, waited for until it is ``at_least`` as new."""

    async def unverified(self, path: bytes) -> bytes | None:
        """The newest bytes at a path by one node's word: for watching, never for deciding."""

    async def scan(self, prefix: bytes, after: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        """Up to ``limit`` entries under a prefix, strictly after a path, by one node's word."""

    async def results(self, height: int) -> tuple[TxResult, ...]:
        """What each transaction of a block did."""

    async def transaction(self, digest: bytes) -> DecidedTx | None:
        """A decided transaction by the SHA-256 of its bytes; None if the node knows of none."""


async def ask(rpc: RpcClient, path: bytes, *, prove: bool, height: int = 0) -> QueryAnswer:
    """What the application says is at a path, at a height, or after the newest block (with proofs the one before).

    Raises NotYet, NotKept, QueryRefused, VerificationFailed for an answer to another question, and ValueError for a
    path that no state could hold.
    """
    store, key = merkle.split_path(path)
    answer = await rpc.abci_query(f"/store/{store}/key", key, height=height, prove=prove)
    if answer.code != 0:
        raise _refusal(answer)
    if answer.key != key:
        raise VerificationFailed(f"value at {path!r}", f"the answer is for the key {answer.key[:255]!r}")
    if height not in (0, answer.height):
        raise VerificationFailed(f"value at {path!r}", f"the answer is for height {answer.height}, asked was {height}")
    return answer


async def newest(rpc: RpcClient, path: bytes) -> bytes | None:
    """The newest body at a path, without proof. Raises as ``ask``."""
    answer = await ask(rpc, path, prove=False)
    return opened(path, answer.value) if answer.value else None


async def scan(
    rpc: RpcClient, prefix: bytes, after: bytes | None, limit: int, *, height: int = 0
) -> list[tuple[bytes, bytes]]:
    """Up to ``limit`` (at most 500) entries under a prefix, strictly after a path, without proof.

    They are of the state after the block of ``height``, which is the newest (0) or one of the two that are kept. Fewer
    than ``limit`` does not mean the end; an empty list does. Raises QueryRefused, AnswerMalformed.
    """
    wanted = codec.encode_plain({"prefix": prefix, "after": after, "limit": min(limit, SCAN_LIMIT)})
    answer = await rpc.abci_query("/scan", wanted, height=height)
    if answer.code != 0:
        raise _refusal(answer)
    return read_entries(answer.value, prefix, after)


def opened(path: bytes, value: bytes) -> bytes:
    """The body within a committed value. Raises VerificationFailed when it was not committed at this path."""
    try:
        return merkle.open_value(path, value)
    except ProofInvalid as error:
        raise VerificationFailed(f"value at {path!r}", str(error)) from error


def read_entries(value: bytes, prefix: bytes, after: bytes | None) -> list[tuple[bytes, bytes]]:
    """Entries in strictly ascending order under the prefix: otherwise a caller that pages on might never end.

    Raises AnswerMalformed.
    """
    try:
        plain = codec.decode_plain(value, most=_SCAN_BYTES)
    except Malformed as error:
        raise AnswerMalformed("scan", str(error)) from error
    if not isinstance(plain, list):
        raise AnswerMalformed("scan", "expected is a list")
    entries: list[tuple[bytes, bytes]] = []
    last = after
    for item in plain:
        if not isinstance(item, list) or len(item) != 2 or not all(type(part) is bytes for part in item):
            raise AnswerMalformed("scan", "an entry is not a path and a body")
        path, body = item
        if not path.startswith(prefix) or len(path) > limits.PATH_BYTES or (last is not None and path <= last):
            raise AnswerMalformed("scan", f"{path[:255]!r} is not under the prefix, or out of order")
        entries.append((path, body))
        last = path
    return entries


def _refusal(answer: QueryAnswer) -> QueryRefused:
    kind = {TOO_EARLY: NotYet, NOT_KEPT: NotKept}.get(answer.code, QueryRefused)
    return kind(answer.code, answer.log)
