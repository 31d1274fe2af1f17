"""Both tables against the real rules: what they say is accepted, once, and a task is never stuck."""

from collections.abc import Callable
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from campaigns.harness import consortium
from campaigns.harness.chain import BLOCK_MS, BlockStep, Chain, Member
from campaigns.harness.consortium import HOSPITAL_A, HOSPITALS, LAB, PHASE_MS, STAND_BY, TASK, TERMS, VERIFIERS
from contracts import ballot_box, contributions, identity, rounds, tasks, transition
from contracts.ballots import AdvanceRound
from contracts.kernel import Message, bitmap
from contracts.rounds import OpenRound, WrongPhase
from contracts.tasks import TooLittleReputation
from contracts.terms import Phase
from services.rounds.round import Command, Holding, Observation, grace_ms, to_lead, to_verify
from tests import effort

labs = st.sampled_from((LAB, STAND_BY))


def observation(chain: Chain, member: Member) -> Observation:
    """What ``observe`` reads, from the chain's state."""
    task = tasks.TASKS.at(chain.view, TASK)
    key = (TASK, task.rounds)
    attested, box = ballot_box.ATTESTATIONS.get(chain.view, key), ballot_box.BOXES.get(chain.view, key)
    return Observation(
        organisation=member.name,
        now=chain.time_ms,
        height=chain.height,
        terms=TERMS,
        task=task,
        last=rounds.ROUNDS.get(chain.view, key) if task.rounds else None,
        opened=opened_ms(chain),
        attested=attested.rows if attested else (),
        box=box.ballots if box else (),
    )


def opened_ms(chain: Chain) -> int:
    """The time of the oldest block known: the task was opened before."""
    steps = [step for step in chain.steps if isinstance(step, BlockStep)]
    return steps[0].time_ms if steps else chain.time_ms


