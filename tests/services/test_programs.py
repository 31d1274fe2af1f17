"""Aggregators and verifiers run rounds over the real rules, through deaths, absences, outages and restarts."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import BlockStep, Member
from campaigns.harness.consortium import (
    AUDITOR,
    HOSPITAL_A,
    HOSPITALS,
    LAB,
    MODEL,
    STAND_BY,
    TASK,
    VERIFIERS,
    deviation_of,
    round_of,
    seat_of,
    version_of,
)
from client_sdk.client import LedgerClient, NotDecided
from client_sdk.payloads.errors import StoreUnavailable
from client_sdk.rpc import NodeUnavailable
from client_sdk.training.task import load_version
from contracts import identity, lineage, rounds, tasks
from contracts.ballot_box import BOXES
from contracts.ballots import AdvanceRound, Seal
from contracts.kernel import bitmap, crypto
from contracts.lineage import VersionStatus
from contracts.models import NotAVerifier, RaiseAlarm
from contracts.rounds import Charged
from contracts.tasks import NotYourTask
from contracts.terms import Phase
from contracts.transition import parse
from learning.feed_forward import FeedForward
from services.aggregator.aggregator import Aggregator
from services.rounds.gather import Gatherer
from services.rounds.observe import on_blocks
from services.verifier.verifier import Verifier
from tests import local_task
from tests.local_task import Job, World
from tests.services.rounds.test_gather import sealed
from tests.services.stage import Stage


@pytest.fixture
def world(tmp_path: Path) -> World:
    return local_task.opened(tmp_path)


def conduct(world: World) -> dict[str, int]:
    """Everybody's reputation."""
    return {member.name: deviation_of(world.chain, member) for member in VERIFIERS}


# Rounds by themselves ---------------------------------------------------------------------------


def test_two_rounds_run_by_themselves_and_every_version_is_what_all_verifiers_opened(world: World) -> None:
    stage = Stage(world)
    stage.run(stage.everybody(), until=stage.is_over(2))
    assert stage.versions() == [(LAB.name, VersionStatus.SUPERSEDED), (LAB.name, VersionStatus.PROMOTED)]
    for number in (1, 2):
        assert stage.said.count(f"opened round {number}") == 1
        assert stage.said.count(f"attested 4 payloads of round {number}") == len(VERIFIERS)
        assert stage.said.count(f"sealed a ballot for round {number}") == len(VERIFIERS)
        box = BOXES.at(world.chain.view, (TASK, number)).ballots
        assert {ballot.opened for ballot in box} == {version_of(world.chain, number).digest}
    assert not any("is over" in text for text in stage.said), "nobody waited for a phase's time"
    assert all(deviation_of(world.chain, member) > 0 for member in VERIFIERS if member not in HOSPITALS)


def test_the_bytes_of_a_version_are_served_before_it_is_decided(world: World) -> None:
    stage = Stage(world)
    stage.run(stage.everybody(), until=stage.is_over(1))
    _, units = asyncio.run(load_version(world.node.client(), world.store, world.task, 1))
    assert units.any()


def test_a_stand_by_runs_the_task_alone_when_the_first_aggregator_never_comes(world: World) -> None:
    stage = Stage(world)
    jobs = [stage.aggregator(STAND_BY).run(), *stage.verifiers(VERIFIERS[:5]), *stage.hospitals()]
    stage.run(jobs, until=stage.is_over(2))
    assert [status for _, status in stage.versions()] == [VersionStatus.SUPERSEDED, VersionStatus.PROMOTED]


def test_without_any_aggregator_the_verifiers_bring_a_round_to_its_end(world: World) -> None:
    """One of them is silent, so phases end by time; the first verifier writes that down, a grace after the labs."""
    world.open_round()
    stage = Stage(world)
    stage.run([*stage.verifiers(HOSPITALS), *stage.verifiers([LAB]), *stage.hospitals()], until=stage.is_over(1))
    assert stage.phase() is Phase.DECIDED
    advances = [parse(raw) for raw in world.node.sent if parse(raw).tag == AdvanceRound.tag]
    assert {envelope.key for envelope in advances} == {HOSPITAL_A.worker.public}


def test_an_aggregator_killed_after_every_block_neither_loses_nor_repeats_anything(world: World) -> None:
    """Each life of the process sees the ledger once, acts once and dies."""
    stage = Stage(world)
    lives = lives_of(world, lambda: stage.aggregator().run())
    stage.run([lives, *stage.verifiers(), *stage.hospitals()], until=stage.is_over(2))
    assert [status for _, status in stage.versions()] == [VersionStatus.SUPERSEDED, VersionStatus.PROMOTED]


