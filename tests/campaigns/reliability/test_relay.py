"""The relay changes nothing that passes, records what a node and its application say, and springs its trap in time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from abci_app.protocol import messages as m
from abci_app.protocol.server import Server
from abci_app.store.memory_store import MemoryStore
from campaigns.harness import grammar
from campaigns.harness.abci_client import AbciConnection, NodeHalted
from campaigns.harness.kvstore import KeyValueApplication
from campaigns.reliability.relay import Moment, Relay, Trap


@asynccontextmanager
async def relayed(folder: Path) -> AsyncIterator[tuple[Relay, Server]]:
    relay = Relay(folder / "front.sock", folder / "back.sock")
    async with Server(KeyValueApplication(MemoryStore()), f"unix://{relay.back}") as server:
        await relay.serve()
        try:
            yield relay, server
        finally:
            await relay.close()


async def connected(relay: Relay, name: str) -> AbciConnection:
    return await AbciConnection.open(f"unix://{relay.front}", name)


async def one_block(consensus: AbciConnection) -> None:
    await consensus.call("finalize_block", m.RequestFinalizeBlock(height=1, txs=[b"a=1"], hash=b"h"))
    await consensus.call("commit", m.RequestCommit())


async def test_calls_are_answered_as_without_it_and_recorded_by_connection(tmp_path: Path) -> None:
    async with relayed(tmp_path) as (relay, _):
        query, consensus = await connected(relay, "query"), await connected(relay, "consensus")
        assert (await query.call("info", m.RequestInfo())).last_block_height == 0
        await consensus.call("init_chain", m.RequestInitChain(chain_id="c", initial_height=1))
        await one_block(consensus)
        assert (await query.call("info", m.RequestInfo())).last_block_height == 1
        assert relay.last == Moment("commit", answered=True)
        assert relay.took["commit"] > 0
        await query.close()
        await consensus.close()
        assert grammar.check(relay.calls) == 1
        assert [call.method for call in relay.calls].count("connected") == 1
        said = [(call.connection, call.method) for call in relay.calls if call.request is not None or call.answer]
        assert ("query", "info") in said
        assert ("consensus", "finalize_block") in said


async def test_a_call_that_no_node_makes_there_is_noticed_in_the_record(tmp_path: Path) -> None:
    async with relayed(tmp_path) as (relay, _):
        consensus = await connected(relay, "consensus")
        with pytest.raises(NodeHalted):  # The application does not take it either.
            await consensus.call("commit", m.RequestCommit())
        await consensus.close()
        with pytest.raises(grammar.IllegalCall, match="commit"):
            grammar.check(relay.calls)


async def test_a_trap_springs_once_and_the_node_never_sees_the_answer(tmp_path: Path) -> None:
    async with relayed(tmp_path) as (relay, _):
        query, consensus = await connected(relay, "query"), await connected(relay, "consensus")
        await query.call("info", m.RequestInfo())
        await consensus.call("init_chain", m.RequestInitChain(chain_id="c", initial_height=1))
        answer = consensus.send("finalize_block", m.RequestFinalizeBlock(height=1))
        sprung: list[bool] = []
        relay.trap = Trap(Moment("finalize_block", answered=True), lambda: sprung.append(answer.done()))
        assert isinstance(await consensus.ended(), NodeHalted)
        assert sprung == [False]
        assert relay.trap is None
        with pytest.raises(NodeHalted):
            await answer
        await query.close()
        await consensus.close()


async def test_a_node_loses_its_connection_when_the_application_is_gone(tmp_path: Path) -> None:
    async with relayed(tmp_path) as (relay, server):
        query = await connected(relay, "query")
        await query.call("info", m.RequestInfo())
        await server.close()
        assert isinstance(await query.ended(), NodeHalted)
        late = await connected(relay, "query")
        assert isinstance(await late.ended(), NodeHalted)
