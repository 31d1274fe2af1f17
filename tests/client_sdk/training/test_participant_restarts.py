"""A participant killed anywhere goes on where it was: nothing is trained twice, spent twice or served unaccepted."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import Member
from campaigns.harness.consortium import (
    DATASET,
    HOSPITAL_A,
    MODEL,
    TASK,
    let_pass,
    round_of,
    seat_of,
)
from client_sdk.light import TrustExpired
from client_sdk.payloads.errors import StoreUnavailable
from client_sdk.payloads.store import payload_cid
from client_sdk.rpc import NodeUnavailable
from client_sdk.training.journal import Entry
from client_sdk.training.outcomes import (
    PayloadLost,
    TrainingInterrupted,
)
from client_sdk.training.participant import Participant
from client_sdk.training.task import VersionUnfit
from contracts import lineage, privacy_budget
from contracts.contributions import AlreadyReserved, Commit, NotPrivate
from contracts.identity import AddKey, KeyIsRevoked, RegisterDataset, RevokeKey
from contracts.kernel.types import Purpose
from contracts.lineage import VersionStatus
from contracts.privacy_budget import NOTHING, Account, BudgetExceeded
from contracts.rounds import PhaseOver, UnknownRound
from contracts.tasks import JoinTask
from contracts.transition import parse
from learning.entropy import ReproducibleEntropy
from tests import local_task
from tests.client_sdk.training.taking_part import (
    OTHERS,
    OWNER,
    PRICE,
    committed_by_others,
    holds,
    reserved_by_all,
    spent,
    stored,
    together,
)
from tests.local_task import CountingTrainer, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = local_task.opened(tmp_path)
    world.open_round()
    return world


class Killed(BaseException):
    """What SIGKILL is to a coroutine: nothing catches it."""


# Killed -----------------------------------------------------------------------------------------

Step = Callable[[Participant, pytest.MonkeyPatch], None]


def after(owner: str, method: str, *, of: str = "", times: int = 1) -> Step:
    """Die right after a call has had its effect; ``of`` narrows it to transactions with this tag."""

    def arm(victim: Participant, patch: pytest.MonkeyPatch) -> None:
        target: Any = victim
        for part in owner.split("."):
            target = getattr(target, part)
        original, left = getattr(target, method), iter(range(times - 1))

        def due(*arguments: Any) -> bool:
            return (not of or parse(arguments[0]).tag == of) and next(left, None) is None

        async def dying(*arguments: Any) -> Any:
            result: Any = original(*arguments)
            if isinstance(result, Awaitable):
                result = await result
            if due(*arguments):
                raise Killed
            return result

        def dying_at_once(*arguments: Any) -> None:
            original(*arguments)
            if due(*arguments):
                raise Killed

        patch.setattr(target, method, dying_at_once if owner == "journal" else dying)

    return arm


def killed(world: World, death: Step, patch: pytest.MonkeyPatch, trainer: CountingTrainer, *others: Any) -> None:
    """One life of the first hospital's participant."""
    victim = world.participant(HOSPITAL_A)
    with patch.context() as armed:
        death(victim, armed)
        with pytest.raises(Killed):
            world.run(victim.contribute(1, trainer), *others)


AFTER_RESERVING = after("client.rpc", "broadcast_tx_sync", of="contributions/reserve")
AFTER_JOURNALLING = after("journal", "keep", times=2)
AFTER_COMMITTING = after("client.rpc", "broadcast_tx_sync", of="contributions/commit")
AFTER_SERVING = after("store", "put")
DEATHS: dict[str, tuple[Step, int]] = {
    # How it dies; how often this life has trained.
    "after the reservation is in a block": (AFTER_RESERVING, 0),
    "after journalling": (AFTER_JOURNALLING, 1),
    "after the commitment is in a block": (AFTER_COMMITTING, 1),
    "after the payload is in the store": (AFTER_SERVING, 1),
    "before the journal forgets": (after("journal", "destroy"), 1),
}


@pytest.mark.parametrize("death", DEATHS)
def test_a_participant_killed_at_any_step_goes_on_without_training_or_spending_twice(
    world: World, monkeypatch: pytest.MonkeyPatch, death: str
) -> None:
    arm, trained = DEATHS[death]
    trainer = world.trainer(HOSPITAL_A)
    for member in OTHERS:
        world.chain.submit(member, consortium.reserve())
    others = [world.contribution(other) for other in OTHERS] if "journal forgets" in death or "store" in death else []
    killed(world, arm, monkeypatch, trainer, *others)
    assert trainer.trained == trained

    made = together(world, trainer)
    assert trainer.trained == 1
    assert spent(world) == PRICE
    assert len(stored(world, made)) == made.bytes
    commits = {raw for raw in world.node.sent if parse(raw).tag == Commit.tag and _is_from(HOSPITAL_A, raw)}
    assert len(commits) == 1, "a restart sent another commitment than the journalled one"
    assert world.participant(HOSPITAL_A).journal.rounds(TASK, DATASET) == []


