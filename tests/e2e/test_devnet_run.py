"""One real run: four CometBFT validators, two Kubo nodes, every hospital and lab a process of its own.

It is the demo with a shorter plan. What is asserted is read from proved state after the run, through the public SDK,
while the network still stands; the view only records what was told.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
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
from contracts import ballot_box, contributions, identity, lineage, privacy_budget, reputation, rounds, tasks
from contracts.contributions import Commitment, Seat
from contracts.identity import Key
from contracts.kernel import View, bitmap
from contracts.kernel.types import Purpose
from contracts.lineage import Finding, Version, VersionStatus
from contracts.privacy_budget import Account
from contracts.promises import Promise
from contracts.rounds import Round
from contracts.tasks import Task
from contracts.terms import Phase
from devnet import lifecycle
from devnet.errors import BinaryMissing
from devnet.lifecycle import DevnetStatus
from examples.demo import run as demo
from examples.demo.incidents import Plan
from examples.demo.mischief import SERVED
from examples.demo.run import Options
from examples.demo.summary import Summary
from examples.demo.task import RECIPES
from examples.demo.view import RoundRow

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

TASK, MODEL = "breast-cancer", "breast-cancer-model"
HOSPITALS = tuple(f"hospital-{letter}" for letter in "abcdef")
VERIFIERS = ("hospital-a", "hospital-b", "lab-1", "lab-2", "auditor")
PLAN = Plan(
    drops=("hospital-d", 1),
    rushes=("lab-2", 1),
    attacks=("hospital-e", (1, 2)),
    selective=("hospital-d", 2),
    killed=("validator-3", 2),
    lies=("lab-1", 3),
    stolen=("hospital-c", 3),
    exhausted=("hospital-f", 3),
    copies=("hospital-e", 4),
    slanders=("hospital-d", 4),
    last=5,
)
# Longer than the demo's, for machines that do other things, too: a phase in which everybody acts ends no later for it.
PHASES = replace(
    RECIPES[TASK].phases, reserve_ms=10_000, commit_ms=15_000, attest_ms=60_000, seal_ms=60_000, open_ms=60_000
)
COSTLY = -400_000  # No misfortune costs as much as a lie does.


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
    owners: tuple[str, ...]  # By seat number.
    model: lineage.Model
    versions: dict[int, Version]
    statuses: dict[int, VersionStatus]
    seats: dict[tuple[int, str], Seat]
    shared: dict[tuple[int, str], tuple[str, ...]]  # Who serves whose payload to the others.
    accounts: dict[str, Account]
    promises: dict[str, Promise]
    deviations: dict[str, int]
    keys: list[Key]

    @property
    def commitments(self) -> dict[tuple[int, str], Commitment]:
        return {place: seat.commitment for place, seat in self.seats.items() if seat.commitment is not None}

    def reserved(self, hospital: str) -> list[int]:
        """The rounds in which a hospital has a seat."""
        return sorted(number for number, name in self.seats if name == hospital)

    def contributed(self, hospital: str) -> list[int]:
        """The rounds in which a hospital has a commitment."""
        return sorted(number for number, name in self.commitments if name == hospital)

    def number_of(self, hospital: str) -> int:
        return self.owners.index(hospital)

    def version_of(self, number: int) -> Version:
        """The version that a round was decided for."""
        (version,) = [one for one in self.versions.values() if one.round == number]
        return version

    def finding(self, number: int, hospital: str) -> Finding | None:
        """What the recomputation says of a hospital's contribution; None where it is not in the set."""
        version, seat = self.version_of(number), self.number_of(hospital)
        found = dict(zip(bitmap.numbers(version.agreed), map(Finding, version.judgements), strict=True))
        return found.get(seat)


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
        patch.setitem(RECIPES, TASK, replace(RECIPES[TASK], phases=PHASES))
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
    task, model = tasks.TASKS.at(view, TASK), lineage.MODELS.at(view, MODEL)
    numbers, versions = range(1, task.rounds + 1), range(model.latest + 1)
    owned = [(hospital, dataset(hospital)) for hospital in HOSPITALS]
    places = [(number, owner) for number in numbers for owner in HOSPITALS]
    seats = {place: contributions.SEATS.get(view, (TASK, *place)) for place in places}
    shares = {place: ballot_box.SHARES.get(view, (TASK, *place)) for place in places}
    scores = {name: reputation.SCORES.get(view, name) for name in (*HOSPITALS, *VERIFIERS)}
    datasets = every(identity.DATASETS, view, owned)
    return Ledger(
        task=task,
        rounds=dict(zip(numbers, every(rounds.ROUNDS, view, [(TASK, each) for each in numbers]), strict=True)),
        owners=tasks.ROSTERS.at(view, TASK).organisations,
        model=model,
        versions=dict(enumerate(every(lineage.VERSIONS, view, [(MODEL, each) for each in versions]))),
        statuses={each: lineage.status_of(view, MODEL, each) for each in versions},
        seats={place: seat for place, seat in seats.items() if seat is not None},
        shared={place: tuple(copy.organisation for copy in one.copies) for place, one in shares.items() if one},
        accounts=dict(zip(HOSPITALS, every(privacy_budget.DATASET_ACCOUNTS, view, owned), strict=True)),
        promises={name: one.promise for name, one in zip(HOSPITALS, datasets, strict=True)},
        deviations={name: score.deviation for name, score in scores.items() if score is not None},
        keys=every(identity.KEYS, view, [bytes.fromhex(name) for (name,) in keys]),
    )


