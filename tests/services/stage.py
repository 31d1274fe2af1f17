"""Programs on one loop over the real rules: whoever is named runs, and block time passes when nobody is at work."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from campaigns.harness.chain import Member
from campaigns.harness.consortium import HOSPITALS, LAB, MODEL, TASK, VERIFIERS
from client_sdk.reads.refusals import events_of
from client_sdk.training.outcomes import CommitMissed, RoundCameToNothing
from contracts import lineage, rounds
from contracts.lineage import VersionStatus
from contracts.reputation import ReputationChanged, Verdict
from contracts.rounds import Round
from contracts.terms import Phase
from services.aggregator.aggregator import Aggregator
from services.rounds.gather import Gatherer
from services.verifier.verifier import Verifier
from tests.local_task import Job, World


@dataclass
class Stage:
    """A world, and what its programs said."""

    world: World
    said: list[str] = field(default_factory=list)

    def aggregator(self, lab: Member = LAB, gatherer: Gatherer | None = None, **options: Any) -> Aggregator:
        return Aggregator(gatherer or self.world.gatherer(lab), lab.name, say=self.said.append, **options)

    def verifier(self, member: Member, gatherer: Gatherer | None = None, **options: Any) -> Verifier:
        gatherer = gatherer or self.world.gatherer(member)
        return Verifier(gatherer, member.name, self.world.ballots(member), say=self.said.append, **options)

    def verifiers(self, members: Iterable[Member] = VERIFIERS) -> list[Job]:
        return [self.verifier(member).run() for member in members]

    async def hospital(self, member: Member) -> None:
        """Contribute to every round as it comes."""
        taking_part, trainer = self.world.participant(member), self.world.trainer(member)
        async for number in taking_part.rounds():
            with suppress(RoundCameToNothing, CommitMissed):
                await taking_part.contribute(number, trainer)

    def hospitals(self, members: Iterable[Member] = HOSPITALS) -> list[Job]:
        return [self.hospital(member) for member in members]

    def everybody(self, *, but: Iterable[Member] = ()) -> list[Job]:
        """The first aggregator, all verifiers but some, and all hospitals."""
        others = [member for member in VERIFIERS if member not in but]
        return [self.aggregator().run(), *self.verifiers(others), *self.hospitals()]

    def run(self, jobs: list[Job], until: Callable[[], bool]) -> None:
        """Run everything until something is true of the ledger, or half an hour of block time is over."""
        asyncio.run(self.world.until(until, *jobs))

    def is_over(self, number: int) -> Callable[[], bool]:
        """Whether a round is decided or void."""
        return lambda: (current := self.round(number)) is not None and current.phase in rounds.OVER

    def is_in(self, phase: Phase, number: int = 1) -> Callable[[], bool]:
        """Whether a round has come to a phase."""
        return lambda: (current := self.round(number)) is not None and current.phase is phase

    def round(self, number: int) -> Round | None:
        return rounds.ROUNDS.get(self.world.chain.view, (TASK, number))

    def phase(self, number: int = 1) -> Phase:
        current = self.round(number)
        assert current is not None
        return current.phase

    def verdicts(self) -> dict[str, set[Verdict]]:
        """What the rounds said of everybody."""
        found: dict[str, set[Verdict]] = {member.name: set() for member in VERIFIERS}
        for height in range(1, self.world.chain.height + 1):
            for result in asyncio.run(self.world.node.block_results(height)):
                for event in events_of(result.data) if result.code == 0 else ():
                    if isinstance(event, ReputationChanged):
                        found[event.organisation].add(event.verdict)
        return found

    def versions(self) -> list[tuple[str, VersionStatus]]:
        """The proposer and the standing of every version but the initial one."""
        view = self.world.chain.view
        latest = lineage.MODELS.at(view, MODEL).latest
        return [
            (
                lineage.VERSIONS.at(view, (MODEL, number)).proposer,
                lineage.status_of(view, MODEL, number),
            )
            for number in range(1, latest + 1)
        ]
