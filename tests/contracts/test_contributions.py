"""Contributions: reserve → commit, in this order and no other; one organisation, one seat."""

from dataclasses import replace

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import Chain
from campaigns.harness.consortium import (
    DATASET,
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITAL_C,
    HOSPITAL_D,
    HOSPITALS,
    LAB,
    MECHANISM,
    TASK,
    TERMS,
    cid,
    commit,
    digest,
    join,
    register_dataset,
    reserve,
    round_of,
    seat_of,
)
from contracts import rounds
from contracts.contributions import (
    SEATS,
    AlreadyCommitted,
    AlreadyReserved,
    Commit,
    Commitment,
    Committed,
    NoiseSource,
    NotPrivate,
    NotReserved,
    PayloadTooLarge,
    Reserved,
    Seat,
    Withdraw,
    Withdrawn,
    WrongBase,
    WrongMechanism,
)
from contracts.identity import AddKey, RevokeKey
from contracts.kernel import Place, bitmap
from contracts.kernel.types import Purpose
from contracts.privacy_budget import NOTHING, dataset_account
from contracts.reputation import WEIGHT_ONE
from contracts.rounds import PhaseOver, UnknownRound, WrongPhase
from contracts.tasks import UnknownTask
from contracts.terms import MechanismKind, Phase
from contracts.thefts import ReportStolenKey
from tests.vectors_io import VectorWriter

# --- the ordinary course ---


@pytest.mark.vectors
def test_a_workload_key_reserves_its_organisation_s_seat(vector: VectorWriter) -> None:
    """A seat names the dataset that pays, and the weight that its update will have."""
    chain = consortium.round_open()
    events = vector.accepted(chain, HOSPITAL_B, reserve())
    assert Reserved(TASK, 1, "hospital-b", DATASET, 1) in events
    assert seat_of(chain, HOSPITAL_B) == Seat(1, DATASET, WEIGHT_ONE, None)
    assert bitmap.numbers(round_of(chain).reserved) == (1,)


@pytest.mark.vectors
def test_a_commitment_fixes_payload_signer_and_height(vector: VectorWriter) -> None:
    """What is served later must be what was committed: CID, digest and size are on the ledger first."""
    chain = consortium.reserved()
    events = vector.accepted(chain, HOSPITAL_A, commit())
    assert Committed(TASK, 1, "hospital-a", cid("payload 1")) in events
    assert seat_of(chain, HOSPITAL_A).commitment == Commitment(
        signer=HOSPITAL_A.worker.public,
        place=Place(chain.height, 0),
        cid=cid("payload 1"),
        digest=digest("payload 1"),
        size=1_000,
        code=digest("training code"),
    )


def test_reservation_and_commitment_may_be_signed_by_different_keys_of_one_organisation() -> None:
    chain = consortium.reserved()
    second = HOSPITAL_A.key(Purpose.WORKLOAD, 1)
    chain.submit(HOSPITAL_A, AddKey(second.enrolment()))
    chain.submit(HOSPITAL_A, RevokeKey(HOSPITAL_A.worker.public))
    chain.submit(second, commit())
    assert seat_of(chain, HOSPITAL_A).commitment.signer == second.public  # type: ignore[union-attr]


@pytest.mark.vectors
def test_a_seat_is_given_back_before_training_starts(vector: VectorWriter) -> None:
    """Until the round is known to take place, a seat costs nothing."""
    chain = consortium.round_open()
    chain.submit(HOSPITAL_A, reserve())
    assert vector.accepted(chain, HOSPITAL_A, Withdraw(TASK, 1)) == (Withdrawn(TASK, 1, "hospital-a"),)
    assert SEATS.get(chain.view, (TASK, 1, "hospital-a")) is None
    assert round_of(chain).reserved == bitmap.NOTHING
    assert not dataset_account(chain.view, "hospital-a", DATASET, chain.next_block()).holds


def test_a_seat_that_was_given_back_may_be_taken_again() -> None:
    chain = consortium.round_open()
    for message in (reserve(), Withdraw(TASK, 1), reserve()):
        chain.submit(HOSPITAL_A, message)
    assert bitmap.numbers(round_of(chain).reserved) == (0,)