def test_verifiers_killed_after_every_block_open_what_they_sealed_and_nobody_pays(world: World) -> None:
    stage = Stage(world)
    lives = [lives_of(world, lambda member=member: stage.verifier(member).run()) for member in VERIFIERS]  # type: ignore[misc]
    stage.run([stage.aggregator().run(), *lives, *stage.hospitals()], until=stage.is_over(1))
    assert stage.versions() == [(LAB.name, VersionStatus.PROMOTED)]
    assert all(deviation > 0 for deviation in conduct(world).values())


def lives_of(world: World, birth: Callable[[], Job]) -> Job:
    """A process that is killed some blocks after it was started, and started again, for ever."""

    async def lives() -> None:
        while True:
            program = asyncio.ensure_future(birth())
            blocks = 0
            async for _ in world.node.heads.after():
                blocks += 1
                if blocks == 3:
                    break
            program.cancel()
            await asyncio.wait([program])

    return lives()


def test_a_verifier_restarted_between_sealing_and_opening_opens_its_first_ballot(world: World) -> None:
    stage = Stage(world)
    jobs = [stage.aggregator().run(), *stage.verifiers(VERIFIERS[1:]), *stage.hospitals()]
    sealed = [stage.verifier(HOSPITAL_A).run()]
    reached: Callable[[], bool] = lambda: any(  # noqa: E731 - the moment, by name.
        parse(raw).tag == Seal.tag and parse(raw).key == HOSPITAL_A.worker.public for raw in world.node.sent
    )
    stage.run([*jobs, *sealed], until=reached)
    stage.run([*stage.everybody()], until=stage.is_over(1))
    mine = [raw for raw in world.node.sent if parse(raw).key == HOSPITAL_A.worker.public]
    assert [parse(raw).tag for raw in mine].count(Seal.tag) == 1
    assert deviation_of(world.chain, HOSPITAL_A) > 0


# Drop-outs --------------------------------------------------------------------------------------


async def drops_out(world: World, member: Member) -> None:
    """Reserve in round 1, and be heard of no more until the next."""
    taking_part = world.participant(member)
    async for number in taking_part.rounds():
        await taking_part.reserve(number)
        return


def test_a_round_with_a_drop_out_and_no_seat_to_spare_is_void_it_alone_pays_and_the_next_one_runs(world: World) -> None:
    stage = Stage(world)
    others = [stage.hospital(member) for member in HOSPITALS[1:]]
    jobs = [stage.aggregator().run(), *stage.verifiers(), *others]
    stage.run([*jobs, drops_out(world, HOSPITAL_A)], until=stage.is_over(1))
    current = round_of(world.chain)
    assert (current.phase, current.charged) == (Phase.VOID, Charged.ABSENT)
    stage.run(stage.everybody(), until=stage.is_over(2))
    assert stage.phase(2) is Phase.DECIDED


def test_a_round_with_a_seat_to_spare_goes_on_without_a_drop_out(world: World) -> None:
    number = world.open_round()
    world.chain.given(rounds.ROUNDS.put((TASK, number), replace(round_of(world.chain), needed=3)))
    stage = Stage(world)
    others = [stage.hospital(member) for member in HOSPITALS[1:]]
    stage.run(
        [stage.aggregator().run(), *stage.verifiers(), drops_out(world, HOSPITAL_A), *others], until=stage.is_over(1)
    )
    assert stage.phase() is Phase.DECIDED
    assert bitmap.numbers(version_of(world.chain, 1).agreed) == (1, 2, 3)


def test_a_round_whose_payloads_are_no_use_is_void_by_agreement_and_who_sent_them_pays(world: World) -> None:
    stage = Stage(world)

    async def nonsense(member: Member) -> None:
        payload = sealed(b"nothing of use " + member.name.encode())
        cid = await world.store.put(payload)
        digest = crypto.sha256(b"nothing of use " + member.name.encode())
        client = world.client(member)
        async for number in world.participant(member).rounds():
            await client.submit(consortium.reserve(number))
            while round_of(world.chain, number).phase is Phase.RESERVING:  # noqa: ASYNC110 - a chain in memory.
                await asyncio.sleep(0.001)
            await client.submit(consortium.commit(number, cid=str(cid), size=len(payload), digest=digest))

    jobs = [stage.aggregator().run(), *stage.verifiers(), *map(nonsense, HOSPITALS)]
    stage.run(jobs, until=lambda: stage.round(2) is not None)
    assert stage.phase() is Phase.VOID
    assert stage.versions() == []
    assert stage.said.count("opened a ballot for round 1: nothing follows") == len(VERIFIERS)
    of = conduct(world)
    assert all(of[member.name] > 0 for member in VERIFIERS if member not in HOSPITALS)
    assert all(of[member.name] < 0 for member in HOSPITALS), "who sent what is no use pays"


