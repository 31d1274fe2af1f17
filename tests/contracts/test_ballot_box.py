"""The ballot box: what was available is agreed, not assumed, and who holds it shares it."""

from dataclasses import replace

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import Chain, Member
from campaigns.harness.consortium import (
    AUDITOR,
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITAL_C,
    HOSPITAL_D,
    HOSPITALS,
    LAB,
    STAND_BY,
    TASK,
    TERMS,
    VERIFIERS,
    attest,
    cid,
    commit,
    current_version,
    round_of,
    succeed,
)
from contracts.ballot_box import ATTESTATIONS, SHARES
from contracts.ballots import (
    AlreadyAttested,
    Attested,
    NotCommittedTo,
    NotHeld,
    RoundDecided,
    SetAgreed,
    Share,
    Shared,
)
from contracts.contributions import PayloadTooLarge
from contracts.governance import SuspendMember
from contracts.identity import AddKey
from contracts.kernel import Place, bitmap
from contracts.kernel.types import Purpose
from contracts.models import NotAVerifier
from contracts.rounds import Charged, PhaseBegan, RoundVoided, Void, WrongPhase
from contracts.terms import Phase
from contracts.thefts import ReportStolenKey
from tests.contracts.box_scenes import MISSING, changes_of, five_committed, verified_by_four
from tests.vectors_io import VectorWriter

# --- attesting: what was available is agreed, not assumed ---


@pytest.mark.vectors
def test_a_verifier_attests_what_it_holds(vector: VectorWriter) -> None:
    """It says that it holds bytes which match the salted digest, and nothing about what they say."""
    chain = consortium.committed()
    events = vector.accepted(chain, HOSPITAL_A, attest(held=(0, 2)))
    assert events == (Attested(TASK, 1, "hospital-a", 2),)
    assert bitmap.numbers(ATTESTATIONS.at(chain.view, (TASK, 1)).rows[0].held) == (0, 2)


@pytest.mark.vectors
def test_the_last_attestation_fixes_the_set(vector: VectorWriter) -> None:
    """When all have attested nobody waits any longer."""
    chain = consortium.committed()
    consortium.attest_all(chain, by=VERIFIERS[:5])
    events = vector.accepted(chain, STAND_BY, attest())
    assert events[1] == SetAgreed(TASK, 1, 4)
    assert isinstance(events[2], PhaseBegan)
    assert bitmap.numbers(round_of(chain).agreed) == (0, 1, 2, 3)


def test_a_seat_is_in_the_set_when_f_and_one_others_hold_it() -> None:
    """One of them is honest, and can serve the rest."""
    chain = five_committed()
    everything = range(5)
    without = (0, 1, 2, 4)
    succeed(chain, *((member, attest(held=everything)) for member in VERIFIERS[:2]))
    succeed(chain, *((member, attest(held=without)) for member in VERIFIERS[2:]))
    assert bitmap.numbers(round_of(chain).agreed) == tuple(everything)


def test_a_seat_s_own_attestation_counts_for_nothing() -> None:
    """Hospital D says that it holds its own payload, and one other agrees: not enough with f_v = 1."""
    chain = five_committed()
    everything, without = range(5), (0, 1, 2, 4)
    succeed(chain, (HOSPITAL_D, attest(held=everything)), (HOSPITAL_A, attest(held=everything)))
    succeed(chain, *((member, attest(held=without)) for member in (HOSPITAL_B, HOSPITAL_C, LAB, STAND_BY)))
    assert bitmap.numbers(round_of(chain).agreed) == without


def test_a_participant_that_serves_two_verifiers_serves_them_all() -> None:
    chain = five_committed()
    before = chain.fork()
    succeed(chain, *((member, attest(held=range(5))) for member in VERIFIERS[:2]))
    succeed(chain, *((member, attest(held=(0, 1, 2, 4))) for member in VERIFIERS[2:]))
    chain.submit(HOSPITAL_A, Share(TASK, 1, "hospital-d", cid("copy"), 900))
    consortium.vote_all(chain)
    assert current_version(chain) == 1
    assert all(change > 0 for change in changes_of(chain, before, (*HOSPITALS, LAB)).values())


def test_what_too_few_could_have_is_missing_and_its_owner_pays_once() -> None:
    chain = five_committed()
    before = chain.fork()
    consortium.attest_all(chain, held=(0, 1, 2, 4))
    assert changes_of(chain, before) == {"hospital-d": MISSING}
    consortium.vote_all(chain)
    assert current_version(chain) == 1


def test_nobody_is_missing_without_a_quorum_of_attestations() -> None:
    """Four of six attest: two that may be honest have not spoken, so nobody is blamed."""
    chain = five_committed()
    before = chain.fork()
    succeed(chain, *((member, attest(held=(0, 1, 2, 4))) for member in VERIFIERS[:4]))
    consortium.pass_phase(chain)
    assert bitmap.numbers(round_of(chain).agreed) == (0, 1, 2, 4)
    assert not changes_of(chain, before)


