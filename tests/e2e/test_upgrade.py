"""A real chain goes over from version 1 of the rules to 2: the shipped program stops in time, the next one goes on.

One CometBFT validator. The old program is ``python -m abci_app`` as it is shipped; the new one knows ``tests.licences``
besides. Both are restarted, and at the end the whole chain is replayed from its genesis into an empty store.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from abci_app.__main__ import EXIT_REFUSED
from campaigns.harness import comet, consortium
from campaigns.harness.chain import Member
from campaigns.harness.consortium import HOSPITAL_A, HOSPITAL_B, MEMBERS, register_dataset
from client_sdk import light
from client_sdk.client import LedgerClient
from client_sdk.reads.verified import VerifiedReader
from client_sdk.receipts import GenesisTrust, decode, encode, export, verify
from client_sdk.rpc import RpcClient
from client_sdk.session.opening import ledger_of
from contracts import identity, upgrades
from contracts.governance import (
    ProposalDecided,
    ProposalStatus,
    Propose,
    Proposed,
    ScheduleUpgrade,
    Vote,
)
from contracts.kernel import limits
from contracts.registry import RULES
from contracts.rulebook import Rulebook
from tests import licences
from tests.licences import BOOK, LICENCES, UNSTATED, Grant
from tests.real_ledger import Program, founded

pytestmark = pytest.mark.e2e

NEXT = ("-m", "tests.next_program")
SLACK = 40  # Blocks in which the members vote.
DATASET = (HOSPITAL_A.name, consortium.DATASET)
PATIENCE_SECONDS = 240.0


class Story:
    """One node's home, read and written to through clients that know a book of rules."""

    def __init__(self, folder: Path, node: comet.Node, genesis: dict[str, Any]) -> None:
        self.folder, self.node = folder, node
        self.root, self.ledger = light.trust_genesis(genesis), ledger_of(genesis)

    @asynccontextmanager
    async def running(self, program: tuple[str, ...]) -> AsyncIterator[Program]:
        """Both processes, until the context ends; both are killed."""
        async with Program(self.folder, program) as application:
            await self.node.start("")
            try:
                await self.answering()
                yield application
            finally:
                await self.node.kill()

    async def answering(self) -> None:
        async with RpcClient([self.node.address]) as rpc, asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    await rpc.abci_info()
                    return
                except Exception:  # noqa: BLE001 - it is still starting.
                    await asyncio.sleep(0.1)

    @asynccontextmanager
    async def client(self, member: Member, message: Any = None, book: Rulebook = BOOK) -> AsyncIterator[LedgerClient]:
        async with RpcClient([self.node.address]) as rpc:
            reader = VerifiedReader(rpc, self.root, book=book)
            signer = member.human if message is None else member.key(message.purpose)
            yield LedgerClient(rpc, reader, self.ledger, signer, book)

    async def submit(self, member: Member, message: Any) -> Any:
        async with self.client(member, message) as client:
            return await client.submit(message)

    async def app_version(self, height: int) -> int:
        async with RpcClient([self.node.address]) as rpc:
            return (await rpc.commit(height)).header.version_app

    async def reached(self, height: int) -> None:
        async with RpcClient([self.node.address]) as rpc:
            await comet.height_of(rpc, height)


async def receipts_of(story: Story, transaction: bytes) -> list[bytes]:
    """Of a transaction and of a record."""
    async with story.client(HOSPITAL_A) as client:
        made = [
            await export.transaction(client, transaction),
            await export.record(client, identity.DATASETS.path(DATASET)),
        ]
    return [encode(one) for one in made]


async def story(folder: Path) -> None:
    async with founded(folder) as (genesis, node):
        told = Story(folder, node, genesis)
        async with told.running(("-m", "abci_app")) as old:
            registered = await told.submit(HOSPITAL_A, register_dataset())
            height = registered.height + limits.UPGRADE_NOTICE_BLOCKS + SLACK
            number = (await told.submit(MEMBERS[0], Propose(ScheduleUpgrade(2, height)))).event(Proposed).proposal
            for member in MEMBERS[1:5]:
                voted = await told.submit(member, Vote(number, approve=True))
            assert voted.event(ProposalDecided).status is ProposalStatus.PASSED, "the votes came too late"
            before = await receipts_of(told, registered.hash)
            async with asyncio.timeout(PATIENCE_SECONDS):
                await old.process.wait()
            assert old.process.returncode != 0
            assert f"block {height - 1} cannot be decided here" in old.log.read_text()
        async with Program(folder) as again, asyncio.timeout(PATIENCE_SECONDS):
            assert await again.process.wait() == EXIT_REFUSED
            assert "refusing to start" in again.log.read_text()
            assert "install a fedledger that knows version 2" in again.log.read_text()

        async with told.running(NEXT):
            await told.reached(height + 2)
            assert [await told.app_version(one) for one in range(height - 2, height + 2)] == [1, 1, 2, 2]
            async with told.client(HOSPITAL_A) as client:
                assert (await client.get(upgrades.IN_FORCE)).version == 2
                assert (await client.get(LICENCES, DATASET)).licence == UNSTATED
                assert await client.get(LICENCES, (HOSPITAL_B.name, "x")) is None
            async with told.client(HOSPITAL_A, book=RULES) as client:
                with pytest.raises(light.NewerRules, match="rules of version 2, this program knows 1"):
                    await client.get(upgrades.IN_FORCE)
            granted = await told.submit(HOSPITAL_A, Grant(consortium.DATASET, "cc0"))
            assert granted.event(licences.Granted).dataset == consortium.DATASET

        async with told.running(NEXT):  # Both were killed: they go on where they were.
            await told.submit(HOSPITAL_B, register_dataset())
            after = await receipts_of(told, granted.hash)
            async with RpcClient([node.address]) as rpc:
                last = await rpc.abci_info()

        trust = GenesisTrust(told.root)
        for raw in before:
            assert verify(decode(raw), trust, BOOK).block.header.version_app == 1
            verify(decode(raw), trust, RULES)
        for raw in after:
            assert verify(decode(raw), trust, BOOK).block.header.version_app == 2
        with pytest.raises(light.NewerRules):
            verify(decode(after[1]), trust, RULES)

        shutil.rmtree(folder / "app")
        async with told.running(NEXT):  # CometBFT replays from the first block, and compares every application hash.
            await told.reached(last.height + 1)
            async with RpcClient([node.address]) as rpc:
                assert (await rpc.commit(last.height + 1)).header.app_hash == last.app_hash
            async with told.client(HOSPITAL_A) as client:
                assert (await client.get(LICENCES, DATASET)).licence == "cc0"


@pytest.mark.timeout(600)
def test_a_chain_goes_over_to_the_next_rules_and_an_old_program_stops_before_it_could_differ(tmp_path):
    with licences.in_the_code():
        asyncio.run(story(tmp_path))
