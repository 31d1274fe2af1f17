"""A round as it stands at a proved block: what the ledger's rules make of it there, at any size."""

import asyncio
from dataclasses import replace

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import Chain
from campaigns.harness.consortium import HOSPITAL_A, HOSPITALS, LAB, MODEL, TASK, VERIFIERS
from client_sdk.reads import view as views
from client_sdk.reads.queries import Moment
from client_sdk.reads.round_states import RoundState, state_of, version_of
from contracts import contributions, lineage, rounds, tasks
from contracts.governance import RollBackModel
from contracts.kernel import bitmap, limits
from contracts.lineage import Version
from contracts.rounds import Bill, Charged, OpenRound
from contracts.terms import Phase
from tests.local_ledger import LocalNode


def seen(chain: Chain, number: int = 1) -> RoundState:
    return state_of(chain.view, TASK, number, Moment(chain.height + 1, chain.time_ms))


def test_a_phase_is_over_with_its_last_millisecond_and_its_last_block_and_not_before() -> None:
    chain = consortium.reserved()
    current = consortium.round_of(chain)
    for height, time_ms, over in (
        (current.until_height, current.until, True),
        (current.until_height - 1, current.until, False),
        (current.until_height, current.until - 1, False),
    ):
        state = state_of(chain.view, TASK, 1, Moment(height, time_ms))
        assert (state.current.phase is Phase.VOID) is over
        assert bool(state.due) is over
        assert state.charged is (Charged.ABSENT if over else None)
        assert {place.bill for place in state.places} == {Bill.SPENT if over else Bill.HELD}


def test_the_barrier_by_time_is_seen_at_the_block_that_proves_it() -> None:
    chain = consortium.five_joined()
    chain.submit(LAB, OpenRound(TASK))
    consortium.succeed(chain, *((member, consortium.reserve()) for member in (*HOSPITALS, LAB)))
    consortium.succeed(chain, *((member, consortium.commit()) for member in HOSPITALS))
    consortium.let_pass(chain)
    state = seen(chain)
    assert consortium.round_of(chain).phase is Phase.COMMITTING, "nobody has written it"
    assert (state.current.phase, state.charged) == (Phase.ATTESTING, Charged.ALL)
    assert state.waiting == tuple(member.name for member in VERIFIERS)
    assert {place.bill for place in state.places} == {Bill.SPENT}


def test_who_can_still_act_is_named_in_every_phase() -> None:
    chain = consortium.round_open()
    hospitals, verifiers = [each.name for each in HOSPITALS], [each.name for each in VERIFIERS]
    consortium.succeed(chain, *((each, consortium.reserve()) for each in HOSPITALS[:1]))
    assert list(seen(chain).waiting) == hospitals[1:]
    consortium.succeed(chain, *((each, consortium.reserve()) for each in HOSPITALS[1:]))
    consortium.succeed(chain, *((each, consortium.commit()) for each in HOSPITALS[:3]))
    assert list(seen(chain).waiting) == hospitals[3:]
    consortium.succeed(chain, *((each, consortium.commit()) for each in HOSPITALS[3:]))
    consortium.attest_all(chain, by=VERIFIERS[:4])
    assert list(seen(chain).waiting) == verifiers[4:]
    consortium.attest_all(chain, by=VERIFIERS[4:])
    consortium.seal_all(chain, by=VERIFIERS[:5])
    assert list(seen(chain).waiting) == verifiers[5:]
    consortium.seal_all(chain, by=VERIFIERS[5:])
    consortium.open_all(chain, by=VERIFIERS[:2])
    assert list(seen(chain).waiting) == verifiers[2:]
    consortium.open_all(chain, by=VERIFIERS[2:])
    assert seen(chain).waiting == ()


