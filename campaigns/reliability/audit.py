"""What every node must be able to show afterwards, and what it does not.

The chain of each node is read from its first block to the last that all have, and compared block by block with the one
that was seen as it grew: header, transactions, results. Then everything that was acknowledged while processes died is
looked for in it. ``differences`` and ``lost`` are pure; the rest asks nodes.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeVar

from client_sdk.light.headers import Header, TxResult
from client_sdk.rpc import RpcClient

from .network import HANG_SECONDS
from .witness import Decided, Seen, Witness

T = TypeVar("T")
AT_ONCE = 8  # Questions to one node.
CALL_SECONDS = 60.0
NAMED_MAX = 3  # Of many differences, how many are named.


@dataclass(frozen=True)
class Row:
    """One block as a node shows it."""

    block_hash: bytes
    app_hash: bytes
    """Of the state that the block before led to."""
    outcomes: dict[bytes, tuple[int, bytes]]
    """Code and data of every transaction, by its hash, in the order of the block."""


Chain = dict[int, Row]


@dataclass
class Audit:
    """The end of a campaign. ``faults`` is empty when everything held."""

    heights: int = 0
    transactions: int = 0
    faults: list[str] = field(default_factory=list)
    not_indexed: dict[str, int] = field(default_factory=dict)
    """Transactions that a node has in its blocks and does not find by their hash."""


@asynccontextmanager
async def asking(address: str) -> AsyncIterator[RpcClient]:
    """One node's RPC, and no other's."""
    async with RpcClient((address,), call_seconds=CALL_SECONDS) as rpc:
        yield rpc


async def disagreements(addresses: Mapping[str, str], witness: Witness) -> list[str]:
    """Where a node's application is not in the state that the chain says, each at its own last height."""
    found = []
    for name, address in addresses.items():
        async with asking(address) as rpc:
            info = await rpc.abci_info()
        async with asyncio.timeout(HANG_SECONDS):
            await witness.beyond(info.height)
        agreed = witness.blocks[info.height + 1].header.app_hash
        if info.app_hash != agreed:
            found.append(f"{name} has the app hash {info.app_hash.hex()} at {info.height}, agreed is {agreed.hex()}")
    return found


async def audit(addresses: Mapping[str, str], witness: Witness) -> Audit:
    """Read every node's whole chain and hold it to the others and to what was acknowledged."""
    async with asyncio.timeout(HANG_SECONDS):
        await witness.beyond(witness.height + 1)  # One more after the last that anybody cares for.
    top = min([await _height(address) for address in addresses.values()])
    result = Audit(heights=top, transactions=sum(1 for height in witness.included.values() if height <= top))
    result.faults += [f"decided twice: {what}" for what in witness.twice]
    acknowledged = {digest: outcome for digest, outcome in witness.decided.items() if outcome.height <= top}
    seen = {height: _witnessed(one) for height, one in witness.blocks.items() if height <= top}
    for name, address in addresses.items():
        async with asking(address) as rpc:
            rows = await _at_once(range(1, top + 1), lambda height, rpc=rpc: _row(rpc, height))
            chain = dict(zip(range(1, top + 1), rows, strict=True))
            result.faults += _named(name, lost(chain, acknowledged))
            result.faults += _named(name, differences(seen, chain))
            found = await _at_once(acknowledged, rpc.tx)
            result.not_indexed[name] = found.count(None)
    return result


async def cometbft_version(address: str) -> str:
    """What a node says it is."""
    async with asking(address) as rpc:
        return (await rpc.status()).version


def differences(ours: Chain, theirs: Chain) -> list[str]:
    """Where two chains differ."""
    found = [f"height {height} is only in one of them" for height in sorted(ours.keys() ^ theirs.keys())]
    for height in sorted(ours.keys() & theirs.keys()):
        one, other = ours[height], theirs[height]
        if one.block_hash != other.block_hash:
            found.append(f"height {height} is another block")
        if one.app_hash != other.app_hash:
            found.append(f"height {height} names another app hash")
        if one.outcomes != other.outcomes:
            found.append(f"height {height} has other transactions or results")
    return found


def lost(chain: Chain, acknowledged: Mapping[bytes, Decided]) -> list[str]:
    """The acknowledged transactions that a chain does not have at their height with their result."""
    found = []
    for digest, outcome in acknowledged.items():
        row = chain.get(outcome.height)
        if row is None or row.outcomes.get(digest) != (outcome.code, outcome.data):
            found.append(f"transaction {digest.hex()} of height {outcome.height} is lost or has another result")
    return found


def _named(name: str, found: list[str]) -> list[str]:
    more = [f"{name}: and {len(found) - NAMED_MAX} more"] if len(found) > NAMED_MAX else []
    return [f"{name}: {what}" for what in found[:NAMED_MAX]] + more


async def _height(address: str) -> int:
    """The last height whose results a node has."""
    async with asking(address) as rpc:
        return (await rpc.abci_info()).height


def _witnessed(seen: Seen) -> Row:
    """A block as it was seen when it was new."""
    assert seen.results is not None, "blocks are known in order"
    return _row_of(seen.header, seen.txs, seen.results)


async def _row(rpc: RpcClient, height: int) -> Row:
    block, results = await asyncio.gather(rpc.block(height), rpc.block_results(height))
    return _row_of(block.header, block.txs, results)


def _row_of(header: Header, txs: tuple[bytes, ...], results: tuple[TxResult, ...]) -> Row:
    pairs = zip(txs, results, strict=True)
    outcomes = {sha256(tx).digest(): (result.code, result.data) for tx, result in pairs}
    return Row(header.hash, header.app_hash, outcomes)


async def _at_once(of: Iterable[object], ask: Callable[..., Awaitable[T]]) -> list[T]:
    """Ask about many things, some at a time; the answers in the same order."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(subject: object) -> T:
        async with room:
            return await ask(subject)

    return list(await asyncio.gather(*map(one, of)))
