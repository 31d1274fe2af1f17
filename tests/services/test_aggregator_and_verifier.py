"""The programs: aggregators and verifiers run rounds over the real rules, through deaths, lies and silence."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import BlockStep, Member
from campaigns.harness.consortium import HOSPITAL_A, HOSPITAL_B, HOSPITALS, LAB, MODEL, STAND_BY, TASK
from client_sdk.client import LedgerClient, NotDecided
from client_sdk.payloads.block_folder import BlockFolder
from client_sdk.payloads.cid import Cid
from client_sdk.payloads.errors import StoreUnavailable
from client_sdk.rpc import AnswerMalformed, NodeUnavailable
from contracts import contributions, lineage, rounds
from contracts.lineage import Candidate, VersionStatus
from contracts.models import ProposeVersion, RaiseAlarm
from contracts.reputation import CHANGES, Verdict
from contracts.rounds import CloseRound, NotYourTask, Progress
from learning.feed_forward import FeedForward
from services.aggregator.aggregator import Aggregator
from services.rounds.gather import Gatherer
from services.rounds.observe import observe, on_blocks
from services.rounds.recompute import NothingToPropose
from services.verifier.verifier import Verifier
from tests import local_task
from tests.local_task import World

Job = Coroutine[Any, Any, Any]
STILL = 3  # So many looks without anybody at work make a second of block time pass.


@pytest.fixture
def world(tmp_path: Path) -> World:
    return local_task.opened(tmp_path)


@dataclass
class Stage:
    """Programs on one loop, and a clock that makes an empty block whenever nobody does anything."""

    world: World
    said: list[str] = field(default_factory=list)
    busy: int = 0

    def aggregator(self, lab: Member = LAB, gatherer: Gatherer | None = None, **options: Any) -> Aggregator:
        program = Aggregator(gatherer or self.world.gatherer(lab), lab.name, say=self.said.append, **options)
        return self.watched(program, "act")

    def verifier(self, member: Member, gatherer: Gatherer | None = None, **options: Any) -> Verifier:
        program = Verifier(gatherer or self.world.gatherer(member), member.name, say=self.said.append, **options)
        return self.watched(program, "vote")

    def watched(self, program: Any, method: str) -> Any:
        """The clock stands still while the program is in this method."""
        original = getattr(program, method)

        async def working(*arguments: Any) -> Any:
            self.busy += 1
            try:
                return await original(*arguments)
            finally:
                self.busy -= 1

        setattr(program, method, working)
        return program

    def verifiers(self) -> list[Job]:
        return [self.verifier(member).run() for member in (*HOSPITALS, STAND_BY, LAB)]

    async def hospital(self, member: Member) -> None:
        taking_part = self.watched(self.world.participant(member), "contribute")
        trainer = self.world.trainer(member)
        async for number in taking_part.rounds():
            await taking_part.contribute(number, trainer)

    def hospitals(self) -> list[Job]:
        return [self.hospital(member) for member in HOSPITALS]

    def run(self, jobs: list[Job], until: Callable[[], bool]) -> None:
        """Run everything until something is true of the ledger, or half an hour of block time is over."""
        asyncio.run(self._run(jobs, until))

    async def _run(self, jobs: list[Job], until: Callable[[], bool]) -> None:
        tasks = [asyncio.create_task(job) for job in jobs]
        chain, last, still = self.world.chain, self.world.chain.height, 0
        deadline = chain.time_ms + 1_800_000
        while not until():
            await asyncio.sleep(0.005)
            for task in tasks:
                if task.done():
                    task.result()  # A program that died fails the test.
            still = 0 if self.busy or chain.height != last else still + 1
            if still == STILL:
                self.world.node.let_pass(1_000)
                still = 0
            last = chain.height
            assert chain.time_ms < deadline, f"nothing more happens: {self.said}"
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def is_decided(self, number: int) -> Callable[[], bool]:
        def decided() -> bool:
            current = self.round(number)
            return current is not None and current.status is rounds.RoundStatus.DECIDED

        return decided

    def round(self, number: int) -> rounds.Round | None:
        return rounds.ROUNDS.get(self.world.chain.view, (TASK, number))

    def versions(self) -> list[tuple[str, VersionStatus]]:
        view = self.world.chain.view
        latest = lineage.MODELS.at(view, MODEL).latest
        found = [lineage.VERSIONS.at(view, (MODEL, number)) for number in range(1, latest + 1)]
        return [(version.proposer, version.status) for version in found]


def a_lie(candidate: Candidate) -> Candidate:
    return replace(candidate, canary_correct=(candidate.canary_correct + 1) % candidate.canary_total)


def test_two_rounds_run_by_themselves_and_every_version_is_confirmed_by_recomputation(world: World) -> None:
    stage = Stage(world)
    stage.run([stage.aggregator().run(), *stage.verifiers(), *stage.hospitals()], until=stage.is_decided(2))
    assert stage.versions() == [(LAB.name, VersionStatus.SUPERSEDED), (LAB.name, VersionStatus.PROMOTED)]
    assert stage.said.count("opened round 1") == stage.said.count("closed round 1") == 1
    assert stage.said.count("proposed a version for round 1") == 1
    assert "confirmed version 1 proposed by lab" in stage.said


def test_a_lie_is_contradicted_the_stand_by_proposes_the_truth_and_the_first_one_pays(world: World) -> None:
    stage = Stage(world)
    liar, honest = stage.aggregator(forge=a_lie), stage.aggregator(STAND_BY)
    stage.run([liar.run(), honest.run(), *stage.verifiers(), *stage.hospitals()], until=stage.is_decided(1))
    assert stage.versions() == [(LAB.name, VersionStatus.REFUSED), (STAND_BY.name, VersionStatus.PROMOTED)]
    assert "contradicted version 1 proposed by lab" in stage.said
    assert consortium.deviation_of(world.chain, LAB) <= CHANGES[Verdict.FALSE_PROPOSAL] + 2 * CHANGES[Verdict.CONFIRMED]


def test_verifiers_that_find_nothing_to_propose_for_different_reasons_vote_the_same_digest(world: World) -> None:
    number = world.open_round()
    asyncio.run(world.contribute(number))
    world.chain.submit(LAB, CloseRound(TASK, number))
    world.chain.submit(LAB, ProposeVersion(asyncio.run(world.gatherer(LAB).recompute(number)).candidate))
    kept = {HOSPITAL_A: HOSPITALS[:1], HOSPITAL_B: ()}  # Whose payloads each of the two gets.
    for verifier, served in kept.items():
        gatherer = world.gatherer(verifier, asyncio.run(store_with(world, number, served)))
        with pytest.raises(NothingToPropose, match=f"{len(served)} usable updates"):
            asyncio.run(gatherer.recompute(number))
        seen = asyncio.run(observe(gatherer.client, world.task, verifier.name))
        asyncio.run(Verifier(gatherer, verifier.name).vote(1, seen))
    ballots = lineage.VERSIONS.at(world.chain.view, (MODEL, 1)).ballots
    assert {ballot.organisation: ballot.digest for ballot in ballots} == {
        member.name: lineage.NO_CANDIDATE for member in kept
    }


async def store_with(world: World, number: int, members: Iterable[Member]) -> BlockFolder:
    """A store that holds the task's public bytes and the payloads of some members only."""
    some = BlockFolder(world.folder / f"store-of-{len(tuple(members))}")
    for content in local_task.prepared().data.values():
        await some.put(content)
    for member in members:
        commitment = contributions.commitment_of(world.chain.view, TASK, number, member.name, consortium.DATASET)
        await some.put(await world.store.get(Cid.parse(commitment.cid), commitment.size))
    return some


