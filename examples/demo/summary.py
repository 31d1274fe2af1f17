"""How a run ends: versions and lineage, privacy, reputations, timing, and how to look further. From proved state."""

import shutil
import statistics
from dataclasses import dataclass, field
from itertools import pairwise

from client_sdk.session.homes import default_home
from contracts import contributions, identity, lineage, privacy_budget, reputation
from examples.demo.consortium import DELTA_INVERSE, Consortium
from examples.demo.view import RoundRow
from examples.demo.watch import NANO, Watcher

PROMISE = (
    "ε bounds what anyone can learn about one record from all published updates together, if the noise was drawn as "
    "declared. It says nothing about a person with several records, or one who is in two datasets (docs/privacy.md)."
)


@dataclass(frozen=True)
class Privacy:
    """A hospital's dataset: cumulative ε spent, and its limit."""

    hospital: str
    dataset: str
    spent: float
    limit: float


@dataclass(frozen=True)
class VersionLine:
    """A version and where it came from."""

    version: int
    parent: int
    round: int
    proposer: str
    status: str
    canary: float


@dataclass(frozen=True)
class Timing:
    """Seconds: block interval and time from signing a transaction to its known result."""

    blocks: int
    interval_p50: float
    interval_p95: float
    commit_p50: float
    commit_p95: float
    transactions: int


@dataclass(frozen=True)
class Summary:
    """Everything the run is judged by."""

    rounds: list[RoundRow]
    versions: list[VersionLine]
    privacy: list[Privacy]
    reputations: dict[str, float]
    timing: Timing
    update_bytes: int
    pooled: float
    home: str
    promise: str = PROMISE
    commands: list[str] = field(default_factory=list)


async def summarise(
    club: Consortium, watcher: Watcher, datasets: dict[str, str], pooled: float, *, keep: bool
) -> Summary:
    """Gather the summary through the auditor's session."""
    session = club.members["auditor"]
    client, model = session.client, watcher.task.model
    now = (await client.rpc.status()).height
    current = await client.get(lineage.MODELS, model, at_least=now)
    assert current is not None
    versions = []
    for number in range(current.latest + 1):
        version = await client.get(lineage.VERSIONS, (model, number))
        assert version is not None
        accuracy = version.canary_correct / version.canary_total
        versions.append(
            VersionLine(number, version.parent, version.round, version.proposer, str(version.status), accuracy)
        )
    return Summary(
        rounds=list(watcher.rows.values()),
        versions=versions,
        privacy=[await _privacy(club, hospital, dataset) for hospital, dataset in datasets.items()],
        reputations=await _reputations(club),
        timing=await _timing(club, now),
        update_bytes=await _update_bytes(club, watcher, datasets),
        pooled=pooled,
        home=str(club.home),
        commands=_commands(watcher, club, keep),
    )


async def _privacy(club: Consortium, hospital: str, dataset: str) -> Privacy:
    client = club.members["auditor"].client
    registered = await client.get(identity.DATASETS, (hospital, dataset))
    account = await client.get(privacy_budget.DATASET_ACCOUNTS, (hospital, dataset))
    assert registered is not None
    spent = privacy_budget.epsilon_of(account.spent, DELTA_INVERSE) if account else 0
    return Privacy(hospital, dataset, spent / NANO, registered.epsilon_limit / NANO)


async def _reputations(club: Consortium) -> dict[str, float]:
    client = club.members["auditor"].client
    time_ms = (await client.rpc.status()).time_ns // 1_000_000
    found = {}
    for name in club.members:
        score = await client.get(reputation.SCORES, name)
        if score is not None:
            found[name] = reputation.decayed(score, time_ms).deviation / 1_000_000
    return found


async def _timing(club: Consortium, now: int) -> Timing:
    rpc = club.members["auditor"].client.rpc
    times = [(await rpc.commit(height)).header.time_ns / 1e9 for height in range(2, now + 1)]
    gaps = [after - before for before, after in pairwise(times)]
    latencies = club.latencies
    return Timing(
        blocks=now,
        interval_p50=statistics.median(gaps),
        interval_p95=_p95(gaps),
        commit_p50=statistics.median(latencies),
        commit_p95=_p95(latencies),
        transactions=len(latencies),
    )


async def _update_bytes(club: Consortium, watcher: Watcher, datasets: dict[str, str]) -> int:
    client, task = club.members["auditor"].client, watcher.task.name
    for number, row in watcher.rows.items():
        for hospital in row.contributed:
            key = (task, number, hospital, datasets[hospital])
            commitment = await client.get(contributions.COMMITMENTS, key)
            if commitment is not None:
                return commitment.size
    return 0


def _p95(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.95))]


def _commands(watcher: Watcher, club: Consortium, keep: bool) -> list[str]:
    model, task = watcher.task.model, watcher.task.name
    program = "fedledger" if shutil.which("fedledger") else ".venv/bin/fedledger"
    usual = club.home == default_home()
    where, home = ("", "") if usual or not keep else (f" --ledger {club.home}", f" --home {club.home}")
    return [
        f"{program} model history {model}{where}",
        f"{program} round list {task}{where}",
        f"{program} budget show hospital-a{where}",
        f"{program} task show {task}{where}",
        f"{program} org show hospital-e{where}",
        f"{program} explain BUDGET_EXCEEDED",
        f"{program} devnet status{home}",
        f"{program} devnet down{home}",
    ]
