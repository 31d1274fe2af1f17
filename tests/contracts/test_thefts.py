"""Thefts: what a report of a stolen key takes out, and what a thief cannot keep its owner from."""

import pytest

from campaigns.harness import consortium
from campaigns.harness.consortium import (
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITAL_D,
    HOSPITALS,
    LAB,
    NEWCOMER,
    TASK,
    TERMS,
    commit,
    round_of,
    succeed,
)
from campaigns.harness.recipients import recipient_of
from contracts import contributions, identity, recipients, rounds
from contracts.contributions import Disowned
from contracts.identity import (
    KEYS,
    AddKey,
    ChangeRecipient,
    EnrolmentCap,
    KeyIsRevoked,
    KeyRevoked,
    LastHumanKey,
    NotYourKey,
    RevocationMovesLater,
    RevokeKey,
    UnknownKey,
)
from contracts.kernel import Place, bitmap, limits
from contracts.kernel.types import Purpose
from contracts.recipients import SameRecipient
from contracts.rounds import Charged, OpenRound, RoundVoided, Void
from contracts.terms import Phase
from contracts.thefts import ReportedAlready, ReportStolenKey, SinceInFuture, TooFarBack
from tests.vectors_io import VectorWriter

SECOND_WORKER = HOSPITAL_A.key(Purpose.WORKLOAD, 1)
SECOND_HUMAN = HOSPITAL_A.key(Purpose.HUMAN, 1)


def test_a_thief_that_reports_the_key_it_stole_as_of_now_keeps_no_true_report_out() -> None:
    """The owner reports first the key that the thief had enrolled and reported with."""
    chain = consortium.joined()
    stolen, second = HOSPITAL_B.key(Purpose.HUMAN, 2), HOSPITAL_B.key(Purpose.HUMAN, 3)
    chain.submit(HOSPITAL_B, AddKey(stolen.enrolment()))
    theft = Place(chain.height + 1, 0)
    assert chain.block((stolen, AddKey(second.enrolment())))[0].code == 0
    chain.block()
    assert chain.block((second, ReportStolenKey(stolen.public, Place(chain.height + 1, 0))))[0].code == 0
    assert chain.block((HOSPITAL_B, ReportStolenKey(stolen.public, theft)))[0].code == ReportedAlready.code
    chain.submit(HOSPITAL_B, ReportStolenKey(second.public, theft))
    chain.submit(HOSPITAL_B, ReportStolenKey(stolen.public, theft))
    assert identity.KEYS.at(chain.view, stolen.public).revoked_from == theft


def test_keys_that_a_thief_enrolled_do_not_use_up_what_its_owner_may_enrol() -> None:
    chain = consortium.joined()
    stolen = HOSPITAL_B.key(Purpose.HUMAN, 2)
    chain.submit(HOSPITAL_B, AddKey(stolen.enrolment()))
    theft = Place(chain.height + 1, 0)
    codes = [
        chain.block((stolen, AddKey(HOSPITAL_B.key(Purpose.WORKLOAD, number).enrolment())))[0].code
        for number in range(20, 20 + limits.KEYS_PER_ORGANISATION)
    ]
    assert codes[-1] == EnrolmentCap.code
    chain.submit(HOSPITAL_B, ReportStolenKey(stolen.public, theft))
    chain.submit(HOSPITAL_B, AddKey(HOSPITAL_B.key(Purpose.WORKLOAD, 77).enrolment()))


def test_a_revoked_key_can_be_reported_stolen_as_of_an_earlier_place_and_no_other() -> None:
    chain = consortium.equipped()
    chain.submit(HOSPITAL_A, RevokeKey(HOSPITAL_A.worker.public))
    revoked = Place(chain.height, 0)
    chain.refused(RevocationMovesLater, HOSPITAL_A, ReportStolenKey(HOSPITAL_A.worker.public, revoked))
    chain.submit(HOSPITAL_A, ReportStolenKey(HOSPITAL_A.worker.public, Place(1, 0)))
    assert KEYS.at(chain.view, HOSPITAL_A.worker.public).revoked_from == Place(1, 0)