def test_a_node_that_says_the_task_is_over_does_not_stop_an_aggregator(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    gatherer = world.gatherer(LAB)
    peek, lies = gatherer.client.peek, iter([True, True])

    async def lying(state: Any, key: Any = ()) -> Any:
        found = await peek(state, key)
        if state is rounds.TASKS and next(lies, False):
            return consortium.replace(found, rounds=world.task.terms.max_rounds)
        return found

    monkeypatch.setattr(gatherer.client, "peek", lying)
    stage = Stage(world)
    stage.run(
        [stage.aggregator(LAB, gatherer).run(), *stage.verifiers(), *stage.hospitals()], until=stage.is_decided(1)
    )
    assert next(lies, None) is None
    assert stage.versions()[0] == (LAB.name, VersionStatus.PROMOTED)


def test_a_stand_by_runs_the_task_alone_when_the_first_aggregator_never_comes(world: World) -> None:
    stage = Stage(world)
    stage.run([stage.aggregator(STAND_BY).run(), *stage.verifiers(), *stage.hospitals()], until=stage.is_decided(2))
    assert stage.versions()[0] == (STAND_BY.name, VersionStatus.SUPERSEDED)


def test_an_aggregator_killed_after_every_transaction_neither_loses_nor_repeats_one(world: World) -> None:
    """Each life of the process sees the ledger once, acts once and dies."""
    stage = Stage(world)

    async def lives() -> None:
        while True:
            program = asyncio.create_task(stage.aggregator().run())
            async for _ in world.node.heads.after():
                break
            program.cancel()
            await asyncio.wait([program])

    stage.run([lives(), *stage.verifiers(), *stage.hospitals()], until=stage.is_decided(2))
    assert [status for _, status in stage.versions()] == [VersionStatus.SUPERSEDED, VersionStatus.PROMOTED]


def test_a_round_with_a_drop_out_is_closed_after_the_deadline_with_the_others(world: World) -> None:
    stage = Stage(world)

    async def drop_out() -> None:
        taking_part = world.participant(HOSPITAL_A)
        async for number in taking_part.rounds():
            await taking_part.reserve(number)
            return

    async def waiting() -> None:
        await drop_out()
        await asyncio.sleep(3600)

    others = [stage.hospital(member) for member in HOSPITALS[1:]]
    stage.run([stage.aggregator().run(), *stage.verifiers(), waiting(), *others], until=stage.is_decided(1))
    current = stage.round(1)
    assert current is not None
    assert [seat.progress for seat in current.seats] == [Progress.RESERVED, *[Progress.PUBLISHED] * 3]
    assert current.closed_at >= current.commit_by


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
    task = rounds.TASKS.at(world.chain.view, TASK)
    world.chain.given(rounds.TASKS.put(TASK, replace(task, participants=task.participants[:2])))
    after = world.chain.time_ms + 20_000
    before = world.chain.height
    stage.run([stage.aggregator().run()], until=lambda: world.chain.time_ms > after)
    made = [step for step in world.chain.steps if isinstance(step, BlockStep) and step.height > before]
    assert made
    assert not any(step.txs for step in made)


def test_a_round_without_enough_good_payloads_passes_and_the_next_one_opens(world: World) -> None:
    stage = Stage(world)

    async def nonsense(member: Member) -> None:
        taking_part = world.participant(member)
        async for number in taking_part.rounds():
            cid = await world.store.put(b"nothing of use " + member.name.encode())
            await taking_part.client.submit(consortium.reserve(number))
            await taking_part.client.submit(consortium.commit(number, cid=str(cid), size=200))
            await taking_part.client.submit(consortium.publish(number))

    stage.run(
        [stage.aggregator().run(), stage.aggregator(STAND_BY).run(), *map(nonsense, HOSPITALS)],
        until=lambda: stage.round(2) is not None,
    )
    first = stage.round(1)
    assert first is not None
    assert first.status is rounds.RoundStatus.VOID
    assert stage.versions() == []
    assert sum("nothing to propose in round 1" in text for text in stage.said) == 2


def test_a_task_that_had_all_its_rounds_ends_the_program(world: World) -> None:
    stage = Stage(world)
    task = rounds.TASKS.at(world.chain.view, TASK)
    over = replace(consortium.round_of(consortium.closed()), status=rounds.RoundStatus.VOID)
    last = world.task.terms.max_rounds
    world.chain.given(rounds.TASKS.put(TASK, replace(task, rounds=last)), rounds.ROUNDS.put((TASK, last), over))
    world.chain.block()
    asyncio.run(stage.aggregator().run())
    assert stage.said == [f"task {TASK} has had all its rounds"]


def test_an_organisation_that_the_terms_do_not_name_is_told_so_before_anything_runs(world: World) -> None:
    with pytest.raises(NotYourTask):
        Aggregator(world.gatherer(HOSPITAL_A), HOSPITAL_A.name)


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
    ("client", "ask", NodeUnavailable(["http://node"], ["it restarts"])),
    ("store", "get", StoreUnavailable("kubo", "it restarts")),
    ("store", "put", StoreUnavailable("kubo", "the disk is full")),
]