def test_a_quorum_of_attestations_is_exact() -> None:
    chain = five_committed()
    before = chain.fork()
    succeed(chain, *((member, attest(held=(0, 1, 2, 4))) for member in VERIFIERS[:5]))
    consortium.pass_phase(chain)
    assert changes_of(chain, before) == {"hospital-d": MISSING}


def test_a_rushing_verifier_that_attests_nothing_harms_nobody() -> None:
    chain = five_committed()
    before = chain.fork()
    chain.submit(STAND_BY, attest(held=()))
    consortium.attest_all(chain, by=VERIFIERS[:5])
    assert bitmap.count(round_of(chain).agreed) == 5
    assert not changes_of(chain, before)


def test_too_little_available_voids_the_round_and_missing_is_settled_all_the_same() -> None:
    chain = consortium.committed()
    before = chain.fork()
    succeed(chain, *((member, attest(held=(0, 1))) for member in VERIFIERS[:5]))
    events = chain.submit(STAND_BY, attest(held=(0, 1)))
    assert events[-1] == RoundVoided(TASK, 1, Void.TOO_FEW_AVAILABLE, Charged.ALL)
    assert changes_of(chain, before) == {"hospital-c": MISSING, "hospital-d": MISSING}


def test_the_estimator_s_minimum_itself_is_enough() -> None:
    chain = consortium.committed()
    consortium.attest_all(chain, held=(0, 1, 2))
    assert round_of(chain).phase is Phase.SEALING


@pytest.mark.vectors
def test_an_attestation_of_what_nobody_committed(vector: VectorWriter) -> None:
    """Only committed payloads have a digest to match."""
    assert vector.refused(consortium.committed(), NotCommittedTo, HOSPITAL_A, attest(held=(4,))) == {"field": "held"}


def test_a_set_has_one_form_only() -> None:
    message = replace(attest(), held=b"\x0f\0")
    consortium.committed().refused(NotCommittedTo, HOSPITAL_A, message)


@pytest.mark.vectors
def test_a_second_attestation(vector: VectorWriter) -> None:
    """The first stands: nobody waits for what the others say."""
    chain = consortium.committed()
    chain.submit(HOSPITAL_A, attest())
    assert vector.refused(chain, AlreadyAttested, HOSPITAL_A, attest()) == {"organisation": "hospital-a"}


@pytest.mark.vectors
def test_an_attestation_by_an_organisation_that_the_terms_do_not_name(vector: VectorWriter) -> None:
    """The role alone is not enough: the terms name who verifies this task."""
    facts = vector.refused(verified_by_four(), NotAVerifier, STAND_BY, attest())
    assert facts == {"task": TASK, "organisation": "stand-by-lab"}


def test_nobody_attests_before_the_barrier() -> None:
    """No payload is served while anybody can commit."""
    consortium.reserved().refused(WrongPhase, HOSPITAL_A, attest(held=()))


# --- sharing ---


@pytest.mark.vectors
def test_who_holds_a_payload_serves_it_to_the_others(vector: VectorWriter) -> None:
    """The copy is encrypted anew to all recipients; what is in it is told by the digest that was committed."""
    chain = consortium.agreed()
    events = vector.accepted(chain, HOSPITAL_B, Share(TASK, 1, "hospital-d", cid("copy"), 900))
    assert events == (Shared(TASK, 1, "hospital-d", "hospital-b", cid("copy")),)


@pytest.mark.vectors
def test_a_copy_of_what_was_not_attested(vector: VectorWriter) -> None:
    """A copy comes from who said that it holds the payload, once."""
    chain = consortium.committed()
    chain.submit(HOSPITAL_A, attest(held=(0, 1)))
    facts = vector.refused(chain, NotHeld, HOSPITAL_A, Share(TASK, 1, "hospital-d", cid("copy"), 900))
    assert facts == {"organisation": "hospital-d"}
    chain.submit(HOSPITAL_A, Share(TASK, 1, "hospital-b", cid("copy"), 900))
    chain.refused(NotHeld, HOSPITAL_A, Share(TASK, 1, "hospital-b", cid("copy"), 900))


def test_nobody_shares_its_own_payload() -> None:
    """Where it lies is what was committed to: another address, put first, would only keep others waiting."""
    chain = consortium.agreed()
    chain.refused(NotHeld, HOSPITAL_B, Share(TASK, 1, "hospital-b", cid("copy"), 900))


def test_who_reports_a_theft_shares_what_the_thief_had_shared() -> None:
    chain = consortium.agreed()
    good = HOSPITAL_B.key(Purpose.WORKLOAD, 5)
    chain.submit(HOSPITAL_B, AddKey(good.enrolment()))
    chain.submit(HOSPITAL_B, Share(TASK, 1, "hospital-d", cid("a thief's"), 900))
    chain.submit(HOSPITAL_B, ReportStolenKey(HOSPITAL_B.worker.public, Place(chain.height, 0)))
    assert chain.block((good, Share(TASK, 1, "hospital-d", cid("copy"), 900)))[0].code == 0
    (copy,) = SHARES.at(chain.view, (TASK, 1, "hospital-d")).copies
    assert (copy.cid, copy.signer) == (cid("copy"), good.public)


