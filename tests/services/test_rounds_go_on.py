"""The aggregator's table against the real rules: what it does is accepted, once, and a task is never stuck."""

from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from campaigns.harness import consortium
from campaigns.harness.chain import BLOCK_MS, BlockStep, Chain, Member
from campaigns.harness.consortium import HOSPITALS, LAB, MODEL, STAND_BY, TASK, TERMS
from contracts import lineage, rounds, transition
from contracts.identity import ReportStolenKey
from contracts.kernel import Message, Place
from contracts.lineage import VersionStatus
from contracts.models import NotYourTurn
from contracts.reputation import Verdict
from contracts.rounds import CloseRound, OpenRound, Progress
from services.rounds.round import Command, Observation, Phase, next_command, phase_of
from tests import effort

labs = st.sampled_from((LAB, STAND_BY))
FAR_MS = 200_000  # Every deadline and turn of a round, and then some.


def observation(chain: Chain, lab: Member) -> Observation:
    """What ``observe`` reads, from the chain's state."""
    task, model = rounds.TASKS.at(chain.view, TASK), lineage.MODELS.at(chain.view, MODEL)
    last = rounds.ROUNDS.get(chain.view, (TASK, task.rounds)) if task.rounds else None
    every = {number: lineage.VERSIONS.at(chain.view, (MODEL, number)) for number in range(1, model.latest + 1)}
    versions = {number: version for number, version in every.items() if version.round == task.rounds}
    return Observation(lab.name, chain.time_ms, TERMS, task, last, versions, opened_ms(chain))


def opened_ms(chain: Chain) -> int:
    """The time of the oldest block known: the task was opened before."""
    steps = [step for step in chain.steps if isinstance(step, BlockStep)]
    return steps[0].time_ms if steps else chain.time_ms


class Aggregators(RuleBasedStateMachine):
    """Two aggregators that act or sleep as they please, and members that do what they please."""

    @initialize(
        stage=st.sampled_from(
            [consortium.joined, consortium.published, consortium.closed, consortium.proposed, consortium.promoted]
        )
    )
    def begin(self, stage: Callable[[], Chain]) -> None:
        self.chain = stage()
        self.chain.block()
        self.stolen = False

    @rule(lab=labs)
    def act(self, lab: Member) -> None:
        """One look at the ledger and one command. A restart in between changes nothing."""
        seen = observation(self.chain, lab)
        command = next_command(seen)
        assert command is next_command(observation(self.chain, lab))
        if command in (Command.WAIT, Command.STOP):
            return
        if command is Command.PROPOSE:
            assert phase_of(seen) is Phase.MY_TURN
        result = self.attempt(lab, self.message(command))
        late = command is Command.PROPOSE and result.code == NotYourTurn.code
        assert result.code == 0 or late, f"{command} was refused: {result.log}"

    @precondition(lambda self: self.number > 0)
    @rule(members=st.sets(st.sampled_from(HOSPITALS)), until=st.sampled_from(list(Progress)))
    def contribute(self, members: set[Member], until: Progress) -> None:
        number = self.number
        base = rounds.TASKS.at(self.chain.view, TASK).base
        steps = (consortium.reserve(number), consortium.commit(number, base=base), consortium.publish(number))
        for message in steps[: list(Progress).index(until)]:
            for member in sorted(members, key=lambda one: one.name):
                self.attempt(member, message)

    @rule(members=st.sets(st.sampled_from(HOSPITALS), min_size=3), steps=st.integers(1, 3), lab=labs)
    def ordinary_round(self, members: set[Member], steps: int, lab: Member) -> None:
        """Some of the ordinary course, so that histories get as far as proposals."""
        self.act(LAB)
        if self.number:
            self.contribute(members, Progress.PUBLISHED)
        if len(members) < len(HOSPITALS):
            self.let_time_pass(35_000)
        for _ in range(steps):
            self.act(LAB)
        self.act(lab)

    @rule(honest=st.booleans(), voters=st.integers(0, 6))
    def vote(self, honest: bool, voters: int) -> None:
        latest = lineage.MODELS.at(self.chain.view, MODEL).latest
        for voter in (*HOSPITALS, LAB, STAND_BY)[:voters]:
            self.attempt(voter, consortium.vote(self.chain, latest, digest=None if honest else b"\1" * 32))

    @precondition(lambda self: not self.stolen)
    @rule(blocks_ago=st.integers(0, 30))
    def report_stolen(self, blocks_ago: int) -> None:
        self.stolen = True
        since = max(0, self.chain.height - blocks_ago)
        self.attempt(HOSPITALS[0], ReportStolenKey(HOSPITALS[0].worker.public, Place(since, 0)))

    @rule(milliseconds=st.sampled_from([300, 9_000, 10_000, 35_000]))
    def let_time_pass(self, milliseconds: int) -> None:
        self.chain.advance(milliseconds - BLOCK_MS)
        self.chain.block()

    @invariant()
    def no_aggregator_has_two_standing_proposals_for_one_round(self) -> None:
        standing = [
            (version.round, version.proposer)
            for number in range(1, lineage.MODELS.at(self.chain.view, MODEL).latest + 1)
            for version in [lineage.VERSIONS.at(self.chain.view, (MODEL, number))]
            if version.status not in (VersionStatus.QUARANTINED, VersionStatus.ROLLED_BACK)
        ]
        assert len(standing) == len(set(standing))

    def teardown(self) -> None:
        """Whatever happened: with one aggregator alone, whichever it is, the next round is opened."""
        for lab in (LAB, STAND_BY):
            chain, self.chain = self.chain, self.chain.fork()
            before = self.number
            for _ in range(4):
                self.chain.advance(FAR_MS)
                self.chain.block()
                self.act(lab)
            assert self.number > before, f"the task is stuck with {lab.name} alone"
            self.chain = chain

    @property
    def number(self) -> int:
        return rounds.TASKS.at(self.chain.view, TASK).rounds

    def attempt(self, who: Member, message: Message) -> transition.Result:
        (result,) = self.chain.block((who, message))
        assert result.code != transition.INTERNAL_ERROR, result.log
        return result

    def message(self, command: Command) -> Message:
        if command is Command.OPEN:
            return OpenRound(TASK)
        if command is Command.CLOSE:
            return CloseRound(TASK, self.number)
        return consortium.ProposeVersion(self.candidate())

    def candidate(self) -> Any:
        verdicts = {
            Member(seat.organisation): Verdict.WITHDRAWN
            for seat in consortium.round_of(self.chain, self.number).seats
            if seat.progress is Progress.PUBLISHED
            and not lineage.key_was_live(self.chain.view, TASK, self.number, seat.organisation, seat.dataset)
        }
        return consortium.candidate(self.chain, self.number, verdicts=verdicts)


TestAggregators = Aggregators.TestCase
TestAggregators.settings = settings(max_examples=effort.examples(25), stateful_step_count=15)