@pytest.mark.vectors
def test_a_human_key_reports_another_key_stolen(vector: VectorWriter) -> None:
    """The key counts for nothing from the place that is named, which may lie in the past."""
    chain = consortium.reserved()
    since = Place(chain.height, 0)
    events = vector.accepted(chain, HOSPITAL_A, ReportStolenKey(HOSPITAL_A.worker.public, since))
    assert events == (KeyRevoked(HOSPITAL_A.name, HOSPITAL_A.worker.public, since.height, 0),)
    chain.refused(KeyIsRevoked, HOSPITAL_A, consortium.commit())


def test_a_report_falls_on_the_keys_that_the_stolen_key_enrolled_since_and_theirs_and_on_no_others() -> None:
    chain = consortium.equipped()
    before, stolen = HOSPITAL_A.key(Purpose.WORKLOAD, 1), SECOND_HUMAN
    chain.submit(HOSPITAL_A, AddKey(stolen.enrolment()))
    chain.submit(stolen, AddKey(before.enrolment()))
    first, third = HOSPITAL_A.key(Purpose.HUMAN, 2), HOSPITAL_A.key(Purpose.WORKLOAD, 3)
    honest = HOSPITAL_A.key(Purpose.WORKLOAD, 4)
    consortium.succeed(
        chain, (stolen, AddKey(first.enrolment())), (first, AddKey(third.enrolment())),
        (HOSPITAL_A, AddKey(honest.enrolment())),
    )  # fmt: skip
    events = chain.submit(HOSPITAL_A, ReportStolenKey(stolen.public, Place(chain.height, 0)))
    assert [(event.public, event.height, event.index) for event in events if isinstance(event, KeyRevoked)] == [
        (stolen.public, chain.height - 1, 0), (first.public, chain.height - 1, 0), (third.public, chain.height - 1, 1)
    ]  # fmt: skip
    for key in (before, honest, HOSPITAL_A.human, HOSPITAL_A.worker):
        assert KEYS.at(chain.view, key.public).revoked_from is None


def test_a_report_as_of_the_next_place_spares_what_was_enrolled_before_it() -> None:
    chain = consortium.equipped()
    chain.submit(HOSPITAL_A, AddKey(SECOND_HUMAN.enrolment()))
    enrolled = AddKey(SECOND_WORKER.enrolment())
    chain.submit(SECOND_HUMAN, enrolled)
    later = chain.fork()
    later.submit(HOSPITAL_A, ReportStolenKey(SECOND_HUMAN.public, Place(chain.height, 1)))
    assert KEYS.at(later.view, SECOND_WORKER.public).revoked_from is None
    chain.submit(HOSPITAL_A, ReportStolenKey(SECOND_HUMAN.public, Place(chain.height, 0)))
    assert KEYS.at(chain.view, SECOND_WORKER.public).revoked_from == Place(chain.height - 1, 0)


def test_a_fallen_key_that_was_revoked_from_an_earlier_place_stays_so() -> None:
    chain = consortium.equipped()
    chain.submit(HOSPITAL_A, AddKey(SECOND_HUMAN.enrolment()))
    chain.submit(SECOND_HUMAN, AddKey(SECOND_WORKER.enrolment()))
    chain.submit(HOSPITAL_A, ReportStolenKey(SECOND_WORKER.public, Place(1, 0)))
    chain.submit(HOSPITAL_A, ReportStolenKey(SECOND_HUMAN.public, Place(1, 0)))
    assert KEYS.at(chain.view, SECOND_WORKER.public).revoked_from == Place(1, 0)


@pytest.mark.vectors
def test_a_key_is_reported_once(vector: VectorWriter) -> None:
    """Or a member could move the line again and again, each time where it suits."""
    chain = consortium.equipped()
    chain.submit(HOSPITAL_A, ReportStolenKey(HOSPITAL_A.worker.public, Place(2, 0)))
    again = ReportStolenKey(HOSPITAL_A.worker.public, Place(1, 0))
    facts = vector.refused(chain, ReportedAlready, HOSPITAL_A, again)
    assert facts == {"key": HOSPITAL_A.worker.public}


