"""A real network whose validators change while rounds go on: a fifth is voted in, decides blocks, and is voted out.

Five CometBFT nodes with their applications; the fifth stands by at first. Rounds are the ledger's whole life cycle,
without training: what is committed are digests. ``python -m tests.e2e.test_validator_set`` writes some headers of such
a run to ``tests/client_sdk/data`` anew.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import Member
from campaigns.harness.consortium import TASK
from client_sdk import light
from client_sdk.client import AcceptedTx, LedgerClient
from client_sdk.light import Flag
from client_sdk.rpc import RpcClient
from client_sdk.secrets.validator_keys import read_validator_key
from client_sdk.session import open_client, unlock
from client_sdk.session.opening import ledger_id
from client_sdk.session.profile import load_profile
from contracts import validators
from contracts.governance import OpenTask, ProposalDecided, ProposalStatus, Propose, Proposed, Vote
from contracts.identity import AddKey
from contracts.kernel import Message, bitmap, crypto
from contracts.lineage import Candidate, Finding
from contracts.rounds import OpenRound
from contracts.terms import CommitTiming, Estimator, EstimatorKind, Phases
from devnet import binaries
from devnet.manifest import Manifest, parse_manifest
from devnet.supervisor import Devnet

ROOT = Path(__file__).parents[2]
RECORDING = ROOT / "tests" / "client_sdk" / "data" / "validator-set.json"
OWNERS = ("hospital-a", "hospital-b", "hospital-c")
LABS = ("lab-1", "lab-2")
MEMBERS = (*OWNERS, *LABS)
FIFTH = "hospital-c"
MANIFEST = """
[chain]
name = "validator-set"
application = "fedledger"
timeouts = "fast"

[storage]
kind = "local"
""" + "".join(
    f"""
[[validator]]
operator = "{name}"
genesis = {"false" if name == FIFTH else "true"}

[[organisation]]
name = "{name}"
roles = ["operator", "{"data-owner" if name in OWNERS else "aggregator"}", "verifier"]
epsilon_cap = 10
founder = true
"""
    for name in ("hospital-a", "hospital-b", *LABS, FIFTH)
)
AT_ONCE = 20  # Heights that are asked for together.
MECHANISM = replace(consortium.MECHANISM, noise_milli=100_000)  # So cheap that budgets outlast the test.
PHASE_MS = 600_000  # Everybody takes part, so no phase lasts until its end, on however slow a machine.
TERMS = replace(
    consortium.TERMS,
    phases=Phases(PHASE_MS, PHASE_MS, PHASE_MS, PHASE_MS, PHASE_MS, blocks=1, commits=CommitTiming.WHEN_READY),
    estimator=Estimator(EstimatorKind.MEDIAN, byzantine=0, minimum=len(OWNERS)),
    mechanism=MECHANISM,
    aggregators=LABS,
    verifiers=MEMBERS,
    recipients=MEMBERS,
    max_rounds=1_000,
)


def manifest() -> Manifest:
    return parse_manifest(MANIFEST, "validator-set.toml")


@dataclass
class Consortium:
    """The members of a running network, each with a client that verifies, and the rounds they keep going."""

    net: Devnet
    stack: AsyncExitStack
    human: dict[str, LedgerClient] = field(default_factory=dict)
    worker: dict[str, LedgerClient] = field(default_factory=dict)
    rounds: int = 0
    """How many were opened, contributed to and decided."""
    newest: int = 0
    """The height of the newest act: the next may build on it, and its node may be behind."""

    async def prepare(self) -> None:
        """Workers are enrolled, datasets registered, and the task is open and joined."""
        keys = {}
        for name in MEMBERS:
            profile = load_profile(self.net.layout.profile(name))
            ring = await asyncio.to_thread(unlock, profile)
            for clients, key in ((self.human, "human"), (self.worker, "worker")):
                clients[name] = await self.stack.enter_async_context(open_client(profile, ring.signing(key)))
            keys[name] = ring.signing("worker").enrolment(ledger_id(profile).genesis, name)
        await self.all(self.human, {name: AddKey(key) for name, key in keys.items()})
        await self.all(self.human, dict.fromkeys(OWNERS, consortium.register_dataset()))
        opened = await self.act(self.human["lab-1"], Propose(OpenTask(TERMS)))
        await self.vote(opened.event(Proposed).proposal, "hospital-a", "hospital-b", "lab-2")
        await self.all(self.human, dict.fromkeys(OWNERS, consortium.join(terms=TERMS)))

    async def all(self, clients: dict[str, LedgerClient], messages: dict[str, Message]) -> None:
        """Each of these members sends its message, all at once."""
        await asyncio.gather(*(self.act(clients[name], message) for name, message in messages.items()))

    async def act(self, client: LedgerClient, message: Message) -> AcceptedTx:
        """Submit one message, once the client's node knows what came before."""
        accepted = await client.submit(message, at_least=self.newest)
        self.newest = max(self.newest, accepted.height)
        return accepted

    async def vote(self, number: int, *names: str) -> None:
        """Approve until it is decided, and see that it passed."""
        receipts = [await self.act(self.human[name], Vote(number, approve=True)) for name in names]
        assert receipts[-1].event(ProposalDecided).status is ProposalStatus.PASSED

    async def go_on(self) -> None:
        """One round after the other, for ever."""
        while True:
            await self._round(self.rounds + 1)
            self.rounds += 1

    async def _round(self, number: int) -> None:
        base, seats = number - 1, range(len(OWNERS))  # Every version before this one was promoted.
        findings, version = bytes([Finding.AGGREGATED] * len(OWNERS)), consortium.artefact(f"version {number}")
        candidate = Candidate(TASK, number, base, bitmap.of(seats), findings, version)
        voters = {name: Member(name) for name in MEMBERS}
        await self.act(self.worker["lab-1"], OpenRound(TASK))
        for step in (consortium.reserve(number), consortium.commit(number, base=base, mechanism=MECHANISM)):
            await self.all(self.worker, dict.fromkeys(OWNERS, step))
        await self.all(self.worker, dict.fromkeys(MEMBERS, consortium.attest(number, seats)))
        for ballot in (consortium.seal, consortium.open_ballot):
            await self.all(self.worker, {name: ballot(voter, candidate, number) for name, voter in voters.items()})

    async def more_rounds(self, count: int) -> None:
        """Wait until so many rounds more are over. Raises TimeoutError where none goes on."""
        wanted = self.rounds + count
        async with asyncio.timeout(120):
            while self.rounds < wanted:  # noqa: ASYNC110 - processes set no event
                await asyncio.sleep(0.05)


