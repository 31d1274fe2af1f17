"""How a consortium comes to be, by its members' own human keys: admission, worker keys, datasets, the task, consent.

Each member acts through a session of its own; the demo merely plays the people. Every step is a transaction that the
ledger may refuse.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from client_sdk.client import AcceptedTx
from client_sdk.secrets import keys
from client_sdk.secrets.passphrase import read_passphrase
from client_sdk.session import Session, open_session
from client_sdk.session.profile import find_profile
from contracts.admission import Admission
from contracts.governance import Action, AdmitOrganisation, OpenTask, Propose, Proposed, Vote
from contracts.identity import AddKey, RegisterDataset
from contracts.kernel import Message
from contracts.kernel.types import Purpose, Role
from contracts.models import quorum
from contracts.possession import NewKey
from contracts.promises import Promise
from contracts.tasks import JoinTask, terms_digest
from contracts.terms import Terms
from devnet.manifest import Manifest, Organisation

HUMAN, WORKER = "human", "worker"
DELTA_INVERSE = 100_000


@dataclass
class Consortium:
    """The members' sessions, and how long each of their transactions took."""

    home: Path
    members: dict[str, Session]
    latencies: list[float] = field(default_factory=list)  # Seconds from signing to a known result.
    _newest: int = 0  # The height of the newest act: the next one may build on it, and meets a node that is behind.

    async def act(self, organisation: str, message: Message) -> AcceptedTx:
        """Submit one message with an organisation's human key."""
        begun = time.monotonic()
        accepted = await self.members[organisation].client.submit(message, at_least=self._newest)
        self._newest = max(self._newest, accepted.height)
        self.latencies.append(time.monotonic() - begun)
        return accepted

    async def propose(self, proposer: str, action: Action) -> int:
        """Put an action to the vote and return the proposal's number."""
        accepted = await self.act(proposer, Propose(action))
        return accepted.event(Proposed).proposal

    async def approve(self, proposal: int, proposer: str, electorate: list[str]) -> None:
        """Let as many of the electorate approve as it takes, the proposer included."""
        others = [name for name in electorate if name != proposer][: quorum(len(electorate)) - 1]
        await asyncio.gather(*(self.act(name, Vote(proposal, True)) for name in others))

    async def enrol_worker(self, organisation: str, name: str = WORKER) -> AcceptedTx:
        """Enrol a worker key of the organisation's keyring."""
        session = self.members[organisation]
        assert session.keyring is not None
        return await self.act(organisation, AddKey(_enrolment(session, session.keyring.signing(name))))

    async def new_worker(self, organisation: str, name: str) -> AcceptedTx:
        """Make another worker key, keep it in the keyring, and enrol it."""
        session = self.members[organisation]
        made = keys.new_signing_key(name, Purpose.WORKLOAD)
        passphrase = read_passphrase(file=session.profile.passphrase)
        await asyncio.to_thread(keys.add_keys, session.profile.keyring, [made], passphrase)
        return await self.act(organisation, AddKey(_enrolment(session, made)))


@asynccontextmanager
async def sessions(home: Path, names: Iterable[str], key: str = HUMAN) -> AsyncIterator[dict[str, Session]]:
    """Open a session for each organisation; closed together."""
    async with AsyncExitStack() as exits:
        opened: dict[str, Session] = {}
        for name in names:
            profile = find_profile(str(home), name)
            opened[name] = await exits.enter_async_context(open_session(profile, key))
        yield opened


async def admit(consortium: Consortium, manifest: Manifest, caps: dict[str, Promise]) -> None:
    """Founders admit the others by vote; then everybody enrols a worker key."""
    founders = [member.name for member in manifest.founders]
    joining = [member for member in manifest.organisations if not member.is_founder]
    actions = [_admission(consortium.members[member.name], member, caps.get(member.name)) for member in joining]
    # All are proposed before any is voted on, so that the founders are the electorate of each.
    numbers = await asyncio.gather(*(consortium.propose(founders[0], action) for action in actions))
    await asyncio.gather(*(consortium.approve(number, founders[0], founders) for number in numbers))
    await asyncio.gather(*(consortium.enrol_worker(member.name) for member in manifest.organisations))


async def register(
    consortium: Consortium, datasets: dict[str, str], data_class: str, promises: dict[str, Promise]
) -> None:
    """Every hospital registers its dataset and the ε its records are promised."""
    await asyncio.gather(
        *(
            consortium.act(owner, RegisterDataset(dataset, data_class, one.epsilon, one.delta_inverse, one.order_milli))
            for owner, dataset in datasets.items()
            for one in [promises[owner]]
        )
    )


async def open_task(consortium: Consortium, manifest: Manifest, terms: Terms, datasets: dict[str, str]) -> None:
    """The members vote on the terms; then every hospital consents to exactly those."""
    everybody = [member.name for member in manifest.organisations]
    await consortium.approve(await consortium.propose("lab-1", OpenTask(terms)), "lab-1", everybody)
    digest = terms_digest(terms)
    await asyncio.gather(
        *(consortium.act(owner, JoinTask(terms.task, dataset, digest)) for owner, dataset in datasets.items())
    )


def hospitals(manifest: Manifest) -> list[str]:
    """The members that own data."""
    return [member.name for member in manifest.organisations if Role.DATA_OWNER in member.roles]


def verifiers(manifest: Manifest) -> tuple[str, ...]:
    """The members that recompute proposals and vote on them."""
    return tuple(member.name for member in manifest.organisations if Role.VERIFIER in member.roles)


def _admission(session: Session, member: Organisation, cap: Promise | None) -> AdmitOrganisation:
    assert session.keyring is not None
    human = session.keyring.signing(HUMAN)
    admission = Admission(
        organisation=member.name,
        legal_id=member.legal_id,
        roles=member.roles,
        recipient=session.keyring.encryption("encryption").recipient,
        epsilon_cap=member.epsilon_cap_nano if cap is None else cap.epsilon,
        delta_inverse=DELTA_INVERSE,
        order_milli=None if cap is None else cap.order_milli,
        key=_enrolment(session, human),
    )
    return AdmitOrganisation(admission)


def _enrolment(session: Session, key: keys.SigningKey) -> NewKey:
    return key.enrolment(session.client.ledger.genesis, session.organisation)
