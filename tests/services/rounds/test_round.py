"""What to do next: every row of both tables, for the first aggregator, the stand-by and the verifiers."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from campaigns.harness.chain import Member
from campaigns.harness.consortium import (
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITAL_C,
    HOSPITAL_D,
    HOSPITALS,
    LAB,
    PHASE_BLOCKS,
    PHASE_MS,
    STAND_BY,
    TERMS,
    VERIFIERS,
    digest,
)
from contracts.ballot_box import Attestation, Ballot
from contracts.kernel import Place, bitmap
from contracts.rounds import OVER, Charged, Round
from contracts.tasks import Task
from contracts.terms import Phase
from services.rounds.round import Command, Holding, Observation, attest_by, grace_ms, to_lead, to_share, to_verify

OPENED, HEIGHT = 1_000_000, 50
UNTIL, UNTIL_HEIGHT = OPENED + PHASE_MS, HEIGHT + PHASE_BLOCKS + 1
GRACE = PHASE_MS
ALL = bitmap.of(range(4))
OWNERS = {number: hospital.name for number, hospital in enumerate(HOSPITALS)}
WAIT, OPEN, ADVANCE, STOP = Command.WAIT, Command.OPEN, Command.ADVANCE, Command.STOP
UNDER_WAY = [phase for phase in Phase if phase not in OVER]


def last_round(phase: Phase, **changes: Any) -> Round:
    plain = Round(
        base=0,
        phase=phase,
        opened_at=HEIGHT,
        began_at=OPENED,
        until=UNTIL,
        until_height=UNTIL_HEIGHT,
        invited=b"\x0f",
        needed=4,
        reserved=ALL,
        committed=ALL,
        agreed=ALL,
        charged=Charged.ALL,
        void=None,
    )
    return replace(plain, **changes)


def seen(last: Round | None, now: int, *, by: Member = LAB, number: int = 1, **changes: Any) -> Observation:
    task = Task(digest("terms"), (1,) * 8, 7, 0, number if last else 0, number if last else 0, participants=4)
    plain = Observation(by.name, now, UNTIL_HEIGHT, TERMS, task, last, OPENED)
    return replace(plain, **changes)


def held(*numbers: int, shared: Iterable[int] = ()) -> Holding:
    return Holding(bitmap.of(numbers), bitmap.of(shared), OWNERS)


def rows(**attested: Iterable[int]) -> tuple[Attestation, ...]:
    return tuple(
        Attestation(name.replace("_", "-"), bitmap.of(numbers), bytes(32), Place(1, 0))
        for name, numbers in attested.items()
    )


# Aggregators ------------------------------------------------------------------------------------


def lead(last: Round | None, now: int, **others: Any) -> tuple[Command, Command]:
    """What the first aggregator and the stand-by do."""
    return to_lead(seen(last, now, by=LAB, **others)), to_lead(seen(last, now, by=STAND_BY, **others))


def test_without_a_round_the_first_aggregator_opens_one_and_the_stand_by_waits_a_grace() -> None:
    assert lead(None, OPENED) == (OPEN, WAIT)
    assert lead(None, OPENED + GRACE - 1) == (OPEN, WAIT)
    assert lead(None, OPENED + GRACE) == (OPEN, OPEN)


@pytest.mark.parametrize("phase", OVER)
def test_after_a_decided_or_void_round_the_next_one_is_opened(phase: Phase) -> None:
    last = last_round(phase)
    assert lead(last, OPENED + 1) == (OPEN, WAIT)
    assert lead(last, UNTIL + GRACE - 1) == (OPEN, WAIT)
    assert lead(last, UNTIL + GRACE) == (OPEN, OPEN)


@pytest.mark.parametrize("phase", OVER)
def test_a_task_that_had_all_its_rounds_stops_everybody(phase: Phase) -> None:
    over = last_round(phase)
    assert lead(over, OPENED, number=TERMS.max_rounds) == (STOP, STOP)
    assert lead(over, OPENED, number=TERMS.max_rounds - 1) == (OPEN, WAIT)


@pytest.mark.parametrize("phase", UNDER_WAY)
def test_the_last_round_of_a_task_is_seen_to_its_end(phase: Phase) -> None:
    assert lead(last_round(phase), OPENED, number=TERMS.max_rounds) == (WAIT, WAIT)
    assert lead(last_round(phase), UNTIL, number=TERMS.max_rounds) == (ADVANCE, WAIT)


def test_fewer_participants_than_a_round_needs_are_waited_for() -> None:
    few = Task(digest("terms"), (1,) * 8, 7, 0, 0, 0, participants=3)
    assert lead(None, OPENED + 5 * GRACE, task=few) == (WAIT, WAIT)


@pytest.mark.parametrize("phase", UNDER_WAY)
def test_a_phase_that_is_over_is_written_down_by_the_first_aggregator_and_by_the_stand_by_a_grace_later(
    phase: Phase,
) -> None:
    last = last_round(phase)
    assert lead(last, UNTIL - 1) == (WAIT, WAIT)
    assert lead(last, UNTIL) == (ADVANCE, WAIT)
    assert lead(last, UNTIL + GRACE) == (ADVANCE, ADVANCE)


@pytest.mark.parametrize("phase", UNDER_WAY)
def test_a_phase_whose_blocks_were_not_made_is_not_over_however_late_it_is(phase: Phase) -> None:
    late = UNTIL + 100 * GRACE
    assert lead(last_round(phase), late, height=UNTIL_HEIGHT - 2) == (WAIT, WAIT)
    assert lead(last_round(phase), late, height=UNTIL_HEIGHT - 1) == (ADVANCE, ADVANCE)


def test_the_grace_is_the_shortest_phase_and_a_minute_at_most() -> None:
    assert grace_ms(replace(TERMS, phases=replace(TERMS.phases, seal_ms=700))) == 700
    hours = dict.fromkeys(("reserve_ms", "commit_ms", "attest_ms", "seal_ms", "open_ms"), 3_600_000)
    assert grace_ms(replace(TERMS, phases=replace(TERMS.phases, **hours))) == 60_000


# Verifiers --------------------------------------------------------------------------------------

ATTESTING, SEALING, OPENING = (last_round(phase) for phase in (Phase.ATTESTING, Phase.SEALING, Phase.OPENING))
TIME_TO_ATTEST = attest_by(TERMS, ATTESTING)


def verify(last: Round | None, mine: Holding, now: int = OPENED, by: Member = HOSPITAL_A, **changes: Any) -> Command:
    return to_verify(seen(last, now, by=by, **changes), mine)


def test_a_verifier_attests_at_once_when_it_holds_everything() -> None:
    assert verify(ATTESTING, held(0, 1, 2, 3)) is Command.ATTEST


def test_a_verifier_that_lacks_something_goes_on_fetching_for_half_of_the_phase() -> None:
    assert TIME_TO_ATTEST == OPENED + PHASE_MS // 2
    for holding in (held(), held(0, 1, 3)):
        assert verify(ATTESTING, holding, TIME_TO_ATTEST - 1) is Command.FETCH
        assert verify(ATTESTING, holding, TIME_TO_ATTEST) is Command.ATTEST


def test_only_what_was_committed_is_asked_for() -> None:
    assert verify(replace(ATTESTING, committed=bitmap.of([1, 3])), held(1, 3)) is Command.ATTEST


def test_a_verifier_attests_once() -> None:
    assert verify(ATTESTING, held(0, 1, 2, 3), attested=rows(hospital_a=[0])) is Command.WAIT
    assert verify(ATTESTING, held(0, 1, 2, 3), attested=rows(hospital_b=[0])) is Command.ATTEST


SERVED_TWO = rows(hospital_a=[0, 1, 2, 3], hospital_b=[0, 1, 2, 3], hospital_c=[1, 2, 3], lab=[1, 2, 3])


def shares(*, by: Member, mine: Holding | None = None, attested: tuple[Attestation, ...] = SERVED_TWO) -> Any:
    mine = held(0, 1, 2, 3) if mine is None else mine
    return to_share(seen(SEALING, OPENED, by=by, attested=attested), mine)


def test_what_others_lack_is_shared_by_as_many_holders_as_have_an_honest_one_among_them() -> None:
    """f_v is 1: two of them, in the order of their attestations, and not the payload's own organisation."""
    attested = rows(hospital_b=[0], hospital_a=[0], hospital_c=[0], hospital_d=[0], lab=[])
    assert shares(by=HOSPITAL_B, attested=attested) == (0,)
    assert shares(by=HOSPITAL_A, attested=attested) == (), "its owner serves it under the first address"
    assert shares(by=HOSPITAL_C, attested=attested) == (0,)
    assert shares(by=HOSPITAL_D, attested=attested) == ()
    assert shares(by=LAB, attested=attested, mine=held()) == ()


