"""One real run: four CometBFT validators, two Kubo nodes, every hospital and lab a process of its own.

It is the demo with a shorter plan. What is asserted is read from proved state after the run, through the public SDK,
while the network still stands; the view only records what was told.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from client_sdk.payloads.cid import Cid
from client_sdk.payloads.kubo import KuboStore
from client_sdk.payloads.store import StoreKind
from client_sdk.reads.view import every
from client_sdk.rpc import RpcClient
from client_sdk.session import open_client
from client_sdk.session.profile import find_profile
from contracts import contributions, identity, lineage, privacy_budget, reputation, rounds
from contracts.contributions import Commitment
from contracts.identity import Key, Promise
from contracts.kernel import View
from contracts.kernel.types import Purpose
from contracts.lineage import Version, VersionStatus
from contracts.privacy_budget import Account
from contracts.rounds import Progress, Round, Task
from devnet import lifecycle
from devnet.errors import BinaryMissing
from devnet.lifecycle import DevnetStatus
from examples.demo import run as demo
from examples.demo.incidents import Plan
from examples.demo.run import Options
from examples.demo.summary import Summary
from examples.demo.view import RoundRow

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

TASK, MODEL = "breast-cancer", "breast-cancer-model"
HOSPITALS = tuple(f"hospital-{letter}" for letter in "abcdef")
LABS = ("lab-1", "lab-2")
PLAN = Plan(
    drops=("hospital-d", 1),
    attacks=("hospital-e", (1, 2)),
    killed=("validator-3", 2),
    forges=("lab-1", 3),
    stolen=("hospital-c", 3),
    exhausted=("hospital-f", 3),
    last=5,
)


@dataclass
class Recording:
    """A view that keeps everything."""

    told: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    story: list[Any] = field(default_factory=list)

    def stage(self, text: str) -> None:
        self.told.append((text, "stage", {}))

    def tell(self, text: str, tone: str = "plain", **facts: Any) -> None:
        self.told.append((text, tone, facts))

    def row(self, row: RoundRow) -> None:
        """Rounds are read from the ledger."""

    def texts(self, part: str) -> list[str]:
        return [text for text, _, _ in self.told if part in text]

    @property
    def transcript(self) -> str:
        return "\n".join(f"{tone:6} {text}" for text, tone, _ in self.told)


@dataclass(frozen=True)
class Ledger:
    """What the ledger says after the run."""

    task: Task
    rounds: dict[int, Round]
    model: lineage.Model
    versions: dict[int, Version]
    commitments: dict[tuple[int, str], Commitment]
    accounts: dict[str, Account]
    promises: dict[str, Promise]
    deviations: dict[str, int]
    keys: list[Key]

    def contributed(self, hospital: str) -> list[int]:
        """The rounds in which a hospital has a commitment."""
        return sorted(number for number, name in self.commitments if name == hospital)

    def promoted_line(self) -> list[int]:
        line = [self.model.current]
        while line[-1]:
            line.append(self.versions[line[-1]].parent)
        return line


@dataclass(frozen=True)
class Finished:
    """A finished run whose network still stands."""

    summary: Summary
    view: Recording
    ledger: Ledger
    devnet: DevnetStatus


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    home, view = tmp_path_factory.mktemp("demo") / "devnet", Recording()
    options = Options(dataset=TASK, seed=1, store=StoreKind.KUBO, keep=True, home=home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Plan, "for_dataset", lambda _dataset: PLAN)
        try:
            summary = asyncio.run(demo.run(options, view))
            yield Finished(summary, view, asyncio.run(read(home)), lifecycle.status(home))
        except BinaryMissing as missing:
            pytest.skip(f"{missing}: run `make setup`")
        except BaseException:
            print(view.transcript)
            raise
        finally:
            if (home / "state.json").exists():
                lifecycle.down(home, delete=True)


async def read(home: Path) -> Ledger:
    """Everything that is asserted, from one proved state, without any key."""
    async with open_client(find_profile(str(home), "auditor")) as client:
        now = (await client.rpc.status()).height
        names = [name for name, _ in await client.scan(identity.KEYS)]
        return await client.ask(lambda view: at_the_end(view, names), at_least=now)


def at_the_end(view: View, keys: list[tuple[str, ...]]) -> Ledger:
    task, model = rounds.TASKS.at(view, TASK), lineage.MODELS.at(view, MODEL)
    numbers, versions = range(1, task.rounds + 1), range(model.latest + 1)
    owned = [(hospital, dataset(hospital)) for hospital in HOSPITALS]
    seats = {(number, owner): (TASK, number, owner, name) for number in numbers for owner, name in owned}
    found = {place: contributions.COMMITMENTS.get(view, seat) for place, seat in seats.items()}
    scores = {name: reputation.SCORES.get(view, name) for name in (*HOSPITALS, *LABS)}
    datasets = every(identity.DATASETS, view, owned)
    return Ledger(
        task=task,
        rounds=dict(zip(numbers, every(rounds.ROUNDS, view, [(TASK, each) for each in numbers]), strict=True)),
        model=model,
        versions=dict(enumerate(every(lineage.VERSIONS, view, [(MODEL, each) for each in versions]))),
        commitments={place: commitment for place, commitment in found.items() if commitment is not None},
        accounts=dict(zip(HOSPITALS, every(privacy_budget.DATASET_ACCOUNTS, view, owned), strict=True)),
        promises={name: one.promise for name, one in zip(HOSPITALS, datasets, strict=True)},
        deviations={name: score.deviation for name, score in scores.items() if score is not None},
        keys=every(identity.KEYS, view, [bytes.fromhex(name) for (name,) in keys]),
    )


def dataset(hospital: str) -> str:
    return f"{TASK}-{hospital[-1]}"


# The run ----------------------------------------------------------------------------------------


def test_no_process_died_and_nothing_unexpected_was_told(finished: Finished) -> None:
    assert not finished.view.texts("ended with code"), finished.view.transcript
    assert not finished.view.texts("got a reservation"), finished.view.transcript


def test_every_round_came_to_a_decision(finished: Finished) -> None:
    ledger = finished.ledger
    assert sorted(ledger.rounds) == list(range(1, PLAN.last + 1))
    assert {current.status for current in ledger.rounds.values()} == {rounds.RoundStatus.DECIDED}, (
        finished.view.transcript
    )


def test_one_version_is_promoted_one_was_refused_and_one_is_quarantined(finished: Finished) -> None:
    ledger = finished.ledger
    statuses = [version.status for version in ledger.versions.values()]
    assert (
        statuses.count(VersionStatus.PROMOTED)
        == statuses.count(VersionStatus.REFUSED)
        == statuses.count(VersionStatus.QUARANTINED)
        == 1
    )
    assert ledger.versions[ledger.model.current].status is VersionStatus.PROMOTED
    assert ledger.task.base == ledger.model.current
    (refused,) = [version for version in ledger.versions.values() if version.status is VersionStatus.REFUSED]
    assert (refused.proposer, refused.round) == PLAN.forges
    (quarantined,) = [
        number for number, version in ledger.versions.items() if version.status is VersionStatus.QUARANTINED
    ]
    assert (ledger.versions[quarantined].proposer, ledger.versions[quarantined].round) == ("lab-2", PLAN.stolen[1])
    line = ledger.promoted_line()
    assert quarantined not in line
    assert all(parent < child for child, parent in pairwise(line))
    # After the report the last clean version was the base again: round 2's, one before the quarantined one's round.
    assert ledger.versions[ledger.rounds[PLAN.stolen[1] + 1].base].round == PLAN.stolen[1] - 1


def test_the_drop_out_held_the_round_up_and_paid_nothing(finished: Finished) -> None:
    name, number = PLAN.drops
    seats = {seat.organisation: seat.progress for seat in finished.ledger.rounds[number].seats}
    assert seats.pop(name) is Progress.RESERVED
    assert set(seats.values()) == {Progress.PUBLISHED}
    assert number not in finished.ledger.contributed(name)


@pytest.mark.parametrize("hospital", HOSPITALS)
def test_what_a_hospital_has_spent_is_what_its_rounds_cost_and_within_its_limit(
    finished: Finished, hospital: str
) -> None:
    ledger = finished.ledger
    spent = privacy_budget.NOTHING
    for _ in ledger.contributed(hospital):
        spent += ledger.task.price
    assert ledger.accounts[hospital].spent == spent
    assert privacy_budget.fits(spent, ledger.promises[hospital])
    (shown,) = [line for line in finished.summary.privacy if line.hospital == hospital]
    assert shown.spent == pytest.approx(privacy_budget.epsilon_of(spent, ledger.promises[hospital]) / 1e9)


def test_the_exhausted_hospital_was_refused_before_it_trained_and_found_no_way_round(finished: Finished) -> None:
    name, contributions_it_can_afford = PLAN.exhausted
    ledger = finished.ledger
    assert len(ledger.contributed(name)) == contributions_it_can_afford
    once_more = ledger.accounts[name].spent + ledger.task.price
    assert not privacy_budget.fits(once_more, ledger.promises[name])
    said = finished.view.texts("BUDGET_EXCEEDED")
    assert any(text.startswith(f"{name} in round {contributions_it_can_afford + 1}") for text in said), said
    assert any(text.startswith(f"{name} with a new key and dataset") for text in said), said


def test_the_stolen_key_is_revoked_from_its_height_and_refused(finished: Finished) -> None:
    victim, number = PLAN.stolen
    workers = [key for key in finished.ledger.keys if key.organisation == victim and key.purpose is Purpose.WORKLOAD]
    (revoked,) = [key for key in workers if key.revoked_from is not None]
    assert revoked.revoked_from <= finished.ledger.commitments[number, victim].height
    assert finished.view.texts("KEY_IS_REVOKED"), finished.view.transcript
    after = [one for one in finished.ledger.contributed(victim) if one > number]
    assert after, "the hospital went on with its new key"
    new = {finished.ledger.commitments[one, victim].signer for one in after}
    assert finished.ledger.commitments[number, victim].signer not in new


def test_the_attacker_and_the_forging_aggregator_lost_reputation(finished: Finished) -> None:
    deviations, attacker, forger = finished.ledger.deviations, PLAN.attacks[0], PLAN.forges[0]
    assert deviations[forger] < -400_000
    assert deviations[attacker] < min(deviations[name] for name in HOSPITALS if name != attacker)
    verdicts = [
        judged.verdict
        for version in finished.ledger.versions.values()
        for judged in version.judgements
        if judged.organisation == attacker and version.round in PLAN.attacks[1]
    ]
    assert set(verdicts) == {reputation.Verdict.FILTERED}


def test_the_killed_validator_is_back_with_the_same_app_hash_as_all_others(finished: Finished) -> None:
    assert [facts["same_app_hash"] for _, _, facts in finished.view.told if "same_app_hash" in facts] == [True]

    async def hashes() -> set[bytes]:
        target = min(one.health.height for one in finished.devnet.validators if one.health is not None)
        found = set()
        for validator in finished.devnet.validators:
            async with RpcClient((validator.record.rpc,)) as rpc:
                found.add((await rpc.commit(target)).header.app_hash)
        return found

    assert len(finished.devnet.validators) == 4
    assert all(one.health is not None for one in finished.devnet.validators)
    assert len(asyncio.run(hashes())) == 1


def test_every_accepted_payload_can_be_had_from_either_ipfs_node(finished: Finished) -> None:
    async def fetch() -> int:
        fetched = 0
        for address in finished.devnet.kubo:
            async with KuboStore(address) as store:
                for committed in finished.ledger.commitments.values():
                    payload = await store.get(Cid.parse(committed.cid), committed.size)
                    assert len(payload) == committed.size
                    fetched += 1
        return fetched

    assert len(finished.devnet.kubo) == 2
    assert asyncio.run(fetch()) == 2 * len(finished.ledger.commitments) > 0


def test_the_model_learned_something_under_noise(finished: Finished) -> None:
    promoted = [row.held_out for row in finished.summary.rounds if row.outcome == "promoted" and row.held_out]
    assert promoted[-1] > 0.8
    assert finished.summary.pooled > 0.9