def dataset(hospital: str) -> str:
    return f"{TASK}-{hospital[-1]}"


# The run ----------------------------------------------------------------------------------------


def test_no_process_died_and_nothing_unexpected_was_told(finished: Finished) -> None:
    for unexpected in ("ended with code", "got a reservation", "FELL", "has put a bad recipient", "ANOTHER"):
        assert not finished.view.texts(unexpected), finished.view.transcript


def test_every_round_came_to_a_decision_whoever_misbehaved(finished: Finished) -> None:
    ledger = finished.ledger
    assert sorted(ledger.rounds) == list(range(1, PLAN.last + 1))
    assert {current.phase for current in ledger.rounds.values()} == {Phase.DECIDED}, finished.view.transcript
    assert [ledger.version_of(number).round for number in ledger.rounds] == list(ledger.rounds)


def test_no_version_fell_and_the_newest_that_passed_its_gate_is_the_base(finished: Finished) -> None:
    ledger = finished.ledger
    assert set(ledger.statuses.values()) <= {
        VersionStatus.PROMOTED,
        VersionStatus.SUPERSEDED,
        VersionStatus.FAILED_CANARY,
    }
    assert ledger.task.base == ledger.model.current > 0
    assert ledger.statuses[ledger.model.current] is VersionStatus.PROMOTED
    passed = [each for each, status in ledger.statuses.items() if status is not VersionStatus.FAILED_CANARY]
    assert ledger.model.current == max(passed)


def test_the_drop_out_pays_for_its_own_absence_and_the_others_went_on(finished: Finished) -> None:
    ledger, (name, number) = finished.ledger, PLAN.drops
    current = ledger.rounds[number]
    assert number in ledger.reserved(name)
    assert number not in ledger.contributed(name)
    assert current.committed == bitmap.minus(current.reserved, ledger.number_of(name))
    assert current.charged is rounds.Charged.ALL


def test_whatever_was_committed_is_in_the_set_also_of_rushed_rounds(finished: Finished) -> None:
    for number, current in finished.ledger.rounds.items():
        assert current.agreed == current.committed, f"round {number}:\n{finished.view.transcript}"