class Programs(RuleBasedStateMachine):
    """Aggregators and verifiers that act or sleep as they please, and members that do what they please."""

    @initialize(
        stage=st.sampled_from(
            [consortium.joined, consortium.committed, consortium.agreed, consortium.sealed, consortium.promoted]
        )
    )
    def begin(self, stage: Callable[[], Chain]) -> None:
        self.chain = stage()
        self.chain.block()
        self.stolen = False

    @rule(lab=labs)
    def lead(self, lab: Member) -> None:
        """One look at the ledger and one command. A restart in between changes nothing."""
        command = to_lead(observation(self.chain, lab))
        assert command is to_lead(observation(self.chain, lab))
        if command in (Command.WAIT, Command.STOP):
            return
        message: Message = OpenRound(TASK) if command is Command.OPEN else AdvanceRound(TASK, self.number)
        result = self.attempt(lab, message)
        poor = command is Command.OPEN and result.code == TooLittleReputation.code
        assert result.code == 0 or poor, f"{command} was refused: {result.log}"

    @rule(member=st.sampled_from(VERIFIERS), lacking=st.sets(st.integers(0, 3), max_size=2))
    def verify(self, member: Member, lacking: set[int]) -> None:
        """One look and one command of a verifier that holds all, or nearly all, payloads."""
        if self.stolen and member == HOSPITAL_A:
            return
        seen = observation(self.chain, member)
        holding = self.holding(seen, lacking)
        command = to_verify(seen, holding)
        assert command is to_verify(observation(self.chain, member), holding)
        message = self.message(command, member, holding)
        if message is None:
            return
        result = self.attempt(member, message)
        late = seen.last is not None and rounds.is_over(seen.last, self.chain.time_ms, self.chain.height)
        too_late = late and result.code == WrongPhase.code  # The phase ran out with the very block that brings it.
        assert result.code == 0 or too_late, f"{command} was refused: {result.log}"

    @precondition(lambda self: self.number > 0)
    @rule(members=st.sets(st.sampled_from(HOSPITALS)), commits=st.booleans(), withdraws=st.booleans())
    def contribute(self, members: set[Member], commits: bool, withdraws: bool) -> None:
        number = self.number
        base = tasks.TASKS.at(self.chain.view, TASK).base
        steps: list[Message] = [consortium.reserve(number)]
        steps += [contributions.Withdraw(TASK, number)] if withdraws else []
        steps += [consortium.commit(number, base=base)] if commits else []
        for message in steps:
            for member in sorted(members, key=lambda one: one.name):
                self.attempt(member, message)

    @rule(lab=labs, voters=st.integers(4, 6), passes=st.sampled_from([0, 0, PHASE_MS]))
    def ordinary_course(self, lab: Member, voters: int, passes: int) -> None:
        """Some of the ordinary course, so that histories get as far as decisions."""
        self.lead(LAB)
        if self.number:
            self.contribute(set(HOSPITALS), commits=True, withdraws=False)
        if passes:
            self.let_time_pass(passes)
            self.lead(lab)
        for member in VERIFIERS[:voters]:
            self.verify(member, set())

    @precondition(lambda self: not self.stolen and self.number > 0)
    @rule()
    def find_stolen(self) -> None:
        """The first hospital's key turns out not to have been its own when it committed, if it has."""
        seat = contributions.SEATS.get(self.chain.view, (TASK, self.number, HOSPITAL_A.name))
        if seat is None or seat.commitment is None:
            return
        self.stolen = True
        key = identity.KEYS.at(self.chain.view, seat.commitment.signer)
        revoked = replace(key, revoked_from=seat.commitment.place)
        self.chain.given(identity.KEYS.put(seat.commitment.signer, revoked))

    @rule(milliseconds=st.sampled_from([300, 3_000, PHASE_MS, 4 * PHASE_MS]))
    def let_time_pass(self, milliseconds: int) -> None:
        self.chain.advance(milliseconds - BLOCK_MS)
        for _ in range(3):
            self.chain.block()

    @invariant()
    def nobody_has_two_ballots_in_a_box(self) -> None:
        if self.number:
            box = observation(self.chain, LAB).box
            assert len({ballot.organisation for ballot in box}) == len(box)

    def teardown(self) -> None:
        """Whatever happened: with one aggregator alone, whichever it is, the next round is opened."""
        for lab in (LAB, STAND_BY):
            chain, self.chain = self.chain, self.chain.fork()
            before = self.number
            for _ in range(7):
                self.let_time_pass(2 * PHASE_MS + 2 * grace_ms(TERMS))
                self.lead(lab)
            poor = consortium.deviation_of(self.chain, lab) < TERMS.minimum_reputation
            assert self.number > before or poor, f"the task is stuck with {lab.name} alone"
            self.chain = chain

    @property
    def number(self) -> int:
        return tasks.TASKS.at(self.chain.view, TASK).rounds

    def attempt(self, who: Member, message: Message) -> transition.Result:
        (result,) = self.chain.block((who, message))
        assert result.code != transition.INTERNAL_ERROR, result.log
        return result

    def holding(self, seen: Observation, lacking: set[int]) -> Holding:
        if seen.last is None or seen.last.phase not in (Phase.ATTESTING, Phase.SEALING):
            return Holding()
        roster = tasks.ROSTERS.at(self.chain.view, TASK).organisations
        committed = bitmap.numbers(seen.last.committed)
        held = bitmap.of(number for number in committed if number not in lacking)
        return Holding(held, bitmap.of(range(256)), dict(enumerate(roster)))  # Copies have claims of their own.

    def message(self, command: Command, member: Member, holding: Holding) -> Message | None:
        number = self.number
        match command:
            case Command.ATTEST:
                return consortium.attest(number, bitmap.numbers(holding.held))
            case Command.SEAL:
                return consortium.seal(member, consortium.candidate(self.chain, number), number)
            case Command.OPEN_BALLOT:
                return consortium.open_ballot(member, consortium.candidate(self.chain, number), number)
            case Command.ADVANCE:
                return AdvanceRound(TASK, number)
            case _:
                return None


TestPrograms = Programs.TestCase
TestPrograms.settings = settings(max_examples=effort.examples(25), stateful_step_count=15)