def test_what_everybody_who_attested_holds_is_not_shared() -> None:
    everything = rows(hospital_a=[0, 1, 2, 3], hospital_b=[0, 1, 2, 3], lab=[0, 1, 2, 3])
    assert shares(by=HOSPITAL_B, attested=everything) == ()


def test_what_is_shared_already_or_is_not_in_the_set_is_not_shared() -> None:
    assert shares(by=HOSPITAL_B) == (0,)
    assert shares(by=HOSPITAL_B, mine=held(0, 1, 2, 3, shared=[0])) == ()
    without = seen(replace(SEALING, agreed=bitmap.of([1, 2])), OPENED, by=HOSPITAL_B, attested=SERVED_TWO)
    assert to_share(without, held(0, 1, 2, 3)) == ()
    assert to_share(seen(None, OPENED, by=HOSPITAL_B), held()) == ()


def test_who_owes_a_share_seals_first_and_shares_while_who_lacks_it_has_not_sealed() -> None:
    everything = held(0, 1, 2, 3)
    assert verify(SEALING, everything, by=HOSPITAL_B, attested=SERVED_TWO) is Command.SEAL
    sealed = (ballot(HOSPITAL_B),)
    assert verify(SEALING, everything, by=HOSPITAL_B, attested=SERVED_TWO, box=sealed) is Command.SHARE
    hurried = (*sealed, ballot(HOSPITAL_C), ballot(LAB))
    assert verify(SEALING, everything, by=HOSPITAL_B, attested=SERVED_TWO, box=hurried) is Command.WAIT


