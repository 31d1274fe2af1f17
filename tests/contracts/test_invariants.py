"""The published invariants of the ledger, held after every block of random histories.

A machine of hypothesis plays a consortium: members reserve, withdraw and commit in any order, verifiers attest, seal
and open, one of them always falsely, labs open rounds, anybody advances them or nobody does, keys are revoked or turn
out to have been stolen, alarms are raised, versions rolled back, time passes with and without blocks. Most of it is
refused; whatever is accepted must keep the invariants of ``docs/protocol.md``.
"""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from campaigns.harness import consortium
from campaigns.harness.chain import BlockStep, Chain, Member, Signer, Step, Who
from campaigns.harness.chain import Committed as CommittedState
from campaigns.harness.consortium import (
    AUDITOR,
    DATASET,
    HOSPITAL_D,
    HOSPITALS,
    LAB,
    MEMBERS,
    MODEL,
    PROMISE,
    STAND_BY,
    TASK,
    TERMS,
    VERIFIERS,
)
from contracts import lineage, privacy_budget, rounds, tasks, transition
from contracts.ballot_box import ATTESTATIONS, BOXES, CANDIDATES
from contracts.ballots import AdvanceRound
from contracts.contributions import SEATS, Withdraw
from contracts.governance import Propose, RollBackModel, Vote
from contracts.identity import DATASETS, KEYS, ORGANISATIONS, AddKey, Key, RevokeKey
from contracts.kernel import Message, Place, bitmap
from contracts.kernel.renyi import Curve
from contracts.kernel.types import Purpose
from contracts.lineage import MODELS, VERSIONS, Candidate, Finding, VersionDecided, VersionStatus
from contracts.models import RaiseAlarm
from contracts.reputation import LOWEST, SCORES, ReputationChanged, Verdict
from contracts.rounds import Charged, OpenRound
from contracts.tasks import LeaveTask
from contracts.terms import Phase
from contracts.transition import BlockContext, Transaction
from tests import effort
from tests.contracts.accounts import PRICE
from tests.contracts.costs import Costs

ROOT = Path(__file__).parents[2]
CONTRIBUTORS = (*HOSPITALS, LAB)
LIAR = STAND_BY  # The one verifier of six that may be Byzantine: it always is.
PHASES = list(Phase)
ROUNDS_AFFORDED = 7
STANDING = (VersionStatus.PROMOTED, VersionStatus.SUPERSEDED)
contributors = st.sampled_from(CONTRIBUTORS)
labs = st.sampled_from((LAB, STAND_BY))
groups = st.sets(st.sampled_from(VERIFIERS), min_size=2)
almost_all = st.sampled_from([set(VERIFIERS), *(set(VERIFIERS) - {absent} for absent in VERIFIERS)])
scores = st.sampled_from([90, 89, 91, 80])  # Of 100, and 2 below the best still pass.
waits = st.sampled_from([0, 0, 0, 4_000, 9_000, 10_000])


def named(members: set[Member]) -> list[Member]:
    return sorted(members, key=lambda one: one.name)