@pytest.mark.parametrize("hospital", HOSPITALS)
def test_what_a_hospital_has_spent_is_what_its_seats_cost_and_within_its_limit(
    finished: Finished, hospital: str
) -> None:
    ledger = finished.ledger
    spent = privacy_budget.NOTHING
    for _ in ledger.reserved(hospital):  # Every round has passed its barrier: who reserved has paid.
        spent += ledger.task.price
    assert privacy_budget.fits(spent, ledger.promises[hospital])
    (shown,) = [line for line in finished.summary.privacy if line.hospital == hospital]
    assert shown.spent == pytest.approx(privacy_budget.epsilon_of(spent, ledger.promises[hospital]) / 1e9)


def test_the_exhausted_hospital_was_refused_before_it_trained_and_found_no_way_round(finished: Finished) -> None:
    name, contributions_it_can_afford = PLAN.exhausted
    ledger = finished.ledger
    assert ledger.reserved(name) == ledger.contributed(name) == list(range(1, contributions_it_can_afford + 1))
    spent = privacy_budget.NOTHING
    for _ in range(contributions_it_can_afford + 1):
        spent += ledger.task.price
    assert not privacy_budget.fits(spent, ledger.promises[name])
    said = finished.view.texts("BUDGET_EXCEEDED")
    assert any(text.startswith(f"{name} in round {contributions_it_can_afford + 1}") for text in said), said
    assert any(text.startswith(f"{name} with a new key and dataset") for text in said), said


@pytest.mark.parametrize("reported", [PLAN.stolen, PLAN.slanders], ids=["stolen", "slander"])
def test_a_reported_key_is_revoked_and_what_was_promoted_with_it_stays(
    finished: Finished, reported: tuple[str, int]
) -> None:
    name, number = reported
    ledger = finished.ledger
    workers = [key for key in ledger.keys if key.organisation == name and key.purpose is Purpose.WORKLOAD]
    assert [key.revoked_from is not None for key in sorted(workers, key=lambda key: key.label)] == [True, False]
    signers = {each: ledger.commitments[each, name].signer for each in ledger.contributed(name)}
    before = {signer for each, signer in signers.items() if each <= number}
    after = {signer for each, signer in signers.items() if each > number}
    assert len(before) == len(after) == 1
    assert not before & after, "it went on with its new key"
    assert finished.view.texts("KEY_IS_REVOKED"), finished.view.transcript


def test_two_verifiers_serve_the_others_what_only_they_could_decrypt(finished: Finished) -> None:
    name, number = PLAN.selective
    assert set(finished.ledger.shared[number, name]) & set(SERVED)
    assert set(finished.ledger.shared[number, name]) <= set(SERVED)
    assert finished.ledger.finding(number, name) is Finding.AGGREGATED


def test_a_copied_commitment_is_nobody_s_contribution(finished: Finished) -> None:
    name, number = PLAN.copies
    ledger = finished.ledger
    assert ledger.finding(number, name) is Finding.MISNAMED
    copied = ledger.commitments[number, name]
    twice = [who for (when, who), made in ledger.commitments.items() if when == number and made.cid == copied.cid]
    assert len(twice) == 2
    others = [ledger.finding(number, who) for who in ledger.owners if who != name]
    assert Finding.MISNAMED not in others


def test_an_outlier_is_flagged_in_every_round_that_it_attacks(finished: Finished) -> None:
    name, attacked = PLAN.attacks
    assert [finished.ledger.finding(number, name) for number in attacked] == [Finding.OUTLIER] * len(attacked)


def test_who_lied_or_rushed_lost_reputation_and_nobody_else_s_verifiers_did(finished: Finished) -> None:
    deviations = finished.ledger.deviations
    liars = {PLAN.lies[0], PLAN.rushes[0]}
    assert {name for name in VERIFIERS if deviations[name] < COSTLY} == liars
    assert finished.ledger.version_of(PLAN.lies[1]).proposer not in liars & {PLAN.lies[0]}
    honest = set(HOSPITALS) - {PLAN.attacks[0]}
    assert deviations[PLAN.attacks[0]] < 0 < min(deviations[name] for name in honest)


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
