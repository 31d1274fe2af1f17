"""Who lies, echoes, withholds or copies pays, or gains nothing; no honest party loses by it."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import Member
from campaigns.harness.consortium import (
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITALS,
    LAB,
    STAND_BY,
    TASK,
    VERIFIERS,
    round_of,
    seat_of,
    version_of,
)
from client_sdk.payloads import confidential
from client_sdk.payloads.cid import Cid
from client_sdk.payloads.store import payload_cid
from client_sdk.secrets.age_identity import recipient_of
from contracts import tasks
from contracts.ballot_box import ATTESTATIONS, BOXES, SHARES
from contracts.ballots import Attest, OpenBallot, Seal
from contracts.kernel import bitmap
from contracts.lineage import Candidate, Finding, VersionStatus
from contracts.reputation import Verdict
from contracts.rounds import Round
from contracts.terms import Phase
from contracts.transition import parse
from services.rounds.round import attest_by
from services.verifier.verifier import Forgery
from tests import local_task
from tests.local_task import Watched, World, identities
from tests.services.rounds.memory_payloads import MemoryPayloads
from tests.services.stage import Stage

GOOD = {Verdict.CONFIRMED, Verdict.ACCEPTED, Verdict.FILTERED}  # A flag costs nothing by itself.


@pytest.fixture
def world(tmp_path: Path) -> World:
    return local_task.opened(tmp_path)


def the_honest_lost_nothing(stage: Stage, *, but: Member) -> None:
    """Every other verifier's ballot counted, and nothing was held against anybody else."""
    for name, verdicts in stage.verdicts().items():
        if name != but.name:
            assert Verdict.CONFIRMED in verdicts, name
            assert verdicts <= GOOD, name


def findings(world: World, version: int = 1) -> dict[int, Finding]:
    decided = version_of(world.chain, version)
    return dict(zip(bitmap.numbers(decided.agreed), map(Finding, decided.judgements), strict=True))


# False ballots ----------------------------------------------------------------------------------


def a_lie(candidate: Candidate | None, correct: int) -> tuple[Candidate | None, int]:
    assert candidate is not None
    return replace(candidate, judgements=bytes([Finding.MALFORMED, *candidate.judgements[1:]])), correct


@pytest.mark.parametrize("liar", [LAB, HOSPITAL_B], ids=["the first aggregator", "a hospital"])
def test_a_false_ballot_is_contradicted_and_pays_and_costs_the_round_nothing(world: World, liar: Member) -> None:
    stage = Stage(world)
    lying = stage.verifier(liar, forge=Forgery(vote=a_lie)).run()
    stage.run([lying, *stage.everybody(but=[liar])], until=stage.is_over(1))
    proposer = STAND_BY if liar == LAB else LAB
    assert stage.versions() == [(proposer.name, VersionStatus.PROMOTED)]
    assert set(findings(world).values()) <= {Finding.AGGREGATED, Finding.OUTLIER}
    assert stage.verdicts()[liar.name] - GOOD == {Verdict.CONTRADICTED}
    the_honest_lost_nothing(stage, but=liar)


def test_a_false_score_does_not_move_the_median(world: World) -> None:
    stage = Stage(world)
    boasting = stage.verifier(LAB, forge=Forgery(vote=lambda candidate, _correct: (candidate, 40))).run()
    stage.run([boasting, *stage.everybody(but=[LAB])], until=stage.is_over(1))
    honest = {one.correct for one in BOXES.at(world.chain.view, (TASK, 1)).ballots if one.organisation != LAB.name}
    assert {version_of(world.chain, 1).canary_correct} == honest


def test_a_verifier_that_never_opens_pays_and_the_round_is_decided_without_it(world: World) -> None:
    stage = Stage(world)
    silent = stage.verifier(HOSPITAL_B, forge=Forgery(opens=lambda _round: False)).run()
    stage.run([silent, *stage.everybody(but=[HOSPITAL_B])], until=stage.is_over(1))
    assert stage.versions() == [(LAB.name, VersionStatus.PROMOTED)]
    assert stage.verdicts()[HOSPITAL_B.name] - GOOD == {Verdict.UNOPENED}
    the_honest_lost_nothing(stage, but=HOSPITAL_B)


