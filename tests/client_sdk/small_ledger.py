"""A small ledger on a chain of headers, behind a node on a real socket, and readers of it."""

import asyncio
from contextlib import asynccontextmanager

from campaigns.harness.fake_node import ChainNode
from campaigns.harness.header_chain import BLOCK_NS, START_NS, HeaderChain
from client_sdk import light
from client_sdk.reads.trusted_headers import TrustedHeaders
from client_sdk.reads.verified import VerifiedReader
from client_sdk.rpc import Patience, RpcClient
from contracts.kernel.state_tree import StateTree
from contracts.rulebook import Limits, Rulebook, Rules

STORES = ("replay", "identity", "rounds")
BOOK = Rulebook(Rules(1, (), STORES, Limits(), ()))
PATH, OTHER = b"identity/organisations/hospital-a", b"identity/organisations/hospital-b"
KEY = PATH.partition(b"/")[2]
MISSING = PATH + b"-missing"
OLD, NEW = b"\x01", b"\x02"
TXS = (b"one", b"two")
RESULTS = (light.TxResult(0, b"done"), light.TxResult(201, b"refused"))
NOW = START_NS + 1_000 * BLOCK_NS
QUICK = Patience(poll=0.05)  # A test's node rings no bell.
AT_ONCE = Patience(poll=0.05, header=0.0, state=0.0)


def run(coroutine):
    asyncio.run(coroutine)


def small_ledger() -> ChainNode:
    """Five blocks: the entry is written by block 2, changed by block 3 (which has transactions), then nothing."""
    tree, chain = StateTree(STORES, keep=9), HeaderChain()
    node = ChainNode(chain, {0: tree.latest})
    node.bodies[0] = {}
    for height, writes in enumerate(({}, {PATH: OLD, OTHER: OLD}, {PATH: NEW}, {}, {}), 1):
        tree.apply(writes)
        node.states[height] = tree.latest
        node.bodies[height] = {**node.bodies[height - 1], **writes}
        txs, results = (TXS, RESULTS) if height == 3 else ((), ())
        chain.add(txs, results, app_hash=tree.root)
    return node


@asynccontextmanager
async def reading(node: ChainNode | None = None, patience: Patience = QUICK, **options):
    async with node or small_ledger() as started, RpcClient([started.address], patience=patience) as rpc:
        reader = VerifiedReader(rpc, light.trust_genesis(started.chain.genesis), book=BOOK)
        reader.headers = following(rpc, started.chain, **options)
        yield started, reader


def following(rpc: RpcClient, chain: HeaderChain, now_ns: int = NOW, **options) -> TrustedHeaders:
    return TrustedHeaders(rpc, light.trust_genesis(chain.genesis), clock=lambda: now_ns, **options)


def asked(node: ChainNode, method: str) -> list[int]:
    return [int(params["height"]) for name, params in node.calls if name == method]
