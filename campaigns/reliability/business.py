"""The three businesses of the load, each as one course of events that a member sees through."""

import asyncio
import contextlib
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import TypeVar

from client_sdk.secrets.keys import new_signing_key
from contracts.admission import Admission
from contracts.ballot_box import Statement, seal_of
from contracts.ballots import AdvanceRound, Attest, OpenBallot, Seal
from contracts.contributions import Commit, NoiseSource, Reserve
from contracts.governance import AdmitOrganisation, Propose, Proposed, Vote
from contracts.identity import AddKey, RevokeKey
from contracts.kernel import Event, Message, bitmap, limits
from contracts.kernel.types import Purpose, Role
from contracts.lineage import Candidate, candidate_digest
from contracts.models import quorum
from contracts.rounds import OpenRound, RoundOpened

from ..harness.consortium import artefact, cid, digest, legal_id
from ..harness.recipients import recipient_of
from .load import Desk, NotDecided, Refused
from .members import DATASET, TASK

_WAIT_SECONDS = 1.0
_OPENING_TRIES = 120  # At one a second: longer than all phases of a round together.
_SCORE = 90  # Of the canary's records.
KEYS_LEFT = 2  # Of an organisation's enrolments: its person's and its worker's.
E = TypeVar("E", bound=Event)


async def motion(desk: Desk) -> None:
    """Somebody proposes to admit a guest; as many reject it as it takes."""
    members = desk.members
    proposer, *others = desk.rng.sample(members.names, len(members.names))
    opened = _only(Proposed, await desk.submit(proposer, Propose(_admission(members.ledger.genesis))))
    against = others[: len(members.names) - quorum(len(members.names)) + 1]
    await asyncio.gather(*(desk.submit(name, Vote(opened.proposal, approve=False)) for name in against))


@dataclass
class Training:
    """A round: every hospital reserves and commits; the verifiers attest, seal and open, and so promote a version."""

    last: int = 0
    """The newest round."""
    __name__: str = "training round"

    async def __call__(self, desk: Desk) -> None:
        members, opened = desk.members, await self._open(desk)
        number, verifiers = opened.round, members.terms.verifiers
        seats = bitmap.of(range(len(members.hospitals)))
        await _all(desk, ((name, Reserve(TASK, number, DATASET)) for name in members.hospitals))
        await _all(desk, ((name, _commit(desk, name, opened)) for name in members.hospitals))
        await _all(desk, ((name, Attest(TASK, number, seats)) for name in verifiers))
        named = Candidate(TASK, number, opened.base, seats, bytes(len(members.hospitals)), artefact(f"round {number}"))
        salts = {name: secrets.token_bytes(32) for name in verifiers}
        await _all(desk, ((name, _sealed(name, salts[name], named)) for name in verifiers))
        await _all(desk, ((name, OpenBallot(TASK, number, salts[name], named, _SCORE)) for name in verifiers))

    async def _open(self, desk: Desk) -> RoundOpened:
        """Open the next round, once whatever is under way is over: where somebody was late, phases end by time."""
        lab = desk.members.terms.aggregators[0]
        for _ in range(_OPENING_TRIES):
            try:
                opened = _only(RoundOpened, await desk.submit(lab, OpenRound(TASK)))
            except Refused:
                with contextlib.suppress(Refused, NotDecided):
                    await desk.submit(lab, AdvanceRound(TASK, max(1, self.last)))
                await asyncio.sleep(_WAIT_SECONDS)
            else:
                self.last = opened.round
                return opened
        raise NotDecided


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
        await desk.submit(name, AddKey(key.enrolment(desk.members.ledger.genesis, name)))
        await desk.submit(name, RevokeKey(key.public))
        await asyncio.sleep(self.pause)


async def _all(desk: Desk, acts: Iterable[tuple[str, Message]]) -> None:
    """Everybody at once, until each act is decided. Raises Refused, NotDecided for the first that is not accepted."""
    await asyncio.gather(*(desk.submit(name, message) for name, message in acts))


def _commit(desk: Desk, hospital: str, opened: RoundOpened) -> Commit:
    number = opened.round
    return Commit(
        task=TASK,
        round=number,
        cid=cid(f"{hospital} {number}"),
        digest=digest(f"{hospital} {number}"),
        size=1_000,
        base=opened.base,
        mechanism=desk.members.terms.mechanism,
        noise=NoiseSource.OS_ENTROPY,
        code=digest("training code"),
    )


def _sealed(verifier: str, salt: bytes, named: Candidate) -> Seal:
    said = Statement(verifier, TASK, named.round, salt, candidate_digest(named), _SCORE)
    return Seal(TASK, named.round, named.agreed, seal_of(said))


def _admission(genesis: bytes) -> AdmitOrganisation:
    """A guest of whom nobody has heard."""
    name, key = f"guest-{secrets.token_hex(6)}", new_signing_key("spare", Purpose.HUMAN)
    admission = Admission(
        organisation=name,
        legal_id=legal_id(name),
        roles=(Role.AUDITOR,),
        recipient=recipient_of(name),
        epsilon_cap=0,
        delta_inverse=limits.DELTA_INVERSE_MIN,
        order_milli=None,
        key=key.enrolment(genesis, name),
    )
    return AdmitOrganisation(admission)


def _only(kind: type[E], events: tuple[Event, ...]) -> E:
    return next(event for event in events if isinstance(event, kind))