def test_a_stolen_key_in_the_set_sends_everybody_back_to_a_ballot_over_the_rest(world: World) -> None:
    """Every ballot over the old set is opened and pays nothing; the round is decided by new ones."""
    stage = Stage(world)
    stage.run(stage.everybody(), until=stage.is_in(Phase.OPENING))
    made = seat_of(world.chain, HOSPITAL_A).commitment
    assert made is not None
    key = identity.KEYS.at(world.chain.view, made.signer)
    world.chain.given(identity.KEYS.put(made.signer, replace(key, revoked_from=made.place)))
    others = [stage.aggregator().run(), *stage.verifiers(VERIFIERS[1:]), *stage.hospitals(HOSPITALS[1:])]
    stage.run(others, until=stage.is_over(1))
    assert stage.phase() is Phase.DECIDED
    assert bitmap.numbers(version_of(world.chain, 1).agreed) == (1, 2, 3)
    seals = [raw for raw in world.node.sent if parse(raw).tag == Seal.tag and parse(raw).key == LAB.worker.public]
    assert len(seals) == 2


# Opening, waiting, ending -----------------------------------------------------------------------


def test_a_held_aggregator_opens_nothing_and_goes_on_when_it_is_let(world: World) -> None:
    stage, held = Stage(world), [True]
    after = world.chain.time_ms + 20_000
    aggregator = stage.aggregator(pause=lambda: held[0])
    stage.run([aggregator.run()], until=lambda: world.chain.time_ms > after)
    assert stage.round(1) is None
    held[0] = False
    stage.run([aggregator.run()], until=lambda: stage.round(1) is not None)


def test_too_few_participants_are_waited_for_without_a_transaction_in_any_block(world: World) -> None:
    stage = Stage(world)
    task = tasks.TASKS.at(world.chain.view, TASK)
    world.chain.given(tasks.TASKS.put(TASK, replace(task, participants=3)))
    after, before = world.chain.time_ms + 20_000, world.chain.height
    stage.run([stage.aggregator().run(), *stage.verifiers()], until=lambda: world.chain.time_ms > after)
    made = [step for step in world.chain.steps if isinstance(step, BlockStep) and step.height > before]
    assert made
    assert not any(step.txs for step in made)


def finished(world: World) -> None:
    """As if the task had had its last round."""
    number = world.open_round()
    task, last = tasks.TASKS.at(world.chain.view, TASK), world.task.terms.max_rounds
    over = replace(round_of(world.chain, number), phase=Phase.VOID)
    ended = replace(task, rounds=last, trained=last)
    world.chain.given(tasks.TASKS.put(TASK, ended), rounds.ROUNDS.put((TASK, last), over))
    world.chain.block()


def test_a_task_that_had_all_its_rounds_ends_the_program(world: World) -> None:
    finished(world)
    stage = Stage(world)
    asyncio.run(stage.aggregator().run())
    assert stage.said == [f"task {TASK} has had all its rounds"]


def test_an_organisation_that_the_terms_do_not_name_is_told_so_before_anything_runs(world: World) -> None:
    with pytest.raises(NotYourTask):
        Aggregator(world.gatherer(HOSPITAL_A), HOSPITAL_A.name)
    with pytest.raises(NotAVerifier):
        Verifier(world.gatherer(AUDITOR), AUDITOR.name, world.ballots(AUDITOR))


# Outages ----------------------------------------------------------------------------------------


@dataclass
class Faulty:
    """Stands in front of a client or a store: one call raises, once, then everything works."""

    inner: Any
    method: str
    error: Exception
    raised: int = 0

    def __getattr__(self, name: str) -> Any:
        original = getattr(self.inner, name)
        if name != self.method or self.raised:
            return original

        async def failing(*arguments: Any, **options: Any) -> Any:
            if not self.raised:
                self.raised += 1
                raise self.error
            return await original(*arguments, **options)

        return failing


def faulty_gatherer(world: World, member: Member, where: str, method: str, error: Exception) -> tuple[Gatherer, Faulty]:
    honest = world.gatherer(member)
    faulty = Faulty(honest.client if where == "client" else honest.store, method, error)
    client: LedgerClient = faulty if where == "client" else honest.client  # type: ignore[assignment]
    store = faulty if where == "store" else honest.store
    return Gatherer(client, store, world.task, honest.identities), faulty  # type: ignore[arg-type]


FAULTS = [
    ("client", "submit", NodeUnavailable(["http://node"], ["it restarts"])),
    ("client", "submit", NotDecided("it expired")),
    ("client", "ask", NodeUnavailable(["http://node"], ["it restarts"])),
    ("store", "get", StoreUnavailable("kubo", "it restarts")),
    ("store", "put", StoreUnavailable("kubo", "the disk is full")),
]
IDS = [f"{where}.{method} {type(error).__name__}" for where, method, error in FAULTS]


