"""A small ledger with real rules, state and transactions under a chain of signed headers, and a node that answers.

``ledger()`` has one block with five transactions (four commitments, one refusal), and before it the stages of
``consortium`` as one state. ``receipts()`` are what its node's answers make: a transaction's and a record's.
"""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache

from client_sdk import light
from client_sdk.client import LedgerClient
from client_sdk.reads.verified import VerifiedReader
from client_sdk.receipts import Receipt, export
from client_sdk.rpc import Patience, RpcClient
from contracts import privacy_budget
from contracts.kernel.crypto import sha256

from . import consortium
from .chain import CHAIN_ID
from .consortium import DATASET, HOSPITAL_A, HOSPITALS
from .fake_node import ChainNode, b64, header_json
from .header_chain import FOUR, HeaderChain, Members

QUICK = Patience(poll=0.05)  # The node rings no bell.
ACCOUNT = privacy_budget.DATASET_ACCOUNTS.path((HOSPITAL_A.name, DATASET))


class LedgerNode(ChainNode):
    """Answers also for whole blocks."""

    def __init__(self, chain: HeaderChain) -> None:
        super().__init__(chain)
        self.methods["block"] = self.block

    def block(self, params):
        height = self.asked(params)
        return {
            "block_id": {"hash": self.chain.header(height).hash.hex().upper(), "parts": {"total": 1, "hash": ""}},
            "block": {
                "header": header_json(self.chain.header(height)),
                "data": {"txs": [b64(raw) for raw in self.chain.txs[height]]},
            },
        }


@dataclass(frozen=True)
class Ledger:
    """A node, and the block with the transactions."""

    node: LedgerNode
    height: int
    transactions: tuple[bytes, ...]
    patience: Patience = QUICK

    @property
    def genesis(self) -> dict[str, object]:
        return self.node.chain.genesis

    @property
    def trust(self) -> light.TrustedState:
        return light.trust_genesis(self.genesis)

    @asynccontextmanager
    async def client(self):
        """A client of the node, at the time of its last block."""
        async with self.node as node, RpcClient([node.address], patience=self.patience) as rpc:
            reader = VerifiedReader(rpc, self.trust)
            reader.headers._clock = lambda: self.node.chain.header(self.node.height).time_ns
            yield LedgerClient(rpc, reader, consortium.ledger())

    def ask(self, work):
        """Run ``work(client)`` against the node."""

        async def run():
            async with self.client() as client:
                return await work(client)

        return asyncio.run(run())


def ledger(after: int = 2, changes: dict[int, Members] | None = None, first: Members = FOUR) -> Ledger:
    """Empty blocks up to the stage's height, the block with the transactions, and ``after`` empty ones.

    ``changes`` name who signs from a height on.
    """
    rules, headers = consortium.reserved(), HeaderChain(first, first, CHAIN_ID)
    node = LedgerNode(headers)

    def add(txs=(), results=()):
        upcoming = (changes or {}).get(headers.height + 3)
        headers.add(txs, results, app_hash=rules.root, after_next=upcoming)
        node.states[headers.height], node.bodies[headers.height] = rules.tree, dict(rules.view.entries)

    while headers.height < rules.height:
        add()
    commits = [(hospital, consortium.commit()) for hospital in HOSPITALS]
    txs = tuple(rules.seal(who, message) for who, message in [*commits, commits[0]])
    results = [light.TxResult(result.code, result.data) for result in rules.block(*txs)]
    assert [result.code == 0 for result in results] == [True, True, True, True, False]
    add(txs, results)
    for _ in range(after):
        add()
    return Ledger(node, rules.height, txs)


@cache
def receipts() -> tuple[Ledger, Receipt, Receipt]:
    """The ledger, and the receipts of its first transaction and of an account."""
    told = ledger()

    async def both(client):
        return await export.transaction(client, sha256(told.transactions[0])), await export.record(client, ACCOUNT)

    return told, *told.ask(both)