def test_who_cannot_seal_yet_shares_what_it_has() -> None:
    assert verify(SEALING, held(0, 1, 2), by=HOSPITAL_B, attested=SERVED_TWO) is Command.SHARE


def ballot(member: Member, opened: bytes | None = None) -> Ballot:
    return Ballot(member.name, digest("seal"), digest("key"), 5, opened, 0)


def test_a_ballot_is_sealed_once_and_only_over_the_whole_set() -> None:
    assert verify(SEALING, held(0, 1, 3)) is Command.FETCH
    assert verify(SEALING, held(0, 1, 2, 3)) is Command.SEAL
    assert verify(replace(SEALING, agreed=bitmap.of([0, 1, 3])), held(0, 1, 3)) is Command.SEAL
    assert verify(SEALING, held(0, 1, 2, 3), box=(ballot(HOSPITAL_A),)) is Command.WAIT
    assert verify(SEALING, held(0, 1, 2, 3), box=(ballot(HOSPITAL_B),)) is Command.SEAL


def test_a_sealed_ballot_is_opened_once_in_its_phase() -> None:
    assert verify(OPENING, held(), box=(ballot(HOSPITAL_A),)) is Command.OPEN_BALLOT
    assert verify(OPENING, held(), box=(ballot(HOSPITAL_A, digest("candidate")),)) is Command.WAIT
    assert verify(OPENING, held(), box=(ballot(HOSPITAL_B),)) is Command.WAIT


@pytest.mark.parametrize("phase", [Phase.RESERVING, Phase.COMMITTING, *OVER])
def test_a_verifier_has_nothing_to_do_before_the_barrier_or_after_the_end(phase: Phase) -> None:
    assert verify(last_round(phase), held(0, 1, 2, 3)) is WAIT
    assert verify(None, held()) is WAIT


@pytest.mark.parametrize("phase", UNDER_WAY)
def test_in_a_phase_that_is_over_nothing_is_done_but_to_write_that_down_each_verifier_in_its_turn(phase: Phase) -> None:
    for place, member in enumerate(VERIFIERS, start=len(TERMS.aggregators)):
        due = UNTIL + place * GRACE
        box = (ballot(member),)
        assert verify(last_round(phase), held(0, 1, 2, 3), due - 1, by=member, box=box) is WAIT
        assert verify(last_round(phase), held(0, 1, 2, 3), due, by=member, box=box) is ADVANCE


def test_an_observation_made_anew_gives_the_same_command() -> None:
    """A restart knows nothing but what the ledger shows."""
    before, after = (seen(SEALING, OPENED + 7, by=HOSPITAL_D) for _ in range(2))
    assert to_verify(before, held(0, 1, 2, 3)) is to_verify(after, held(0, 1, 2, 3)) is Command.SEAL


def test_every_command_is_somebodys() -> None:
    leads = {WAIT, OPEN, ADVANCE, STOP}
    verifies = {WAIT, ADVANCE, Command.FETCH, Command.ATTEST, Command.SHARE, Command.SEAL, Command.OPEN_BALLOT}
    assert leads | verifies == set(Command)


def test_a_payload_s_own_organisation_is_no_holder_of_it() -> None:
    attested = rows(hospital_c=[2], hospital_d=[2], hospital_a=[2], lab=[])
    assert shares(by=HOSPITAL_C, attested=attested) == ()
    assert shares(by=HOSPITAL_D, attested=attested) == shares(by=HOSPITAL_A, attested=attested) == (2,)