@pytest.mark.parametrize(("where", "method", "error"), FAULTS, ids=IDS)
def test_an_outage_costs_a_verifier_a_block_and_no_more(
    world: World, where: str, method: str, error: Exception
) -> None:
    stage = Stage(world)
    gatherer, faulty = faulty_gatherer(world, HOSPITAL_A, where, method, error)
    mine = stage.verifier(HOSPITAL_A, gatherer).run()
    stage.run(
        [stage.aggregator().run(), mine, *stage.verifiers(VERIFIERS[1:]), *stage.hospitals()],
        until=stage.is_over(1),
    )
    assert faulty.raised
    assert stage.versions() == [(LAB.name, VersionStatus.PROMOTED)]
    opened = {ballot.organisation for ballot in BOXES.at(world.chain.view, (TASK, 1)).ballots if ballot.opened}
    assert HOSPITAL_A.name in opened


@pytest.mark.parametrize("error", [fault[2] for fault in FAULTS[:2]], ids=IDS[:2])
def test_an_outage_costs_an_aggregator_a_block_and_no_more(world: World, error: Exception) -> None:
    stage = Stage(world)
    gatherer, faulty = faulty_gatherer(world, LAB, "client", "submit", error)
    jobs = [stage.aggregator(LAB, gatherer).run(), *stage.verifiers(), *stage.hospitals()]
    stage.run(jobs, until=stage.is_over(1))
    assert faulty.raised
    assert stage.versions() == [(LAB.name, VersionStatus.PROMOTED)]


def test_a_node_that_knows_of_no_task_for_a_while_is_looked_at_again(world: World) -> None:
    gatherer = world.gatherer(LAB)
    peek, told = gatherer.client.peek, iter([True, False])

    async def lying(state: Any, key: Any = ()) -> Any:
        return None if state is tasks.TASKS and not next(told, True) else await peek(state, key)

    async def observed() -> None:
        with pytest.MonkeyPatch.context() as patch:
            async with aclosing(on_blocks(gatherer.client, world.task, LAB.name)) as seen:  # type: ignore[type-var]
                assert (await anext(seen)).task.rounds == 0
                patch.setattr(gatherer.client, "peek", lying)
                next(told)
                waiting = asyncio.create_task(anext(seen))  # type: ignore[arg-type]
                await asyncio.sleep(0.01)
                world.chain.block()
                assert (await waiting).task.rounds == 0

    asyncio.run(observed())
    assert next(told, None) is None


# Probes -----------------------------------------------------------------------------------------


def test_a_probe_that_finds_something_raises_one_alarm_and_a_quorum_of_them_quarantines(world: World) -> None:
    stage = Stage(world)

    def probe(_network: FeedForward, _canary: object) -> tuple[str, bytes]:
        return "backdoor probe", b"the trigger that was found"

    watchful = [stage.verifier(member, probe=probe).run() for member in VERIFIERS]
    stage.run(
        [stage.aggregator(pause=lambda: stage.round(1) is not None).run(), *watchful, *stage.hospitals()],
        until=lambda: stage.versions()[:1] == [(LAB.name, VersionStatus.QUARANTINED)],
    )
    assert lineage.MODELS.at(world.chain.view, MODEL).current == 0
    alarms = [parse(raw) for raw in world.node.sent if parse(raw).tag == RaiseAlarm.tag]
    assert len({envelope.key for envelope in alarms}) == len(alarms)


def test_an_alarm_that_was_not_decided_is_raised_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five of six must agree, and each loses its first alarm: only alarms raised again can quarantine."""
    stage = Stage(world)
    watchful = []
    for member in VERIFIERS:
        gatherer = world.gatherer(member)
        monkeypatch.setattr(gatherer.client, "submit", losing_first_alarm(gatherer.client.submit))
        watchful.append(stage.verifier(member, gatherer, probe=lambda _network, _canary: ("found", b"it")).run())
    stage.run(
        [stage.aggregator(pause=lambda: stage.round(1) is not None).run(), *watchful, *stage.hospitals()],
        until=lambda: stage.versions()[:1] == [(LAB.name, VersionStatus.QUARANTINED)],
    )


def losing_first_alarm(submit: Callable[[Any], Any]) -> Callable[[Any], Any]:
    lost = []

    async def submitting(message: Any) -> Any:
        if isinstance(message, RaiseAlarm) and not lost:
            lost.append(message)
            raise NotDecided("the alarm expired")
        return await submit(message)

    return submitting
