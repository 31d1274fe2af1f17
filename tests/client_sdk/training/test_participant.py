"""A participant killed anywhere goes on where it was: nothing is trained twice, spent twice or published unaccepted."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from campaigns.harness import consortium
from campaigns.harness.consortium import DATASET, HOSPITAL_A, HOSPITAL_B, HOSPITALS, LAB, PHASE_MS, TASK
from client_sdk.light import CannotVerify, TrustExpired
from client_sdk.payloads import confidential
from client_sdk.payloads.cid import Cid
from client_sdk.payloads.errors import PayloadNotFound
from client_sdk.payloads.store import payload_cid
from client_sdk.rpc import AnswerMalformed, NodeUnavailable
from client_sdk.training import artefacts, participant
from client_sdk.training.participant import Participant, PayloadLost
from contracts import contributions, privacy_budget, rounds
from contracts.contributions import COMMITMENTS, NotPrivate
from contracts.identity import AddKey, KeyIsRevoked, RevokeKey
from contracts.kernel import crypto
from contracts.kernel.types import Purpose
from contracts.privacy_budget import NOTHING, Account, BudgetExceeded
from contracts.rounds import DeadlinePassed, NotSelected, Progress, RoundStatus, UnknownRound
from contracts.terms import price_of
from contracts.transition import parse
from learning.entropy import ReproducibleEntropy
from learning.payload import Expectation, decode_payload, encoded_size
from learning.tensors import Int32
from tests import local_task
from tests.local_task import SCALE_BITS, CountingTrainer, World, identities

KEY = (TASK, 1, HOSPITAL_A.name, DATASET)
OWNER = (HOSPITAL_A.name, DATASET)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = local_task.opened(tmp_path)
    world.open_round()
    return world


def progress(world: World) -> Progress:
    current = rounds.ROUNDS.at(world.chain.view, (TASK, 1))
    return rounds.require_seat(current, HOSPITAL_A.name, DATASET).progress


def spent(world: World) -> tuple[int, ...]:
    return privacy_budget.dataset_account(world.chain.view, *OWNER).spent


def contribute(world: World, trainer: CountingTrainer, **options: Any) -> participant.Contribution:
    return asyncio.run(world.participant(HOSPITAL_A).contribute(1, trainer, **options))


# One contribution -------------------------------------------------------------------------------


def test_a_contribution_is_reserved_trained_committed_and_published(world: World) -> None:
    trainer = world.trainer(HOSPITAL_A)
    made = contribute(world, trainer)
    record = COMMITMENTS.at(world.chain.view, KEY)
    assert (made.cid, made.height, made.bytes) == (record.cid, record.height, record.size)
    assert made.charged == made.spent == privacy_budget.epsilon_of(price_of(consortium.MECHANISM), consortium.PROMISE)
    assert record.code == trainer.code
    assert progress(world) is Progress.PUBLISHED
    assert trainer.trained == 1


def test_a_second_round_costs_more_in_all_and_the_same_by_itself(world: World) -> None:
    contribute(world, world.trainer(HOSPITAL_A))
    asyncio.run(world.contribute(1, HOSPITALS[1:]))
    consortium.close(world.chain, 1)
    world.node.let_pass(3 * PHASE_MS)
    number = world.open_round()
    again = asyncio.run(world.participant(HOSPITAL_A).contribute(number, world.trainer(HOSPITAL_A)))
    assert again.charged < again.spent < 2 * again.charged


def test_every_recipient_of_the_terms_and_nobody_else_can_read_the_payload(world: World) -> None:
    made = contribute(world, world.trainer(HOSPITAL_A))
    ciphertext = asyncio.run(world.store.get(Cid.parse(made.cid), made.bytes))
    readers = set()
    for name, identity in identities().items():
        try:
            plaintext = confidential.decrypt(ciphertext, identity, max_bytes=10_000)
        except confidential.NotARecipient:
            continue
        readers.add(name)
        assert crypto.sha256(plaintext) == COMMITMENTS.at(world.chain.view, KEY).digest
    assert readers == set(world.task.terms.recipients)


def update_of(world: World) -> Int32:
    record = COMMITMENTS.at(world.chain.view, KEY)
    ciphertext = asyncio.run(world.store.get(Cid.parse(record.cid), record.size))
    manifest = artefacts.update_manifest(TASK, 1, world.task.terms.initial.digest, SCALE_BITS)
    layout = world.task.inputs.layout
    size = encoded_size(manifest, layout)
    plaintext = confidential.decrypt(ciphertext, identities()[LAB.name], max_bytes=size)
    return decode_payload(plaintext, Expectation(manifest, layout, size, None)).units()


def test_a_tampered_update_is_what_is_published(world: World) -> None:
    contribute(world, world.trainer(HOSPITAL_A), tamper=lambda units: np.full_like(units, 77))
    assert (update_of(world) == 77).all()


def test_two_trainings_on_the_same_records_differ_because_the_noise_is_real(world: World) -> None:
    trainer = world.trainer(HOSPITAL_A)
    base = np.zeros(world.task.inputs.layout.size, np.int32)
    one, other = (trainer.update(world.task.terms, base).units for _ in range(2))
    assert (one != other).any()


# Killed -----------------------------------------------------------------------------------------


class Killed(BaseException):
    """What SIGKILL is to a coroutine: nothing catches it."""


Step = Callable[[Participant, pytest.MonkeyPatch], None]


def after(owner: str, method: str, *, of: str = "") -> Step:
    """Die right after a call has had its effect; ``of`` narrows it to transactions with this tag."""

    def arm(victim: Participant, patch: pytest.MonkeyPatch) -> None:
        target = victim
        for part in owner.split("."):
            target = getattr(target, part)
        original = getattr(target, method)

        def due(*arguments: Any) -> bool:
            return not of or parse(arguments[0]).tag == of

        async def dying(*arguments: Any) -> Any:
            result: Any = original(*arguments)
            if isinstance(result, Awaitable):
                result = await result
            if due(*arguments):
                raise Killed
            return result

        def dying_at_once(*arguments: Any) -> None:
            original(*arguments)
            raise Killed

        patch.setattr(target, method, dying_at_once if owner == "journal" else dying)

    return arm


DEATHS: dict[str, tuple[Step, Progress, int]] = {
    # How it dies; what the seat says then; how often this life has trained.
    "after the reservation is in a block": (
        after("client.rpc", "broadcast_tx_sync", of="contributions/reserve"),
        Progress.RESERVED,
        0,
    ),
    "after journalling": (after("journal", "keep"), Progress.RESERVED, 1),
    "after the commitment is in a block": (
        after("client.rpc", "broadcast_tx_sync", of="contributions/commit"),
        Progress.COMMITTED,
        1,
    ),
    "after the payload is in the store": (after("store", "put"), Progress.COMMITTED, 1),
    "after the publication is in a block": (
        after("client.rpc", "broadcast_tx_sync", of="contributions/publish"),
        Progress.PUBLISHED,
        1,
    ),
    "before the journal forgets": (after("journal", "forget"), Progress.PUBLISHED, 1),
}


@pytest.mark.parametrize("death", DEATHS)
def test_a_participant_killed_at_any_step_goes_on_without_training_or_spending_twice(
    world: World, monkeypatch: pytest.MonkeyPatch, death: str
) -> None:
    arm, left_at, trained = DEATHS[death]
    trainer = world.trainer(HOSPITAL_A)
    victim = world.participant(HOSPITAL_A)
    with monkeypatch.context() as patch:
        arm(victim, patch)
        with pytest.raises(Killed):
            asyncio.run(victim.contribute(1, trainer))
    assert (progress(world), trainer.trained) == (left_at, trained)

    made = contribute(world, trainer)
    assert trainer.trained == 1
    assert spent(world) == price_of(consortium.MECHANISM)
    assert progress(world) is Progress.PUBLISHED
    assert len(asyncio.run(world.store.get(Cid.parse(made.cid), made.bytes))) == made.bytes
    commits = {raw for raw in world.node.sent if parse(raw).tag == "contributions/commit"}
    assert len(commits) == 1, "a restart sent another commitment than the journalled one"
    assert world.participant(HOSPITAL_A).journal.find(TASK, 1, DATASET) is None


def test_what_is_sent_is_what_was_journalled(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        victim = world.participant(HOSPITAL_A)
        after("journal", "keep")(victim, patch)
        with pytest.raises(Killed):
            asyncio.run(victim.contribute(1, world.trainer(HOSPITAL_A)))
    entry = world.participant(HOSPITAL_A).journal.find(TASK, 1, DATASET)
    assert entry is not None
    made = contribute(world, world.trainer(HOSPITAL_A))
    assert entry.envelope in world.node.sent
    assert made.cid == str(payload_cid(entry.payload))


def test_nothing_is_in_the_store_before_the_commitment_is_accepted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = world.participant(HOSPITAL_A)
    with monkeypatch.context() as patch:
        after("client.rpc", "broadcast_tx_sync", of="contributions/commit")(victim, patch)
        with pytest.raises(Killed):
            asyncio.run(victim.contribute(1, world.trainer(HOSPITAL_A)))
    record = COMMITMENTS.at(world.chain.view, KEY)
    with pytest.raises(PayloadNotFound):
        asyncio.run(world.store.get(Cid.parse(record.cid), record.size))


def test_a_node_that_only_claims_to_have_accepted_a_commitment_gets_no_payload_served(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody was charged for the update, so nobody may fetch it."""
    taking_part = world.participant(HOSPITAL_A)
    sent: list[object] = []

    async def claimed(signed: object) -> None:
        sent.append(signed)

    monkeypatch.setattr(taking_part.client, "send", claimed)
    with pytest.raises(contributions.NotCommitted):
        asyncio.run(swallowed_commitment(taking_part, world))
    kept = taking_part.journal.find(TASK, 1, DATASET)
    assert kept is not None
    assert len(sent) == 1
    assert not asyncio.run(taking_part.store.has(payload_cid(kept.payload)))


