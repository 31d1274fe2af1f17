"""The verifier: attests what it holds, recomputes the agreed set, seals a ballot, opens it; probes what was promoted.

A shell around ``round.to_verify``. It trusts neither the other verifiers nor its node: that a set is agreed is proved
before it is voted on, and that no ballot can be sealed any more is proved before its own is opened, for whoever sees an
opened ballot could seal the same. Killed and started again, it opens what it had sealed.
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from client_sdk.client import NotDecided
from client_sdk.payloads import confidential
from client_sdk.payloads.store import payload_cid
from client_sdk.training.artefacts import CanarySet
from client_sdk.training.task import load_version, recipients
from contracts import lineage
from contracts.ballots import AdvanceRound, Attest, NotHeld, Share
from contracts.kernel import Rejected, bitmap
from contracts.kernel.types import Seats
from contracts.lineage import Candidate
from contracts.models import RaiseAlarm, require_verifier
from contracts.terms import Phase
from learning.feed_forward import FeedForward

from ..rounds import recompute
from ..rounds.ballot_journal import BallotDamaged, BallotJournal, SealedBallot
from ..rounds.fetching import Fetching
from ..rounds.gather import Gatherer
from ..rounds.observe import PASSING, on_blocks
from ..rounds.recompute import Answer
from ..rounds.round import Command, Holding, Observation, to_share, to_verify

_log = logging.getLogger(__name__)
Say = Callable[[str], None]
# What a probe finds in a promoted network, or None: a reason for the ledger (at most 40 characters) and evidence.
Probe = Callable[[FeedForward, CanarySet], tuple[str, bytes] | None]


@dataclass(frozen=True)
class Forgery:
    """What a dishonest verifier says instead of the truth: for attack experiments."""

    attest: Callable[[int, Seats], Seats] = lambda _round, held: held
    vote: Callable[[Candidate, int], tuple[Candidate, int]] = lambda candidate, score: (candidate, score)
    opens: Callable[[int], bool] = lambda _round: True


class Verifier:
    """Takes part in the verification of one task for one organisation, until it is cancelled.

    ``ballots`` keeps what it has sealed. Raises NotAVerifier for an organisation that the terms do not name as one.
    """

    def __init__(
        self,
        gatherer: Gatherer,
        organisation: str,
        ballots: BallotJournal,
        *,
        say: Say = _log.info,
        probe: Probe | None = None,
        forge: Forgery | None = None,
    ) -> None:
        require_verifier(gatherer.task.terms, organisation)
        self._gatherer = gatherer
        self._client = gatherer.client
        self._task = gatherer.task
        self._organisation = organisation
        self._ballots = ballots
        self._say = say
        self._probe = probe
        self._forge = forge or Forgery()
        self._fetching = Fetching(gatherer)
        self._shared: set[tuple[int, int]] = set()  # Rounds and seats.
        self._probed: set[int] = set()

    async def run(self) -> None:
        """Act on every block. Raises UnknownTask, and NodeUnavailable if no node answers, at the start only."""
        try:
            async for seen in on_blocks(self._client, self._task, self._organisation):
                try:
                    await self.act(seen)
                    if self._probe is not None:
                        await self.probe_promoted()
                except (Rejected, NotDecided) as refusal:
                    _log.info("refused: %s", refusal)  # Decided without us, or by an earlier life of this process.
                except (*PASSING, BallotDamaged) as error:
                    _log.warning("cannot verify for now, trying again: %s", error)
        finally:
            await self._fetching.close()

    async def act(self, seen: Observation) -> None:
        """Do what is due. Raises the ledger's refusals, NotDecided, and what ``observe.PASSING`` lists."""
        number = seen.task.rounds
        command = to_verify(seen, await self._holding(seen))
        if command is Command.FETCH:
            await self._fetch(seen)
            command = to_verify(seen, await self._holding(seen))
        match command:
            case Command.ATTEST:
                await self.attest(number)
            case Command.SHARE:
                await self.share(seen)
            case Command.SEAL:
                await self.seal(number)
            case Command.OPEN_BALLOT:
                await self.open_ballot(number)
            case Command.ADVANCE:
                await self._client.submit(AdvanceRound(self._task.name, number))
            case _:
                pass

    async def attest(self, number: int) -> None:
        """State which payloads of a round are held: all of them, or those that are once it is proved to be time.

        Otherwise a node that tells the wrong time could make us say that honest contributions are missing. Raises the
        ledger's refusals.
        """
        held = self._gatherer.held(number)
        everything = bitmap.of(await self._gatherer.committed(number))
        if held != everything and not await self._gatherer.is_time_to_attest(number):
            return
        held = self._forge.attest(number, held)
        await self._client.submit(Attest(self._task.name, number, held))
        self._say(f"attested {bitmap.count(held)} payloads of round {number}")

    async def share(self, seen: Observation) -> None:
        """Serve copies of what others lack, encrypted anew to all recipients. Raises the ledger's refusals."""
        number = seen.task.rounds
        holding, readers = await self._holding(seen), await recipients(self._client, self._task, number)
        for seat in to_share(seen, holding):
            copy = confidential.encrypt(self._gatherer.plaintext(seat), readers)
            await self._gatherer.store.put(copy)
            owner = holding.owners[seat]
            with suppress(NotHeld):  # Shared already, by an earlier life of this process.
                await self._client.submit(Share(self._task.name, number, owner, str(payload_cid(copy)), len(copy)))
                self._say(f"shared the payload of {owner} in round {number}")
            self._shared.add((number, seat))

    async def seal(self, number: int) -> None:
        """Recompute the set that is proved to be agreed, and seal a ballot over it. Raises the ledger's refusals.

        What was sealed over the same set before is sealed again. A ballot over another set was aborted with it.
        """
        newest = (await self._client.rpc.status()).height
        current = await self._gatherer.round(number, at_least=newest)
        if current.phase is not Phase.SEALING:
            return
        ballot = self._ballots.find(self._task.name, number, current.agreed)
        if ballot is None:
            if not bitmap.is_within(current.agreed, self._gatherer.held(number)):
                return  # The set is another one than the node said.
            found = await self._gatherer.answer(number, current)
            ballot = self._ballot(number, current.agreed, found)
            self._ballots.keep(ballot)
        await self._client.submit(ballot.seal(self._organisation))
        self._say(f"sealed a ballot for round {number}")

    async def open_ballot(self, number: int) -> None:
        """Open the sealed ballot, once it is proved that none can be sealed any more. Raises the ledger's refusals."""
        current = await self._gatherer.round(number)
        if current.phase is not Phase.OPENING:
            return  # Not proved yet: the next block may.
        ballot = self._ballots.find(self._task.name, number, current.agreed)
        if ballot is None:
            _log.error("the ballot of round %d is not in the journal: it stays unopened, and pays", number)
            return
        if not self._forge.opens(number):
            return
        if ballot.model:
            await self._gatherer.store.put(ballot.model)  # A version has as many sources as it has verifiers.
        await self._client.submit(ballot.opening())
        score = f"{ballot.correct}/{self._task.terms.canary_records}"
        self._say(f"opened a ballot for round {number}: {score if ballot.candidate.artefact else 'nothing follows'}")

    async def probe_promoted(self) -> None:
        """Probe the promoted version once, and raise the alarm when the probe finds something."""
        model = await self._client.peek(lineage.MODELS, self._task.model)
        if model is None or self._probe is None or model.current in self._probed or model.current == 0:
            return
        _, units = await load_version(self._client, self._gatherer.store, self._task, model.current)
        network = recompute.network(self._task.inputs, units, self._task.terms.update.scale_bits)
        found = await asyncio.to_thread(self._probe, network, await self._gatherer.canary())
        if found is not None:
            reason, evidence = found
            alarm = RaiseAlarm(self._task.model, model.current, hashlib.sha256(evidence).digest(), reason)
            with suppress(Rejected):  # Raised by an earlier life of this process, or out of service already.
                await self._client.submit(alarm)
                self._say(f"raised an alarm on version {model.current}: {reason}")
        self._probed.add(model.current)  # Only now: an alarm that did not get through is raised again.

    async def _holding(self, seen: Observation) -> Holding:
        """What we have of the round, once payloads are served."""
        last, number = seen.last, seen.task.rounds
        if last is None or last.phase not in (Phase.ATTESTING, Phase.SEALING):
            return Holding()
        committed = await self._gatherer.committed(number)
        owners = {seat: one.organisation for seat, one in committed.items()}
        shared = bitmap.of(seat for shared_in, seat in self._shared if shared_in == number)
        return Holding(self._gatherer.held(number), shared, owners)

    async def _fetch(self, seen: Observation) -> None:
        last, number = seen.last, seen.task.rounds
        assert last is not None, "a round that is not there asks for no payloads"
        sealing = last.phase is Phase.SEALING
        held, wanted = self._gatherer.held(number), last.agreed if sealing else last.committed
        lacking = [
            seat
            for seat in await self._gatherer.committed(number)
            if bitmap.has(wanted, seat) and not bitmap.has(held, seat)
        ]
        await self._fetching.go_on(number, lacking, copies=sealing, beyond=seen.height)

    def _ballot(self, number: int, agreed: Seats, found: Answer) -> SealedBallot:
        candidate, correct = self._forge.vote(found.candidate, found.correct)
        salt = secrets.token_bytes(32)
        return SealedBallot(self._task.name, number, agreed, salt, candidate, correct, found.model)