def test_a_copy_is_as_small_as_a_payload_and_comes_in_time() -> None:
    chain = consortium.agreed()
    too_large = Share(TASK, 1, "hospital-d", cid("copy"), TERMS.update.max_bytes + 1)
    chain.refused(PayloadTooLarge, HOSPITAL_B, too_large)
    consortium.sealed().refused(WrongPhase, HOSPITAL_B, Share(TASK, 1, "hospital-d", cid("copy"), 900))


def test_an_attestation_of_a_stolen_key_counts_for_nothing_and_its_owner_attests_anew() -> None:
    """With one more that lies it would put a payload into the set that no honest verifier can read."""
    chain = five_committed()
    good = STAND_BY.key(Purpose.WORKLOAD, 5)
    succeed(chain, (STAND_BY, AddKey(good.enrolment())), (STAND_BY, attest(held=range(5))))
    chain.submit(STAND_BY, ReportStolenKey(STAND_BY.worker.public, Place(chain.height, 0)))
    chain.submit(HOSPITAL_A, attest(held=range(5)))
    others = [member for member in VERIFIERS if member not in (STAND_BY, HOSPITAL_A)]
    succeed(chain, *((member, attest(held=(0, 1, 2, 4))) for member in others[:-1]))
    anew = chain.fork()
    chain.submit(others[-1], attest(held=(0, 1, 2, 4)))
    consortium.pass_phase(chain)  # It is waited for: its owner may still say it.
    assert bitmap.numbers(round_of(chain).agreed) == (0, 1, 2, 4)
    assert anew.block((good, attest(held=range(5))))[0].code == 0
    anew.submit(others[-1], attest(held=(0, 1, 2, 4)))
    assert bitmap.numbers(round_of(anew).agreed) == (0, 1, 2, 3, 4)


# --- suspended members: as if they had dropped out ---


def without(chain: Chain, gone: Member) -> list[Member]:
    """The members suspend a verifier; those that are left."""
    left = [member for member in VERIFIERS if member is not gone]
    consortium.pass_proposal(chain, SuspendMember(gone.name, "asleep"), [*left, AUDITOR])
    return left


def test_a_suspended_verifier_is_not_waited_for() -> None:
    """The last of the others ends each phase. It stays one of the f_v that a quorum can do without."""
    chain = consortium.committed()
    left = without(chain, HOSPITAL_D)
    consortium.attest_all(chain, by=left)
    assert round_of(chain).phase is Phase.SEALING
    consortium.seal_all(chain, by=left)
    assert round_of(chain).phase is Phase.OPENING
    consortium.open_all(chain, by=left)
    assert round_of(chain).phase is Phase.DECIDED


def test_a_verifier_that_is_suspended_when_it_has_sealed_is_not_waited_for_and_counts_as_unopened() -> None:
    chain = consortium.agreed()
    consortium.seal_all(chain)
    left = without(chain, HOSPITAL_D)
    consortium.open_all(chain, by=left[:4])
    assert round_of(chain).phase is Phase.OPENING
    decided = consortium.open_all(chain, by=left[4:])
    assert [event.agreeing for event in decided if isinstance(event, RoundDecided)] == [5]


def test_what_a_verifier_attested_or_opened_before_it_was_suspended_counts() -> None:
    """Otherwise a suspension would take out of the set what honest others committed to, or void the round for all."""
    chain = consortium.committed()
    chain.submit(HOSPITAL_D, attest())
    left = without(chain, HOSPITAL_D)
    succeed(chain, (HOSPITAL_A, attest(held=(1, 2))), (HOSPITAL_B, attest(held=(0,))))
    succeed(chain, *((member, attest(held=())) for member in left[2:]))
    assert bitmap.numbers(round_of(chain).agreed) == (0, 1, 2), "hospital D and another one hold each of them"
    chain = consortium.sealed()
    consortium.open_all(chain, by=[HOSPITAL_D])
    decided = consortium.open_all(chain, by=without(chain, HOSPITAL_D))
    assert [event.agreeing for event in decided if isinstance(event, RoundDecided)] == [6]


def test_what_a_participant_committed_to_before_it_was_suspended_is_in_the_set_if_it_serves_it() -> None:
    chain = consortium.committed()
    consortium.attest_all(chain, by=without(chain, HOSPITAL_D))
    assert bitmap.numbers(round_of(chain).agreed) == (0, 1, 2, 3)


def test_a_participant_that_is_suspended_before_it_commits_pays_like_any_that_stays_away() -> None:
    """The phase lasts its time: who is invited, or has a seat, may be reinstated in it."""
    chain = consortium.reserved()
    without(chain, HOSPITAL_D)
    succeed(chain, *((member, commit()) for member in HOSPITALS[:3]))
    assert round_of(chain).phase is Phase.COMMITTING
    (ended,) = consortium.pass_phase(chain)
    assert ended == RoundVoided(TASK, 1, Void.TOO_FEW_COMMITTED, Charged.ABSENT)