def test_nobody_withdraws_once_training_may_have_started() -> None:
    chain = consortium.reserved()
    chain.refused(WrongPhase, HOSPITAL_A, Withdraw(TASK, 1))
    lazily = consortium.five_joined()
    lazily.submit(LAB, rounds.OpenRound(TASK))
    consortium.succeed(lazily, *((hospital, reserve()) for hospital in HOSPITALS))
    consortium.let_pass(lazily)
    lazily.refused(PhaseOver, HOSPITAL_A, Withdraw(TASK, 1))


# --- one organisation, one voice ---


def two_datasets() -> Chain:
    """Hospital A has joined with two datasets; round 1 is open."""
    chain = consortium.joined()
    chain.submit(HOSPITAL_A, register_dataset("second"))
    chain.submit(HOSPITAL_A, join("second"))
    chain.submit(LAB, rounds.OpenRound(TASK))
    return chain


@pytest.mark.vectors
def test_a_second_seat_by_a_second_dataset(vector: VectorWriter) -> None:
    """An organisation has one seat, one row and one verdict in a round, however many datasets it registers."""
    chain = two_datasets()
    chain.submit(HOSPITAL_A, reserve())
    facts = vector.refused(chain, AlreadyReserved, HOSPITAL_A, reserve(dataset="second"))
    assert facts == {"organisation": "hospital-a"}
    assert bitmap.count(round_of(chain).reserved) == 1


def test_a_reservation_names_the_one_dataset_that_pays() -> None:
    chain = two_datasets()
    chain.submit(HOSPITAL_A, reserve(dataset="second"))
    now = chain.next_block()
    assert dataset_account(chain.view, "hospital-a", "second", now).holds
    assert not dataset_account(chain.view, "hospital-a", DATASET, now).holds


def test_many_datasets_are_one_invitation() -> None:
    assert bitmap.count(round_of(two_datasets()).invited) == len(HOSPITALS)


# --- out of order ---


@pytest.mark.vectors
def test_a_second_reservation_in_one_round(vector: VectorWriter) -> None:
    """One reservation for an organisation and round, so one training and one debit."""
    chain = consortium.round_open()
    chain.submit(HOSPITAL_A, reserve())
    assert vector.refused(chain, AlreadyReserved, HOSPITAL_A, reserve()) == {"organisation": "hospital-a"}


@pytest.mark.vectors
def test_a_commitment_without_a_seat(vector: VectorWriter) -> None:
    """Budget is held before training: what was trained without a hold is not accepted."""
    chain = consortium.reserved()
    assert vector.refused(chain, NotReserved, LAB, commit()) == {"organisation": "lab"}
    assert dataset_account(chain.view, "lab", DATASET, chain.next_block()).spent == NOTHING


@pytest.mark.vectors
def test_a_second_commitment_under_one_reservation(vector: VectorWriter) -> None:
    """The first commitment stands: nobody trains twice under one reservation and picks."""
    chain = consortium.reserved()
    chain.submit(HOSPITAL_A, commit())
    other = commit(cid=cid("another payload"), digest=digest("another payload"))
    assert vector.refused(chain, AlreadyCommitted, HOSPITAL_A, other) == {"organisation": "hospital-a"}


def test_nobody_gives_back_a_seat_it_does_not_have() -> None:
    consortium.round_open().refused(NotReserved, HOSPITAL_A, Withdraw(TASK, 1))


# --- not as agreed ---


@pytest.mark.vectors
def test_a_mechanism_with_less_noise_than_agreed(vector: VectorWriter) -> None:
    """The price was computed for the mechanism of the terms: another one is not covered by it."""
    quieter = replace(MECHANISM, noise_milli=MECHANISM.noise_milli - 1)
    vector.refused(consortium.reserved(), WrongMechanism, HOSPITAL_A, commit(mechanism=quieter))


