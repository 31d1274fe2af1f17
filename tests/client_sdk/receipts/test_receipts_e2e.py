"""Receipts of a real ledger behind a real CometBFT node, of every kind, checked after the node is gone."""

import asyncio
from dataclasses import replace

import pytest

from campaigns.harness import consortium
from campaigns.harness.consortium import DATASET, HOSPITAL_A, HOSPITALS, LAB, MEMBERS, MODEL, TASK, TERMS
from client_sdk import light
from client_sdk.client import LedgerClient
from client_sdk.reads.verified import VerifiedReader
from client_sdk.receipts import GenesisTrust, ReceiptError, decode, encode, export, verify
from client_sdk.rpc import RpcClient
from client_sdk.session.opening import ledger_of
from contracts import contributions
from contracts.governance import OpenTask, Propose, Vote
from contracts.identity import AddKey
from contracts.kernel.types import Purpose
from contracts.lineage import VERSIONS
from contracts.rounds import OpenRound
from contracts.terms import Phases
from tests.real_ledger import ledger

pytestmark = pytest.mark.e2e
# On however slow a machine, a round is open for as long as one contribution takes.
UNHURRIED = replace(TERMS, phases=Phases(*[600_000] * 5, TERMS.phases.blocks, TERMS.phases.commits))


async def commit_one_contribution(client_of, genesis: bytes) -> bytes:
    """What ``consortium`` does in memory, as far as one hospital's commitment; the hash of that transaction."""

    async def submit(member, message):
        return await client_of(member, message).submit(message)

    async def together(*pairs):
        return await asyncio.gather(*(submit(*pair) for pair in pairs))

    await together(*((member, AddKey(member.worker.enrolment(genesis))) for member in (*HOSPITALS, LAB)))
    await together(*((hospital, consortium.register_dataset()) for hospital in HOSPITALS))
    await submit(LAB, Propose(OpenTask(UNHURRIED)))
    voters = [member for member in MEMBERS if member is not LAB]
    while len((await submit(voters.pop(), Vote(1, True))).events) == 1:
        pass  # Until the vote that decides.
    await together(*((hospital, consortium.join(terms=UNHURRIED)) for hospital in HOSPITALS))
    await submit(LAB, OpenRound(TASK))
    await together(*((hospital, consortium.reserve()) for hospital in HOSPITALS))  # All have: training starts.
    return (await submit(HOSPITAL_A, consortium.commit())).hash


def test_a_real_ledgers_receipts_outlive_it(tmp_path):
    files: dict[str, bytes] = {}

    async def scenario():
        async with ledger(tmp_path) as (genesis, node), RpcClient([node.address]) as rpc:
            reader = VerifiedReader(rpc, light.trust_genesis(genesis))

            def client_of(member, message):
                return LedgerClient(rpc, reader, ledger_of(genesis), member.key(message.purpose))

            digest = await commit_one_contribution(client_of, ledger_of(genesis).genesis)
            client = LedgerClient(rpc, reader, ledger_of(genesis), HOSPITAL_A.key(Purpose.HUMAN))
            made = {
                "tx": await export.transaction(client, digest),
                "contribution": await export.contribution(client, TASK, 1, HOSPITAL_A.name),
                "budget": await export.budget(client, HOSPITAL_A.name, DATASET),
                "organisation": await export.budget(client, HOSPITAL_A.name),
                "version": await export.version(client, MODEL, 0),
            }
            files.update({name: encode(receipt) for name, receipt in made.items()})
            return digest, light.trust_genesis(genesis)

    digest, root = asyncio.run(scenario())
    trust = GenesisTrust(root)
    proven = {name: verify(decode(raw), trust) for name, raw in files.items()}
    assert proven["tx"].accepted.hash == proven["contribution"].accepted.hash == digest
    assert proven["tx"].accepted.envelope.tag == contributions.Commit.tag
    assert proven["version"].held.path == VERSIONS.path((MODEL, 0))
    for raw in files.values():
        for place in range(0, len(raw), 3):
            with pytest.raises(ReceiptError):
                verify(decode(raw[:place] + bytes((raw[place] ^ 1 << place % 8,)) + raw[place + 1 :]), trust)