@pytest.mark.parametrize(("where", "method", "error"), FAULTS, ids=[f"{one[0]}.{one[1]}" for one in FAULTS])
def test_an_outage_costs_an_aggregator_a_block_and_no_more(
    world: World, where: str, method: str, error: Exception
) -> None:
    stage = Stage(world)
    gatherer, faulty = faulty_gatherer(world, LAB, where, method, error)
    aggregator = stage.aggregator(LAB, gatherer)
    stage.run([aggregator.run(), *stage.verifiers(), *stage.hospitals()], until=stage.is_decided(1))
    assert faulty.raised == 1
    assert stage.versions() == [(LAB.name, VersionStatus.PROMOTED)]


@pytest.mark.parametrize(("where", "method", "error"), FAULTS, ids=[f"{one[0]}.{one[1]}" for one in FAULTS])
def test_an_outage_costs_a_verifier_a_block_and_no_more(
    world: World, where: str, method: str, error: Exception
) -> None:
    stage = Stage(world)
    gatherer, faulty = faulty_gatherer(world, HOSPITAL_B, where, method, error)
    verifier = stage.verifier(HOSPITAL_B, gatherer)
    others = [stage.verifier(member).run() for member in (HOSPITAL_A, *HOSPITALS[2:])]
    stage.run([stage.aggregator().run(), verifier.run(), *others, *stage.hospitals()], until=stage.is_decided(1))
    assert faulty.raised == 1
    ballots = lineage.VERSIONS.at(world.chain.view, (MODEL, 1)).ballots
    assert HOSPITAL_B.name in {ballot.organisation for ballot in ballots}  # Four of five: its vote was needed.