@pytest.mark.parametrize(
    "changes",
    [
        {"clip_milli": 2_000},
        {"steps": 2},
        {"normaliser": 50},
        {"kind": MechanismKind.POISSON_GAUSSIAN},
        {"noise_milli": 9_000},
    ],
)
def test_every_constant_of_the_mechanism_is_agreed(changes: dict[str, int]) -> None:
    consortium.reserved().refused(WrongMechanism, HOSPITAL_A, commit(mechanism=replace(MECHANISM, **changes)))


@pytest.mark.vectors
def test_an_update_of_another_version(vector: VectorWriter) -> None:
    """An update is a difference to the round's base version and means nothing on another."""
    facts = vector.refused(consortium.reserved(), WrongBase, HOSPITAL_A, commit(base=1))
    assert facts == {"base": 1, "wanted": 0}


@pytest.mark.vectors
def test_noise_that_can_be_reproduced(vector: VectorWriter) -> None:
    """Noise from a seed can be subtracted again: a contribution that admits to it is not private."""
    facts = vector.refused(consortium.reserved(), NotPrivate, HOSPITAL_A, commit(noise=NoiseSource.REPRODUCIBLE))
    assert facts == {"noise": "reproducible"}


@pytest.mark.vectors
def test_a_payload_larger_than_agreed(vector: VectorWriter) -> None:
    """The terms bound what every verifier has to fetch."""
    most = TERMS.update.max_bytes
    facts = vector.refused(consortium.reserved(), PayloadTooLarge, HOSPITAL_A, commit(size=most + 1))
    assert facts == {"size": most + 1, "limit": most}


def test_the_largest_payload_that_was_agreed_is_accepted() -> None:
    consortium.reserved().submit(HOSPITAL_A, commit(size=TERMS.update.max_bytes))


# --- somebody else's seat ---


def test_a_seat_is_always_one_s_own() -> None:
    """A message never names an organisation: the signing key says whose seat it is."""
    chain = consortium.round_open()
    chain.submit(HOSPITAL_A, reserve())
    chain.submit(HOSPITAL_B, reserve())
    assert bitmap.numbers(round_of(chain).reserved) == (0, 1)
    assert "organisation" not in Commit.__dataclass_fields__


def test_steps_in_rounds_and_tasks_that_are_not_there_are_refused_by_name() -> None:
    chain = consortium.round_open()
    for message in (reserve(2), commit(2), Withdraw(TASK, 2)):
        chain.refused(UnknownRound, HOSPITAL_A, message)
        chain.refused(UnknownTask, HOSPITAL_A, replace(message, task="another"))


def test_seats_of_other_participants_are_left_as_they_are() -> None:
    chain = consortium.reserved()
    before = seat_of(chain, HOSPITAL_C)
    chain.submit(HOSPITAL_D, commit())
    assert seat_of(chain, HOSPITAL_C) == before
    assert bitmap.numbers(round_of(chain).committed) == (3,)


def test_the_last_commitment_reaches_the_barrier() -> None:
    chain = consortium.reserved()
    consortium.succeed(chain, *((hospital, commit()) for hospital in HOSPITALS[:3]))
    assert round_of(chain).phase is Phase.COMMITTING
    assert dataset_account(chain.view, "hospital-a", DATASET, chain.next_block()).spent == NOTHING
    chain.submit(HOSPITAL_D, commit())
    assert round_of(chain).phase is Phase.ATTESTING
    assert dataset_account(chain.view, "hospital-a", DATASET, chain.next_block()).spent != NOTHING


def test_who_reports_a_theft_while_others_train_commits_anew() -> None:
    chain = consortium.reserved()
    good = HOSPITAL_D.key(Purpose.WORKLOAD, 5)
    consortium.succeed(chain, (HOSPITAL_D, AddKey(good.enrolment())), (HOSPITAL_D, commit(cid=cid("a thief's"))))
    chain.submit(HOSPITAL_D, ReportStolenKey(HOSPITAL_D.worker.public, Place(chain.height, 0)))
    assert chain.block((good, commit()))[0].code == 0
    made = seat_of(chain, HOSPITAL_D).commitment
    assert made is not None
    assert (made.signer, made.cid) == (good.public, commit().cid)
    assert chain.block((good, commit()))[0].code == AlreadyCommitted.code
