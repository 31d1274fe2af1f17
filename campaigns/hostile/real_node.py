"""A siege of real nodes: attacks by broadcast_tx_sync, the consortium's business in between, and a judgement.

``follower`` decides every committed block again and holds the nodes to it; ``fates`` sends what is honestly meant until
its sender knows what became of it. What is in a block and was not honestly meant is a fault; so is a process that died,
a node that stopped, and one in another state than its peers.
"""

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from client_sdk.rpc import NodeError, RpcClient, TxInCache
from contracts import transition
from contracts.registry import RULES
from contracts.transition import Transaction
from devnet.supervisor import Devnet

from ..harness.comet import height_of
from ..simulation.incidents import incident
from ..simulation.lifecycle import Lifecycle, choose_limits
from ..simulation.members import PLAIN_TERMS, Clerk, stream
from .fates import End, Fate, Senders
from .follower import Follower
from .forger import PATIENCE, Forger
from .kinds import Attack, Kind
from .network import network, pids
from .siege import BY_THE_NODE, IN_CACHE, Tally

WAVE = 50  # Attacks between two looks at the chain.
WAVES_PER_PEACE = 4
PEACEFUL_ROUNDS = 25  # At first.
AT_ONCE = 8  # Connections.
DECIDED_MAX = 60
HONEST_MAX = 14
LIVELY = 0.5  # Of the honest transactions, how many are accepted at least: some come too late, by their own incidents.


@dataclass
class Siege:
    """A siege of a network by a seed."""

    seed: int
    net: Devnet
    follower: Follower
    nodes: list[RpcClient]
    tally: Tally
    honest: dict[bytes, Fate] = field(default_factory=dict)
    _decided: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = stream(self.seed, "siege")
        self._senders = Senders(self.nodes[0], self.follower, self.tally)
        self._clerk = Clerk(self.seed, ledger=self.follower.chain.ledger)
        self._life = Lifecycle(stream(self.seed, "life"), (PLAIN_TERMS,), choose_limits(stream(self.seed, "limits")))

    async def run(self, attacks: int) -> None:
        """Peace at first, then this many attacks, with peace in between."""
        for _ in range(PEACEFUL_ROUNDS):
            await self.peace()
        waves = 0
        while self.tally.attacks < attacks:
            await self.wave(min(WAVE, attacks - self.tally.attacks))
            waves += 1
            if waves % WAVES_PER_PEACE == 0:
                await self.peace()

    async def wave(self, number: int) -> None:
        """Some attacks at once, spread over the nodes."""
        await self.follower.follow()
        forger = Forger(self._rng, self.follower.chain.view, self.follower.height, PATIENCE, self._decided)
        attacks = list({attack.raw: attack for attack in (forger.attack() for _ in range(number))}.values())
        gate = asyncio.Semaphore(AT_ONCE)

        async def strike(place: int, attack: Attack) -> None:
            async with gate:
                await self._send(self.nodes[place % len(self.nodes)], attack)

        await asyncio.gather(*(strike(place, attack) for place, attack in enumerate(attacks)))

    async def peace(self) -> None:
        """What the members do next, all of it that the rules accept, until each knows what became of its own."""
        follower = self.follower
        await follower.follow()
        view, height, now = follower.chain.view, follower.height, follower.chain.time_ms
        due = list(self._life.due(view, height, now))[:HONEST_MAX] + incident(self._rng, self._life, view, height)
        until = height + PATIENCE
        offered = [self._clerk.seal(self._life.signer(who, said), said, valid_until=until) for who, said in due]
        following = follower.chain.next_block()
        good = [
            raw for raw in offered if transition.apply_tx(RULES.newest, view, Transaction(raw), following).code == 0
        ]
        results, _ = transition.apply_block(RULES.newest, view, map(Transaction, good), following)
        good = [raw for raw, result in zip(good, results, strict=True) if result.code == 0]
        self.honest |= await self._senders.send(good)
        if not good:
            await follower.beyond(height)
        self._decided = [*self._decided, *(raw for raw in good if raw in follower.accepted)][-DECIDED_MAX:]

    def ended(self, end: End) -> Counter[int]:
        """How many honest transactions ended so, by their codes."""
        return Counter(fate.code for fate in self.honest.values() if fate.end is end)

    async def _send(self, node: RpcClient, attack: Attack) -> None:
        try:
            answer = await node.broadcast_tx_sync(attack.raw)
        except TxInCache:
            self.tally.turned_away(attack, IN_CACHE)
            if attack.kind is not Kind.REPLAY:
                self.tally.fault(f"{attack.kind}: a node says that it has seen it")
        except NodeError as error:
            self.tally.turned_away(attack, BY_THE_NODE)
            if attack.kind is not Kind.OVERSIZE or "too large" not in str(error):
                self.tally.fault(f"{attack.kind}: turned away by the node: {error}")
        else:
            self.tally.refused(attack, answer.code, answer.data, answer.log)


async def besiege(seed: int, attacks: int) -> dict[str, Any]:
    """A whole siege: its report. Nothing is left running."""
    tally, began = Tally(), time.monotonic()
    async with network() as (net, genesis), contextlib.AsyncExitStack() as open_clients:
        before = pids(net)
        addresses = [wired.rpc for wired in net.validators]
        nodes = [await open_clients.enter_async_context(RpcClient([address])) for address in addresses]
        follower = Follower(genesis, nodes[0], tally)
        siege = Siege(seed, net, follower, nodes, tally)
        await siege.run(attacks)
        hostile_ended = time.monotonic()
        await follower.beyond(follower.height + 2)  # It goes on making blocks.
        await _judge(siege, before)
        agreed = await _agreement(siege)
        return {
            "seed": seed,
            "validators": len(nodes),
            "seconds": round(hostile_ended - began, 1),
            **tally.described(),
            "blocks": follower.height,
            "honest": {
                "sent": len(siege.honest),
                "accepted": len(siege.honest.keys() & follower.accepted),
                "refused in blocks, by code": _by_code(follower.refused),
                "refused before a block, by code": _by_code(siege.ended(End.REFUSED)),
                "expired": siege.ended(End.EXPIRED).total(),
            },
            "processes that lived": len(before),
            "application hash": agreed,
        }


async def _judge(siege: Siege, before: dict[str, int | None]) -> None:
    follower, tally = siege.follower, siege.tally
    if pids(siege.net) != before or None in before.values():
        tally.fault(f"processes are not what they were: {before} and {pids(siege.net)}")
    strangers = follower.included.keys() - siege.honest.keys()
    if strangers:
        tally.fault(f"{len(strangers)} attacks are in blocks, one is {min(strangers).hex()[:400]}")
    if len(follower.accepted) < LIVELY * len(siege.honest):
        tally.fault(f"of {len(siege.honest)} honest transactions {len(follower.accepted)} were accepted")


def _by_code(counts: Counter[int]) -> dict[str, int]:
    return {str(code): count for code, count in sorted(counts.items())}


async def _agreement(siege: Siege) -> str:
    """The hash that all nodes have after one height, and that the rules lead to."""
    height = siege.follower.height
    await asyncio.gather(*(height_of(node, height) for node in siege.nodes))
    headers = [(await node.block(height)).header for node in siege.nodes]
    hashes = {header.app_hash.hex() for header in headers}
    if len(hashes) != 1:
        siege.tally.fault(f"nodes differ at height {height}: {sorted(hashes)}")
    return min(hashes)