class Consortium(RuleBasedStateMachine):
    """Random members doing random things, one block each; what was accepted is counted independently."""

    workers = Bundle("workers")

    @initialize(rounds_before=st.integers(0, 2), fifth=st.booleans())
    def begin(self, rounds_before: int, fifth: bool) -> None:
        stage = (consortium.joined, consortium.promoted, consortium.twice_promoted)[rounds_before]
        stage = consortium.five_joined if fifth else stage
        self.chain = stage()
        self.afford(ROUNDS_AFFORDED)
        self.origin, self.chain.steps = self.chain.fork(), ()
        self.before = {member.name: 0 if fifth else rounds_before for member in HOSPITALS} | {LAB.name: 0}
        self.costs = Costs()
        self.promoted = {*range(MODELS.at(self.view, MODEL).latest + 1)}
        self.fallen: set[int] = set()
        self.revoked: dict[bytes, int] = {}
        self.accepted = [(member.worker, 0) for member in MEMBERS]
        self.keys = {member: [member.worker] for member in MEMBERS}
        self.scores: dict[tuple[Member, int], int] = {}
        self.withheld: set[tuple[Member, int]] = set()
        self.left: set[Member] = set()
        self.last: tuple[int, Phase] = (0, Phase.RESERVING)

    def afford(self, rounds_in_all: int) -> None:
        """Give every dataset and every organisation a limit for so many rounds, by hand."""
        limit = privacy_budget.epsilon_of(Curve.of(rounds_in_all * cost for cost in PRICE.costs()), PROMISE)
        for member in CONTRIBUTORS:
            organisation = ORGANISATIONS.at(self.view, member.name)
            self.chain.given(ORGANISATIONS.put(member.name, replace(organisation, cap=replace(PROMISE, epsilon=limit))))
            if dataset := DATASETS.get(self.view, (member.name, DATASET)):
                limited = replace(dataset, promise=replace(PROMISE, epsilon=limit))
                self.chain.given(DATASETS.put((member.name, DATASET), limited))

    # --- what members do ---

    @rule(target=workers, member=contributors)
    def add_worker(self, member: Member) -> Signer:
        signer = member.key(Purpose.WORKLOAD, len(self.keys[member]))
        if self.attempt(member, AddKey(signer.enrolment())):
            self.keys[member].append(signer)
        return signer

    @rule(lab=labs)
    def open_round(self, lab: Member) -> None:
        self.attempt(self.worker_of(lab), OpenRound(TASK))

    @rule(
        lab=labs,
        members=st.sampled_from([HOSPITALS, CONTRIBUTORS, (LAB, *HOSPITALS[1:])]).map(set),
        until=st.sampled_from(["reserved", "committed", "agreed", "sealed", "opened", "opened", "opened"]),
        by=almost_all,
        correct=scores,
    )
    def ordinary_round(self, lab: Member, members: set[Member], until: str, by: set[Member], correct: int) -> None:
        """The ordinary course up to a point, so that histories get as far as versions."""
        steps = ["reserved", "committed", "agreed", "sealed", "opened"]
        while self.round and self.round.phase not in rounds.OVER:
            self.pass_phase()
        for member in named(members & self.left):
            self.join_again(member)
        self.attempt(self.worker_of(lab), OpenRound(TASK))
        if not self.round:
            return
        for step in steps[: steps.index(until) + 1]:
            match step:
                case "reserved":
                    self.all_step(members, "reserve")
                case "committed":
                    self.pass_phase_if(Phase.RESERVING)
                    self.all_step(members, "commit")
                case "agreed":
                    self.pass_phase_if(Phase.COMMITTING)
                    self.attest(by)
                    self.pass_phase_if(Phase.ATTESTING)
                case "sealed":
                    self.seal(by, correct)
                    self.pass_phase_if(Phase.SEALING)
                case "opened":
                    self.open_ballots(by)
                    self.pass_phase_if(Phase.OPENING)

    @rule(lab=labs, correct=scores)
    def whole_round(self, lab: Member, correct: int) -> None:
        self.ordinary_round(lab, {*HOSPITALS}, "opened", {*VERIFIERS}, correct)

    @rule(members=st.sets(contributors, min_size=2), step=st.sampled_from(["reserve", "commit"]))
    def all_step(self, members: set[Member], step: str) -> None:
        for member in named(members):
            self.step_alone(member, step)

    @rule(worker=workers, step=st.sampled_from(["reserve", "withdraw", "commit"]))
    def step_with_another_key(self, worker: Signer, step: str) -> None:
        current = self.round
        base = current.base if current else 0
        self.attempt(
            worker,
            {
                "reserve": consortium.reserve(self.round_number),
                "withdraw": Withdraw(TASK, self.round_number),
                "commit": consortium.commit(self.round_number, base=base),
            }[step],
        )

    @rule(member=contributors, step=st.sampled_from(["reserve", "withdraw", "commit"]))
    def step_alone(self, member: Member, step: str) -> None:
        self.step_with_another_key(self.worker_of(member), step)

    @precondition(lambda self: not any(number == self.round_number for _, number in self.withheld))
    @rule(member=contributors)
    def serve_nothing(self, member: Member) -> None:
        """Commit to a payload, perhaps, and let nobody have it."""
        self.withheld.add((member, self.round_number))

    @precondition(lambda self: self.round)
    @rule(by=groups)
    def attest(self, by: set[Member]) -> None:
        """All that was committed and served; the liar says that it has nothing."""
        roster = tasks.ROSTERS.at(self.view, TASK).organisations
        gone = {member.name for member, number in self.withheld if number == self.round_number}
        seats = [seat for seat in bitmap.numbers(self.round.committed) if roster[seat] not in gone]
        for verifier in named(by):
            held = () if verifier is LIAR else seats
            self.attempt(self.worker_of(verifier), consortium.attest(self.round_number, held))

    @precondition(lambda self: self.round)
    @rule(by=groups, correct=scores)
    def seal(self, by: set[Member], correct: int) -> None:
        for verifier in named(by):
            said = self.candidate_of(verifier)
            score = 0 if said.artefact is None else correct
            if self.attempt(self.worker_of(verifier), consortium.seal(verifier, said, self.round_number, score)):
                self.scores[verifier, self.round_number] = score

    @precondition(lambda self: self.round)
    @rule(by=groups)
    def open_ballots(self, by: set[Member]) -> None:
        for verifier in named(by):
            correct = self.scores.get((verifier, self.round_number), 0)
            said = self.candidate_of(verifier)
            self.attempt(self.worker_of(verifier), consortium.open_ballot(verifier, said, self.round_number, correct))

    @rule(member=st.sampled_from(MEMBERS))
    def advance(self, member: Member) -> None:
        self.attempt(self.worker_of(member), AdvanceRound(TASK, self.round_number))

    @precondition(lambda self: self.round and self.round.phase not in rounds.OVER)
    @rule()
    def pass_phase(self) -> None:
        """No round is stuck: once time and blocks have passed, anybody ends its phase, whoever kept silent."""
        consortium.let_pass(self.chain, self.round_number)
        self.debits_are_what_was_announced_read_lazily_and_written_down()
        assert self.attempt(AUDITOR, AdvanceRound(TASK, self.round_number))

    @rule(milliseconds=waits, blocks=st.integers(1, 3))
    def let_time_pass(self, milliseconds: int, blocks: int) -> None:
        self.chain.advance(milliseconds)
        for _ in range(blocks):
            self.chain.block()

    @rule(voters=st.lists(st.sampled_from(VERIFIERS), unique=True, min_size=4), back=st.integers(-1, 2))
    def raise_alarms(self, voters: list[Member], back: int) -> None:
        version = max(0, MODELS.at(self.view, MODEL).current - back)
        for voter in voters:
            self.attempt(
                self.worker_of(voter), RaiseAlarm(MODEL, version, consortium.digest("evidence"), "found unfit")
            )

    @rule(back=st.integers(-1, 3))
    def roll_back(self, back: int) -> None:
        version = max(0, MODELS.at(self.view, MODEL).current - back)
        once_promoted = version in self.promoted and version not in self.fallen
        events = self.attempt(MEMBERS[0], Propose(RollBackModel(MODEL, version, "worse in the clinic")))
        for opened in events:
            assert once_promoted, "a version that was never promoted, or fell, can be voted back"
            for member in MEMBERS[1:5]:
                self.attempt(member, Vote(opened.proposal, approve=True))

    @rule(member=contributors)
    def leave(self, member: Member) -> None:
        if self.attempt(member, LeaveTask(TASK)):
            self.left.add(member)

    @precondition(lambda self: self.left)
    @rule(member=contributors)
    def join_again(self, member: Member) -> None:
        if self.attempt(member, consortium.join()):
            self.left.discard(member)

    @rule(worker=workers)
    def revoke(self, worker: Signer) -> None:
        self.attempt(Member(worker.organisation), RevokeKey(worker.public))

    @rule(member=contributors, blocks_ago=st.integers(0, 60))
    def a_key_turns_out_stolen(self, member: Member, blocks_ago: int) -> None:
        """What it signed in these blocks is tainted, and a new key takes its place."""
        public, since = self.worker_of(member).public, max(0, self.chain.height - blocks_ago)
        self.add_worker(member)
        if public != self.worker_of(member).public:
            self.chain.given(KEYS.put(public, replace(KEYS.at(self.view, public), revoked_from=Place(since, 0))))
            self.revoked.setdefault(public, self.chain.height)

    # --- what must hold ---

    @invariant()
    def debits_are_what_was_announced_read_lazily_and_written_down(self) -> None:
        """Reading an account at the next block says what it says once that block has advanced the round."""
        after, costs, now = self.chain.fork(), self.costs.copy(), self.chain.next_block()
        lazily = [self.accounts(self.view, member, now) for member in CONTRIBUTORS]
        costs.note(after.block((AUDITOR, AdvanceRound(TASK, self.round_number)))[0].events)
        for member, read in zip(CONTRIBUTORS, lazily, strict=True):
            assert read == self.accounts(after.view, member, after)
            spent = costs.spent(member.name, self.before[member.name])
            assert {account.spent for account in read} == {spent}

    @invariant()
    def a_price_is_held_for_every_open_seat_and_for_no_other(self) -> None:
        for member in CONTRIBUTORS:
            for account in self.accounts(self.view, member, self.chain):
                rounds_held = [hold.round for hold in account.holds]
                assert rounds_held in ([], [self.round_number])
                if rounds_held:
                    assert SEATS.get(self.view, (TASK, self.round_number, member.name))

    @invariant()
    def a_remainder_is_never_negative(self) -> None:
        for member in CONTRIBUTORS:
            cap = ORGANISATIONS.at(self.view, member.name).cap
            for account in self.accounts(self.view, member, self.chain):
                standing = privacy_budget.standing(self.view, account, cap)
                assert standing.spent + standing.held <= cap.epsilon
                assert standing.least <= standing.spent + standing.held

    @invariant()
    def nothing_is_accepted_from_a_key_after_its_revocation(self) -> None:
        for signer, height in self.accepted:
            ordered_at = self.revoked.get(signer.public)
            assert ordered_at is None or height <= ordered_at
        known = {signer.public for signer, _ in self.accepted}
        for path, body in self.view.scan(b"contributions/seats/", limit=1_000):
            made = SEATS.read(body).commitment
            assert made is None or made.signer in known, path
        for path, body in self.view.scan(b"ballots/boxes/", limit=1_000):
            assert {ballot.signer for ballot in BOXES.read(body).ballots} <= known, path

    @invariant()
    def a_round_only_goes_forward_and_back_to_sealing_at_most(self) -> None:
        if self.round:
            number, before = self.last
            if number == self.round_number:
                onward = PHASES.index(self.round.phase) >= PHASES.index(before) and before not in rounds.OVER
                resealed = (before, self.round.phase) == (Phase.OPENING, Phase.SEALING)
                assert onward or resealed or before is self.round.phase
            self.last = (self.round_number, self.round.phase)

    @invariant()
    def the_seats_of_a_round_are_those_it_counts(self) -> None:
        if current := self.round:
            assert bitmap.is_within(current.committed, current.reserved)
            assert bitmap.is_within(current.agreed, current.committed)
            owners = tasks.organisations_of(self.view, TASK, current.reserved)
            seats = [SEATS.at(self.view, (TASK, self.round_number, owner)) for owner in owners]
            assert bitmap.of(seat.number for seat in seats) == current.reserved
            assert bitmap.of(seat.number for seat in seats if seat.commitment) == current.committed

    @invariant()
    def nothing_is_attested_before_the_barrier_nor_counted_below_the_minimum(self) -> None:
        if current := self.round:
            key = (TASK, self.round_number)
            if ATTESTATIONS.get(self.view, key) or BOXES.get(self.view, key):
                assert current.charged is Charged.ALL
                assert bitmap.count(current.committed) >= current.needed
            if current.phase in (Phase.SEALING, Phase.OPENING, Phase.DECIDED):
                assert bitmap.count(current.agreed) >= TERMS.estimator.minimum

    @invariant()
    def a_decided_round_has_one_version_and_keeps_no_candidates_and_a_void_one_has_none(self) -> None:
        latest = MODELS.at(self.view, MODEL).latest
        made = [VERSIONS.at(self.view, (MODEL, number)).round for number in range(1, latest + 1)]
        for number in range(1, tasks.TASKS.at(self.view, TASK).rounds + 1):
            phase = rounds.ROUNDS.at(self.view, (TASK, number)).phase
            assert made.count(number) == (phase is Phase.DECIDED)
            if phase is Phase.DECIDED:
                assert not list(self.view.scan(CANDIDATES.path((TASK, number, bytes(32)))[:-64]))

    @invariant()
    def exactly_one_version_is_promoted_and_it_is_the_current_one(self) -> None:
        model = MODELS.at(self.view, MODEL)
        versions = {number: VERSIONS.at(self.view, (MODEL, number)) for number in range(model.latest + 1)}
        statuses = {number: lineage.status_of(self.view, MODEL, number) for number in versions}
        line = [model.current]
        while line[-1]:
            line.append(versions[line[-1]].parent)
        assert [number for number, status in statuses.items() if status is VersionStatus.PROMOTED] == [model.current]
        assert [number for number, status in statuses.items() if status in STANDING] == line[::-1]
        assert {*line} <= self.promoted - self.fallen
        assert versions[model.current].best in line
        best = max(versions[number].canary_correct for number in line)
        assert versions[versions[model.current].best].canary_correct == best

    @invariant()
    def the_next_round_starts_from_the_current_version(self) -> None:
        current = MODELS.at(self.view, MODEL).current
        assert tasks.TASKS.at(self.view, TASK).base == current
        if self.round:
            assert self.round.base == current or self.round.phase in rounds.OVER

    @invariant()
    def reputation_stays_within_its_bounds(self) -> None:
        for _, body in self.view.scan(b"reputation/scores/"):
            assert abs(SCORES.read(body).deviation) <= -LOWEST

    def teardown(self) -> None:
        if hasattr(self, "chain"):
            assert replayed(self.origin, self.chain.steps) == (self.chain.root, self.chain.view.entries)

    # --- how ---

    @property
    def view(self) -> CommittedState:
        return self.chain.view

    @property
    def round_number(self) -> int:
        return max(1, tasks.TASKS.at(self.view, TASK).rounds)

    @property
    def round(self) -> rounds.Round | None:
        return rounds.ROUNDS.get(self.view, (TASK, self.round_number))

    def worker_of(self, member: Member) -> Signer:
        """The newest of a member's keys that is not revoked; its first, if all are."""
        live = [signer for signer in self.keys[member] if signer.public not in self.revoked]
        return (live or self.keys[member])[-1]

    def accounts(self, view: CommittedState, member: Member, now: Any) -> tuple[privacy_budget.Account, ...]:
        return (
            privacy_budget.dataset_account(view, member.name, DATASET, now),
            privacy_budget.organisation_account(view, member.name, now),
        )

    def candidate_of(self, verifier: Member) -> Candidate:
        """What follows from the set, which all honest verifiers find; the liar claims another aggregate."""
        findings = {HOSPITAL_D: Finding.OUTLIER} if self.round_number % 2 else {}
        found = consortium.candidate(self.chain, self.round_number, findings=findings)
        if verifier is LIAR:
            return replace(found, artefact=consortium.artefact("forged"))
        return replace(found, artefact=None) if self.round_number % 4 == 2 else found  # In each fourth nothing follows.

    def pass_phase_if(self, phase: Phase) -> None:
        if self.round and self.round.phase is phase:
            self.pass_phase()

    def attempt(self, who: Who, message: Message) -> tuple[Any, ...]:
        """One block; what it accepted is counted here, apart from the ledger's own books."""
        (result,) = self.chain.block((who, message))
        assert result.code != transition.INTERNAL_ERROR, result.log
        if result.code:
            return ()
        signer = who if isinstance(who, Signer) else who.key(message.purpose)
        self.accepted.append((signer, self.chain.height))
        self.costs.note(result.events)
        for event in result.events:
            match event:
                case VersionDecided(_, version, VersionStatus.PROMOTED):
                    self.promoted.add(version)
                case VersionDecided(_, version, VersionStatus.QUARANTINED | VersionStatus.ROLLED_BACK):
                    self.fallen.add(version)
                case ReputationChanged(name, Verdict.CONTRADICTED):
                    assert name == LIAR.name, "an honest ballot was held against its voter"
                case ReputationChanged(name, Verdict.MISSING):
                    missing = (Member(name), self.round_number)
                    assert missing in self.withheld, "a payload that everybody could have was called missing"
        if isinstance(message, RevokeKey):
            self.revoked.setdefault(message.public, self.chain.height)
            key: Key = KEYS.at(self.view, message.public)
            assert key.revoked_from is not None
        return result.events


