"""What ballots owe and keep, whatever happens to their round: a base that falls, a key that was stolen."""

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import Chain, Member
from campaigns.harness.consortium import (
    AUDITOR,
    HOSPITAL_A,
    HOSPITAL_C,
    HOSPITAL_D,
    HOSPITALS,
    LAB,
    STAND_BY,
    TASK,
    VERIFIERS,
    candidate,
    commit,
    digest,
    open_ballot,
    reserve,
    round_of,
    seal,
    seat_of,
    succeed,
)
from contracts.ballot_box import CANDIDATES
from contracts.ballots import (
    AlreadySealed,
    AnotherSet,
    Seal,
)
from contracts.governance import SuspendMember
from contracts.identity import AddKey
from contracts.kernel import Place, bitmap
from contracts.kernel.types import Purpose
from contracts.lineage import Finding, candidate_digest
from contracts.reputation import CHANGES, Verdict
from contracts.rounds import OpenRound
from contracts.terms import Phase
from contracts.thefts import ReportStolenKey
from tests.contracts.box_scenes import (
    CONFIRMED,
    MISSING,
    UNOPENED,
    base_falls,
    changes_of,
    five_committed,
    tainted,
)

# --- the base falls from under them ---


def second_opening() -> Chain:
    """Version 1 is promoted; round 2 is opening, and five of six have opened."""
    chain = consortium.second_agreed()
    consortium.seal_all(chain, 2)
    consortium.open_all(chain, 2, by=VERIFIERS[:5])
    return chain


def test_ballots_that_agree_earn_what_they_do_although_the_base_falls_before_they_are_counted() -> None:
    """Who has not opened yet could not have: the phase is under way. No candidate is left behind."""
    chain = second_opening()
    before, named = chain.fork(), candidate_digest(candidate(chain, 2))
    assert CANDIDATES.get(chain.view, (TASK, 2, named))
    base_falls(chain)
    assert changes_of(chain, before, (LAB, STAND_BY)) == {"lab": CONFIRMED}
    assert CANDIDATES.get(chain.view, (TASK, 2, named)) is None


def test_an_unopened_ballot_pays_although_the_base_falls_when_the_phase_is_over() -> None:
    chain = second_opening()
    consortium.let_pass(chain, 2)
    before = chain.fork()
    base_falls(chain)
    assert changes_of(chain, before, (STAND_BY,)) == {"stand-by-lab": UNOPENED}


def test_what_a_quorum_found_of_the_payloads_stays_although_the_base_falls() -> None:
    chain = consortium.second_agreed()
    found = candidate(chain, 2, findings={HOSPITAL_D: Finding.MALFORMED})
    consortium.seal_all(chain, 2, found)
    consortium.open_all(chain, 2, found, by=VERIFIERS[:5])
    before = chain.fork()
    base_falls(chain)
    moved = changes_of(chain, before, HOSPITALS)
    assert moved.pop("hospital-d") == CHANGES[Verdict.REFUSED] + CONFIRMED
    assert set(moved.values()) == {CHANGES[Verdict.ACCEPTED] + CONFIRMED}


@pytest.mark.parametrize("over", [True, False], ids=["over", "under way"])
def test_what_a_quorum_did_not_find_is_missing_when_the_base_falls_only_if_attesting_is_over(over: bool) -> None:
    chain = consortium.promoted()
    chain.submit(LAB, OpenRound(TASK))
    succeed(chain, *((hospital, reserve(2)) for hospital in HOSPITALS))
    succeed(chain, *((hospital, commit(2, base=1)) for hospital in HOSPITALS))
    consortium.attest_all(chain, 2, held=(0, 1, 2), by=VERIFIERS[:5])
    if over:
        consortium.let_pass(chain, 2)
    before = chain.fork()
    base_falls(chain)
    assert changes_of(chain, before) == ({"hospital-d": MISSING} if over else {})


# --- what a thief did, said anew; and what a report does not pay ---


def test_who_reports_a_theft_while_ballots_are_sealed_seals_its_own_and_earns_by_it() -> None:
    chain = consortium.agreed()
    good = HOSPITAL_D.key(Purpose.WORKLOAD, 5)
    succeed(
        chain,
        (HOSPITAL_D, AddKey(good.enrolment())),
        (HOSPITAL_D, Seal(TASK, 1, round_of(chain).agreed, digest("a thief's"))),
    )
    chain.submit(HOSPITAL_D, ReportStolenKey(HOSPITAL_D.worker.public, Place(chain.height, 0)))
    before, named = chain.fork(), candidate(chain)
    assert chain.block((good, seal(HOSPITAL_D, named)))[0].code == 0
    consortium.seal_all(chain, by=[member for member in VERIFIERS if member is not HOSPITAL_D])
    consortium.open_all(chain, by=[member for member in VERIFIERS if member is not HOSPITAL_D])
    assert chain.block((good, open_ballot(HOSPITAL_D, named)))[0].code == 0
    assert round_of(chain).phase is Phase.DECIDED
    assert changes_of(chain, before)["hospital-d"] == CONFIRMED + CHANGES[Verdict.ACCEPTED]


def test_a_second_ballot_by_a_second_key_is_refused_while_the_first_key_is_good() -> None:
    chain = consortium.agreed()
    second = HOSPITAL_D.key(Purpose.WORKLOAD, 5)
    succeed(chain, (HOSPITAL_D, AddKey(second.enrolment())), (HOSPITAL_D, seal(HOSPITAL_D, candidate(chain))))
    other = seal(HOSPITAL_D, candidate(chain, artefact=None), correct=0)
    assert chain.block((second, other))[0].code == AlreadySealed.code


