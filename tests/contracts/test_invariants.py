"""The published invariants of the ledger, held after every block of random histories.

A machine of hypothesis plays a consortium: hospitals reserve, commit and publish in any order, labs open, close and
propose, verifiers vote rightly or wrongly, keys are revoked or reported stolen, alarms are raised, versions rolled
back, and time passes. Most of it is refused; whatever is accepted must keep the invariants of ``docs/protocol.md``.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from campaigns.harness import consortium
from campaigns.harness.chain import BlockStep, Chain, Member, Signer, Step, Who
from campaigns.harness.chain import Committed as CommittedState
from campaigns.harness.consortium import (
    DATASET,
    HOSPITALS,
    LAB,
    LIMIT,
    MECHANISM,
    MEMBERS,
    MODEL,
    PROMISE,
    STAND_BY,
    TASK,
)
from contracts import lineage, privacy_budget, rounds, transition
from contracts.contributions import COMMITMENTS, Committed
from contracts.governance import Propose, RollBackModel, Vote
from contracts.identity import KEYS, AddKey, Key, RevokeKey
from contracts.kernel import Message
from contracts.kernel.types import Purpose
from contracts.lineage import MODELS, VERSIONS, VersionDecided, VersionStatus
from contracts.models import RaiseAlarm, ReportStolenKey
from contracts.privacy_budget import NOTHING, Account
from contracts.reputation import LOWEST, SCORES, Verdict
from contracts.rounds import CloseRound, OpenRound, Progress
from contracts.terms import price_of
from contracts.transition import BlockContext, Transaction
from tests import effort

ROOT = Path(__file__).parents[2]
PRICE = price_of(MECHANISM)
hospitals = st.sampled_from(HOSPITALS)
labs = st.sampled_from((LAB, STAND_BY))
verifiers = st.sampled_from((*HOSPITALS, LAB, STAND_BY))
waits = st.sampled_from([0, 0, 0, 9_000, 10_000, 35_000])


class Consortium(RuleBasedStateMachine):
    """Random members doing random things, one block each; what was accepted is counted independently."""

    workers = Bundle("workers")

    @initialize(rounds_before=st.integers(0, 2))
    def begin(self, rounds_before: int) -> None:
        stage = (consortium.joined, consortium.promoted, consortium.twice_promoted)[rounds_before]
        self.chain, self.origin = stage(), stage()
        self.debits = {hospital.name: rounds_before for hospital in HOSPITALS}
        self.promoted = {*range(rounds_before + 1)}
        self.fallen: set[int] = set()
        self.revoked: dict[bytes, int] = {}
        self.accepted = [(hospital.worker, 0) for hospital in HOSPITALS]
        self.number = dict.fromkeys(HOSPITALS, 0)

    # --- what members do ---

    @rule(target=workers, hospital=hospitals)
    def add_worker(self, hospital: Member) -> Signer:
        number = self.number[hospital] = min(self.number[hospital] + 1, 14)
        signer = hospital.key(Purpose.WORKLOAD, number)
        self.attempt(hospital, AddKey(signer.enrolment()))
        return signer

    @rule(lab=labs)
    def open_round(self, lab: Member) -> None:
        self.attempt(lab, OpenRound(TASK))

    @rule(lab=labs, members=st.sets(hospitals, min_size=3), until=st.sampled_from(["closed", "proposed", "decided"]))
    def ordinary_round(self, lab: Member, members: set[Member], until: str) -> None:
        """The ordinary course up to a point, so that histories get as far as versions."""
        self.attempt(lab, OpenRound(TASK))
        self.contribute(members, 0)
        self.close_round(lab, 35_000)
        if until != "closed":
            self.propose(lab, 90, set())
        if until == "decided":
            self.vote([*HOSPITALS, LAB, STAND_BY], True, 0)

    @rule(members=st.sets(hospitals, min_size=3), wait=waits)
    def contribute(self, members: set[Member], wait: int) -> None:
        for message in (self.reserve(), self.commit(), consortium.publish(self.round_number)):
            for member in sorted(members, key=lambda one: one.name):
                self.attempt(member, message)
        self.chain.advance(wait)

    @rule(worker=workers, step=st.sampled_from(["reserve", "commit", "publish"]))
    def step_with_another_key(self, worker: Signer, step: str) -> None:
        message = {"reserve": self.reserve(), "commit": self.commit(), "publish": consortium.publish(self.round_number)}
        self.attempt(worker, message[step])

    @rule(hospital=hospitals, step=st.sampled_from(["reserve", "commit", "publish"]))
    def step_alone(self, hospital: Member, step: str) -> None:
        self.step_with_another_key(hospital.worker, step)

    @rule(lab=labs, wait=waits)
    def close_round(self, lab: Member, wait: int) -> None:
        self.chain.advance(wait)
        self.attempt(lab, CloseRound(TASK, self.round_number))

    @rule(lab=labs, score=st.sampled_from([90, 90, 90, 10]), filtered=st.sets(hospitals, max_size=1))
    def propose(self, lab: Member, score: int, filtered: set[Member]) -> None:
        if rounds.TASKS.at(self.chain.view, TASK).rounds == 0:
            return
        verdicts = dict.fromkeys(filtered, Verdict.FILTERED)
        for seat in consortium.round_of(self.chain, self.round_number).seats:
            if seat.progress is Progress.PUBLISHED and not self.good(seat):
                verdicts[Member(seat.organisation)] = Verdict.WITHDRAWN
        candidate = consortium.candidate(self.chain, self.round_number, verdicts=verdicts, canary_correct=score)
        if candidate.judgements:
            self.attempt(lab, consortium.ProposeVersion(candidate))

    @rule(voters=st.lists(verifiers, unique=True, min_size=3), honest=st.booleans(), wait=waits)
    def vote(self, voters: list[Member], honest: bool, wait: int) -> None:
        latest = MODELS.at(self.chain.view, MODEL).latest
        for voter in voters:
            digest = None if honest else consortium.digest("something else")
            self.attempt(voter, consortium.vote(self.chain, latest, digest=digest))
        self.chain.advance(wait)

    @rule(voters=st.lists(verifiers, unique=True, min_size=4), version=st.integers(0, 6))
    def raise_alarms(self, voters: list[Member], version: int) -> None:
        for voter in voters:
            self.attempt(voter, RaiseAlarm(MODEL, version, consortium.digest("evidence"), "found unfit"))

    @rule(version=st.integers(0, 6))
    def roll_back(self, version: int) -> None:
        once_promoted = version in self.promoted and version not in self.fallen
        events = self.attempt(MEMBERS[0], Propose(RollBackModel(MODEL, version, "worse in the clinic")))
        for opened in events:
            assert once_promoted, "a version that was never promoted, or fell, can be voted back"
            for member in MEMBERS[1:5]:
                self.attempt(member, Vote(opened.proposal, approve=True))

    @rule(worker=workers)
    def revoke(self, worker: Signer) -> None:
        self.attempt(Member(worker.organisation), RevokeKey(worker.public))

    @rule(hospital=hospitals, blocks_ago=st.integers(0, 60))
    def report_stolen(self, hospital: Member, blocks_ago: int) -> None:
        since = max(0, self.chain.height - blocks_ago)
        self.attempt(hospital, ReportStolenKey(hospital.worker.public, since))

    @rule(milliseconds=waits)
    def let_time_pass(self, milliseconds: int) -> None:
        self.chain.advance(milliseconds)
        self.chain.block()

    # --- what must hold ---

    @invariant()
    def debits_are_what_accepted_commitments_cost(self) -> None:
        for hospital in HOSPITALS:
            spent = NOTHING
            for _ in range(self.debits[hospital.name]):
                spent += PRICE
            assert privacy_budget.dataset_account(self.view, hospital.name, DATASET).spent == spent
            assert privacy_budget.organisation_account(self.view, hospital.name).spent == spent

    @invariant()
    def a_remainder_is_never_negative(self) -> None:
        for hospital in HOSPITALS:
            account = privacy_budget.dataset_account(self.view, hospital.name, DATASET)
            standing = privacy_budget.standing(account, PROMISE, self.chain.time_ms)
            assert standing.spent + standing.held <= LIMIT
            assert standing.least <= standing.spent + standing.held
            assert isinstance(account, Account)

    @invariant()
    def nothing_is_accepted_from_a_key_after_its_revocation(self) -> None:
        for signer, height in self.accepted:
            ordered_at = self.revoked.get(signer.public)
            assert ordered_at is None or height <= ordered_at
        for path, body in self.view.scan(b"contributions/commitments/", limit=1_000):
            assert COMMITMENTS.read(body).signer in {signer.public for signer, _ in self.accepted}, path

    @invariant()
    def exactly_one_version_is_promoted_and_it_is_the_current_one(self) -> None:
        model = MODELS.at(self.view, MODEL)
        versions = {number: VERSIONS.at(self.view, (MODEL, number)) for number in range(model.latest + 1)}
        promoted = [number for number, version in versions.items() if version.status is VersionStatus.PROMOTED]
        assert promoted == [model.current]
        line = [number for number, _ in lineage.chain(self.view, MODEL, model)]
        standing = [
            n for n, version in versions.items() if version.status in (VersionStatus.PROMOTED, VersionStatus.SUPERSEDED)
        ]
        assert standing == line[::-1]
        assert model.current in self.promoted
        assert model.current not in self.fallen

    @invariant()
    def the_next_round_starts_from_the_current_version(self) -> None:
        task, current = rounds.TASKS.at(self.view, TASK), MODELS.at(self.view, MODEL).current
        assert task.base == current
        if task.rounds:
            last = rounds.ROUNDS.at(self.view, (TASK, task.rounds))
            assert last.base == current or last.status in (rounds.RoundStatus.VOID, rounds.RoundStatus.DECIDED)

    @invariant()
    def reputation_stays_within_its_bounds(self) -> None:
        for _, body in self.view.scan(b"reputation/"):
            score = SCORES.read(body)
            assert abs(score.deviation) <= -LOWEST

    def teardown(self) -> None:
        if hasattr(self, "chain"):
            assert replayed(self.origin, self.chain.steps) == (self.chain.root, self.chain.view.entries)

    # --- how ---

    @property
    def view(self) -> CommittedState:
        return self.chain.view

    @property
    def round_number(self) -> int:
        return max(1, rounds.TASKS.at(self.view, TASK).rounds)

    def reserve(self) -> Message:
        return consortium.reserve(self.round_number)

    def commit(self) -> Message:
        current = rounds.ROUNDS.get(self.view, (TASK, self.round_number))
        return consortium.commit(self.round_number, base=current.base if current else 0)

    def good(self, seat: Any) -> bool:
        return lineage.key_was_live(self.view, TASK, self.round_number, seat.organisation, seat.dataset)

    def attempt(self, who: Who, message: Message) -> tuple[Any, ...]:
        """One block; what it accepted is counted here, apart from the ledger's own books."""
        (result,) = self.chain.block((who, message))
        assert result.code != transition.INTERNAL_ERROR, result.log
        if result.code:
            return ()
        signer = who if isinstance(who, Signer) else who.key(message.purpose)
        self.accepted.append((signer, self.chain.height))
        for event in result.events:
            if isinstance(event, Committed):
                self.debits[event.organisation] += 1
            if isinstance(event, VersionDecided) and event.status is VersionStatus.PROMOTED:
                self.promoted.add(event.version)
            if isinstance(event, VersionDecided) and event.status in (
                VersionStatus.QUARANTINED,
                VersionStatus.ROLLED_BACK,
            ):
                self.fallen.add(event.version)
        if isinstance(message, (RevokeKey, ReportStolenKey)):
            self.revoked.setdefault(message.public, self.chain.height)
            key: Key = KEYS.at(self.view, message.public)
            assert key.revoked_from is not None
        return result.events


def replayed(origin: Chain, steps: tuple[Step, ...]) -> tuple[bytes, dict[bytes, bytes]]:
    """Another replica: the same blocks from the same beginning, decided anew."""
    tree, state = origin.tree, CommittedState(origin.view.entries)
    for step in steps:
        assert isinstance(step, BlockStep)
        block = BlockContext(origin.chain_id, step.height, step.time_ms)
        _, writes = transition.apply_block(state, map(Transaction, step.txs), block)
        state.apply(writes)
        tree = tree.staged(writes)
    return tree.root, state.entries


TestConsortium = Consortium.TestCase
TestConsortium.settings = settings(max_examples=effort.examples(20), stateful_step_count=25, deadline=None)


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
