"""The three businesses of the load, each as one course of events that a member sees through."""

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import TypeVar

from client_sdk.secrets.keys import new_signing_key
from contracts.contributions import Commit, NoiseSource, Publish, Reserve
from contracts.governance import AdmitOrganisation, Propose, Proposed, Vote
from contracts.identity import AddKey, Admission, RevokeKey
from contracts.kernel import Event, limits
from contracts.kernel.types import Purpose, Role
from contracts.lineage import Candidate, Judgement
from contracts.models import ProposeVersion, VersionProposed, VoteVersion, quorum
from contracts.reputation import Verdict
from contracts.rounds import CloseRound, OpenRound, RoundOpened, RoundStillMoving

from ..harness.consortium import RECIPIENT, artefact, cid, digest, legal_id
from .load import Desk, NotDecided, Refused
from .members import DATASET, MODEL, TASK

_WAIT_SECONDS = 1.0
_OPENING_TRIES = 60  # At one a second: longer than all deadlines of a round together.
KEYS_LEFT = 2  # Of an organisation's enrolments: its person's and its worker's.
E = TypeVar("E", bound=Event)


async def motion(desk: Desk) -> None:
    """Somebody proposes to admit a guest; as many reject it as it takes."""
    members = desk.members
    proposer, *others = desk.rng.sample(members.names, len(members.names))
    opened = _only(Proposed, await desk.submit(proposer, Propose(_admission(members.chain_id))))
    against = others[: len(members.names) - quorum(len(members.names)) + 1]
    await asyncio.gather(*(desk.submit(name, Vote(opened.proposal, approve=False)) for name in against))


async def training_round(desk: Desk) -> None:
    """A round: every hospital reserves, commits and publishes; a lab proposes, and verifiers promote the version."""
    members, terms = desk.members, desk.members.terms
    lab = terms.aggregators[0]
    opened = await _open(desk, lab)
    number = opened.round
    try:
        await asyncio.gather(*(_contribute(desk, hospital, opened) for hospital in members.hospitals))
        await desk.submit(lab, CloseRound(TASK, number))
        judgements = tuple(Judgement(name, DATASET, Verdict.ACCEPTED, "") for name in members.hospitals)
        candidate = Candidate(TASK, number, opened.base, artefact(f"round {number}"), 90, 100, judgements)
        made = _only(VersionProposed, await desk.submit(lab, ProposeVersion(candidate)))
        voters = [name for name in terms.verifiers if name != lab][: quorum(len(terms.verifiers) - 1)]
        await asyncio.gather(*(desk.submit(name, VoteVersion(MODEL, made.version, made.digest)) for name in voters))
    except (Refused, NotDecided):
        await _abandon(desk, lab, number)
        raise


@dataclass
class KeyRotation:
    """Every organisation enrols a key and revokes it, for as long as it may enrol any."""

    pause: float
    """Seconds between two keys."""
    _turns: Iterator[int] = field(default_factory=count)
    __name__: str = "key rotation"

    async def __call__(self, desk: Desk) -> None:
        turn, names = next(self._turns), desk.members.names
        if turn >= len(names) * (limits.KEYS_PER_ORGANISATION - KEYS_LEFT):
            await asyncio.Event().wait()  # Nothing is left to do, for ever.
        name, key = names[turn % len(names)], new_signing_key("spare", Purpose.WORKLOAD)
        await desk.submit(name, AddKey(key.enrolment(desk.members.chain_id, name)))
        await desk.submit(name, RevokeKey(key.public))
        await asyncio.sleep(self.pause)


async def _open(desk: Desk, lab: str) -> RoundOpened:
    """Open the next round, once whatever is under way is over."""
    for _ in range(_OPENING_TRIES):
        try:
            return _only(RoundOpened, await desk.submit(lab, OpenRound(TASK)))
        except Refused:
            await asyncio.sleep(_WAIT_SECONDS)
    raise NotDecided


async def _contribute(desk: Desk, hospital: str, opened: RoundOpened) -> None:
    number = opened.round
    await desk.submit(hospital, Reserve(TASK, number, DATASET))
    commit = Commit(
        task=TASK,
        round=number,
        dataset=DATASET,
        cid=cid(f"{hospital} {number}"),
        digest=digest(f"{hospital} {number}"),
        size=1_000,
        base=opened.base,
        mechanism=desk.members.terms.mechanism,
        noise=NoiseSource.OS_ENTROPY,
        code=digest("training code"),
    )
    await desk.submit(hospital, commit)
    await desk.submit(hospital, Publish(TASK, number, DATASET))


async def _abandon(desk: Desk, lab: str, number: int) -> None:
    """Close a round in which somebody was late, once its deadlines have passed; too few contributions void it."""
    for _ in range(_OPENING_TRIES):
        try:
            await desk.submit(lab, CloseRound(TASK, number))
            return
        except Refused as refused:
            if refused.code != RoundStillMoving.code:
                return
            await asyncio.sleep(_WAIT_SECONDS)
        except NotDecided:
            continue


def _admission(chain_id: str) -> AdmitOrganisation:
    """A guest of whom nobody has heard."""
    name, key = f"guest-{secrets.token_hex(6)}", new_signing_key("spare", Purpose.HUMAN)
    admission = Admission(
        organisation=name,
        legal_id=legal_id(name),
        roles=(Role.AUDITOR,),
        recipient=RECIPIENT,
        epsilon_cap=0,
        delta_inverse=limits.DELTA_INVERSE_MIN,
        order_milli=None,
        key=key.enrolment(chain_id, name),
    )
    return AdmitOrganisation(admission)


def _only(kind: type[E], events: tuple[Event, ...]) -> E:
    return next(event for event in events if isinstance(event, kind))