def test_no_opened_ballot_can_be_seen_while_one_can_still_be_sealed(world: World) -> None:
    """A rushing verifier waits to see what others say before it seals: there is never anything to see."""
    stage = Stage(world)
    stage.run(stage.everybody(but=[HOSPITAL_B]), until=stage.is_over(1))
    sent = [parse(raw) for raw in world.node.sent]
    tags = [envelope.tag for envelope in sent]
    assert tags.index(OpenBallot.tag) > len(tags) - 1 - tags[::-1].index(Seal.tag)
    assert stage.phase() is Phase.DECIDED
    assert stage.verdicts()[HOSPITAL_B.name] <= GOOD - {Verdict.CONFIRMED}, "who did not seal abstained"


# False attestations -----------------------------------------------------------------------------


def test_who_denies_to_hold_what_others_hold_harms_nobody(world: World) -> None:
    stage = Stage(world)
    denying = stage.verifier(HOSPITAL_B, forge=Forgery(attest=lambda _round, _held: bitmap.NOTHING)).run()
    stage.run([denying, *stage.everybody(but=[HOSPITAL_B])], until=stage.is_over(1))
    assert sorted(findings(world)) == [0, 1, 2, 3]
    the_honest_lost_nothing(stage, but=HOSPITAL_B)


def withholding(member: Member, patch: pytest.MonkeyPatch, world: World) -> Any:
    """A hospital that commits and serves nobody."""
    taking_part = world.participant(member)

    async def served(*_: Any) -> bool:
        return True

    patch.setattr(taking_part, "_served", served)
    return taking_part.contribute(1, world.trainer(member))


