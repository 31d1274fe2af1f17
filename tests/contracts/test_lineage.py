"""Lineage: walking a line of versions in few reads, falling, and going back by vote."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.harness import consortium
from campaigns.harness.consortium import (
    HOSPITAL_A,
    LAB,
    MODEL,
    TASK,
    TERMS,
    VERIFIERS,
    current_version,
    digest,
    pass_proposal,
    round_of,
    run_round,
    status_of,
    version_of,
)
from contracts import lineage, tasks
from contracts.governance import Propose, RollBackModel
from contracts.kernel import Context, bitmap
from contracts.kernel.types import Role
from contracts.lineage import (
    MODELS,
    VERDICTS,
    VERSIONS,
    Finding,
    Model,
    Version,
    VersionDecided,
    VersionStatus,
)
from contracts.models import RaiseAlarm, VersionNotOpen
from contracts.privacy_budget import NOTHING
from contracts.rounds import Charged, OpenRound, RoundVoided, Void
from contracts.tasks import TASKS, Task
from contracts.terms import Phase
from tests.vectors_io import VectorWriter

CTX = Context("test", 1, 0, 1, bytes(32), "lab", (Role.AGGREGATOR,))


def rollback(to: int) -> RollBackModel:
    return RollBackModel(MODEL, to, "regression at a site")


def test_every_finding_has_a_verdict() -> None:
    assert set(VERDICTS) == set(Finding)
    assert max(Finding) == len(Finding) - 1


# --- going back by vote ---


@pytest.mark.vectors
def test_the_members_roll_back_to_a_version_that_was_once_promoted(vector: VectorWriter) -> None:
    """A vote of the organisations restores an ancestor; what came after it is out of service."""
    chain = consortium.thrice_promoted()
    pass_proposal(chain, rollback(1), consortium.MEMBERS[:4])
    events = vector.accepted(chain, consortium.MEMBERS[4], consortium.Vote(2, approve=True))
    assert VersionDecided(MODEL, 2, VersionStatus.ROLLED_BACK, "regression at a site") in events
    assert [status_of(chain, number) for number in (1, 2, 3)] == [
        VersionStatus.PROMOTED,
        VersionStatus.ROLLED_BACK,
        VersionStatus.ROLLED_BACK,
    ]
    assert TASKS.at(chain.view, TASK).base == 1


def test_a_rollback_voids_the_round_under_way_on_the_old_base_and_before_the_barrier_nobody_pays() -> None:
    chain = consortium.twice_promoted()
    chain.submit(LAB, OpenRound(TASK))
    events = pass_proposal(chain, rollback(1))
    assert RoundVoided(TASK, 3, Void.BASE_FELL, Charged.NOBODY) in events
    assert round_of(chain, 3).phase is Phase.VOID


def test_a_rollback_after_the_barrier_gives_nothing_back() -> None:
    chain = consortium.second_agreed()
    events = pass_proposal(chain, rollback(0))
    assert RoundVoided(TASK, 2, Void.BASE_FELL, Charged.ALL) in events


@pytest.mark.parametrize("case", ["current", "failed", "quarantined", "rolled back"])
def test_a_rollback_goes_only_to_a_version_that_was_promoted_and_stands_behind_the_current_one(case: str) -> None:
    chain = consortium.promoted()
    to = {"current": 1, "failed": 2, "quarantined": 2, "rolled back": 2}[case]
    if case == "failed":
        run_round(chain, correct=10)
    if case in ("quarantined", "rolled back"):
        run_round(chain)
    if case == "quarantined":
        report = RaiseAlarm(MODEL, 2, digest("evidence"), "backdoor probe")
        consortium.succeed(chain, *((verifier, report) for verifier in VERIFIERS[:5]))
    if case == "rolled back":
        pass_proposal(chain, rollback(1))
    assert chain.refused(VersionNotOpen, HOSPITAL_A, Propose(rollback(to)))["version"] == to


def test_after_a_rollback_training_goes_on_from_the_restored_version() -> None:
    chain = consortium.twice_promoted()
    pass_proposal(chain, rollback(1))
    assert run_round(chain) == 3
    version = version_of(chain, 3)
    assert (version.parent, version.depth, current_version(chain)) == (1, 2, 3)
    assert status_of(chain, 2) is VersionStatus.ROLLED_BACK


def test_a_quarantined_version_is_never_current_again() -> None:
    chain = consortium.twice_promoted()
    report = RaiseAlarm(MODEL, 2, digest("evidence"), "backdoor probe")
    consortium.succeed(chain, *((verifier, report) for verifier in VERIFIERS[:5]))
    run_round(chain)
    assert (current_version(chain), version_of(chain, 3).parent) == (3, 1)
    chain.refused(VersionNotOpen, HOSPITAL_A, Propose(rollback(2)))


# --- walking, held to the plain way ---


class Line:
    """A model of many versions, without the rounds that would have made them, and the same in a plain dictionary."""

    def __init__(self) -> None:
        self.state: dict[bytes, bytes] = {}
        self.parents: dict[int, int] = {}
        self.reads = 0
        self.current, self.latest = 0, 0
        self._put(0, self._version(0, 0, 0))
        self._apply(tasks.TASKS.put(TASK, Task(bytes(32), NOTHING, 1, 0, 0, 0, 0)))
        self._apply(tasks.TERMS.put(TASK, TERMS))
        self._apply(MODELS.put(MODEL, Model(TASK, 0, 0)))

    def get(self, path: bytes) -> bytes | None:
        self.reads += path.startswith(b"models/versions")
        return self.state.get(path)

    def promote(self) -> None:
        self.latest += 1
        depth, jump = lineage.child_of(self, MODEL, self.current)
        self.parents[self.latest] = self.current
        self._put(self.latest, self._version(self.current, depth, jump))
        self.current = self.latest
        self._apply(MODELS.put(MODEL, Model(TASK, self.current, self.latest)))

    def fall(self, first: int) -> None:
        model = MODELS.at(self, MODEL)
        for write in lineage.fallen(self, MODEL, model, first, VersionStatus.ROLLED_BACK, "x", CTX).writes:
            self._apply(write)
        self.current = MODELS.at(self, MODEL).current

    def line(self) -> list[int]:
        """The plain way: from the current version up, step by step."""
        number, found = self.current, [self.current]
        while number:
            number = self.parents[number]
            found.append(number)
        return found[::-1]

    def _version(self, parent: int, depth: int, jump: int) -> Version:
        return Version(
            consortium.artefact("x"), 0, parent, depth, jump, 0, 0, bitmap.NOTHING, b"", bytes(32), "lab", 1,
            VersionStatus.PROMOTED,
        )  # fmt: skip

    def _put(self, number: int, version: Version) -> None:
        self._apply(VERSIONS.put((MODEL, number), version))

    def _apply(self, write: object) -> None:
        path, body = write  # type: ignore[misc]
        self.state[path] = body


@given(st.integers(0, 2**32))
def test_walking_by_jumps_arrives_where_walking_by_steps_does(seed: int) -> None:
    rng, line = random.Random(seed), Line()
    for _ in range(rng.randrange(1, 60)):
        if line.current and rng.random() < 0.2:
            line.fall(rng.choice(line.line()[1:]))
        else:
            line.promote()
    standing, model = line.line(), MODELS.at(line, MODEL)
    for depth, number in enumerate(standing):
        assert lineage.ancestor_at(line, MODEL, line.current, depth) == number
    for number in range(line.latest + 1):
        assert lineage.is_in_line(line, MODEL, model, number) == (number in standing)
        expected = VersionStatus.PROMOTED if number == line.current else VersionStatus.SUPERSEDED
        if number not in standing:
            expected = VersionStatus.ROLLED_BACK
        assert lineage.status_of(line, MODEL, number) is expected


def test_a_walk_over_a_thousand_versions_reads_few_of_them() -> None:
    line = Line()
    for _ in range(1_000):
        line.promote()
    for depth in (0, 1, 333, 998, 999):
        line.reads = 0
        lineage.ancestor_at(line, MODEL, line.current, depth)
        assert line.reads <= 60
    line.reads = 0
    line.fall(2)
    assert line.reads <= 10, "a fall is as cheap as the line is long"


def test_a_version_that_fell_within_a_fall_says_which() -> None:
    line = Line()
    for _ in range(4):
        line.promote()
    line.fall(3)
    line.promote()
    line.fall(2)
    model = MODELS.at(line, MODEL)
    assert model.current == 1
    assert [lineage.status_of(line, MODEL, number) for number in (2, 3, 4, 5)] == [VersionStatus.ROLLED_BACK] * 4
