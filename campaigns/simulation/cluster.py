"""The cluster: some replicas, one agreed chain, and one height after the other with whatever the seed lets happen.

A height is offered transactions, goes through rounds of proposals until a block is decided, and is applied by every
replica that is up. Replicas die at any point and come back at once or some heights later; one of them may be a
Byzantine proposer. All choices come from the seed's own streams.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

from abci_app.pool.shares import POOL_SHARE_FULL

from .agreement import Agreement, Block, Violation
from .bystanders import Bystanders
from .faults import IN_A_HEIGHT, IN_A_REPLAY, IN_THE_APPLICATION, Crash, CrashPoint, Disk
from .hostile import REJECTED, Ploy
from .members import GENESIS_TIME_MS, NODES, genesis, stream
from .replica import Replica
from .workload import Workload

T = TypeVar("T")
ROUNDS_MAX = 4
ROOM = (*[100_000] * 6, 6_000, 1_500)  # Bytes for transactions in a block.
DAY_MS = 86_400_000
GAPS_MS = (1, 300, 300, 1_000, 2_000, 2_000, 2_000)
JUMPS_MS = (9_999, *[10_000] * 4, *[11_000] * 4, 21_000, 35_000, 8 * DAY_MS)


class Cluster:
    """Replicas that agree on a chain. ``advance`` takes them one height further; ``events`` logs what befell them."""

    def __init__(self, seed: int, disks: Sequence[Disk]) -> None:
        self.rng = stream(seed, "cluster")
        self.agreement = Agreement(genesis(), GENESIS_TIME_MS)
        self.workload = Workload(seed)
        self.bystanders = Bystanders(stream(seed, "bystanders"), self.agreement)
        self.replicas = [Replica(number, self.agreement, disk) for number, disk in enumerate(disks)]
        self.counts: Counter[str] = Counter()
        self.events: list[str] = []
        self._asleep: dict[int, int] = {}  # Replica → the height before which it comes back.
        self._byzantine = self.rng.choice((None, self.rng.randrange(len(disks))))
        self._frailty = self.rng.choice((0.0, 0.06, 0.15))
        self._gossip = self.rng.choice((0.6, 0.95, 0.95))
        for replica in self.replicas:
            replica.between = self._interrupt
            self._begin(replica)

    @property
    def witness(self) -> Replica:
        """A replica that has applied every agreed block."""
        return next(replica for replica in self.replicas if replica.up and replica.applied == self.agreement.height)

    def advance(self) -> Block:
        """One height. Raises Violation."""
        height = self.agreement.height + 1
        for number in [number for number, until in self._asleep.items() if until <= height]:
            del self._asleep[number]
            self._restart(self.replicas[number])
        self._arm(height)
        time_ms = self.agreement.time_ms + self._gap()
        self._offer(height - 1, time_ms)
        block = self._decide(height, time_ms)
        self.agreement.blocks.append(block)
        for replica in self.rng.sample(self.replicas, len(self.replicas)):
            self._try(replica, lambda one: one.apply(block))
            self._interrupt(replica)
        if self.rng.random() < self._frailty / 5:
            self._power_cut()
        for replica in self.replicas:
            replica.fuse.clear()
            if not replica.up and replica.number not in self._asleep:
                self._restart(replica)
        return block

    def wake(self) -> None:
        """Bring every sleeping replica back, for the last comparison."""
        for number in tuple(self._asleep):
            del self._asleep[number]
            self._restart(self.replicas[number])

    def _gap(self) -> int:
        """Milliseconds to the next block. When no round has anything to be done, it waits for its phase to run out."""
        jump = self.rng.random() < (0.8 if self.workload.idle else 0.07)
        return self.rng.choice(JUMPS_MS if jump else GAPS_MS)

    # --- transactions ---

    def _offer(self, height: int, time_ms: int) -> None:
        """Everything sent before this height goes to one replica, and mostly on to others, as gossip would take it."""
        view = self.witness.view
        for raw in self.workload.offered(view, height, time_ms):
            up = [replica for replica in self.replicas if replica.up]
            entry = self.rng.choice(up)
            code = self._try(entry, lambda one, tx=raw: one.check_tx(tx))  # type: ignore[misc]
            self.counts[f"offered: {code}"] += 1
            self.workload.attacker.saw(raw, refused=code != 0)
            others = [one for one in up if one is not entry and code == 0 and self.rng.random() < self._gossip]
            for other in others:
                again = self._try(other, lambda one, tx=raw: one.check_tx(tx))  # type: ignore[misc]
                if again not in (None, code, POOL_SHARE_FULL):  # How full a pool is, is a node's own affair.
                    raise Violation("check-tx", f"replicas {entry.number} and {other.number} say {code} and {again}")

    # --- rounds ---

    def _decide(self, height: int, time_ms: int) -> Block:
        """Rounds of proposals until one is decided; after the last round an empty block is.

        Only validators propose. Every node judges a proposal, as in CometBFT, where a full node follows the rounds too.
        When no validator is among the replicas any more, somebody elsewhere decides empty blocks.
        """
        proposers = self._proposers(height)
        if not proposers:
            return Block(height, time_ms, len(NODES), ())
        first = self.rng.randrange(len(proposers))
        for number in range(ROUNDS_MAX):
            block, ploy = self._propose(proposers[(first + number) % len(proposers)], height, time_ms)
            if block is None:
                self.counts["rounds without a proposal"] += 1
                continue
            accepted = self._vote(block, ploy)
            if accepted and self.rng.random() < 0.92:
                return block
            self.counts["rounds lost"] += 1
        return Block(height, time_ms, proposers[first].number, ())

    def _proposers(self, height: int) -> list[Replica]:
        """The replicas whose validator decides this height."""
        deciding = dict.fromkeys(one.pub_key for one in self.agreement.deciding(height))
        return [one for one in self.replicas if one.number < len(NODES) and NODES[one.number].public in deciding]

    def _propose(self, replica: Replica, height: int, time_ms: int) -> tuple[Block | None, Ploy | None]:
        """A proposal, unless its proposer is down or dies of it; and the ploy in it."""
        room, ploy = self.rng.choice(ROOM), None
        txs = self._try(replica, lambda one: one.prepare(height, time_ms, room))
        if txs is None or self._try(replica, _pass(CrashPoint.PREPARED)) is None:
            return None, None
        if replica.number == self._byzantine:
            ploy, txs = self.workload.attacker.proposal(self.witness.view, txs)
            self.counts[f"byzantine proposals: {ploy}"] += 1
        return Block(height, time_ms, replica.number, txs), ploy

    def _vote(self, block: Block, ploy: Ploy | None) -> bool:
        """What the replicas that see the proposal say of it: all the same, and yes to an honest one."""
        verdicts: list[bool] = []
        for replica in self.replicas:
            if self.rng.random() < 0.15:
                continue  # The proposal does not reach it in this round.
            times = 2 if self.rng.random() < 0.1 else 1  # The same block again, in a later round.
            for _ in range(times):
                verdict = self._try(replica, lambda one: one.accepts(block))
                verdicts += [] if verdict is None else [verdict]
            self._try(replica, _pass(CrashPoint.VOTED))
        if len(dict.fromkeys(verdicts)) > 1:
            raise Violation("requirement 5", f"height {block.height}: honest replicas differ on a proposal ({ploy})")
        accepted = bool(verdicts) and verdicts[0]
        if verdicts and ploy is None and not accepted:
            raise Violation("requirement 3", f"height {block.height}: an honest proposal is rejected")
        if accepted and ploy in REJECTED:
            raise Violation("process-proposal", f"height {block.height}: a proposal with {ploy} is accepted")
        if verdicts and not accepted:
            self.counts["byzantine proposals rejected"] += 1
        return accepted

    # --- deaths ---

    def _begin(self, replica: Replica) -> None:
        """A first start, which may take several attempts: InitChain comes again until a block is committed."""
        if self._frailty and self.rng.random() < 0.3:
            replica.fuse.set(self.rng.choice((CrashPoint.STARTING, CrashPoint.HANDSHAKING, CrashPoint.INITIALISED)))
        self._restart(replica, quiet=True)

    def _arm(self, height: int) -> None:
        """Choose who dies in this height, and where. The first height is the one with most to lose."""
        chance = self._frailty * (4 if height == 1 else 1)
        for replica in self.replicas:
            if replica.up and self.rng.random() < chance:
                self._set(replica, IN_A_HEIGHT)

    def _set(self, replica: Replica, points: Sequence[CrashPoint]) -> None:
        """Choose where a replica dies; a point with an inside is reached after some steps in there."""
        torn = (CrashPoint.TORN,) * 5 if replica.disk.torn else ()
        point = self.rng.choice((*(point for point in points if point is not CrashPoint.TORN), *torn))
        replica.fuse.set(point, self.rng.randrange(8) if point in (CrashPoint.EXECUTING, CrashPoint.TORN) else 0)

    def _try(self, replica: Replica, step: Callable[[Replica], T]) -> T | None:
        """A step of a replica that is up; None when it is down, or dies of it."""
        if not replica.up:
            return None
        try:
            return step(replica)
        except Crash as crash:
            self._fell(replica, crash.point)
            return None

    def _fell(self, replica: Replica, point: CrashPoint) -> None:
        """Bury a process: with its application or, where that was idle, perhaps without."""
        lives = point not in IN_THE_APPLICATION and self.rng.random() < 0.4
        replica.stop(application_lives=lives)
        self.counts[f"crashes: {point}"] += 1
        self.events.append(f"{self.agreement.height} replica {replica.number} dies: {point}{', node only' * lives}")
        sleeping = len(self._asleep) < (len(self.replicas) - 1) // 3
        if sleeping and self.rng.random() < 0.3:
            self._asleep[replica.number] = self.agreement.height + self.rng.randint(2, 5)

    def _restart(self, replica: Replica, *, quiet: bool = False) -> None:
        """Start a replica until it stays up; in a replay it may die again."""
        if not quiet and self.rng.random() < 2 * self._frailty:
            self._set(replica, IN_A_REPLAY)
        while not replica.up:
            try:
                replica.start()
            except Crash as crash:
                replica.stop(application_lives=False)
                self.counts[f"crashes: {crash.point}"] += 1
                self.counts["crashes in a start or replay"] += 1
                self.events.append(f"{self.agreement.height} replica {replica.number} dies again: {crash.point}")
        self.counts["starts"] += 1
        replica.fuse.clear()

    def _power_cut(self) -> None:
        """Everybody dies at once, after the block was saved."""
        self.counts["power cuts"] += 1
        self.events.append(f"{self.agreement.height} power cut")
        for replica in self.replicas:
            replica.stop()

    # --- everything else ---

    def _interrupt(self, replica: Replica) -> None:
        """The other connections, at a moment between two consensus calls."""
        if replica.up and self.rng.random() < 0.25:
            self.bystanders.visit(replica)
            self.counts["questions"] += 1


def _pass(point: CrashPoint) -> Callable[[Replica], bool]:
    """A step that only passes a point."""

    def step(replica: Replica) -> bool:
        replica.fuse.reach(point)
        return True

    return step
