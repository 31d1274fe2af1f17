"""The load's businesses against the rules, without nodes: what members do is accepted, and goes on after a delay."""

import asyncio
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import Chain, Member
from campaigns.harness.consortium import HOSPITALS, LAB, STAND_BY
from campaigns.reliability import business
from campaigns.reliability.business import Training, motion
from campaigns.reliability.load import Refused
from campaigns.reliability.members import DATA_CLASS, DATASET, MODEL, TASK, _terms
from contracts import governance, lineage, rounds, tasks
from contracts.ballots import Attest
from contracts.governance import OpenTask, ProposalStatus
from contracts.identity import RegisterDataset
from contracts.kernel import Event, Message
from contracts.tasks import JoinTask
from contracts.terms import Phase

VERIFIERS = (*HOSPITALS[:2], LAB, STAND_BY)
TERMS = replace(
    _terms(tuple(member.name for member in VERIFIERS), len(HOSPITALS)), aggregators=(LAB.name, STAND_BY.name)
)


class Desk:
    """Every message is decided in a block of its own; the first of the type that is late, after its phase."""

    def __init__(self) -> None:
        self.chain: Chain = consortium.equipped()
        self.late: type[Message] | None = None
        self.members: Any = SimpleNamespace(
            ledger=self.chain.ledger,
            names=tuple(member.name for member in consortium.MEMBERS),
            hospitals=tuple(member.name for member in HOSPITALS),
            terms=TERMS,
        )
        self.rng = Random(1)
        for hospital in HOSPITALS:
            limit, delta = consortium.LIMIT, consortium.DELTA_INVERSE
            self.chain.submit(hospital, RegisterDataset(DATASET, DATA_CLASS, limit, delta))
        consortium.pass_proposal(self.chain, OpenTask(TERMS))
        for hospital in HOSPITALS:
            self.chain.submit(hospital, JoinTask(TASK, DATASET, tasks.terms_digest(TERMS)))

    async def submit(self, organisation: str, message: Message) -> tuple[Event, ...]:
        if type(message) is self.late:
            self.late = None
            self.chain.advance(TERMS.phases.attest_ms)
            for _ in range(TERMS.phases.blocks):
                self.chain.block()
        (result,) = self.chain.block((Member(organisation), message))
        if result.code:
            raise Refused(result.code)
        return result.events

    @property
    def round(self) -> rounds.Round:
        return rounds.ROUNDS.at(self.chain.view, (TASK, tasks.TASKS.at(self.chain.view, TASK).rounds))


def test_every_training_round_of_the_load_promotes_a_version() -> None:
    desk, train = Desk(), Training()
    for number in (1, 2, 3):
        asyncio.run(train(desk))  # type: ignore[arg-type]
        assert desk.round.phase is Phase.DECIDED
        assert lineage.MODELS.at(desk.chain.view, MODEL).current == train.last == number


def test_a_round_in_which_somebody_was_late_ends_by_time_and_the_next_one_follows(monkeypatch) -> None:
    async def at_once(_seconds: float) -> None:
        desk.chain.advance(TERMS.phases.attest_ms)

    desk, train = Desk(), Training()
    desk.late = Attest
    with pytest.raises(Refused) as refused:
        asyncio.run(train(desk))  # type: ignore[arg-type]
    assert refused.value.code in (rounds.PhaseOver.code, rounds.WrongPhase.code)
    monkeypatch.setattr(business.asyncio, "sleep", at_once)
    asyncio.run(train(desk))  # type: ignore[arg-type]
    assert train.last == 2
    assert rounds.ROUNDS.at(desk.chain.view, (TASK, 1)).phase is Phase.VOID
    assert lineage.MODELS.at(desk.chain.view, MODEL).current == 1


def test_motions_of_the_load_are_defeated() -> None:
    desk = Desk()
    asyncio.run(motion(desk))  # type: ignore[arg-type]
    newest = governance.COUNTER.at(desk.chain.view).proposals
    assert governance.PROPOSALS.at(desk.chain.view, newest).status is ProposalStatus.DEFEATED