def replayed(origin: Chain, steps: tuple[Step, ...]) -> tuple[bytes, dict[bytes, bytes]]:
    """Another replica: the same blocks from the same beginning, decided anew."""
    tree, state = origin.tree, CommittedState(origin.view.entries)
    for step in steps:
        if isinstance(step, BlockStep):
            block = BlockContext(origin.chain_id, step.height, step.time_ms)
            _, writes = transition.apply_block(origin.rules, state, map(Transaction, step.txs), block)
        else:
            writes = dict(step.writes)
        state.apply(writes)
        tree = tree.staged(writes)
    return tree.root, state.entries


TestConsortium = Consortium.TestCase
TestConsortium.settings = settings(max_examples=effort.examples(40), stateful_step_count=25, deadline=None)


def test_a_history_replayed_from_genesis_leads_to_the_live_root() -> None:
    """All stages from the first block on: nothing but the genesis and the transactions decides the state."""
    live = consortium.twice_promoted()
    steps: tuple[Step, ...] = ()
    setup = live.setup
    while setup:
        steps = (*consortium.SETUPS[setup].steps, *steps)
        setup = consortium.SETUPS[setup].extends
    assert replayed(consortium.founded(), steps) == (live.root, live.view.entries)


@pytest.mark.parametrize("seed", ["1", "2"])
def test_another_process_with_another_hash_seed_arrives_at_the_same_root(seed: str) -> None:
    """Python orders sets by hashes that differ between processes: nothing of that may reach the state."""
    code = "from campaigns.harness import consortium; print(consortium.twice_promoted().root.hex())"
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert run.stdout.decode().strip() == consortium.twice_promoted().root.hex()