class Chain:
    """What CometBFT says: who is in the set, and who signed."""

    def __init__(self, rpc: RpcClient) -> None:
        self.rpc = rpc

    async def height(self) -> int:
        return (await self.rpc.status()).height

    async def keys(self) -> dict[bytes, int]:
        return {one.public: one.power for one in (await self.rpc.validators()).members}

    async def signers(self, height: int) -> set[bytes]:
        commit = (await self.rpc.commit(height)).commit
        return {one.address for one in commit.signatures if one.flag is Flag.COMMIT}

    async def until_members(self, count: int) -> int:
        """Wait until the set has so many members; a height from which on it does."""
        while len(await self.keys()) != count:  # noqa: ASYNC110 - a node sets no event
            await asyncio.sleep(0.05)
        return await self.height() + 1

    async def until_signed(self, public: bytes, after: int) -> int:
        """The first height after one that a validator signed."""
        address = crypto.sha256(public)[:20]
        while True:
            while await self.height() <= after:  # noqa: ASYNC110 - a node sets no event
                await asyncio.sleep(0.05)
            after += 1
            if address in await self.signers(after - 1):
                return after - 1

    async def reached(self, height: int) -> None:
        while await self.height() < height:  # noqa: ASYNC110 - a node sets no event
            await asyncio.sleep(0.05)