def test_one_liar_cannot_put_a_payload_into_the_set_that_nobody_was_served(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner withholds it, and one verifier claims to hold it: that is one, and the owner's own word is none."""
    world.open_round()
    stage = Stage(world)
    everything = Forgery(attest=lambda _round, _held: bitmap.of(range(4)))
    lying = [stage.verifier(member, forge=everything).run() for member in (LAB, HOSPITAL_A)]
    honest = [member for member in VERIFIERS if member not in (LAB, HOSPITAL_A)]
    jobs = [stage.aggregator().run(), *lying, *stage.verifiers(honest), *stage.hospitals(HOSPITALS[1:])]
    stage.run([*jobs, withholding(HOSPITAL_A, monkeypatch, world)], until=stage.is_over(1))
    assert sorted(findings(world)) == [1, 2, 3]
    assert stage.verdicts()[HOSPITAL_A.name] - GOOD == {Verdict.MISSING}
    the_honest_lost_nothing(stage, but=HOSPITAL_A)


def test_a_payload_that_is_withheld_is_missing_and_the_round_goes_on_without_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.open_round()
    stage = Stage(world)
    jobs = [stage.aggregator().run(), *stage.verifiers(), *stage.hospitals(HOSPITALS[1:])]
    stage.run([*jobs, withholding(HOSPITAL_A, monkeypatch, world)], until=stage.is_over(1))
    assert sorted(findings(world)) == [1, 2, 3]
    assert "attested 3 payloads of round 1" in stage.said
    assert stage.verdicts()[HOSPITAL_A.name] == {Verdict.MISSING, Verdict.CONFIRMED}
    the_honest_lost_nothing(stage, but=HOSPITAL_A)


# Serving some -----------------------------------------------------------------------------------


def readers_of(world: World, cid: str, size: int) -> set[str]:
    """The organisations that can decrypt what is at an address."""
    ciphertext, readers = asyncio.run(world.store.get(Cid.parse(cid), size)), set()
    for name, secret in identities().items():
        with contextlib.suppress(confidential.NotARecipient):
            confidential.decrypt(ciphertext, secret, max_bytes=10_000)
            readers.add(name)
    return readers


def test_a_participant_that_encrypts_to_two_of_five_is_read_by_all_and_nobody_is_false(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two encrypt it anew to everybody; the digest tells that it is what was committed to."""
    mine = world.participant(HOSPITAL_A)
    readers = [recipient_of(identities()[member.name]) for member in (HOSPITAL_B, STAND_BY)]

    async def two(_number: int) -> list[str]:
        return readers

    monkeypatch.setattr(mine, "readers", two)
    world.open_round()
    stage = Stage(world)
    jobs = [stage.aggregator().run(), *stage.verifiers(), *stage.hospitals(HOSPITALS[1:])]
    stage.run([*jobs, mine.contribute(1, world.trainer(HOSPITAL_A))], until=stage.is_over(1))
    rows = ATTESTATIONS.at(world.chain.view, (TASK, 1)).rows
    holders = {row.organisation for row in rows if bitmap.has(row.held, 0)}
    assert holders == {HOSPITAL_B.name, STAND_BY.name}
    assert sorted(findings(world)) == [0, 1, 2, 3]
    shared = SHARES.at(world.chain.view, (TASK, 1, HOSPITAL_A.name)).copies
    assert {copy.organisation for copy in shared} == holders
    assert all(readers_of(world, copy.cid, copy.size) == set(world.task.terms.recipients) for copy in shared)
    assert len([one for one in BOXES.at(world.chain.view, (TASK, 1)).ballots if one.opened]) == len(VERIFIERS)
    assert all(verdicts <= GOOD for verdicts in stage.verdicts().values())


def test_a_participant_that_serves_two_of_five_is_served_to_all_by_those_two(world: World) -> None:
    """Every organisation has a store of its own. The first hospital's is reached by two verifiers only."""
    public = MemoryPayloads({payload_cid(content): content for content in local_task.prepared().data.values()})
    stores = {member: MemoryPayloads() for member in VERIFIERS}
    for member, store in stores.items():
        reached = [other for other in VERIFIERS if other not in (member, HOSPITAL_A)]
        store.beside = [public, *(stores[other] for other in reached)]
        if member in (HOSPITAL_B, STAND_BY):
            store.beside.append(stores[HOSPITAL_A])
    behind = {member: Watched(store, world.clock) for member, store in stores.items()}  # type: ignore[arg-type]
    world.open_round()
    stage = Stage(world)
    verifiers = [
        stage.verifier(member, world.gatherer(member, behind[member])).run()  # type: ignore[arg-type]
        for member in VERIFIERS
    ]
    hospitals = [
        world.participant(member, behind[member]).contribute(1, world.trainer(member))  # type: ignore[arg-type]
        for member in HOSPITALS
    ]
    stage.run([stage.aggregator().run(), *verifiers, *hospitals], until=stage.is_over(1))
    rows = ATTESTATIONS.at(world.chain.view, (TASK, 1)).rows
    assert {row.held for row in rows} == {bitmap.of(range(4))}
    assert len(BOXES.at(world.chain.view, (TASK, 1)).ballots) == len(VERIFIERS)
    assert all(verdicts <= GOOD for verdicts in stage.verdicts().values())
    made = seat_of(world.chain, HOSPITAL_A).commitment
    assert made is not None
    assert all(Cid.parse(made.cid) in stores[member].kept for member in VERIFIERS)


# Copies -----------------------------------------------------------------------------------------


def test_a_copied_commitment_is_judged_and_pays_and_the_original_is_not_touched(world: World) -> None:
    world.open_round()
    stage = Stage(world)

    async def copying() -> None:
        client = world.client(HOSPITAL_B)
        await client.submit(consortium.reserve())
        while (made := commitment_of(world, HOSPITAL_A)) is None:  # noqa: ASYNC110 - a chain in memory rings no bell.
            await asyncio.sleep(0.001)
        await client.submit(consortium.commit(1, cid=made.cid, digest=made.digest, size=made.size))

    others = [hospital for hospital in HOSPITALS if hospital != HOSPITAL_B]
    jobs = [stage.aggregator().run(), *stage.verifiers(), *stage.hospitals(others)]
    stage.run([*jobs, copying()], until=stage.is_over(1))
    assert findings(world)[0] in (Finding.AGGREGATED, Finding.OUTLIER)
    assert findings(world)[1] is Finding.MISNAMED
    assert stage.verdicts()[HOSPITAL_B.name] == {Verdict.REFUSED, Verdict.CONFIRMED}
    the_honest_lost_nothing(stage, but=HOSPITAL_B)


def commitment_of(world: World, member: Member) -> Any:
    """What a member has committed to in round 1, if it has."""
    seat = consortium.contributions.SEATS.get(world.chain.view, (TASK, 1, member.name))
    return None if seat is None else seat.commitment


# Lying nodes ------------------------------------------------------------------------------------


def lying_gatherer(world: World, member: Member, lie: Callable[[Round], Round]) -> Any:
    """A gatherer whose node tells another round than there is, and proves the one that there is."""
    gatherer = world.gatherer(member)
    peek = gatherer.client.peek

    async def lying(state: Any, key: Any = ()) -> Any:
        found = await peek(state, key)
        return lie(found) if isinstance(found, Round) else found

    gatherer.client.peek = lying  # type: ignore[method-assign]
    return gatherer


def test_a_node_that_says_ballots_are_opened_does_not_make_a_verifier_open_its_own(world: World) -> None:
    """Whoever saw it could seal the same."""
    stage = Stage(world)
    lying = lying_gatherer(
        world,
        HOSPITAL_A,
        lambda current: replace(current, phase=Phase.OPENING) if sealed_by(world, HOSPITAL_A) else current,
    )
    jobs = [stage.aggregator().run(), *stage.verifiers(VERIFIERS[1:3]), *stage.hospitals()]
    after: list[int] = []

    def long_enough() -> bool:
        """Four block seconds after it has sealed, in which others may still."""
        if sealed_by(world, HOSPITAL_A) and not after:
            after.append(world.chain.time_ms + 4_000)
        return bool(after) and world.chain.time_ms >= after[0]

    # Three do not seal in time, so the phase lasts.
    late = [stage.verifier(member) for member in VERIFIERS[3:]]
    for each in late:
        each.seal = never  # type: ignore[method-assign]
    stage.run([*jobs, stage.verifier(HOSPITAL_A, lying).run(), *(each.run() for each in late)], until=long_enough)
    assert stage.phase() is Phase.SEALING
    assert OpenBallot.tag not in [parse(raw).tag for raw in world.node.sent]


async def never(_number: int) -> None:
    """A verifier that takes its time."""


def sealed_by(world: World, member: Member) -> bool:
    box = BOXES.get(world.chain.view, (TASK, 1))
    return box is not None and any(ballot.organisation == member.name for ballot in box.ballots)


def test_a_node_that_tells_the_wrong_time_makes_no_verifier_attest_before_it_is_due(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.open_round()
    stage = Stage(world)
    gatherer = lying_gatherer(
        world, LAB, lambda current: replace(current, began_at=0) if current.phase is Phase.ATTESTING else current
    )
    jobs = [stage.aggregator().run(), stage.verifier(LAB, gatherer).run(), *stage.verifiers(VERIFIERS[:4])]
    honest = stage.hospitals(HOSPITALS[1:])
    stage.run(
        [*jobs, *honest, withholding(HOSPITAL_A, monkeypatch, world)],
        until=lambda: Attest.tag in [parse(raw).tag for raw in world.node.sent],
    )
    current = round_of(world.chain)
    assert current.phase is Phase.ATTESTING
    assert world.chain.time_ms >= attest_by(world.task.terms, current)


def test_a_node_that_names_another_set_does_not_make_a_verifier_vote_over_it(world: World) -> None:
    stage = Stage(world)
    gatherer = lying_gatherer(world, LAB, lambda current: replace(current, agreed=bitmap.of([0, 1, 2])))
    jobs = [stage.aggregator().run(), stage.verifier(LAB, gatherer).run(), *stage.verifiers(VERIFIERS[:4])]
    stage.run([*jobs, *stage.verifiers([STAND_BY]), *stage.hospitals()], until=stage.is_over(1))
    assert stage.phase() is Phase.DECIDED
    assert stage.verdicts()[LAB.name] == {Verdict.CONFIRMED}


def test_a_node_that_names_seats_that_never_committed_does_not_stop_a_verifier(world: World) -> None:
    stage = Stage(world)
    more = bitmap.of(range(9))
    gatherer = lying_gatherer(world, LAB, lambda current: replace(current, committed=more, agreed=more))
    jobs = [stage.aggregator().run(), stage.verifier(LAB, gatherer).run(), *stage.verifiers(VERIFIERS[:4])]
    stage.run([*jobs, *stage.verifiers([STAND_BY]), *stage.hospitals()], until=stage.is_over(1))
    assert stage.phase() is Phase.DECIDED
    assert stage.verdicts()[LAB.name] <= {Verdict.CONFIRMED}


def test_a_node_that_says_the_task_is_over_does_not_stop_an_aggregator(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    gatherer = world.gatherer(LAB)
    peek, lies = gatherer.client.peek, iter([True, True])

    async def lying(state: Any, key: Any = ()) -> Any:
        found = await peek(state, key)
        if state is tasks.TASKS and next(lies, False):
            return replace(found, rounds=world.task.terms.max_rounds)
        return found

    monkeypatch.setattr(gatherer.client, "peek", lying)
    stage = Stage(world)
    jobs = [stage.aggregator(LAB, gatherer).run(), *stage.verifiers(), *stage.hospitals()]
    stage.run(jobs, until=stage.is_over(1))
    assert next(lies, None) is None
    assert stage.versions()[0] == (LAB.name, VersionStatus.PROMOTED)