def test_a_node_that_falls_silent_between_two_blocks_is_waited_for(world: World) -> None:
    stage = Stage(world)
    gatherer = world.gatherer(LAB)
    faulty = Faulty(gatherer.client, "peek", NodeUnavailable(["http://node"], ["it restarts"]), raised=1)
    gatherer.client = faulty  # type: ignore[assignment]
    program = stage.aggregator(LAB, gatherer).run()

    async def silence() -> None:
        await asyncio.sleep(0.05)
        faulty.raised = 0
        await asyncio.sleep(3600)

    stage.run([program, silence(), *stage.verifiers(), *stage.hospitals()], until=stage.is_decided(1))
    assert faulty.raised == 1


@pytest.mark.parametrize(
    "lie", [None, AnswerMalformed("abci_query.value", "no record")], ids=["there is no such task", "junk"]
)
def test_a_lie_about_the_task_costs_a_service_a_block_and_no_more(world: World, lie: Exception | None) -> None:
    gatherer = world.gatherer(LAB)
    peek, told = gatherer.client.peek, iter((False, True))

    async def lying(*arguments: Any) -> Any:
        if not next(told, False):
            return await peek(*arguments)
        if lie is not None:
            raise lie
        return None

    async def observed() -> None:
        with pytest.MonkeyPatch.context() as patch:
            async with contextlib.aclosing(on_blocks(gatherer.client, world.task, LAB.name)) as seen:
                assert (await anext(seen)).task.rounds == 0
                patch.setattr(gatherer.client, "peek", lying)
                next(told)
                waiting = asyncio.create_task(anext(seen))
                await asyncio.sleep(0.01)
                world.chain.block()
                assert (await waiting).task.rounds == 0

    asyncio.run(observed())
    assert next(told, None) is None


def test_a_probe_that_finds_something_raises_one_alarm_and_a_quorum_of_them_quarantines(world: World) -> None:
    stage = Stage(world)

    def probe(_network: FeedForward, _canary: object) -> tuple[str, bytes]:
        return "backdoor probe", b"the trigger that was found"

    watchful = [stage.verifier(member, probe=probe).run() for member in (*HOSPITALS, STAND_BY)]
    stage.run(
        [stage.aggregator(pause=lambda: stage.round(1) is not None).run(), *watchful, *stage.hospitals()],
        until=lambda: stage.versions()[:1] == [(LAB.name, VersionStatus.QUARANTINED)],
    )
    assert lineage.MODELS.at(world.chain.view, MODEL).current == 0
    assert all(stage.said.count(text) <= 5 for text in stage.said if "alarm" in text)


def test_an_alarm_that_was_not_decided_is_raised_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four of six must agree, and each loses its first alarm: only alarms raised again can quarantine."""
    stage = Stage(world)
    watchful = []
    for member in (*HOSPITALS, STAND_BY):
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