async def swallowed_commitment(taking_part: Participant, world: World) -> None:
    """Commit through a node that swallows it, then go on as if it had been accepted."""
    current = rounds.ROUNDS.at(world.chain.view, (TASK, 1))
    await taking_part.commit(1, current, world.trainer(HOSPITAL_A))
    await taking_part.publish(1)


def test_a_journalled_commitment_that_expired_unseen_is_signed_anew_over_the_same_payload(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = world.trainer(HOSPITAL_A)
    with monkeypatch.context() as patch:
        victim = world.participant(HOSPITAL_A)
        after("journal", "keep")(victim, patch)
        with pytest.raises(Killed):
            asyncio.run(victim.contribute(1, trainer))
    entry = world.participant(HOSPITAL_A).journal.find(TASK, 1, DATASET)
    assert entry is not None
    while world.chain.height <= entry.valid_until:
        world.node.let_pass(1)  # Blocks pass, time hardly does: the deadline lies ahead.
    made = contribute(world, trainer)
    assert made.cid == str(payload_cid(entry.payload))
    assert trainer.trained == 1
    assert spent(world) == price_of(consortium.MECHANISM)


def test_a_payload_journalled_under_a_key_that_was_replaced_is_committed_with_the_new_key(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, second = world.trainer(HOSPITAL_A), HOSPITAL_A.key(Purpose.WORKLOAD, 1)
    with monkeypatch.context() as patch:
        victim = world.participant(HOSPITAL_A)
        after("journal", "keep")(victim, patch)
        with pytest.raises(Killed):
            asyncio.run(victim.contribute(1, trainer))
    entry = world.participant(HOSPITAL_A).journal.find(TASK, 1, DATASET)
    assert entry is not None
    world.chain.submit(HOSPITAL_A, AddKey(second.enrolment()))
    world.chain.submit(HOSPITAL_A, RevokeKey(HOSPITAL_A.worker.public))
    heir = world.participant(HOSPITAL_A)
    heir.client = world.node.client(second)
    made = asyncio.run(heir.contribute(1, trainer))
    assert made.cid == str(payload_cid(entry.payload))
    assert COMMITMENTS.at(world.chain.view, KEY).signer == second.public
    assert trainer.trained == 1


def test_a_committed_payload_that_is_not_in_the_journal_is_reported_as_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        victim = world.participant(HOSPITAL_A)
        after("client.rpc", "broadcast_tx_sync", of="contributions/commit")(victim, patch)
        with pytest.raises(Killed):
            asyncio.run(victim.contribute(1, world.trainer(HOSPITAL_A)))
    world.participant(HOSPITAL_A).journal.forget(TASK, 1, DATASET)
    trainer = world.trainer(HOSPITAL_A)
    with pytest.raises(PayloadLost, match=DATASET):
        contribute(world, trainer)
    assert trainer.trained == 0


def test_a_second_life_of_a_whole_contribution_only_reads_it_back(world: World) -> None:
    first = contribute(world, world.trainer(HOSPITAL_A))
    trainer, sent = world.trainer(HOSPITAL_A), len(world.node.sent)
    assert contribute(world, trainer) == first
    assert (trainer.trained, len(world.node.sent)) == (0, sent)


# Refused ----------------------------------------------------------------------------------------


def test_an_exhausted_budget_is_refused_before_the_trainer_is_called(world: World) -> None:
    full = NOTHING
    for _ in range(3):
        full += price_of(consortium.MECHANISM)
    world.chain.given(privacy_budget.DATASET_ACCOUNTS.put(OWNER, Account(full, ())))
    trainer = world.trainer(HOSPITAL_A)
    with pytest.raises(BudgetExceeded) as caught:
        contribute(world, trainer)
    assert trainer.trained == 0
    assert caught.value.facts["spent"] < caught.value.facts["limit"] < caught.value.facts["wanted"]
    assert progress(world) is Progress.INVITED


def test_noise_that_can_be_reproduced_is_refused_by_the_ledger(world: World) -> None:
    with pytest.raises(NotPrivate):
        contribute(world, world.trainer(HOSPITAL_A, ReproducibleEntropy(1)))
    assert spent(world) == NOTHING


def test_a_revoked_key_is_refused_before_the_trainer_is_called(world: World) -> None:
    world.chain.submit(HOSPITAL_A, RevokeKey(HOSPITAL_A.worker.public))
    trainer = world.trainer(HOSPITAL_A)
    with pytest.raises(KeyIsRevoked):
        contribute(world, trainer)
    assert trainer.trained == 0


def test_a_commit_deadline_that_has_passed_is_refused_before_the_trainer_is_called(world: World) -> None:
    asyncio.run(world.participant(HOSPITAL_A).reserve(1))
    world.node.let_pass(2 * PHASE_MS)
    trainer = world.trainer(HOSPITAL_A)
    with pytest.raises(DeadlinePassed):
        contribute(world, trainer)
    assert trainer.trained == 0


def test_a_dataset_without_a_seat_and_a_round_that_is_not_there_are_refused_by_name(world: World) -> None:
    nobody = world.participant(HOSPITAL_A)
    nobody.dataset = "another"
    with pytest.raises(NotSelected):
        asyncio.run(nobody.contribute(1, world.trainer(HOSPITAL_A)))
    with pytest.raises(UnknownRound):
        asyncio.run(world.participant(HOSPITAL_A).contribute(2, world.trainer(HOSPITAL_A)))


def test_reserving_twice_holds_once(world: World) -> None:
    one = asyncio.run(world.participant(HOSPITAL_A).reserve(1))
    assert one is not None
    assert one.event(contributions.Reserved).dataset == DATASET
    assert asyncio.run(world.participant(HOSPITAL_A).reserve(1)) is None
    assert len(privacy_budget.dataset_account(world.chain.view, *OWNER).holds) == 1


# Rounds -----------------------------------------------------------------------------------------


class LookedEnough(Exception):
    """A participant has looked at the ledger as often as it was let."""


def offered(world: World, taking_part: Participant, looks: int = 5) -> list[int]:
    """The rounds that a participant is offered in so many looks at its task, without taking part."""
    left = iter(range(looks))
    peek = taking_part.client.peek

    async def counted(state: Any, key: Any = ()) -> Any:
        if state is rounds.TASKS and next(left, None) is None:
            raise LookedEnough
        found = await peek(state, key)
        if state is rounds.TASKS:
            world.node.let_pass(1)  # Every look is answered by another block, so there is a next one.
        return found

    async def listen() -> list[int]:
        found: list[int] = []
        with suppress(LookedEnough):
            async for number in taking_part.rounds():
                found.append(number)  # noqa: PERF401 - what was found before the end counts.
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(taking_part.client, "peek", counted)
        return asyncio.run(listen())


@pytest.mark.parametrize("left_at", [Progress.INVITED, Progress.RESERVED, Progress.COMMITTED, Progress.PUBLISHED])
def test_a_restart_is_offered_the_round_it_left_unless_that_is_done(world: World, left_at: Progress) -> None:
    steps = [consortium.reserve(), consortium.commit(), consortium.publish()]
    for step in steps[: list(Progress).index(left_at)]:
        world.chain.submit(HOSPITAL_A, step)
    assert offered(world, world.participant(HOSPITAL_A)) == ([] if left_at is Progress.PUBLISHED else [1])


def test_a_round_whose_deadline_has_passed_is_not_offered(world: World) -> None:
    world.chain.submit(HOSPITAL_B, consortium.reserve())
    world.node.let_pass(PHASE_MS)
    assert offered(world, world.participant(HOSPITAL_A)) == []
    assert offered(world, world.participant(HOSPITAL_B)) == [1]


def test_a_round_without_a_seat_for_the_dataset_is_not_offered(world: World) -> None:
    stranger = world.participant(HOSPITAL_A)
    stranger.dataset = "another"
    assert offered(world, stranger) == []


def test_a_node_that_makes_rounds_up_does_not_make_a_participant_deaf(world: World) -> None:
    """It says once that the last round of the task is over; the ledger proves that it is not."""
    taking_part = world.participant(HOSPITAL_A)
    peek, last = taking_part.client.peek, world.task.terms.max_rounds
    lies = iter([True])

    async def lying(state: Any, key: Any = ()) -> Any:
        found = await peek(state, key)
        if state is rounds.TASKS and next(lies, False):
            world.node.let_pass(1)
            return consortium.replace(found, rounds=last)
        if key == (TASK, last):
            return consortium.replace(rounds.ROUNDS.at(world.chain.view, (TASK, 1)), status=RoundStatus.DECIDED)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(taking_part.client, "peek", lying)
        assert offered(world, taking_part) == [1]


@pytest.mark.parametrize(
    "failure",
    [
        NodeUnavailable(["node"], ["restarting"]),
        AnswerMalformed("status", "nonsense"),
        CannotVerify("header 9", "behind"),
    ],
    ids=["unavailable", "malformed", "behind"],
)
def test_a_look_that_fails_is_made_again(world: World, failure: Exception) -> None:
    taking_part = world.participant(HOSPITAL_A)
    peek, failures = taking_part.client.peek, iter([failure])

    async def failing(state: Any, key: Any = ()) -> Any:
        if state is rounds.ROUNDS and (error := next(failures, None)) is not None:
            raise error
        return await peek(state, key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(taking_part.client, "peek", failing)
        assert offered(world, taking_part) == [1]


def test_an_expired_trust_ends_the_rounds(world: World) -> None:
    taking_part = world.participant(HOSPITAL_A)

    async def expired(_state: Any, _key: Any = ()) -> Any:
        raise TrustExpired("header 1", "it is old")

    async def listen() -> list[int]:
        return [number async for number in taking_part.rounds()]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(taking_part.client, "peek", expired)
        with pytest.raises(TrustExpired):
            asyncio.run(listen())


def test_the_rounds_end_with_the_task(world: World) -> None:
    task = rounds.TASKS.at(world.chain.view, TASK)
    last = world.task.terms.max_rounds
    over = consortium.replace(rounds.ROUNDS.at(world.chain.view, (TASK, 1)), status=RoundStatus.DECIDED)
    world.chain.given(
        rounds.TASKS.put(TASK, consortium.replace(task, rounds=last)), rounds.ROUNDS.put((TASK, last), over)
    )

    async def all_of_them() -> list[int]:
        return [number async for number in world.participant(HOSPITAL_A).rounds()]

    assert asyncio.run(all_of_them()) == []