@pytest.mark.vectors
def test_a_key_reported_stolen_from_a_block_to_come(vector: VectorWriter) -> None:
    """A report is about what was signed, not about what will be."""
    chain = consortium.equipped()
    height = chain.height + 1
    report = ReportStolenKey(HOSPITAL_A.worker.public, Place(height + 1, 0))
    assert vector.refused(chain, SinceInFuture, HOSPITAL_A, report) == {"since": height + 1, "height": height}


def test_a_key_can_be_reported_stolen_as_of_this_very_transaction_and_not_of_the_next() -> None:
    chain = consortium.equipped()
    chain.refused(SinceInFuture, HOSPITAL_A, ReportStolenKey(HOSPITAL_A.worker.public, Place(chain.height + 1, 1)))
    chain.submit(HOSPITAL_A, ReportStolenKey(HOSPITAL_A.worker.public, Place(chain.height + 1, 0)))


@pytest.mark.vectors
def test_a_report_that_looks_back_too_far(vector: VectorWriter) -> None:
    """What others built on for a week is not undone by one member's word."""
    chain = consortium.equipped()
    chain.height += limits.LOOK_BACK_BLOCKS
    furthest = chain.height + 1 - limits.LOOK_BACK_BLOCKS
    report = ReportStolenKey(HOSPITAL_A.worker.public, Place(furthest - 1, 0))
    facts = vector.refused(chain, TooFarBack, HOSPITAL_A, report)
    assert facts == {"since": furthest - 1, "furthest": furthest}
    chain.submit(
        HOSPITAL_A, ReportStolenKey(HOSPITAL_A.worker.public, Place(chain.height + 1 - limits.LOOK_BACK_BLOCKS, 0))
    )


def test_only_its_owner_reports_a_key_and_never_with_the_key_itself() -> None:
    chain = consortium.equipped()
    chain.refused(NotYourKey, HOSPITAL_B, ReportStolenKey(HOSPITAL_A.worker.public, Place(1, 0)))
    chain.refused(LastHumanKey, HOSPITAL_A, ReportStolenKey(HOSPITAL_A.human.public, Place(1, 0)))
    chain.refused(UnknownKey, HOSPITAL_A, ReportStolenKey(NEWCOMER.worker.public, Place(1, 0)))


def test_a_key_that_would_fall_with_the_one_it_reports_cannot_report_it() -> None:
    """Or a thief's own report, as of before it had enrolled its key, would leave nobody to act for the member."""
    chain = consortium.equipped()
    chain.submit(HOSPITAL_A, AddKey(SECOND_HUMAN.enrolment()))
    report = ReportStolenKey(HOSPITAL_A.human.public, Place(chain.height, 0))
    facts = chain.refused(LastHumanKey, SECOND_HUMAN, report)
    assert facts == {"key": SECOND_HUMAN.public}
    chain.submit(SECOND_HUMAN, ReportStolenKey(HOSPITAL_A.human.public, Place(chain.height, 0)))


# --- what cannot wait for being counted ---


def stolen_since(height: int) -> ReportStolenKey:
    """Its owner's report that the worker key of hospital D is stolen from a block on."""
    return ReportStolenKey(HOSPITAL_D.worker.public, Place(height, 0))


@pytest.mark.vectors
def test_a_report_takes_out_a_commitment_while_others_still_commit(vector: VectorWriter) -> None:
    """Else it would count at the barrier, where everybody pays, and be missing from the set that is agreed on after."""
    chain = consortium.reserved()
    chain.submit(HOSPITAL_D, commit())
    events = vector.accepted(chain, HOSPITAL_D, stolen_since(chain.height))
    assert Disowned(TASK, 1, HOSPITAL_D.name) in events
    assert round_of(chain).committed == bitmap.NOTHING
    assert contributions.SEATS.at(chain.view, (TASK, 1, HOSPITAL_D.name)).commitment is None


