"""Contributions: reserve → commit → published, in this order and no other."""

from dataclasses import replace

import pytest

from campaigns.harness import consortium
from campaigns.harness.consortium import (
    DATASET,
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITAL_D,
    MECHANISM,
    TASK,
    TERMS,
    cid,
    commit,
    digest,
    publish,
    reserve,
    round_of,
)
from contracts.contributions import (
    COMMITMENTS,
    RESERVATIONS,
    AlreadyCommitted,
    AlreadyPublished,
    AlreadyReserved,
    Commit,
    Commitment,
    Committed,
    NoiseSource,
    NotCommitted,
    NotPrivate,
    NotReserved,
    PayloadTooLarge,
    Published,
    Reservation,
    Reserved,
    WrongBase,
    WrongMechanism,
)
from contracts.identity import AddKey, RevokeKey
from contracts.kernel.types import Purpose
from contracts.privacy_budget import NOTHING, dataset_account
from contracts.rounds import NotSelected, UnknownRound, UnknownTask
from contracts.terms import MechanismKind
from tests.vectors_io import VectorWriter

KEY = (TASK, 1, "hospital-a", DATASET)


# --- the ordinary course ---


@pytest.mark.vectors
def test_a_workload_key_reserves_its_seat(vector: VectorWriter) -> None:
    """A reservation is the right to train once; it names the key, the height and the deadline."""
    chain = consortium.round_open()
    until = round_of(chain).commit_by
    events = vector.accepted(chain, HOSPITAL_A, reserve())
    assert Reserved(TASK, 1, "hospital-a", DATASET, until) in events
    assert RESERVATIONS.at(chain.view, KEY) == Reservation(HOSPITAL_A.worker.public, chain.height, until)


@pytest.mark.vectors
def test_a_commitment_fixes_payload_signer_and_height(vector: VectorWriter) -> None:
    """What is served later must be what was committed: CID, digest and size are on the ledger first."""
    chain = consortium.reserved()
    events = vector.accepted(chain, HOSPITAL_A, commit())
    assert Committed(TASK, 1, "hospital-a", DATASET, cid("payload 1")) in events
    assert COMMITMENTS.at(chain.view, KEY) == Commitment(
        signer=HOSPITAL_A.worker.public,
        height=chain.height,
        cid=cid("payload 1"),
        digest=digest("payload 1"),
        size=1_000,
        code=digest("training code"),
    )


@pytest.mark.vectors
def test_a_committed_payload_is_published(vector: VectorWriter) -> None:
    """Publishing announces the CID that was committed; it cannot name another."""
    chain = consortium.committed()
    events = vector.accepted(chain, HOSPITAL_A, publish())
    assert events == (Published(TASK, 1, "hospital-a", DATASET, cid("payload 1")),)


def test_reservation_and_commitment_may_be_signed_by_different_keys_of_one_organisation() -> None:
    chain = consortium.reserved()
    second = HOSPITAL_A.key(Purpose.WORKLOAD, 1)
    chain.submit(HOSPITAL_A, AddKey(second.enrolment()))
    chain.submit(HOSPITAL_A, RevokeKey(HOSPITAL_A.worker.public))
    chain.submit(second, commit())
    assert COMMITMENTS.at(chain.view, KEY).signer == second.public


# --- out of order ---


@pytest.mark.vectors
def test_a_second_reservation_in_one_round(vector: VectorWriter) -> None:
    """One reservation for a dataset and round, so one training and one debit."""
    facts = vector.refused(consortium.reserved(), AlreadyReserved, HOSPITAL_A, reserve())
    assert facts == {"dataset": DATASET, "progress": "reserved"}


@pytest.mark.vectors
def test_a_commitment_without_a_reservation(vector: VectorWriter) -> None:
    """Budget is held before training: what was trained without a hold is not accepted."""
    chain = consortium.round_open()
    vector.refused(chain, NotReserved, HOSPITAL_A, commit())
    assert dataset_account(chain.view, "hospital-a", DATASET).spent == NOTHING


@pytest.mark.vectors
def test_a_second_commitment_under_one_reservation(vector: VectorWriter) -> None:
    """The first commitment stands: nobody trains twice under one reservation and picks."""
    other = commit(cid=cid("another payload"), digest=digest("another payload"))
    vector.refused(consortium.committed(), AlreadyCommitted, HOSPITAL_A, other)


@pytest.mark.vectors
def test_a_publication_without_a_commitment(vector: VectorWriter) -> None:
    """Only what was committed can be published."""
    vector.refused(consortium.reserved(), NotCommitted, HOSPITAL_A, publish())


@pytest.mark.vectors
def test_a_second_publication(vector: VectorWriter) -> None:
    """A payload is published once."""
    vector.refused(consortium.published(), AlreadyPublished, HOSPITAL_A, publish())


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


def test_a_dataset_is_always_one_s_own() -> None:
    """A message names a dataset, never an organisation: the signing key says whose it is."""
    chain = consortium.round_open()
    chain.submit(HOSPITAL_A, reserve())
    chain.submit(HOSPITAL_B, reserve())
    assert [seat.progress for seat in round_of(chain).seats][:2] == ["reserved", "reserved"]
    assert "organisation" not in Commit.__dataclass_fields__


def test_steps_in_rounds_and_tasks_that_are_not_there_are_refused_by_name() -> None:
    chain = consortium.round_open()
    for message in (reserve(2), commit(2), publish(2)):
        chain.refused(UnknownRound, HOSPITAL_A, message)
        chain.refused(UnknownTask, HOSPITAL_A, replace(message, task="another"))
        chain.refused(NotSelected, HOSPITAL_A, replace(message, round=1, dataset="another"))


def test_seats_of_other_participants_are_left_as_they_are() -> None:
    chain = consortium.reserved()
    chain.submit(HOSPITAL_D, commit())
    assert [seat.progress for seat in round_of(chain).seats] == ["reserved"] * 3 + ["committed"]
