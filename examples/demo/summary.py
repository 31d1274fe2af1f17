"""How a run ends: versions and lineage, privacy, reputations, timing, and how to look further. From proved state."""

import shutil
import statistics
from dataclasses import dataclass, field
from itertools import pairwise

from client_sdk.reads.view import every
from client_sdk.session.homes import default_home
from contracts import contributions, identity, lineage, models, privacy_budget, reputation, tasks
from contracts.kernel import View
from contracts.privacy_budget import Now
from examples.demo.consortium import Consortium
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
    """Gather the summary through the auditor's session: what it says of the ledger is of one proved state."""
    client = club.members["auditor"].client
    now = (await client.rpc.status()).height
    async with client.at(now) as view:
        versions, privacy, reputations, update_bytes = await view.run(
            lambda state: (
                _versions(state, watcher.task.model),
                [_privacy(state, hospital, dataset, view.now) for hospital, dataset in datasets.items()],
                _reputations(state, club, view.time_ms),
                _update_bytes(state, watcher),
            )
        )
    return Summary(
        rounds=list(watcher.rows.values()),
        versions=versions,
        privacy=privacy,
        reputations=reputations,
        timing=await _timing(club, now),
        update_bytes=update_bytes,
        pooled=pooled,
        home=str(club.home),
        commands=_commands(watcher, club, keep),
    )


def _versions(view: View, model: str) -> list[VersionLine]:
    found = []
    numbers = range(models.require_model(view, model).latest + 1)
    total = tasks.TERMS.at(view, models.require_model(view, model).task).canary_records
    for number, one in enumerate(every(lineage.VERSIONS, view, [(model, each) for each in numbers])):
        status = lineage.status_of(view, model, number)
        found.append(VersionLine(number, one.parent, one.round, one.proposer, str(status), one.canary_correct / total))
    return found


def _privacy(view: View, hospital: str, dataset: str, now: Now) -> Privacy:
    registered = identity.require_dataset(view, hospital, dataset)
    account = privacy_budget.dataset_account(view, hospital, dataset, now)
    spent = privacy_budget.epsilon_of(account.spent, registered.promise)
    return Privacy(hospital, dataset, spent / NANO, registered.promise.epsilon / NANO)


def _reputations(view: View, club: Consortium, now: int) -> dict[str, float]:
    scores = {name: reputation.SCORES.get(view, name) for name in club.members}
    return {name: reputation.decayed(score, now).deviation / 1_000_000 for name, score in scores.items() if score}


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


def _update_bytes(view: View, watcher: Watcher) -> int:
    for number, row in watcher.rows.items():
        for hospital in row.contributed:
            seat = contributions.SEATS.get(view, (watcher.task.name, number, hospital))
            if seat is not None and seat.commitment is not None:
                return seat.commitment.size
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