def test_a_report_does_not_pay_for_a_payload_that_a_quorum_has_refused() -> None:
    """The report comes first in its block, by its lane; the last opening after it sends the round back to sealing."""
    chain = five_committed()
    consortium.attest_all(chain)
    found = candidate(chain, findings={HOSPITAL_D: Finding.MALFORMED})
    consortium.seal_all(chain, named=found)
    consortium.open_all(chain, named=found, by=VERIFIERS[:5])
    before, made = chain.fork(), seat_of(chain, HOSPITAL_D).commitment
    assert made is not None
    report = ReportStolenKey(HOSPITAL_D.worker.public, made.place)
    results = chain.block((HOSPITAL_D, report), (STAND_BY, open_ballot(STAND_BY, found)))
    assert [result.code for result in results] == [0, 0]
    assert round_of(chain).phase is Phase.SEALING
    assert changes_of(chain, before, (HOSPITAL_D,)) == {"hospital-d": CHANGES[Verdict.REFUSED]}


def place_of(chain: Chain, member: Member) -> Place:
    """Where its commitment stands."""
    made = seat_of(chain, member).commitment
    assert made is not None
    return made.place


def test_a_report_about_one_key_takes_back_nothing_that_a_quorum_found_of_others() -> None:
    """A refusal does not depend on the set; where the round ends here, nor does anything else that is said."""
    chain = five_committed()
    consortium.attest_all(chain)
    keys = {member: member.key(Purpose.WORKLOAD, 5) for member in (HOSPITAL_C, LAB)}
    succeed(chain, *((member, AddKey(key.enrolment())) for member, key in keys.items()))
    found = candidate(chain, findings={HOSPITAL_D: Finding.MALFORMED})
    for member in VERIFIERS:
        chain.block((keys.get(member, member), seal(member, found)))
    for member in VERIFIERS[:5]:
        chain.block((keys.get(member, member), open_ballot(member, found)))
    for reported, left in (((HOSPITAL_C,), Phase.SEALING), ((HOSPITAL_C, LAB), Phase.VOID)):
        case, before = chain.fork(), chain.fork()
        reports = [(who, ReportStolenKey(who.worker.public, place_of(case, who))) for who in reported]
        case.block(*reports, (STAND_BY, open_ballot(STAND_BY, found)))
        assert round_of(case).phase is left
        moved = changes_of(case, before, (HOSPITAL_A, HOSPITAL_C, HOSPITAL_D, STAND_BY))
        confirmed = CONFIRMED if left is Phase.VOID else 0  # Else it is earned by the ballots that are cast anew.
        assert moved["hospital-d"] == CHANGES[Verdict.REFUSED] + confirmed
        expected = CONFIRMED + CHANGES[Verdict.ACCEPTED] if left is Phase.VOID else None
        assert moved.get("hospital-a") == expected
        assert bitmap.numbers(round_of(case).agreed) == ((0, 1, 4) if left is Phase.SEALING else (0, 1))


def test_sealing_waits_for_the_owner_of_a_stolen_key_and_nobody_owes_what_a_thief_sealed() -> None:
    chain = consortium.agreed()
    succeed(chain, (HOSPITAL_D, Seal(TASK, 1, round_of(chain).agreed, digest("a thief's"))))
    chain.submit(HOSPITAL_D, ReportStolenKey(HOSPITAL_D.worker.public, Place(chain.height, 0)))
    before = chain.fork()
    consortium.seal_all(chain, by=[member for member in VERIFIERS if member is not HOSPITAL_D])
    assert round_of(chain).phase is Phase.SEALING
    lazy = chain.fork()
    consortium.pass_phase(chain)
    consortium.let_pass(lazy)
    for case in (chain, lazy):  # Written down by itself, or by the first opening.
        consortium.open_all(case, by=[member for member in VERIFIERS if member is not HOSPITAL_D])
        assert round_of(case).phase is Phase.DECIDED
        assert changes_of(case, before)["hospital-d"] == CHANGES[Verdict.ACCEPTED]


def test_a_ballot_that_its_member_may_not_open_because_it_is_suspended_costs_nothing() -> None:
    chain = consortium.agreed()
    consortium.seal_all(chain)
    before, others = chain.fork(), [member for member in VERIFIERS if member is not HOSPITAL_D]
    consortium.pass_proposal(chain, SuspendMember("hospital-d", "asleep"), [*others, AUDITOR])
    consortium.open_all(chain, by=others)
    assert round_of(chain).phase is Phase.DECIDED
    assert changes_of(chain, before)["hospital-d"] == CHANGES[Verdict.ACCEPTED]


def test_a_seal_that_was_held_back_until_the_set_is_another_is_no_ballot_over_that() -> None:
    """A proposer could keep an honest verifier's seal until a report has sent the round back: it would never open."""
    chain = five_committed()
    consortium.attest_all(chain)
    found, keys = candidate(chain), {HOSPITAL_D: HOSPITAL_D.key(Purpose.WORKLOAD, 5)}
    chain.submit(HOSPITAL_D, AddKey(keys[HOSPITAL_D].enrolment()))
    for member in VERIFIERS[1:]:
        chain.block((keys.get(member, member), seal(member, found)))
    consortium.pass_phase(chain)
    tainted(chain, HOSPITAL_D)
    for member in VERIFIERS[1:]:
        chain.block((keys.get(member, member), open_ballot(member, found)))
    assert round_of(chain).phase is Phase.SEALING
    assert chain.refused(AnotherSet, VERIFIERS[0], seal(VERIFIERS[0], found)) == {"round": 1}
    chain.submit(VERIFIERS[0], seal(VERIFIERS[0], candidate(chain)))