def test_a_round_without_a_quorum_says_so_and_one_whose_base_fell_does_too() -> None:
    split = consortium.sealed()
    consortium.open_all(split, by=VERIFIERS[:4])
    consortium.pass_phase(split)
    assert seen(split).why_void == "no quorum of ballots: 4 agree, needed are 5"
    fallen = consortium.twice_promoted()
    fallen.submit(LAB, OpenRound(TASK))
    consortium.pass_proposal(fallen, RollBackModel(MODEL, 1, "drift"))
    assert seen(fallen, 3).why_void == "its base, version 2, fell"
    nothing = consortium.agreed()
    consortium.vote_all(nothing, named=consortium.candidate(nothing, artefact=None), correct=0)
    assert seen(nothing).why_void == "a quorum found that nothing follows from the set"


def test_the_version_of_a_round_is_found_by_its_place_among_the_others() -> None:
    chain = consortium.promoted()
    consortium.succeed(chain, (LAB, OpenRound(TASK)))
    consortium.pass_phase(chain, 2)  # Void: nobody reserved.
    consortium.run_round(chain)
    found: list[tuple[int, Version] | None] = [version_of(chain.view, MODEL, number) for number in range(1, 5)]
    assert [None if each is None else (each[0], each[1].round) for each in found] == [(1, 1), None, (2, 3), None]


def crowded(phase: Phase) -> Chain:
    """A round in which every organisation that there may be has committed, and whose phase is over."""
    chain = consortium.committed()
    current, seat = consortium.round_of(chain), consortium.seat_of(chain, HOSPITAL_A)
    roster = tasks.ROSTERS.at(chain.view, TASK).organisations
    part = tasks.PARTICIPATIONS.at(chain.view, (TASK, HOSPITAL_A.name))
    names = (*roster, *(f"hospital-{number}" for number in range(len(roster), limits.SEATS_PER_ROUND)))
    everybody = bitmap.of(range(len(names)))
    chain.given(
        tasks.ROSTERS.put(TASK, tasks.Roster(names)),
        rounds.ROUNDS.put((TASK, 1), replace(current, phase=phase, reserved=everybody, committed=everybody)),
        *(contributions.SEATS.put((TASK, 1, name), replace(seat, number=place)) for place, name in enumerate(names)),
        *(tasks.PARTICIPATIONS.put((TASK, name), replace(part, number=place)) for place, name in enumerate(names)),
    )
    consortium.let_pass(chain)
    return chain


@pytest.mark.parametrize("phase", [Phase.RESERVING, Phase.COMMITTING, Phase.ATTESTING])
def test_a_round_of_every_organisation_is_read_in_few_goes(phase: Phase, monkeypatch: pytest.MonkeyPatch) -> None:
    node = LocalNode(crowded(phase))
    monkeypatch.setattr(views, "RUNS", 24)  # A few for each verifier, and none for a seat.

    async def read() -> RoundState:
        async with node.client().at() as view:
            return await view.run(lambda state: state_of(state, TASK, 1, view.now))

    state = asyncio.run(read())
    assert len(state.places) == limits.SEATS_PER_ROUND
    assert state.due


def test_the_status_of_a_version_in_a_long_line_is_within_what_a_rule_may_ask_for() -> None:
    chain, many = consortium.promoted(), 2_000
    model, version = lineage.MODELS.at(chain.view, MODEL), consortium.version_of(chain, 1)
    for number in range(2, many + 1):
        depth, jump = lineage.child_of(chain.view, MODEL, number - 1)
        entry = replace(version, parent=number - 1, depth=depth, jump=jump, round=number)
        chain.given(lineage.VERSIONS.put((MODEL, number), entry))
    chain.given(lineage.MODELS.put(MODEL, replace(model, current=many, latest=many)))
    consortium.pass_proposal(chain, RollBackModel(MODEL, many // 3, "drift"))
    client = LocalNode(chain).client()
    for number in (many // 3 - 1, many // 3 + 7, many):
        status = asyncio.run(client.ask(lambda view, number=number: lineage.status_of(view, MODEL, number)))
        assert status is consortium.status_of(chain, number)
