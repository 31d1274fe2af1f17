"""A participant trains when that is paid for, commits to what will be taken, and serves past the barrier only."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from campaigns.harness import consortium
from campaigns.harness.consortium import (
    AUDITOR,
    DATASET,
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITALS,
    LAB,
    PHASE_MS,
    TASK,
    let_pass,
    round_of,
    seat_of,
)
from client_sdk.client import AcceptedTx
from client_sdk.payloads import confidential
from client_sdk.payloads.cid import Cid
from client_sdk.payloads.errors import PayloadNotFound
from client_sdk.payloads.store import payload_cid
from client_sdk.training import artefacts
from client_sdk.training.outcomes import (
    CommitMissed,
    Contribution,
    RoundCameToNothing,
    TrainingInterrupted,
    UpdateUnfit,
)
from client_sdk.training.seat import commit_at
from contracts import identity, privacy_budget, rounds, tasks
from contracts.ballots import AdvanceRound
from contracts.contributions import Commit, NotReserved
from contracts.kernel import crypto
from contracts.privacy_budget import NOTHING
from contracts.rounds import Charged, Round, WrongPhase
from contracts.terms import CommitTiming, Phase, Terms
from contracts.transition import parse
from learning.local_training import LocalUpdate
from learning.payload import Owner, decode_payload
from learning.tensors import Int32
from tests import local_task
from tests.client_sdk.training.taking_part import (
    OTHERS,
    OWNER,
    PRICE,
    committed_by_others,
    has_committed,
    holds,
    reserved_by_all,
    spent,
    stored,
    the_moment,
    together,
)
from tests.local_task import CountingTrainer, World, identities


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = local_task.opened(tmp_path)
    world.open_round()
    return world


# One contribution -------------------------------------------------------------------------------


def test_a_contribution_is_reserved_trained_committed_and_served(world: World) -> None:
    trainer = world.trainer(HOSPITAL_A)
    made = together(world, trainer)
    record = seat_of(world.chain, HOSPITAL_A).commitment
    assert record is not None
    assert (made.cid, made.height, made.bytes) == (record.cid, record.place.height, record.size)
    assert made.charged == made.spent == privacy_budget.epsilon_of(PRICE, consortium.PROMISE)
    assert record.code == trainer.code
    assert trainer.trained == 1
    assert payload_cid(stored(world, made)) == Cid.parse(record.cid)
    assert world.participant(HOSPITAL_A).journal.rounds(TASK, DATASET) == []


def test_a_second_round_costs_more_in_all_and_the_same_by_itself(world: World) -> None:
    together(world, world.trainer(HOSPITAL_A))
    world.node.let_pass(PHASE_MS)
    consortium.let_pass(world.chain)
    world.chain.submit(AUDITOR, AdvanceRound(TASK, 1))  # Nobody attested: void, and paid for.
    again = asyncio.run(world.contribute(world.open_round()))[0]
    assert again.charged < again.spent < 2 * again.charged


def test_every_recipient_of_the_terms_and_nobody_else_can_read_the_payload(world: World) -> None:
    made = together(world, world.trainer(HOSPITAL_A))
    ciphertext = stored(world, made)
    record = seat_of(world.chain, HOSPITAL_A).commitment
    assert record is not None
    readers = set()
    for name, secret in identities().items():
        try:
            plaintext = confidential.decrypt(ciphertext, secret, max_bytes=10_000)
        except confidential.NotARecipient:
            continue
        readers.add(name)
        assert crypto.sha256(plaintext) == record.digest
    assert readers == set(world.task.terms.recipients)


def test_a_recipient_that_breaks_its_key_blocks_nobody_and_reads_nothing(world: World) -> None:
    """All zeros: the library panics when it encrypts to it."""
    zero = "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq5cu47z"
    member = identity.ORGANISATIONS.at(world.chain.view, LAB.name)
    world.chain.given(identity.ORGANISATIONS.put(LAB.name, replace(member, recipient=zero)))
    made = together(world, world.trainer(HOSPITAL_A))
    with pytest.raises(confidential.NotARecipient):
        confidential.decrypt(stored(world, made), identities()[LAB.name], max_bytes=10_000)
    assert confidential.decrypt(stored(world, made), identities()[HOSPITAL_B.name], max_bytes=10_000)


def plaintext_of(world: World, made: Contribution) -> bytes:
    return confidential.decrypt(stored(world, made), identities()[LAB.name], max_bytes=10_000)


def update_of(world: World, made: Contribution) -> Int32:
    terms, layout = world.task.terms, world.task.inputs.layout
    expected = artefacts.update_expectation(terms, 1, terms.initial.digest, layout, Owner(*OWNER))
    return decode_payload(plaintext_of(world, made), expected).units()


def test_a_payload_says_whose_it_is_and_has_the_one_length_of_its_task(world: World) -> None:
    made, *others = asyncio.run(world.contribute(1))
    update_of(world, made)
    sizes = {len(plaintext_of(world, one)) for one in (made, *others)}
    assert sizes == {artefacts.update_size(world.task.terms, world.task.inputs.layout)}


def test_equal_updates_have_digests_that_say_nothing_of_it(world: World) -> None:
    def nothing(units: Int32) -> Int32:
        return np.zeros_like(units)

    world.run(*(world.contribution(hospital, tamper=nothing) for hospital in HOSPITALS))
    made = [seat_of(world.chain, hospital).commitment for hospital in HOSPITALS]
    assert len({one.digest for one in made if one is not None}) == len(HOSPITALS)


def test_a_tampered_update_is_what_is_served(world: World) -> None:
    mine = world.contribution(HOSPITAL_A, tamper=lambda units: np.full_like(units, 77))
    made = world.run(mine, *map(world.contribution, OTHERS))[0]
    assert (update_of(world, made) == 77).all()


def test_two_trainings_on_the_same_records_differ_because_the_noise_is_real(world: World) -> None:
    trainer = world.trainer(HOSPITAL_A)
    base = np.zeros(world.task.inputs.layout.size, np.int32)
    one, other = (trainer.update(world.task.terms, base).units for _ in range(2))
    assert (one != other).any()


# Before the barrier -----------------------------------------------------------------------------


def test_nothing_is_trained_before_enough_have_reserved_and_nobody_can_withdraw(world: World) -> None:
    trainer = world.trainer(HOSPITAL_A)
    ends = round_of(world.chain).until - 1_500
    reached: Callable[[], bool] = lambda: world.chain.time_ms >= ends  # noqa: E731 - the moment, by name.
    the_moment(world, reached, world.participant(HOSPITAL_A).contribute(1, trainer))
    assert (trainer.trained, holds(world)) == (0, 1)


def test_nothing_is_in_the_store_before_the_barrier_and_everything_is_after_it(world: World) -> None:
    reserved_by_all(world)
    two = (HOSPITAL_A, HOSPITAL_B)
    the_moment(
        world,
        lambda: all(has_committed(world, member) for member in two),
        *(world.contribution(member) for member in two),
    )
    world.node.let_pass(1_000)
    records = [seat_of(world.chain, member).commitment for member in two]
    for record in records:
        assert record is not None
        with pytest.raises(PayloadNotFound):
            asyncio.run(world.store.get(Cid.parse(record.cid), record.size))
    made = asyncio.run(world.contribute(1))
    assert [one.cid for one in made[:2]] == [record.cid for record in records if record is not None]
    assert all(stored(world, one) for one in made)


def test_a_node_that_only_claims_the_barrier_gets_no_payload_served(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others could still commit, so nobody may read."""
    reserved_by_all(world)
    taking_part = world.participant(HOSPITAL_A)
    peek, looks = taking_part.client.peek, []

    async def lying(state: Any, key: Any = ()) -> Any:
        found = await peek(state, key)
        if isinstance(found, Round):
            looks.append(found)
            return replace(found, phase=Phase.ATTESTING, charged=Charged.ALL, committed=found.reserved)
        return found

    monkeypatch.setattr(taking_part.client, "peek", lying)
    after = world.chain.time_ms + 3_000
    the_moment(
        world,
        lambda: has_committed(world) and world.chain.time_ms >= after,
        taking_part.contribute(1, world.trainer(HOSPITAL_A)),
    )
    kept = taking_part.journal.find(TASK, 1, DATASET)
    assert looks
    assert kept is not None
    assert not asyncio.run(world.store.has(payload_cid(kept.payload)))