def test_who_disowns_its_commitment_at_the_last_moment_makes_nobody_else_pay() -> None:
    chain = consortium.five_joined()
    chain.submit(LAB, OpenRound(TASK))
    succeed(chain, *((member, consortium.reserve()) for member in (*HOSPITALS, LAB)))
    succeed(chain, *((member, commit()) for member in HOSPITALS))
    assert bitmap.count(round_of(chain).committed) == round_of(chain).needed
    chain.submit(HOSPITAL_D, stolen_since(1))
    (voided,) = consortium.pass_phase(chain)
    assert voided == RoundVoided(TASK, 1, Void.TOO_FEW_COMMITTED, Charged.ABSENT)


def test_past_the_barrier_a_report_leaves_the_commitments_as_they_were() -> None:
    chain = consortium.committed()
    before = round_of(chain)
    assert not [one for one in chain.submit(HOSPITAL_D, stolen_since(1)) if isinstance(one, Disowned)]
    assert round_of(chain) == before
    over = consortium.reserved()
    succeed(over, *((member, commit()) for member in HOSPITALS[1:]))
    consortium.let_pass(over)
    assert round_of(over).phase is Phase.COMMITTING  # As it is written: nobody has found it over yet.
    assert not [one for one in over.submit(HOSPITAL_D, stolen_since(1)) if isinstance(one, Disowned)]


def test_what_was_committed_before_the_key_was_stolen_stays() -> None:
    chain = consortium.reserved()
    chain.submit(HOSPITAL_D, commit())
    assert not [one for one in chain.submit(HOSPITAL_D, stolen_since(chain.height + 1)) if isinstance(one, Disowned)]
    assert bitmap.count(round_of(chain).committed) == 1


def test_a_recipient_that_a_thief_has_named_reads_nothing_once_its_key_is_reported() -> None:
    chain = consortium.joined()
    stolen = LAB.key(Purpose.HUMAN, 2)
    chain.submit(LAB, AddKey(stolen.enrolment()))
    assert chain.block((stolen, ChangeRecipient(recipient_of("a thief"))))[0].code == 0
    theft = Place(chain.height, 0)
    chain.submit(LAB, OpenRound(TASK))
    assert recipient_of("a thief") in rounds.recipients_of(chain.view, TERMS, round_of(chain))
    readers = rounds.readers_of(chain.view, TERMS, chain.height)
    chain.submit(LAB, ReportStolenKey(stolen.public, theft))
    left = rounds.recipients_of(chain.view, TERMS, round_of(chain))
    assert recipient_of("a thief") not in left
    assert len(left) == len(TERMS.recipients) - 1
    assert rounds.readers_of(chain.view, TERMS, round_of(chain).opened_at) == readers - 1
    chain.submit(LAB, ChangeRecipient(recipient_of("the lab, again")))
    assert rounds.recipients_of(chain.view, TERMS, round_of(chain)) == left, "nobody comes in while a round is open"
    assert rounds.readers_of(chain.view, TERMS, chain.height + 1) == readers


def test_the_recipient_that_a_reported_key_had_named_is_named_again_by_its_owner() -> None:
    """Whoever named it with a key, and must report that key from before then, goes on with the identity that it has."""
    chain = consortium.joined()
    reported, own = LAB.key(Purpose.HUMAN, 2), recipient_of("the lab, again")
    chain.submit(LAB, AddKey(reported.enrolment()))
    assert chain.block((reported, ChangeRecipient(own)))[0].code == 0
    chain.submit(LAB, ReportStolenKey(reported.public, Place(chain.height, 0)))
    assert not identity.has_recipient(chain.view, identity.ORGANISATIONS.at(chain.view, LAB.name))
    chain.submit(LAB, ChangeRecipient(own))
    again = identity.ORGANISATIONS.at(chain.view, LAB.name)
    assert identity.has_recipient(chain.view, again)
    assert (again.recipient, again.recipient_since) == (own, chain.height)
    assert recipients.RECIPIENTS.at(chain.view, own).organisation == LAB.name
    chain.refused(SameRecipient, LAB, ChangeRecipient(own))