def _is_from(member: Member, raw: bytes) -> bool:
    return parse(raw).key == member.worker.public


def test_a_training_that_was_interrupted_is_not_started_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    reserved_by_all(world)
    trainer = world.trainer(HOSPITAL_A)
    killed(world, after("journal", "keep"), monkeypatch, trainer)
    with pytest.raises(TrainingInterrupted):
        world.run(world.participant(HOSPITAL_A).contribute(1, trainer))
    assert trainer.trained == 0


def entry_of(world: World) -> Entry:
    entry = world.participant(HOSPITAL_A).journal.find(TASK, 1, DATASET)
    assert entry is not None
    return entry


def test_what_is_sent_is_what_was_journalled(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    reserved_by_all(world)
    killed(world, AFTER_JOURNALLING, monkeypatch, world.trainer(HOSPITAL_A))
    entry = entry_of(world)
    made = together(world, world.trainer(HOSPITAL_A))
    assert entry.envelope in world.node.sent
    assert made.cid == str(payload_cid(entry.payload))


def test_a_journalled_commitment_that_expired_unseen_is_signed_anew_over_the_same_payload(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserved_by_all(world)
    trainer = world.trainer(HOSPITAL_A)
    killed(world, AFTER_JOURNALLING, monkeypatch, trainer)
    entry = entry_of(world)
    while world.chain.height <= entry.valid_until:
        world.node.let_pass(1)  # Blocks pass, time hardly does: the phase's end lies ahead.
    made = together(world, trainer)
    assert made.cid == str(payload_cid(entry.payload))
    assert trainer.trained == 1
    assert spent(world) == PRICE


def test_a_payload_journalled_under_a_key_that_was_replaced_is_committed_with_the_new_key(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserved_by_all(world)
    trainer, second = world.trainer(HOSPITAL_A), HOSPITAL_A.key(Purpose.WORKLOAD, 1)
    killed(world, AFTER_JOURNALLING, monkeypatch, trainer)
    entry = entry_of(world)
    world.chain.submit(HOSPITAL_A, AddKey(second.enrolment(world.chain.ledger.genesis)))
    world.chain.submit(HOSPITAL_A, RevokeKey(HOSPITAL_A.worker.public))
    heir = world.participant(HOSPITAL_A)
    heir.client = world.node.client(second)
    made = world.run(heir.contribute(1, trainer), *map(world.contribution, OTHERS))[0]
    record = seat_of(world.chain, HOSPITAL_A).commitment
    assert record is not None
    assert (made.cid, record.signer) == (str(payload_cid(entry.payload)), second.public)
    assert trainer.trained == 1


@pytest.mark.parametrize("past_barrier", [False, True], ids=["before the barrier", "past it"])
def test_a_committed_payload_that_is_not_in_the_journal_is_reported_as_lost(
    world: World, monkeypatch: pytest.MonkeyPatch, past_barrier: bool
) -> None:
    reserved_by_all(world)
    killed(world, AFTER_COMMITTING, monkeypatch, world.trainer(HOSPITAL_A))
    world.participant(HOSPITAL_A).journal.destroy(TASK, 1, DATASET)
    if past_barrier:
        committed_by_others(world)
    trainer = world.trainer(HOSPITAL_A)
    with pytest.raises(PayloadLost, match=DATASET):
        world.run(world.participant(HOSPITAL_A).contribute(1, trainer))
    assert trainer.trained == 0


def test_a_second_life_of_a_whole_contribution_only_reads_it_back(world: World) -> None:
    first = together(world, world.trainer(HOSPITAL_A))
    trainer, sent = world.trainer(HOSPITAL_A), len(world.node.sent)
    assert world.run(world.participant(HOSPITAL_A).contribute(1, trainer)) == [first]
    assert (trainer.trained, len(world.node.sent)) == (0, sent)


# Outages ----------------------------------------------------------------------------------------


def test_a_node_or_a_store_that_fails_for_a_while_costs_a_block_and_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    taking_part, trainer = world.participant(HOSPITAL_A), world.trainer(HOSPITAL_A)
    look, put = taking_part.look, taking_part.store.put
    failures = iter([NodeUnavailable(["node"], ["restarting"])] * 3)
    unstored = iter([StoreUnavailable("kubo", "it restarts")] * 2)

    async def looking(number: int, *, at_least: int = 0) -> Any:
        if (error := next(failures, None)) is not None:
            raise error
        return await look(number, at_least=at_least)

    async def putting(data: bytes) -> Any:
        if (error := next(unstored, None)) is not None:
            raise error
        return await put(data)

    monkeypatch.setattr(taking_part, "look", looking)
    taking_part.store = local_task.Watched(world.store, world.clock)
    monkeypatch.setattr(taking_part.store, "put", putting)
    made = world.run(taking_part.contribute(1, trainer), *map(world.contribution, OTHERS))[0]
    assert trainer.trained == 1
    assert stored(world, made)
    assert (next(unstored, None), next(failures, None)) == (None, None)


def test_an_expired_trust_ends_a_contribution(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    taking_part = world.participant(HOSPITAL_A)

    async def expired(_number: int, *, at_least: int = 0) -> Any:
        raise TrustExpired("header 1", f"it is old, and {at_least} is asked for")

    monkeypatch.setattr(taking_part, "look", expired)
    with pytest.raises(TrustExpired):
        world.run(taking_part.contribute(1, world.trainer(HOSPITAL_A)))


# Refused ----------------------------------------------------------------------------------------


def test_an_exhausted_budget_is_refused_before_the_trainer_is_called(world: World) -> None:
    full = NOTHING
    for _ in range(3):
        full += PRICE
    world.chain.given(privacy_budget.DATASET_ACCOUNTS.put(OWNER, Account(full, ())))
    trainer = world.trainer(HOSPITAL_A)
    with pytest.raises(BudgetExceeded) as caught:
        world.run(world.participant(HOSPITAL_A).contribute(1, trainer))
    assert trainer.trained == 0
    assert caught.value.facts["spent"] < caught.value.facts["limit"] < caught.value.facts["wanted"]
    assert round_of(world.chain).reserved == b""


def test_noise_that_can_be_reproduced_is_refused_before_anything_is_held(world: World) -> None:
    trainer = world.trainer(HOSPITAL_A, ReproducibleEntropy(1))
    with pytest.raises(NotPrivate):
        world.run(world.participant(HOSPITAL_A).contribute(1, trainer))
    assert (trainer.trained, holds(world)) == (0, 0)


def test_a_revoked_key_is_refused_before_the_trainer_is_called(world: World) -> None:
    world.chain.submit(HOSPITAL_A, RevokeKey(HOSPITAL_A.worker.public))
    trainer = world.trainer(HOSPITAL_A)
    with pytest.raises(KeyIsRevoked):
        world.run(world.participant(HOSPITAL_A).contribute(1, trainer))
    assert trainer.trained == 0


def test_a_round_in_which_nobody_can_reserve_any_more_is_refused(world: World) -> None:
    let_pass(world.chain)
    world.chain.block()
    with pytest.raises(PhaseOver):
        world.run(world.participant(HOSPITAL_A).contribute(1, world.trainer(HOSPITAL_A)))


def test_a_round_that_is_not_there_is_refused_by_name(world: World) -> None:
    with pytest.raises(UnknownRound):
        world.run(world.participant(HOSPITAL_A).contribute(2, world.trainer(HOSPITAL_A)))


def test_an_organisation_has_one_seat_however_many_datasets_it_has(world: World) -> None:
    """The second dataset of an organisation neither reserves nor trains beside the first."""
    second = world.participant(HOSPITAL_A)
    second.dataset = "second"
    world.chain.submit(HOSPITAL_A, RegisterDataset("second", consortium.DATA_CLASS, 1_000_000_000, 100_000))
    world.chain.submit(HOSPITAL_A, JoinTask(TASK, "second", world.task.digest))
    world.chain.submit(HOSPITAL_A, consortium.reserve())
    trainer = world.trainer(HOSPITAL_A)
    with pytest.raises(AlreadyReserved) as caught:
        world.run(second.contribute(1, trainer))
    assert caught.value.facts["dataset"] == DATASET
    assert trainer.trained == 0


def test_reserving_twice_holds_once(world: World) -> None:
    one = asyncio.run(world.participant(HOSPITAL_A).reserve(1))
    assert one is not None
    assert asyncio.run(world.participant(HOSPITAL_A).reserve(1)) is None
    assert holds(world) == 1


def test_nothing_is_trained_from_a_version_that_fell(world: World) -> None:
    reserved_by_all(world)
    version = consortium.version_of(world.chain, 0)
    world.chain.given(lineage.VERSIONS.put((MODEL, 0), replace(version, status=VersionStatus.QUARANTINED)))
    trainer = world.trainer(HOSPITAL_A)
    with pytest.raises(VersionUnfit):
        world.run(world.participant(HOSPITAL_A).contribute(1, trainer))
    assert trainer.trained == 0
    assert world.participant(HOSPITAL_A).journal.rounds(TASK, DATASET) == [], "nothing was started: it may be again"