async def fedledger(home: Path, line: str) -> Any:
    """One command in a process of its own: the data of its JSON envelope."""
    environment = {**os.environ, "FEDLEDGER_HOME": str(home.parent), "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "cli", *line.split(), "--format", "json"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=pipe, stderr=pipe)
    said, complained = await process.communicate()
    assert process.returncode == 0, f"{line}: {complained.decode()}"
    return json.loads(said)["data"]


async def story(folder: Path) -> dict[str, Any]:
    """The whole test. Returns what a light client needs to follow it."""
    async with AsyncExitStack() as stack:
        net = await stack.enter_async_context(Devnet(manifest(), folder / "devnet"))
        members = Consortium(net, stack)
        await members.prepare()
        chain = Chain(await stack.enter_async_context(RpcClient([one.rpc for one in net.validators[1:4]])))
        going_on = asyncio.create_task(members.go_on())
        try:
            killed, last = await _elections(net, members, chain)
        finally:
            if going_on.done():
                going_on.result()  # It never ends by itself: what stopped it is the better error.
            going_on.cancel()
            with suppress(asyncio.CancelledError):
                await going_on
        document = json.loads(net.layout.genesis.read_bytes())
        return {"genesis": document, **await followed(chain.rpc, document, killed, last)}


async def _elections(net: Devnet, members: Consortium, chain: Chain) -> tuple[int, int]:
    """What the members decide, and what CometBFT makes of it. Two heights: without one validator, and the last."""
    home = net.layout.home
    key_file = net.layout.node("validator-5") / "config" / "priv_validator_key.json"
    fifth = crypto.public_key(read_validator_key(key_file))
    first_four = await chain.keys()
    listed = await fedledger(home, "validator list")
    assert {one["public"]: one["operator"] for one in listed} == {
        key.hex(): operator for key, operator in zip(keys_of(net)[:4], net.manifest.operators[:4], strict=True)
    }
    await members.more_rounds(1)

    # The fifth is voted in: proposed and first approved by the command line, as people would.
    made = await fedledger(home, f"validator admit --operator {FIFTH} --key-file {key_file} --as lab-1/human")
    await fedledger(home, f"proposal vote {made['proposal']} --approve --as hospital-b/human")
    await members.vote(made["proposal"], "lab-2", "hospital-c")
    admitted = await chain.until_members(5)
    assert await chain.keys() == {**first_four, fifth: 10}
    await chain.until_signed(fifth, admitted)
    await members.more_rounds(1)

    # Four of five decide: without the fifth's votes, the other three would be too few.
    await net.kill("validator-1", signal.SIGKILL)
    dead = await chain.height()
    await chain.reached(dead + 5)
    assert crypto.sha256(fifth)[:20] in await chain.signers(dead + 3)
    assert crypto.sha256(keys_of(net)[0])[:20] not in await chain.signers(dead + 3)
    await members.more_rounds(1)
    await net.restart("validator-1")

    # It is voted out, and stays up as a full node.
    address = crypto.sha256(fifth)[:20].hex()
    made = await fedledger(home, f"validator remove {address} --as lab-2/human")
    await members.vote(made["proposal"], "hospital-a", "hospital-b", "lab-1")
    removed = await chain.until_members(4)
    assert await chain.keys() == first_four
    await chain.reached(removed + 5)
    for height in range(removed + 1, removed + 4):
        assert crypto.sha256(fifth)[:20] not in await chain.signers(height)
    await members.more_rounds(1)
    seated = await members.human["lab-1"].get(validators.SET)
    assert {one.public: one.power for one in seated.validators} == first_four
    assert (await net.health("validator-5")).height >= removed
    return dead + 3, await chain.height() - 1


def keys_of(net: Devnet) -> list[bytes]:
    paths = (net.layout.node(name) / "config" / "priv_validator_key.json" for name in net.manifest.validators)
    return [crypto.public_key(read_validator_key(path)) for path in paths]


async def followed(rpc: RpcClient, document: dict[str, Any], killed: int, last: int) -> dict[str, Any]:
    """Follow the chain as a light client does: header by header, and over the changes. Returns some raw answers."""
    now = time.time_ns()
    state = light.trust_genesis(document)
    sizes = []
    for first in range(1, last + 1, AT_ONCE):
        heights = range(first, min(first + AT_ONCE, last + 1))
        answers = await asyncio.gather(*(asyncio.gather(rpc.commit(one), rpc.validators(one)) for one in heights))
        for signed, seated in answers:
            state = light.verify_header(state, signed, seated, now_ns=now)
            sizes.append(len(seated.members))
    assert [size for size, before in zip(sizes[1:], sizes, strict=False) if size != before] == [5, 4]
    joined, left = sizes.index(5) + 1, len(sizes) - sizes[::-1].index(5) + 1
    skipping = light.trust_genesis(document)
    for height in (joined + 3, left + 3):  # Over each change at once: more than a third signs before and after.
        skipping = light.verify_header(skipping, await rpc.commit(height), await rpc.validators(height), now_ns=now)
    kept = sorted({1, *range(joined - 2, joined + 1), *range(left - 2, left + 1), killed, last})

    async def raw(method: str, **others: str) -> dict[str, Any]:
        ask = rpc.transport.call
        return {str(height): (await ask(method, {"height": str(height), **others})).members() for height in kept}

    return {
        "joined": joined,
        "left": left,
        "commit": await raw("commit"),
        "validators": await raw("validators", per_page="100"),
    }


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_a_fifth_validator_is_voted_in_decides_and_is_voted_out_while_rounds_go_on(tmp_path):
    binaries.require(manifest())
    asyncio.run(story(tmp_path))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        recording = asyncio.run(story(Path(folder)))
    what = "answers of a fedledger devnet with CometBFT 0.39.4, recorded by tests/e2e/test_validator_set.py"
    RECORDING.write_text(json.dumps({"what": what, **recording}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
