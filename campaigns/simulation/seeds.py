"""One seed, from its number to its report: the same number gives the same run, in every interpreter.

Every fourth seed has one replica on LMDB among replicas in memory, every twentieth has LMDB on all; what they hold is
the same, so what differs is only where a process can die.
"""

import hashlib
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from abci_app.protocol import messages as m
from contracts import transition
from contracts.kernel.rules import name_of
from contracts.registry import RULES

from ..harness import grammar
from .agreement import Agreement, Violation
from .books import Books
from .checkers import check
from .cluster import Cluster
from .faults import Disk, LmdbDisk, MemoryDisk
from .members import stream
from .promises import Moment
from .replica import Replica

CI_SEEDS = 200
REPLICAS = 4
BLOCKS_MIN, BLOCKS_MAX = 20, 26
LONG_BLOCKS = 24  # More, in one seed of five: for what takes several rounds.
REPLAY_EVERY = 4


class SeedFailed(AssertionError):
    """A seed broke something. The message says what, and how to see it again."""

    def __init__(self, seed: int, why: str, log: list[str], replicas: int) -> None:
        tail = "\n  ".join(log[-6:])
        others = "" if replicas == REPLICAS else f" --replicas {replicas}"
        super().__init__(f"{why}\n  {tail}\nrepeat it: python -m campaigns.simulation --seed {seed}{others}")
        self.seed, self.why = seed, why
        self._made_of = seed, why, log, replicas

    def __reduce__(self) -> tuple[type["SeedFailed"], tuple[int, str, list[str], int]]:
        """So that it comes back whole from the process in which the seed failed."""
        return SeedFailed, self._made_of


@dataclass(frozen=True)
class Report:
    """What a seed did. ``log`` has a line for every block and every death; ``digest`` is over them all."""

    seed: int
    blocks: int
    counts: Counter[str]
    log: tuple[str, ...]

    @property
    def digest(self) -> str:
        """One hash of the whole run."""
        return hashlib.sha256("\n".join(self.log).encode()).hexdigest()


def simulate(seed: int, replicas: int = REPLICAS, blocks: int | None = None) -> Report:
    """Run one seed. Raises SeedFailed."""
    rng = stream(seed, "seed")
    length = blocks or rng.randint(BLOCKS_MIN, BLOCKS_MAX) + LONG_BLOCKS * (rng.random() < 0.2)
    log: list[str] = []
    try:
        with tempfile.TemporaryDirectory(prefix="simulation-") as folder:
            return _run(seed, length, _disks(seed, replicas, Path(folder)), log)
    except Exception as error:
        what = str(error) if isinstance(error, Violation) else f"{type(error).__name__}: {error}"
        raise SeedFailed(seed, what, log, replicas) from error


def _disks(seed: int, replicas: int, folder: Path) -> list[Disk]:
    durable = replicas if seed % 20 == 19 else int(seed % 4 == 3)
    lasting: list[Disk] = [LmdbDisk(folder / str(number)) for number in range(durable)]
    return lasting + [MemoryDisk() for _ in range(replicas - durable)]


def _run(seed: int, length: int, disks: list[Disk], log: list[str]) -> Report:
    cluster = Cluster(seed, disks)
    try:
        books = Books(cluster.agreement.genesis)
        state = _genesis_state(cluster)
        for _ in range(length):
            cluster.events = log
            block = cluster.advance()
            agreed = cluster.agreement
            log.append(agreed.digest(block.height))
            results = agreed.results[block.height - 1]
            books.record(block, results)
            before, state = state, _same_everywhere(cluster)
            cluster.bystanders.learned(block.height, state)
            codes = tuple(result.code for result in results)
            hash_before, app_hash = agreed.app_hashes[block.height - 1 : block.height + 1]
            moment = Moment(block, codes, before, state, hash_before, app_hash, books, agreed.validators[block.height])
            cluster.counts["checks"] += check(moment)
            cluster.counts.update(_outcomes(results))
            cluster.counts["validator changes that cancel out"] += _cancelled(cluster.agreement, block.height)
        cluster.counts["phases that lapsed"] = sum(course.lapses for course in books.courses)
        _finish(seed, cluster, state, length)
    finally:
        for replica in cluster.replicas:
            replica.fuse.clear()
            replica.stop()
    return Report(seed, length, cluster.counts, tuple(log))


def _same_everywhere(cluster: Cluster) -> dict[bytes, bytes]:
    """What every up-to-date replica has stored, entry by entry. Raises Violation where two differ."""
    witness, height = cluster.witness, cluster.agreement.height
    state = dict(witness.store.scan(b""))
    for replica in cluster.replicas:
        if replica.up and replica is not witness and dict(replica.store.scan(b"")) != state:
            raise Violation("stores", f"height {height}: replicas {witness.number} and {replica.number} differ")
    return state


def _finish(seed: int, cluster: Cluster, state: dict[bytes, bytes], height: int) -> None:
    """The last comparisons: sleepers come back, a fresh replica replays everything, all calls obey the grammar."""
    cluster.wake()
    _same_everywhere(cluster)
    if seed % REPLAY_EVERY == 0:
        late = Replica(len(cluster.replicas), cluster.agreement, MemoryDisk())
        late.start()
        if dict(late.store.scan(b"")) != state or late.info().last_block_height != height:
            raise Violation("replay", "a replay from genesis leads elsewhere")
        late.stop()
        cluster.counts["replays from genesis"] += 1
    restarted = cluster.replicas[seed % len(cluster.replicas)]
    restarted.stop()
    restarted.start()  # Its tree is rebuilt from what is stored, and must have the agreed root.
    for replica in cluster.replicas:
        grammar.check(replica.calls)


def _genesis_state(cluster: Cluster) -> dict[bytes, bytes]:
    stated = cluster.agreement.genesis
    writes = transition.genesis(RULES.of(stated.rules), stated.encode(), stated.chain_id).writes
    return {path: body for path, body in writes if body is not None}


def _cancelled(agreed: Agreement, height: int) -> bool:
    """Whether a block changed the validator set and led back to where it was."""
    events = (event.type for result in agreed.results[height - 1] for event in result.events)
    return any(kind.startswith("validators/") for kind in events) and (
        agreed.validators[height] == agreed.validators[height - 1]
    )


def _outcomes(results: tuple[m.ExecTxResult, ...]) -> Counter[str]:
    """Results by code, and what happened by event; for versions also by what became of them."""
    counts = Counter(f"result: {result.code} {_name(result.code)}" for result in results)
    for result in results:
        for event in result.events:
            status = [attribute.value for attribute in event.attributes if attribute.key == "status"]
            counts[" ".join(["event:", event.type, *status])] += 1
    return counts


def _name(code: int) -> str:
    return name_of(RULES.refusals[code]) if code else "ACCEPTED"