def test_a_node_that_swallows_the_commitment_gets_no_payload_served(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger proves that nothing was committed, so nothing may leave."""
    reserved_by_all(world)
    taking_part = world.participant(HOSPITAL_A)
    sent: list[object] = []

    async def claimed(signed: object) -> AcceptedTx:
        sent.append(signed)
        return AcceptedTx(bytes(32), world.chain.height, ())

    monkeypatch.setattr(taking_part.client, "send", claimed)
    with pytest.raises(RoundCameToNothing) as caught:
        world.run(taking_part.contribute(1, world.trainer(HOSPITAL_A)))
    assert caught.value.charged
    assert sent
    assert taking_part.journal.rounds(TASK, DATASET) == []


def test_an_update_that_its_receivers_would_refuse_is_not_committed_to(world: World) -> None:
    class TooFar(CountingTrainer):
        def update(self, terms: Terms, base: Int32) -> LocalUpdate:
            update = super().update(terms, base)
            return replace(update, units=np.full_like(update.units, artefacts.max_norm_units(terms)))

    reserved_by_all(world)
    trainer = TooFar(None, None, local_task.records(0), world.task.inputs)
    with pytest.raises(UpdateUnfit, match="over_norm") as caught:
        world.run(world.participant(HOSPITAL_A).contribute(1, trainer))
    assert caught.value.field == "norm"
    assert not has_committed(world)
    with pytest.raises(TrainingInterrupted):
        world.run(world.participant(HOSPITAL_A).contribute(1, trainer))
    assert trainer.trained == 1


def test_a_payload_larger_than_the_terms_allow_is_not_committed_to(world: World) -> None:
    reserved_by_all(world)
    update = replace(
        world.task.terms.update, max_bytes=artefacts.update_size(world.task.terms, world.task.inputs.layout)
    )
    taking_part = world.participant(HOSPITAL_A)
    taking_part.task = replace(world.task, terms=replace(world.task.terms, update=update))
    with pytest.raises(UpdateUnfit) as caught:
        world.run(taking_part.contribute(1, world.trainer(HOSPITAL_A)))
    assert caught.value.field == "size"
    assert not has_committed(world)


def test_commitments_leave_at_the_instant_of_the_terms_and_the_phase_is_begun_for_it(world: World) -> None:
    """Three reserve of four that were invited: only time ends the phase, and a participant writes that down."""
    terms = replace(
        world.task.terms, phases=replace(world.task.terms.phases, commits=CommitTiming.AT_INSTANT, commit_ms=60_000)
    )
    world.chain.given(
        tasks.TERMS.put(TASK, terms), rounds.ROUNDS.put((TASK, 1), replace(round_of(world.chain), needed=3))
    )
    world.task = replace(world.task, terms=terms)
    asyncio.run(world.contribute(1, HOSPITALS[:3]))
    began = next(step.time_ms for step in world.chain.steps if _has(step, AdvanceRound))  # type: ignore[union-attr]
    made = [step.time_ms for step in world.chain.steps if _has(step, Commit)]  # type: ignore[union-attr]
    instant = commit_at(terms, replace(round_of(world.chain), began_at=began))
    assert instant == began + 30_000
    assert all(instant <= when <= instant + 3_000 for when in made)


def _has(step: Any, kind: type[Any]) -> bool:
    return any(parse(raw).tag == kind.tag for raw in getattr(step, "txs", ()))


# Rounds that come to nothing --------------------------------------------------------------------


def test_too_few_reservations_cost_nothing_and_train_nobody(world: World) -> None:
    trainers = {member: world.trainer(member) for member in HOSPITALS[:3]}
    jobs = [world.participant(member).contribute(1, trainer) for member, trainer in trainers.items()]
    with pytest.raises(RoundCameToNothing, match="3 have reserved, 4 were needed; nothing was charged"):
        world.run(*jobs)
    assert [trainer.trained for trainer in trainers.values()] == [0, 0, 0]
    assert (spent(world), holds(world)) == (NOTHING, 0)


def test_below_the_barrier_who_committed_pays_nothing_and_its_payload_and_salt_are_destroyed(world: World) -> None:
    reserved_by_all(world)
    with pytest.raises(RoundCameToNothing, match="1 have committed, 4 were needed; nothing was charged") as caught:
        world.run(world.contribution(HOSPITAL_A))
    assert not caught.value.charged
    assert spent(world) == NOTHING
    assert spent(world, HOSPITAL_B) == PRICE, "it stayed away after training had started"
    left = [path for path in (world.folder / HOSPITAL_A.name).rglob("*") if path.is_file()]
    assert left == []
    record = seat_of(world.chain, HOSPITAL_A).commitment
    assert record is not None
    assert not asyncio.run(world.store.has(Cid.parse(record.cid)))


def test_a_round_whose_base_fell_is_void_and_free_before_the_barrier(world: World) -> None:
    reserved_by_all(world)
    the_moment(world, lambda: has_committed(world), world.contribution(HOSPITAL_A))
    fallen = replace(round_of(world.chain), phase=Phase.VOID, charged=Charged.NOBODY)
    world.chain.given(rounds.ROUNDS.put((TASK, 1), fallen))
    trainer = world.trainer(HOSPITAL_A)
    with pytest.raises(RoundCameToNothing, match="nothing was charged"):
        world.run(world.participant(HOSPITAL_A).contribute(1, trainer))
    assert trainer.trained == 0
    assert world.participant(HOSPITAL_A).journal.rounds(TASK, DATASET) == []


def test_who_comes_too_late_to_commit_is_told_what_it_paid(world: World) -> None:
    consortium.succeed(world.chain, (LAB, consortium.register_dataset()))
    reserved_by_all(world)
    fifth = replace(round_of(world.chain), needed=3)
    world.chain.given(rounds.ROUNDS.put((TASK, 1), fifth))
    committed_by_others(world)
    let_pass(world.chain)
    world.chain.block()
    trainer = world.trainer(HOSPITAL_A)
    with pytest.raises(CommitMissed):
        world.run(world.participant(HOSPITAL_A).contribute(1, trainer))
    assert trainer.trained == 0
    assert spent(world) == PRICE


def test_a_round_that_is_void_after_its_barrier_is_paid_for_and_its_payload_served(world: World) -> None:
    trainer = world.trainer(HOSPITAL_A)
    reserved_by_all(world)
    the_moment(world, lambda: has_committed(world), world.participant(HOSPITAL_A).contribute(1, trainer))
    committed_by_others(world)
    consortium.pass_phase(world.chain)  # Nobody attested.
    assert round_of(world.chain).phase is Phase.VOID
    made = world.run(world.participant(HOSPITAL_A).contribute(1, trainer))[0]
    assert made.spent == made.charged > 0
    assert stored(world, made)


# Withdrawing ------------------------------------------------------------------------------------


def test_a_seat_is_given_back_for_nothing_until_training_starts(world: World) -> None:
    taking_part = world.participant(HOSPITAL_A)
    asyncio.run(taking_part.reserve(1))
    assert holds(world) == 1
    asyncio.run(taking_part.withdraw(1))
    assert (holds(world), spent(world)) == (0, NOTHING)
    with pytest.raises(NotReserved):
        asyncio.run(taking_part.withdraw(1))


def test_a_seat_is_not_given_back_once_training_may_start(world: World) -> None:
    reserved_by_all(world)
    with pytest.raises(WrongPhase):
        asyncio.run(world.participant(HOSPITAL_A).withdraw(1))
    assert holds(world) == 1
